//! What another user may do: as `nobody`, in a second process.

use std::io;

use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use shared_region_sysv::{AttachOptions, GetOptions, HugePages, IPC_PRIVATE, Segment, ftok, limits, segments, usage};

use crate::support::{Guard, NOBODY, assert_errno, is_root, number_given, quiet, skip, unique_key};

const RW: AttachOptions = AttachOptions::new();
const RO: AttachOptions = AttachOptions::new().read_only(true);
const EACCES: i32 = Errno::EACCES as i32;
const EPERM: i32 = Errno::EPERM as i32;

/// Runs a role as `nobody` on a segment of root's.
fn nobody_meets(role: &str, mode: u32) {
    if !is_root("becoming another user") {
        return;
    }
    let key = unique_key();
    let segment = Guard::keyed(key, 4096, mode);
    quiet().run_as_nobody(role, key);
    // Nothing that `nobody` tried has changed it.
    let stat = segment.stat().unwrap();
    assert_eq!((stat.uid(), stat.mode(), stat.is_removed()), (0, mode, false));
    assert!(!stat.is_locked());
}

#[test]
fn a_stranger_sees_a_segment_of_mode_zero_and_can_do_nothing_with_it() {
    nobody_meets("permissions::child_meets_mode_zero", 0);
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_meets_mode_zero() {
    let Some(key) = number_given() else { return };
    let segment = Segment::open(key).expect("asking for nothing opens");
    assert_errno(GetOptions::new().mode(0o400).get(key, 0), EACCES);
    assert_errno(GetOptions::new().mode(0o004).get(key, 0), EACCES);
    assert_errno(GetOptions::new().create(true).mode(0o600).get(key, 4096), EACCES);
    assert_errno(Segment::create_new(key, 4096, 0o600), Errno::EEXIST as i32);
    assert_errno(segment.attach(&RW), EACCES);
    assert_errno(segment.attach(&RO), EACCES);
    assert_errno(segment.stat(), EACCES);
    assert_errno(segment.set(NOBODY, NOBODY, 0o666), EPERM);
    assert_errno(segment.remove(), EPERM);
    assert_errno(segment.lock(), EPERM);
    assert_errno(segment.unlock(), EPERM);
    assert_eq!(segment.remove().unwrap_err().kind(), io::ErrorKind::PermissionDenied);

    let listed = segments().unwrap().into_iter().find(|stat| stat.segment() == segment).unwrap();
    assert_eq!((listed.key(), listed.size(), listed.mode()), (key, 4096, 0));
    assert_eq!((listed.uid(), listed.gid(), listed.creator_uid()), (0, 0, 0));
    limits().unwrap();
    assert!(usage().unwrap().segments() >= 1);
}

#[test]
fn read_permission_alone_is_enough_to_stat_and_to_attach_read_only() {
    nobody_meets("permissions::child_may_read", 0o604);
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_may_read() {
    let Some(key) = number_given() else { return };
    let segment = Segment::open(key).unwrap();
    assert_eq!(GetOptions::new().mode(0o400).get(key, 0).unwrap(), segment);
    assert_errno(GetOptions::new().mode(0o600).get(key, 0), EACCES);
    assert_eq!(segment.stat().unwrap().size(), 4096);
    assert_eq!(segment.attach(&RO).unwrap().len(), 4096);
    assert_errno(segment.attach(&RW), EACCES);
    assert_errno(segment.attach(&RO.executable(true)), EACCES);
    assert_errno(segment.lock(), EPERM);
    assert_errno(segment.remove(), EPERM);
}

#[test]
fn write_permission_alone_is_not_enough_for_anything() {
    nobody_meets("permissions::child_may_write", 0o602);
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_may_write() {
    let Some(key) = number_given() else { return };
    let segment = GetOptions::new().mode(0o200).get(key, 0).unwrap();
    assert_errno(segment.attach(&RW), EACCES);
    assert_errno(segment.attach(&RO), EACCES);
    assert_errno(segment.stat(), EACCES);
}

#[test]
fn all_permissions_allow_to_write_and_execute_but_not_to_administer() {
    nobody_meets("permissions::child_may_all", 0o607);
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_may_all() {
    let Some(key) = number_given() else { return };
    let segment = GetOptions::new().mode(0o666).get(key, 4096).unwrap();
    segment.attach(&RW).unwrap();
    segment.attach(&RW.executable(true)).unwrap();
    assert_errno(segment.set(NOBODY, NOBODY, 0o666), EPERM);
    assert_errno(segment.lock(), EPERM);
    assert_errno(segment.remove(), EPERM);
}

#[test]
fn a_creator_obeys_the_mode_and_keeps_control_after_giving_the_segment_away() {
    if is_root("becoming another user") {
        quiet().run_as_nobody("permissions::child_creates", unique_key());
    }
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_creates() {
    let Some(key) = number_given() else { return };
    let segment = Guard::keyed(key, 4096, 0o600);
    assert_errno(segment.attach(&RW.executable(true)), EACCES);
    segment.set(NOBODY, NOBODY, 0o400).unwrap();
    assert_errno(segment.attach(&RW), EACCES);
    segment.attach(&RO).unwrap();

    segment.set(0, 0, 0).unwrap();
    assert_errno(segment.stat(), EACCES);
    assert_errno(segment.attach(&RO), EACCES);
    segment.set(0, 0, 0o600).unwrap();
    assert_eq!(segment.stat().unwrap().uid(), 0);
    segment.remove().unwrap();

    let huge = GetOptions::new().mode(0o600).huge_pages(HugePages::Default);
    match huge.get(IPC_PRIVATE, 4096).map(Guard) {
        Ok(_) => skip("this group may use huge pages"),
        Err(error) => assert_eq!(error.raw_os_error(), Some(EPERM)),
    }
}

#[test]
fn an_owner_may_administer_what_root_created() {
    if !is_root("becoming another user") {
        return;
    }
    let quiet = quiet();
    let key = unique_key();
    let segment = Guard::keyed(key, 4096, 0o600);
    segment.set(NOBODY, NOBODY, 0).unwrap();
    quiet.run_as_nobody("permissions::child_owns", key);
    assert_errno(segment.stat(), Errno::EINVAL as i32);
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_owns() {
    let Some(key) = number_given() else { return };
    let segment = Segment::open(key).unwrap();
    segment.set(NOBODY, NOBODY, 0o600).unwrap();
    segment.attach(&RW).unwrap();
    let stat = segment.stat().unwrap();
    assert_eq!((stat.uid(), stat.creator_uid()), (NOBODY, 0));
    segment.remove().unwrap();
}

#[test]
fn locking_is_bounded_by_the_memlock_limit() {
    if is_root("becoming another user") {
        quiet().run_as_nobody("permissions::child_locks", unique_key());
    }
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_locks() {
    let Some(key) = number_given() else { return };
    let segment = Guard::keyed(key, 1 << 20, 0o600);
    setrlimit(Resource::RLIMIT_MEMLOCK, 4096, 4096).unwrap();
    assert_errno(segment.lock(), Errno::ENOMEM as i32);
    assert_eq!(segment.lock().unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0).unwrap();
    assert_errno(segment.lock(), EPERM);
    segment.unlock().unwrap();
    assert!(!segment.stat().unwrap().is_locked());
}

#[test]
fn ftok_behind_a_closed_directory_is_denied() {
    if is_root("becoming another user") {
        quiet().run_as_nobody("permissions::child_asks_for_a_key", 0);
    }
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_asks_for_a_key() {
    if number_given().is_some() {
        // The descriptors of another user's process.
        assert_errno(ftok("/proc/1/fd/0", 1), EACCES);
    }
}
