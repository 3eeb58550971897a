//! `shm ls`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{BACKENDS, Region, SHM, alone, namespaces, ok, shm};

/// The fields of the README's table.
const FIELDS: [&str; 18] = [
    "attached",
    "attached_exact",
    "backend",
    "changed",
    "creator_command",
    "creator_pid",
    "creator_uid",
    "gid",
    "group",
    "id",
    "mode",
    "native_id",
    "owner",
    "pids",
    "resident",
    "size",
    "status",
    "uid",
];

fn json(arguments: &[&str]) -> Vec<Value> {
    serde_json::from_str(&ok(shm(["ls", "--json"]).args(arguments))).unwrap()
}

/// What JSON says of a region. A segment is listed under its key.
fn entry(region: &Region, arguments: &[&str]) -> Option<Value> {
    let number = region.id().metadata().unwrap().native_id();
    let backend = region.0.split_once(':').unwrap().0;
    json(arguments).into_iter().find(|entry| entry["native_id"].as_u64() == number && entry["backend"] == backend)
}

#[test]
fn both_kinds_are_in_one_list_with_stable_fields() {
    for backend in BACKENDS {
        let region = Region::made(backend, "list", &["5000", "--mode=640"]);
        let entry = entry(&region, &[]).unwrap();
        let fields: BTreeSet<&str> = entry.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, BTreeSet::from(FIELDS));
        assert_eq!((&entry["size"], &entry["mode"]), (&5000.into(), &"0640".into()));
        let uid = nix::unistd::geteuid().as_raw();
        assert_eq!(entry["uid"], uid);
        assert!(entry["changed"].as_str().unwrap().ends_with('Z'));
        assert!(entry["owner"].is_string() && entry["status"].is_array());
        let id = entry["id"].as_str().unwrap();
        assert_eq!(ok(&mut shm(["read", id])).len(), 5000);
    }
}

#[test]
fn piped_it_is_one_line_of_words_for_each() {
    let posix = Region::made("posix", "piped", &["123456"]);
    let listed = ok(&mut shm(["ls", "--backend=posix"]));
    let mut lines = listed.lines();
    let header: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(
        header,
        [
            "ID", "NATIVE", "OWNER", "GROUP", "MODE", "SIZE", "RESIDENT", "ATTACHED", "STATUS", "CHANGED", "CPID",
            "CREATOR", "HOLDERS"
        ]
    );
    let line: Vec<&str> = lines.find(|line| line.starts_with(&posix.0)).unwrap().split_whitespace().collect();
    assert_eq!(line.len(), header.len());
    assert_eq!((line[4], line[5], line[10]), ("0600", "123456", "-"));
}

#[test]
fn one_kind_can_be_asked_for() {
    let (posix, sysv) = (Region::made("posix", "kind", &["64"]), Region::made("sysv", "kind", &["64"]));
    assert!(entry(&posix, &["--backend=posix"]).is_some() && entry(&posix, &["--backend=sysv"]).is_none());
    assert!(entry(&sysv, &["--backend=sysv"]).is_some() && entry(&sysv, &["--backend=posix"]).is_none());
}

