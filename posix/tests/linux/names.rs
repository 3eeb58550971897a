//! Names, and the store they live in.

use std::ffi::CString;
use std::fs;
use std::io::ErrorKind;

use nix::libc;
use nix::mount::{MsFlags, mount};
use shared_region_posix::{EntryKind, Object, OpenOptions, kind, list, store, unlink};

use crate::support::{Name, become_nobody, code, is_child, own_mounts, own_store, run_as_root};

#[test]
fn a_name_means_the_same_with_and_without_slashes() {
    let name = Name::new();
    let stat = name.create(4096).stat().unwrap();
    let bare = name.to_bytes().strip_prefix(b"/").unwrap();
    for slashes in ["", "//", "///"] {
        let other = CString::new([slashes.as_bytes(), bare].concat()).unwrap();
        assert_eq!(OpenOptions::new().open(&other).unwrap().1.inode(), stat.inode());
        assert_eq!(kind(&other).unwrap().1.inode(), stat.inode());
    }
}

#[test]
fn a_name_that_would_leave_the_directory_is_einval_everywhere() {
    let object = Object::create_unlinked(0o600).unwrap();
    for bad in [c"", c"/", c"//", c".", c"/.", c"..", c"/..", c"a/b", c"/a/", c"../etc/x"] {
        assert_eq!(code(OpenOptions::new().open(bad)), libc::EINVAL, "{bad:?}");
        assert_eq!(code(object.link(bad)), libc::EINVAL, "{bad:?}");
        assert_eq!(code(kind(bad)), libc::EINVAL, "{bad:?}");
        assert_eq!(code(unlink(bad)), libc::EINVAL, "{bad:?}");
    }
}

#[test]
fn a_name_may_have_255_bytes_and_not_256() {
    let stem = Name::new();
    let long = |len: usize| CString::new(format!("{:x<1$}", stem.to_str().unwrap(), len)).unwrap();
    let object = Object::create_unlinked(0o600).unwrap();
    object.link(&long(256)).unwrap(); // with the slash
    unlink(&long(256)).unwrap();
    let long = long(257);
    assert_eq!(code(object.link(&long)), libc::ENAMETOOLONG);
    assert_eq!(code(OpenOptions::new().open(&long)), libc::ENAMETOOLONG);
    assert_eq!(code(kind(&long)), libc::ENAMETOOLONG);
    assert_eq!(code(unlink(&long)), libc::ENAMETOOLONG);
}

