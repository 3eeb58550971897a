//! What the tool says where it cannot see, or where what it does would not last.

use std::process::Command;

use crate::support::{Region, SHM, alone, fails, name, namespaces, ok, refused, root, shm_as_nobody};

/// Runs a line of shell in which `$SHM` is the tool.
fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).env("SHM", SHM);
    command
}

#[test]
fn output_that_is_closed_is_a_failure_of_all_that_write_there() {
    let region = Region::made("posix", "closed", &["64"]);
    let id = &region.0;
    for arguments in [
        "ls",
        "ls --json",
        &format!("stat {id}"),
        &format!("read {id}"),
        "limits",
        "probe",
        "man",
        "--help",
        "--version",
    ] {
        let told = fails(&mut shell(&format!("exec \"$SHM\" {arguments} >&-")), 1);
        assert!(told.contains("cannot write to standard output"), "{arguments}: {told}");
    }
    // Who says nothing needs nothing.
    ok(&mut shell(&format!("exec \"$SHM\" chmod 644 {id} >&-")));
    // What is open is open, whatever it is, and the runtime's /dev/null is no part of that.
    ok(&mut shell("exec \"$SHM\" ls <>/dev/null 1<>/dev/null"));
}

#[test]
fn input_that_is_closed_is_a_failure_and_makes_nothing() {
    let (region, new) = (Region::made("posix", "closed", &["64"]), Region::new(format!("posix:{}", name("new"))));
    for arguments in [format!("write {}", region.0), format!("write --create {}", new.0)] {
        let told = fails(&mut shell(&format!("exec \"$SHM\" {arguments} <&-")), 1);
        assert!(told.contains("cannot read standard input"), "{told}");
    }
    assert!(!new.exists());
    ok(&mut shell(&format!("exec \"$SHM\" write {} </dev/null", region.0)));
}

#[test]
fn what_the_system_would_remove_at_once_is_refused_before_anything_is_done() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"echo 1 > /proc/sys/kernel/shm_rmid_forced; "$SHM" create posix:/kept 4K
        for what in "create sysv:/a 4K" "write --create sysv:/a" "copy posix:/kept sysv:/a"; do
            echo text | "$SHM" $what 2>&1 || echo "code $?"
        done
        echo rest | { "$SHM" write --create sysv:/a 2> /dev/null || cat; }
        "$SHM" ls | wc -l; echo 0 > /proc/sys/kernel/shm_rmid_forced; "$SHM" create sysv:/a 4K; "$SHM" ls | wc -l"#,
    );
    let lines: Vec<&str> = said.lines().collect();
    for pair in lines[..6].chunks(2) {
        assert!(pair[0].starts_with("shm: cannot make sysv:/a: kernel.shm_rmid_forced is 1"), "{said}");
        assert!(pair[0].contains("root") && pair[1] == "code 1", "{said}");
    }
    // Its input has not been read, either.
    assert_eq!(lines[6..], ["rest", "2", "3"], "{said}");
}

#[test]
fn removed_objects_are_listed_with_who_has_them() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#""$SHM" create '/dev/shm/gone away' 4M; exec 9< '/dev/shm/gone away'; rm '/dev/shm/gone away'
        "$SHM" create posix:/there 64K; "$SHM" ls --backend posix 9<&-; "$SHM" ls --backend sysv; "$SHM" ls --orphans
        "$SHM" ls --json --backend posix 9<&- | grep -A 2 held_by; "$SHM" rm --orphans -y"#,
    );
    let line: Vec<&str> = said.lines().find(|line| line.starts_with("removed:")).unwrap().split_whitespace().collect();
    assert_eq!((line[0], line[4], line[5], line[6]), ("removed:/gone%20away", "0600", "4194304", "4194304"), "{said}");
    assert_eq!((line[7], line[8], &line[12][line[12].len() - 3..]), ("≥1", "removed", "/sh"), "{said}");
    assert_eq!(said.matches("removed:/gone").count(), 1, "{said}");
    assert!(said.contains("\"pid\"") && said.ends_with("removed posix:/there\n"), "{said}");
}

