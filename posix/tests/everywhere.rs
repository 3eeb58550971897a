//! What every system with `shm_open` has.
#![cfg(all(unix, not(target_os = "android")))]

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use shared_region_posix::{EntryKind, MapAccess, Mapping, Object, OpenOptions, kind, unlink};

#[path = "linux/name.rs"]
mod name;

use crate::name::Name;

fn first(map: &Mapping) -> &AtomicU64 {
    assert!(!map.is_read_only() && map.len() >= 8);
    // SAFETY: the mapping is live for as long as the borrow, writable, page-aligned and long enough, and
    // every access to these bytes is atomic.
    unsafe { AtomicU64::from_ptr(map.as_mut_ptr().cast()) }
}

#[test]
fn what_one_handle_writes_another_reads() {
    let name = Name::new();
    let ours = name.create(4096).map(4096, MapAccess::ReadWrite).unwrap();
    ours.prefault().unwrap();
    let (object, stat) = OpenOptions::new().write(true).open(&name).unwrap();
    assert!(stat.len() >= 4096 && object.is_writable());
    let theirs = object.map(4096, MapAccess::ReadWrite).unwrap();
    first(&ours).store(42, Ordering::Relaxed);
    assert_eq!(first(&theirs).load(Ordering::Relaxed), 42);
}

#[test]
fn a_name_is_taken_until_it_is_unlinked() {
    let name = Name::new();
    let object = name.create(4096);
    let again = OpenOptions::new().write(true).create_new(true).open(&name);
    assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(kind(&name).unwrap().0, EntryKind::SharedMemory);
    unlink(&name).unwrap();
    assert_eq!(OpenOptions::new().open(&name).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(unlink(&name).unwrap_err().kind(), ErrorKind::NotFound);
    let map = object.map(4096, MapAccess::ReadWrite).unwrap();
    first(&map).store(1, Ordering::Relaxed);
}

#[test]
fn a_descriptor_goes_out_and_comes_back() {
    let name = Name::new();
    let object = name.create(4096);
    let object = Object::try_from(OwnedFd::from(object.try_clone().unwrap())).unwrap();
    assert!(object.is_writable() && object.stat().unwrap().len() >= 4096);
    let (reader, _) = OpenOptions::new().open(&name).unwrap();
    let reader = Object::try_from(OwnedFd::from(reader)).unwrap();
    assert!(!reader.is_writable() && reader.map(4096, MapAccess::ReadWrite).is_err());
    assert!(reader.map(4096, MapAccess::ReadOnly).unwrap().is_read_only());
}
