//! Messages between two processes: the kernel's ways, peers, and a ring in shared memory.

mod channel;
mod meter;
mod pair;
mod peers;
mod pipe;
mod queue;
pub(crate) mod ring;
mod shared;
mod socket;
mod umpire;
mod worker;

use std::env;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use shared_region::{Posix, Sysv};

use channel::Channel;
pub(crate) use pair::Pair;
pub(crate) use umpire::{Cores, Traffic};
pub(crate) use worker::{Kind, Order};

/// What is compared.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// Whether it keeps a core busy while it waits.
    pub(crate) spins: bool,
    serve: fn(Traffic, usize, Cores) -> Result<()>,
}

impl Subject {
    const fn sleeps<C: Channel>(name: &'static str) -> Self {
        Self { name, spins: false, serve: umpire::serve::<C> }
    }

    const fn spins<C: Channel>(name: &'static str) -> Self {
        Self { name, spins: true, serve: umpire::serve::<C> }
    }
}

pub(crate) const SUBJECTS: &[Subject] = &[
    Subject::spins::<shared::Words>("two words by hand, spinning"),
    Subject::spins::<shared::Ring<Posix, shared::Spinning>>("POSIX ring, spinning"),
    Subject::spins::<shared::Ring<Sysv, shared::Spinning>>("System V ring, spinning"),
    Subject::sleeps::<shared::Ring<Posix, shared::Sleeping>>("POSIX ring, futex"),
    Subject::sleeps::<shared::Ring<Sysv, shared::Sleeping>>("System V ring, futex"),
    Subject::spins::<peers::Iceoryx>("iceoryx2, polling"),
    Subject::sleeps::<pipe::Pipe>("pipe"),
    Subject::sleeps::<pipe::Fifo>("FIFO"),
    Subject::sleeps::<socket::StreamSocket>("Unix stream socket"),
    Subject::sleeps::<socket::PacketSocket>("Unix seqpacket socket"),
    Subject::sleeps::<queue::PosixQueue>("POSIX message queue"),
    Subject::sleeps::<queue::SysvQueue>("System V message queue"),
    Subject::sleeps::<peers::IpcChannel>("ipc-channel"),
];

/// Is the umpire: what the hidden subcommand does.
pub(crate) fn umpire(subject: &str, traffic: Traffic, size: usize, cores: Cores) -> Result<()> {
    let subject = SUBJECTS.iter().find(|known| known.name == subject).context("no such subject")?;
    let outcome = (subject.serve)(traffic, size, cores);
    if outcome.is_err() {
        umpire::say(&worker::told(outcome))?;
    }
    Ok(())
}

/// Returns a path of this process's own, for what has to have one; another one each time.
fn scratch() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    env::temp_dir().join(format!("shared-region-benches-{}-{count}", process::id()))
}
