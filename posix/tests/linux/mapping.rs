//! Mapped bytes.

use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use shared_region_posix::{MapAccess, Mapping, Object, OpenOptions, Reserved, Sizing, unlink};

use crate::support::{Name, code, end_of, filled, get, put};

const PAGE: usize = 4096;

#[test]
fn two_mappings_of_an_object_are_one_memory() {
    let name = Name::new();
    let object = name.create(5000);
    let ours = object.map(5000, MapAccess::ReadWrite).unwrap();
    let theirs = OpenOptions::new().open(&name).unwrap().0.map(5000, MapAccess::ReadOnly).unwrap();
    assert_eq!((ours.len(), ours.is_read_only(), theirs.is_read_only()), (5000, false, true));
    assert_ne!(ours.as_ptr(), theirs.as_ptr());
    assert_eq!(ours.as_ptr() as usize % PAGE, 0);
    put(&ours, 4999, 3);
    assert_eq!((get(&theirs, 4999), get(&theirs, 4998)), (3, 0));
}

#[test]
fn a_mapping_outlives_descriptor_and_name() {
    let name = Name::new();
    let map = filled(&name.create(0), PAGE, 5);
    unlink(&name).unwrap();
    assert_eq!(get(&map, 100), 5);
}

/// How many KiB of a mapping are mapped in.
fn resident(map: &Mapping) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (_, own) = maps.split_at(maps.find(&format!("\n{:x}-", map.as_ptr() as usize)).unwrap());
    let line = own.lines().find(|line| line.starts_with("Rss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_populated_mapping_has_its_pages_at_once_and_a_plain_one_has_not() {
    let object = Object::memfd(c"test", 0o600).unwrap();
    assert_eq!(object.reserve(0, 3 * PAGE as u64, Sizing::Extend).unwrap(), Reserved::Yes);
    for access in [MapAccess::ReadWrite, MapAccess::ReadOnly] {
        assert_eq!(resident(&object.map(3 * PAGE, access).unwrap()), 0);
        assert_eq!(resident(&object.map_populated(3 * PAGE, access).unwrap()), 12);
    }
    // What lies past the end is no error, and still not there.
    assert_eq!(resident(&object.map_populated(5 * PAGE, MapAccess::ReadWrite).unwrap()), 12);
    assert_eq!(code(object.map_populated(0, MapAccess::ReadWrite)), libc::EINVAL);
}

#[test]
fn a_length_that_cannot_be_is_einval() {
    let object = Object::memfd(c"test", 0o600).unwrap();
    for len in [0, usize::MAX, isize::MAX as usize + 1] {
        assert_eq!(code(object.map(len, MapAccess::ReadWrite)), libc::EINVAL);
    }
    // Where addresses have 32 bits, half of all may be free.
    if usize::BITS == 64 {
        assert_eq!(code(object.map(isize::MAX as usize, MapAccess::ReadOnly)), libc::ENOMEM);
    }
}

#[test]
fn writing_needs_a_descriptor_for_writing() {
    let name = Name::new();
    drop(name.create(1));
    let (reader, _) = OpenOptions::new().open(&name).unwrap();
    assert_eq!(code(reader.map(1, MapAccess::ReadWrite)), libc::EACCES);
}

/// Runs an act that a signal ends, in a forked child.
fn signal_of(act: impl FnOnce()) -> Signal {
    let act = || {
        act();
        0
    };
    match end_of(act) {
        WaitStatus::Signaled(_, signal, _) => signal,
        status => panic!("{status:?}"),
    }
}

#[test]
fn a_store_to_a_read_only_mapping_is_a_fault() {
    let name = Name::new();
    drop(name.create(1));
    let map = OpenOptions::new().open(&name).unwrap().0.map(1, MapAccess::ReadOnly).unwrap();
    let address = map.as_mut_ptr();
    let signal = signal_of(|| {
        // SAFETY: none; the fault is what is tested, and ends the child.
        unsafe { address.write_volatile(1) }
    });
    assert_eq!(signal, Signal::SIGSEGV);
}

#[test]
fn past_the_end_a_touch_is_sigbus_and_prefault_an_error() {
    let object = Object::memfd(c"test", 0o600).unwrap();
    object.set_len(100).unwrap();
    for access in [MapAccess::ReadWrite, MapAccess::ReadOnly] {
        let map = object.map(2 * PAGE, access).unwrap();
        assert_eq!(get(&map, PAGE - 1), 0, "the last page is there to its end");
        assert_eq!(signal_of(|| _ = get(&map, PAGE)), Signal::SIGBUS);
        assert_eq!(code(map.prefault()), libc::EFAULT);
        object.map(100, access).unwrap().prefault().unwrap();
    }
}

#[test]
fn prefault_brings_every_page_and_changes_no_byte() {
    let object = Object::memfd(c"test", 0o600).unwrap();
    object.set_len(64 * PAGE as u64).unwrap();
    let map = object.map(64 * PAGE, MapAccess::ReadWrite).unwrap();
    put(&map, 3 * PAGE, 8);
    map.prefault().unwrap();
    object.map(64 * PAGE, MapAccess::ReadOnly).unwrap().prefault().unwrap();
    assert_eq!(object.stat().unwrap().allocated(), 64 * PAGE as u64);
    assert_eq!((get(&map, 3 * PAGE), get(&map, 4 * PAGE)), (8, 0));
}

#[test]
fn a_mapping_can_be_locked_and_unlocked() {
    let object = Object::memfd(c"test", 0o600).unwrap();
    object.set_len(PAGE as u64).unwrap();
    let map = object.map(PAGE, MapAccess::ReadWrite).unwrap();
    map.unlock().unwrap();
    map.lock().unwrap();
    map.unlock().unwrap();
    assert_eq!(code(object.map(2 * PAGE, MapAccess::ReadWrite).unwrap().lock()), libc::ENOMEM);
}
