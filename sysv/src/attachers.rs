//! Who has a segment attached.

use std::io;

use crate::{SegmentStat, sys};

/// Tells which processes have a segment attached, as far as could be seen; made by [`attachers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachers {
    pub(crate) processes: Vec<Attacher>,
    pub(crate) unseen: u64,
}

impl Attachers {
    /// Returns the processes, by ascending id.
    #[must_use]
    pub fn processes(&self) -> &[Attacher] {
        &self.processes
    }

    /// Returns whether as many attachments were seen as [`SegmentStat::attach_count`] says that there are.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unseen == 0
    }

    /// Returns how many attachments there are beside those that were seen.
    #[must_use]
    pub fn unseen(&self) -> u64 {
        self.unseen
    }
}

/// A process that has a segment attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attacher {
    pub(crate) pid: u32,
    pub(crate) ranges: Vec<AttachedRange>,
}

impl Attacher {
    /// Returns the process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns where it has the segment attached, by ascending address.
    ///
    /// Linux tells, and counts, one attachment as several where parts of it differ in protection.
    #[must_use]
    pub fn ranges(&self) -> &[AttachedRange] {
        &self.ranges
    }
}

/// An attachment in some process, or a part of one.
///
/// Addresses and sizes have 64 bits, as those of other processes may where this one has 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachedRange {
    pub(crate) address: u64,
    pub(crate) len: u64,
    pub(crate) offset: u64,
    pub(crate) read_only: bool,
}

impl AttachedRange {
    /// Returns its first address in that process.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Returns its length in bytes, a multiple of the page size.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no attachment is empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns where in the segment it starts, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns whether the process cannot store through it as it is now.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }
}

/// Finds the processes, this one too, that have segments attached: answers in the order of `stats`, by one look through
/// `/proc`.
///
/// The kernel counts attachments and does not say whose they are. So this looks at the mappings of every process until as
/// many are found as [`SegmentStat::attach_count`] says. What it does not find is told by [`Attachers::unseen`]:
///
/// - attachments of processes that the caller may not look into: another user's, without `CAP_SYS_PTRACE`, or those
///   that a `/proc` mounted with `hidepid` does not show;
/// - attachments of processes in a PID namespace that is not below that of `/proc`;
/// - attachments of processes that have gone into another IPC namespace since; ids mean other segments there.
///
/// The answer is about the past when it arrives, and the count a little older. Attachments that came since can stand in
/// for some that were not seen, and so can, as long as it lasts, a process that shares its parent's memory (`vfork`).
///
/// # Errors
///
/// - [`NotFound`](io::ErrorKind::NotFound) (`ENOENT`): there is no `/proc`, or it belongs to another PID namespace.
/// - [`Unsupported`](io::ErrorKind::Unsupported): not Linux.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use shared_region_sysv::{AttachOptions, IPC_PRIVATE, Segment, attachers};
///
/// let segment = Segment::create_new(IPC_PRIVATE, 5000, 0o600)?;
/// let attachment = segment.attach(&AttachOptions::new().read_only(true))?;
/// segment.remove()?;
///
/// let found = attachers(&[segment.stat()?])?;
/// let own = &found[0].processes()[0];
/// assert_eq!((own.pid(), own.ranges().len()), (std::process::id(), 1));
/// assert_eq!(own.ranges()[0].address(), attachment.as_ptr() as u64);
/// assert!(own.ranges()[0].is_read_only() && found[0].is_complete());
/// # }
/// # std::io::Result::Ok(())
/// ```
///
/// # References
///
/// - [Linux: proc_pid_maps(5)](https://man7.org/linux/man-pages/man5/proc_pid_maps.5.html)
/// - [Linux: ipc_namespaces(7)](https://man7.org/linux/man-pages/man7/ipc_namespaces.7.html)
#[doc(alias = "shm_nattch")]
#[doc(alias = "fuser")]
#[doc(alias = "lsof")]
pub fn attachers(stats: &[SegmentStat]) -> io::Result<Vec<Attachers>> {
    sys::attachers(stats)
}
