//! `shm read`.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use crate::support::{BACKENDS, Region, fails, has, ok, ok_with, shm, skip};

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + index / 251) as u8).collect()
}

#[test]
fn bytes_come_out_as_they_are() {
    for backend in BACKENDS {
        // Two pieces and a bit, as the tool reads.
        let bytes = pattern((2 << 20) + 4321);
        let region = Region::made(backend, "read", &[&bytes.len().to_string()]);
        ok_with(&mut shm(["write", &region.0]), &bytes);
        assert!(region.bytes() == bytes);
        let part = shm(["read", &region.0, "--offset", "0x10000", "--length", "1M"]).output().unwrap();
        assert!(part.stdout == bytes[0x10000..0x10000 + (1 << 20)]);
        let rest = shm(["read", &region.0, "--offset", "2M"]).output().unwrap();
        assert!(rest.stdout == bytes[2 << 20..]);
    }
}

#[test]
fn nothing_is_read_past_the_end() {
    for backend in BACKENDS {
        let region = Region::made(backend, "end", &["100"]);
        for arguments in
            [["--offset=0", "--length=101"], ["--offset=50", "--length=51"], ["--offset=101", "--length=0"]]
        {
            let mut command = shm(["read", &region.0]);
            let told = fails(command.args(arguments), 1);
            assert!(told.contains("has 100 bytes"), "{told}");
            assert_eq!(command.output().unwrap().stdout, b"");
        }
        assert_eq!(ok(&mut shm(["read", &region.0, "--offset=100"])), "");
    }
}

#[test]
fn a_dump_is_what_hexdump_prints() {
    if !has("hexdump") {
        return;
    }
    let mut bytes = pattern(300);
    bytes.extend([0; 100]);
    bytes.extend(pattern(37));
    bytes.extend([0xee; 64]);
    for (backend, length) in BACKENDS.into_iter().flat_map(|backend| [(backend, 501), (backend, 448), (backend, 16)]) {
        let region = Region::made(backend, "hex", &[&length.to_string()]);
        ok_with(&mut shm(["write", &region.0]), &bytes[..length]);
        for (offset, count) in [(0, length), (3, length - 3), (5, 11), (16, 0), (length, 0)] {
            let (offset, count) = (offset.to_string(), count.to_string());
            let raw = shm(["read", &region.0, "--offset", &offset, "--length", &count]).output().unwrap().stdout;
            let ours = ok(&mut shm(["read", "--hex", &region.0, "--offset", &offset, "--length", &count]));
            let theirs = ok_with(Command::new("hexdump").arg("-C"), &raw);
            // From standard input it counts from 0.
            if offset == "0" {
                assert_eq!(ours, theirs);
            } else {
                let columns =
                    |dump: &str| dump.lines().map(|line| line[8.min(line.len())..].to_owned()).collect::<Vec<_>>();
                let ours = columns(&ours);
                assert_eq!(ours, columns(&theirs), "{offset} {count}");
            }
        }
    }
}

#[test]
fn a_dump_folds_lines_and_says_where_it_is() {
    let region = Region::made("sysv", "fold", &["3M"]);
    ok_with(&mut shm(["write", &region.0, "--offset", "2M"]), b"needle\x1b[31m");
    let dump = ok(&mut shm(["read", "--hex", &region.0]));
    let lines: Vec<&str> = dump.lines().collect();
    assert_eq!(lines.len(), 6, "{dump}");
    assert_eq!(lines[1], "*");
    assert!(lines[2].starts_with("00200000  6e 65 65 64") && lines[2].ends_with("|needle.[31m.....|"), "{dump}");
    assert_eq!((lines[4], lines[5]), ("*", "00300000"));
}

/// The mapping would be SIGBUS.
#[test]
fn an_object_that_a_peer_shrinks_is_an_error_and_no_crash() {
    let region = Region::made("posix", "shrunk", &["512M", "--lazy"]);
    let path = region.0.replace("posix:", "/dev/shm");
    let object = fs::OpenOptions::new().write(true).open(&path).unwrap();
    // It cannot be read faster than the pipe is emptied.
    let mut child = shm(["read", &region.0]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 4096];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    object.set_len(0).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = crate::support::refused(output, 1);
    assert!(told.contains("shorter"), "{told}");
}

#[test]
fn reading_takes_no_memory_for_pages_that_nobody_touched() {
    let region = Region::made("posix", "holes", &["64M", "--lazy"]);
    let path = region.0.replace("posix:", "/dev/shm");
    fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"x", 1 << 20).unwrap();
    let before = region.id().metadata().unwrap().allocated();
    assert_eq!(region.bytes().len(), 64 << 20);
    assert_eq!(region.id().metadata().unwrap().allocated(), before);
}

#[test]
fn several_gib_stream_through_little_memory() {
    if usize::BITS < 64 {
        return skip("an address space holds no 5 GiB");
    }
    let region = Region::made("posix", "gib", &["5G", "--lazy"]);
    // The tool's own memory is limited to less than it reads; the mapping alone takes 5 GiB of address space.
    let script = "ulimit -d 65536; exec \"$0\" read \"$1\" --offset 4G --length 600M | wc -c";
    let said = ok(Command::new("sh").args(["-c", script, crate::support::SHM, &region.0]));
    assert_eq!(said.trim(), (600 << 20).to_string());
}
