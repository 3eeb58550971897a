//! F: fork and exec.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use shared_region::{Backend, CreateOptions, ErrorKind, OpenOptions, Removal, SharedRegion, SharedRegionExt};

use crate::support::child::{Second, eventually, fork_off, forked, hear, is_root, role, say, skip};
use crate::support::trace::{self, Fate};
use crate::sut::{Fresh, Sut, bytes_of, create, name_in, open, open_read_only};

fn succeeded(ended: WaitStatus) {
    assert!(matches!(ended, WaitStatus::Exited(_, 0)), "{ended:?}");
}

pub fn a_forked_child_may_drop_what_it_inherited_and_the_parent_notices_nothing<S: Sut>() {
    for removal in [Removal::Explicit, Removal::OnDrop] {
        let name = Fresh::<S>::new();
        let options = CreateOptions::new(5000).removal(removal);
        let created = S::backend().create_new(&name, &options).unwrap();
        let clone = created.try_clone().unwrap();
        created.write_at(0, b"before").unwrap();
        let mut handles = vec![created, clone, open::<S>(&name), open_read_only::<S>(&name)];
        let mut unnamed = Some(S::backend().create_unnamed(&options).unwrap());
        unnamed.as_ref().unwrap().write_at(0, b"before").unwrap();
        succeeded(forked(|| {
            handles.clear();
            unnamed.take();
            0
        }));
        assert!(S::backend().exists(&name).unwrap());
        assert!(!handles[0].metadata().unwrap().is_removed());
        for region in handles.iter().chain(&unnamed) {
            assert_eq!((region.len(), &bytes_of(region)[..6]), (5000, &b"before"[..]));
        }
        handles[0].write_at(4995, b"after").unwrap();
        assert_eq!(bytes_of(&handles[3])[4995..], *b"after");
        assert_eq!(bytes_of(&open::<S>(&name))[4995..], *b"after");
        unnamed.unwrap().write_at(4995, b"after").unwrap();
    }
}

pub fn a_forked_child_shares_the_bytes_and_may_die_of_sigkill<S: Sut>() {
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 5000);
    let unnamed = S::backend().create_unnamed(&CreateOptions::new(5000)).unwrap();
    let mut child = fork_off(|line| {
        let mut told = [0; 5];
        let written = [&region, &unnamed].iter().all(|region| {
            region.write_at(0, b"child").is_ok()
                && line.write_all(b"!").is_ok()
                && line.read_exact(&mut told).is_ok()
                && region.read_at(4995, &mut told).is_ok()
                && told == *b"elder"
        });
        let _ = line.write_all(if written { b"y" } else { b"n" });
        let _ = line.read(&mut told);
        1
    });
    let mut said = [0];
    for region in [&region, &unnamed] {
        child.line.read_exact(&mut said).unwrap();
        assert_eq!(bytes_of(region)[..5], *b"child");
        region.write_at(4995, b"elder").unwrap();
        child.line.write_all(b"there").unwrap();
    }
    child.line.read_exact(&mut said).unwrap();
    assert_eq!(said, *b"y");
    child.kill();
    assert_eq!(bytes_of(&region)[4995..], *b"elder");
    assert_eq!(bytes_of(&open::<S>(&name))[..5], *b"child");
    assert_eq!(bytes_of(&unnamed)[4995..], *b"elder");
}

pub fn a_forked_child_removes_on_drop_what_it_created_itself<S: Sut>() {
    let name = Fresh::<S>::new();
    let options = CreateOptions::new(4096).removal(Removal::OnDrop);
    succeeded(forked(|| {
        let Ok(region) = S::backend().create_new(&name, &options) else { return 1 };
        if !S::backend().exists(&name).is_ok_and(|exists| exists) {
            return 2;
        }
        drop(region);
        0
    }));
    assert!(!S::backend().exists(&name).unwrap());
}

