//! Opening by name.

use std::ffi::CStr;
use std::io;

use nix::libc;

use crate::object::Object;
use crate::stat::Stat;
use crate::store::EntryKind;
use crate::sys;

/// Says how to open a shared memory object by its name.
///
/// There is no "create if missing", the plain `O_CREAT`, on purpose. It leaves two processes that both
/// size and fill the object, one of them zeroing what the other has begun; and with the sysctl
/// `fs.protected_regular`, which many distributions set, Linux answers it with `EACCES` on an existing
/// object of another user, even to root. Open, and on `NotFound` create; on `AlreadyExists` open again.
///
/// # Examples
///
/// ```
/// # #[cfg(not(target_os = "android"))] {
/// use std::ffi::CString;
/// use std::io::ErrorKind;
/// use shared_region_posix::{OpenOptions, unlink};
///
/// let name = CString::new(format!("/doc-open-{}", std::process::id()))?;
/// let create = OpenOptions::new().write(true).create_new(true).mode(0o640);
///
/// let (object, stat) = create.open(&name)?;
/// assert_eq!(stat.len(), 0);
/// object.set_len(4096)?;
/// assert_eq!(create.open(&name).unwrap_err().kind(), ErrorKind::AlreadyExists);
///
/// let (reader, stat) = OpenOptions::new().open(&name)?;
/// assert!(stat.len() >= 4096 && !reader.is_writable());
///
/// unlink(&name)?;
/// assert_eq!(OpenOptions::new().open(&name).unwrap_err().kind(), ErrorKind::NotFound);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
#[doc(alias("O_RDONLY", "O_RDWR", "O_CREAT", "O_EXCL"))]
pub struct OpenOptions {
    write: bool,
    create_new: bool,
    mode: u32,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// Starts with reading only, of an object that must exist, and mode `0o600` should one be created.
    pub fn new() -> Self {
        Self { write: false, create_new: false, mode: 0o600 }
    }

    /// Asks for writing too: `O_RDWR` instead of `O_RDONLY`.
    pub fn write(mut self, write: bool) -> Self {
        self.write = write;
        self
    }

    /// Creates the object, and fails if the name is taken: `O_CREAT | O_EXCL`. Needs [`write`](Self::write).
    ///
    /// The new object has size 0, and others can open it at once. [`Object::create_unlinked`] with
    /// [`Object::link`] avoids that where the system can.
    pub fn create_new(mut self, create_new: bool) -> Self {
        self.create_new = create_new;
        self
    }

    /// Sets the permission bits of a created object, less those in the process' umask.
    ///
    /// [`Object::set_mode`] sets them regardless of it.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Opens or creates the object, and returns with it what one `fstat` said of it.
    ///
    /// A size of 0 means that its creator has not sized it yet: ask [`Object::stat`] again later.
    ///
    /// # Errors
    ///
    /// - `NotFound` (`ENOENT`): there is no such object, also where it was removed while this opened it (Linux), or on
    ///   Linux no `/dev/shm`.
    /// - `AlreadyExists` (`EEXIST`): with `create_new`, the name is taken, by whatever it may be.
    /// - `PermissionDenied` (`EACCES`): its mode does not allow this.
    /// - `EINVAL`: no valid name, or `create_new` without `write`. `ENAMETOOLONG`: over 255 bytes.
    /// - `ENODEV`: what stands there is no shared memory; it is closed again.
    /// - `EMFILE`, `ENFILE`: too many open descriptors; `ENOSPC`: no inode left for a new object.
    ///
    /// # Platform-specific behavior
    ///
    /// On Linux anybody can put anything into `/dev/shm`. So this neither follows a symbolic link nor
    /// waits for the other end of a FIFO (`O_NOFOLLOW`, `O_NONBLOCK`), takes no terminal (`O_NOCTTY`),
    /// and accepts regular files only. Besides `ENODEV` the answer may then be `ELOOP` (a symbolic link),
    /// `EINVAL` (glibc, a directory opened for writing), `ENXIO` (a socket, or a device without driver)
    /// or `EACCES` (a device on a mount with `nodev`); [`kind`](crate::kind) tells what it is.
    ///
    /// Elsewhere names are not files, or in a directory of the system's own, and only the flags named
    /// above are passed, because FreeBSD refuses others. The descriptor is close-on-exec everywhere.
    ///
    /// # References
    ///
    /// [POSIX `shm_open`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/shm_open.html),
    /// [shm_open(3)](https://man7.org/linux/man-pages/man3/shm_open.3.html),
    /// [proc_sys_fs(5)](https://man7.org/linux/man-pages/man5/proc_sys_fs.5.html)
    #[doc(alias = "shm_open")]
    pub fn open(&self, name: &CStr) -> io::Result<(Object, Stat)> {
        if self.create_new && !self.write {
            return Err(sys::error(libc::EINVAL));
        }
        let file = sys::retry(|| sys::open(name, self.write, self.create_new, self.mode))?;
        let (kind, stat) = sys::look(&file).inspect_err(|_| {
            if self.create_new {
                // All or nothing: the name is this call's own.
                let _ = sys::unlink(name);
            }
        })?;
        if kind != EntryKind::SharedMemory {
            return Err(sys::error(libc::ENODEV));
        }
        // The name was looked up before it was removed, and the object opened after. Elsewhere links are not told.
        if cfg!(target_os = "linux") && stat.links() == 0 {
            return Err(sys::error(libc::ENOENT));
        }
        Ok((Object::new(file, self.write, Some(&stat)), stat))
    }
}
