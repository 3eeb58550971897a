//! Segments that remove themselves, and second processes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, Uid, fork, geteuid, pause};
use shared_region_sysv::{AttachOptions, Attachment, IPC_PRIVATE, Segment};

/// The user and group of `nobody`.
pub(crate) const NOBODY: u32 = 65534;

/// Returns a key that no other test uses.
pub(crate) fn unique_key() -> i32 {
    static NEXT: AtomicI32 = AtomicI32::new(1);
    let pid = (process::id() & 0x7fff) as i32;
    pid << 16 | 0x4000 | NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A segment that is removed at the end of the test, also of one that fails.
#[derive(Debug)]
pub(crate) struct Guard(pub(crate) Segment);

impl Guard {
    pub(crate) fn private(size: usize, mode: u32) -> Self {
        Self(Segment::create_new(IPC_PRIVATE, size, mode).unwrap())
    }

    pub(crate) fn keyed(key: i32, size: usize, mode: u32) -> Self {
        Self(Segment::create_new(key, size, mode).unwrap())
    }

    pub(crate) fn attached(&self) -> Attachment {
        self.attach(&AttachOptions::new()).unwrap()
    }
}

impl Deref for Guard {
    type Target = Segment;

    fn deref(&self) -> &Segment {
        &self.0
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.remove();
    }
}

/// Checks an error that the kernel gave.
#[track_caller]
pub(crate) fn assert_errno<T>(result: io::Result<T>, errno: i32) {
    match result {
        Ok(_) => panic!("no error, but {:?} was expected", io::Error::from_raw_os_error(errno)),
        Err(error) => assert_eq!(error.raw_os_error(), Some(errno), "{error}"),
    }
}

/// Checks an error that stands in the way of the call.
#[track_caller]
pub(crate) fn assert_refused<T>(result: io::Result<T>) {
    match result {
        Ok(_) => panic!("not refused"),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
            assert_eq!(error.raw_os_error(), None, "{error}");
        }
    }
}

/// Says on the terminal, past the test runner's capture, that a check cannot run here.
pub(crate) fn skip(reason: &str) {
    let thread = std::thread::current();
    let _ = writeln!(io::stderr(), "skipped: {}: {reason}", thread.name().unwrap_or("?"));
}

/// Tells whether the tests run as root, and otherwise prints what is skipped.
pub(crate) fn is_root(what: &str) -> bool {
    let root = geteuid() == Uid::from_raw(0);
    if !root {
        skip(&format!("{what} needs root"));
    }
    root
}

/// Held while processes are started, and while attachments are counted.
///
/// A process that is started is for a moment a copy of this one, in which everything is attached once more.
pub(crate) struct Quiet {
    _lock: MutexGuard<'static, ()>,
}

pub(crate) fn quiet() -> Quiet {
    static LOCK: Mutex<()> = Mutex::new(());
    Quiet { _lock: LOCK.lock().unwrap_or_else(PoisonError::into_inner) }
}

impl Quiet {
    /// Starts this program again, to run one ignored test with a number in the environment.
    pub(crate) fn start(&self, role: &str, number: i32, prepare: impl FnOnce(&mut Command)) -> io::Result<Second> {
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["--exact", role, "--ignored", "--nocapture", "--test-threads=1"])
            .env("SECOND_PROCESS", number.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        prepare(&mut command);
        let mut child = command.spawn()?;
        let output = BufReader::new(child.stdout.take().unwrap());
        Ok(Second { child, output })
    }

    /// Starts a second process and waits for its end, which must be a good one.
    pub(crate) fn run(&self, role: &str, number: i32) {
        self.start(role, number, |_| {}).unwrap().succeed();
    }

    /// The same as `nobody`.
    pub(crate) fn run_as_nobody(&self, role: &str, number: i32) {
        let as_nobody = |command: &mut Command| {
            command.uid(NOBODY).gid(NOBODY);
        };
        self.start(role, number, as_nobody).unwrap().succeed();
    }
}

/// A second process, as the first one sees it.
pub(crate) struct Second {
    child: Child,
    output: BufReader<process::ChildStdout>,
}

impl Second {
    /// Waits for what the second process says.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the second process has ended");
            if let Some((_, said)) = line.trim_end().split_once("says: ") {
                return said.to_owned();
            }
        }
    }

    /// Lets the second process go on.
    pub(crate) fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end and returns it with what was said until then.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        self.output.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap(), said)
    }

    /// Waits for the end of a process that must have run its role, and well.
    pub(crate) fn succeed(self) {
        let (status, said) = self.end();
        assert!(status.success() && said.contains(" 1 passed;"), "{status}: {said}");
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number given to a second process; `None` if this is none but `cargo test -- --ignored`.
pub(crate) fn number_given() -> Option<i32> {
    std::env::var("SECOND_PROCESS").ok()?.parse().ok()
}

/// Says something to the first process, and waits for its word.
pub(crate) fn say_and_wait(what: impl std::fmt::Display) {
    println!("says: {what}");
    io::stdin().read_line(&mut String::new()).unwrap();
}

/// A forked child, which is killed at the latest when the test ends, well or badly.
pub(crate) struct Forked(Option<Pid>);

/// Forks a child that does one thing and ends.
pub(crate) fn fork_and(child: impl FnOnce() -> i32) -> Forked {
    // SAFETY: the child makes system calls, and ends without running anything of this process. fork(2)
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => Forked(Some(child)),
        ForkResult::Child => {
            let code = child();
            // SAFETY: ends the process and nothing else. _exit(2)
            unsafe { libc::_exit(code) }
        }
    }
}

/// Forks a child that only waits to be killed.
pub(crate) fn fork_and_pause() -> Forked {
    fork_and(|| {
        pause();
        0
    })
}

impl Forked {
    pub(crate) fn pid(&self) -> u32 {
        self.0.unwrap().as_raw().unsigned_abs()
    }

    pub(crate) fn kill(&mut self) {
        if let Some(pid) = self.0.take() {
            kill(pid, Signal::SIGKILL).unwrap();
            waitpid(pid, None).unwrap();
        }
    }

    /// Waits for its end, which must be a good one.
    pub(crate) fn succeed(mut self) {
        let pid = self.0.take().unwrap();
        assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Exited(pid, 0));
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        self.kill();
    }
}
