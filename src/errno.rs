//! What an errno means whatever the backend: [`Error::from_io`].

use std::io;

use nix::errno::Errno;

use crate::error::{Error, ErrorKind};
use crate::limits::{ADDRESS_SPACE, FILE_SIZE, OPEN_FILES, mappings_exceeded};

impl Error {
    /// Translates an errno that means the same whatever the backend: limits of the process, permissions, sandboxes.
    /// Backends translate first what only they know.
    pub fn from_io(error: &io::Error) -> Self {
        let errno = error.raw_os_error();
        let this = match errno.map(Errno::from_raw) {
            Some(Errno::ENOENT | Errno::EIDRM) => Self::new(ErrorKind::NotFound),
            Some(Errno::EEXIST) => Self::new(ErrorKind::AlreadyExists),
            Some(Errno::EACCES | Errno::EPERM) => Self::new(ErrorKind::PermissionDenied),
            Some(errno @ Errno::EMFILE) => OPEN_FILES.exceeded(errno),
            Some(errno @ Errno::EFBIG) if FILE_SIZE.value().is_some() => FILE_SIZE.exceeded(errno),
            Some(Errno::EFBIG) => {
                Self::new(ErrorKind::NoSpace).reason("that is more than the file system gives one file: ask for less")
            }
            // EWOULDBLOCK is the same number. Calls that know a limit say so before.
            Some(Errno::EAGAIN) => Self::new(ErrorKind::Busy),
            Some(errno @ Errno::ENOMEM) if ADDRESS_SPACE.value().is_some() => ADDRESS_SPACE.exceeded(errno),
            Some(Errno::ENFILE) => Self::new(ErrorKind::NoSpace)
                .reason("the system has no file handle left: raise fs.file-max, or close some"),
            Some(errno @ Errno::ENOMEM) => mappings_exceeded(errno).unwrap_or_else(|| Self::new(ErrorKind::NoSpace)),
            Some(Errno::ENOSPC) => Self::new(ErrorKind::NoSpace),
            Some(Errno::EDQUOT) => {
                Self::new(ErrorKind::NoSpace).reason("the quota of this user or group is used up: ask root for more")
            }
            Some(Errno::ENOSYS) => {
                Self::new(ErrorKind::BackendUnavailable).reason("this kernel or sandbox lacks the system call")
            }
            Some(Errno::EROFS) => {
                Self::new(ErrorKind::BackendUnavailable).reason("the store is mounted read-only: remount it writable")
            }
            Some(other) => Self::new(ErrorKind::Unexpected).reason(other.desc()),
            None if error.kind() == io::ErrorKind::Unsupported => {
                Self::new(ErrorKind::Unsupported).reason(error.to_string())
            }
            None => Self::new(ErrorKind::Unexpected).reason(error.to_string()),
        };
        match errno {
            Some(errno) => this.errno(errno),
            None => this,
        }
    }
}
