//! Another container's shared memory, from the host.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::errno::Errno;

use crate::failure::Failure;
use crate::identity::Identity;

static ENTERED: AtomicBool = AtomicBool::new(false);

/// Whose shared memory is meant.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Inside {
    /// In the container of this process: in its IPC and mount namespace. Users and groups are numbers then. Only for root.
    #[arg(long, value_name = "PID")]
    inside: Option<u32>,
}

impl Inside {
    /// The same, or where those are that were named by a path of one process in `/proc`.
    pub(crate) fn or_of(self, ids: &[Identity]) -> Self {
        let mut pids = ids.iter().map(|id| if let Identity::Elsewhere(pid, _) = id { Some(*pid) } else { None });
        match (self.inside, pids.next().flatten()) {
            (None, Some(first)) if pids.all(|pid| pid == Some(first)) => Self { inside: Some(first) },
            // Of another one than that they are not.
            (Some(inside), _) if pids_differ(ids, inside) => Self { inside: None },
            _ => self,
        }
    }

    /// Goes there, for the rest of the program.
    pub(crate) fn enter(self) -> Result<(), Failure> {
        let Some(pid) = self.inside else { return Ok(()) };
        let failed = |error: io::Error| {
            let why = match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
                Errno::ENOENT => format!("there is no process {pid}"),
                Errno::EPERM | Errno::EACCES => format!("{error}: root may, with CAP_SYS_ADMIN and CAP_SYS_CHROOT"),
                _ => error.to_string(),
            };
            Failure::Failed(format!("cannot look inside of process {pid}: {why}"))
        };
        // Both before the first is entered, as /proc is another one then.
        let open = |namespace: &str| File::open(format!("/proc/{pid}/ns/{namespace}")).map_err(failed);
        let (ipc, mounts) = (open("ipc")?, open("mnt")?);
        go(&ipc, &mounts).map_err(|errno| failed(errno.into()))?;
        ENTERED.store(true, Relaxed);
        Ok(())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn go(ipc: &File, mounts: &File) -> nix::Result<()> {
    use nix::sched::{CloneFlags, setns};

    setns(ipc, CloneFlags::CLONE_NEWIPC)?;
    setns(mounts, CloneFlags::CLONE_NEWNS)
}

/// There are no such namespaces here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn go(_: &File, _: &File) -> nix::Result<()> {
    Err(Errno::ENOSYS)
}

fn pids_differ(ids: &[Identity], inside: u32) -> bool {
    ids.iter().any(|id| matches!(id, Identity::Elsewhere(pid, _) if *pid != inside))
}

/// Whether this program has gone elsewhere: names of users are not looked up then, as the C library would load code of the
/// container's for that.
pub(crate) fn has_entered() -> bool {
    ENTERED.load(Relaxed)
}
