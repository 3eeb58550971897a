//! `shmat` and `shmdt`, with each flag and error.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use shared_region_sysv::{AttachOptions, Attachment, Segment};

use crate::support::{Guard, assert_errno, assert_refused, number_given, quiet};

const RW: AttachOptions = AttachOptions::new();
const RO: AttachOptions = AttachOptions::new().read_only(true);

/// The first four bytes as an atomic.
fn counter(attachment: &Attachment) -> &AtomicU32 {
    assert!(attachment.len() >= 4 && !attachment.is_read_only());
    // SAFETY: writable, at least four bytes, aligned to a page, alive as long as the reference. AtomicU32::from_ptr
    unsafe { AtomicU32::from_ptr(attachment.as_mut_ptr().cast()) }
}

/// An address far from where the system puts anything.
fn free_address(number: usize) -> usize {
    0x2000_0000 + number * 0x100_0000
}

/// Reads the permissions of a mapping, such as `rw-s`.
fn protection(attachment: &Attachment) -> String {
    let start = format!("{:x}-", attachment.as_ptr().addr());
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.trim_start_matches('0').starts_with(&start)).unwrap();
    line.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn an_attachment_has_the_length_that_was_asked_and_starts_at_a_page() {
    for size in [1, 4095, 4096, 4097, 5000, 3 << 20] {
        let segment = Guard::private(size, 0o600);
        let attachment = segment.attached();
        assert_eq!(attachment.len(), size);
        assert_eq!(attachment.as_ptr().addr() % 4096, 0);
        assert_eq!(attachment.as_ptr(), attachment.as_mut_ptr().cast_const());
        assert_eq!(attachment.segment(), *segment);
    }
}

#[test]
fn attaching_twice_gives_two_addresses_of_the_same_bytes() {
    let segment = Guard::private(4096, 0o600);
    let (first, second) = (segment.attached(), segment.attached());
    assert_ne!(first.as_ptr(), second.as_ptr());
    counter(&first).store(7, Ordering::Relaxed);
    assert_eq!(counter(&second).load(Ordering::Relaxed), 7);
}

#[test]
fn dropping_detaches_and_does_not_remove() {
    let _quiet = quiet();
    let segment = Guard::private(4096, 0o600);
    let count = || segment.stat().unwrap().attach_count();
    let (first, second) = (segment.attached(), segment.attached());
    assert_eq!(count(), 2);
    drop(first);
    assert_eq!(count(), 1);
    second.detach().unwrap();
    assert_eq!(count(), 0);
    assert!(!segment.stat().unwrap().is_removed());
}

#[test]
fn a_failed_attach_leaves_nothing_attached() {
    let _quiet = quiet();
    let segment = Guard::private(4096, 0o600);
    let attachment = segment.attached();
    let occupied = AttachOptions::new().address(attachment.as_ptr().addr());
    segment.attach(&occupied).unwrap_err();
    assert_eq!(segment.stat().unwrap().attach_count(), 1);
}

#[test]
fn an_attachment_can_be_used_and_dropped_on_another_thread() {
    fn is_send_and_sync<T: Send + Sync>(value: T) -> T {
        value
    }
    let segment = Guard::private(4096, 0o600);
    let attachment = is_send_and_sync(segment.attached());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1000).for_each(|_| _ = counter(&attachment).fetch_add(1, Ordering::Relaxed)));
        }
    });
    assert_eq!(counter(&attachment).load(Ordering::Relaxed), 4000);
    thread::spawn(move || drop(attachment)).join().unwrap();
}

#[test]
fn a_read_only_attachment_sees_what_others_write() {
    let segment = Guard::private(4096, 0o600);
    let (writer, reader) = (segment.attached(), segment.attach(&RO).unwrap());
    assert!(reader.is_read_only() && !writer.is_read_only());
    assert_eq!((protection(&writer).as_str(), protection(&reader).as_str()), ("rw-s", "r--s"));
    counter(&writer).store(9, Ordering::Relaxed);
    // SAFETY: the attachment has 4096 bytes, is aligned, and this reference is only loaded from.
    let seen = unsafe { &*reader.as_ptr().cast::<AtomicU32>() };
    assert_eq!(seen.load(Ordering::Relaxed), 9);
}

