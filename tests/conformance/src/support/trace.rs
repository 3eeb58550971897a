//! A tracer: follows a second process from system call to system call, kills it at one, or has calls fail.
//!
//! A thread of the second process marks what is to be followed by [`act`]: it sends itself SIGURG before and after, which
//! is ignored unless somebody traces. It is traced between the two marks only; so it can talk to the first in between,
//! and one process serves for many rounds.

use std::ffi::CStr;
use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, alarm, getpid, gettid};

use crate::support::child::{Second, hear, say, skip};
use crate::sut::Sut;

const MARK: Signal = Signal::SIGURG;

/// After so many seconds an act hangs.
const PATIENCE: u32 = 60;

/// The number of a system call: the same call has another on another processor.
pub type Number = libc::c_long;

cfg_if::cfg_if! {
    if #[cfg(any(target_arch = "x86", target_arch = "s390x"))] {
        // One call for all of System V, which the C library makes where it is to run on kernels before 5.1; ipc(2).
        #[allow(unused_imports, reason = "a build without System V asks for half of them")]
        pub use libc::{SYS_ipc as SYS_SHMAT, SYS_ipc as SYS_SHMCTL, SYS_ipc as SYS_SHMDT, SYS_ipc as SYS_SHMGET};
    } else {
        #[allow(unused_imports, reason = "a build without System V asks for half of them")]
        pub use libc::{SYS_shmat as SYS_SHMAT, SYS_shmctl as SYS_SHMCTL, SYS_shmdt as SYS_SHMDT, SYS_shmget as SYS_SHMGET};
    }
}

/// A system call of the second process.
#[derive(Clone, Debug)]
pub struct Call {
    pub number: Number,
    pub arguments: [u64; 6],
    /// The path among its arguments, where it has one.
    pub path: String,
    /// Negative: an errno. `None` where the process did not live to see it.
    pub result: Option<i64>,
}

/// The call that maps: of two, a processor may have the younger alone.
#[cfg(target_arch = "arm")]
pub const SYS_MMAP: libc::c_long = libc::SYS_mmap2;
#[cfg(not(target_arch = "arm"))]
pub const SYS_MMAP: libc::c_long = libc::SYS_mmap;

impl Call {
    pub fn is(&self, numbers: &[Number]) -> bool {
        numbers.contains(&self.number)
    }

    /// Whether it takes a name away. A processor that came late to Linux has the younger call alone.
    pub fn unlinks(&self) -> bool {
        #[cfg(not(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "loongarch64")))]
        if self.is(&[libc::SYS_unlink]) {
            return true;
        }
        self.is(&[libc::SYS_unlinkat])
    }

    /// Whether it opens with all of these flags. C libraries differ in the call that they take.
    pub fn opens_with(&self, flags: i32) -> bool {
        let place = match self.number {
            libc::SYS_openat => 2,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open => 1,
            _ => return false,
        };
        self.arguments[place] & flags as u64 == flags as u64
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Pass,
    /// It is not executed, and answers with an error.
    Fail(Errno),
    /// It is not executed, and answers with 0.
    Grant,
    /// It is executed, and answers with an error nevertheless, as `close` does.
    Spoil(Errno),
    /// The process dies before it is executed.
    KillBefore,
    /// The process dies once it is executed.
    KillAfter,
}

/// What was seen between the two marks.
#[derive(Debug)]
pub struct Seen {
    pub calls: Vec<Call>,
    /// How the process ended, if it did not reach the second mark.
    pub end: Option<WaitStatus>,
}

/// Says whether this machine can trace; else says that the check is skipped.
pub fn works<S: Sut>() -> bool {
    if !registers::KNOWN {
        skip::<S>("the tracer knows the registers of x86_64 alone");
        return false;
    }
    true
}

/// Has calls fail from the outside: with which error, if any.
pub type Refusal = fn(&Call) -> Option<Errno>;

/// The ways to have an implementation create as it does where files cannot be made without a name; says so if none.
pub fn portable_ways<S: Sut>() -> Vec<Refusal> {
    let ways = S::without_unnamed_files();
    if ways.is_empty() {
        skip::<S>("there is one way to create only");
    }
    if works::<S>() { ways } else { Vec::new() }
}

/// In the second process: waits for the tracer, does one act between two marks.
pub fn act<T>(act: impl FnOnce(&str) -> T) -> Option<T> {
    say(&gettid().to_string());
    let what = hear();
    if what.is_empty() {
        return None;
    }
    // What hangs is a failure: SIGALRM ends this process then.
    alarm::set(PATIENCE);
    // By which call a C library's `raise` does this is its own business: musl's takes another. To ask for the numbers here
    // is a call after the act's last, at which a tracer can act too.
    let mark = || {
        let (process, thread) = (getpid().as_raw(), gettid().as_raw());
        // SAFETY: a signal to this very thread, which is ignored or seen by a tracer; tgkill(2).
        let done = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, MARK as i32) };
        assert_eq!(done, 0);
    };
    mark();
    let result = act(&what);
    mark();
    alarm::cancel();
    Some(result)
}

