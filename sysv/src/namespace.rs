//! What exists in this IPC namespace: the segments, their limits, the use made of them.

use std::io;

use crate::{SegmentStat, sys};

/// Lists every segment of the caller's IPC namespace.
///
/// No permission on a segment is needed to see it here, so this also tells about those that [`Segment::stat`]
/// refuses. Removed segments that are still attached are in the list. It is no snapshot: what is created or
/// removed meanwhile may be in it or not.
///
/// # Errors
///
/// - [`InvalidData`](io::ErrorKind::InvalidData): `/proc/sysvipc/shm` is not the table that it should be.
/// - [`PermissionDenied`](io::ErrorKind::PermissionDenied) (`EACCES`): `/proc` cannot be read, the kernel is older
///   than 4.17, and there is a segment without read permission.
/// - [`Unsupported`](io::ErrorKind::Unsupported): not Linux.
///
/// # Platform-specific behavior
///
/// Linux only. It reads `/proc/sysvipc/shm`, which shows the IPC namespace of the process that opens it,
/// whichever `/proc` was mounted by whom. Where that cannot be opened it takes the highest table index from
/// `SHM_INFO` and asks for each by `SHM_STAT_ANY`, or by `SHM_STAT` before Linux 4.17.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use shared_region_sysv::{IPC_PRIVATE, Segment, segments};
///
/// let segment = Segment::create_new(IPC_PRIVATE, 4096, 0o600)?;
/// let found = segments();
/// segment.remove()?;
/// assert!(found?.iter().any(|stat| stat.segment() == segment));
/// # }
/// # std::io::Result::Ok(())
/// ```
///
/// # References
///
/// - [Linux: sysvipc(7)](https://man7.org/linux/man-pages/man7/sysvipc.7.html)
/// - [Linux: proc_sysvipc(5)](https://man7.org/linux/man-pages/man5/proc_sysvipc.5.html)
/// - [Linux: shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html)
///
/// [`Segment::stat`]: crate::Segment::stat
#[doc(alias = "SHM_STAT")]
#[doc(alias = "SHM_STAT_ANY")]
#[doc(alias = "ipcs")]
pub fn segments() -> io::Result<Vec<SegmentStat>> {
    sys::segments()
}

/// Reads the limits of the caller's IPC namespace: `shmctl(0, IPC_INFO, &info)`.
///
/// # Errors
///
/// - [`Unsupported`](io::ErrorKind::Unsupported): not Linux.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// let limits = shared_region_sysv::limits()?;
/// assert_eq!(limits.segment_min_bytes(), 1);
/// # }
/// # std::io::Result::Ok(())
/// ```
///
/// # References
///
/// - [Linux: shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html)
#[doc(alias = "shmctl")]
#[doc(alias = "IPC_INFO")]
pub fn limits() -> io::Result<Limits> {
    sys::limits()
}

/// Reads how much is in use in the caller's IPC namespace: `shmctl(0, SHM_INFO, &info)`.
///
/// # Errors
///
/// - [`Unsupported`](io::ErrorKind::Unsupported): not Linux.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// let usage = shared_region_sysv::usage()?;
/// assert!(usage.segments() <= shared_region_sysv::limits()?.segments_max());
/// # }
/// # std::io::Result::Ok(())
/// ```
///
/// # References
///
/// - [Linux: shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html)
#[doc(alias = "shmctl")]
#[doc(alias = "SHM_INFO")]
pub fn usage() -> io::Result<Usage> {
    sys::usage()
}

/// The limits of an IPC namespace: C's `struct shminfo`.
///
/// Linux's defaults for the two that count bytes and pages are close to the largest `unsigned long`: no limit.
#[doc(alias = "shminfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub(crate) segment_max_bytes: u64,
    pub(crate) segment_min_bytes: u64,
    pub(crate) segments_max: u64,
    pub(crate) pages_max: u64,
}

impl Limits {
    /// Returns the largest size of a segment in bytes, `kernel.shmmax`.
    ///
    /// A 64-bit Linux tells a 32-bit process no more than 2^31 - 1, and lets it create larger ones all the same.
    #[doc(alias = "SHMMAX")]
    #[must_use]
    pub const fn segment_max_bytes(&self) -> u64 {
        self.segment_max_bytes
    }

    /// Returns the smallest size of a segment in bytes, which is always 1 on Linux.
    #[doc(alias = "SHMMIN")]
    #[must_use]
    pub const fn segment_min_bytes(&self) -> u64 {
        self.segment_min_bytes
    }

    /// Returns how many segments there can be, `kernel.shmmni`.
    ///
    /// C's `shmseg`, the number that one process may attach, has no meaning on Linux and is left out.
    #[doc(alias = "SHMMNI")]
    #[doc(alias = "SHMSEG")]
    #[must_use]
    pub const fn segments_max(&self) -> u64 {
        self.segments_max
    }

    /// Returns how many pages all segments may have together, `kernel.shmall`.
    #[doc(alias = "SHMALL")]
    #[must_use]
    pub const fn pages_max(&self) -> u64 {
        self.pages_max
    }
}

/// What is in use in an IPC namespace: C's `struct shm_info`.
///
/// Its `swap_attempts` and `swap_successes` are left out: they have been 0 since Linux 2.4.
#[doc(alias = "shm_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub(crate) segments: u64,
    pub(crate) pages_total: u64,
    pub(crate) pages_resident: u64,
    pub(crate) pages_swapped: u64,
    pub(crate) highest_index: u32,
}

impl Usage {
    /// Returns how many segments exist.
    #[doc(alias = "used_ids")]
    #[must_use]
    pub const fn segments(&self) -> u64 {
        self.segments
    }

    /// Returns how many pages all segments have together, touched or not.
    #[doc(alias = "shm_tot")]
    #[must_use]
    pub const fn pages_total(&self) -> u64 {
        self.pages_total
    }

    /// Returns how many of them are in memory.
    ///
    /// The kernel counts huge pages too often. Where some are in use, this is the sum of what
    /// [`segments`] tells instead, unless it is not known of one of them.
    #[doc(alias = "shm_rss")]
    #[must_use]
    pub const fn pages_resident(&self) -> u64 {
        self.pages_resident
    }

    /// Returns how many of them are swapped out.
    #[doc(alias = "shm_swp")]
    #[must_use]
    pub const fn pages_swapped(&self) -> u64 {
        self.pages_swapped
    }

    /// Returns the highest index in use in the kernel's table of segments; 0 also if there is none.
    #[must_use]
    pub const fn highest_index(&self) -> u32 {
        self.highest_index
    }
}
