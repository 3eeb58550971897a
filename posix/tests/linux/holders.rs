//! Who holds an object.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::process;
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Duration;

use memmap2::MmapOptions;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, alarm, fork};
use shared_region_posix::{Holders, MapAccess, Object, OpenOptions, holders, holders_of, is_held};

use crate::support::{
    Holder, NOBODY, Name, argument, become_nobody, code, filled, forked, hold, is_child, own_mounts, own_processes,
    run, run_as_root, skip, without_proc,
};

fn of(object: &Object) -> Holders {
    let (device, inode) = id(object);
    holders(device, inode).unwrap()
}

fn pids(found: &Holders) -> Vec<u32> {
    found.processes().iter().map(|holder| holder.pid()).collect()
}

fn id(object: &Object) -> (u64, u64) {
    object.identity().unwrap()
}

/// What a process holds: its mappings as (address, length, offset, writable, shared), and its descriptors.
type Held = (Vec<(u64, u64, u64, bool, bool)>, Vec<i32>);

fn held_by(pid: u32, found: &Holders) -> Held {
    let holder = found.processes().iter().find(|holder| holder.pid() == pid).expect("it holds the object");
    let mapping =
        |it: &shared_region_posix::HeldMapping| (it.address(), it.len(), it.offset(), it.is_writable(), it.is_shared());
    (holder.mappings().iter().map(mapping).collect(), holder.descriptors().to_vec())
}

#[test]
fn each_mapping_and_descriptor_is_told_as_it_is() {
    let object = Object::memfd(c"test", 0o600).unwrap();
    object.set_len(10_000).unwrap();
    let own = || held_by(process::id(), &of(&object));
    assert_eq!(own(), (vec![], vec![object.as_raw_fd()]));
    let map = object.map(10_000, MapAccess::ReadWrite).unwrap();
    let whole = (map.as_ptr() as u64, 12_288, 0, true, true);
    assert_eq!(own(), (vec![whole], vec![object.as_raw_fd()]));

    // Never next to each other, as their protections and kinds differ.
    let tail = MmapOptions::new().offset(8192).len(1000).map_raw_read_only(&object).unwrap();
    // SAFETY: a mapping of an object that nobody but this test has; it is never read.
    let copy = unsafe { MmapOptions::new().len(10_000).map_copy(&object) }.unwrap();
    let clone = object.try_clone().unwrap();
    let mut mappings =
        vec![whole, (tail.as_ptr() as u64, 4096, 8192, false, true), (copy.as_ptr() as u64, 12_288, 0, true, false)];
    mappings.sort_unstable();
    let mut descriptors = vec![object.as_raw_fd(), clone.as_raw_fd()];
    descriptors.sort_unstable();
    assert_eq!(own(), (mappings, descriptors));

    drop((map, tail, copy, clone));
    assert_eq!(own(), (vec![], vec![object.as_raw_fd()]));
}

#[test]
fn one_look_answers_for_many_objects_in_their_order_also_if_asked_twice() {
    let name = Name::new();
    let (object, other) = (name.create(4096), Object::memfd(c"test", 0o600).unwrap());
    let child = Holder::start("holders::child_holds_a_mapping", name.to_str().unwrap());
    let nowhere = (id(&object).0, u64::MAX);
    let asked = [id(&other), id(&object), nowhere, id(&object)];
    let found = holders_of(&asked).unwrap();
    assert_eq!(found.len(), 4);
    assert_eq!(found[1], found[3]);
    assert_eq!(held_by(process::id(), &found[0]), (vec![], vec![other.as_raw_fd()]));
    assert_eq!(held_by(process::id(), &found[1]), (vec![], vec![object.as_raw_fd()]));
    let (mappings, descriptors) = held_by(child.pid(), &found[1]);
    let [(_, 4096, 0, false, true)] = mappings[..] else { panic!("{mappings:?}") };
    assert_eq!(descriptors, []);
    assert!(!pids(&found[0]).contains(&child.pid()));
    assert_eq!(pids(&found[2]), []);
    assert_eq!(holders_of(&[]).unwrap(), []);
}

#[test]
fn whether_it_is_held_is_known_once_a_holder_is_seen_and_else_not_in_a_pid_namespace() {
    run_as_root("holders::child_asks_whether_it_is_held");
}

#[test]
#[ignore = "started by another test"]
fn child_asks_whether_it_is_held() {
    if !is_child() {
        return;
    }
    let object = Object::memfd(c"test", 0o600).unwrap();
    let ended = id(&Object::memfd(c"test", 0o600).unwrap());
    let says = |(device, inode)| is_held(device, inode).unwrap();
    let passed = forked(|| {
        become_nobody();
        i32::from((says(id(&object)), says(ended)) != (Some(true), None))
    });
    assert_eq!(passed, 0);
    own_processes("", || {
        assert_eq!((says(id(&object)), says(ended)), (Some(true), None), "others may hold it elsewhere");
        let map = filled(&object, 4096, 1);
        let mapped = id(&object);
        // SAFETY: closed behind the object's back, in a process that ends without dropping it; see close(2).
        unsafe { libc::close(object.as_raw_fd()) };
        assert_eq!(says(mapped), Some(true));
        drop(map);
        assert_eq!(says(mapped), None);
    });
}

#[test]
fn descriptors_of_a_thread_with_a_table_of_its_own_are_seen_and_those_of_all_once() {
    // Such a table holds a copy of what other tests have open.
    run("holders::child_has_a_thread_with_descriptors_of_its_own");
}