#[test]
fn it_is_sorted_as_asked() {
    let said = |arguments: &[&str], pick: &dyn Fn(&Value) -> Option<u64>| -> Vec<u64> {
        json(arguments).iter().map(|entry| pick(entry).unwrap_or(0)).collect()
    };
    let (_small, _large) = (Region::made("posix", "sort", &["64"]), Region::made("sysv", "sort", &["64K"]));
    for column in ["size", "resident", "attached"] {
        let values = said(&["--sort", column], &|entry| entry[column].as_u64());
        assert!(values.is_sorted_by(|a, b| a >= b), "{column}: {values:?}");
    }
    let values = said(&["--sort=native"], &|entry| entry["native_id"].as_u64());
    assert!(values.is_sorted(), "{values:?}");
    for (column, upwards) in [("owner", true), ("changed", false)] {
        let values: Vec<String> =
            json(&["--sort", column]).iter().map(|entry| entry[column].as_str().unwrap().to_owned()).collect();
        assert!(values.is_sorted_by(|a, b| if upwards { a <= b } else { a >= b }), "{column}: {values:?}");
    }
    assert_eq!(shm(["ls", "--sort=colour"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn an_orphan_has_nobody_attached_and_no_creator() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"
        "$SHM" create sysv:0x99 4K; "$SHM" create posix:/orphan 4K; "$SHM" create posix:/open 4K
        python3 -c 'import ctypes, os, subprocess
libc = ctypes.CDLL(None); libc.shmat.restype = ctypes.c_void_p
held = open("/dev/shm/open")
libc.shmget(77, 100, 0o1600); libc.shmat(libc.shmget(78, 100, 0o1600), None, 0)
for options in ["--orphans"], []: subprocess.run([os.environ["SHM"], "ls", *options], check=True)' |
            awk '{ print $1, $8, $9, $12 }'
        "$SHM" ls --orphans --backend posix --json | grep -c '"orphan"'"#,
    );
    let lines: Vec<&str> = said.lines().collect();
    // A creator that lives may still attach its segment; what is open is in use.
    let header = "ID ATTACHED STATUS CREATOR";
    assert_eq!(lines[..4], [header, "posix:/orphan 0 orphan -", "sysv:0x99 0 orphan -", header], "{said}");
    let all: BTreeSet<&str> = lines[4..].iter().copied().collect();
    let expected = [
        // In a PID namespace others may have it too.
        "posix:/open ≥1 - -",
        "posix:/orphan 0 orphan -",
        "sysv:0x99 0 orphan -",
        "sysv:0x4d 0 - python3",
        "sysv:0x4e 1 - python3",
        // By then nobody holds the other either.
        "2",
    ];
    assert_eq!(all, BTreeSet::from(expected), "{said}");
}

#[test]
fn a_creator_of_another_pid_namespace_is_not_called_gone() {
    if !namespaces() {
        return;
    }
    let region = Region::made("sysv", "elsewhere", &["64"]);
    assert_eq!(entry(&region, &[]).unwrap()["status"], serde_json::json!(["orphan"]));
    let mut inside = std::process::Command::new("unshare");
    inside.args(["--pid", "--fork", "--kill-child", "--mount-proc", SHM, "ls", "--json", "--backend=sysv"]);
    let listed: Vec<Value> = serde_json::from_str(&ok(&mut inside)).unwrap();
    let number = region.id().metadata().unwrap().native_id();
    let entry = listed.iter().find(|entry| entry["native_id"].as_u64() == number).unwrap();
    assert_eq!((&entry["status"], &entry["creator_pid"]), (&serde_json::json!([]), &Value::Null));
}

#[test]
fn removed_and_locked_segments_are_told_and_objects_of_size_0_listed() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"python3 -c 'import ctypes, os, subprocess
libc = ctypes.CDLL(None); libc.shmat.restype = ctypes.c_void_p
removed, locked = libc.shmget(0, 100, 0o1600), libc.shmget(5, 100, 0o1600)
libc.shmat(removed, None, 0); libc.shmctl(removed, 0, None); libc.shmctl(locked, 11, None)
open("/dev/shm/empty", "w")
print(removed, flush=True); subprocess.run([os.environ["SHM"], "ls"])' "#,
    );
    let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    let of = |id: &str| lines.iter().find(|line| line[0] == id).unwrap_or_else(|| panic!("{id}: {said}"));
    let removed = of(&format!("sysv:#{}", lines[0][0]));
    assert_eq!((removed[7], removed[8]), ("1", "removed"));
    assert_eq!(of("sysv:0x5")[8], "locked");
    assert_eq!((of("posix:/empty")[5], of("posix:/empty")[8]), ("0", "orphan"));
}

#[test]
fn many_are_listed_right() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"python3 -c 'import ctypes
libc = ctypes.CDLL(None)
for i in range(4000): assert libc.shmget(100000 + i, 100 + i, 0o1600) >= 0
for i in range(10000):
    with open(f"/dev/shm/object-{i}", "w") as f: f.truncate(i)'
        "$SHM" ls --json"#,
    );
    let entries: Vec<Value> = serde_json::from_str(&said).unwrap();
    assert_eq!(entries.len(), 14_000);
    let facts: BTreeSet<(String, u64)> = entries
        .iter()
        .map(|entry| (entry["id"].as_str().unwrap().to_owned(), entry["size"].as_u64().unwrap()))
        .collect();
    let segments = (0..4000).map(|index| (format!("sysv:{:#x}", 100_000 + index), 100 + index));
    let objects = (0..10_000).map(|index| (format!("posix:/object-{index}"), index));
    assert_eq!(facts, segments.chain(objects).collect());
}

