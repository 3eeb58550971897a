//! Second processes: this very program, started anew with a role.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use crate::sut::{Confinement, Sut};

/// Tells a second process where those that it starts itself begin.
pub(super) const PLACE: &str = "SHARED_REGION_PLACE";
const TASK: &str = "SHARED_REGION_TASK";
const FIRST: &str = "SHARED_REGION_FIRST";
const SEPARATOR: char = '\u{1f}';

/// Somebody who is neither root nor an owner of anything.
pub const NOBODY: u32 = 65534;

/// Says on the terminal, past the test runner's capture, that a check cannot run here.
pub fn skip<S: Sut>(reason: &str) {
    if !super::run::skipped(reason) {
        return;
    }
    let thread = std::thread::current();
    let _ = writeln!(io::stderr(), "skipped: {} ({}): {reason}", thread.name().unwrap_or("?"), S::LABEL);
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A second process that has not started yet.
#[derive(Debug)]
pub struct Role {
    command: Command,
    task: String,
}

/// Prepares a second process that runs `role` for the same implementation.
pub fn role<S: Sut>(role: &str) -> Role {
    super::run::need_processes();
    let place = super::run::place_of::<S>();
    S::backend(); // the first process sets up what the second relies on
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", &place, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(PLACE, &place).env(FIRST, first_process().to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    Role { command, task: format!("{}{SEPARATOR}{role}", S::LABEL) }
}

impl Role {
    /// Hands an argument on.
    pub fn arg(mut self, argument: impl ToString) -> Self {
        self.task.push(SEPARATOR);
        self.task.push_str(&argument.to_string());
        self
    }

    /// Has it run as another user, in no other groups.
    #[allow(clippy::wrong_self_convention, reason = "it reads as a sentence")]
    pub fn as_user(mut self, uid: u32) -> Self {
        self.command.gid(uid).uid(uid);
        self
    }

    /// Has it run inside of a namespace, with a limit, or the like.
    pub fn confined(mut self, confinement: Confinement) -> Self {
        // SAFETY: a confinement makes system calls with strings made before, and neither allocates nor locks.
        unsafe { self.command.pre_exec(confinement) };
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Second {
        let mut process = self.command.env(TASK, &self.task).spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Second { process, input: Some(input), output }
    }

    /// Becomes it: replaces this program, and keeps this process and its lines.
    pub fn exec(mut self) -> io::Error {
        self.command.stdin(Stdio::inherit()).stdout(Stdio::inherit());
        self.command.env(TASK, &self.task).exec()
    }

    /// Runs it to its end, which must be a success.
    pub fn run(self) {
        self.start().finish();
    }
}

/// A second process; killed when dropped.
#[derive(Debug)]
pub struct Second {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Second {
    pub fn pid(&self) -> i32 {
        self.process.id() as i32
    }

    /// Sends a line, which [`hear`] returns over there.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for the next line that the other side gave to [`say`].
    pub fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the second process ended in silence");
            if let Some((_, said)) = line.split_once("@@") {
                return said.trim_end().to_owned();
            }
        }
    }

    /// Kills it by SIGKILL and waits until it is gone.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits for its end.
    pub fn end(mut self) -> ExitStatus {
        drop(self.input.take());
        let mut rest = Vec::new();
        io::Read::read_to_end(&mut self.output, &mut rest).unwrap();
        let status = self.process.wait().unwrap();
        if !status.success() && status.signal().is_none() {
            let _ = io::stderr().write_all(&rest);
        }
        status
    }

    /// Waits for its end, which must be a success.
    pub fn finish(self) {
        let status = self.end();
        assert!(status.success(), "the second process failed: {status}");
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The number of the process that the tests run in, which is the same in all that they start: so that a backend that needs
/// a server, or a place of its own, finds the one that the first process has made.
#[must_use]
pub fn first_process() -> u32 {
    // Found out once, as a forked child has a number of its own.
    static FOUND: LazyLock<u32> = LazyLock::new(|| {
        std::env::var(FIRST).ok().and_then(|number| number.parse().ok()).unwrap_or_else(std::process::id)
    });
    *FOUND
}

/// In a second process: what it is to do.
pub fn task() -> Option<(String, String, Vec<String>)> {
    let task = std::env::var(TASK).ok()?;
    let mut parts = task.split(SEPARATOR).map(str::to_owned);
    Some((parts.next()?, parts.next()?, parts.collect()))
}

/// In a second process: sends a line to the first.
pub fn say(line: &str) {
    let mut output = io::stdout().lock();
    writeln!(output, "@@{line}").unwrap();
    output.flush().unwrap();
}

/// In a second process: waits for a line from the first; empty when that has closed its end.
pub fn hear() -> String {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Forks; the child does one act and exits with the code it returns. Returns how the child ended.
pub fn forked(act: impl FnOnce() -> i32) -> WaitStatus {
    fork_off(|_| act()).wait()
}

/// Forks `count` children that run side by side, each with its number; returns how they ended, in that order.
pub fn forked_all(count: usize, act: impl Fn(usize) -> i32) -> Vec<WaitStatus> {
    let children: Vec<_> = (0..count).map(|index| fork_off(|_| act(index))).collect();
    children.into_iter().map(Forked::wait).collect()
}

/// Forks; the child does one act, with its end of a line to the parent, and exits with the code that the act returns.
pub fn fork_off(act: impl FnOnce(&mut UnixStream) -> i32) -> Forked {
    super::run::need_processes();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    // SAFETY: the child does one act that needs no lock of another thread, and leaves by `_exit`.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            drop(ours);
            let act = std::panic::AssertUnwindSafe(|| act(&mut theirs));
            let code = std::panic::catch_unwind(act).unwrap_or(101);
            // SAFETY: `_exit` runs nothing of this program, so nothing that the parent owns is cleaned up twice.
            unsafe { nix::libc::_exit(code) }
        }
        ForkResult::Parent { child } => Forked { pid: Some(child), line: ours },
    }
}

/// A forked child; killed when dropped.
#[derive(Debug)]
pub struct Forked {
    pid: Option<Pid>,
    /// To the child; it reads the end when this is shut down or the parent dies.
    pub line: UnixStream,
}

impl Forked {
    /// Shuts the line down and waits for its end; says how that came.
    pub fn wait(mut self) -> WaitStatus {
        let _ = self.line.shutdown(Shutdown::Write);
        let pid = self.pid.take().unwrap();
        waitpid(pid, None).unwrap()
    }

    /// Kills it by SIGKILL and waits until it is gone.
    pub fn kill(self) {
        nix::sys::signal::kill(self.pid.unwrap(), Signal::SIGKILL).unwrap();
        self.wait();
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.take() {
            let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
    }
}

/// How often a race is run: `usual`, multiplied by what `CONFORMANCE_ROUNDS` says.
pub fn rounds(usual: usize) -> usize {
    let factor = std::env::var("CONFORMANCE_ROUNDS").ok().and_then(|text| text.parse().ok());
    usual * factor.unwrap_or(1)
}

/// Waits for what is certain to come but tells nobody when it does; says whether it came within a minute, or as many
/// more as there are more rounds.
pub fn eventually(mut came: impl FnMut() -> bool) -> bool {
    let (start, patience) = (Instant::now(), Duration::from_secs(60) * rounds(1) as u32);
    loop {
        if came() {
            return true;
        }
        if start.elapsed() > patience {
            return false;
        }
        std::thread::yield_now();
    }
}

/// A private mount namespace in which `directory` is a file system of its own. `options` as for `mount -o`.
pub fn private_tmpfs(directory: impl AsRef<OsStr>, options: &str) -> Confinement {
    private_mount("tmpfs", directory, MsFlags::empty(), options)
}

/// The same for any kind of file system and with flags, such as `MS_NOEXEC`.
pub fn private_mount(kind: &str, directory: impl AsRef<OsStr>, flags: MsFlags, options: &str) -> Confinement {
    let kind = CString::new(kind).unwrap();
    let directory = CString::new(directory.as_ref().as_bytes()).unwrap();
    let options = CString::new(options).unwrap();
    Box::new(move || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, c"/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        let (kind, options) = (Some(kind.as_c_str()), Some(options.as_c_str()));
        Ok(mount(kind, directory.as_c_str(), kind, flags, options)?)
    })
}

/// A private IPC namespace with one of its limits (`/proc/sys/kernel/…`) set; this machine's are left alone.
pub fn private_ipc(limit: &str, value: u64) -> Confinement {
    let path = CString::new(format!("/proc/sys/kernel/{limit}")).unwrap();
    let value = value.to_string();
    Box::new(move || {
        unshare(CloneFlags::CLONE_NEWIPC)?;
        let file = nix::fcntl::open(path.as_c_str(), nix::fcntl::OFlag::O_WRONLY, nix::sys::stat::Mode::empty())?;
        nix::unistd::write(&file, value.as_bytes())?;
        Ok(())
    })
}

/// A private namespace of the given kind.
pub fn unshared(kind: CloneFlags) -> Confinement {
    Box::new(move || Ok(unshare(kind)?))
}

/// A control group whose memory is limited, removed when dropped; and what puts a second process into it.
#[derive(Debug)]
pub struct MemoryGroup {
    folder: PathBuf,
    limit: &'static str,
}

impl MemoryGroup {
    /// `None` where this machine lets nobody make one.
    pub fn new(bytes: u64) -> Option<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (point, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
            let limit = match kind {
                "cgroup2" => "memory.max",
                "cgroup" if options.split(',').any(|option| option == "memory") => "memory.limit_in_bytes",
                _ => return None,
            };
            let group = Self { folder: format!("{point}/conformance-{}-{count}", std::process::id()).into(), limit };
            fs::create_dir(&group.folder).ok()?;
            // Where the controller is not for groups below, there is no such file.
            fs::write(group.limit_file(), bytes.to_string()).ok()?;
            Some(group)
        })
    }

    pub fn limit_file(&self) -> PathBuf {
        self.folder.join(self.limit)
    }

    pub fn confinement(&self) -> Confinement {
        let members = CString::new(self.folder.join("cgroup.procs").into_os_string().into_vec()).unwrap();
        Box::new(move || {
            let flags = nix::fcntl::OFlag::O_WRONLY | nix::fcntl::OFlag::O_CLOEXEC;
            let file = nix::fcntl::open(members.as_c_str(), flags, nix::sys::stat::Mode::empty())?;
            // Whoever writes it.
            nix::unistd::write(&file, b"0")?;
            Ok(())
        })
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // A member that has just ended may still be counted.
        for _ in 0..1000 {
            match fs::remove_dir(&self.folder) {
                Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => std::thread::yield_now(),
                _ => break,
            }
        }
    }
}
