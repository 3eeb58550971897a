//! How a command ends when it does not end well.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use nix::libc::{EPIPE, SIGPIPE};
use signal_hook::low_level::emulate_default_handler;

/// Why a command stops.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It failed, and this line says what and what to do: exit code 1.
    Failed(String),
    /// It cannot be meant as it was typed, and this line says why: exit code 2.
    Usage(String),
    /// Some of what it had to do failed, and has been told already: exit code 1.
    Told,
    /// It was done as far as could be seen, and this line says what could not: exit code 3.
    Unseen(String),
    /// A signal asked it to end, as the signal ends other programs.
    Signal(i32),
}

impl Failure {
    /// Says what could not be done with a file that is no shared memory.
    pub(crate) fn with(what: impl Display, error: &io::Error) -> Self {
        Self::Failed(format!("cannot {what}: {error}"))
    }

    /// Says why standard output took no more; a reader that has gone is a signal, and quiet.
    pub(crate) fn output(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(EPIPE) => Self::Signal(SIGPIPE),
            _ => Self::with("write to standard output", &error),
        }
    }

    /// Tells what is not told yet, and ends the program.
    pub(crate) fn exit(self) -> ExitCode {
        match self {
            Self::Failed(line) => {
                tell(&line);
                ExitCode::from(1)
            }
            Self::Usage(line) => {
                tell(&line);
                ExitCode::from(2)
            }
            Self::Told => ExitCode::from(1),
            Self::Unseen(line) => {
                tell(&line);
                ExitCode::from(3)
            }
            Self::Signal(signal) => {
                // The caller sees which signal it was, as of any program. If that should fail, a code says the same.
                let _ = emulate_default_handler(signal);
                ExitCode::from(128 + u8::try_from(signal).unwrap_or(0))
            }
        }
    }
}

impl From<shared_region::Error> for Failure {
    fn from(error: shared_region::Error) -> Self {
        // What a program does about it is not what whoever looked for it wants to do.
        Self::Failed(error.to_string().replace(": create it first, or wait for it", ": see `shm ls`"))
    }
}

/// Writes one line to standard error. Where that is closed nobody wants to know.
pub(crate) fn tell(line: &dyn Display) {
    let _ = writeln!(io::stderr(), "shm: {line}");
}

/// Does one thing after the other, and goes on after a failure.
pub(crate) fn each<T>(
    things: impl IntoIterator<Item = T>,
    mut act: impl FnMut(T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut outcome = Ok(());
    for thing in things {
        match act(thing) {
            Ok(()) => {}
            Err(Failure::Failed(line)) => {
                tell(&line);
                outcome = Err(Failure::Told);
            }
            Err(Failure::Told) => outcome = Err(Failure::Told),
            Err(stop @ (Failure::Usage(_) | Failure::Unseen(_) | Failure::Signal(_))) => return Err(stop),
        }
    }
    outcome
}
