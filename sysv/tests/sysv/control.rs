//! `shmctl`: `IPC_STAT`, `IPC_SET`, `IPC_RMID`, `SHM_LOCK`, `SHM_UNLOCK`.

use std::process;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::unistd::{getegid, geteuid};
use shared_region_sysv::{IPC_PRIVATE, Segment};

use crate::support::{Guard, assert_errno, assert_refused, is_root, quiet, skip, unique_key};

/// Tells whether a time to the second is now.
fn is_now(time: SystemTime) -> bool {
    let now = SystemTime::now();
    time <= now && time > now - Duration::from_secs(5)
}

#[test]
fn a_new_segment_is_described_as_it_was_made() {
    let key = unique_key();
    let segment = Guard::keyed(key, 5000, 0o640);
    let stat = segment.stat().unwrap();
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    assert_eq!((stat.segment(), stat.key()), (*segment, key));
    assert_eq!((stat.size(), stat.mode()), (5000, 0o640));
    assert_eq!((stat.uid(), stat.gid()), (uid, gid));
    assert_eq!((stat.creator_uid(), stat.creator_gid()), (uid, gid));
    assert_eq!((stat.creator_pid(), stat.last_pid()), (process::id(), 0));
    assert_eq!(stat.attach_count(), 0);
    assert_eq!((stat.attach_time(), stat.detach_time()), (None, None));
    assert!(is_now(stat.change_time()));
    assert!(!stat.is_removed() && !stat.is_locked());
    assert!(stat.sequence().is_some());
    assert_eq!((stat.resident(), stat.swapped()), (None, None));
}

#[test]
fn attaching_and_detaching_leave_their_times_and_process() {
    let quiet = quiet();
    let segment = Guard::private(4096, 0o600);
    let attachment = segment.attached();
    let attached = segment.stat().unwrap();
    assert!(is_now(attached.attach_time().unwrap()));
    assert_eq!((attached.detach_time(), attached.last_pid()), (None, process::id()));
    drop(attachment);
    let detached = segment.stat().unwrap();
    assert!(is_now(detached.detach_time().unwrap()));
    assert_eq!(detached.attach_time(), attached.attach_time());
    drop(quiet);
}

#[test]
fn set_changes_the_mode_and_nothing_else() {
    let segment = Guard::private(4096, 0o600);
    let before = segment.stat().unwrap();
    segment.set(before.uid(), before.gid(), 0o444).unwrap();
    let after = segment.stat().unwrap();
    assert_eq!(after.mode(), 0o444);
    assert_eq!((after.uid(), after.gid(), after.size()), (before.uid(), before.gid(), 4096));
    assert!(is_now(after.change_time()));
}

#[test]
fn set_gives_away_the_segment_but_not_who_created_it() {
    if !is_root("giving a segment to others") {
        return;
    }
    let segment = Guard::private(4096, 0o600);
    segment.set(1234, 5678, 0o600).unwrap();
    let stat = segment.stat().unwrap();
    assert_eq!((stat.uid(), stat.gid()), (1234, 5678));
    assert_eq!((stat.creator_uid(), stat.creator_gid()), (0, 0));
}

#[test]
fn set_refuses_modes_and_ids_that_are_none() {
    let segment = Guard::private(4096, 0o600);
    let stat = segment.stat().unwrap();
    for mode in [0o1000, 0o1600, 0o2600, u32::MAX] {
        assert_refused(segment.set(stat.uid(), stat.gid(), mode));
    }
    assert_errno(segment.set(u32::MAX, stat.gid(), 0o600), Errno::EINVAL as i32);
    assert_errno(segment.set(stat.uid(), u32::MAX, 0o600), Errno::EINVAL as i32);
    assert_eq!(segment.stat().unwrap(), stat);
}

#[test]
fn removing_an_unused_segment_ends_it() {
    let key = unique_key();
    let segment = Guard::keyed(key, 4096, 0o600);
    segment.remove().unwrap();
    assert_errno(Segment::open(key), Errno::ENOENT as i32);
    let gone = Errno::EINVAL as i32;
    assert_errno(segment.stat(), gone);
    assert_errno(segment.remove(), gone);
    assert_errno(segment.set(0, 0, 0o600), gone);
    assert_errno(segment.lock(), gone);
    assert_errno(segment.unlock(), gone);
}

#[test]
fn an_attached_segment_stays_removed_until_the_last_detach() {
    let _quiet = quiet();
    let key = unique_key();
    let segment = Guard::keyed(key, 4096, 0o600);
    let (first, second) = (segment.attached(), segment.attached());
    segment.remove().unwrap();
    let stat = segment.stat().unwrap();
    assert!(stat.is_removed());
    assert_eq!((stat.key(), stat.mode(), stat.attach_count()), (IPC_PRIVATE, 0o600, 2));
    segment.remove().unwrap();

    // The key is free, and what is made with it is another segment.
    let next = Guard::keyed(key, 4096, 0o600);
    assert_ne!(*next, *segment);

    drop(first);
    assert!(segment.stat().unwrap().is_removed());
    drop(second);
    assert_errno(segment.stat(), Errno::EINVAL as i32);
    assert_errno(segment.remove(), Errno::EINVAL as i32);
    assert!(!next.stat().unwrap().is_removed());
}

#[test]
fn locking_shows_and_twice_is_once() {
    let segment = Guard::private(4096, 0o600);
    if let Err(error) = segment.lock() {
        assert!(!geteuid().is_root(), "{error}");
        skip(&format!("this user may not lock: {error}"));
        return;
    }
    segment.lock().unwrap();
    let stat = segment.stat().unwrap();
    assert_eq!((stat.is_locked(), stat.is_removed(), stat.mode()), (true, false, 0o600));
    segment.unlock().unwrap();
    assert!(!segment.stat().unwrap().is_locked());
    segment.unlock().unwrap();
}
