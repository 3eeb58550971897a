//! Messages between two processes: the kernel's ways, peers, and a ring in shared memory.

mod channel;
mod meter;
mod pair;
mod peers;
mod pipe;
mod queue;
mod ring;
mod shared;
mod socket;
mod umpire;
mod worker;

use std::env;
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use clap::Args;
use shared_region::{Posix, Sysv};

use crate::model::Role;
use channel::Channel;
pub(crate) use pair::Pair;
use peers::{Iceoryx, IpcChannel};
use pipe::{Fifo, Pipe};
use queue::{PosixQueue, SysvQueue};
use shared::{Ring, Sleeping, Spinning, Words};
use socket::{PacketSocket, StreamSocket};
pub(crate) use umpire::{Cores, Score, Traffic};
pub(crate) use worker::{Kind, Order};

/// A way for messages to get from one process to another.
pub(crate) struct Carrier {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    /// What arrives, and how one waits for it.
    pub(crate) guarantee: &'static str,
    /// Whether whoever waits keeps a core busy.
    pub(crate) spins: bool,
    serve: fn(Traffic, usize, Cores) -> Result<()>,
}

impl Carrier {
    const fn of<C: Channel>(role: Role, name: &'static str, guarantee: &'static str) -> Self {
        Self { name, role, guarantee, spins: false, serve: umpire::serve::<C> }
    }

    const fn that_spins(mut self) -> Self {
        self.spins = true;
        self
    }
}

const BYTES: &str = "bytes without boundaries; sleeps";
const MESSAGES: &str = "whole messages; sleeps";
const SPINNING: &str = "whole messages; spins";

pub(crate) static CARRIERS: &[Carrier] = &[
    Carrier::of::<Words>(Role::System, "two words by hand", "one word at a time; spins").that_spins(),
    Carrier::of::<Ring<Posix, Spinning>>(Role::Ours, "POSIX ring, spinning", SPINNING).that_spins(),
    Carrier::of::<Ring<Sysv, Spinning>>(Role::Ours, "System V ring, spinning", SPINNING).that_spins(),
    Carrier::of::<Ring<Posix, Sleeping>>(Role::Ours, "POSIX ring, futex", MESSAGES),
    Carrier::of::<Ring<Sysv, Sleeping>>(Role::Ours, "System V ring, futex", MESSAGES),
    Carrier::of::<Iceoryx>(Role::Peer, "iceoryx2 publish-subscribe", SPINNING).that_spins(),
    Carrier::of::<IpcChannel>(Role::Peer, "ipc-channel", MESSAGES),
    Carrier::of::<Pipe>(Role::System, "pipe", BYTES),
    Carrier::of::<Fifo>(Role::System, "FIFO", BYTES),
    Carrier::of::<StreamSocket>(Role::System, "Unix stream socket", BYTES),
    Carrier::of::<PacketSocket>(Role::System, "Unix seqpacket socket", MESSAGES),
    Carrier::of::<PosixQueue>(Role::System, "POSIX message queue", MESSAGES),
    Carrier::of::<SysvQueue>(Role::System, "System V message queue", MESSAGES),
];

/// What the report asks of the umpire that it starts.
#[derive(Args)]
pub(crate) struct Umpire {
    carrier: String,
    traffic: Traffic,
    size: usize,
    sender: usize,
    receiver: usize,
}

impl Umpire {
    /// Serves the report. What goes wrong is told as an answer.
    pub(crate) fn serve(&self) -> ExitCode {
        let carrier = CARRIERS.iter().find(|known| known.name == self.carrier).context("no such carrier");
        let cores = [self.sender, self.receiver];
        let outcome = carrier.and_then(|carrier| (carrier.serve)(self.traffic, self.size, cores));
        if outcome.is_ok() {
            return ExitCode::SUCCESS;
        }
        let _ = umpire::say(&worker::told(outcome));
        ExitCode::FAILURE
    }
}

/// Returns a path of this process's own, for what has to have one; another one each time.
fn scratch() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    env::temp_dir().join(format!("shared-region-benches-{}-{count}", process::id()))
}
