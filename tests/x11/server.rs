//! A real X server for one test, and the example as a second process.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, alarm};
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{ConnectionExt, ImageFormat, Window};
use x11rb::rust_connection::RustConnection;

use crate::x11_shm::plasma::Plasma;

/// Somebody who is neither root nor an owner of anything.
pub(crate) const NOBODY: u32 = 65534;

/// Says on the terminal, past the test runner's capture, that a check cannot run here.
pub(crate) fn skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!("skipped: {}: {reason}\n", thread.name().unwrap_or("?"));
    let _ = io::stderr().write_all(line.as_bytes()); // whole, as others print too
}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Xvfb, on a display that nobody else had; ended when dropped, and with the test.
pub(crate) struct Server {
    process: Child,
    display: String,
}

impl Server {
    /// Starts it; `None` where there is none.
    pub(crate) fn start() -> Option<Self> {
        Self::start_as(|command| command)
    }

    /// Starts it with other arguments, as another user, or the like. A test that waits for it in vain is ended by a signal.
    pub(crate) fn start_as(change: impl FnOnce(&mut Command) -> &mut Command) -> Option<Self> {
        alarm::set(300);
        let mut command = Command::new("Xvfb");
        // Whoever is on this machine may connect. On its output it says which display it has, once it can be connected to.
        command.args(["-displayfd", "1", "-nolisten", "tcp", "-noreset", "-ac", "-screen", "0", "400x300x24"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        change(&mut command);
        end_with_parent(&mut command);
        let mut process = match command.spawn() {
            Ok(process) => process,
            Err(error) => {
                skip(&format!("Xvfb does not run ({error}): install the package xvfb"));
                return None;
            }
        };
        let mut display = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut display).unwrap();
        let server = Self { process, display: format!(":{}", display.trim_end()) };
        assert_ne!(display, "", "Xvfb ended at once");
        Some(server)
    }

    pub(crate) fn display(&self) -> &str {
        &self.display
    }

    /// The socket that it listens at.
    pub(crate) fn socket(&self) -> String {
        format!("/tmp/.X11-unix/X{}", &self.display[1..])
    }

    pub(crate) fn connect(&self) -> RustConnection {
        RustConnection::connect(Some(&self.display)).unwrap().0
    }

    /// The files and segments that are mapped into it.
    pub(crate) fn maps(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/maps", self.process.id())).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Not by SIGKILL, so that it takes its socket and lock file away.
        let _ = kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

/// Has a process end when the thread ends that starts it, however that comes.
fn end_with_parent(command: &mut Command) {
    // SAFETY: prctl(2) is one system call; nothing is allocated or locked between fork and exec.
    unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGTERM)?)) };
}

/// The example, in a second process; killed when dropped.
pub(crate) struct Program {
    process: Child,
    output: BufReader<UnixStream>,
}

impl Program {
    pub(crate) fn start(display: &str, arguments: &str) -> Self {
        Self::start_as(display, arguments, |command| command)
    }

    pub(crate) fn start_as(display: &str, arguments: &str, change: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new("/proc/self/exe");
        command.args(["--exact", "child", "--ignored", "--nocapture"]);
        command.env("X11_SHM_ARGUMENTS", arguments).env("DISPLAY", display).stdin(Stdio::null());
        command.stdout(OwnedFd::from(theirs.try_clone().unwrap())).stderr(OwnedFd::from(theirs));
        change(&mut command);
        end_with_parent(&mut command);
        let process = command.spawn().unwrap();
        Self { process, output: BufReader::new(ours) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until it says by what it shows its frames; returns that, and what it has tried before.
    pub(crate) fn hear(&mut self) -> (String, String) {
        let mut tried = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "it ended: {tried}");
            match line.trim_end().strip_prefix("x11_shm: ").and_then(|said| said.split_once(" by ")) {
                Some((size, way)) if size != "not" => return (way.to_owned(), tried),
                _ => tried.push_str(&line),
            }
        }
    }

    /// Waits for its end; returns how that came and what it said until then.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        (self.process.wait().unwrap(), rest)
    }

    /// Kills it by SIGKILL and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a frame looks like, worked out here.
pub(crate) fn picture(frame: u64, (width, height): (u16, u16)) -> Vec<u32> {
    let plasma = Plasma::new();
    let mut pixels = vec![0; usize::from(width) * usize::from(height)];
    for (y, row) in pixels.chunks_exact_mut(width.into()).enumerate() {
        plasma.row(frame, y, row);
    }
    pixels
}

/// Says whether a picture is one of the frames of the first minutes.
pub(crate) fn is_a_frame(shown: &[u32], (width, _): (u16, u16)) -> bool {
    let (plasma, width) = (Plasma::new(), usize::from(width));
    let mut expected = vec![0; width];
    (0..10_000).any(|frame| {
        shown.chunks_exact(width).enumerate().all(|(y, row)| {
            plasma.row(frame, y, &mut expected);
            row == expected
        })
    })
}

/// What a window shows, taken over the connection; `None` if it cannot be seen yet.
pub(crate) fn look(connection: &RustConnection, window: Window, (width, height): (u16, u16)) -> Option<Vec<u32>> {
    let image = connection.get_image(ImageFormat::Z_PIXMAP, window, 0, 0, width, height, !0).unwrap().reply().ok()?;
    let pixels = image.data.chunks_exact(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()));
    Some(pixels.map(|pixel| pixel & 0xff_ffff).collect())
}

/// Waits for the only window of a server, of a size, and returns it.
pub(crate) fn window(connection: &RustConnection, size: (u16, u16)) -> Window {
    let root = connection.setup().roots[0].root;
    let mut found = None;
    eventually(|| {
        let children = connection.query_tree(root).unwrap().reply().unwrap().children;
        found = children.into_iter().find(|&child| look(connection, child, size).is_some());
        found.is_some()
    });
    found.unwrap()
}

/// Waits for what is certain to come but tells nobody when it does.
pub(crate) fn eventually(mut came: impl FnMut() -> bool) {
    let start = Instant::now();
    while !came() {
        assert!(start.elapsed() < Duration::from_secs(60), "it did not come within a minute");
        std::thread::yield_now();
    }
}