#[test]
fn create_new_on_a_taken_name_is_already_exists_and_changes_nothing() {
    let name = Name::new();
    let before = name.create(5000).stat().unwrap();
    let create = OpenOptions::new().write(true).create_new(true);
    assert_eq!(create.open(&name).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(kind(&name).unwrap().1, before);
}

#[test]
fn create_new_without_write_is_einval_and_leaves_nothing() {
    let name = Name::new();
    assert_eq!(code(OpenOptions::new().create_new(true).open(&name)), libc::EINVAL);
    assert_eq!(code(kind(&name)), libc::ENOENT);
}

#[test]
fn a_missing_name_is_not_found() {
    let name = Name::new();
    assert_eq!(code(OpenOptions::new().open(&name)), libc::ENOENT);
    assert_eq!(code(kind(&name)), libc::ENOENT);
    assert_eq!(code(unlink(&name)), libc::ENOENT);
}

#[test]
fn unlink_frees_the_name_and_keeps_the_object_for_who_holds_it() {
    let name = Name::new();
    let old = name.create(4096);
    unlink(&name).unwrap();
    assert_eq!((old.stat().unwrap().links(), old.stat().unwrap().len()), (0, 4096));
    let new = name.create(8192);
    assert_ne!(old.stat().unwrap().inode(), new.stat().unwrap().inode());
}

#[test]
fn list_shows_objects_and_neither_semaphores_nor_other_files() {
    let (object, semaphore, directory) = (Name::new(), Name::new(), Name::new());
    let expected = object.create(5000).stat().unwrap();
    let semaphore = format!("/dev/shm/sem.{}", &semaphore.to_str().unwrap()[1..]);
    fs::write(&semaphore, "").unwrap();
    fs::create_dir(directory.path()).unwrap();
    let found = list().unwrap();
    fs::remove_file(&semaphore).unwrap();
    let named = |name: &str| found.iter().find(|(found, _)| found == name).map(|&(_, stat)| stat);
    assert_eq!(named(&object.to_str().unwrap()[1..]), Some(expected));
    assert_eq!(named(semaphore.strip_prefix("/dev/shm/").unwrap()), None);
    assert_eq!(named(&directory.to_str().unwrap()[1..]), None);
}

#[test]
fn the_store_tells_its_size_and_its_inodes() {
    run_as_root("names::child_store_of_its_own");
}

#[test]
#[ignore = "started by another test"]
fn child_store_of_its_own() {
    if !is_child() {
        return;
    }
    own_store("tmpfs", MsFlags::empty(), "size=1M,nr_inodes=3");
    let empty = store().unwrap();
    assert_eq!((empty.total(), empty.free()), (1 << 20, 1 << 20));
    assert_eq!((empty.inodes_total(), empty.inodes_free()), (3, 2));
    assert!(!empty.is_read_only());
    let first = Name::new();
    let _second = (first.create(0), Object::create_unlinked(0o600).unwrap());
    assert_eq!(store().unwrap().inodes_free(), 0);
    assert_eq!(code(Object::create_unlinked(0o600)), libc::ENOSPC);
    assert_eq!(list().unwrap().len(), 1);
}

#[test]
fn a_store_without_limits_says_zero() {
    run_as_root("names::child_unlimited_store");
}

#[test]
#[ignore = "started by another test"]
fn child_unlimited_store() {
    if !is_child() {
        return;
    }
    own_store("tmpfs", MsFlags::empty(), "size=0,nr_inodes=0");
    let store = store().unwrap();
    assert_eq!((store.total(), store.inodes_total()), (0, 0));
}

#[test]
fn a_read_only_store_is_erofs() {
    run_as_root("names::child_read_only_store");
}

#[test]
#[ignore = "started by another test"]
fn child_read_only_store() {
    if !is_child() {
        return;
    }
    own_store("tmpfs", MsFlags::MS_RDONLY, "size=1M");
    assert!(store().unwrap().is_read_only());
    let create = OpenOptions::new().write(true).create_new(true);
    assert_eq!(code(create.open(&Name::new())), libc::EROFS);
    assert_eq!(code(Object::create_unlinked(0o600)), libc::EROFS);
}

#[test]
fn a_machine_without_a_store_is_not_found() {
    run_as_root("names::child_without_store");
}

#[test]
#[ignore = "started by another test"]
fn child_without_store() {
    if !is_child() {
        return;
    }
    own_mounts();
    mount(Some("tmpfs"), "/dev", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    assert_eq!(code(store()), libc::ENOENT);
    assert_eq!(code(list()), libc::ENOENT);
    assert_eq!(code(Object::create_unlinked(0o600)), libc::ENOENT);
    assert!(!Object::memfd(c"still there", 0o600).unwrap().can_link());
}

#[test]
fn others_see_an_object_and_can_neither_open_nor_remove_it() {
    run_as_root("names::child_as_another_user");
}

#[test]
#[ignore = "started by another test"]
fn child_as_another_user() {
    if !is_child() {
        return;
    }
    own_store("tmpfs", MsFlags::empty(), "size=1M,mode=1777");
    let name = Name::new();
    let expected = name.create(5000).stat().unwrap();
    become_nobody();
    assert_eq!(kind(&name).unwrap(), (EntryKind::SharedMemory, expected));
    assert_eq!(list().unwrap()[0].1, expected);
    assert_eq!(code(OpenOptions::new().open(&name)), libc::EACCES);
    assert_eq!(unlink(&name).unwrap_err().kind(), ErrorKind::PermissionDenied);
}
