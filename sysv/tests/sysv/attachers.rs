//! Who has a segment attached.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::mman::{ProtFlags, mprotect};
use nix::unistd::pause;
use shared_region_sysv::{AttachOptions, Attachers, GetOptions, HugePages, IPC_PRIVATE, Segment, attachers, segments};

use crate::support::{Guard, assert_errno, fork_and, fork_and_pause, is_root, number_given, quiet, say_and_wait, skip};

fn of(segment: Segment) -> Attachers {
    attachers(&[segment.stat().unwrap()]).unwrap().remove(0)
}

fn pids(found: &Attachers) -> Vec<u32> {
    found.processes().iter().map(|attacher| attacher.pid()).collect()
}

/// What this process has attached: address, length, offset, and whether it is read-only.
fn own(found: &Attachers) -> Vec<(usize, u64, u64, bool)> {
    let own = found.processes().iter().filter(|attacher| attacher.pid() == process::id());
    let ranges = own.flat_map(|attacher| attacher.ranges());
    ranges.map(|it| (it.address() as usize, it.len(), it.offset(), it.is_read_only())).collect()
}

#[test]
fn each_attachment_is_told_as_it_is() {
    let _quiet = quiet();
    let segment = Guard::private(10_000, 0o600);
    assert!(of(*segment).is_complete() && of(*segment).processes().is_empty());
    let writer = segment.attached();
    let reader = segment.attach(&AttachOptions::new().read_only(true)).unwrap();
    let mut told = [(writer.as_ptr().addr(), 12_288, 0, false), (reader.as_ptr().addr(), 12_288, 0, true)];
    told.sort_unstable();
    assert_eq!(own(&of(*segment)), told);

    // The kernel counts three, and so many are told.
    let page = writer.as_mut_ptr().wrapping_add(4096);
    let page = std::ptr::NonNull::new(page.cast()).unwrap();
    // SAFETY: the second of the attachment's three pages, to which nobody writes meanwhile. mprotect(2)
    unsafe { mprotect(page, 4096, ProtFlags::PROT_READ) }.unwrap();
    drop(reader);
    let start = writer.as_ptr().addr();
    let parts = [(start, 4096, 0, false), (start + 4096, 4096, 4096, true), (start + 8192, 4096, 8192, false)];
    let found = of(*segment);
    assert_eq!(own(&found), parts);
    assert_eq!((segment.stat().unwrap().attach_count(), found.unseen()), (3, 0));

    segment.remove().unwrap();
    assert_eq!(own(&of(*segment)), parts, "also when it is removed");
}

