//! Who holds an object.

use std::io;

use crate::sys;

/// Tells which processes hold an object, as far as could be seen; made by [`holders`] and [`holders_of`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holders {
    pub(crate) processes: Vec<Holder>,
    pub(crate) unreadable: usize,
    pub(crate) hidden: bool,
}

impl Holders {
    /// Returns the processes, by ascending id.
    #[must_use]
    pub fn processes(&self) -> &[Holder] {
        &self.processes
    }

    /// Returns whether every process of the machine could be looked into.
    ///
    /// Never so outside of the initial PID namespace, where others may be that share the store, nor where mappings cannot
    /// be told for certain. Only if it is so does an empty list say that nobody holds it; see [`holders`] for what is
    /// still missing, and [`is_unused`](crate::is_unused) for a question that misses nobody.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unreadable == 0 && !self.hidden
    }

    /// Returns how many processes were there but could not be looked into, or not in full.
    ///
    /// Those that `/proc` hides altogether (`hidepid`) are not counted, though they make this incomplete.
    #[must_use]
    pub fn unreadable(&self) -> usize {
        self.unreadable
    }
}

/// A process that has an object mapped, or open, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub(crate) pid: u32,
    pub(crate) mappings: Vec<HeldMapping>,
    pub(crate) descriptors: Vec<i32>,
}

impl Holder {
    /// Returns the process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns its mappings of the object, by ascending address.
    ///
    /// Linux tells one mapping as several where parts of it differ in protection.
    #[must_use]
    pub fn mappings(&self) -> &[HeldMapping] {
        &self.mappings
    }

    /// Returns its open descriptors of the object, ascending, each number once.
    ///
    /// Among them are those that give no access to its bytes (`O_PATH`). Threads can have descriptors of their own,
    /// so a number may mean other things in the process' other threads.
    #[must_use]
    pub fn descriptors(&self) -> &[i32] {
        &self.descriptors
    }
}

/// A mapping of an object in some process.
///
/// Addresses and sizes have 64 bits, as those of other processes may where this one has 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldMapping {
    pub(crate) address: u64,
    pub(crate) len: u64,
    pub(crate) offset: u64,
    pub(crate) writable: bool,
    pub(crate) shared: bool,
}

impl HeldMapping {
    /// Returns its first address in that process.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Returns its length in bytes, a multiple of the page size.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no mapping is empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns where in the object it starts, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns whether the process can store through it as it is now (`PROT_WRITE`).
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Returns whether stores reach the object (`MAP_SHARED`) and not a private copy.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared
    }
}

/// Finds the processes, this one too, that have an object mapped or open, by [`Stat::device`] and
/// [`Stat::inode`].
///
/// POSIX has no count of attachments. This looks through the mappings and descriptors of every process
/// and thread, which takes its time: about a system call for each descriptor on the machine. For many objects,
/// [`holders_of`] takes that time once; whether there is a holder at all, [`is_held`] tells sooner.
///
/// The answer is about the past when it arrives: anybody who may open the object can do so meanwhile,
/// and a descriptor can move from a process yet to be looked at to one that was, or that began meanwhile, as when a
/// holder forks and ends. It does not see:
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
/// # Platform-specific behavior
///
/// Linux only. No file system is asked for anything (`AT_STATX_DONT_SYNC`), so that descriptors on a network mount that
/// hangs do not hold this up. That takes Linux 4.11; before it, they do.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use shared_region_posix::{MapAccess, Object, holders};
///
/// let object = Object::memfd(c"example", 0o600)?;
/// object.set_len(4096)?;
/// let map = object.map(4096, MapAccess::ReadWrite)?;
///
/// let stat = object.stat()?;
/// let holders = holders(stat.device(), stat.inode())?;
/// let own = holders.processes().iter().find(|holder| holder.pid() == std::process::id()).unwrap();
/// assert_eq!(own.mappings()[0].address(), map.as_ptr() as u64);
/// assert_eq!(own.descriptors().len(), 1);
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # References
///
/// [proc_pid_maps(5)](https://man7.org/linux/man-pages/man5/proc_pid_maps.5.html),
/// [proc_pid_fd(5)](https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html),
/// [proc_pid_task(5)](https://man7.org/linux/man-pages/man5/proc_pid_task.5.html),
/// [statx(2)](https://man7.org/linux/man-pages/man2/statx.2.html)
///
/// [`Stat::device`]: crate::Stat::device
/// [`Stat::inode`]: crate::Stat::inode
#[doc(alias("fuser", "lsof", "shm_nattch"))]
pub fn holders(device: u64, inode: u64) -> io::Result<Holders> {
    Ok(holders_of(&[(device, inode)])?.swap_remove(0))
}

/// Finds what [`holders`] finds, for many objects by one look through `/proc`: answers in the order of `objects`, each
/// of which is a device and an inode.
///
/// # Errors
///
/// Those of [`holders`].
pub fn holders_of(objects: &[(u64, u64)]) -> io::Result<Vec<Holders>> {
    sys::holders_of(objects)
}

/// Says whether anybody holds an object, as soon as the first holder is found. `None` where none was found, but not
/// every process could be looked into; see [`holders`] for what is not seen either way.
///
/// # Errors
///
/// Those of [`holders`].
pub fn is_held(device: u64, inode: u64) -> io::Result<Option<bool>> {
    sys::is_held(device, inode)
}