#[test]
fn what_is_missing_is_told_and_the_rest_is_listed() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"umount /dev/shm; mount -t tmpfs none /dev; mkdir /dev/ok; mknod /dev/null c 1 3
        "$SHM" create sysv:/still-there 4K; "$SHM" ls 2>/dev/ok/told || echo "code $?"; cat /dev/ok/told"#,
    );
    assert!(
        said.contains("sysv:0x")
            && said.contains("code 1\nshm: cannot list POSIX region: ")
            && said.contains("/dev/shm"),
        "{said}"
    );
}

#[test]
fn what_has_no_name_and_takes_memory_is_listed_and_adds_up() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"python3 -c 'import json, mmap, os, socket, subprocess
def make(name, size):
    file = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(file, b"x" * size, 0)
    return file
file = make("/dev/shm/mapped x", 8192)
map = mmap.mmap(file, 8192)
os.close(file)
held = make("/dev/shm/open", 4096), os.memfd_create("mem")
for name in "mapped x", "open": os.unlink("/dev/shm/" + name)
os.close(make("/dev/shm/open", 100))
os.mkdir("/dev/shm/sub")
for name in "sub/file", "sem.s": os.close(make("/dev/shm/" + name, 1))
one, other = socket.socketpair()
sent = make("/dev/shm/sent", 12288)
os.unlink("/dev/shm/sent")
socket.send_fds(one, [b"x"], [sent])
os.close(sent)
used = json.loads(subprocess.check_output([os.environ["SHM"], "limits", "--json"]))["posix"]["used"]
print(used)
for options in [], ["--all"], ["--all", "--json"]: subprocess.run([os.environ["SHM"], "ls", *options])'"#,
    );
    let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    let tables: Vec<usize> = (0..lines.len()).filter(|&line| lines[line].first() == Some(&"ID")).collect();
    let named = |line: &&Vec<&str>, start: &str, end: &str| {
        line.first().is_some_and(|id| id.starts_with(start) && id.ends_with(end))
    };
    for (table, all) in [(&lines[tables[0]..tables[1]], false), (&lines[tables[1]..], true)] {
        for (start, end, size, attached, status) in [
            ("posix:#", "/mapped%20x", "8192", "≥1", "removed"),
            ("posix:#", "/open", "4096", "≥1", "removed"),
            ("posix:/", "open", "100", "0", "orphan"),
        ] {
            let line = table.iter().find(|line| named(line, start, end)).unwrap_or_else(|| panic!("{end}: {said}"));
            assert_eq!((line[5], line[7], line[8]), (size, attached, status), "{said}");
            assert_eq!(line[12].ends_with("/python3"), status == "removed", "{said}");
        }
        for (start, end) in [("memfd:#", "/mem"), ("semaphore:/s", ""), ("/dev/shm/sub/file", "")] {
            assert_eq!(table.iter().any(|line| named(&line, start, end)), all, "{start}: {said}");
        }
    }
    // What is under way in a socket no process shows.
    let sum = "36KiB of /dev/shm in use: 4KiB by objects, 12KiB by removed ones, 8KiB by semaphores and other files, \
        12KiB by what could not be seen";
    assert!(said.starts_with("36864\n") && said.lines().any(|line| line == sum), "{said}");
    let json: Vec<Value> = serde_json::from_str(&said[said.find("\n[").unwrap()..]).unwrap();
    let removed = json.iter().find(|item| item["id"].as_str().unwrap().ends_with("/mapped%20x")).unwrap();
    // It is no identity, as another object may have the name.
    assert_eq!(shm(["rm", removed["id"].as_str().unwrap()]).output().unwrap().status.code(), Some(2));
    assert_eq!((&removed["backend"], &removed["resident"]), (&"posix".into(), &8192.into()));
    assert_eq!(removed["pids"].as_array().unwrap().len(), 1);
}

