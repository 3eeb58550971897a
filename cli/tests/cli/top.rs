//! `shm top`, `shm ls --prometheus`.

use serde_json::Value;

use crate::support::{alone, namespaces};

#[test]
fn a_stream_says_what_grew_and_who_came() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#""$SHM" create posix:/grows 1M --lazy
        "$SHM" top --every 200ms --count 10 | python3 -c 'import mmap, os, sys
map = None
for line in sys.stdin:
    print(line, end="", flush=True)
    if map is None:
        held = os.open("/dev/shm/grows", os.O_RDWR)
        map = mmap.mmap(held, 1 << 20)
        os.close(held)
        map[:8192] = bytes(8192)
        os.system("\"$SHM\" create posix:/new 4K")'"#,
    );
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |id: &str| lines.iter().filter(move |line| line["id"] == id).collect::<Vec<_>>();
    let numbers = |line: &Value| (line["grew"].as_i64(), line["came"].as_i64(), line["new"].as_bool());
    let grows: Vec<_> = of("posix:/grows").into_iter().map(numbers).collect();
    assert_eq!(grows[0], (Some(0), Some(0), Some(false)), "{said}");
    // At one look each, whichever.
    let grew: i64 = grows.iter().filter_map(|line| line.0).sum();
    let came: i64 = grows.iter().filter_map(|line| line.1).sum();
    assert_eq!((grows.len(), grew, came), (10, 8192, 1), "{said}");
    let new: Vec<_> = of("posix:/new").into_iter().filter_map(|line| line["new"].as_bool()).collect();
    assert!(new[0] && new.len() > 1 && !new[1..].contains(&true), "{said}");
}

#[test]
fn in_a_terminal_of_any_width_it_is_a_table_and_ends_by_ctrl_c() {
    if !namespaces() {
        return;
    }
    for width in [200, 80, 30] {
        let said = alone(&format!(
            r#""$SHM" create posix:/grows 1M
            python3 -c 'import fcntl, os, pty, struct, sys, termios, time
pid, terminal = pty.fork()
if pid == 0:
    time.sleep(0.2)
    os.execv(os.environ["SHM"], ["shm", "top", "--every", "100ms"])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, {width}, 0, 0))
shown = ""
while shown.count("RESIDENT") < 3: shown += os.read(terminal, 4096).decode()
os.write(terminal, b"\x03")
begin = time.monotonic()
_, status = os.waitpid(pid, 0)
print(os.WTERMSIG(status), time.monotonic() - begin < 2, max(len(line) for line in shown.replace("\x1b[H\x1b[J", "").splitlines()) <= {width}, "1 listed, 1MiB resident" in shown)'"#
        ));
        assert_eq!(said, "2 True True True\n", "{width}");
    }
}

#[test]
fn numbers_for_prometheus_are_sums_for_each_kind_and_owner() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#""$SHM" create posix:/a 4K; "$SHM" create posix:/b 4K; "$SHM" create sysv:0x7 4K; chown 12345 /dev/shm/b
        "$SHM" ls --prometheus"#,
    );
    for line in [
        "# TYPE shm_regions gauge",
        "shm_regions{backend=\"posix\",owner=\"root\"} 1",
        "shm_regions{backend=\"posix\",owner=\"12345\"} 1",
        "shm_size_bytes{backend=\"sysv\",owner=\"root\"} 4096",
        "shm_orphans{backend=\"posix\",owner=\"root\"} 1",
        "shm_sysv_pages 1",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
    // Each metric has its two lines of head, and each other line a name and a number.
    assert!(said.lines().all(|line| line.starts_with("# ") || line.rsplit_once(' ').unwrap().1.parse::<u64>().is_ok()));
}
