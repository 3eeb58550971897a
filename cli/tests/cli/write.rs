//! `shm write`.

use std::fs::{self, File};
use std::process::Stdio;

use crate::support::{
    BACKENDS, Region, Scratch, alone, eventually, fails, feed, name, namespaces, ok, ok_with, refused, shm,
};

#[test]
fn a_file_and_standard_input_are_written_where_asked() {
    let file = Scratch::with("input", b"from a file");
    for backend in BACKENDS {
        let region = Region::made(backend, "write", &["64"]);
        ok(&mut shm(["write", &region.0, file.path(), "--offset", "10"]));
        ok_with(&mut shm(["write", &region.0]), b"piped");
        ok_with(&mut shm(["write", &region.0, "-", "--offset=62"]), b"hi");
        ok(shm(["write", &region.0, "--offset=40"]).stdin(File::open(&file.0).unwrap()));
        let mut bytes = [0; 64];
        bytes[..5].copy_from_slice(b"piped");
        bytes[10..21].copy_from_slice(b"from a file");
        bytes[40..51].copy_from_slice(b"from a file");
        bytes[62..].copy_from_slice(b"hi");
        assert_eq!(region.bytes(), bytes);
    }
}

#[test]
fn what_does_not_fit_is_refused_before_a_byte_is_written() {
    let file = Scratch::with("long", &[b'x'; 65]);
    for backend in BACKENDS {
        let region = Region::made(backend, "long", &["64"]);
        for told in [
            fails(&mut shm(["write", &region.0, file.path()]), 1),
            refused(feed(&mut shm(["write", &region.0]), &[b'x'; 65]), 1),
            refused(feed(&mut shm(["write", &region.0, "--offset=60"]), b"12345"), 1),
            // It would never end.
            fails(&mut shm(["write", &region.0, "/dev/zero"]), 1),
        ] {
            assert!(told.contains("nothing was written"), "{told}");
        }
        let told = refused(feed(&mut shm(["write", &region.0, "--offset=65"]), b""), 1);
        assert!(told.contains("has 64 bytes"), "{told}");
        assert_eq!(region.bytes(), [0; 64]);
    }
}

#[test]
fn create_makes_a_region_as_large_as_its_input() {
    // Larger than what is kept in memory.
    let bytes: Vec<u8> = (0..20 << 20).map(|index| (index / 3) as u8).collect();
    let file = Scratch::with("create", &bytes);
    for backend in BACKENDS {
        let piped = Region::new(format!("{backend}:{}", name("piped")));
        ok_with(&mut shm(["write", "--create", &piped.0]), &bytes);
        assert!(piped.bytes() == bytes);
        let filed = Region::new(format!("{backend}:{}", name("filed")));
        ok(&mut shm(["write", "--create", "--mode=644", &filed.0, file.path()]));
        assert!(filed.bytes() == bytes);
        assert_eq!(filed.id().metadata().unwrap().mode(), 0o644);
        let told = fails(&mut shm(["write", "--create", &filed.0, "/proc/self/status"]), 1);
        assert!(told.contains("exists already"), "{told}");
    }
}

#[test]
fn a_file_that_says_it_is_empty_is_read_to_its_end() {
    let region = Region::new(format!("posix:{}", name("proc")));
    ok(&mut shm(["write", "--create", &region.0, "/proc/version"]));
    assert_eq!(region.bytes(), fs::read("/proc/version").unwrap());
}

#[test]
fn empty_input_makes_nothing() {
    for backend in BACKENDS {
        let region = Region::new(format!("{backend}:{}", name("empty")));
        let told = refused(feed(&mut shm(["write", "--create", &region.0]), b""), 1);
        assert!(told.contains("a size of 0"), "{told}");
        assert!(!region.exists());
    }
}

#[test]
fn input_that_cannot_be_read_makes_nothing() {
    let region = Region::new(format!("sysv:{}", name("unread")));
    for (input, why) in [("/no/such/file", "No such file"), ("/tmp", "directory")] {
        let told = fails(&mut shm(["write", "--create", &region.0, input]), 1);
        assert!(told.contains(why) && told.contains(input), "{told}");
    }
    assert!(!region.exists());
}

#[test]
fn options_that_go_together_only_are_asked_for_together() {
    let bare = name("usage");
    for arguments in [
        &["write", "/x", "--mode=600"][..],
        &["write", "/x", "--backend=posix"],
        &["write", "posix:/x", "--create", "--offset=1"],
    ] {
        assert_eq!(shm(arguments.iter().copied()).output().unwrap().status.code(), Some(2), "{arguments:?}");
    }
    let told = fails(&mut shm(["write", "--create", &bare, "/proc/version"]), 2);
    assert!(told.contains("--backend"), "{told}");
}

/// What is written past the end would make it longer again.
#[test]
fn an_object_that_a_peer_shrinks_stays_short() {
    let (region, zeros) = (Region::made("posix", "shrunk", &["256M", "--lazy"]), Scratch::new("zeros"));
    File::create(&zeros.0).unwrap().set_len(256 << 20).unwrap();
    let object = File::options().write(true).open(region.0.replace("posix:", "/dev/shm")).unwrap();
    let child = shm(["write", &region.0, zeros.path()]).stderr(Stdio::piped()).spawn().unwrap();
    eventually(|| region.id().metadata().unwrap().allocated() > Some(0));
    object.set_len(0).unwrap();
    let told = refused(child.wait_with_output().unwrap(), 1);
    assert!(told.contains("shorter"), "{told}");
    assert!(object.metadata().unwrap().len() < 256 << 20);
}

/// The mapping would be SIGBUS.
#[test]
fn a_full_store_is_an_error_and_no_crash() {
    if !crate::support::namespaces() {
        return;
    }
    let said = crate::support::alone(
        r#"mount -o remount,size=1M /dev/shm; "$SHM" create posix:/lazy 8M --lazy
        head -c 8M /dev/zero | "$SHM" write posix:/lazy 2>&1 || echo "code $?""#,
    );
    assert!(said.contains("ENOSPC") && said.ends_with("code 1\n"), "{said}");
}

#[test]
fn a_file_limit_is_an_error_and_no_signal() {
    let region = Region::made("posix", "fsize", &["1M"]);
    let script = "ulimit -f 1; head -c 100000 /dev/zero | \"$0\" write \"$1\"";
    let output =
        std::process::Command::new("sh").args(["-c", script, crate::support::SHM, &region.0]).output().unwrap();
    let told = refused(output, 1);
    assert!(told.contains("RLIMIT_FSIZE"), "{told}");
}

#[test]
fn input_that_takes_its_memory_twice_is_told_of() {
    if !namespaces() {
        return;
    }
    // A TMPDIR in memory, and one that nobody chose.
    let said = alone(
        r#"exec 9< "$SHM"; SHM=/proc/self/fd/9; mount -t tmpfs none /tmp
        head -c 20M /dev/zero | TMPDIR=/tmp "$SHM" write --create posix:/a - 2>&1
        unset TMPDIR; head -c 20M /dev/zero | "$SHM" write --create posix:/b - 2>&1
        stat -c %s /dev/shm/a /dev/shm/b; stat -f -c %T /var/tmp"#,
    );
    let twice = "shm: until all is written the input takes its 20971520 bytes of memory twice, as /tmp is in memory: a TMPDIR on a disk would not";
    let lines: Vec<&str> = said.lines().collect();
    match lines[..] {
        [first, "20971520", "20971520", disk] if disk != "tmpfs" => assert_eq!(first, twice),
        [first, _, "20971520", "20971520", "tmpfs"] => assert_eq!(first, twice),
        _ => panic!("{said}"),
    }
}