#[test]
fn writing_through_a_read_only_attachment_ends_the_process() {
    let segment = Guard::private(4096, 0o600);
    let second = quiet().start("attach::child_writes_read_only", segment.id(), |_| {}).unwrap();
    let (status, said) = second.end();
    assert_eq!(status.signal(), Some(Signal::SIGSEGV as i32), "{said}");
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_writes_read_only() {
    let Some(id) = number_given() else { return };
    setrlimit(Resource::RLIMIT_CORE, 0, 0).unwrap();
    let attachment = Segment::from_id(id).attach(&RO).unwrap();
    // SAFETY: none: that this faults is the point.
    unsafe { attachment.as_mut_ptr().write_volatile(1) };
}

#[test]
fn an_executable_attachment_is_mapped_so() {
    let segment = Guard::private(4096, 0o700);
    let both = segment.attach(&AttachOptions::new().executable(true)).unwrap();
    assert_eq!(protection(&both), "rwxs");
    let read_only = segment.attach(&RO.executable(true)).unwrap();
    assert_eq!(protection(&read_only), "r-xs");
}

#[test]
fn an_address_is_where_it_is_attached() {
    let segment = Guard::private(4096, 0o600);
    let address = free_address(0);
    let attachment = segment.attach(&AttachOptions::new().address(address)).unwrap();
    assert_eq!(attachment.as_ptr().addr(), address);
    counter(&attachment).store(1, Ordering::Relaxed);
    drop(attachment);
    let again = segment.attach(&AttachOptions::new().address(address)).unwrap();
    assert_eq!((again.as_ptr().addr(), counter(&again).load(Ordering::Relaxed)), (address, 1));
}

#[test]
fn a_misaligned_address_is_invalid_unless_it_is_rounded_down() {
    let segment = Guard::private(4096, 0o600);
    let address = free_address(1);
    let misaligned = AttachOptions::new().address(address + 123);
    assert_errno(segment.attach(&misaligned), Errno::EINVAL as i32);
    let attachment = segment.attach(&misaligned.round_down(true)).unwrap();
    assert_eq!(attachment.as_ptr().addr(), address);
}

#[test]
fn rounding_down_without_an_address_means_nothing() {
    let segment = Guard::private(4096, 0o600);
    segment.attach(&AttachOptions::new().round_down(true)).unwrap();
}

#[test]
fn an_address_in_use_is_invalid_and_what_is_there_stays() {
    let segments = [Guard::private(4096, 0o600), Guard::private(2 * 4096, 0o600)];
    let attachment = segments[0].attached();
    counter(&attachment).store(5, Ordering::Relaxed);
    let address = attachment.as_ptr().addr();
    // Right at it, reaching into it from below, and rounded down to it.
    for options in [
        AttachOptions::new().address(address),
        AttachOptions::new().address(address - 4096),
        AttachOptions::new().address(address + 1).round_down(true),
    ] {
        assert_errno(segments[1].attach(&options), Errno::EINVAL as i32);
    }
    assert_eq!(counter(&attachment).load(Ordering::Relaxed), 5);
}

#[test]
fn an_address_of_zero_or_that_could_round_to_zero_is_refused() {
    let segment = Guard::private(4096, 0o600);
    assert_refused(segment.attach(&AttachOptions::new().address(0)));
    for address in [0, 1, 4095, 4096, 0xf_ffff] {
        assert_refused(segment.attach(&AttachOptions::new().address(address).round_down(true)));
    }
}

#[test]
#[cfg(target_pointer_width = "64")]
fn an_address_of_the_kernels_is_out_of_memory() {
    let segment = Guard::private(4096, 0o600);
    let high = AttachOptions::new().address(0xffff_8000_0000_0000);
    assert_errno(segment.attach(&high), Errno::ENOMEM as i32);
}

#[test]
fn a_segment_that_has_gone_cannot_be_attached() {
    let segment = Guard::private(4096, 0o600);
    segment.remove().unwrap();
    assert_errno(segment.attach(&RW), Errno::EINVAL as i32);
    assert_errno(Segment::from_id(-1).attach(&RW), Errno::EINVAL as i32);
}

#[test]
fn a_removed_segment_can_be_attached_while_it_is_attached() {
    let segment = Guard::private(4096, 0o600);
    let first = segment.attached();
    segment.remove().unwrap();
    let second = segment.attached();
    counter(&first).store(3, Ordering::Relaxed);
    drop(first);
    assert_eq!((second.len(), counter(&second).load(Ordering::Relaxed)), (4096, 3));
}

#[test]
fn without_room_in_the_address_space_it_is_out_of_memory() {
    let segment = Guard::private(64 << 20, 0o600);
    quiet().run("attach::child_has_no_room", segment.id());
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_has_no_room() {
    let Some(id) = number_given() else { return };
    setrlimit(Resource::RLIMIT_AS, 32 << 20, 32 << 20).unwrap();
    assert_errno(Segment::from_id(id).attach(&RW), Errno::ENOMEM as i32);
}

#[test]
fn detaching_what_c_has_detached_already_is_invalid() {
    // In a process of its own, so that nothing else is mapped there in between.
    let segment = Guard::private(4096, 0o600);
    quiet().run("attach::child_detaches_behind_its_back", segment.id());
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_detaches_behind_its_back() {
    let Some(id) = number_given() else { return };
    let attachment = Segment::from_id(id).attach(&RW).unwrap();
    // SAFETY: nobody uses the bytes, and the attachment below only finds that they have gone. shmop(2)
    assert_eq!(unsafe { libc::shmdt(attachment.as_ptr().cast()) }, 0);
    assert_errno(attachment.detach(), Errno::EINVAL as i32);
    let attachment = Segment::from_id(id).attach(&RW).unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { libc::shmdt(attachment.as_ptr().cast()) }, 0);
    drop(attachment);
}