/// Makes a child as no C library does, which does one act and exits with the code that it returns.
fn cloned(flags: CloneFlags, act: impl FnOnce() -> i32) -> WaitStatus {
    let flags = libc::c_long::from(flags.bits() | Signal::SIGCHLD as i32);
    // The stack and the flags: s390x takes them the other way round.
    let (first, second) = if cfg!(target_arch = "s390x") { (0, flags) } else { (flags, 0) };
    // SAFETY: clone(2) without a stack is like fork(2): the child goes on here with a copy of all memory, does one act
    // that needs no lock of another thread, and leaves by `_exit`.
    let child = unsafe { libc::syscall(libc::SYS_clone, first, second, 0_usize, 0_usize, 0_usize) };
    if child == 0 {
        let code = catch_unwind(AssertUnwindSafe(act)).unwrap_or(101);
        // SAFETY: as for `child::fork_off`.
        unsafe { libc::_exit(code) }
    }
    waitpid(Pid::from_raw(Errno::result(child).unwrap() as i32), None).unwrap()
}

pub fn a_child_of_which_the_c_library_knows_nothing_removes_nothing_of_its_parents<S: Sut>() {
    if S::tells_all_children_apart().is_none() {
        return skip::<S>("it goes by the number of the process");
    }
    let name = Fresh::<S>::new();
    role::<S>("clones_itself").arg(name.as_str()).arg("").run();
    if is_root() {
        role::<S>("makes_a_first_process").arg(name.as_str()).run();
    } else {
        skip::<S>("a namespace of processes takes root");
    }
}

/// The first process of a namespace is number 1.
pub fn makes_a_first_process<S: Sut>(arguments: &[String]) {
    unshare(CloneFlags::CLONE_NEWPID).unwrap(); // for the next child, not for this process
    role::<S>("clones_itself").arg(&arguments[0]).arg("first").run();
}

pub fn clones_itself<S: Sut>(arguments: &[String]) {
    let first = arguments[1] == "first";
    assert_eq!(first, std::process::id() == 1);
    // A child with its parent's number, where that can be.
    let kind = if first { CloneFlags::CLONE_NEWPID } else { CloneFlags::empty() };
    let name = name_in(arguments, 0);
    let options = CreateOptions::new(5000).removal(Removal::OnDrop);
    let backend = S::backend();
    let mut created = Some(backend.create_new(&name, &options).unwrap());
    succeeded(cloned(kind, || {
        drop(created.take());
        0
    }));
    assert!(backend.exists(&name).unwrap(), "the child removed it");
    let nested = cloned(kind, || {
        let inherited = created.take();
        let ended = cloned(kind, || {
            drop(inherited);
            0
        });
        // What it makes itself it removes.
        let Ok(own) = backend.create_unique("clone-", &options) else { return 2 };
        let Some(id) = own.id() else { return 3 };
        drop(own);
        let gone = backend.open_id(&id, &OpenOptions::new()).is_err();
        i32::from(!matches!(ended, WaitStatus::Exited(_, 0)) || !gone)
    });
    succeeded(nested);
    assert!(backend.exists(&name).unwrap(), "a child of the child removed it");
    drop(created);
    assert!(!backend.exists(&name).unwrap(), "its own process did not remove it");
}

/// In second processes, as this one forks for other tests at any time, and what is mapped here is counted twice then.
pub fn attach_counts_follow_fork_exit_exec_and_sigkill<S: Sut>() {
    let name = Fresh::<S>::new();
    role::<S>("counts_attachments").arg(name.as_str()).run();
}

pub fn counts_attachments<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let region = create::<S>(&name, 4096);
    if !S::backend().capabilities().attach_count() {
        assert_eq!(region.metadata().unwrap().attach_count(), None);
        return;
    }
    let count = || region.metadata().unwrap().attach_count().unwrap();
    // Who reads a dead process's `/proc/PID/maps` keeps its mappings for that long.
    let falls_to = |to| assert!(eventually(|| count() == to), "{} and not {to}", count());
    assert_eq!(count(), 1);
    let read_only = open_read_only::<S>(&name);
    assert_eq!(count(), 2);
    let clone = region.try_clone().unwrap();
    assert_eq!(count(), 3);
    drop(clone);
    assert_eq!(count(), 2);

    let mut read_only = Some(read_only);
    let fork_one = |read_only: &mut Option<_>| {
        let mut child = fork_off(|line| {
            let _ = line.write_all(b"!").and_then(|()| line.read_exact(&mut [0]));
            drop(read_only.take());
            let _ = line.write_all(b"!").and_then(|()| line.read_exact(&mut [0]));
            0
        });
        child.line.read_exact(&mut [0]).unwrap();
        child
    };
    let mut exiting = fork_one(&mut read_only);
    assert_eq!(count(), 4);
    let killed = fork_one(&mut read_only);
    assert_eq!(count(), 6);
    killed.kill();
    falls_to(4);
    exiting.line.write_all(b"!").unwrap();
    exiting.line.read_exact(&mut [0]).unwrap();
    assert_eq!(count(), 3);
    succeeded(exiting.wait());
    falls_to(2);

    let [exiting, killed, mut executing] = [(); 3].map(|()| {
        let mut other = role::<S>("attaches_and_then").arg(name.as_str()).start();
        assert_eq!(other.hear(), "attached");
        other
    });
    assert_eq!(count(), 5);
    exiting.finish();
    falls_to(4);
    killed.kill();
    falls_to(3);
    executing.tell("exec");
    assert_eq!(executing.hear(), "executed");
    falls_to(2);
    executing.finish();

    drop(read_only);
    region.remove().unwrap();
    assert_eq!(count(), 1);
}

