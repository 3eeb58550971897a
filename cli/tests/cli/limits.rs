//! `shm limits`, `shm probe`.

use std::fs;

use serde_json::Value;

use crate::support::{alone, namespaces, ok, root, shm, skip};

fn sysctl(name: &str) -> u64 {
    fs::read_to_string(format!("/proc/sys/{name}")).unwrap().trim().parse().unwrap()
}

#[test]
fn limits_are_the_systems() {
    let said: Value = serde_json::from_str(&ok(&mut shm(["limits", "--json"]))).unwrap();
    // A process of 32 bits hears of a smaller segment at most, and of the low half of the rest (the kernel's ipc/shm.c).
    let (shmmax, shmall) = match (usize::BITS, sysctl("kernel/shmmax"), sysctl("kernel/shmall")) {
        (64, shmmax, shmall) => (shmmax, shmall),
        (_, shmmax, shmall) => (shmmax.min(i32::MAX as u64), u64::from(shmall as u32)),
    };
    assert_eq!(said["sysv"]["shmmax"].as_u64(), Some(shmmax));
    assert_eq!(said["sysv"]["shmall_pages"].as_u64(), Some(shmall));
    assert_eq!(said["sysv"]["shmmni"].as_u64(), Some(sysctl("kernel/shmmni")));
    assert_eq!(said["shm_rmid_forced"].as_u64(), Some(sysctl("kernel/shm_rmid_forced")));
    assert_eq!(said["protected_regular"].as_u64(), Some(sysctl("fs/protected_regular")));
    assert_eq!(said["huge_pages"]["total"].as_u64(), Some(sysctl("vm/nr_hugepages")));
    assert_eq!(said["posix"]["size"].as_u64(), Some(shared_region_posix::store().unwrap().total()));
    let (soft, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_MEMLOCK).unwrap();
    let limit = |value| (value != nix::sys::resource::RLIM_INFINITY).then_some(value as _);
    assert_eq!((said["memlock"]["soft"].as_u64(), said["memlock"]["hard"].as_u64()), (limit(soft), limit(hard)));
}

#[test]
fn memory_limits_are_those_that_the_crate_compares() {
    let said: Value = serde_json::from_str(&ok(&mut shm(["limits", "--json"]))).unwrap();
    let told = said["memory_limits"].as_array().unwrap();
    let limits = shared_region::memory_limits();
    assert_eq!(told.len(), limits.len());
    for (told, limit) in told.iter().zip(&limits) {
        assert_eq!((told["path"].as_str(), told["max"].as_u64()), (limit.path().to_str(), Some(limit.max())));
        assert!(told["used"].is_u64() && told["left"].is_u64());
    }
    assert_eq!(ok(&mut shm(["limits"])).matches("memory of the container").count(), limits.len());
}

#[test]
fn the_limit_of_a_control_group_is_shown_with_its_file() {
    if !root() {
        return;
    }
    // In either version of control groups; the second has the memory controller on one of them at most.
    let script = r#"
        while read -r _ point kind options _; do
            case "$kind,$options" in
                cgroup,*memory*) limit=memory.limit_in_bytes ;;
                cgroup2,*) limit=memory.max ;;
                *) continue ;;
            esac
            group="$point/shm-limits-$$"
            mkdir "$group" 2>/dev/null || continue
            if [ -e "$group/$limit" ] && echo 67108864 > "$group/$limit"; then
                sh -c 'echo $$ > "$1/cgroup.procs" && exec "$SHM" limits --json' sh "$group"
                echo "$group/$limit"
            fi
            # Who was in it may be counted for a moment longer.
            for _ in 1 2 3 4 5 6 7 8 9; do rmdir "$group" 2>/dev/null && break; done
        done < /proc/self/mounts"#;
    let output = std::process::Command::new("sh").arg("-c").arg(script).env("SHM", env!("CARGO_BIN_EXE_shm")).output();
    let said = String::from_utf8(output.unwrap().stdout).unwrap();
    let Some((told, path)) = said.trim_end().rsplit_once('\n') else {
        return skip("no control group with a limit of memory can be made here");
    };
    let told: Value = serde_json::from_str(told).unwrap();
    let limit = told["memory_limits"].as_array().unwrap().iter().find(|limit| limit["path"] == path).unwrap();
    assert_eq!(limit["max"], 67_108_864);
    assert!(limit["used"].as_u64() < Some(67_108_864) && limit["left"].as_u64() > Some(1 << 20), "{limit}");
}

#[test]
fn each_limit_says_how_to_raise_it() {
    let said = ok(&mut shm(["limits"]));
    for (limit, how) in [
        ("SHMMAX", "kernel.shmmax"),
        ("SHMALL", "kernel.shmall"),
        ("SHMMNI", "kernel.shmmni"),
        ("/dev/shm, bytes", "remount,size="),
        ("/dev/shm, objects", "nr_inodes="),
        ("locked memory", "ulimit -l"),
        ("huge pages", "vm.nr_hugepages"),
        ("shm_rmid_forced", "kernel.shm_rmid_forced"),
        ("protected_regular", "fs.protected_regular"),
    ] {
        let line = said.lines().find(|line| line.starts_with(limit)).unwrap_or_else(|| panic!("{limit}: {said}"));
        assert!(line.contains(how), "{line}");
    }
}

