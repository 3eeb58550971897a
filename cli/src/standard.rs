//! Whether standard input and output were open when this program began. Rust's runtime opens /dev/null in place of what is
//! closed, before `main`, so that what is written there would be lost in silence.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::libc;

static INPUT_CLOSED: AtomicBool = AtomicBool::new(false);
static OUTPUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Run by the system before the runtime begins.
#[cfg(target_os = "linux")]
#[used]
// SAFETY: the loader calls each pointer of this section once, with arguments that the function may leave alone, before any
// other thread is there; ld.so(8), the System V ABI.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

#[cfg(target_os = "linux")]
extern "C" fn look() {
    // SAFETY: fcntl(2) with F_GETFD touches no memory, and fails for what is no descriptor.
    let is_closed = |number| unsafe { libc::fcntl(number, libc::F_GETFD) } == -1;
    INPUT_CLOSED.store(is_closed(libc::STDIN_FILENO), Relaxed);
    OUTPUT_CLOSED.store(is_closed(libc::STDOUT_FILENO), Relaxed);
}

/// Fails where standard input is closed.
pub(crate) fn check_input() -> io::Result<()> {
    if INPUT_CLOSED.load(Relaxed) { Err(closed()) } else { Ok(()) }
}

/// Fails where standard output is closed.
pub(crate) fn check_output() -> io::Result<()> {
    if OUTPUT_CLOSED.load(Relaxed) { Err(closed()) } else { Ok(()) }
}

fn closed() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

/// Standard output, which fails at the first write where it is closed.
pub(crate) fn output() -> Box<dyn Write> {
    match check_output() {
        Ok(()) => Box::new(BufWriter::new(io::stdout().lock())),
        Err(_) => Box::new(Closed),
    }
}

struct Closed;

impl Write for Closed {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        check_output().map(|()| 0)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
