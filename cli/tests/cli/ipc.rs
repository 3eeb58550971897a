//! `shm ipc`.

use crate::support::{alone, namespaces};

/// Makes a set, a queue with a message of a process that has ended, and a semaphore with a name.
const MAKE: &str = r#"python3 -c 'import ctypes
libc = ctypes.CDLL(None, use_errno=True)
assert libc.semget(7, 3, 0o1600) >= 0
assert libc.semget(0, 1, 0o1640) >= 0
queue = libc.msgget(8, 0o1600)
assert libc.msgsnd(queue, ctypes.create_string_buffer(b"\1" + bytes(7) + b"hello"), 5, 0) == 0
libc.sem_open.restype = ctypes.c_void_p
assert libc.sem_open(b"/a b", 0o100, 0o600, 1)'
"#;

#[test]
fn semaphores_and_queues_are_listed_with_what_the_system_tells_and_are_removed() {
    if !namespaces() {
        return;
    }
    let said = alone(&format!(
        r#"{MAKE}
        "$SHM" ipc | awk '{{ print $1, $4, $5, $6, $7 }}'; "$SHM" ipc --orphans --json | grep '"id"' | sort
        id=$(awk 'NR == 3 {{ print $2 }}' /proc/sysvipc/sem)
        "$SHM" ipc --rm semaphore:0x7 semaphore:#$id semaphore:/a%20b queue:0x8
        "$SHM" ipc --json; tail -n +2 /proc/sysvipc/sem /proc/sysvipc/msg -q; ls /dev/shm
        "$SHM" ipc --rm queue:0x8 2>&1 || echo code $?; "$SHM" ipc posix:/a 2>&1 || echo code $?"#
    ));
    let lines: Vec<&str> = said.lines().collect();
    // Of a private set the id is what there is.
    let private = lines.iter().position(|line| line.starts_with("semaphore:#")).expect(&said);
    assert!(lines[private].contains(" 0640 1 - "), "{said}");
    assert!(lines.iter().any(|line| line.starts_with("semaphore:0x7 0600 3 - ")), "{said}");
    assert!(lines.iter().any(|line| line.starts_with("semaphore:/a%20b 0600 1 orphan ")), "{said}");
    assert!(lines.iter().any(|line| line.starts_with("queue:0x8 0600 1 5 orphan")), "{said}");
    let rest = lines.iter().position(|line| line.contains("\"id\"")).expect(&said);
    let expected = [
        "    \"id\": \"queue:0x8\",",
        "    \"id\": \"semaphore:/a%20b\",",
        "[]",
        "shm: there is no \"queue:0x8\": see `shm ipc`",
        "code 1",
        "shm: \"posix:/a\" is no ID here: write semaphore:0xKEY, semaphore:#ID or semaphore:/NAME, or the same with queue",
        "code 1",
    ];
    assert_eq!(lines[rest..], expected, "{said}");
}

#[test]
fn a_queue_whose_sender_runs_and_a_semaphore_that_is_open_are_no_orphans() {
    if !namespaces() {
        return;
    }
    let script = MAKE.replace("1)'\n", "1)\nimport os; os.system(\"\\\"$SHM\\\" ipc --orphans --json\")'\n");
    assert_eq!(alone(&script), "[]\n");
}

#[test]
fn a_posix_queue_is_listed_and_removed_where_its_file_system_is_mounted() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; mkdir /dev/shm /dev/mqueue
        mount -t mqueue none /dev/mqueue; mount -t tmpfs none /dev/shm
        python3 -c 'import ctypes
libc = ctypes.CDLL(None, use_errno=True)
queue = libc.mq_open(b"/jobs", 0o102, 0o600, None)
assert queue >= 0 and libc.mq_send(queue, b"hello", 5, 0) == 0'
        "$SHM" ipc queue:/jobs | awk '{ print $1, $4, $6 }'; "$SHM" ipc --rm queue:/jobs; ls /dev/mqueue"#,
    );
    assert_eq!(said, "QUEUES MODE BYTES\nqueue:/jobs 0600 5\n");
}