/// Follows the next act of a second process, to which it hands `what`. `fate` decides about each call, in order.
///
/// The process is on its own again afterwards, or has ended and not been waited for.
pub fn follow(second: &mut Second, what: &str, mut fate: impl FnMut(&Call) -> Fate) -> Seen {
    let process = Pid::from_raw(second.pid());
    let thread = Pid::from_raw(second.hear().parse().unwrap());
    let options = ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_EXITKILL;
    ptrace::seize(thread, options).unwrap();
    second.tell(what);
    let mut seen = Seen { calls: Vec::new(), end: None };
    if let Err(end) = reach_mark(process, thread) {
        seen.end = Some(end);
        return seen;
    }
    let memory = File::open(format!("/proc/{thread}/mem")).unwrap();
    loop {
        if let Err(end) = step(process, thread) {
            seen.end = Some(end);
            return seen;
        }
        let mut call = registers::call(thread);
        if call.is(&[libc::SYS_tgkill]) && call.arguments[2] == MARK as u64 {
            ptrace::detach(thread, None).unwrap();
            return seen;
        }
        call.path = path(&call, &memory);
        let fate = fate(&call);
        match fate {
            Fate::Fail(_) | Fate::Grant => registers::skip(thread),
            Fate::KillBefore => kill(process, Signal::SIGKILL).unwrap(),
            _ => {}
        }
        seen.calls.push(call);
        if let Err(end) = step(process, thread) {
            seen.end = Some(end);
            return seen;
        }
        match fate {
            Fate::Fail(errno) | Fate::Spoil(errno) => registers::answer(thread, -(errno as i64)),
            Fate::Grant => registers::answer(thread, 0),
            Fate::KillAfter => kill(process, Signal::SIGKILL).unwrap(),
            _ => {}
        }
        if let Some(call) = seen.calls.last_mut() {
            call.result = Some(registers::result(thread));
        }
    }
}

/// Waits for the first mark.
fn reach_mark(process: Pid, thread: Pid) -> Result<(), WaitStatus> {
    loop {
        match wait(process, thread)? {
            WaitStatus::Stopped(_, MARK) => return Ok(()),
            WaitStatus::Stopped(_, signal) => ptrace::cont(thread, signal).unwrap(),
            _ => ptrace::cont(thread, None).unwrap(),
        }
    }
}

/// Goes on to where the next system call begins or ends.
fn step(process: Pid, thread: Pid) -> Result<(), WaitStatus> {
    let mut signal = None;
    loop {
        match ptrace::syscall(thread, signal) {
            // It has been killed.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => panic!("{errno}"),
        }
        signal = match wait(process, thread)? {
            WaitStatus::PtraceSyscall(_) => return Ok(()),
            WaitStatus::Stopped(_, signal) => Some(signal),
            _ => None,
        };
    }
}

/// Waits for the next stop. The end of the process is left for [`Second`] to wait for, but not that of its thread.
fn wait(process: Pid, thread: Pid) -> Result<WaitStatus, WaitStatus> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::__WALL;
    let ended = match waitid(Id::Pid(thread), flags | WaitPidFlag::WNOWAIT).unwrap() {
        end @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..)) if thread == process => {
            return Err(end);
        }
        WaitStatus::Exited(..) | WaitStatus::Signaled(..) => true,
        _ => false,
    };
    let status = waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
    if ended { Err(status) } else { Ok(status) }
}

/// Reads the path among the arguments of a call that takes one.
fn path(call: &Call, memory: &File) -> String {
    let address = registers::path_at(call);
    let mut bytes = [0; 256];
    match memory.read_at(&mut bytes[..255], address) {
        Ok(_) if address != 0 => CStr::from_bytes_until_nul(&bytes)
            .map_or_else(|_| String::new(), |path| path.to_string_lossy().into_owned()),
        _ => String::new(),
    }
}

#[cfg(target_arch = "x86_64")]
mod registers {
    use nix::libc;
    use nix::sys::ptrace::{getregs, setregs};
    use nix::unistd::Pid;

    use super::{Call, Number};

    pub(super) const KNOWN: bool = true;

    /// The system call at whose beginning or end the process has stopped. syscall(2) tells the registers.
    pub(super) fn call(pid: Pid) -> Call {
        let registers = getregs(pid).unwrap();
        let libc::user_regs_struct { rdi, rsi, rdx, r10, r8, r9, .. } = registers;
        Call {
            number: registers.orig_rax as Number,
            arguments: [rdi, rsi, rdx, r10, r8, r9],
            path: String::new(),
            result: None,
        }
    }

    /// Has the call that is about to begin not be executed.
    pub(super) fn skip(pid: Pid) {
        let mut registers = getregs(pid).unwrap();
        registers.orig_rax = u64::MAX;
        setregs(pid, registers).unwrap();
    }

    /// Has the call that has ended return something else: negative for an error.
    pub(super) fn answer(pid: Pid, result: i64) {
        let mut registers = getregs(pid).unwrap();
        registers.rax = result as u64;
        setregs(pid, registers).unwrap();
    }

    pub(super) fn result(pid: Pid) -> i64 {
        getregs(pid).map_or(-i64::from(libc::ESRCH), |registers| registers.rax as i64)
    }

    /// The address of a path among the arguments, or 0.
    pub(super) fn path_at(call: &Call) -> u64 {
        let place = match call.number {
            libc::SYS_open
            | libc::SYS_stat
            | libc::SYS_lstat
            | libc::SYS_unlink
            | libc::SYS_access
            | libc::SYS_statfs
            | libc::SYS_readlink => 0,
            libc::SYS_openat | libc::SYS_newfstatat | libc::SYS_statx | libc::SYS_unlinkat | libc::SYS_faccessat => 1,
            libc::SYS_linkat => 3,
            _ => return 0,
        };
        call.arguments[place]
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod registers {
    use nix::unistd::Pid;

    use super::Call;

    pub(super) const KNOWN: bool = false;

    pub(super) fn call(_: Pid) -> Call {
        unreachable!()
    }

    pub(super) fn skip(_: Pid) {}

    pub(super) fn answer(_: Pid, _: i64) {}

    pub(super) fn result(_: Pid) -> i64 {
        0
    }

    pub(super) fn path_at(_: &Call) -> u64 {
        0
    }
}
