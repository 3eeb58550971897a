//! The lock by which those who change an object as a whole take turns.

use std::ffi::CStr;
use std::io;

use crate::object::Object;
use crate::sys;

/// Keeps others out who grow, remove or replace an object; see [`Object::lock`]. Dropping it lets them in.
///
/// A child that was forked while it was held neither holds it nor releases it.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct Lock(sys::Lock);

impl Lock {
    /// Takes the lock of the object that a name means, which need not be open here; or returns `None` at once if somebody
    /// has it, or a lease on the object.
    ///
    /// The name may mean another object as soon as it is taken: compare [`identity`](Self::identity) with what
    /// [`kind`](crate::kind) says then.
    ///
    /// # Errors
    ///
    /// - `NotFound` (`ENOENT`): there is no such name.
    /// - `PermissionDenied` (`EACCES`): the object's mode lets this process neither read nor write it.
    /// - `ENODEV`: what stands there is no shared memory.
    /// - `EINVAL`: no valid name. `ENAMETOOLONG`: over 255 bytes.
    /// - `EMFILE`, `ENFILE`: too many open descriptors; `ENOLCK`: too many locks.
    /// - `Unsupported`: not Linux.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use std::ffi::CString;
    /// use shared_region_posix::{Lock, OpenOptions, kind, unlink};
    ///
    /// let name = CString::new(format!("/doc-lock-{}", std::process::id()))?;
    /// OpenOptions::new().write(true).create_new(true).open(&name)?;
    /// if let Some(lock) = Lock::of(&name)? {
    ///     assert!(Lock::of(&name)?.is_none());
    ///     let (_, stat) = kind(&name)?;
    ///     if (stat.device(), stat.inode()) == lock.identity() {
    ///         unlink(&name)?; // and of all who do so by this lock nobody else
    ///     }
    /// }
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # References
    ///
    /// [flock(2)](https://man7.org/linux/man-pages/man2/flock.2.html)
    #[doc(alias = "flock")]
    pub fn of(name: &CStr) -> io::Result<Option<Self>> {
        Ok(sys::lock_named(name)?.map(Self))
    }

    /// Returns device and inode of the object.
    #[must_use]
    pub fn identity(&self) -> (u64, u64) {
        self.0.identity()
    }
}

impl Object {
    /// Takes the lock by which those who grow, remove or replace one object exclude each other, or returns `None` at once
    /// if somebody has it.
    ///
    /// It is advisory: it binds those who take it. It belongs to the guard alone, not to this
    /// descriptor: a clone, another handle in this process and a forked child are all kept out. Anybody
    /// who may read the object can take it, and keep it, so wait for it with a deadline only.
    ///
    /// # Errors
    ///
    /// - `PermissionDenied` (`EACCES`): the object's mode does not let this process read it (any more).
    /// - `NotFound` (`ENOENT`): there is no `/proc`, through which the object is opened anew.
    /// - `EMFILE`, `ENFILE`: too many open descriptors; `ENOLCK`: too many locks.
    /// - `Unsupported`: not Linux.
    ///
    /// # Platform-specific behavior
    ///
    /// Linux: `flock(LOCK_EX | LOCK_NB)` on a new open of `/proc/thread-self/fd/N`. On this object's own
    /// descriptor it would exclude no clone and no forked child, for those share its open file
    /// description.
    ///
    /// # References
    ///
    /// [flock(2)](https://man7.org/linux/man-pages/man2/flock.2.html),
    /// [proc_pid_fd(5)](https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html)
    #[doc(alias = "flock")]
    pub fn lock(&self) -> io::Result<Option<Lock>> {
        Ok(sys::lock(&self.file)?.map(Lock))
    }
}
