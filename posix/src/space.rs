//! The size of an object and the storage behind it.

use std::io;

use nix::libc;

use crate::object::Object;
use crate::sys;

/// Says what [`Object::reserve`] does to the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sizing {
    /// The size grows, in steps, with what is reserved: for an object that nobody else can see yet.
    Extend,
    /// The size stays, and is moved afterwards, at once: for an object in use.
    Keep,
}

/// Says whether [`Object::reserve`] could reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "without a reservation a full store shows as SIGBUS at a later touch"]
pub enum Reserved {
    /// Every byte of the range has storage.
    Yes,
    /// Nothing is reserved, because the system cannot. [`Sizing::Extend`] has set the size nevertheless.
    No,
}

/// # Size and storage
impl Object {
    /// Sets the size, without reserving storage for it.
    ///
    /// New bytes are zero, but for the rest of what was the last page: what somebody stored there
    /// through a mapping shows up, see [`clear_tail`](Self::clear_tail). Making an object smaller takes
    /// bytes away from under others' mappings, and touching those is `SIGBUS`.
    ///
    /// # Errors
    ///
    /// - `FileTooLarge` (`EFBIG`): it would grow over `RLIMIT_FSIZE`. The limit is compared first, so
    ///   that `SIGXFSZ` is not raised (unless another thread lowers it meanwhile).
    /// - `EINVAL`: the descriptor is for reading only; on macOS also: it has been sized before.
    /// - `PermissionDenied` (`EPERM`): a seal forbids it.
    ///
    /// # Platform-specific behavior
    ///
    /// macOS allows one `ftruncate` per object and rounds the size up to whole pages.
    ///
    /// # References
    ///
    /// [POSIX `ftruncate`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/ftruncate.html),
    /// [ftruncate(2)](https://man7.org/linux/man-pages/man2/truncate.2.html)
    #[doc(alias = "ftruncate")]
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        sys::check_size_limit(&self.file, len)?;
        sys::retry(|| self.file.set_len(len))
    }

    /// Compares a range of more than 16 MiB with what the store and the machine have free, and takes nothing; smaller
    /// ones pass. [`reserve`](Self::reserve) does so by itself; this is for who gets storage by touching it.
    ///
    /// # Errors
    ///
    /// - `StorageFull` (`ENOSPC`): the store has less.
    /// - `OutOfMemory` (`ENOMEM`): the machine's memory and swap are less.
    /// - `FileTooLarge` (`EFBIG`): the end is past what a file can have.
    ///
    /// # Platform-specific behavior
    ///
    /// - Linux: `fstat`, `fstatfs`, `sysinfo`.
    /// - Elsewhere every range passes.
    pub fn check_room(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = offset.checked_add(len).ok_or_else(|| sys::error(libc::EFBIG))?;
        sys::check_room(&self.file, offset, end)
    }

    /// Reserves storage for the `len` bytes from `offset`, so that touching them can no longer fail.
    ///
    /// Bytes that have storage keep their values, the others become zeros. Nothing is mapped.
    ///
    /// After a failure with [`Sizing::Extend`] the object is part grown: drop it. With [`Sizing::Keep`]
    /// size and content are as before and no storage is left past the page of the end, while holes
    /// before it may have been filled; hold the [lock](Self::lock), lest this frees
    /// another grower's reservation too.
    ///
    /// # Errors
    ///
    /// - `StorageFull` (`ENOSPC`): the store is full. A range of more than 16 MiB is compared with
    ///   its free space first, so that asking for too much does not fill a store that others use.
    /// - `OutOfMemory` (`ENOMEM`): a range of more than 16 MiB in a `tmpfs` exceeds the machine's memory
    ///   and swap, which a memfd or a store without limit would find out the hard way; or the kernel
    ///   says so. A container's memory limit is neither: reserving past it may wake the OOM killer (the
    ///   crate `shared-region` compares it first).
    /// - `QuotaExceeded` (`EDQUOT`): the user's quota on the store.
    /// - `FileTooLarge` (`EFBIG`): it reaches over `RLIMIT_FSIZE`; `SIGXFSZ` is not raised.
    /// - `InvalidInput` (`EINVAL`): `len` is 0.
    /// - `EBADF`: the descriptor is for reading only. `EPERM`: a seal forbids it.
    ///
    /// # Platform-specific behavior
    ///
    /// - Linux: `fallocate` in steps of at most 16 MiB, because older kernels undo a whole call when a
    ///   signal comes; each is repeated, with a smaller step, when that happens. (glibc's
    ///   `posix_fallocate` is no substitute: it touches each block where the file system has no
    ///   `fallocate`, and starts from the beginning.) Where the file system cannot: [`Reserved::No`].
    /// - Elsewhere `ftruncate` and [`Reserved::No`]: macOS has no such call, and FreeBSD's
    ///   `posix_fallocate` does no more than `ftruncate` on these objects.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use shared_region_posix::{Object, Reserved, Sizing};
    ///
    /// let object = Object::memfd(c"example", 0o600)?;
    /// assert_eq!(object.reserve(0, 5000, Sizing::Extend)?, Reserved::Yes);
    /// assert!(object.stat()?.len() == 5000 && object.stat()?.allocated() >= 5000);
    ///
    /// // Growing an object that others use: reserve, clear the tail, then move the size at once. Not by `set_len`,
    /// // which would shrink it if somebody who does not ask for the lock has made it larger meanwhile.
    /// if let Some(_lock) = object.lock()? {
    ///     let len = object.stat()?.len(); // again, under the lock
    ///     let _ = object.reserve(len, 20_000 - len, Sizing::Keep)?;
    ///     object.clear_tail(len)?;
    ///     let _ = object.reserve(20_000 - 1, 1, Sizing::Extend)?;
    /// }
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # References
    ///
    /// [POSIX `posix_fallocate`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/posix_fallocate.html),
    /// [fallocate(2)](https://man7.org/linux/man-pages/man2/fallocate.2.html)
    #[doc(alias("fallocate", "posix_fallocate"))]
    pub fn reserve(&self, offset: u64, len: u64, size: Sizing) -> io::Result<Reserved> {
        if len == 0 {
            return Err(sys::error(libc::EINVAL));
        }
        let end = offset.checked_add(len).ok_or_else(|| sys::error(libc::EFBIG))?;
        sys::check_size_limit(&self.file, end)?;
        sys::reserve(&self.file, offset, end, size)
    }

    /// Zeroes the bytes from offset `len` to the end of their page; nothing if a page begins there.
    ///
    /// Called with the size before growing, so that what somebody stored past the end does not show up
    /// as content: the system keeps those bytes. The kernel does the writing, so that this cannot be
    /// hit by `SIGBUS`.
    ///
    /// # Errors
    ///
    /// - `EBADF`: the descriptor is for reading only.
    /// - `PermissionDenied` (`EPERM`): a seal forbids it.
    /// - `Unsupported`: not Linux.
    ///
    /// # Platform-specific behavior
    ///
    /// Linux punches a hole with `fallocate`. Where the file system cannot (`ramfs`), it maps that page for
    /// a moment and reads zeros into it from `/dev/zero`.
    ///
    /// # References
    ///
    /// [fallocate(2)](https://man7.org/linux/man-pages/man2/fallocate.2.html), `FALLOC_FL_PUNCH_HOLE`
    #[doc(alias = "FALLOC_FL_PUNCH_HOLE")]
    pub fn clear_tail(&self, len: u64) -> io::Result<()> {
        sys::clear_tail(&self.file, len)
    }
}
