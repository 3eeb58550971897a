//! The bytes of an object in this process.

use std::fmt;
use std::io;

use memmap2::MmapRaw;

use crate::access::MapAccess;
use crate::sys;

/// Keeps bytes of a shared memory object mapped; made by [`Object::map`](crate::Object::map).
///
/// It hands out raw pointers, valid until it is dropped, aligned to a page. Nothing more, because no
/// `&[u8]` could be sound here: other processes may write at any time. Accesses that others can race
/// with must be atomic. A mapping survives the object's name and all its descriptors, and is shared with
/// a forked child.
///
/// There is no `flush`: the mapped bytes are the object, and no storage lies behind it to be written to.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use shared_region_posix::{MapAccess, Object};
///
/// let object = Object::memfd(c"example", 0o600)?;
/// object.set_len(4096)?;
/// let (one, two) =
///     (object.map(4096, MapAccess::ReadWrite)?, object.map(4096, MapAccess::ReadWrite)?);
/// // SAFETY: the mapping is live, writable and page-aligned, and every access here is atomic.
/// let writer = unsafe { AtomicU32::from_ptr(one.as_mut_ptr().cast()) };
/// // SAFETY: as above.
/// let reader = unsafe { AtomicU32::from_ptr(two.as_mut_ptr().cast()) };
/// writer.store(7, Ordering::Release);
/// assert_eq!(reader.load(Ordering::Acquire), 7);
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "munmap")]
pub struct Mapping {
    raw: MmapRaw,
    access: MapAccess,
}

impl Mapping {
    pub(crate) fn new(raw: MmapRaw, access: MapAccess) -> Self {
        Self { raw, access }
    }

    /// Returns the address of the first byte.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.raw.as_ptr()
    }

    /// Returns the address of the first byte. Writing through it is a fault if this
    /// [is read-only](Self::is_read_only).
    #[must_use]
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.raw.as_mut_ptr()
    }

    /// Returns the length in bytes as it was asked for; never 0.
    ///
    /// The object may be shorter, or become so.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Returns whether a store to these bytes is a fault.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.access == MapAccess::ReadOnly
    }

    /// Brings every page into memory and into this process' page table now, instead of one by one at
    /// the first touch. No byte changes.
    ///
    /// # Errors
    ///
    /// - `EFAULT`: a page cannot be had: the object ends before it, or the store is full. Touching it
    ///   would be `SIGBUS`.
    /// - `OutOfMemory` (`ENOMEM`).
    ///
    /// # Platform-specific behavior
    ///
    /// - Linux 5.14: `MADV_POPULATE_WRITE`, for a read-only mapping `MADV_POPULATE_READ`.
    /// - Elsewhere, and on older Linux: touches each page, by an atomic `| 0` or by a read. There a page
    ///   that cannot be had is `SIGBUS`.
    ///
    /// # References
    ///
    /// [madvise(2)](https://man7.org/linux/man-pages/man2/madvise.2.html)
    #[doc(alias("madvise", "MADV_POPULATE_WRITE", "MADV_POPULATE_READ"))]
    pub fn prefault(&self) -> io::Result<()> {
        sys::prefault(&self.raw, self.access)
    }

    /// Keeps the mapped pages in memory, so that they are never swapped out. (Not a mutex.)
    ///
    /// Holds until [`unlock`](Self::unlock) or drop, in this process; a forked child does not inherit it.
    ///
    /// # Errors
    ///
    /// - `OutOfMemory` (`ENOMEM`): it would exceed `RLIMIT_MEMLOCK`, or the object ends before the
    ///   mapping does.
    /// - `PermissionDenied` (`EPERM`): that limit is 0 and the process has no `CAP_IPC_LOCK`.
    /// - `WouldBlock` (`EAGAIN`): some pages could not be locked.
    ///
    /// # References
    ///
    /// [POSIX `mlock`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/mlock.html),
    /// [mlock(2)](https://man7.org/linux/man-pages/man2/mlock.2.html)
    #[doc(alias = "mlock")]
    pub fn lock(&self) -> io::Result<()> {
        sys::retry(|| self.raw.lock())
    }

    /// Lets the mapped pages be swapped out again. Without [`lock`](Self::lock) before it does nothing.
    ///
    /// # Errors
    ///
    /// None is known for a live mapping; what `munlock` says is passed on.
    ///
    /// # References
    ///
    /// [POSIX `munlock`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/mlock.html),
    /// [munlock(2)](https://man7.org/linux/man-pages/man2/mlock.2.html)
    #[doc(alias = "munlock")]
    pub fn unlock(&self) -> io::Result<()> {
        sys::retry(|| self.raw.unlock())
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("ptr", &self.as_ptr())
            .field("len", &self.len())
            .field("access", &self.access)
            .finish()
    }
}
