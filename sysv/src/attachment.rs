//! A segment mapped into this process.

use std::io;
use std::mem;
use std::ptr::NonNull;

use crate::{AttachOptions, Segment, sys};

/// A segment mapped into this process.
///
/// It hands out pointers and no references: other processes can write at any time, which a `&[u8]` may not
/// see. Access the bytes with atomics, or under a lock that all processes share.
///
/// Dropping it detaches and never removes the segment. A forked child has an attachment of its own: what either
/// process detaches, the other keeps.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// use shared_region_sysv::{AttachOptions, IPC_PRIVATE, Segment};
///
/// let segment = Segment::create_new(IPC_PRIVATE, 4096, 0o600)?;
/// let attachment = segment.attach(&AttachOptions::new());
/// segment.remove()?;
/// let attachment = attachment?;
///
/// // SAFETY: the attachment is writable, starts at a page, has 4096 bytes and outlives the reference; all users
/// // of these four bytes use them as an atomic.
/// let counter = unsafe { AtomicU32::from_ptr(attachment.as_mut_ptr().cast()) };
/// counter.fetch_add(1, Ordering::Relaxed);
/// assert_eq!(counter.load(Ordering::Relaxed), 1);
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Attachment {
    /// From `sys::attach`, and detached by `detach` or by `drop` alone.
    start: NonNull<u8>,
    len: usize,
    segment: Segment,
    read_only: bool,
}

// SAFETY: a mapping belongs to the process and not to a thread, and `shmdt` works from any thread. So an attachment
// may be used and dropped on another thread than the one that made it. shmop(2)
unsafe impl Send for Attachment {}

// SAFETY: through `&Attachment` there are plain values and raw pointers only, and whoever uses such a pointer
// answers for data races. So several threads may hold the reference. Nomicon, "Send and Sync"
unsafe impl Sync for Attachment {}

impl Attachment {
    /// Attaches, then asks the kernel for the length: in this order the id cannot have come to mean another segment.
    pub(crate) fn attach(segment: Segment, options: &AttachOptions) -> io::Result<Self> {
        let start = sys::attach(segment.id(), options)?;
        // From here on dropping it detaches.
        let mut attachment = Self { start, len: 0, segment, read_only: options.read_only };
        attachment.len = segment.stat()?.size();
        if isize::try_from(attachment.len).is_err() {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("a segment of {} bytes is over isize::MAX", attachment.len),
            ));
        }
        Ok(attachment)
    }

    /// Returns the address of the first byte, which is the start of a page.
    ///
    /// It is valid for reads of [`len`](Self::len) bytes until the attachment is dropped or detached.
    #[must_use]
    pub const fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    /// Returns the address of the first byte, for writing.
    ///
    /// It is the address of [`as_ptr`](Self::as_ptr), valid for writes too unless
    /// [`is_read_only`](Self::is_read_only): then a write ends the process with `SIGSEGV`.
    #[must_use]
    pub const fn as_mut_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Returns the number of bytes that may be accessed.
    ///
    /// This is the size that was asked at creation. The mapping goes on to the end of the last page.
    #[doc(alias = "shm_segsz")]
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a segment is never empty")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns the segment that is attached.
    #[must_use]
    pub const fn segment(&self) -> Segment {
        self.segment
    }

    /// Tells whether the segment was attached for reading only.
    #[doc(alias = "SHM_RDONLY")]
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Detaches now, and tells whether that worked.
    ///
    /// Dropping does the same and ignores the error.
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) (`EINVAL`): other code, such as C in the same process, has
    ///   already unmapped it. Nothing is left to be done.
    ///
    /// # References
    ///
    /// - [POSIX: `shmdt`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/shmdt.html)
    /// - [Linux: shmdt(2)](https://man7.org/linux/man-pages/man2/shmop.2.html)
    #[doc(alias = "shmdt")]
    pub fn detach(self) -> io::Result<()> {
        let start = self.start;
        mem::forget(self);
        // SAFETY: `start` came from `sys::attach`; `self` was taken by value and forgotten, so nobody detaches it a
        // second time, and no pointer of ours is valid any more. shmop(2)
        unsafe { sys::detach(start) }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // SAFETY: `start` came from `sys::attach`, and `detach` forgets the value, so that this is the only call.
        // Whoever still holds a pointer was told that it is valid until now. shmop(2)
        let _ = unsafe { sys::detach(self.start) };
    }
}
