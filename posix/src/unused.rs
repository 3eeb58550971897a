//! Whether anybody holds an object, by the kernel's own word.

use std::ffi::CStr;
use std::io;

use crate::sys;

/// Asks the kernel whether nobody holds the object with a name: has it open, has it mapped, or has its descriptor on the
/// way through a socket, in any program and any PID namespace. No process is looked at, and `/proc` is not needed.
///
/// The answer is exact at the moment of the question. A descriptor opened with `O_PATH` does not count, as it gives no
/// access to the bytes.
///
/// For the microseconds of the question another process that opens the object waits, or with `O_NONBLOCK` is told
/// `EAGAIN`; if this process is stopped just then, for as long as the sysctl `fs.lease-break-time` says. No signal reaches
/// this process. Those who ask by this crate take turns, by a lock on `/dev/shm`; who keeps that lock for ever delays each
/// question by a second, after which it is asked without it.
///
/// # Errors
///
/// - `NotFound` (`ENOENT`): there is no such name.
/// - `EACCES`: the caller is not its owner and lacks `CAP_LEASE`, or its mode lets nobody open it.
/// - `EOPNOTSUPP`: the store is of a file system of which it is not known that leases are exact there: another one than
///   tmpfs, ramfs and ext4. (On overlayfs they are not: a mapping goes unnoticed.)
/// - `EINVAL`: the sysctl `fs.leases-enable` is 0; or no valid name.
/// - `WouldBlock` (`EAGAIN`): somebody else has had a lease on it for a second.
/// - `ENODEV`: what stands there is no shared memory.
/// - `Unsupported`: not Linux.
///
/// # Platform-specific behavior
///
/// Linux: `fcntl(F_SETLEASE, F_WRLCK)` on a description opened for the question, which is granted if it is the only one.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use std::ffi::CString;
/// use shared_region_posix::{OpenOptions, is_unused, unlink_if_unused};
///
/// let name = CString::new(format!("/doc-unused-{}", std::process::id()))?;
/// let (object, _) = OpenOptions::new().write(true).create_new(true).open(&name)?;
/// assert!(!is_unused(&name)? && !unlink_if_unused(&name)?);
/// drop(object);
/// assert!(is_unused(&name)? && unlink_if_unused(&name)?);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # References
///
/// [F_SETLEASE(2const)](https://man7.org/linux/man-pages/man2/F_SETLEASE.2const.html),
/// [proc_sys_fs(5)](https://man7.org/linux/man-pages/man5/proc_sys_fs.5.html)
#[doc(alias("F_SETLEASE", "fuser"))]
pub fn is_unused(name: &CStr) -> io::Result<bool> {
    sys::is_unused(name)
}

/// Asks [`is_unused`] of many: one answer for each name, in the order of the names, each exact at its own moment.
///
/// It takes about half as many system calls. Others who ask by this crate come to their turn between groups of 256.
///
/// # Errors
///
/// Each answer has those of [`is_unused`] by itself: one that fails says nothing about the others.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use std::ffi::CString;
/// use shared_region_posix::{OpenOptions, are_unused, unlink};
///
/// let name = CString::new(format!("/doc-are-unused-{}", std::process::id()))?;
/// OpenOptions::new().write(true).create_new(true).open(&name)?;
/// let answers = are_unused(&[&name, c"/doc-there-is-no-such-name"]);
/// unlink(&name)?;
/// assert!(matches!(answers[..], [Ok(true), Err(_)]));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn are_unused(names: &[&CStr]) -> Vec<io::Result<bool>> {
    sys::are_unused(names)
}

/// Removes a name if nobody holds its object, and says whether it did. Asking and removing are one act: who comes in
/// between waits, and then finds no such name. (Who had looked the name up already, and opens the object after the removal,
/// gets it without a name: [`OpenOptions::open`](crate::OpenOptions::open) takes that for a missing one.)
///
/// What is left is a window of one system call in which a process that does not ask can give the name to another object.
///
/// # Errors
///
/// Those of [`is_unused`], and those of [`unlink`](crate::unlink).
pub fn unlink_if_unused(name: &CStr) -> io::Result<bool> {
    sys::unlink_if_unused(name)
}

/// Returns whether [`is_unused`] is answered here for one's own objects, as far as that shows beforehand: by the store's file
/// system and the sysctl `fs.leases-enable`. `false` elsewhere than on Linux.
#[must_use]
pub fn tells_unused() -> bool {
    sys::tells_unused()
}

/// An object that is known and not held: its device and inode cannot become another object's as long as this is there, and
/// yet it counts as unused.
///
/// Made while an object is still mapped, it tells the last user, once that is unmapped and closed, what to remove.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use std::ffi::CString;
/// use shared_region_posix::{OpenOptions, Pin};
///
/// let name = CString::new(format!("/doc-pin-{}", std::process::id()))?;
/// let (object, _) = OpenOptions::new().write(true).create_new(true).open(&name)?;
/// let pin = Pin::of(&name)?;
/// assert_eq!(pin.identity(), object.identity()?);
/// drop(object);
/// assert!(pin.unlink_if_unused(&name)?);
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # References
///
/// [open(2)](https://man7.org/linux/man-pages/man2/open.2.html), `O_PATH`
#[derive(Debug)]
#[doc(alias = "O_PATH")]
pub struct Pin(sys::Pin);

impl Pin {
    /// Takes down what a name means now. No permission on the object is needed.
    ///
    /// # Errors
    ///
    /// - `NotFound` (`ENOENT`): there is no such name.
    /// - `EINVAL`: no valid name. `ENAMETOOLONG`: over 255 bytes.
    /// - `EMFILE`, `ENFILE`: too many open descriptors.
    /// - `Unsupported`: not Linux.
    pub fn of(name: &CStr) -> io::Result<Self> {
        sys::Pin::of(name).map(Self)
    }

    /// Returns device and inode of the object.
    #[must_use]
    pub fn identity(&self) -> (u64, u64) {
        self.0.identity()
    }

    /// Removes the name as [`unlink_if_unused`] does, if it still means this object.
    ///
    /// # Errors
    ///
    /// Those of [`unlink_if_unused`], and `NotFound` (`ENOENT`): the name means another object, which is left alone.
    pub fn unlink_if_unused(self, name: &CStr) -> io::Result<bool> {
        self.0.unlink_if_unused(name)
    }
}
