//! What fork, exec, exit and SIGKILL do.

use nix::sys::mman::{ProtFlags, mprotect};
use shared_region_sysv::{AttachOptions, Segment};

use crate::support::{Guard, fork_and, fork_and_pause, number_given, quiet, say_and_wait, unique_key};

#[test]
fn attach_counts_follow_fork_and_sigkill() {
    let _quiet = quiet();
    let segment = Guard::private(4096, 0o600);
    let count = || segment.stat().unwrap().attach_count();
    let _attachment = segment.attached();
    let mut child = fork_and_pause();
    assert_eq!(count(), 2);
    let pid = child.pid();
    child.kill();
    assert_eq!(count(), 1);
    assert_eq!(segment.stat().unwrap().last_pid(), pid);
}

#[test]
fn attach_counts_follow_exec() {
    let quiet = quiet();
    let segment = Guard::private(4096, 0o600);
    let count = || segment.stat().unwrap().attach_count();
    let _attachment = segment.attached();
    let mut second = quiet.start("process::child_attaches", segment.id(), |_| {}).unwrap();
    assert_eq!(second.hear(), "started");
    assert_eq!(count(), 1, "exec detaches");
    second.go_on();
    assert_eq!(second.hear(), "attached");
    assert_eq!(count(), 2);
    second.kill();
    assert_eq!(count(), 1, "SIGKILL detaches");
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_attaches() {
    let Some(id) = number_given() else { return };
    say_and_wait("started");
    let _attachment = Segment::from_id(id).attach(&AttachOptions::new()).unwrap();
    say_and_wait("attached");
}

#[test]
fn a_forked_child_that_drops_an_attachment_drops_its_own() {
    let _quiet = quiet();
    let segment = Guard::private(4096, 0o600);
    let attachment = segment.attached();
    // SAFETY: the attachment is writable and has 4096 bytes. ptr::write
    unsafe { attachment.as_mut_ptr().write(42) };
    let mut inherited = Some(attachment);
    let child = fork_and(|| i32::from(inherited.take().unwrap().detach().is_err()));
    child.succeed();
    let attachment = inherited.unwrap();
    assert_eq!(segment.stat().unwrap().attach_count(), 1);
    // SAFETY: the attachment has 4096 bytes. ptr::read
    assert_eq!(unsafe { attachment.as_ptr().read() }, 42);
}

#[test]
fn a_removed_segment_lives_as_long_as_a_child_has_it() {
    let _quiet = quiet();
    let segment = Guard::private(4096, 0o600);
    let attachment = segment.attached();
    let mut child = fork_and_pause();
    segment.remove().unwrap();
    drop(attachment);
    assert!(segment.stat().unwrap().is_removed());
    child.kill();
    segment.stat().unwrap_err();
}

#[test]
fn a_mapping_that_is_split_counts_as_several() {
    let _quiet = quiet();
    let segment = Guard::private(3 * 4096, 0o600);
    let attachment = segment.attached();
    let middle = attachment.as_mut_ptr().map_addr(|address| address + 4096);
    let middle = std::ptr::NonNull::new(middle.cast()).unwrap();
    // SAFETY: this is the second of the attachment's three pages, and nobody accesses it. mprotect(2)
    unsafe { mprotect(middle, 4096, ProtFlags::PROT_READ) }.unwrap();
    assert_eq!(segment.stat().unwrap().attach_count(), 3);
    attachment.detach().unwrap();
    assert_eq!(segment.stat().unwrap().attach_count(), 0);
}

#[test]
fn a_segment_outlives_the_process_that_created_it() {
    let key = unique_key();
    quiet().run("process::child_creates_and_ends", key);
    let segment = Guard(Segment::open(key).unwrap());
    let attachment = segment.attached();
    assert_eq!(attachment.len(), 5000);
    // SAFETY: the attachment has 5000 bytes, and the other process has ended. slice::from_raw_parts
    let bytes = unsafe { std::slice::from_raw_parts(attachment.as_ptr(), 5000) };
    assert_eq!(bytes, [7; 5000]);
    assert_ne!(segment.stat().unwrap().creator_pid(), std::process::id());
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_creates_and_ends() {
    let Some(key) = number_given() else { return };
    let segment = Segment::create_new(key, 5000, 0o600).unwrap();
    let attachment = segment.attach(&AttachOptions::new()).unwrap();
    // SAFETY: the attachment is writable and has 5000 bytes. ptr::write_bytes
    unsafe { attachment.as_mut_ptr().write_bytes(7, 5000) };
}

#[test]
fn a_child_that_ends_at_once_is_the_last_process() {
    let _quiet = quiet();
    let segment = Guard::private(4096, 0o600);
    let _attachment = segment.attached();
    let child = fork_and(|| 0);
    let pid = child.pid();
    child.succeed();
    let stat = segment.stat().unwrap();
    assert_eq!(stat.last_pid(), pid);
    assert!(stat.detach_time().is_some());
}
