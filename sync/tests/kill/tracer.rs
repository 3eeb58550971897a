//! Running a process one instruction at a time (ptrace).

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, raise, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// A traced thread that stands still between calls; of a process, or one more of it.
pub(crate) struct Victim {
    process: Pid,
    thread: Pid,
}

#[derive(Debug)]
pub(crate) enum State {
    /// One instruction was run.
    Steps,
    /// It has come to [`stand`].
    Stands,
    Ended(WaitStatus),
}

/// Stops the victim, for its tracer to see.
pub(crate) fn stand() {
    raise(Signal::SIGSTOP).unwrap();
}

/// Whether a process may be traced.
pub(crate) fn allowed() -> Result<(), Errno> {
    // SAFETY: this process has one thread; the child ends by `_exit`.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let code = ptrace::traceme().map_or_else(|errno| errno as i32, |()| 0);
            // SAFETY: _exit(2) takes any number.
            unsafe { libc::_exit(code) }
        }
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, 0) => Ok(()),
            WaitStatus::Exited(_, code) => Err(Errno::from_raw(code)),
            _ => Err(Errno::EPERM),
        },
    }
}

/// Has calls that sleep interrupted each 2 ms, and puts this process and its victims on one processor, where a step is
/// quickest.
pub(crate) fn set_up() {
    extern "C" fn tick(_: i32) {}
    let action = SigAction::new(SigHandler::Handler(tick), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGALRM, &action) }.unwrap();
    let tick = libc::timeval { tv_sec: 0, tv_usec: 2000 };
    let timer = libc::itimerval { it_interval: tick, it_value: tick };
    // SAFETY: setitimer(2) reads a timer, and writes none, as it is given no place for it.
    assert_eq!(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) }, 0);

    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).unwrap();
    let first = (0..CpuSet::count()).find(|&at| allowed.is_set(at).unwrap()).unwrap();
    let mut one = CpuSet::new();
    one.set(first).unwrap();
    sched_setaffinity(this, &one).unwrap();
}

impl Victim {
    /// Starts a process that is traced, and runs it to its first [`stand`].
    pub(crate) fn start(act: impl FnOnce()) -> Self {
        // SAFETY: this process has one thread.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                // With its tracer dies the victim.
                ptrace::traceme().unwrap();
                act();
                // SAFETY: _exit(2) takes any number.
                unsafe { libc::_exit(0) }
            }
            ForkResult::Parent { child } => {
                let victim = Self { process: child, thread: child };
                assert!(matches!(victim.stopped(None), State::Stands));
                ptrace::setoptions(child, Options::PTRACE_O_EXITKILL).unwrap();
                victim
            }
        }
    }

    /// Runs one instruction. If it sleeps in the system, `wake` is called, once.
    pub(crate) fn step(&self, mut wake: impl FnMut()) -> State {
        ptrace::step(self.thread, None).unwrap();
        self.stopped(Some(&mut wake))
    }

    fn stopped(&self, mut wake: Option<&mut dyn FnMut()>) -> State {
        let status = loop {
            match waitpid(self.thread, Some(WaitPidFlag::__WALL)) {
                Err(Errno::EINTR) => {}
                status => break status.unwrap(),
            }
            if self.sleeps() {
                if let Some(wake) = wake.take() {
                    wake();
                }
            }
        };
        match status {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => State::Steps,
            WaitStatus::Stopped(_, Signal::SIGSTOP) => State::Stands,
            WaitStatus::PtraceEvent(..) => State::Steps,
            other => State::Ended(other),
        }
    }

    /// Whether it sleeps in the system.
    fn sleeps(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.thread)).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('S')
    }

    /// Runs the process to the start of its next thread, which then stands; the process runs.
    pub(crate) fn thread_that_starts(&self) -> Self {
        ptrace::setoptions(self.thread, Options::PTRACE_O_EXITKILL | Options::PTRACE_O_TRACECLONE).unwrap();
        ptrace::cont(self.thread, None).unwrap();
        let event = wait(self.thread);
        assert!(matches!(event, WaitStatus::PtraceEvent(..)), "{event:?}");
        let thread = Pid::from_raw(ptrace::getevent(self.thread).unwrap() as i32);
        let new = Self { process: self.process, thread };
        assert!(matches!(new.stopped(None), State::Stands));
        ptrace::cont(self.thread, None).unwrap();
        new
    }

    /// Stops one more thread of the process, which runs then.
    pub(crate) fn seize(&self, thread: u32) -> Self {
        let thread = Pid::from_raw((thread & 0x3FFF_FFFF) as i32);
        ptrace::seize(thread, Options::PTRACE_O_EXITKILL).unwrap();
        ptrace::interrupt(thread).unwrap();
        let stopped = wait(thread);
        assert!(matches!(stopped, WaitStatus::PtraceEvent(..)), "{stopped:?}");
        ptrace::cont(self.thread, None).unwrap();
        Self { process: self.process, thread }
    }

    /// Kills the process, and returns when all of it is gone, this thread of it first.
    pub(crate) fn kill(self) {
        kill(self.process, Signal::SIGKILL).unwrap();
        for gone in [self.thread, self.process] {
            while !matches!(waitpid(gone, Some(WaitPidFlag::__WALL)), Ok(WaitStatus::Signaled(..)) | Err(Errno::ECHILD))
            {
            }
        }
    }
}

/// waitpid(2), whatever ticks.
fn wait(thread: Pid) -> WaitStatus {
    loop {
        match waitpid(thread, Some(WaitPidFlag::__WALL)) {
            Err(Errno::EINTR) => {}
            status => return status.unwrap(),
        }
    }
}
