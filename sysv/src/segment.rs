//! The segment: an id of the kernel's, and what can be done with it.

use std::io;

use crate::options::check_mode;
use crate::{AttachOptions, Attachment, GetOptions, IPC_PRIVATE, SegmentStat, sys};

/// A System V shared memory segment, by its id.
///
/// It is a number and owns nothing: copying it costs nothing, and dropping it changes nothing. The segment
/// stays until it is [removed](Self::remove) and its last [`Attachment`] is gone, whatever processes end.
///
/// The kernel gives an id again only after many others, so that an id that has gone is normally an error
/// and not another segment.
///
/// # Platform-specific behavior
///
/// Two settings of Linux remove segments by themselves: with `kernel.shm_rmid_forced=1` one goes with its last
/// attachment, and systemd's `RemoveIPC=` removes those of an ordinary user when that user logs out.
///
/// # Examples
///
/// ```
/// use shared_region_sysv::{AttachOptions, IPC_PRIVATE, Segment};
///
/// let segment = Segment::create_new(IPC_PRIVATE, 5000, 0o600)?;
/// let attachment = segment.attach(&AttachOptions::new())?;
/// assert_eq!(attachment.len(), 5000);
/// assert_eq!(segment.stat()?.attach_count(), 1);
///
/// segment.remove()?; // goes when `attachment` does
/// # #[cfg(target_os = "linux")]
/// assert!(segment.stat()?.is_removed());
/// # std::io::Result::Ok(())
/// ```
///
/// # References
///
/// - [Linux: sysvipc(7)](https://man7.org/linux/man-pages/man7/sysvipc.7.html)
#[doc(alias = "shmid")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    id: i32,
}

impl Segment {
    /// Names a segment by an id that came from elsewhere: a parent process, an X11 client, `ipcs`.
    #[must_use]
    pub const fn from_id(id: i32) -> Self {
        Self { id }
    }

    /// Returns the id, the number that C's `shmget` returns.
    #[must_use]
    pub const fn id(self) -> i32 {
        self.id
    }

