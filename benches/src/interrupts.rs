//! Ctrl-C ends a run between two samples, so that everything is cleaned up.

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals that ask for the end. They are read and not handled, as iceoryx2 sets handlers of its own.
pub(crate) struct Interrupts(SignalFd);

impl Interrupts {
    /// Holds them back from now on, in threads that are started later, too.
    pub(crate) fn hold() -> Result<Self> {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        signals.thread_block().context("hold signals back")?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self(SignalFd::with_flags(&signals, flags).context("read signals")?))
    }

    /// Fails if one has come.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.read_signal()?.is_some() {
            bail!("interrupted");
        }
        Ok(())
    }
}
