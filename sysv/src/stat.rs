//! What the kernel knows about a segment.

use std::time::{Duration, SystemTime};

use crate::Segment;

/// What the kernel knows about a segment: C's `struct shmid_ds` as plain values.
///
/// A snapshot, from [`Segment::stat`] or from [`segments`](crate::segments).
///
/// # References
///
/// - [POSIX: `<sys/shm.h>`](https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/sys_shm.h.html)
/// - [Linux: shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html)
#[doc(alias = "shmid_ds")]
#[doc(alias = "ipc_perm")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentStat {
    pub(crate) id: i32,
    pub(crate) key: i32,
    pub(crate) size: usize,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) creator_uid: u32,
    pub(crate) creator_gid: u32,
    pub(crate) creator_pid: u32,
    pub(crate) last_pid: u32,
    pub(crate) attach_count: u64,
    pub(crate) attach_time: i64,
    pub(crate) detach_time: i64,
    pub(crate) change_time: i64,
    pub(crate) removed: bool,
    pub(crate) locked: bool,
    pub(crate) sequence: Option<u32>,
    pub(crate) resident: Option<u64>,
    pub(crate) swapped: Option<u64>,
    pub(crate) huge_page_size: Option<u64>,
}

/// Turns the kernel's seconds since 1970 into a time.
fn time(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.max(0).unsigned_abs())
}

/// The same, where 0 means "never".
fn time_or_never(seconds: i64) -> Option<SystemTime> {
    (seconds != 0).then(|| time(seconds))
}

impl SegmentStat {
    /// Returns the segment.
    #[must_use]
    pub const fn segment(&self) -> Segment {
        Segment::from_id(self.id)
    }

    /// Returns the key, or [`IPC_PRIVATE`](crate::IPC_PRIVATE) if it has none.
    ///
    /// On Linux a removed segment has none.
    #[doc(alias = "shm_perm.__key")]
    #[must_use]
    pub const fn key(&self) -> i32 {
        self.key
    }

    /// Returns the size in bytes, as it was asked at creation.
    ///
    /// Memory is taken by whole pages; the size is not rounded. Of a segment of 4 GiB or more a 32-bit process on a
    /// 64-bit Linux learns the low 32 bits, and cannot attach it.
    #[doc(alias = "shm_segsz")]
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Returns the nine permission bits; the flags that C finds above them have their own methods.
    #[doc(alias = "shm_perm.mode")]
    #[must_use]
    pub const fn mode(&self) -> u32 {
        self.mode
    }

    /// Returns the owner's user id.
    #[doc(alias = "shm_perm.uid")]
    #[must_use]
    pub const fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns the owner's group id.
    #[doc(alias = "shm_perm.gid")]
    #[must_use]
    pub const fn gid(&self) -> u32 {
        self.gid
    }

    /// Returns the creator's user id, which never changes.
    #[doc(alias = "shm_perm.cuid")]
    #[must_use]
    pub const fn creator_uid(&self) -> u32 {
        self.creator_uid
    }

    /// Returns the creator's group id, which never changes.
    #[doc(alias = "shm_perm.cgid")]
    #[must_use]
    pub const fn creator_gid(&self) -> u32 {
        self.creator_gid
    }

    /// Returns the id of the process that created it, which may have ended since.
    ///
    /// On Linux this is 0 if that process is not in the caller's PID namespace.
    #[doc(alias = "shm_cpid")]
    #[must_use]
    pub const fn creator_pid(&self) -> u32 {
        self.creator_pid
    }

    /// Returns the id of the process that last attached or detached, or 0 if none has.
    ///
    /// On Linux forking and exiting with the segment attached count too, as the child's doing, and a process
    /// outside of the caller's PID namespace is 0.
    #[doc(alias = "shm_lpid")]
    #[must_use]
    pub const fn last_pid(&self) -> u32 {
        self.last_pid
    }

    /// Returns how many attachments exist, in all processes.
    ///
    /// It follows fork, exec and exit, `SIGKILL` included. Linux counts mappings: a process that changes the
    /// protection of a page in the middle of its attachment makes three of one.
    #[doc(alias = "shm_nattch")]
    #[must_use]
    pub const fn attach_count(&self) -> u64 {
        self.attach_count
    }

    /// Returns when it was last attached (on Linux also by fork), to the second; `None` if it never was.
    #[doc(alias = "shm_atime")]
    #[must_use]
    pub fn attach_time(&self) -> Option<SystemTime> {
        time_or_never(self.attach_time)
    }

    /// Returns when it was last detached, to the second; `None` if it never was.
    #[doc(alias = "shm_dtime")]
    #[must_use]
    pub fn detach_time(&self) -> Option<SystemTime> {
        time_or_never(self.detach_time)
    }

    /// Returns when it was created or last [set](Segment::set), to the second.
    #[doc(alias = "shm_ctime")]
    #[must_use]
    pub fn change_time(&self) -> SystemTime {
        time(self.change_time)
    }

    /// Tells whether it was removed and is only kept for those who have it attached.
    ///
    /// # Platform-specific behavior
    ///
    /// Known on Linux; always false elsewhere.
    #[doc(alias = "SHM_DEST")]
    #[must_use]
    pub const fn is_removed(&self) -> bool {
        self.removed
    }

    /// Tells whether its pages are [locked](Segment::lock) in memory.
    ///
    /// # Platform-specific behavior
    ///
    /// Known on Linux; always false elsewhere.
    #[doc(alias = "SHM_LOCKED")]
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        self.locked
    }

    /// Returns the sequence number that is part of its id and tells apart segments in the same table slot.
    ///
    /// `None` where it comes from `/proc/sysvipc/shm`, which does not show it.
    #[doc(alias = "shm_perm.__seq")]
    #[must_use]
    pub const fn sequence(&self) -> Option<u32> {
        self.sequence
    }

    /// Returns how many of its bytes are in memory.
    ///
    /// Known only from [`segments`](crate::segments) on Linux, where `/proc` can be read. Linux 6.7 and later count huge
    /// pages too often (512 times those of 2 MiB), which is put right here. `None` where the number can have been counted
    /// either way: a multiple of 1 GiB in a segment that is at least as large, while huge pages are in use.
    #[doc(alias = "rss")]
    #[must_use]
    pub const fn resident(&self) -> Option<u64> {
        self.resident
    }

    /// Returns the size in bytes of the huge pages that it consists of, where that shows: from
    /// [`segments`](crate::segments) on Linux, once it has some in memory, and [`resident`](Self::resident) is known.
    ///
    /// `None` is no promise that it has none.
    #[doc(alias = "SHM_HUGETLB")]
    #[must_use]
    pub const fn huge_page_size(&self) -> Option<u64> {
        self.huge_page_size
    }

    /// Returns how many of its bytes are swapped out; known where [`resident`](Self::resident) is.
    #[doc(alias = "swap")]
    #[must_use]
    pub const fn swapped(&self) -> Option<u64> {
        self.swapped
    }
}