    /// Opens the existing segment of `key`: `shmget(key, 0, 0)`.
    ///
    /// It asks for no permission; that is checked when the segment is used.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](io::ErrorKind::NotFound) (`ENOENT`): the key has no segment.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the key is [`IPC_PRIVATE`], with which C would create a
    ///   segment or fail by the size.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): no System V shared memory on this platform.
    ///
    /// # References
    ///
    /// - [POSIX: `shmget`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/shmget.html)
    /// - [Linux: shmget(2)](https://man7.org/linux/man-pages/man2/shmget.2.html)
    #[doc(alias = "shmget")]
    pub fn open(key: i32) -> io::Result<Self> {
        if key == IPC_PRIVATE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "IPC_PRIVATE names no segment that could be opened",
            ));
        }
        GetOptions::new().get(key, 0)
    }

    /// Creates a segment of `size` bytes for a `key` that has none: `shmget(key, size, IPC_CREAT | IPC_EXCL | mode)`.
    ///
    /// Its bytes are zeros. Its mode is `mode`, whatever the umask. [`IPC_PRIVATE`] never has a segment.
    ///
    /// # Errors
    ///
    /// Those of [`GetOptions::get`], among them [`AlreadyExists`](io::ErrorKind::AlreadyExists) (`EEXIST`).
    ///
    /// # References
    ///
    /// - [POSIX: `shmget`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/shmget.html)
    /// - [Linux: shmget(2)](https://man7.org/linux/man-pages/man2/shmget.2.html)
    #[doc(alias = "shmget")]
    #[doc(alias = "IPC_CREAT")]
    #[doc(alias = "IPC_EXCL")]
    pub fn create_new(key: i32, size: usize, mode: u32) -> io::Result<Self> {
        GetOptions::new().create(true).exclusive(true).mode(mode).get(key, size)
    }

    /// Maps the segment into this process.
    ///
    /// It calls `shmat`, and then `IPC_STAT` for the length. In this order the length is right: while attached,
    /// a segment keeps its id. Attaching twice gives two addresses of the same bytes. A forked child
    /// inherits the mapping, and `exec` detaches.
    ///
    /// # Errors
    ///
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied) (`EACCES`): no read permission; or no write
    ///   permission, and [`read_only`](AttachOptions::read_only) was not asked; or no execute permission where
    ///   [`executable`](AttachOptions::executable) was.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the segment has gone, or the address is misaligned or in
    ///   use (all `EINVAL`); or the address is 0, or too low to be rounded down (no code, nothing was called).
    /// - `EIDRM`, of no kind: the segment was removed during the call.
    /// - [`OutOfMemory`](io::ErrorKind::OutOfMemory) (`ENOMEM`): no room in the address space, or over
    ///   `RLIMIT_AS`, or the address is outside of what a process may use.
    /// - [`FileTooLarge`](io::ErrorKind::FileTooLarge): the segment is over `isize::MAX` bytes (on 32-bit systems).
    /// - [`Unsupported`](io::ErrorKind::Unsupported): the option, or System V shared memory as a whole, does not
    ///   exist on this platform.
    ///
    /// # Platform-specific behavior
    ///
    /// On Linux a [removed](Self::remove) segment can be attached by its id as long as it is attached somewhere.
    /// Elsewhere this can fail.
    ///
    /// # References
    ///
    /// - [POSIX: `shmat`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/shmat.html)
    /// - [Linux: shmat(2)](https://man7.org/linux/man-pages/man2/shmop.2.html)
    #[doc(alias = "shmat")]
    pub fn attach(self, options: &AttachOptions) -> io::Result<Attachment> {
        Attachment::attach(self, options)
    }

    /// Reads what the kernel knows about the segment: `shmctl(id, IPC_STAT, &ds)`.
    ///
    /// # Errors
    ///
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied) (`EACCES`): no read permission. This holds for the
    ///   owner too. [`segments`](crate::segments) needs none.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) (`EINVAL`), or `EIDRM`, of no kind: the segment has gone.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): no System V shared memory on this platform.
    ///
    /// # References
    ///
    /// - [POSIX: `shmctl`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/shmctl.html)
    /// - [Linux: shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html)
    #[doc(alias = "shmctl")]
    #[doc(alias = "IPC_STAT")]
    pub fn stat(self) -> io::Result<SegmentStat> {
        sys::stat(self.id)
    }

    /// Gives the segment another owner, group and mode: `shmctl(id, IPC_SET, &ds)`.
    ///
    /// All three are set; to change one, take the others from [`stat`](Self::stat). Attachments that exist
    /// stay as they are. For the owner, the creator and privileged processes only; the creator remains one
    /// for good, so that giving a segment away does not keep its creator out.
    ///
    /// # Errors
    ///
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied) (`EPERM`): neither owner nor creator nor privileged.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the mode is over 0o777 (no code, nothing was called); or
    ///   (`EINVAL`) the segment has gone, or an id is not valid: `u32::MAX` does not mean "unchanged" here.
    /// - `EIDRM`, of no kind: the segment was removed during the call.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): no System V shared memory on this platform.
    ///
    /// # Examples
    ///
    /// ```
    /// use shared_region_sysv::{IPC_PRIVATE, Segment};
    ///
    /// let segment = Segment::create_new(IPC_PRIVATE, 4096, 0o600)?;
    /// let stat = segment.stat()?;
    /// segment.set(stat.uid(), stat.gid(), 0o640)?;
    /// assert_eq!(segment.stat()?.mode(), 0o640);
    /// segment.remove()?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # References
    ///
    /// - [POSIX: `shmctl`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/shmctl.html)
    /// - [Linux: shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html)
    #[doc(alias = "shmctl")]
    #[doc(alias = "IPC_SET")]
    pub fn set(self, uid: u32, gid: u32, mode: u32) -> io::Result<()> {
        check_mode(mode)?;
        sys::set(self.id, uid, gid, mode)
    }

    /// Removes the segment: `shmctl(id, IPC_RMID, NULL)`.
    ///
    /// Its key is free at once. The bytes stay for those who have it attached and go with the last of them;
    /// until then [`SegmentStat::is_removed`] is true. On Linux, removing it once more in that time succeeds.
    /// For the owner, the creator and privileged processes only; the mode does not matter.
    ///
    /// # Errors
    ///
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied) (`EPERM`): neither owner nor creator nor privileged.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) (`EINVAL`), or `EIDRM`, of no kind: the segment has gone.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): no System V shared memory on this platform.
    ///
    /// # References
    ///
    /// - [POSIX: `shmctl`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/shmctl.html)
    /// - [Linux: shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html)
    #[doc(alias = "shmctl")]
    #[doc(alias = "IPC_RMID")]
    pub fn remove(self) -> io::Result<()> {
        sys::remove(self.id)
    }

    /// Keeps the segment's pages from being swapped out: `shmctl(id, SHM_LOCK, NULL)`.
    ///
    /// The pages that are in memory stay there, and others once they were touched: locking brings none in. It is a
    /// property of the segment, which outlives the process. Locking twice is locking once.
    ///
    /// # Errors
    ///
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied) (`EPERM`): without `CAP_IPC_LOCK`, the caller is
    ///   neither owner nor creator, or its `RLIMIT_MEMLOCK` is 0.
    /// - [`OutOfMemory`](io::ErrorKind::OutOfMemory) (`ENOMEM`): over `RLIMIT_MEMLOCK`.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) (`EINVAL`), or `EIDRM`, of no kind: the segment has gone.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): not Linux.
    ///
    /// # References
    ///
    /// - [Linux: shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html)
    #[doc(alias = "shmctl")]
    #[doc(alias = "SHM_LOCK")]
    pub fn lock(self) -> io::Result<()> {
        sys::lock(self.id)
    }

    /// Allows the segment's pages to be swapped out again: `shmctl(id, SHM_UNLOCK, NULL)`.
    ///
    /// Unlocking what is not locked succeeds.
    ///
    /// # Errors
    ///
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied) (`EPERM`): neither owner nor creator, and without
    ///   `CAP_IPC_LOCK`.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) (`EINVAL`), or `EIDRM`, of no kind: the segment has gone.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): not Linux.
    ///
    /// # References
    ///
    /// - [Linux: shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html)
    #[doc(alias = "shmctl")]
    #[doc(alias = "SHM_UNLOCK")]
    pub fn unlock(self) -> io::Result<()> {
        sys::unlock(self.id)
    }
}