#[test]
fn what_is_listed_in_full_adds_up_to_what_is_in_use_or_the_rest_is_told() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"mkdir /dev/shm/folder; head -c 65536 /dev/zero > /dev/shm/folder/file; head -c 100 /dev/zero > /dev/shm/sem.one
        "$SHM" create posix:/named 1M; "$SHM" create posix:/gone 2M; exec 9< /dev/shm/gone; rm /dev/shm/gone
        python3 -c 'import os, socket, subprocess, sys
memfd = os.memfd_create("of python"); os.truncate(memfd, 8192)
shm = [os.environ["SHM"], "ls", "--all", "--backend", "posix"]
print("sum", sum(int(line.split()[6]) for line in subprocess.run(shm, check=True, capture_output=True, text=True).stdout.splitlines()[1:]))
print("told", subprocess.run(shm, check=True, capture_output=True, text=True).stderr)
subprocess.run(shm, check=True)
# Under way through a socket, where nobody sees it.
one, other = socket.socketpair()
file = os.open("/dev/shm/named", os.O_RDONLY); os.unlink("/dev/shm/named")
socket.send_fds(one, [b"x"], [file]); os.close(file)
subprocess.run(shm, check=True, stderr=subprocess.STDOUT)' 2>&1"#,
    );
    // The memfd is in no store, and nobody has touched it.
    let sum = 65536 + 4096 + (1 << 20) + (2 << 20);
    assert!(said.starts_with(&format!("sum {sum}\ntold \n")), "{said}");
    for id in ["file:/folder/file", "file:/sem.one", "posix:/named", "removed:/gone", "memfd:of%20python"] {
        assert!(said.lines().any(|line| line.starts_with(&format!("{id} "))), "{id}: {said}");
    }
    assert!(
        said.contains(&format!("\nshm: 1048576 of the {sum} bytes that are in use in /dev/shm are in none")),
        "{said}"
    );
}

/// On overlayfs the kernel grants a lease on what is mapped, and in a PID namespace others do not show.
#[test]
fn orphans_that_cannot_be_told_are_left_and_that_is_said() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"mkdir /dev/shm/a /dev/shm/b /dev/shm/c
        mount -t overlay -o lowerdir=/dev/shm/a,upperdir=/dev/shm/b,workdir=/dev/shm/c none /dev/shm
        "$SHM" create posix:/unknown 4K
        for what in "ls --orphans --backend posix" "rm --orphans -y"; do "$SHM" $what 2>&1 || echo "code $?"; done; ls /dev/shm"#,
    );
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("ID "), "{said}");
    for pair in [&lines[1..3], &lines[3..5]] {
        assert!(pair[0].starts_with("shm: whether somebody uses 1 region"), "{said}");
        assert!(pair[0].contains("other PID namespaces") && pair[1] == "code 3", "{said}");
    }
    assert_eq!(lines[5..], ["unknown"], "{said}");
}

#[test]
fn without_proc_nothing_is_called_an_orphan_of_which_that_is_not_known() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#""$SHM" create posix:/others 4K; "$SHM" create posix:/own 4K; "$SHM" chown 65534:65534 posix:/own; umount -l /proc
        setpriv --reuid 65534 --regid 65534 --clear-groups sh -c '
            "$SHM" ls --orphans --backend posix 2>&1 | cut -d " " -f 1-8; "$SHM" rm --orphans -y --backend posix; ls /dev/shm'"#,
    );
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[1].starts_with("posix:/own "), "{said}");
    assert!(lines[2].starts_with("shm: whether somebody uses 1 region "), "{said}");
    // What is one's own the kernel tells; the rest is others' to clean up.
    assert_eq!(lines[3..], ["removed posix:/own", "others"], "{said}");
}

#[test]
fn a_dry_run_says_who_may_not_remove() {
    if !root() {
        return;
    }
    for backend in ["posix", "sysv"] {
        let region = Region::made(backend, "theirs", &["64", "--mode=644"]);
        let (mut command, _binary) = shm_as_nobody(["rm", "-n", &region.0]);
        let told = refused(command.output().unwrap(), 1);
        assert!(told.contains("permission denied") && told.contains("uid 0"), "{told}");
    }
}
