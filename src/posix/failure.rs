//! What errnos of the POSIX calls mean.

use std::ffi::CStr;
use std::io;

use nix::errno::Errno;
use nix::libc;
use shared_region_posix::{self as leaf, EntryKind, Object};

use super::{NAME, native};
use crate::error::{Error, ErrorKind};
use crate::name::RegionId;

/// What is being done to which object.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    id: Option<&'a RegionId>,
    operation: &'static str,
}

impl<'a> Subject<'a> {
    pub(super) fn new(id: &'a RegionId, operation: &'static str) -> Self {
        Self { id: Some(id), operation }
    }

    /// An object that never gets a name.
    pub(super) fn unnamed(operation: &'static str) -> Self {
        Self { id: None, operation }
    }

    /// The name for system calls; empty, and so nowhere found, where there is none.
    pub(super) fn native(&self) -> &'a CStr {
        self.id.map_or(c"", native)
    }

    /// Adds what this knows to an error.
    pub(super) fn told(&self, error: Error) -> Error {
        error.context(self.operation, NAME, self.id)
    }

    pub(super) fn error(&self, kind: ErrorKind) -> Error {
        self.told(Error::new(kind))
    }

    /// Translates the failure of a call that was given the name.
    pub(super) fn failed(&self, error: &io::Error) -> Error {
        let errno = error.raw_os_error().map(Errno::from_raw);
        // Only a missing entry is told by its errno: a foreign one has many, depending on its kind and mount.
        if self.id.is_some()
            && !matches!(errno, None | Some(Errno::ENOENT | Errno::EEXIST | Errno::EMFILE | Errno::ENFILE))
        {
            if let Ok((kind, _)) = leaf::kind(self.native()) {
                if kind != EntryKind::SharedMemory {
                    return self.foreign(kind).errno(errno.map_or(0, |errno| errno as i32));
                }
            }
        }
        self.told(match errno {
            Some(Errno::ENODEV) => Error::new(ErrorKind::NotSharedMemory).errno(Errno::ENODEV as i32),
            _ => of_store(error),
        })
    }

    /// Says that something else has the name.
    pub(super) fn foreign(&self, kind: EntryKind) -> Error {
        let what = match kind {
            EntryKind::SymbolicLink => "a symbolic link",
            EntryKind::Fifo => "a FIFO",
            EntryKind::Directory => "a directory",
            EntryKind::Socket => "a socket",
            _ => "a device",
        };
        self.error(ErrorKind::NotSharedMemory)
            .reason(format!("{what} has that name, and is left alone: remove it by other means"))
    }

    /// Lets `AlreadyExists` win over a failure, if the name was taken meanwhile.
    pub(super) fn or_taken(&self, error: Error) -> Error {
        if leaf::kind(self.native()).is_ok() { self.taken() } else { error }
    }

    /// Says that something has the name, as the system would.
    pub(super) fn taken(&self) -> Error {
        self.error(ErrorKind::AlreadyExists).errno(Errno::EEXIST as i32)
    }
}

/// Translates the failure to take over a descriptor.
pub(super) fn not_adoptable(error: &io::Error, subject: &Subject<'_>) -> Error {
    let (kind, why) = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENODEV) => (
            ErrorKind::NotSharedMemory,
            "the descriptor is of a pipe, socket, directory or device, which cannot be shared memory",
        ),
        Some(Errno::EACCES) => (
            ErrorKind::PermissionDenied,
            "the descriptor is open for writing alone, and mappings read: open it for both",
        ),
        Some(Errno::EBADF) => (
            ErrorKind::PermissionDenied,
            "the descriptor was opened with O_PATH and gives no access: open it for reading",
        ),
        _ => return subject.failed(error),
    };
    let told = subject.error(kind).reason(why);
    match error.raw_os_error() {
        Some(errno) => told.errno(errno),
        None => told,
    }
}

/// Translates the failure to size an object: names the store or limit, and how much is free.
pub(super) fn no_room(error: &io::Error, size: usize, object: &Object) -> Error {
    let errno = error.raw_os_error().map(Errno::from_raw);
    match errno {
        Some(Errno::ENOSPC) => {
            let in_store = object.stat().is_ok_and(|stat| stat.links() > 0) || object.can_link();
            let free = leaf::store().ok().filter(|_| in_store);
            let reason = match free {
                Some(store) => {
                    format!(
                        "{size} bytes do not fit into /dev/shm ({} free of {}): enlarge it or ask for less",
                        store.free(),
                        store.total()
                    )
                }
                None => format!("{size} bytes do not fit into memory: free some or ask for less"),
            };
            Error::new(ErrorKind::NoSpace).reason(reason).errno(Errno::ENOSPC as i32)
        }
        Some(Errno::ENOMEM) => Error::new(ErrorKind::NoSpace)
            .reason(format!("{size} bytes do not fit into memory: free some or ask for less"))
            .errno(Errno::ENOMEM as i32),
        _ => of_store(error),
    }
}

/// Whether there is no store; any other failure to look at it says nothing about that.
fn is_absent(store: io::Result<leaf::Store>) -> bool {
    store.is_err_and(|error| matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)))
}

/// Translates what depends on the store as a whole.
pub(super) fn of_store(error: &io::Error) -> Error {
    let absent = |why: &'static str| Error::new(ErrorKind::BackendUnavailable).reason(why);
    let errno = error.raw_os_error();
    let told = match errno.map(Errno::from_raw) {
        // Of a store that is there it says that the object is missing.
        Some(Errno::ENOENT) if !is_absent(leaf::store()) => return Error::from_io(error),
        Some(Errno::ENOENT | Errno::ENOTDIR) => absent("there is no /dev/shm here: mount a tmpfs there"),
        Some(Errno::EPERM) if leaf::store().is_err() || leaf::list().is_err() => {
            absent("a sandbox forbids the system calls")
        }
        Some(Errno::ENOSPC) => match leaf::store() {
            Ok(store) if store.inodes_total() > 0 && store.inodes_free() == 0 => {
                Error::new(ErrorKind::NoSpace).reason(format!(
                    "/dev/shm has no inode left (nr_inodes={}): remove objects, or remount it with more",
                    store.inodes_total()
                ))
            }
            _ => Error::new(ErrorKind::NoSpace).reason("/dev/shm is full: remove objects, or enlarge it"),
        },
        _ => return Error::from_io(error),
    };
    match errno {
        Some(errno) => told.errno(errno),
        None => told,
    }
}
