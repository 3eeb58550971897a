//! What errnos of the POSIX calls mean.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc;
use nix::unistd::{AccessFlags, faccessat, getegid, geteuid};
use shared_region_posix::{self as leaf, EntryKind, Object, Stat};

use super::{NAME, native};
use crate::denied::{Refusing, translated};
use crate::error::{Error, ErrorKind};
use crate::limits::mapping_refused;
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
        let mut object = None;
        // Only a missing entry is told by its errno: a foreign one has many, depending on its kind and mount.
        if self.id.is_some()
            && !matches!(errno, None | Some(Errno::ENOENT | Errno::EEXIST | Errno::EMFILE | Errno::ENFILE))
        {
            match leaf::kind(self.native()) {
                Ok((EntryKind::SharedMemory, stat)) => object = Some(stat),
                Ok((kind, _)) => return self.foreign(kind).errno(errno.map_or(0, |errno| errno as i32)),
                Err(_) => {}
            }
        }
        self.told(match (errno, object) {
            (Some(Errno::ENODEV), _) => Error::new(ErrorKind::NotSharedMemory).errno(Errno::ENODEV as i32),
            // A name is the directory's, unless the sticky bit makes it the object's.
            (Some(Errno::EACCES | Errno::EPERM), Some(object)) if !self.is_removal() || is_open_to(CHANGE) => {
                of_object(error, &object)
            }
            _ => of_store(error),
        })
    }

    /// Translates the failure to map so many bytes.
    pub(super) fn not_mapped(&self, error: &io::Error, len: usize) -> Error {
        mapping_refused(error, len).map_or_else(|| self.failed(error), |refused| self.told(refused))
    }

    fn is_removal(&self) -> bool {
        self.operation.starts_with("remove")
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
        Some(Errno::EDQUOT) => over_quota(Some(size)),
        Some(Errno::ENOMEM) => Error::new(ErrorKind::NoSpace)
            .reason(format!("{size} bytes do not fit into memory: free some or ask for less"))
            .errno(Errno::ENOMEM as i32),
        _ => of_store(error),
    }
}

/// Translates an errno; where permission is lacking, names owner and mode of the object that refuses.
pub(super) fn of_object(error: &io::Error, stat: &Stat) -> Error {
    if error.raw_os_error() == Some(libc::EPERM) && is_sandboxed() {
        return of_store(error);
    }
    translated(error, || Some(Refusing { uid: stat.uid(), creator: None, mode: stat.mode() }))
}

/// What it takes to make, rename and remove entries.
const CHANGE: AccessFlags = AccessFlags::W_OK.union(AccessFlags::X_OK);

/// Whether the store lets this process do that to the directory.
fn is_open_to(access: AccessFlags) -> bool {
    !cfg!(target_os = "linux") || faccessat(AT_FDCWD, STORE, access, EFFECTIVE).is_ok()
}

const STORE: &str = "/dev/shm";

/// Names the mode of a store that does not let this process in.
fn store_refuses() -> Option<String> {
    if is_open_to(CHANGE | AccessFlags::R_OK) {
        return None;
    }
    let metadata = fs::metadata(STORE).ok()?;
    Some(format!(
        "permission denied: {STORE} has mode {:04o} and belongs to uid {}, and is usually 1777: as root, chmod 1777 {STORE}",
        metadata.mode() & 0o7777,
        metadata.uid()
    ))
}

/// Whether the calls themselves are forbidden.
fn is_sandboxed() -> bool {
    let forbidden = |error: io::Error| error.raw_os_error() == Some(libc::EPERM);
    leaf::store().is_err_and(forbidden) || leaf::list().is_err_and(forbidden)
}

/// Says which quota has no room for a new object, or for so many bytes.
fn over_quota(size: Option<usize>) -> Error {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let what = size.map_or("a new object is".to_owned(), |size| format!("{size} bytes are"));
    let (uid, gid) = (geteuid(), getegid());
    let limits = match quotas(&mounts) {
        limits if limits.is_empty() => String::new(),
        limits => format!(" ({limits})"),
    };
    Error::new(ErrorKind::NoSpace).errno(Errno::EDQUOT as i32).reason(format!(
        "{what} over the quota of uid {uid} or gid {gid} on {STORE}{limits}: ask root for more, or remove unused ones"
    ))
}

/// The quotas that everybody has on the store, out of its mount options.
fn quotas(mounts: &str) -> String {
    // The last of several is on top.
    let store = mounts.lines().rev().map(|line| line.split(' ')).find_map(|mut fields| {
        let (point, options) = (fields.nth(1)?, fields.nth(1)?);
        (point == STORE).then_some(options)
    });
    let limits = store.unwrap_or_default().split(',').filter(|option| option.contains("quota_"));
    limits.collect::<Vec<_>>().join(", ")
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
        Some(Errno::EPERM) if is_sandboxed() => absent("a sandbox forbids the system calls"),
        Some(Errno::EACCES | Errno::EPERM) => match store_refuses() {
            Some(reason) => Error::new(ErrorKind::PermissionDenied).reason(reason),
            None => return Error::from_io(error),
        },
        Some(Errno::EDQUOT) => return over_quota(None),
        Some(Errno::ENOSPC) => match leaf::store() {
            Ok(store) if store.inodes_total() > 0 && store.inodes_free() == 0 => {
                Error::new(ErrorKind::NoSpace).reason(format!(
                    "/dev/shm has no inode left (nr_inodes={}): remount it with more, or remove unused objects (shm rm --orphans)",
                    store.inodes_total()
                ))
            }
            _ => Error::new(ErrorKind::NoSpace).reason("/dev/shm is full: enlarge it, or remove unused objects (shm rm --orphans)"),
        },
        _ => return Error::from_io(error),
    };
    match errno {
        Some(errno) => told.errno(errno),
        None => told,
    }
}

cfg_if::cfg_if! {
    if #[cfg(target_os = "android")] {
        const EFFECTIVE: AtFlags = AtFlags::empty();
    } else {
        /// Those by which files are opened, in set-user-ID programs too.
        const EFFECTIVE: AtFlags = AtFlags::AT_EACCESS;
    }
}
