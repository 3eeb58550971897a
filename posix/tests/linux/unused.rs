//! The kernel's word on whether anybody holds an object.

use std::ffi::CString;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::socket::{ControlMessage, MsgFlags, recvmsg, sendmsg};
use nix::sys::stat::Mode;
use shared_region_posix::{MapAccess, OpenOptions, are_unused, is_unused, unlink_if_unused};

use crate::support::*;

#[test]
fn what_is_open_or_mapped_or_in_a_socket_is_used_and_is_not_removed() {
    run_as_root("unused::child_asks_about_each_use");
}

#[test]
#[ignore = "started by another test"]
fn child_asks_about_each_use() {
    if !is_child() {
        return;
    }
    own_mounts();
    without_proc(); // it is not needed
    let name = Name::new();
    let used = |what: &str| {
        assert!(!is_unused(&name).unwrap(), "{what}");
        assert!(!unlink_if_unused(&name).unwrap(), "{what}");
    };
    let object = name.create(4096);
    used("a writable descriptor");
    let map = object.map(4096, MapAccess::ReadOnly).unwrap();
    drop(object);
    used("a mapping alone");
    let (reader, _) = OpenOptions::new().open(&name).unwrap();
    drop(map);
    used("a descriptor for reading");
    let (sender, receiver) = UnixStream::pair().unwrap();
    let rights = [reader.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&rights)];
    sendmsg::<()>(sender.as_raw_fd(), &[IoSlice::new(b"!")], &message, MsgFlags::empty(), None).unwrap();
    drop(reader);
    used("a descriptor under way");
    let mut byte = [0];
    recvmsg::<()>(receiver.as_raw_fd(), &mut [IoSliceMut::new(&mut byte)], None, MsgFlags::empty()).unwrap();
    assert!(is_unused(&name).unwrap(), "it was thrown away with the message");
    assert!(unlink_if_unused(&name).unwrap());
    assert_eq!(code(unlink_if_unused(&name)), libc::ENOENT);
}

#[test]
fn a_mapping_in_another_pid_namespace_is_a_use_also_to_an_ordinary_owner() {
    run_as_root("unused::child_asks_across_namespaces");
}

#[test]
#[ignore = "started by another test"]
fn child_asks_across_namespaces() {
    if !is_child() {
        return;
    }
    let name = Name::new();
    drop(name.create(4096));
    let path = CString::new(format!("/dev/shm{}", name.to_str().unwrap())).unwrap();
    nix::unistd::chown(path.as_c_str(), Some(NOBODY.into()), None).unwrap();
    let holder = Holder::start("unused::child_holds_in_a_pid_namespace", name.to_str().unwrap());
    let ask = || {
        let answer = forked(|| {
            become_nobody();
            i32::from(is_unused(&name).unwrap())
        });
        answer == 1
    };
    assert!(!ask());
    drop(holder);
    assert!(ask());
    assert!(unlink_if_unused(&name).unwrap());
}

#[test]
#[ignore = "started by another test"]
fn child_holds_in_a_pid_namespace() {
    if !is_child() {
        return;
    }
    unshare(CloneFlags::CLONE_NEWPID).unwrap();
    let name = CString::new(argument()).unwrap();
    forked(|| {
        let map = OpenOptions::new().open(&name).unwrap().0.map(4096, MapAccess::ReadOnly).unwrap();
        hold();
        drop(map);
        0
    });
}

#[test]
fn of_many_each_gets_its_own_answer_in_the_order_of_the_names() {
    let names: Vec<Name> = (0..600).map(|_| Name::new()).collect();
    let held: Vec<_> = names
        .iter()
        .enumerate()
        .filter(|(index, _)| index % 3 > 0)
        .map(|(index, name)| {
            let object = name.create(1);
            (index % 3 == 1).then_some(object)
        })
        .collect();
    let asked: Vec<_> = names.iter().map(|name| &**name).collect();
    let answers = are_unused(&asked);
    drop(held);
    assert_eq!(answers.len(), names.len());
    for (index, answer) in answers.into_iter().enumerate() {
        match index % 3 {
            0 => assert_eq!(code(answer), libc::ENOENT),
            held => assert_eq!(answer.unwrap(), held == 2, "{index}"),
        }
    }
}

#[test]
fn who_is_not_the_owner_is_refused_and_not_told_anything() {
    run_as_root("unused::child_asks_as_nobody");
}

