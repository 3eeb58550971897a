//! What is an orphan, what is none, and where that cannot be seen.

use crate::support::{NOBODY, Region, Scratch, alone, fails, has, namespaces, ok, refused, root, shm, shm_as_nobody};

/// A Python program that makes a segment with this key and does `rest`.
fn maker(key: u32, rest: &str) -> String {
    format!("python3 -c 'import ctypes, os, time; assert ctypes.CDLL(None).shmget({key}, 4096, 0o1600) >= 0\n{rest}'")
}

#[test]
fn a_creator_that_nobody_has_waited_for_has_ended() {
    if !namespaces() {
        return;
    }
    let child = maker(7, "");
    let said = alone(&format!(
        r#"python3 -c 'import os, sys
child = os.spawnv(os.P_NOWAIT, "/bin/sh", ["sh", "-c", sys.argv[1]])
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
os.system("\"$SHM\" ls --json; \"$SHM\" ls --orphans | wc -l; grep State /proc/%d/status" % child)' "exec {}"
        "#,
        child.replace('"', "\\\"")
    ));
    assert!(said.contains("Z (zombie)") && said.contains("\"orphan\"") && said.contains("\n2\n"), "{said}");
    assert!(said.contains("\"creator_command\": null"), "{said}");
}

#[test]
fn a_process_that_began_later_is_not_the_creator() {
    if !namespaces() {
        return;
    }
    // The same number again, for a process of another kind. The segment's time is in whole seconds.
    let said = alone(&format!(
        r#"{}; sleep 2.2; creator=$(awk 'NR == 2 {{ print $5 }}' /proc/sysvipc/shm)
        python3 -c 'import os, sys, subprocess
for attempt in range(100):
    open("/proc/sys/kernel/ns_last_pid", "w").write(str(int(sys.argv[1]) - 1))
    child = subprocess.Popen(["sleep", "1000"])
    if child.pid == int(sys.argv[1]): break
    child.kill(); child.wait()
else: sys.exit("the number did not come again")
for options in ["--json"], ["--orphans"]: subprocess.run([os.environ["SHM"], "ls", *options])
subprocess.run([os.environ["SHM"], "stat", "sysv:0x7"]); child.kill()' $creator"#,
        maker(7, "")
    ));
    assert!(said.contains("\"creator_command\": null") && said.contains("\"orphan\""), "{said}");
    assert!(said.contains("creator process") && !said.contains("sleep"), "{said}");
}

#[test]
fn a_creator_that_runs_may_still_attach_its_segment() {
    if !namespaces() {
        return;
    }
    let said = alone(&maker(7, "os.system(\"\\\"$SHM\\\" rm --orphans --yes; \\\"$SHM\\\" ls --json\")"));
    assert!(said.starts_with("there are no orphans\n") && said.contains("\"creator_command\": \"python3\""), "{said}");
}

#[test]
fn without_a_proc_of_its_own_a_creator_that_runs_is_not_known_and_that_is_told() {
    if !namespaces() {
        return;
    }
    // Below the one that was mounted for the namespace lies the other one's, and below that none.
    for unmount in ["umount -l /proc", "umount -l /proc; umount -l /proc"] {
        let script = format!(
            "os.system(\"{unmount}; for command in \\\"ls --orphans\\\" \\\"rm --orphans --yes\\\"; \
            do \\\"$SHM\\\" $command 2>&1; echo code $?; done\")"
        );
        let said = alone(&format!("\"$SHM\" create posix:/a 4K; {}", maker(7, &script)));
        let unseen = "shm: it could not be seen whether these are orphans: sysv:0x7 (its creator is of another PID namespace, or out of sight)";
        let lines: Vec<&str> = said.lines().collect();
        // The kernel tells of POSIX objects without it.
        assert!(lines.iter().any(|line| line.starts_with("posix:/a ") && line.contains("orphan")), "{said}");
        assert_eq!(lines.iter().filter(|line| **line == unseen).count(), 2, "{said}");
        assert_eq!(lines.iter().filter(|line| **line == "code 3").count(), 2, "{said}");
        assert!(lines.contains(&"removed posix:/a"), "{said}");
    }
}

#[test]
fn root_without_the_privilege_to_look_into_all_says_so() {
    if !namespaces() || !has("setpriv") {
        return;
    }
    let script = Scratch::with(
        "holder",
        b"import mmap, os, signal, subprocess
reader, writer = os.pipe()
holder = os.fork()
if holder == 0:
    os.setuid(65534)
    held, mapped = (os.open(f'/dev/shm/{name}', os.O_RDWR | os.O_CREAT) for name in ('held', 'mapped'))
    os.truncate(mapped, 4096)
    map = mmap.mmap(mapped, 4096)
    os.close(mapped)
    os.write(writer, b'1')
    signal.pause()
os.read(reader, 1)
shm = os.environ['SHM']
subprocess.run([shm, 'create', 'posix:/own', '4K'])
# As containers have it by default.
print(subprocess.run(['setpriv', '--bounding-set=-sys_ptrace,-perfmon,-sys_admin,-lease', shm, 'rm', '--orphans', '--yes'], stderr=1).returncode)
os.kill(holder, signal.SIGKILL)
",
    );
    let said = alone(&format!("python3 -u {}; ls /dev/shm | paste -sd ' '", script.path()));
    assert!(said.contains("posix:/held and 1 more (the kernel tells only its owner and root"), "{said}");
    assert!(said.contains("removed posix:/own\n") && said.ends_with("\n3\nheld mapped\n"), "{said}");
}

