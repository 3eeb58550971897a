//! `shmget`, with each of its flags and errors.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};
use shared_region_sysv::{AttachOptions, GetOptions, HugePages, IPC_PRIVATE, Segment, limits, segments, usage};

use crate::support::{Guard, assert_errno, assert_refused, is_root, number_given, quiet, skip, unique_key};

#[test]
fn opening_a_key_without_segment_is_not_found() {
    assert_errno(Segment::open(unique_key()), Errno::ENOENT as i32);
    assert_errno(GetOptions::new().get(unique_key(), 4096), Errno::ENOENT as i32);
    assert_eq!(Segment::open(unique_key()).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn opening_ipc_private_is_refused() {
    assert_refused(Segment::open(IPC_PRIVATE));
}

#[test]
fn opening_gives_the_segment_that_was_created() {
    let key = unique_key();
    let segment = Guard::keyed(key, 5000, 0o600);
    assert_eq!(Segment::open(key).unwrap(), *segment);
    assert_eq!(Segment::from_id(segment.id()), *segment);
    assert_eq!(segment.stat().unwrap().key(), key);
}

#[test]
fn a_new_segment_has_the_asked_size_and_mode_and_reads_as_zeros() {
    let segment = Guard::keyed(unique_key(), 5000, 0o640);
    let stat = segment.stat().unwrap();
    assert_eq!((stat.size(), stat.mode()), (5000, 0o640));
    let attachment = segment.attached();
    // SAFETY: the attachment has this length, and nobody else knows the segment. slice::from_raw_parts
    let bytes = unsafe { std::slice::from_raw_parts(attachment.as_ptr(), attachment.len()) };
    assert_eq!(bytes, [0; 5000]);
}

#[test]
fn negative_keys_are_keys_like_others() {
    for key in [-unique_key(), i32::MIN | unique_key()] {
        let segment = Guard::keyed(key, 1, 0o600);
        assert_eq!(segment.stat().unwrap().key(), key);
        assert_eq!(Segment::open(key).unwrap(), *segment);
    }
}

#[test]
fn create_new_on_a_taken_key_already_exists_whatever_the_size() {
    let key = unique_key();
    let segment = Guard::keyed(key, 4096, 0);
    for size in [1, 4096, 1 << 20, usize::MAX, 0] {
        assert_errno(Segment::create_new(key, size, 0o600), Errno::EEXIST as i32);
    }
    assert_eq!(Segment::open(key).unwrap(), *segment);
}

#[test]
fn create_without_exclusive_opens_what_exists_as_it_is() {
    let key = unique_key();
    let options = GetOptions::new().create(true).mode(0o600);
    let segment = Guard(options.get(key, 4096).unwrap());
    let again = options.clone().mode(0o400).get(key, 100).unwrap();
    assert_eq!(again, *segment);
    let stat = segment.stat().unwrap();
    assert_eq!((stat.size(), stat.mode()), (4096, 0o600));
}

#[test]
fn exclusive_without_create_means_nothing() {
    let key = unique_key();
    let options = GetOptions::new().exclusive(true);
    assert_errno(options.get(key, 0), Errno::ENOENT as i32);
    let segment = Guard::keyed(key, 4096, 0o600);
    assert_eq!(options.get(key, 0).unwrap(), *segment);
}

#[test]
fn asking_for_more_than_an_existing_segment_has_is_invalid() {
    let key = unique_key();
    let segment = Guard::keyed(key, 5000, 0o600);
    assert_eq!(GetOptions::new().get(key, 5000).unwrap(), *segment);
    assert_errno(GetOptions::new().get(key, 5001), Errno::EINVAL as i32);
    assert_errno(GetOptions::new().create(true).get(key, 5001), Errno::EINVAL as i32);
}

#[test]
fn a_new_segment_of_no_or_too_many_bytes_is_invalid_and_leaves_nothing() {
    let key = unique_key();
    // A 64-bit kernel's SHMMAX is over all that 32 bits can ask for.
    let sizes: &[usize] = if cfg!(target_pointer_width = "64") { &[0, usize::MAX] } else { &[0] };
    for &size in sizes {
        assert_errno(Segment::create_new(key, size, 0o600).map(Guard), Errno::EINVAL as i32);
        assert_errno(Segment::open(key), Errno::ENOENT as i32);
    }
}

#[test]
fn a_mode_of_more_than_nine_bits_is_refused() {
    // 0o1000 would be IPC_CREAT.
    let key = unique_key();
    for mode in [0o1000, 0o1600, 0o4600, u32::MAX] {
        assert_refused(GetOptions::new().mode(mode).get(key, 4096));
        assert_refused(Segment::create_new(key, 4096, mode));
    }
    assert_errno(Segment::open(key), Errno::ENOENT as i32);
}

#[test]
fn ipc_private_creates_another_segment_each_time() {
    let options = GetOptions::new().mode(0o600);
    let first = Guard(options.get(IPC_PRIVATE, 4096).unwrap());
    let second = Guard(options.clone().exclusive(true).create(true).get(IPC_PRIVATE, 4096).unwrap());
    assert_ne!(*first, *second);
    assert_eq!(first.stat().unwrap().key(), IPC_PRIVATE);
}

#[test]
fn the_umask_does_not_count() {
    quiet().run("get::child_creates_with_a_umask", unique_key());
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_creates_with_a_umask() {
    let Some(key) = number_given() else { return };
    umask(Mode::from_bits_truncate(0o777));
    let segment = Guard::keyed(key, 4096, 0o666);
    assert_eq!(segment.stat().unwrap().mode(), 0o666);
}

#[test]
fn what_cannot_be_reserved_is_out_of_memory_unless_no_reserve_is_asked() {
    let overcommit = fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap();
    if overcommit.trim() != "0" || cfg!(target_pointer_width = "32") {
        skip(&format!("vm.overcommit_memory is {}, or no 64 bits", overcommit.trim()));
        return;
    }
    let size = usize::MAX >> 18; // 64 TiB
    let key = unique_key();
    assert_errno(Segment::create_new(key, size, 0o600), Errno::ENOMEM as i32);
    assert_errno(Segment::open(key), Errno::ENOENT as i32);
    let lazy = GetOptions::new().create(true).exclusive(true).mode(0o600).no_reserve(true);
    let segment = Guard(lazy.get(key, size).unwrap());
    assert_eq!(segment.stat().unwrap().size(), size);
}

#[test]
fn a_huge_page_size_that_the_kernel_does_not_have_is_invalid() {
    let options = GetOptions::new().create(true).mode(0o600);
    let key = unique_key();
    for log2 in [13, 62, 63] {
        let odd = options.clone().huge_pages(HugePages::Log2(log2));
        assert_errno(odd.get(key, 4096), Errno::EINVAL as i32);
    }
    for log2 in [64, 255] {
        assert_refused(options.clone().huge_pages(HugePages::Log2(log2)).get(key, 4096));
    }
    assert_errno(Segment::open(key), Errno::ENOENT as i32);
}

#[test]
fn huge_pages_back_a_segment_or_are_out_of_memory() {
    if !is_root("using huge pages") {
        return;
    }
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
    let default = meminfo.lines().find_map(|line| line.strip_prefix("Hugepagesize:"));
    let Some(default) = default else {
        skip("this kernel has no huge pages");
        return;
    };
    let default = default.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10;
    for (pages, size) in [
        (HugePages::Default, default),
        (HugePages::Log2(0), default),
        (HugePages::Size2MiB, 1 << 21),
        (HugePages::Log2(21), 1 << 21),
        (HugePages::Size1GiB, 1 << 30),
        (HugePages::Log2(30), 1 << 30),
    ] {
        let known = fs::exists(format!("/sys/kernel/mm/hugepages/hugepages-{}kB", size >> 10));
        let options = GetOptions::new().mode(0o600).huge_pages(pages);
        match options.get(IPC_PRIVATE, 5000) {
            Ok(segment) => {
                let segment = Guard(segment);
                let attachment = segment.attached();
                assert_eq!(attachment.len(), 5000);
                assert_eq!(attachment.as_ptr().addr() % size, 0, "{pages:?}");
            }
            Err(error) => {
                let expected = if known.unwrap() { Errno::ENOMEM } else { Errno::EINVAL };
                assert_eq!(error.raw_os_error(), Some(expected as i32), "{pages:?}: {error}");
                skip(&format!("no free huge pages for {pages:?}: {error}"));
            }
        }
    }
}

#[test]
fn the_limits_of_a_namespace_are_kept_and_told() {
    let isolate = |command: &mut Command| {
        // SAFETY: between fork and exec there is one system call, which needs no lock and no memory. fork(2)
        unsafe { command.pre_exec(|| Ok(unshare(CloneFlags::CLONE_NEWIPC)?)) };
    };
    let quiet = quiet();
    match quiet.start("get::child_in_a_new_ipc_namespace", unique_key(), isolate) {
        Ok(second) => second.succeed(),
        Err(error) => skip(&format!("no new IPC namespace: {error}")),
    }
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_in_a_new_ipc_namespace() {
    let Some(key) = number_given() else { return };
    // The namespace is new: nothing is in it, though `/proc` is that of the first process.
    assert_eq!(segments().unwrap(), []);
    let none = usage().unwrap();
    assert_eq!((none.segments(), none.pages_total(), none.highest_index()), (0, 0, 0));

    // These three belong to the namespace, not to the machine.
    fs::write("/proc/sys/kernel/shmmax", "100000").unwrap();
    fs::write("/proc/sys/kernel/shmmni", "2").unwrap();
    fs::write("/proc/sys/kernel/shmall", "30").unwrap();
    let limits = limits().unwrap();
    assert_eq!((limits.segment_min_bytes(), limits.segment_max_bytes()), (1, 100_000));
    assert_eq!((limits.segments_max(), limits.pages_max()), (2, 30));

    assert_errno(Segment::create_new(key, 100_001, 0o600), Errno::EINVAL as i32);
    let first = Guard::keyed(key, 100_000, 0o600);
    let error = Segment::create_new(key + 1, 6 * 4096, 0o600).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::ENOSPC as i32), "25 and 6 pages are over 30");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let second = Guard::keyed(key + 1, 4097, 0o600);
    assert_errno(Segment::create_new(key + 2, 1, 0o600), Errno::ENOSPC as i32);

    let used = usage().unwrap();
    assert_eq!((used.segments(), used.pages_total(), used.pages_resident()), (2, 27, 0));
    assert_eq!((used.highest_index(), used.pages_swapped()), (1, 0));
    let attachment = second.attach(&AttachOptions::new()).unwrap();
    // SAFETY: the attachment is writable and has 4097 bytes. ptr::write
    unsafe { attachment.as_mut_ptr().write(1) };
    assert_eq!(usage().unwrap().pages_resident(), 1);
    let found = segments().unwrap();
    assert_eq!(found.iter().map(|stat| stat.segment()).collect::<Vec<_>>(), [*first, *second]);
    assert_eq!(found[0].resident(), Some(0));
    assert_eq!((found[1].resident(), found[1].swapped()), (Some(4096), Some(0)));
}
