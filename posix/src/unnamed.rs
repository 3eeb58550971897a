//! What takes memory without a name.

use std::ffi::OsStr;
use std::io;

use crate::holders::Holder;
use crate::stat::Stat;
use crate::sys;

/// Objects without a name that somebody holds, as far as could be seen; made by [`unnamed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnnamedObjects {
    pub(crate) objects: Vec<UnnamedObject>,
    pub(crate) complete: bool,
}

impl UnnamedObjects {
    /// Returns the objects.
    #[must_use]
    pub fn objects(&self) -> &[UnnamedObject] {
        &self.objects
    }

    /// Returns whether every process of the machine could be looked into, and every mapping followed.
    ///
    /// What no process shows, such as a descriptor on its way through a socket, is missing even so.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}

/// An object that was removed, has not got its name yet, or never gets one, and that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnnamedObject {
    pub(crate) name: Box<OsStr>,
    pub(crate) is_memfd: bool,
    pub(crate) stat: Stat,
    pub(crate) processes: Vec<Holder>,
}

impl UnnamedObject {
    /// Returns the name that it had, without a slash, or the one that a memfd has for debugging. Any object may have the
    /// same.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Returns whether it is a memfd, which is no part of the store and never had a name there.
    #[doc(alias = "memfd_create")]
    #[must_use]
    pub fn is_memfd(&self) -> bool {
        self.is_memfd
    }

    /// Returns what the system says about it.
    #[must_use]
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Returns the processes that hold it, by ascending id; at least one.
    #[must_use]
    pub fn processes(&self) -> &[Holder] {
        &self.processes
    }
}

/// Finds the objects that have no name and take memory all the same, until the last process that holds one ends: removed
/// ones, those that are just being made, and memfds.
///
/// This looks into every process, as [`holders`](crate::holders) does, and does not see what that does not. A mapping
/// without a descriptor is followed for whoever has `CAP_SYS_ADMIN` or `CAP_CHECKPOINT_RESTORE` alone; elsewhere such an
/// object is left out, and the answer is [incomplete](UnnamedObjects::is_complete).
///
/// # Errors
///
/// Those of [`holders`](crate::holders).
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use shared_region_posix::{Object, unnamed};
///
/// let object = Object::memfd(c"doc-unnamed", 0o600)?;
/// object.set_len(4096)?;
///
/// let inode = object.stat()?.inode();
/// let found = unnamed()?;
/// let own = found.objects().iter().find(|found| found.stat().inode() == inode && found.is_memfd()).unwrap();
/// assert_eq!(own.name(), "doc-unnamed");
/// assert!(own.processes().iter().any(|holder| holder.pid() == std::process::id()));
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # References
///
/// [memfd_create(2)](https://man7.org/linux/man-pages/man2/memfd_create.2.html),
/// [proc_pid_map_files(5)](https://man7.org/linux/man-pages/man5/proc_pid_map_files.5.html)
#[doc(alias = "lsof")]
pub fn unnamed() -> io::Result<UnnamedObjects> {
    sys::unnamed()
}