#[test]
#[ignore = "started by another test"]
fn child_asks_as_nobody() {
    if !is_child() {
        return;
    }
    let name = Name::new();
    name.create(4096).set_mode(0o666).unwrap();
    let refused = forked(|| {
        become_nobody();
        i32::from(code(is_unused(&name)) != libc::EACCES || code(unlink_if_unused(&name)) != libc::EACCES)
    });
    assert_eq!(refused, 0);
}

#[test]
fn on_overlayfs_where_leases_lie_there_is_no_answer() {
    run_as_root("unused::child_asks_on_overlayfs");
}

#[test]
#[ignore = "started by another test"]
fn child_asks_on_overlayfs() {
    if !is_child() {
        return;
    }
    own_store("tmpfs", MsFlags::empty(), "");
    for directory in ["/dev/shm/lower", "/dev/shm/upper", "/dev/shm/work"] {
        std::fs::create_dir(directory).unwrap();
    }
    let layers = "lowerdir=/dev/shm/lower,upperdir=/dev/shm/upper,workdir=/dev/shm/work";
    if mount(Some("overlay"), "/dev/shm", Some("overlay"), MsFlags::empty(), Some(layers)).is_err() {
        skip("there is no overlayfs");
        return;
    }
    let name = Name::new();
    let map = name.create(4096).map(4096, MapAccess::ReadOnly).unwrap();
    assert_eq!(code(is_unused(&name)), libc::EOPNOTSUPP);
    assert_eq!(code(unlink_if_unused(&name)), libc::EOPNOTSUPP);
    drop(map);
}

#[test]
fn no_signal_reaches_who_asks_while_others_open() {
    run("unused::child_asks_while_others_open");
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: i32) {
    SIGNALS.fetch_add(1, Relaxed);
}

#[test]
#[ignore = "started by another test"]
fn child_asks_while_others_open() {
    if !is_child() {
        return;
    }
    let name = Name::new();
    drop(name.create(4096));
    let action = SigAction::new(SigHandler::Handler(count), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGIO, Signal::SIGURG] {
        // SAFETY: the handler adds to an atomic and no more; see signal-safety(7).
        unsafe { sigaction(signal, &action) }.unwrap();
    }
    let path = format!("/dev/shm{}", name.to_str().unwrap());
    let mut broken = 0;
    std::thread::scope(|scope| {
        let asker = scope.spawn(|| (0..20_000).filter(|_| is_unused(&name).unwrap()).count());
        while !asker.is_finished() {
            let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            broken += u32::from(open(path.as_str(), flags, Mode::empty()).is_err());
        }
        assert!(asker.join().unwrap() > 0);
    });
    println!("{broken} opened during a question");
    assert_eq!(SIGNALS.load(Relaxed), 0);
}

#[test]
fn nothing_is_removed_from_under_who_opens_it_at_that_moment() {
    run("unused::child_removes_while_others_open");
}

#[test]
#[ignore = "started by another test"]
fn child_removes_while_others_open() {
    if !is_child() {
        return;
    }
    let name = Name::new();
    let over = AtomicU32::new(0);
    let (removed, opened) = std::thread::scope(|scope| {
        let remover = scope.spawn(|| {
            let mut removed = 0;
            for _ in 0..100_000 {
                match OpenOptions::new().write(true).create_new(true).open(&name) {
                    Ok(made) => drop(made),
                    // It is kept from the last round.
                    Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EEXIST)),
                }
                removed += u32::from(unlink_if_unused(&name).unwrap());
            }
            over.store(1, Relaxed);
            removed
        });
        let opener = scope.spawn(|| {
            let mut opened = 0;
            while over.load(Relaxed) == 0 {
                match OpenOptions::new().open(&name) {
                    Ok((object, stat)) => {
                        // As it was opened, and while it is held.
                        assert_eq!((stat.links(), object.stat().unwrap().links()), (1, 1), "lost while it was held");
                        opened += 1;
                    }
                    Err(error) => assert!([Some(libc::ENOENT), Some(libc::EAGAIN)].contains(&error.raw_os_error())),
                }
            }
            opened
        });
        (remover.join().unwrap(), opener.join().unwrap())
    });
    println!("{removed} removed, {opened} opened");
    assert!(removed > 0 && opened > 0);
}
