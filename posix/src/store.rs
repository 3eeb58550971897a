//! Names, and the place where the objects with a name live.

use std::ffi::{CStr, OsString};
use std::io;

use crate::stat::Stat;
use crate::sys;

/// Says what stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// A shared memory object; on Linux a regular file.
    SharedMemory,
    /// A symbolic link.
    SymbolicLink,
    /// A named pipe.
    Fifo,
    /// A directory.
    Directory,
    /// A socket.
    Socket,
    /// A character or block device.
    Device,
}

/// Describes the place where the objects with a name live; on Linux `/dev/shm`, most often a `tmpfs`.
///
/// Its limits are its mount options, `size=` and `nr_inodes=`; Docker sets 64 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "statvfs")]
pub struct Store {
    pub(crate) total: u64,
    pub(crate) free: u64,
    pub(crate) inodes_total: u64,
    pub(crate) inodes_free: u64,
    pub(crate) read_only: bool,
}

impl Store {
    /// Returns how many bytes it can hold, or 0 if it has no limit of its own.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns how many bytes are free in it; it means nothing where [`total`](Self::total) is 0.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.free
    }

    /// Returns how many objects it can hold, or 0 if it has no limit of its own.
    #[must_use]
    pub fn inodes_total(&self) -> u64 {
        self.inodes_total
    }

    /// Returns how many more objects it can take; it means nothing where
    /// [`inodes_total`](Self::inodes_total) is 0.
    #[must_use]
    pub fn inodes_free(&self) -> u64 {
        self.inodes_free
    }

    /// Returns whether it is mounted read-only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }
}

/// Removes a name. The object stays for those who have it open or mapped, and the name is free at once.
///
/// On Linux this removes whatever has that name but a directory: ask [`kind`] first if it matters.
///
/// # Errors
///
/// - `NotFound` (`ENOENT`): there is no such name.
/// - `PermissionDenied`: it is another user's. `EACCES` with glibc, `EPERM` with musl.
/// - `IsADirectory` (`EISDIR`): it is a directory.
/// - `EINVAL`: no valid name. `ENAMETOOLONG`: over 255 bytes.
/// - `Unsupported`: there is no `shm_unlink`.
///
/// # References
///
/// [POSIX `shm_unlink`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/shm_unlink.html),
/// [shm_unlink(3)](https://man7.org/linux/man-pages/man3/shm_open.3.html)
#[doc(alias = "shm_unlink")]
pub fn unlink(name: &CStr) -> io::Result<()> {
    sys::retry(|| sys::unlink(name))
}

/// Says what stands under a name. On Linux without opening it, so that no permission on it is needed.
///
/// # Errors
///
/// - `NotFound` (`ENOENT`): there is no such name.
/// - `EINVAL`: no valid name. `ENAMETOOLONG`: over 255 bytes.
/// - `PermissionDenied` (`EACCES`): outside Linux, where the object has to be opened for reading.
/// - `Unsupported`: there is no `shm_open`.
///
/// # Platform-specific behavior
///
/// - Linux: `fstatat` without following; all kinds can occur.
/// - Elsewhere: `shm_open` for reading and `fstat`; only [`EntryKind::SharedMemory`] occurs, and anything
///   else is `ENODEV`.
///
/// # References
///
/// [POSIX `fstatat`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/fstatat.html),
/// [fstatat(2)](https://man7.org/linux/man-pages/man2/stat.2.html)
#[doc(alias("fstatat", "lstat"))]
pub fn kind(name: &CStr) -> io::Result<(EntryKind, Stat)> {
    sys::kind(name)
}

