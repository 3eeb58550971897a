//! Standard input and output, if they were open when the program began.
//!
//! Rust's runtime opens /dev/null in place of what is closed, before `main`: all that is written would then be lost, and
//! input be empty, and nobody would be told. So this asks before the runtime does.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use nix::libc;

use crate::failure::Failure;

/// A bit for each descriptor that was closed.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// Called by the loader, before the runtime.
#[used]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static FIRST: extern "C" fn() = look;

extern "C" fn look() {
    for descriptor in [libc::STDIN_FILENO, libc::STDOUT_FILENO] {
        // SAFETY: fcntl(2) answers EBADF where nothing is open, and F_GETFD touches no memory.
        if unsafe { libc::fcntl(descriptor, libc::F_GETFD) } == -1 {
            CLOSED.fetch_or(1 << descriptor, Relaxed);
        }
    }
}

fn if_open(descriptor: i32) -> io::Result<()> {
    if CLOSED.load(Relaxed) & 1 << descriptor == 0 { Ok(()) } else { Err(io::Error::other("it is closed")) }
}

/// Standard input, as a descriptor of one's own.
pub(crate) fn input() -> io::Result<OwnedFd> {
    if_open(libc::STDIN_FILENO)?;
    io::stdin().as_fd().try_clone_to_owned()
}

/// Standard output. Where it was closed, writing to it fails.
pub(crate) struct Output(io::StdoutLock<'static>);

impl Output {
    pub(crate) fn lock() -> Self {
        Self(io::stdout().lock())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if_open(libc::STDOUT_FILENO)?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Fails where nobody could see what a command says; for those that cannot undo what they do.
pub(crate) fn expect_output() -> Result<(), Failure> {
    if_open(libc::STDOUT_FILENO).map_err(Failure::output)
}
