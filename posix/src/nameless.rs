//! Objects that have no name, and so are in no list.

use std::ffi::OsString;
use std::io;

use crate::holders::Holders;
use crate::stat::Stat;
use crate::sys;

/// Says why an object has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NamelessKind {
    /// Its name was removed, or it has not got one yet; it takes room in the store.
    Removed,
    /// It is a memfd, and takes memory from no store.
    Memfd,
}

/// An object without a name that somebody holds; found by [`nameless`].
#[derive(Clone, Debug)]
pub struct Nameless {
    pub(crate) kind: NamelessKind,
    pub(crate) name: OsString,
    pub(crate) identity: (u64, u64),
    pub(crate) len: u64,
    pub(crate) stat: Option<Stat>,
    pub(crate) holders: Holders,
}

impl Nameless {
    /// Returns why it has no name.
    #[must_use]
    pub fn kind(&self) -> NamelessKind {
        self.kind
    }

    /// Returns what it was called: the last name without slash, or a memfd's debug name. An object that never had a name
    /// is `#` and its inode.
    #[must_use]
    pub fn name(&self) -> &OsString {
        &self.name
    }

    /// Returns device and inode.
    #[must_use]
    pub fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Returns its size in bytes; where [`stat`](Self::stat) is `None`, as far as it is mapped.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a size, and not a collection's")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns what `fstat` says. `None` where nobody has it open, but only mapped, and the caller may not look through
    /// mappings (`CAP_CHECKPOINT_RESTORE`).
    #[must_use]
    pub fn stat(&self) -> Option<&Stat> {
        self.stat.as_ref()
    }

    /// Returns who holds it.
    #[must_use]
    pub fn holders(&self) -> &Holders {
        &self.holders
    }
}

/// Finds the objects that have no name and are held all the same, in the order of their inodes; says `true` if every process
/// could be looked into, so that these are all.
///
/// An object that was removed keeps its memory until the last who has it open or mapped lets go. No list of the store shows
/// it; the store is full, and looks empty. What is under way through a socket is not seen.
///
/// # Errors
///
/// - `NotFound` (`ENOENT`): there is no `/proc`, or it belongs to another PID namespace; or no `/dev/shm`.
/// - `Unsupported`: not Linux.
///
/// # Platform-specific behavior
///
/// Linux: one walk as [`holders`](crate::holders) makes it; an object is looked at through `/proc/PID/fd`, or
/// `/proc/PID/map_files`.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use shared_region_posix::{NamelessKind, Object, nameless};
///
/// let object = Object::memfd(c"example", 0o600)?;
/// object.set_len(4096)?;
/// let identity = object.identity()?;
/// let (found, _complete) = nameless()?;
/// let found = found.iter().find(|found| found.identity() == identity).unwrap();
/// assert_eq!((found.kind(), found.len()), (NamelessKind::Memfd, 4096));
/// assert_eq!(found.name(), "example");
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # References
///
/// [proc_pid_map_files(5)](https://man7.org/linux/man-pages/man5/proc_pid_map_files.5.html)
#[doc(alias("lsof", "deleted"))]
pub fn nameless() -> io::Result<(Vec<Nameless>, bool)> {
    sys::nameless()
}
