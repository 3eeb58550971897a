//! How the tests run the tool, and other programs beside it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use shared_region::RegionId;

pub(crate) const SHM: &str = env!("CARGO_BIN_EXE_shm");

/// Somebody who is neither root nor an owner of anything.
pub(crate) const NOBODY: u32 = 65534;

/// Prepares a run of the tool.
pub(crate) fn shm<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(SHM);
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Prepares a run of the tool as another user, whom its folder may keep out: it is reached through a descriptor.
pub(crate) fn shm_as_nobody<'a>(arguments: impl IntoIterator<Item = &'a str>) -> (Command, File) {
    let binary = File::open(SHM).unwrap();
    let mut command = Command::new(format!("/proc/self/fd/{}", binary.as_raw_fd()));
    command.args(arguments).stdin(Stdio::null()).uid(NOBODY).gid(NOBODY).current_dir("/");
    (command, binary)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// Runs a command that has to succeed in silence, and returns what it printed.
pub(crate) fn ok(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let told = text(output.stderr);
    assert!(output.status.success() && told.is_empty(), "{command:?}: {}: {told}", output.status);
    text(output.stdout)
}

/// The same, with something on standard input.
pub(crate) fn ok_with(command: &mut Command, input: &[u8]) -> String {
    let output = feed(command, input);
    let told = text(output.stderr);
    assert!(output.status.success() && told.is_empty(), "{command:?}: {}: {told}", output.status);
    text(output.stdout)
}

/// Runs a command with something on standard input.
pub(crate) fn feed(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let fed = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    // Who refuses may do so before the input has arrived.
    assert!(fed.is_ok() || !output.status.success());
    output
}

/// Checks that a command failed with this code and one line, and returns the line.
pub(crate) fn refused(output: Output, code: i32) -> String {
    let told = text(output.stderr);
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert!(told.starts_with("shm: ") && told.ends_with('\n') && told.lines().count() == 1, "{told:?}");
    assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "{told:?}");
    told
}

/// Runs a command that has to fail with this code and one line, and returns the line.
pub(crate) fn fails(command: &mut Command, code: i32) -> String {
    refused(command.output().unwrap(), code)
}

/// A name for a region that no other test uses, with its slash.
pub(crate) fn name(tag: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("/shm-{}-{}-{tag}", std::process::id(), NEXT.fetch_add(1, Relaxed))
}

/// A region that goes with the test, if it is there.
pub(crate) struct Region(pub(crate) String);

impl Region {
    pub(crate) fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// Names one of either kind, and makes it.
    pub(crate) fn made(backend: &str, tag: &str, arguments: &[&str]) -> Self {
        let region = Self(format!("{backend}:{}", name(tag)));
        assert_eq!(ok(shm(["create", &region.0]).args(arguments)), "");
        region
    }

    pub(crate) fn id(&self) -> RegionId {
        self.0.parse().unwrap()
    }

    pub(crate) fn exists(&self) -> bool {
        self.id().metadata().is_ok_and(|metadata| !metadata.is_removed())
    }

    /// Its bytes, as the tool reads them.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let output = shm(["read", &self.0]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let _ = self.id().remove();
    }
}

pub(crate) const BACKENDS: [&str; 2] = ["posix", "sysv"];

/// A file in the temporary folder that goes with the test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(tag: &str) -> Self {
        Self(std::env::temp_dir().join(&name(tag)[1..]))
    }

    pub(crate) fn with(tag: &str, bytes: &[u8]) -> Self {
        let file = Self::new(tag);
        std::fs::write(&file.0, bytes).unwrap();
        file
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Says on the terminal, past the test runner's capture, that a test cannot run here.
pub(crate) fn skip(reason: &str) {
    let _ = writeln!(io::stderr(), "skipped: {}: {reason}", std::thread::current().name().unwrap_or("?"));
}

/// Whether tests may become other users and make namespaces; if not, says that this one is skipped.
pub(crate) fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skip("only root may do this");
    }
    root
}

/// Whether tests may run things alone; if not, says that this one is skipped.
pub(crate) fn namespaces() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    let trial = || Command::new("unshare").args(ALONE).arg("true").output().is_ok_and(|output| output.status.success());
    let may = *MAY.get_or_init(trial);
    if !may {
        skip("no namespace can be made");
    }
    may
}

/// What unshare(1) is asked for: an IPC namespace, processes and mounts of one's own.
pub(crate) const ALONE: [&str; 6] = ["--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// Whether a program is there; if not, says that this test is skipped.
pub(crate) fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}

/// Runs a shell script alone: with an IPC namespace, processes and a /dev/shm of its own. `$SHM` is the tool. It has to
/// succeed; what it printed is returned.
pub(crate) fn alone(script: &str) -> String {
    let setup = "set -e; mount -t tmpfs -o mode=1777 none /dev/shm; ";
    let mut command = Command::new("unshare");
    command.args(ALONE).args(["sh", "-c"]).arg(format!("{setup}{script}")).env("SHM", SHM).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    text(output.stdout)
}

/// A program that runs beside the tool and ends with its standard input; killed when dropped.
pub(crate) struct Beside(pub(crate) Child);

impl Beside {
    /// Starts it, and waits for the line by which it says that it is ready.
    pub(crate) fn start(command: &mut Command) -> (Self, String) {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut output = io::BufReader::new(child.stdout.take().unwrap());
        io::BufRead::read_line(&mut output, &mut line).unwrap();
        assert!(line.ends_with('\n'), "{command:?} ended in silence");
        (Self(child), line.trim_end().to_owned())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Lets it end, which has to be a success.
    pub(crate) fn finish(mut self) {
        drop(self.0.stdin.take());
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for what is certain to come but tells nobody when it does.
pub(crate) fn eventually(mut came: impl FnMut() -> bool) {
    let start = Instant::now();
    while !came() {
        assert!(start.elapsed() < Duration::from_secs(60), "it did not come");
        std::thread::yield_now();
    }
}

/// The signal that ended a program.
pub(crate) fn signal(output: &Output) -> Option<i32> {
    output.status.signal()
}