/// In a process of its own, as above.
pub fn attach_counts_are_waited_for_where_there_are_any<S: Sut>() {
    let name = Fresh::<S>::new();
    role::<S>("waits_for_attachments").arg(name.as_str()).run();
}

pub fn waits_for_attachments<S: Sut>(arguments: &[String]) {
    let region = create::<S>(&name_in(arguments, 0), 4096);
    let (now, soon) = (Duration::ZERO, Duration::from_secs(60));
    if !S::backend().capabilities().attach_count() {
        let error = region.wait_for_attach_count(.., now).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().starts_with("cannot wait for the attach count of "), "{error}");
        return;
    }
    assert_eq!(region.wait_for_attach_count(..=1, now).unwrap(), 1);
    let start = Instant::now();
    let error = region.wait_for_attach_count(2.., Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(
        error.to_string().contains(": it was 1 at the end of 20ms") && start.elapsed() >= Duration::from_millis(20),
        "{error}"
    );

    // Others come and go while a thread waits, which nobody tells.
    let others = thread::scope(|scope| {
        let waiter = scope.spawn(|| region.wait_for_attach_count(3.., soon).unwrap());
        let others = [(); 2].map(|()| role::<S>("attaches_and_then").arg(&arguments[0]).start());
        assert_eq!(waiter.join().unwrap(), 3);
        others
    });
    thread::scope(|scope| {
        let waiter = scope.spawn(|| region.wait_for_attach_count(..=1, soon).unwrap());
        others.into_iter().for_each(Second::kill);
        assert_eq!(waiter.join().unwrap(), 1);
    });
    region.remove().unwrap();
}

pub fn attaches_and_then<S: Sut>(arguments: &[String]) {
    let _region = open::<S>(&name_in(arguments, 0));
    say("attached");
    if hear() == "exec" {
        panic!("{}", role::<S>("says_that_it_was_executed").exec());
    }
}

pub fn says_that_it_was_executed<S: Sut>(_: &[String]) {
    say("executed");
    hear();
}

pub fn where_no_page_is_wiped_a_forked_child_removes_nothing_all_the_same<S: Sut>() {
    if S::tells_all_children_apart().is_none() || !trace::works::<S>() {
        return;
    }
    // Kernels before 4.14, and emulators that grant any advice.
    for answers_truly in [true, false] {
        let name = Fresh::<S>::new();
        let mut second = role::<S>("forks_uncounted").arg(name.as_str()).start();
        let mut asked = 0;
        let seen = trace::follow(&mut second, "go", |call| {
            if !call.is(&[libc::SYS_madvise]) {
                return Fate::Pass;
            }
            let wipe = call.arguments[2] as i32 == libc::MADV_WIPEONFORK;
            asked += usize::from(wipe);
            match (wipe, answers_truly) {
                (true, true) => Fate::Fail(Errno::EINVAL),
                (_, false) if wipe || call.arguments[2] as i32 == -1 => Fate::Grant,
                _ => Fate::Pass,
            }
        });
        assert_eq!((seen.end, asked), (None, 1));
        second.finish();
    }
}

pub fn forks_uncounted<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let options = CreateOptions::new(5000).removal(Removal::OnDrop);
    let mut created = trace::act(|_| S::backend().create_new(&name, &options).unwrap());
    succeeded(forked(|| {
        drop(created.take());
        0
    }));
    assert!(S::backend().exists(&name).unwrap(), "the child removed it");
    drop(created);
    assert!(!S::backend().exists(&name).unwrap(), "its own process did not remove it");
}
