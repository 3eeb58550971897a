//! Counts what a stretch of work costs its process: system calls and context switches.

use std::fs;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{UsageWho, getrusage};
use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};
use serde::{Deserialize, Serialize};

/// What was counted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Tally {
    /// Where the kernel lets them be counted.
    pub(crate) calls: Option<u64>,
    /// Of both kinds: when the process waited, and when another was preferred to it.
    pub(crate) switches: u64,
}

/// Counts for the process that made it.
pub(crate) struct Meter {
    counter: Option<Counter>,
    /// What the meter itself makes of a stretch without any work.
    own: Tally,
}

impl Meter {
    /// Makes a meter. `tracepoint` is the [`system_calls`] event; without it only switches are counted.
    pub(crate) fn new(tracepoint: Option<u64>) -> Result<Self> {
        let counter = tracepoint.map(|id| Builder::new(Tracepoint::with_id(id)).include_kernel().build());
        let counter = counter.transpose().context("perf_event_open for raw_syscalls:sys_enter")?;
        let mut meter = Self { counter, own: Tally::default() };
        let before = meter.start()?;
        meter.own = meter.stop(before)?;
        Ok(meter)
    }

    /// Begins a stretch of work.
    pub(crate) fn start(&mut self) -> Result<Tally> {
        let switches = switches()?;
        if let Some(counter) = &mut self.counter {
            counter.reset()?;
            counter.enable()?;
        }
        Ok(Tally { calls: None, switches })
    }

    /// Ends a stretch of work and returns what it cost.
    pub(crate) fn stop(&mut self, before: Tally) -> Result<Tally> {
        let mut calls = None;
        if let Some(counter) = &mut self.counter {
            counter.disable()?;
            calls = Some(counter.read()?.saturating_sub(self.own.calls.unwrap_or(0)));
        }
        Ok(Tally { calls, switches: switches()? - before.switches })
    }
}

fn switches() -> Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.voluntary_context_switches() + usage.involuntary_context_switches()) as u64)
}

/// Finds the event that the kernel counts at the entry of every system call.
///
/// Where the file system that tells is not mounted, it is mounted for this process and its children alone.
pub(crate) fn system_calls() -> Result<u64> {
    const ID: &str = "/sys/kernel/tracing/events/raw_syscalls/sys_enter/id";
    let id = fs::read_to_string(ID).or_else(|_| {
        let nothing = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace")?;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).context("make mounts private")?;
        mount(nothing, "/sys/kernel/tracing", Some("tracefs"), MsFlags::empty(), nothing).context("mount tracefs")?;
        fs::read_to_string(ID).context(ID)
    })?;
    Ok(id.trim().parse()?)
}
