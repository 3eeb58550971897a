//! Places to meet, and second processes: this very program, programs in C, programs in Python.

use std::ffi::{CStr, CString, OsString};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::alarm;
use shared_region::{PosixName, RegionId, RegionName, SharedRegion, SharedRegionExt, SysvRegion};

/// What the textbook programs and their Rust counterparts agree on.
pub(crate) const SIZE: usize = 5000;
pub(crate) const ANSWER: usize = 256;

const ROLE: &str = "INTEROP_ROLE";
const SEPARATOR: &str = "\u{1f}";
/// Precedes what a second process says, as the test runner prints too.
const MARK: &str = "@@";

/// Says on the terminal, past the test runner's capture, what cannot run here.
pub(crate) fn skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!("skipped: {}: {reason}\n", thread.name().unwrap_or("?"));
    let _ = io::stderr().write_all(line.as_bytes()); // whole, as others print too
}

/// Where two programs meet: an identity for Rust, an argument for others. What stands there is removed at the end.
pub(crate) struct Meeting {
    pub(crate) id: RegionId,
    pub(crate) at: String,
    file: Option<PathBuf>,
}

impl Meeting {
    fn unique() -> String {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        format!("interop-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
    }

    /// At the key that `ftok` makes of a file.
    pub(crate) fn by_file(project: char) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(Self::unique());
        std::fs::write(&path, "").unwrap();
        let id = RegionId::Key(SysvRegion::ftok(&path, project as i32).unwrap());
        Self { id, at: path.to_str().unwrap().to_owned(), file: Some(path) }
    }

    /// At the key that stands for a name.
    pub(crate) fn by_name_of_sysv() -> Self {
        let name = Self::unique();
        let id = RegionId::named("sysv", RegionName::new(&name).unwrap());
        Self { id, at: format!("name:{name}"), file: None }
    }

    pub(crate) fn by_name() -> Self {
        let at = format!("/{}", Self::unique());
        Self { id: PosixName::new(&at).unwrap().into(), at, file: None }
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        let _ = self.id.remove();
        let _ = self.file.take().map(std::fs::remove_file);
    }
}

/// A program that others wrote, with its first arguments.
pub(crate) struct Peer(Vec<OsString>);

impl Peer {
    /// A C program of this repository, compiled once; `None` where there is no compiler.
    pub(crate) fn c(source: &str) -> Option<Self> {
        static COMPILED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(source.file_stem()?);
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        if !compiled.contains(&program) {
            let fresh = program.with_extension(std::process::id().to_string());
            let mut cc = Command::new("cc");
            cc.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-o"]).arg(&fresh).arg(&source).arg("-lrt");
            match cc.status() {
                Ok(status) => assert!(status.success(), "{} does not compile", source.display()),
                Err(error) => {
                    skip(&format!("there is no C compiler `cc`: {error}"));
                    return None;
                }
            }
            std::fs::rename(fresh, &program).unwrap();
            compiled.push(program.clone());
        }
        Some(Self(vec![program.into()]))
    }

    /// `exchange.py` with a module of Python's standard library; `None` where there is no Python.
    pub(crate) fn python(module: &str) -> Option<Self> {
        Self::script("python3".into(), module)
    }

    /// `exchange.py` with a module that has to be installed; `None` where it cannot be.
    pub(crate) fn installed(module: &str) -> Option<Self> {
        static PYTHON: OnceLock<Result<OsString, String>> = OnceLock::new();
        let python = PYTHON.get_or_init(|| {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/venv.sh");
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("venv");
            let made = Command::new("sh").arg(script).arg(folder).output().map_err(|error| error.to_string())?;
            let told = String::from_utf8_lossy(&made.stdout).trim_end().to_owned();
            if made.status.success() { Ok(told.into()) } else { Err(told) }
        });
        match python {
            Ok(python) => Self::script(python.clone(), module),
            Err(reason) => {
                skip(reason);
                None
            }
        }
    }

    fn script(python: OsString, module: &str) -> Option<Self> {
        match Command::new(&python).args(["-c", &format!("import {module}")]).output() {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(error) => {
                skip(&format!("{}: {error}", Path::new(&python).display()));
                return None;
            }
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/exchange.py");
        Some(Self(vec![python, script.into(), module.into()]))
    }

    /// The same, started by another program.
    pub(crate) fn under(&self, program: &str, arguments: &[&str]) -> Self {
        let before = std::iter::once(&program).chain(arguments).map(OsString::from);
        Self(before.chain(self.0.iter().cloned()).collect())
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.0[0]);
        command.args(&self.0[1..]);
        command
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Second {
        let mut command = self.command();
        command.args(arguments);
        Second::start(command, "")
    }

    /// Runs it to its end; returns what it printed, or how it complained.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command().args(arguments).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim_end().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }
}

/// Prepares this program to run a role as a second process.
pub(crate) fn role(name: &str, arguments: &[&str]) -> Command {
    // Not `/proc/self/exe`, which would be another program where that one starts it.
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, [&[name], arguments].concat().join(SEPARATOR));
    command
}

/// Starts this program in a role.
pub(crate) fn start(name: &str, arguments: &[&str]) -> Second {
    Second::start(role(name, arguments), MARK)
}

/// In a second process: its role and arguments.
pub(crate) fn task() -> Option<(String, Vec<String>)> {
    let task = std::env::var(ROLE).ok()?;
    alarm::set(60);
    let mut parts = task.split(SEPARATOR).map(str::to_owned);
    Some((parts.next()?, parts.collect()))
}

/// In a second process: says something to the first.
pub(crate) fn say(what: &str) {
    println!("{MARK}{what}");
}

/// In a second process: waits for the first one's word.
pub(crate) fn wait() {
    io::stdin().read_line(&mut String::new()).unwrap();
}

/// A second process; killed when dropped.
pub(crate) struct Second {
    process: Child,
    output: BufReader<ChildStdout>,
    mark: &'static str,
}

impl Second {
    fn start(mut command: Command, mark: &'static str) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output, mark }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits for the next line that it says.
    pub(crate) fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the second process ended in silence");
            if let Some((_, said)) = line.split_once(self.mark) {
                return said.trim_end().to_owned();
            }
        }
    }

    /// Lets it go on.
    pub(crate) fn go_on(&mut self) {
        self.process.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits for its end, which must be a success; returns all that it printed and nobody heard.
    pub(crate) fn finish(mut self) -> String {
        drop(self.process.stdin.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}: {rest}");
        rest
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads a C string.
pub(crate) fn text_at(region: &impl SharedRegion, offset: usize) -> String {
    let mut bytes = [0; 64];
    region.read_at(offset, &mut bytes).unwrap();
    CStr::from_bytes_until_nul(&bytes).unwrap().to_str().unwrap().to_owned()
}

/// Writes a C string.
pub(crate) fn put_at(region: &impl SharedRegion, offset: usize, text: &str) {
    region.write_at(offset, CString::new(text).unwrap().as_bytes_with_nul()).unwrap();
}

/// Waits for what comes some time after the process that caused it has ended, or that another test's fork delays.
pub(crate) fn eventually(mut came: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !came() {
        if start.elapsed() > Duration::from_secs(30) {
            return false;
        }
        std::thread::yield_now();
    }
    true
}
