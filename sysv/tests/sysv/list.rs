//! `/proc/sysvipc/shm`, `IPC_INFO`, `SHM_INFO`.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setgid, setuid};
use shared_region_sysv::{IPC_PRIVATE, SegmentStat, limits, segments, usage};

use crate::support::{Guard, NOBODY, is_root, number_given, quiet, skip, unique_key};

fn find(segment: &Guard) -> Option<SegmentStat> {
    segments().unwrap().into_iter().find(|stat| stat.segment() == **segment)
}

/// Compares all that both sources know.
#[track_caller]
fn assert_listed_as_it_is(segment: &Guard) {
    let (listed, stat) = (find(segment).expect("not listed"), segment.stat().unwrap());
    assert_eq!((listed.key(), listed.size(), listed.mode()), (stat.key(), stat.size(), stat.mode()));
    assert_eq!((listed.uid(), listed.gid()), (stat.uid(), stat.gid()));
    assert_eq!(
        (listed.creator_uid(), listed.creator_gid(), listed.creator_pid()),
        (stat.creator_uid(), stat.creator_gid(), stat.creator_pid())
    );
    assert_eq!((listed.last_pid(), listed.attach_count()), (stat.last_pid(), stat.attach_count()));
    assert_eq!(listed.attach_time(), stat.attach_time());
    assert_eq!(listed.detach_time(), stat.detach_time());
    assert_eq!(listed.change_time(), stat.change_time());
    assert_eq!(listed.is_removed(), stat.is_removed());
    assert_eq!(listed.is_locked(), stat.is_locked());
    assert_eq!(listed.sequence(), None);
    assert!(listed.resident().is_some() && listed.swapped().is_some());
}

#[test]
fn segments_of_all_kinds_are_listed_as_they_are() {
    let _quiet = quiet();
    let private = Guard::private(1, 0o600);
    let keyed = Guard::keyed(unique_key(), 5000, 0o751);
    let negative = Guard::keyed(-unique_key(), 3 << 20, 0o007);
    let _ = keyed.set(1234, 5678, 0o640);
    let _ = keyed.lock();
    let removed = Guard::keyed(unique_key(), 4096, 0o600);
    let _attachment = removed.attached();
    removed.remove().unwrap();
    for segment in [&private, &keyed, &removed] {
        assert_listed_as_it_is(segment);
    }
    assert!(find(&removed).unwrap().is_removed());
    // Its owner has no permission on it: only root could compare it.
    assert!(find(&negative).unwrap().key() < 0);
    assert_eq!(find(&negative).unwrap().mode(), 0o007);
}

#[test]
fn a_segment_that_has_gone_is_not_listed() {
    let segment = Guard::private(1, 0o600);
    assert_eq!(find(&segment).unwrap().key(), IPC_PRIVATE);
    segment.remove().unwrap();
    assert_eq!(find(&segment), None);
}

#[test]
fn resident_bytes_grow_with_the_pages_that_are_touched() {
    let segment = Guard::private(8 * 4096, 0o600);
    assert_eq!(find(&segment).unwrap().resident(), Some(0));
    let attachment = segment.attached();
    // SAFETY: the attachment is writable and has this length. ptr::write_bytes
    unsafe { attachment.as_mut_ptr().write_bytes(1, attachment.len()) };
    let stat = find(&segment).unwrap();
    assert!(stat.resident().unwrap() + stat.swapped().unwrap() >= 8 * 4096);
}

#[test]
fn many_segments_are_all_listed() {
    // More than one read of `/proc` takes.
    let made: Vec<Guard> = (0..200).map(|_| Guard::private(1, 0o600)).collect();
    let listed = segments().unwrap();
    for segment in &made {
        assert_eq!(listed.iter().filter(|stat| stat.segment() == **segment).count(), 1);
    }
}

#[test]
fn without_proc_the_kernels_table_is_asked_and_no_permission_is_needed() {
    if !is_root("hiding /proc") {
        return;
    }
    let quiet = quiet();
    let segment = Guard::keyed(unique_key(), 5000, 0);
    quiet.run("list::child_lists_without_proc", segment.id());
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_lists_without_proc() {
    let Some(id) = number_given() else { return };
    let nothing = None::<&str>;
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNS) {
        skip(&format!("no new mount namespace: {error}"));
        return;
    }
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
    mount(Some("none"), "/proc", Some("tmpfs"), MsFlags::empty(), nothing).unwrap();
    assert!(!Path::new("/proc/sysvipc").exists());
    setgid(Gid::from_raw(NOBODY)).unwrap();
    setuid(Uid::from_raw(NOBODY)).unwrap();

    let listed = segments().unwrap().into_iter().find(|stat| stat.segment().id() == id).unwrap();
    assert_eq!((listed.size(), listed.mode(), listed.uid()), (5000, 0, 0));
    assert!(listed.sequence().is_some());
    assert_eq!((listed.resident(), listed.swapped()), (None, None));
}

#[test]
fn limits_are_those_of_proc() {
    let of = |name: &str| -> u64 {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap();
        text.trim().parse().unwrap()
    };
    let limits = limits().unwrap();
    assert_eq!(limits.segments_max(), of("shmmni"));
    assert_eq!(limits.segment_min_bytes(), 1);
    let (bytes, pages) = (of("shmmax"), of("shmall"));
    if cfg!(target_pointer_width = "64") {
        assert_eq!((limits.segment_max_bytes(), limits.pages_max()), (bytes, pages));
    } else {
        // A 64-bit kernel shortens them.
        assert!([bytes, bytes.min(i32::MAX as u64)].contains(&limits.segment_max_bytes()));
        assert_eq!(limits.pages_max(), pages & u64::from(u32::MAX));
    }
}

#[test]
fn usage_counts_what_exists() {
    let _made = [Guard::private(4096, 0o600), Guard::private(4097, 0o600)];
    let usage = usage().unwrap();
    assert!(usage.segments() >= 2);
    assert!(usage.pages_total() >= 3);
    assert!(u64::from(usage.highest_index()) + 1 >= usage.segments());
    assert!(usage.pages_resident() + usage.pages_swapped() <= usage.pages_total());
}
