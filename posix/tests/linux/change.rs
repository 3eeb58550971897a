//! Mode and owner by name.

use std::fs;

use nix::libc;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use shared_region_posix::{OpenOptions, kind, set_mode, set_owner};

use crate::support::{NOBODY, Name, become_nobody, code, forked, is_child, own_mounts, run_as_root, without_proc};

fn mode(name: &Name) -> u32 {
    kind(name).unwrap().1.mode()
}

fn owner(name: &Name) -> (u32, u32) {
    let stat = kind(name).unwrap().1;
    (stat.uid(), stat.gid())
}

#[test]
fn the_mode_is_set_whatever_it_was_and_nothing_stays_open() {
    let name = Name::new();
    drop(name.create(4096));
    for wanted in [0, 0o200, 0o644, 0o7777, 0] {
        set_mode(&name, wanted).unwrap();
        assert_eq!(mode(&name), wanted);
    }
    set_mode(&name, 0o100_600).unwrap();
    assert_eq!(mode(&name), 0o600);
    let entry = name.path();
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    assert!(!open.into_iter().any(|target| target.as_os_str() == entry.as_str()));
}

#[test]
fn a_missing_name_has_no_mode_and_no_owner() {
    let name = Name::new();
    assert_eq!(code(set_mode(&name, 0o600)), libc::ENOENT);
    assert_eq!(code(set_owner(&name, None, None)), libc::ENOENT);
    assert_eq!(code(set_mode(c"/..", 0o600)), libc::EINVAL);
    assert_eq!(code(set_owner(c"/a/b", None, None)), libc::EINVAL);
}

#[test]
fn an_owner_takes_back_what_mode_0_keeps_them_out_of_and_strangers_change_nothing() {
    run_as_root("change::child_takes_it_back");
}

#[test]
#[ignore = "started by another test"]
fn child_takes_it_back() {
    if !is_child() {
        return;
    }
    let foreign = Name::new();
    drop(foreign.create(1));
    set_mode(&foreign, 0o666).unwrap();
    let before = kind(&foreign).unwrap();
    // In a child, as only root can take that away again.
    let passed = forked(|| {
        setgroups(&[Gid::from_raw(4242)]).unwrap();
        setgid(Gid::from_raw(NOBODY)).unwrap();
        setuid(Uid::from_raw(NOBODY)).unwrap();
        takes_it_back();
        assert_eq!(code(set_mode(&foreign, 0o600)), libc::EPERM);
        assert_eq!(code(set_owner(&foreign, Some(NOBODY), None)), libc::EPERM);
        0
    });
    assert_eq!(passed, 0);
    assert_eq!(kind(&foreign).unwrap(), before);
}

/// As a user who is in the group 4242 too.
fn takes_it_back() {
    let name = Name::new();
    drop(name.create(1));
    set_mode(&name, 0).unwrap();
    assert_eq!(code(OpenOptions::new().open(&name)), libc::EACCES);
    set_mode(&name, 0o600).unwrap();
    OpenOptions::new().write(true).open(&name).unwrap();
    set_mode(&name, 0).unwrap();
    set_owner(&name, None, Some(4242)).unwrap();
    assert_eq!(owner(&name), (NOBODY, 4242));
    set_owner(&name, None, None).unwrap();
    assert_eq!(code(set_owner(&name, Some(0), None)), libc::EPERM);
    assert_eq!(code(set_owner(&name, None, Some(0))), libc::EPERM);
    assert_eq!(owner(&name), (NOBODY, 4242));
}

#[test]
fn privilege_gives_it_to_anybody() {
    run_as_root("change::child_gives_it_away");
}

#[test]
#[ignore = "started by another test"]
fn child_gives_it_away() {
    if !is_child() {
        return;
    }
    let name = Name::new();
    drop(name.create(1));
    set_mode(&name, 0).unwrap();
    set_owner(&name, Some(NOBODY), None).unwrap();
    assert_eq!(owner(&name), (NOBODY, 0));
    set_owner(&name, Some(1), Some(2)).unwrap();
    assert_eq!(owner(&name), (1, 2));
    set_owner(&name, Some(NOBODY), Some(NOBODY)).unwrap();
    become_nobody();
    set_mode(&name, 0o400).unwrap();
    assert_eq!(mode(&name), 0o400);
}

#[test]
fn without_proc_it_is_unsupported_and_not_missing() {
    run_as_root("change::child_has_no_proc");
}

#[test]
#[ignore = "started by another test"]
fn child_has_no_proc() {
    if !is_child() {
        return;
    }
    own_mounts();
    let name = Name::new();
    drop(name.create(1));
    without_proc();
    let unsupported = std::io::ErrorKind::Unsupported;
    assert_eq!(set_mode(&name, 0o640).unwrap_err().kind(), unsupported);
    assert_eq!(set_owner(&name, Some(1), None).unwrap_err().kind(), unsupported);
    assert_eq!((mode(&name), owner(&name)), (0o600, (0, 0)));
}
