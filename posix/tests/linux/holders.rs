//! Who holds an object.

use std::ffi::CString;
use std::process;
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use shared_region_posix::{Holders, MapAccess, Object, OpenOptions, holders};

use crate::support::{
    Holder, Name, argument, become_nobody, code, filled, hold, is_child, own_mounts, own_processes, run_as_root,
    without_proc,
};

fn of(object: &Object) -> Holders {
    let stat = object.stat().unwrap();
    holders(stat.device(), stat.inode()).unwrap()
}

fn pids(found: &Holders) -> Vec<u32> {
    found.processes().iter().map(|holder| holder.pid()).collect()
}

#[test]
fn a_child_with_a_mapping_only_and_one_with_a_descriptor_only_are_seen() {
    let (name, other) = (Name::new(), Name::new());
    let (object, bystander) = (name.create(4096), other.create(4096));
    let start = |test: &str, name: &Name| Holder::start(test, name.to_str().unwrap());
    let mapped = start("holders::child_holds_a_mapping", &name);
    let opened = start("holders::child_holds_a_descriptor", &name);
    let unrelated = start("holders::child_holds_a_descriptor", &other);
    let found = of(&object);
    for pid in [process::id(), mapped.pid(), opened.pid()] {
        assert!(pids(&found).contains(&pid), "{found:?}");
    }
    assert!(!pids(&found).contains(&unrelated.pid()), "{found:?}");
    assert!(pids(&found).is_sorted());
    let pid = mapped.pid();
    drop(mapped);
    assert!(!pids(&of(&object)).contains(&pid));
    drop(bystander);
}

fn open_argument() -> Object {
    OpenOptions::new().open(&CString::new(argument()).unwrap()).unwrap().0
}

#[test]
#[ignore = "started by another test"]
fn child_holds_a_mapping() {
    if !is_child() {
        return;
    }
    let map = open_argument().map(4096, MapAccess::ReadOnly).unwrap();
    hold();
    drop(map);
}

#[test]
#[ignore = "started by another test"]
fn child_holds_a_descriptor() {
    if !is_child() {
        return;
    }
    let object = open_argument();
    hold();
    drop(object);
}

#[test]
fn who_may_look_into_every_process_gets_a_complete_answer() {
    run_as_root("holders::child_looks_into_every_process");
}

#[test]
#[ignore = "started by another test"]
fn child_looks_into_every_process() {
    if !is_child() {
        return;
    }
    let object = Object::memfd(c"test", 0o600).unwrap();
    // Kernel threads, among others. Some machines protect their first process even from root.
    assert!(of(&object).unreadable() <= 1);
    own_processes("", || {
        let found = of(&object);
        assert_eq!((pids(&found), found.unreadable(), found.is_complete()), (vec![1], 0, true));
    });
}

#[test]
fn a_process_that_may_not_be_looked_into_makes_it_incomplete() {
    run_as_root("holders::child_looks_as_nobody");
}

#[test]
#[ignore = "started by another test"]
fn child_looks_as_nobody() {
    if !is_child() {
        return;
    }
    let object = Object::memfd(c"test", 0o600).unwrap();
    become_nobody();
    let found = of(&object);
    assert!(!found.is_complete() && found.unreadable() > 0, "{found:?}");
}

#[test]
fn a_proc_that_hides_processes_makes_it_incomplete() {
    run_as_root("holders::child_looks_at_a_proc_that_hides");
}

#[test]
#[ignore = "started by another test"]
fn child_looks_at_a_proc_that_hides() {
    if !is_child() {
        return;
    }
    let object = Object::memfd(c"test", 0o600).unwrap();
    own_processes("hidepid=2", || {
        assert!(of(&object).is_complete(), "root sees all");
        become_nobody();
        assert!(!of(&object).is_complete());
    });
}

#[test]
fn without_proc_it_is_an_error_and_not_nobody() {
    run_as_root("holders::child_looks_without_proc");
}

#[test]
#[ignore = "started by another test"]
fn child_looks_without_proc() {
    if !is_child() {
        return;
    }
    own_mounts();
    without_proc();
    assert_eq!(code(holders(1, 1)), libc::ENOENT);
}

#[test]
fn a_process_whose_main_thread_has_ended_is_seen() {
    let mut object = Some(Object::memfd(c"test", 0o600).unwrap());
    let map = filled(object.as_ref().unwrap(), 4096, 1);
    // SAFETY: the child starts a thread and ends its own; see fork(2).
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            drop(object.take());
            thread::spawn(|| thread::sleep(Duration::from_secs(60)));
            // SAFETY: ends this thread alone and runs nothing of this process' any more; see exit(2).
            unsafe { libc::syscall(libc::SYS_exit, 0) };
            unreachable!()
        }
        ForkResult::Parent { child } => {
            let status = format!("/proc/{child}/status");
            while !std::fs::read_to_string(&status).unwrap().contains("State:\tZ") {
                thread::yield_now();
            }
            let found = of(object.as_ref().unwrap());
            drop(map);
            kill(child, Signal::SIGKILL).unwrap();
            waitpid(child, None).unwrap();
            assert!(pids(&found).contains(&child.as_raw().unsigned_abs()), "{found:?}");
        }
    }
}
