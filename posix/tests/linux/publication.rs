//! Objects that get their name last.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::libc;
use nix::mount::MsFlags;
use shared_region_posix::{MapAccess, Object, OpenOptions, Sizing, kind, list, store_identity, unlink};

use crate::support::{Name, become_nobody, code, get, is_child, own_mounts, own_store, put, run_as_root, without_proc};

/// Makes a whole object and names it.
fn publish(name: &Name) {
    let object = Object::create_unlinked(0o600).unwrap();
    assert!(object.can_link());
    let _ = object.reserve(0, 5000, Sizing::Extend).unwrap();
    put(&object.map(5000, MapAccess::ReadWrite).unwrap(), 4999, 7);
    object.link(name).unwrap();
}

fn check(name: &Name) {
    let (object, stat) = OpenOptions::new().open(name).unwrap();
    assert_eq!((stat.len(), stat.links(), stat.mode()), (5000, 1, 0o600));
    assert_eq!(get(&object.map(5000, MapAccess::ReadOnly).unwrap(), 4999), 7);
}

#[test]
fn a_racing_opener_sees_the_whole_object_or_none() {
    let (name, stop) = (Name::new(), AtomicBool::new(false));
    thread::scope(|scope| {
        let opener = scope.spawn(|| {
            let mut opened = 0;
            // At the end it is there to stay, so that one open at least meets it.
            while opened == 0 || !stop.load(Ordering::Relaxed) {
                match OpenOptions::new().open(&name) {
                    Ok((object, stat)) => {
                        assert_eq!(stat.len(), 5000);
                        assert_eq!(get(&object.map(5000, MapAccess::ReadOnly).unwrap(), 4999), 7);
                        opened += 1;
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
                }
            }
            opened
        });
        for _ in 0..3000 {
            publish(&name);
            unlink(&name).unwrap();
        }
        publish(&name);
        check(&name);
        stop.store(true, Ordering::Relaxed);
        println!("{} opens met an object", opener.join().unwrap());
    });
}

#[test]
fn linking_to_a_taken_name_is_already_exists_and_changes_nothing() {
    let name = Name::new();
    publish(&name);
    let before = kind(&name).unwrap();
    let other = Object::create_unlinked(0o600).unwrap();
    assert_eq!(other.link(&name).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(kind(&name).unwrap(), before);
    unlink(&name).unwrap();
    other.link(&name).unwrap();
}

#[test]
fn an_object_without_a_name_leaves_nothing() {
    let object = Object::create_unlinked(0o600).unwrap();
    let stat = object.stat().unwrap();
    assert_eq!((stat.len(), stat.links()), (0, 0));
    assert!(object.can_link());
    assert!(list().unwrap().iter().all(|(_, listed)| listed.inode() != stat.inode()));
}

#[test]
fn an_object_whose_names_are_gone_cannot_be_named_again() {
    let name = Name::new();
    let object = name.create(1);
    unlink(&name).unwrap();
    assert_eq!(code(object.link(&name)), libc::ENOENT);
}

#[test]
fn a_memfd_cannot_be_named() {
    let object = Object::memfd(c"test", 0o600).unwrap();
    assert!(!object.can_link());
    assert_eq!(code(object.link(&Name::new())), libc::EXDEV);
}

#[test]
fn anybody_can_publish() {
    run_as_root("publication::child_publishes_as_nobody");
}

#[test]
#[ignore = "started by another test"]
fn child_publishes_as_nobody() {
    if !is_child() {
        return;
    }
    own_store("tmpfs", MsFlags::empty(), "size=1M,mode=1777");
    // With root's credentials, so that the kernel does not grant the link by descriptor afterwards.
    let inherited = Object::create_unlinked(0o666).unwrap();
    become_nobody();
    let (name, other) = (Name::new(), Name::new());
    publish(&name);
    check(&name);
    assert!(inherited.can_link());
    inherited.link(&other).unwrap();
    assert_eq!(inherited.stat().unwrap().links(), 1);
    assert_eq!(inherited.link(&name).unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn without_proc_publication_works_or_says_that_it_does_not() {
    run_as_root("publication::child_publishes_without_proc");
}

#[test]
#[ignore = "started by another test"]
fn child_publishes_without_proc() {
    if !is_child() {
        return;
    }
    let outside = store_identity().unwrap();
    own_store("tmpfs", MsFlags::empty(), "size=1M,mode=1777");
    assert_ne!(store_identity().unwrap(), outside);
    without_proc();
    let name = Name::new();
    publish(&name);
    check(&name);
    let inherited = Object::create_unlinked(0o666).unwrap();
    assert!(inherited.can_link());
    become_nobody();
    let other = Name::new();
    assert!(!inherited.can_link());
    assert_eq!(code(inherited.link(&other)), libc::ENOENT);
    assert_eq!(code(kind(&other)), libc::ENOENT);
    let own = Object::create_unlinked(0o600).unwrap();
    assert_eq!(own.can_link(), own.link(&other).is_ok());
}

#[test]
fn an_object_of_another_mount_namespace_is_not_linked() {
    run_as_root("publication::child_links_across_mount_namespaces");
}

#[test]
#[ignore = "started by another test"]
fn child_links_across_mount_namespaces() {
    if !is_child() {
        return;
    }
    let object = Object::create_unlinked(0o600).unwrap();
    own_mounts();
    assert_eq!(code(object.link(&Name::new())), libc::EXDEV);
}
