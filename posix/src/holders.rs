//! Who holds an object.

use std::io;

use crate::sys;

/// Names the processes that hold an object, as far as could be seen; made by [`holders`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holders {
    pub(crate) pids: Vec<u32>,
    pub(crate) unreadable: usize,
    pub(crate) hidden: bool,
}

impl Holders {
    /// Returns the process ids, ascending.
    #[must_use]
    pub fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// Returns whether every process of this PID namespace could be looked into.
    ///
    /// Only then does an empty list say that nobody holds it; see [`holders`] for what is still missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unreadable == 0 && !self.hidden
    }

    /// Returns how many processes were there but could not be looked into.
    ///
    /// Those that `/proc` hides altogether (`hidepid`) are not counted, though they make this incomplete.
    #[must_use]
    pub fn unreadable(&self) -> usize {
        self.unreadable
    }
}

/// Finds the processes, this one too, that have an object mapped or open, by [`Stat::device`] and
/// [`Stat::inode`].
///
/// POSIX has no count of attachments. This looks through the mappings and descriptors of every process
/// and thread, which takes its time: about a system call for each descriptor on the machine.
///
/// The answer is about the past when it arrives: anybody who may open the object can do so meanwhile,
/// and a descriptor can move from a process yet to be looked at to one that was. It does not see:
///
/// - processes of a PID namespace that is not below that of `/proc`, such as other containers' and, from
///   a container, the host's, although they may share the store;
/// - descriptors on their way in a socket's queue, and what the kernel itself holds (swap files, loop
///   devices, registered `io_uring` buffers and files);
/// - mappings of a file whose file system tells `/proc` another device number than `fstat`. `tmpfs`, and
///   with it a memfd, tells the same.
///
/// Processes that the caller may not look into (another user's, without `CAP_SYS_PTRACE`, or one that
/// protects itself) make the answer [incomplete](Holders::is_complete), and so does a `/proc` mounted
/// with `hidepid`, unless the caller has that capability. One that ends meanwhile does not.
///
/// # Errors
///
/// - `NotFound` (`ENOENT`): there is no `/proc`, or it belongs to another PID namespace.
/// - `Unsupported`: not Linux.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use shared_region_posix::{Object, holders};
///
/// let object = Object::memfd(c"example", 0o600)?;
/// let stat = object.stat()?;
/// assert!(holders(stat.device(), stat.inode())?.pids().contains(&std::process::id()));
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # References
///
/// [proc_pid_maps(5)](https://man7.org/linux/man-pages/man5/proc_pid_maps.5.html),
/// [proc_pid_fd(5)](https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html),
/// [proc_pid_task(5)](https://man7.org/linux/man-pages/man5/proc_pid_task.5.html)
///
/// [`Stat::device`]: crate::Stat::device
/// [`Stat::inode`]: crate::Stat::inode
#[doc(alias("fuser", "lsof", "shm_nattch"))]
pub fn holders(device: u64, inode: u64) -> io::Result<Holders> {
    sys::holders(device, inode)
}
