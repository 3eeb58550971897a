//! Bytes, and second processes.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::{env, io};

use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Uid, fork, setgid, setgroups, setuid};
use shared_region_posix::{MapAccess, Mapping, Object};

pub(crate) use crate::name::Name;

const ARGUMENT: &str = "SHARED_REGION_POSIX_TEST";

pub(crate) const NOBODY: u32 = 65534;

impl Name {
    pub(crate) fn path(&self) -> String {
        format!("/dev/shm{}", self.to_str().unwrap())
    }
}

/// Says on the terminal, past the test runner's capture, that a check cannot run here.
pub(crate) fn skip(reason: &str) {
    let thread = std::thread::current();
    let _ = writeln!(io::stderr(), "skipped: {}: {reason}", thread.name().unwrap_or("?"));
}

pub(crate) fn code<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().expect("the system's code")
}

pub(crate) fn get(map: &Mapping, offset: usize) -> u8 {
    assert!(offset < map.len().next_multiple_of(4096));
    // SAFETY: the offset lies in a page of this live, readable mapping.
    unsafe { map.as_ptr().wrapping_add(offset).read_volatile() }
}

pub(crate) fn put(map: &Mapping, offset: usize, value: u8) {
    assert!(!map.is_read_only() && offset < map.len().next_multiple_of(4096));
    // SAFETY: the offset lies in a page of this live, writable mapping.
    unsafe { map.as_mut_ptr().wrapping_add(offset).write_volatile(value) };
}

/// An object of `len` bytes, every one of them `value`.
pub(crate) fn filled(object: &Object, len: usize, value: u8) -> Mapping {
    object.set_len(len as u64).unwrap();
    let map = object.map(len, MapAccess::ReadWrite).unwrap();
    (0..len).for_each(|offset| put(&map, offset, value));
    map
}

fn command(test: &str, argument: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(ARGUMENT, argument);
    command
}

/// Runs an ignored test in a process of its own, and passes if it does.
pub(crate) fn run(test: &str) {
    let output = command(test, "").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// The same, where being root is what makes it possible.
pub(crate) fn run_as_root(test: &str) {
    if Uid::effective().is_root() {
        run(test);
    } else {
        skip(&format!("{test} needs root"));
    }
}

/// A child that holds something until this is dropped.
pub(crate) struct Holder {
    child: Child,
    _output: BufReader<ChildStdout>,
}

impl Holder {
    pub(crate) fn start(test: &str, argument: &str) -> Self {
        let mut command = command(test, argument);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let ready = output.by_ref().lines().any(|line| line.unwrap().ends_with("holding"));
        assert!(ready, "the child gave up");
        Self { child, _output: output }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// In the child: says that it holds, and waits for the parent.
pub(crate) fn hold() {
    println!("holding");
    let _ = io::stdin().read(&mut [0]);
}

/// Whether this process was started by another test, and not by `--include-ignored`.
pub(crate) fn is_child() -> bool {
    env::var_os(ARGUMENT).is_some()
}

pub(crate) fn argument() -> String {
    env::var(ARGUMENT).unwrap()
}

/// Runs one act in a forked child, and returns its code.
pub(crate) fn forked(act: impl FnOnce() -> i32) -> i32 {
    match end_of(act) {
        WaitStatus::Exited(_, code) => code,
        status => panic!("{status:?}"),
    }
}

/// Runs one act in a forked child, and returns how that ended.
pub(crate) fn end_of(act: impl FnOnce() -> i32) -> WaitStatus {
    // SAFETY: the child has this one thread; it allocates, which glibc and musl allow after a fork, and
    // takes no lock of another thread; see fork(2).
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let code = catch_unwind(AssertUnwindSafe(act)).unwrap_or(101);
            // SAFETY: ends the child without running this process' destructors; see _exit(2).
            unsafe { libc::_exit(code) }
        }
        ForkResult::Parent { child } => waitpid(child, None).unwrap(),
    }
}

/// In a child: mounts from here on are this thread's own.
pub(crate) fn own_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
}

/// In a child: a store of its own.
pub(crate) fn own_store(kind: &str, flags: MsFlags, options: &str) {
    own_mounts();
    mount(Some(kind), "/dev/shm", Some(kind), flags, Some(options)).unwrap();
}

/// In a child: acts as the first process of a PID namespace, with a `/proc` of its own.
pub(crate) fn own_processes(proc_options: &str, act: impl FnOnce()) {
    own_mounts();
    unshare(CloneFlags::CLONE_NEWPID).unwrap();
    let passed = forked(|| {
        let none = MsFlags::empty();
        mount(Some("proc"), "/proc", Some("proc"), none, Some(proc_options)).unwrap();
        act();
        0
    });
    assert_eq!(passed, 0);
}

/// In a child with mounts of its own.
pub(crate) fn without_proc() {
    umount2("/proc", MntFlags::MNT_DETACH).unwrap();
    assert!(File::open("/proc/self").is_err());
}

/// In a child.
pub(crate) fn become_nobody() {
    setgroups(&[]).unwrap();
    setgid(Gid::from_raw(NOBODY)).unwrap();
    setuid(Uid::from_raw(NOBODY)).unwrap();
}
