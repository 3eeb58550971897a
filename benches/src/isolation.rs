//! Keeps the machine out of the measurements, and the measurements out of the machine.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare};
use nix::unistd::{Pid, getgid, getuid};

/// Where POSIX objects live.
const STORE: &str = "/dev/shm";

/// How it is mounted.
const FLAGS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// Whose shared memory this process sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Its own: an empty `/dev/shm` and an empty System V namespace, both gone with the last process in them.
    Private,
    /// The machine's, as namespaces are not permitted here.
    Shared,
}

/// Moves this process into namespaces of its own, where it may. Call it before there are threads.
pub(crate) fn enter() -> Result<Isolation> {
    let namespaces = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC;
    if unshare(namespaces).is_err() {
        let (uid, gid) = (getuid(), getgid());
        if unshare(namespaces | CloneFlags::CLONE_NEWUSER).is_err() {
            return Ok(Isolation::Shared);
        }
        // user_namespaces(7): without privilege, groups can be mapped only once setgroups is denied.
        for (file, line) in
            [("setgroups", "deny".into()), ("uid_map", format!("{uid} {uid} 1")), ("gid_map", format!("{gid} {gid} 1"))]
        {
            fs::write(Path::new("/proc/self").join(file), line).with_context(|| format!("/proc/self/{file}"))?;
        }
    }
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).context("make mounts private")?;
    mount(Some("shm"), STORE, Some("tmpfs"), FLAGS, Some("mode=1777")).context("mount a private /dev/shm")?;
    Ok(Isolation::Private)
}

/// Has a private `/dev/shm` use transparent huge pages where a mapping asks for them, as long as this lives.
pub(crate) struct HugeStore(());

impl HugeStore {
    /// Returns `None` where the store is the machine's, which is left as it is, or the kernel refuses.
    pub(crate) fn remount(is_private: bool) -> Option<Self> {
        (is_private && remount("huge=advise").is_ok()).then_some(Self(()))
    }
}

impl Drop for HugeStore {
    fn drop(&mut self) {
        let _ = remount("huge=never");
    }
}

fn remount(options: &str) -> nix::Result<()> {
    let flags = MsFlags::MS_REMOUNT | FLAGS;
    mount(None::<&str>, STORE, None::<&str>, flags, Some(options))
}

/// The processors that this process was given at its start.
#[derive(Clone, Debug)]
pub(crate) struct Processors(Vec<usize>);

impl Processors {
    pub(crate) fn allowed() -> Result<Self> {
        let set = sched_getaffinity(Pid::from_raw(0)).context("ask for the allowed processors")?;
        Ok(Self((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect()))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the `index`-th of them, counted from the last, as the first serves most interrupts; the same one again
    /// where there are too few.
    pub(crate) fn nth(&self, index: usize) -> usize {
        self.0[self.0.len() - 1 - index % self.0.len()]
    }
}

/// Lets the calling thread, and those that it starts, run everywhere until this is dropped.
pub(crate) struct Everywhere(CpuSet);

impl Processors {
    pub(crate) fn everywhere(&self) -> Result<Everywhere> {
        let this = Pid::from_raw(0);
        let before = sched_getaffinity(this).context("ask for the allowed processors")?;
        let mut all = CpuSet::new();
        self.0.iter().try_for_each(|&processor| all.set(processor))?;
        sched_setaffinity(this, &all).context("allow all processors")?;
        Ok(Everywhere(before))
    }
}

impl Drop for Everywhere {
    fn drop(&mut self) {
        let _ = sched_setaffinity(Pid::from_raw(0), &self.0);
    }
}

/// Keeps the calling thread on a processor.
pub(crate) fn pin(processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pin to processor {processor}"))
}