#[test]
fn of_one_process_what_it_has_is_listed_with_a_sum() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"for id in posix:/held posix:/other sysv:0x7 sysv:0x8; do "$SHM" create $id 8K; done
        python3 -c 'import ctypes, mmap, os, subprocess
libc = ctypes.CDLL(None)
libc.shmat(libc.shmget(7, 0, 0), None, 0)
held = os.open("/dev/shm/held", os.O_RDWR)
shm, pid = os.environ["SHM"], str(os.getpid())
subprocess.run([shm, "ls", "--pid", pid, "--columns", "id,size", "--sum"])
print(subprocess.run([shm, "ls", "--pid", "999999"], stderr=1).returncode)' 2>&1"#,
    );
    let lines: Vec<String> = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected =
        ["ID SIZE", "posix:/held 8192", "sysv:0x7 8192", "", "2 listed: 16384 bytes, 8192 bytes of them resident"];
    assert_eq!(lines[..5], expected, "{said}");
    assert!(lines[5].starts_with("shm: cannot see what process 999999 has: No such file") && lines[6] == "1", "{said}");
}

#[test]
fn inside_of_a_container_its_regions_are_listed_examined_and_removed() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#""$SHM" create posix:/outside 4K
        unshare --mount --ipc sh -c 'mount -t tmpfs -o mode=1777 none /dev/shm
            "$SHM" create posix:/inside 8K; "$SHM" create sysv:0x7 8K; echo ready; exec sleep 1000' > /tmp/inside.$$ &
        container=$!
        until grep -q ready /tmp/inside.$$; do sleep 0.02; done; rm /tmp/inside.$$
        "$SHM" ls --inside $container --columns id,owner,size
        "$SHM" stat --inside $container /dev/shm/inside | head -1
        "$SHM" create --backend posix /again 4K; "$SHM" stat /proc/$container/root/dev/shm/inside | head -1
        "$SHM" stat /proc/$container/root/dev/shm/inside posix:/again 2>&1 || echo code $?
        "$SHM" rm posix:/again /proc/$container/root/dev/shm/inside 2>/dev/null || echo code $?
        "$SHM" rm /proc/$container/root/dev/shm/inside; "$SHM" rm --inside $container sysv:0x7
        "$SHM" ls --inside $container --columns id; "$SHM" ls --columns id
        "$SHM" ls --inside 999999 2>&1 || echo code $?
        kill $container; echo $container"#,
    );
    let (said, pid) = said.trim_end().rsplit_once('\n').unwrap();
    let said = said.replace(&format!("process {pid} "), "process PID ");
    let lines: Vec<String> = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "ID OWNER SIZE",
        "posix:/inside 0 8192",
        "sysv:0x7 0 8192",
        "posix:/inside",
        "posix:/inside",
        "shm: posix:/inside of process PID can be reached by `shm stat` and `shm rm`, and only those of one process at a time",
        "code 2",
        "code 2",
        "ID",
        "ID",
        "posix:/outside",
        "shm: cannot look inside of process 999999: there is no process 999999",
        "code 1",
    ];
    assert_eq!(lines, expected, "{said}");
}

#[test]
fn what_every_container_has_is_one_table() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#""$SHM" create posix:/outside 4K; "$SHM" create sysv:0x7 4K
        unshare --mount --ipc sh -c 'mount -t tmpfs -o mode=1777 none /dev/shm
            "$SHM" create posix:/inside 8K; "$SHM" create sysv:0x7 8K; echo ready; exec sleep 1000' > /tmp/every.$$ &
        container=$!
        # Another view of the same memory adds nothing.
        unshare --mount sleep 1000 & other=$!
        until grep -q ready /tmp/every.$$; do sleep 0.02; done; rm /tmp/every.$$
        echo $container; "$SHM" ls --all-namespaces | awk '{ print $1, $2, $5 }'
        "$SHM" ls --all-namespaces --json | grep -c '"inside"'; kill $container $other"#,
    );
    let (pid, said) = said.split_once('\n').unwrap();
    let said = said.replace(&format!("{pid}/sleep"), "container");
    let expected = "INSIDE ID SIZE\nhere posix:/outside 4096\nhere sysv:0x7 4096\n\
        container posix:/inside 8192\ncontainer sysv:0x7 8192\n4\n";
    assert_eq!(said, expected);
}