#[test]
fn use_is_counted_in_the_namespaces_that_are_seen() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"mount -o remount,size=1M,nr_inodes=100 /dev/shm; echo 12345678 > /proc/sys/kernel/shmmax
        echo 99 > /proc/sys/kernel/shmmni; "$SHM" create posix:/a 64K; "$SHM" create sysv:/a 10000; "$SHM" limits --json"#,
    );
    let said: Value = serde_json::from_str(&said).unwrap();
    let posix = &said["posix"];
    assert_eq!((&posix["size"], &posix["used"]), (&(1 << 20).into(), &65_536.into()));
    // The directory is one of them, and no object.
    assert_eq!((&posix["inodes"], &posix["inodes_used"]), (&100.into(), &1.into()));
    let sysv = &said["sysv"];
    assert_eq!((&sysv["shmmax"], &sysv["shmmni"]), (&12_345_678.into(), &99.into()));
    assert_eq!((&sysv["segments"], &sysv["pages"]), (&1.into(), &3.into()));
}

#[test]
fn what_works_is_told() {
    let said = ok(&mut shm(["probe"]));
    let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [["BACKEND", "WORKS", "REASON"], ["posix", "yes", "-"], ["sysv", "yes", "-"]]);
    let said: Value = serde_json::from_str(&ok(&mut shm(["probe", "--json", "--backend=sysv"]))).unwrap();
    assert_eq!(said, serde_json::json!([{ "backend": "sysv", "works": true, "reason": null }]));
}

#[test]
fn what_does_not_work_is_told_with_the_reason() {
    if !namespaces() {
        return;
    }
    let said = alone(r#"mount -o remount,ro /dev/shm; "$SHM" probe || echo "code $?"; "$SHM" probe --backend sysv"#);
    assert!(said.contains("posix    no     ") && said.contains("read-only") && said.contains("code 1\n"), "{said}");
    assert!(said.contains("sysv     yes"), "{said}");
}

#[test]
fn what_is_copied_into_the_command_is_the_value_in_its_unit() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"echo 98765 > /proc/sys/kernel/shmall; "$SHM" limits > /dev/shm/said; cat /dev/shm/said
        sysctl -q kernel.shmall=$(awk '/^SHMALL/ { print $5 }' /dev/shm/said) && cat /proc/sys/kernel/shmall"#,
    );
    assert!(said.ends_with("\n98765\n") && said.contains("PAGES of "), "{said}");
}

/// Whether so many huge pages are free; says so aloud where they are not.
fn huge_pages_are_free(pages: u64) -> bool {
    let free = fs::read_to_string("/proc/meminfo").unwrap();
    let free = free.lines().find_map(|line| line.strip_prefix("HugePages_Free:")?.trim().parse::<u64>().ok());
    let enough = free.is_some_and(|free| free >= pages);
    if !enough {
        skip("too few huge pages are free: raise vm.nr_hugepages");
    }
    enough
}

#[test]
fn huge_pages_are_counted_once_marked_and_in_use_when_they_are_reserved() {
    if !namespaces() {
        return;
    }
    if !huge_pages_are_free(4) {
        return;
    }
    // Three pages: none touched, then one.
    let said = alone(
        r#"python3 -c 'import ctypes, json, os, subprocess
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
id = libc.shmget(7, 6 << 20, 0o5600)
def say():
    ask = lambda *command: json.loads(subprocess.check_output([os.environ["SHM"], *command, "--json"]))
    item, limits = ask("ls")[0], ask("limits")
    used = limits["huge_pages"]["total"] - limits["huge_pages"]["free"] + limits["huge_pages"]["reserved"]
    table = subprocess.check_output([os.environ["SHM"], "limits"], text=True)
    row = [line for line in table.splitlines() if line.startswith("huge")][0]
    print(item["resident"], item["status"], limits["sysv"]["pages_resident"], used >= 3, " %d sysctl" % used in " ".join(row.split()))
say()
at = libc.shmat(id, None, 0)
say()
ctypes.c_char.from_address(at).value = b"x"
say()
libc.shmdt(ctypes.c_void_p(at))
say()
libc.shmctl(id, 0, None)'"#,
    );
    let lines: Vec<&str> = said.lines().collect();
    let expected = [
        "0 [] 0 True True",
        "0 ['huge'] 0 True True",
        "2097152 ['huge'] 512 True True",
        "2097152 ['huge'] 512 True True",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn whether_logind_removes_what_users_leave_is_told() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"mount -t tmpfs none /run; mount -t tmpfs none /etc
        say() { "$SHM" limits --json | grep remove_ipc; "$SHM" limits | grep -c "^RemoveIPC" || true; }
        say; mkdir -p /run/systemd/users /run/systemd/logind.conf.d /etc/systemd/logind.conf.d; say
        printf '[Login]\n#RemoveIPC=yes\nRemoveIPC = no\n' > /etc/systemd/logind.conf; say
        echo RemoveIPC=yes > /run/systemd/logind.conf.d/9.conf; say
        echo RemoveIPC=no > /etc/systemd/logind.conf.d/9.conf; say"#,
    );
    let values: Vec<&str> = said.lines().map(|line| line.trim().trim_start_matches("\"remove_ipc\": ")).collect();
    assert_eq!(values, ["null", "0", "true", "1", "false", "1", "true", "1", "false", "1"], "{said}");
}