/// Sets the permission bits of the object with a name, at most `0o7777`.
///
/// On Linux it is not opened for reading or writing, so that no permission on it is needed: its owner can take back
/// what mode 0 keeps everybody out of.
///
/// # Errors
///
/// - `NotFound` (`ENOENT`): there is no such name.
/// - `PermissionDenied` (`EPERM`): the caller is neither its owner nor privileged.
/// - `ENODEV`: what stands there is no shared memory, and is left alone.
/// - `EINVAL`: no valid name. `ENAMETOOLONG`: over 255 bytes.
/// - `Unsupported`: there is no `shm_open`; or, on Linux, no `/proc`.
///
/// # Platform-specific behavior
///
/// - Linux: `open(O_PATH | O_NOFOLLOW)`, `fstat`, and `chmod` of what was opened, through `/proc/thread-self/fd`. So the
///   object that is looked at is the one that is changed; a link is not followed, nothing is waited for.
/// - Elsewhere: `shm_open` for reading, and `fchmod`; `EACCES` without read permission.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use std::ffi::CString;
/// use shared_region_posix::{OpenOptions, kind, set_mode, unlink};
///
/// let name = CString::new(format!("/doc-set-mode-{}", std::process::id()))?;
/// OpenOptions::new().write(true).create_new(true).mode(0).open(&name)?;
/// set_mode(&name, 0o600)?;
/// assert_eq!(kind(&name)?.1.mode(), 0o600);
/// unlink(&name)?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # References
///
/// [POSIX `chmod`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/chmod.html),
/// [chmod(2)](https://man7.org/linux/man-pages/man2/chmod.2.html),
/// [open(2)](https://man7.org/linux/man-pages/man2/open.2.html), `O_PATH`
#[doc(alias("chmod", "fchmodat"))]
pub fn set_mode(name: &CStr, mode: u32) -> io::Result<()> {
    sys::set_mode(name, mode & 0o7777)
}

/// Gives the object with a name to another user, another group, or both, reaching it as [`set_mode`] does.
///
/// # Errors
///
/// Those of [`set_mode`]; `PermissionDenied` (`EPERM`) also where the owner names another user, or a group that they are
/// not in, without privilege.
///
/// # References
///
/// [POSIX `chown`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/chown.html),
/// [chown(2)](https://man7.org/linux/man-pages/man2/chown.2.html)
#[doc(alias("chown", "fchownat"))]
pub fn set_owner(name: &CStr, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    sys::set_owner(name, uid, gid)
}

/// Asks for the size and the free space of the store.
///
/// # Errors
///
/// - `NotFound` (`ENOENT`): there is no `/dev/shm`.
/// - `Unsupported`: not Linux.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// let store = shared_region_posix::store()?;
/// println!("{} of {} bytes are free", store.free(), store.total());
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # References
///
/// [POSIX `statvfs`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/fstatvfs.html),
/// [statvfs(3)](https://man7.org/linux/man-pages/man3/statvfs.3.html),
/// [tmpfs(5)](https://man7.org/linux/man-pages/man5/tmpfs.5.html)
#[doc(alias = "statvfs")]
pub fn store() -> io::Result<Store> {
    sys::store()
}

/// Returns device and inode of the store's directory: they tell one store from another that takes its place, as for a
/// process that enters another mount namespace.
///
/// # Errors
///
/// - `NotFound` (`ENOENT`): there is no `/dev/shm`.
/// - `Unsupported`: not Linux.
///
/// # References
///
/// [POSIX `stat`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/fstatat.html),
/// [stat(2)](https://man7.org/linux/man-pages/man2/stat.2.html)
pub fn store_identity() -> io::Result<(u64, u64)> {
    sys::store_identity()
}

/// Lists the objects that have a name, in no order: their names without slash, and what `fstat` says.
///
/// No permission on an object is needed. Left out are `sem.*`, where glibc keeps named semaphores, all
/// that is no regular file, and what is removed meanwhile.
///
/// # Errors
///
/// - `NotFound` (`ENOENT`): there is no `/dev/shm`.
/// - `PermissionDenied` (`EACCES`): `/dev/shm` may not be read.
/// - `Unsupported`: not Linux. Elsewhere no call lists them.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// for (name, stat) in shared_region_posix::list()? {
///     println!("{:04o} {:>8} {:>12} {name:?}", stat.mode(), stat.uid(), stat.len());
/// }
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias("readdir", "ipcs"))]
pub fn list() -> io::Result<Vec<(OsString, Stat)>> {
    sys::list()
}
