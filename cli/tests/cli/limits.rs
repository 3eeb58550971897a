//! `shm limits`, `shm probe`.

use std::fs;

use serde_json::Value;

use crate::support::{alone, namespaces, ok, shm};

fn sysctl(name: &str) -> u64 {
    fs::read_to_string(format!("/proc/sys/{name}")).unwrap().trim().parse().unwrap()
}

#[test]
fn limits_are_the_systems() {
    let said: Value = serde_json::from_str(&ok(&mut shm(["limits", "--json"]))).unwrap();
    assert_eq!(said["sysv"]["shmmax"].as_u64(), Some(sysctl("kernel/shmmax")));
    assert_eq!(said["sysv"]["shmall_pages"].as_u64(), Some(sysctl("kernel/shmall")));
    assert_eq!(said["sysv"]["shmmni"].as_u64(), Some(sysctl("kernel/shmmni")));
    assert_eq!(said["shm_rmid_forced"].as_u64(), Some(sysctl("kernel/shm_rmid_forced")));
    assert_eq!(said["protected_regular"].as_u64(), Some(sysctl("fs/protected_regular")));
    assert_eq!(said["huge_pages"]["total"].as_u64(), Some(sysctl("vm/nr_hugepages")));
    assert_eq!(said["posix"]["size"].as_u64(), Some(shared_region_posix::store().unwrap().total()));
    let (soft, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_MEMLOCK).unwrap();
    let limit = |value| Some(value).filter(|&value| value != nix::sys::resource::RLIM_INFINITY);
    assert_eq!((said["memlock"]["soft"].as_u64(), said["memlock"]["hard"].as_u64()), (limit(soft), limit(hard)));
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
    // The directory is one of them.
    assert_eq!((&posix["inodes"], &posix["inodes_used"]), (&100.into(), &2.into()));
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
