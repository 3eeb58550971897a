//! What the system says about an object.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// Describes a shared memory object at one moment.
///
/// Everything here comes from one system call. Any of it may have changed by the time it is looked at,
/// but [`device`](Self::device) and [`inode`](Self::inode): those two together name the object for as long
/// as somebody holds it open.
///
/// # Platform-specific behavior
///
/// macOS tells only size, mode and owner; the rest is 0 (times are the epoch). Elsewhere than on Linux
/// do not rely on [`links`](Self::links) and [`allocated`](Self::allocated).
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use shared_region_posix::Object;
///
/// let object = Object::memfd(c"example", 0o640)?;
/// object.set_len(5000)?;
/// let stat = object.stat()?;
/// assert_eq!((stat.len(), stat.mode(), stat.links()), (5000, 0o640, 0));
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias("fstat", "st_size"))]
pub struct Stat {
    pub(crate) len: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) links: u64,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) allocated: u64,
    pub(crate) block_size: u64,
    pub(crate) accessed: Time,
    pub(crate) modified: Time,
    pub(crate) changed: Time,
}

/// Seconds since the epoch, and nanoseconds, as the system tells them: few who look at an object ask for its times.
pub(crate) type Time = (i64, i64);

impl From<&Metadata> for Stat {
    fn from(metadata: &Metadata) -> Self {
        Self {
            len: metadata.size(),
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            links: metadata.nlink(),
            device: metadata.dev(),
            inode: metadata.ino(),
            allocated: metadata.blocks().saturating_mul(512),
            block_size: metadata.blksize(),
            accessed: (metadata.atime(), metadata.atime_nsec()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Stat {
    /// Returns the size in bytes, 0 for an object that its creator has not sized yet.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "0 means that the size is still to come")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns the permission bits, at most `0o7777`.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.mode
    }

    /// Returns the owner's user id.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns the owner's group id.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Returns how many names the object has: 0 once it is unlinked.
    #[must_use]
    pub fn links(&self) -> u64 {
        self.links
    }

    /// Returns the number of the file system that the object lives in.
    #[must_use]
    pub fn device(&self) -> u64 {
        self.device
    }

    /// Returns the object's number in its file system.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Returns how many bytes of storage the object really has.
    ///
    /// Less than [`len`](Self::len) where nobody has touched or reserved it; more where it was reserved
    /// past its end, or because storage comes in whole pages.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Returns the unit in which its storage comes best: the size of a page, of huge pages for an object that
    /// consists of them.
    #[must_use]
    pub fn block_size(&self) -> u64 {
        self.block_size
    }

    /// Returns when it was last read, as far as the system keeps account of that.
    ///
    /// Access through a mapping does not show here reliably.
    #[must_use]
    pub fn accessed(&self) -> SystemTime {
        time(self.accessed)
    }

    /// Returns when its bytes or its size were last changed by a system call.
    ///
    /// Stores through a mapping do not show here reliably.
    #[must_use]
    pub fn modified(&self) -> SystemTime {
        time(self.modified)
    }

    /// Returns when its size, mode, owner or names last changed.
    #[must_use]
    pub fn changed(&self) -> SystemTime {
        time(self.changed)
    }
}

fn time((seconds, nanoseconds): Time) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let start =
        if seconds < 0 { SystemTime::UNIX_EPOCH.checked_sub(whole) } else { SystemTime::UNIX_EPOCH.checked_add(whole) };
    let fraction = Duration::from_nanos(nanoseconds.unsigned_abs());
    start.and_then(|start| start.checked_add(fraction)).unwrap_or(SystemTime::UNIX_EPOCH)
}
