//! `shm rm`.

use crate::support::{BACKENDS, Region, alone, fails, name, namespaces, ok, shm};

#[test]
fn regions_are_removed_in_silence() {
    let regions = BACKENDS.map(|backend| Region::made(backend, "rm", &["64"]));
    assert_eq!(ok(shm(["rm"]).args(regions.iter().map(|region| &region.0))), "");
    assert!(regions.iter().all(|region| !region.exists()));
}

#[test]
fn it_goes_on_after_a_failure_and_says_so_at_the_end() {
    let (one, two) = (Region::made("posix", "one", &["64"]), Region::made("sysv", "two", &["64"]));
    let told = fails(&mut shm(["rm", &one.0, &format!("posix:{}", name("none")), &two.0]), 1);
    assert!(told.contains("nothing has that name"), "{told}");
    assert!(!one.exists() && !two.exists());
    for region in [one, two] {
        fails(&mut shm(["rm", &region.0]), 1);
    }
}

#[test]
fn what_is_mistyped_removes_nothing() {
    let region = Region::made("posix", "typo", &["64"]);
    assert_eq!(shm(["rm", &region.0, "frames"]).output().unwrap().status.code(), Some(2));
    assert_eq!(shm(["rm", &region.0, "--orphans"]).output().unwrap().status.code(), Some(2));
    assert_eq!(shm(["rm", &region.0, "--yes"]).output().unwrap().status.code(), Some(2));
    assert_eq!(shm(["rm"]).output().unwrap().status.code(), Some(2));
    let told = fails(&mut shm(["rm", &region.0, "--mine"]), 2);
    assert!(told.contains("--orphans"), "{told}");
    assert!(region.exists());
}

#[test]
fn a_dry_run_says_what_would_go_and_removes_nothing() {
    for backend in BACKENDS {
        let region = Region::made(backend, "dry", &["64"]);
        assert_eq!(ok(&mut shm(["rm", "--dry-run", &region.0])), format!("would remove {}\n", region.0));
        assert!(region.exists());
        let none = format!("{backend}:{}", name("none"));
        fails(&mut shm(["rm", "-n", &none]), 1);
    }
}

#[test]
fn an_object_of_size_0_can_be_removed() {
    let region = Region::new(format!("posix:{}", name("empty")));
    std::fs::write(region.0.replace("posix:", "/dev/shm"), b"").unwrap();
    ok(&mut shm(["rm", &region.0]));
    assert!(!region.exists());
}

#[test]
fn a_segment_without_a_key_is_removed_by_its_id() {
    let segment = shared_region_sysv::Segment::create_new(shared_region_sysv::IPC_PRIVATE, 64, 0o600).unwrap();
    let region = Region::new(format!("sysv:#{}", segment.id()));
    ok(&mut shm(["rm", &region.0]));
    assert!(!region.exists());
}

/// Makes an orphan of either kind, one that is held, and one of another user's.
const REGIONS: &str = r#"
    "$SHM" create sysv:/a 4K; "$SHM" create posix:/a 4K; "$SHM" create posix:/other 4K; "$SHM" chown 65534 posix:/other
    "$SHM" create posix:/held 4K; exec 9< /dev/shm/held
    left() { "$SHM" ls | awk 'NR > 1 { print $1 }' | paste -sd ' '; }
"#;

#[test]
fn orphans_are_not_removed_unless_somebody_agrees() {
    if !namespaces() {
        return;
    }
    let said = alone(&format!(
        "{REGIONS} \"$SHM\" rm --orphans 2>&1 || echo \"code $?\"; echo y | \"$SHM\" rm --orphans --mine 2>&1 || left"
    ));
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("shm: ") && lines[0].contains("no terminal") && lines[0].contains("--yes"), "{said}");
    assert_eq!(lines[1..], ["code 2", lines[0], "posix:/a posix:/held posix:/other sysv:0xe40c292c"], "{said}");
}

#[test]
fn a_dry_run_of_orphans_removes_none() {
    if !namespaces() {
        return;
    }
    let said = alone(&format!("{REGIONS} \"$SHM\" rm --orphans --dry-run; left"));
    assert_eq!(
        said,
        "would remove posix:/a\nwould remove posix:/other\nwould remove sysv:0xe40c292c\n\
        posix:/a posix:/held posix:/other sysv:0xe40c292c\n"
    );
}

#[test]
fn orphans_go_and_what_is_held_stays() {
    if !namespaces() {
        return;
    }
    let said = alone(&format!(
        "{REGIONS} \"$SHM\" rm --orphans --yes --backend sysv; left; \"$SHM\" rm --orphans -y --mine; left"
    ));
    assert_eq!(
        said,
        "removed sysv:0xe40c292c\nposix:/a posix:/held posix:/other\nremoved posix:/a\nposix:/held posix:/other\n"
    );
    let said = alone(&format!("{REGIONS} \"$SHM\" rm --orphans -y; left; \"$SHM\" rm --orphans -y"));
    assert!(said.ends_with("\nposix:/held\nthere are no orphans\n"), "{said}");
}