#[test]
fn one_look_answers_for_many_segments_in_their_order_also_if_asked_twice() {
    let quiet = quiet();
    let (first, second, unused) = (Guard::private(1, 0o600), Guard::private(1, 0o600), Guard::private(1, 0o600));
    let _first = first.attached();
    let mut child = quiet.start("attachers::child_attaches", second.id(), |_| {}).unwrap();
    let pid: u32 = child.hear().parse().unwrap();
    let forked = fork_and_pause();
    let stats = [*second, *unused, *first, *second].map(|segment| segment.stat().unwrap());
    let found = attachers(&stats).unwrap();
    assert_eq!(found[0], found[3]);
    assert_eq!(pids(&found[0]), [pid]);
    assert_eq!(pids(&found[1]), []);
    let mut both = [process::id(), forked.pid()];
    both.sort_unstable();
    assert_eq!(pids(&found[2]), both);
    assert!(found.iter().all(Attachers::is_complete));
    assert_eq!(attachers(&[]).unwrap(), []);
    child.go_on();
    child.succeed();
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_attaches() {
    let Some(id) = number_given() else { return };
    let attachment = Segment::from_id(id).attach(&AttachOptions::new());
    say_and_wait(process::id());
    drop(attachment);
}

#[test]
fn what_may_not_be_looked_into_is_told_as_unseen() {
    if !is_root("becoming another user") {
        return;
    }
    let quiet = quiet();
    let segment = Guard::private(1, 0o666);
    let attachments = [segment.attached(), segment.attached()];
    quiet.run_as_nobody("attachers::child_sees_itself_only", segment.id());
    drop(attachments);
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_sees_itself_only() {
    let Some(id) = number_given() else { return };
    let segment = Segment::from_id(id);
    assert_eq!((pids(&of(segment)), of(segment).unseen()), (vec![], 2));
    let _attachment = segment.attach(&AttachOptions::new()).unwrap();
    let found = of(segment);
    assert_eq!((pids(&found), found.unseen(), found.is_complete()), (vec![process::id()], 2, false));
}

/// Starts a second process in an IPC namespace of its own.
fn in_a_namespace_of_its_own(command: &mut Command) {
    // SAFETY: the child makes one system call, and neither allocates nor locks. CommandExt::pre_exec
    unsafe { command.pre_exec(|| Ok(unshare(CloneFlags::CLONE_NEWIPC)?)) };
}

#[test]
fn a_segment_of_the_same_id_in_another_namespace_is_another_segment() {
    if !is_root("IPC namespaces") {
        return;
    }
    let quiet = quiet();
    let start = || quiet.start("attachers::child_attaches_the_first_segment", 0, in_a_namespace_of_its_own).unwrap();
    let mut children = [start(), start()];
    for child in &mut children {
        assert_eq!(child.hear(), "attached 0");
    }
    for mut child in children {
        child.go_on();
        child.succeed();
    }
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_attaches_the_first_segment() {
    if number_given().is_none() {
        return;
    }
    let segment = Guard::private(1, 0o600);
    let _attachment = segment.attached();
    say_and_wait(format_args!("attached {}", segment.id()));
    // The other child has its own segment 0 attached.
    let found = of(*segment);
    assert_eq!((pids(&found), found.is_complete()), (vec![process::id()], true));
    assert_eq!(segments().unwrap().len(), 1);

    // Who moves on keeps it attached, and is not seen any more; nor is it taken for a segment of the new place.
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let apart = || -> io::Result<bool> {
        unshare(CloneFlags::CLONE_NEWIPC)?;
        let elsewhere = Segment::create_new(IPC_PRIVATE, 1, 0o600)?;
        let found = attachers(&[elsewhere.stat()?])?.remove(0);
        Ok(elsewhere.id() == 0 && found.processes().is_empty() && found.is_complete())
    };
    let _mover = fork_and(move || {
        let _ = theirs.write_all(&[u8::from(apart().unwrap_or(false))]);
        pause();
        1
    });
    let mut apart = [0];
    ours.read_exact(&mut apart).unwrap();
    let found = of(*segment);
    assert_eq!((apart, pids(&found), found.unseen()), ([1], vec![process::id()], 1));
}

#[test]
fn a_process_whose_main_thread_has_ended_is_seen() {
    let _quiet = quiet();
    let segment = Guard::private(1, 0o600);
    let _attachment = segment.attached();
    let child = fork_and(|| {
        thread::spawn(|| thread::sleep(Duration::from_secs(60)));
        // SAFETY: ends this thread alone, and runs nothing of this process any more. exit(2)
        unsafe { libc::syscall(libc::SYS_exit, 0) };
        1
    });
    let status = format!("/proc/{}/status", child.pid());
    while !fs::read_to_string(&status).unwrap().contains("State:\tZ") {
        thread::yield_now();
    }
    let found = of(*segment);
    assert!(pids(&found).contains(&child.pid()) && found.is_complete(), "{found:?}");
}

#[test]
fn a_segment_of_huge_pages_is_seen_like_others() {
    if !is_root("using huge pages") {
        return;
    }
    let _quiet = quiet();
    let huge = GetOptions::new().create(true).exclusive(true).mode(0o600).huge_pages(HugePages::Default);
    let segment = match huge.get(IPC_PRIVATE, 4096).map(Guard) {
        Ok(segment) => segment,
        Err(error) => return skip(&format!("no free huge pages: {error}")),
    };
    let attachment = segment.attached();
    let found = of(*segment);
    assert!(matches!(own(&found)[..], [(address, _, 0, false)] if address == attachment.as_ptr().addr()), "{found:?}");
    assert!(found.is_complete());
}

#[test]
fn without_proc_it_is_an_error_and_not_nobody() {
    if is_root("mounts of its own") {
        quiet().run("attachers::child_has_no_proc", 0);
    }
}

#[test]
#[ignore = "run by another test as a second process"]
fn child_has_no_proc() {
    if number_given().is_none() {
        return;
    }
    let segment = Guard::private(1, 0o600);
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    umount2("/proc", MntFlags::MNT_DETACH).unwrap();
    // The count alone tells that there is nobody to be found.
    assert!(of(*segment).is_complete());
    let _attachment = segment.attached();
    assert_errno(attachers(&[segment.stat().unwrap()]), libc::ENOENT);
}