#[test]
#[ignore = "started by another test"]
fn child_has_a_thread_with_descriptors_of_its_own() {
    if !is_child() {
        return;
    }
    let (sender, receiver) = mpsc::channel();
    let looked = &Barrier::new(4);
    let (before, found) = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| looked.wait());
        }
        let before = Object::memfd(c"test", 0o600).unwrap();
        scope.spawn(move || {
            unshare(CloneFlags::CLONE_FILES).unwrap();
            let own = Object::memfd(c"test", 0o600).unwrap();
            sender.send((id(&own), own.as_raw_fd())).unwrap();
            looked.wait();
        });
        let (own, number) = receiver.recv().unwrap();
        let found = holders_of(&[id(&before), own]);
        looked.wait();
        (vec![before.as_raw_fd()], (found.unwrap(), vec![number]))
    });
    let (found, own) = found;
    assert_eq!(held_by(process::id(), &found[0]).1, before);
    assert_eq!(held_by(process::id(), &found[1]).1, own);
}

#[test]
fn a_file_system_that_hangs_or_lets_nobody_in_holds_up_nothing() {
    run_as_root("holders::child_looks_past_a_file_system");
}

#[test]
#[ignore = "started by another test"]
fn child_looks_past_a_file_system() {
    if !is_child() {
        return;
    }
    let object = Object::memfd(c"test", 0o600).unwrap();
    own_processes("", || {
        let Ok(silent) = File::options().read(true).write(true).open("/dev/fuse") else {
            skip("there is no /dev/fuse");
            return;
        };
        mount(Some("tmpfs"), "/dev/shm", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        fs::create_dir("/dev/shm/silent").unwrap();
        // Nobody reads what is asked of it, and it lets one user ask.
        let options = format!("fd={},rootmode=40000,user_id={NOBODY},group_id={NOBODY}", silent.as_raw_fd());
        mount(Some("silent"), "/dev/shm/silent", Some("fuse"), MsFlags::empty(), Some(options.as_str())).unwrap();
        let descriptor = File::from(open("/dev/shm/silent", OFlag::O_PATH, Mode::empty()).unwrap());
        assert_eq!(code(descriptor.metadata()), libc::EACCES);
        // Not in this process, which as the first of its namespace would ignore the alarm.
        let passed = forked(|| {
            alarm::set(20);
            let seen = || {
                let found = of(&object);
                (pids(&found), found.unreadable())
            };
            assert_eq!(seen(), (vec![1, process::id()], 0));
            become_nobody();
            // Of its own processes only, one of which has the descriptor.
            assert!(seen().0.contains(&process::id()));
            0
        });
        assert_eq!(passed, 0);
    });
}

#[test]
fn processes_are_told_by_the_numbers_that_proc_gives_them() {
    run_as_root("holders::child_is_in_another_pid_namespace");
}

#[test]
#[ignore = "started by another test"]
fn child_is_in_another_pid_namespace() {
    if !is_child() {
        return;
    }
    let object = Object::memfd(c"test", 0o600).unwrap();
    unshare(CloneFlags::CLONE_NEWPID).unwrap();
    let passed = forked(|| {
        let outside: u32 = fs::read_link("/proc/self").unwrap().to_str().unwrap().parse().unwrap();
        let found = pids(&of(&object));
        i32::from(process::id() != 1 || outside == 1 || !found.contains(&outside) || found.contains(&1))
    });
    assert_eq!(passed, 0);
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
fn an_answer_is_complete_where_every_process_was_looked_into_and_never_in_a_pid_namespace() {
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
    let found = of(&object);
    assert!(found.unreadable() <= 1);
    let first = fs::read_link("/proc/self/ns/pid").unwrap().as_os_str() == "pid:[4026531836]";
    assert_eq!(found.is_complete(), first && found.unreadable() == 0);
    own_processes("", || {
        let found = of(&object);
        assert_eq!((pids(&found), found.unreadable(), found.is_complete()), (vec![1], 0, false));
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
    own_mounts();
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), Some("hidepid=2")).unwrap();
    let own = fs::read_link("/proc/self/ns/pid").unwrap().as_os_str() != "pid:[4026531836]";
    assert_eq!(of(&object).is_complete(), !own && of(&object).unreadable() == 0, "root sees all");
    become_nobody();
    assert!(!of(&object).is_complete());
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
fn a_thread_with_a_name_that_is_no_utf_8_can_look() {
    let object = Object::memfd(c"test", 0o600).unwrap();
    // As the kernel cuts a name after 15 bytes, wherever that is in a character.
    let named = thread::Builder::new().name("abcdefghijklmn\u{e9}".into());
    let found = thread::scope(|scope| named.spawn_scoped(scope, || of(&object)).unwrap().join());
    assert!(pids(&found.unwrap()).contains(&process::id()));
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

#[test]
fn a_thread_can_look_when_the_main_thread_has_ended() {
    let object = Object::memfd(c"test", 0o600).unwrap();
    let (device, inode) = id(&object);
    // SAFETY: the child starts a thread and ends its own; see fork(2).
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            thread::spawn(move || {
                while !fs::read_to_string("/proc/self/status").unwrap().contains("State:\tZ") {
                    thread::yield_now();
                }
                let seen = holders(device, inode).is_ok_and(|found| pids(&found).contains(&process::id()));
                // SAFETY: ends the child without running this process' destructors; see _exit(2).
                unsafe { libc::_exit(i32::from(!seen)) }
            });
            // SAFETY: ends this thread alone and runs nothing of this process' any more; see exit(2).
            unsafe { libc::syscall(libc::SYS_exit, 0) };
            unreachable!()
        }
        ForkResult::Parent { child } => assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0)),
    }
}