#[test]
fn what_only_others_may_remove_is_left_alone_and_counted() {
    if !root() {
        return;
    }
    let theirs = [Region::made("posix", "theirs", &["64"]), Region::made("sysv", "theirs", &["64"])];
    let own = [Region::made("posix", "own", &["64"]), Region::made("sysv", "own", &["64"])];
    for region in &own {
        ok(&mut shm(["chown", &NOBODY.to_string(), &region.0]));
    }
    let (mut command, _binary) = shm_as_nobody(["rm", "--orphans", "--dry-run"]);
    let output = command.output().unwrap();
    // Other tests' regions of this user may be in use by processes of root's.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("left alone, as only their owners or root may remove them: "), "{said}");
    for (region, expected) in own.iter().map(|own| (own, true)).chain(theirs.iter().map(|theirs| (theirs, false))) {
        // Segments are listed by their keys.
        let id =
            region.id().name().filter(|_| region.0.starts_with("sysv")).map(|name| format!("{:#x}", name.key() as u32));
        let id = id.map_or(region.0.clone(), |key| format!("sysv:{key}"));
        assert_eq!(said.contains(&format!("would remove {id}\n")), expected, "{said}");
    }
    for region in &theirs {
        let (mut command, _binary) = shm_as_nobody(["rm", "-n", &region.0]);
        let told = fails(&mut command, 1);
        assert!(told.contains("belongs to uid 0, and only they or root may"), "{told}");
    }
    let (mut command, _binary) = shm_as_nobody(["ls", "--orphans"]);
    let told = refused(command.output().unwrap(), 3);
    assert!(told.contains("the kernel tells only its owner and root"), "{told}");
    let (mut command, _binary) = shm_as_nobody(["ls", "--orphans", "--mine", "--backend=posix"]);
    assert!(ok(&mut command).contains(&own[0].0));
}

#[test]
fn what_is_mounted_is_in_use() {
    if !namespaces() {
        return;
    }
    let there = Scratch::with("there", b"");
    let said = alone(&format!(
        r#"echo bytes > '/dev/shm/a b'; echo > /dev/shm/c; mount --bind '/dev/shm/a b' {}
        "$SHM" ls | awk '{{ print $1, $8, $9 }}'; "$SHM" rm --orphans --yes; ls -Q /dev/shm | paste -sd ' '"#,
        there.path()
    ));
    assert!(said.contains("posix:/a%20b ≥1 -\n") && said.contains("posix:/c 0 orphan\n"), "{said}");
    assert!(said.ends_with("removed posix:/c\n\"a b\"\n"), "{said}");
}

#[test]
fn on_file_systems_that_do_not_tell_nothing_is_an_orphan() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"mkdir /dev/shm/up /dev/shm/work /dev/shm/low; here=/dev/shm
        mount -t overlay none -o lowerdir=$here/low,upperdir=$here/up,workdir=$here/work /dev/shm
        echo > /dev/shm/a; "$SHM" rm --orphans --yes 2>&1 || echo code $?; ls /dev/shm"#,
    );
    let told = "shm: it could not be seen whether these are orphans: posix:/a (the file system of /dev/shm does not tell for certain who has a file)";
    assert_eq!(said, format!("no orphan was found\n{told}\ncode 3\na\n"));
}

#[test]
fn only_orphans_that_are_old_enough_go_and_the_others_are_counted() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"for id in posix:/a posix:/b sysv:0x5; do "$SHM" create $id 4K; done; exec 9< /dev/shm/b
        for age in 1000days 0s; do "$SHM" rm --orphans --yes --older-than $age; done"#,
    );
    assert_eq!(
        said,
        "there are no orphans that are old enough\nleft alone, as younger orphans: 2\nremoved posix:/a\nremoved sysv:0x5\n"
    );
    let output = shm(["rm", "--orphans", "--yes", "--older-than", "soon"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(shm(["rm", "posix:/a", "--older-than", "1h"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn orphans_are_chosen_by_pattern_and_by_user() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"for id in posix:/psm_1 posix:/psm_22 posix:/other sysv:0x5; do "$SHM" create $id 4K; done
        "$SHM" chown 65534 posix:/psm_22 posix:/other
        "$SHM" rm --orphans --yes --matching 'posix:/psm_??' --user 65534
        "$SHM" rm --orphans --yes --matching '*psm*'
        "$SHM" ls --user 65534 --columns id; "$SHM" ls --matching 'sysv:*' --columns id
        "$SHM" rm --orphans --yes --user nobody-of-this-name 2>&1 || ls /dev/shm"#,
    );
    assert!(
        said.starts_with("removed posix:/psm_22\nremoved posix:/psm_1\nID\nposix:/other\nID\nsysv:0x5\nshm: "),
        "{said}"
    );
    assert!(said.ends_with("\nother\n"), "{said}");
    assert_eq!(shm(["rm", "posix:/a", "--user", "0"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn a_named_region_goes_only_if_nobody_has_it() {
    for backend in ["posix", "sysv"] {
        let region = Region::made(backend, "used", &["4K"]);
        let held = region.id().open(&shared_region::OpenOptions::new()).unwrap();
        for arguments in [&["rm", "--if-unused", &region.0][..], &["rm", "--if-unused", "-n", &region.0]] {
            let told = fails(&mut shm(arguments.iter().copied()), 1);
            assert!(told.contains("is in use"), "{told}");
        }
        drop(held);
        // A child that another test is just starting may have it for a moment.
        crate::support::eventually(|| shm(["rm", "-n", "--if-unused", &region.0]).output().unwrap().status.success());
        assert!(region.exists());
        crate::support::eventually(|| shm(["rm", "--if-unused", &region.0]).output().unwrap().status.success());
        assert!(!region.exists());
        let told = fails(&mut shm(["rm", "--if-unused", &region.0]), 1);
        assert!(told.contains("see `shm ls`"), "{told}");
    }
}
