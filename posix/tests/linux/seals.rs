//! Seals, descriptors for reading alone, and whether a memfd may become executable.

use std::fs;
use std::os::fd::AsRawFd;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, geteuid};
use shared_region_posix::{MapAccess, Object, Seals};

use crate::support::{Name, code, is_child, run, skip};

const SHRINK: Seals = Seals::new().with_shrink(true);

fn memfd() -> Object {
    let object = Object::memfd(c"test", 0o600).unwrap();
    object.set_len(8192).unwrap();
    object
}

#[test]
fn a_sealed_memfd_cannot_shrink_and_a_named_object_cannot_be_sealed() {
    let object = memfd();
    object.add_seals(SHRINK).unwrap();
    assert_eq!(code(object.set_len(4096)), libc::EPERM);
    object.set_len(9000).unwrap();
    let name = Name::new();
    let named = name.create(1);
    assert_eq!(code(named.add_seals(SHRINK)), libc::EPERM);
    assert_eq!(named.seals().unwrap(), Seals::new().with_seal(true));
}

#[test]
fn an_object_has_the_seals_that_were_added_and_no_others() {
    let object = memfd();
    let before = object.seals().unwrap();
    assert_eq!(before.with_exec(false), Seals::new());
    object.add_seals(SHRINK).unwrap();
    object.add_seals(Seals::new().with_grow(true)).unwrap();
    assert_eq!(object.seals().unwrap(), before.with_shrink(true).with_grow(true));
    assert_eq!(code(object.set_len(9000)), libc::EPERM);
    object.add_seals(Seals::new().with_seal(true)).unwrap();
    assert_eq!(code(object.add_seals(SHRINK)), libc::EPERM);
}

#[test]
fn all_seals_are_added_or_none() {
    let object = memfd();
    let _mapping = object.map(8192, MapAccess::ReadWrite).unwrap();
    assert_eq!(code(object.add_seals(SHRINK.with_write(true))), libc::EBUSY);
    assert!(!object.seals().unwrap().shrink());
    object.add_seals(SHRINK.with_future_write(true)).unwrap();
    assert_eq!(code(object.map(8192, MapAccess::ReadWrite)), libc::EPERM);
}

#[test]
fn an_object_opened_anew_for_reading_is_the_same_and_gives_no_leave_to_write() {
    let name = Name::new();
    for object in [memfd(), name.create(8192)] {
        let reader = object.reopen_read_only().unwrap();
        assert_eq!(reader.identity().unwrap(), object.identity().unwrap());
        assert!(!reader.is_writable());
        assert_eq!(code(reader.map(8192, MapAccess::ReadWrite)), libc::EACCES);
        assert_eq!(code(reader.set_len(0)), libc::EINVAL); // ftruncate(2): not open for writing
        assert_eq!(code(reader.add_seals(SHRINK)), libc::EPERM);
        let flags = fcntl(&reader, FcntlArg::F_GETFD).map(FdFlag::from_bits_retain).unwrap();
        assert!(flags.contains(FdFlag::FD_CLOEXEC), "{}", reader.as_raw_fd());
    }
}

#[test]
fn a_seal_of_a_file_system_without_seals_is_einval() {
    let path = std::env::current_exe().unwrap();
    let object = Object::try_from(std::os::fd::OwnedFd::from(fs::File::open(path).unwrap())).unwrap();
    // A test program on a tmpfs would have them.
    match object.seals() {
        Ok(seals) => assert_eq!(seals, Seals::new().with_seal(true)),
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EINVAL)),
    }
}

#[test]
fn a_memfd_is_executable_only_where_its_mode_says_so() {
    let object = memfd();
    if !object.seals().unwrap().exec() {
        return skip("the kernel is older than 6.3");
    }
    assert_eq!(code(object.set_mode(0o700)), libc::EPERM);
    object.set_mode(0o640).unwrap();
    let executable = Object::memfd(c"test", 0o755).unwrap();
    assert_eq!(executable.stat().unwrap().mode(), 0o755);
    executable.set_mode(0o640).unwrap();
}

#[test]
fn a_memfd_is_made_whatever_the_sysctl_memfd_noexec_says() {
    if !geteuid().is_root() {
        return skip("only root makes PID namespaces");
    }
    run("seals::child_under_memfd_noexec");
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn child_under_memfd_noexec() {
    if !is_child() {
        return;
    }
    // The sysctl belongs to the PID namespace, and only its children are in the new one.
    unshare(CloneFlags::CLONE_NEWPID).unwrap();
    // SAFETY: the child is that of a process whose other threads wait for this one, and hold no lock that it needs.
    if let ForkResult::Parent { child } = unsafe { fork() }.unwrap() {
        assert!(matches!(waitpid(child, None).unwrap(), WaitStatus::Exited(_, 0)));
        return;
    }
    let path = "/proc/sys/vm/memfd_noexec";
    let outcome = std::panic::catch_unwind(|| {
        if !fs::exists(path).unwrap() {
            return skip("the kernel is older than 6.3");
        }
        for value in ["0", "1", "2"] {
            fs::write(path, value).unwrap();
            let object = memfd();
            assert_eq!(object.stat().unwrap().mode(), 0o600, "{value}");
            assert!(object.seals().unwrap().exec(), "{value}");
            let executable = Object::memfd(c"test", 0o700);
            match value {
                "2" => assert_eq!(code(executable), libc::EACCES),
                _ => assert_eq!(executable.unwrap().stat().unwrap().mode(), 0o700, "{value}"),
            }
        }
    });
    // SAFETY: ends this process without running what belongs to its parent; _exit(2).
    unsafe { libc::_exit(i32::from(outcome.is_err())) }
}
