//! The contract: [`SharedRegion`], a mapped region of shared memory.

use std::fmt;
use std::fs::{File, Permissions};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};
use std::os::unix::fs::{PermissionsExt, fchown};

use nix::libc;

use crate::access::SharedRegionExt;
use crate::denied::{Refusing, translated};
use crate::error::{Error, ErrorKind, Result};
use crate::memory;
use crate::metadata::{Capabilities, Metadata};
use crate::name::RegionId;

/// Whether a mapping may be written through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Bytes may be read and written.
    ReadWrite,
    /// Bytes may be read; a store through a raw pointer is SIGSEGV.
    ReadOnly,
}

/// A region of memory, mapped into this process and shared with others.
///
/// The trait states what a caller may rely on, whichever backend is underneath; copies, atomics and views come from
/// [`SharedRegionExt`](crate::SharedRegionExt), regions from a [`Backend`](crate::Backend). It works as `dyn
/// SharedRegion`, and `Box<dyn SharedRegion>` is a region too.
///
/// - Other processes, and other threads of this one, count as writers at any time. That is why no safe call lends
///   `&[u8]`.
/// - Dropping a region unmaps it. It removes the object only if [`Removal::OnDrop`](crate::Removal::OnDrop) was asked
///   for at its creation.
/// - A forked child inherits the mapping, and may drop or use it.
///
/// # What a peer can do
///
/// Whoever may write to the region can put any bytes anywhere in it, at any time: check what you read, after copying
/// it out. On POSIX a peer with write permission can also shrink the object (`ftruncate`); touching the lost part is
/// SIGBUS then, in every process. Against that there are two defences: give strangers the region on System V, whose
/// segments cannot shrink, or pass them a memfd sealed with `F_SEAL_SHRINK`, as `create_unnamed` makes them. Who receives
/// one demands that seal by [`require_seals`](crate::OpenOptions::require_seals), lest it be the sender who shrinks it.
///
/// A peer with write permission can also free pages and leave the length as it is (`madvise(MADV_REMOVE)`,
/// `fallocate(FALLOC_FL_PUNCH_HOLE)`), reserved ones too, and no seal against shrinking forbids it. They read as zeros
/// then. The next touch takes a new page from the store: in a full `/dev/shm` that is SIGBUS. A memfd and a System V segment
/// lie in no such store; their pages come back for as long as the machine has memory. Against that there is one
/// defence: no write permission, by the mode, or by `PosixRegion::share_read_only`, after which not even
/// mappings that can write can free pages.
///
/// # Safety
///
/// Unsafe code relies on every implementation. The implementor ensures that
///
/// - from [`as_ptr`](Self::as_ptr) on, [`len`](Self::len) bytes are mapped, in one piece, readable, and for
///   [`Access::ReadWrite`] writable, as long as the region lives and neither `grow` nor `refresh` is called;
/// - `len` is neither 0 nor over `isize::MAX`, and `as_ptr` is aligned to 8 bytes at least;
/// - no Rust object lives there: no reference to the bytes exists but those that callers of this crate make, and other
///   writers are foreign to this program or use atomic accesses;
/// - the pointer, the length and the access stay the same between calls, but for `grow` and `refresh`.
///
/// # References
///
/// [POSIX: shared memory objects](https://pubs.opengroup.org/onlinepubs/9799919799/functions/V2_chap02.html#tag_16_08_03),
/// [POSIX: XSI shared memory](https://pubs.opengroup.org/onlinepubs/9799919799/functions/shmget.html),
/// [shm_overview(7)](https://man7.org/linux/man-pages/man7/shm_overview.7.html),
/// [sysvipc(7)](https://man7.org/linux/man-pages/man7/sysvipc.7.html)
#[allow(clippy::len_without_is_empty, reason = "a region is never empty")]
pub unsafe trait SharedRegion: fmt::Debug + Send + Sync {
    /// Returns where the region is mapped. Its alignment is the page size on both backends.
    ///
    /// Reading through it is up to `unsafe` code, which treats the bytes as written by others at any time.
    fn as_ptr(&self) -> *const u8;

    /// Returns the mapping's length in bytes: exactly what was asked for at creation, or the object's size at opening.
    fn len(&self) -> usize;

    /// Returns whether the mapping may be written through.
    fn access(&self) -> Access;

    /// Returns the name of the backend, as [`Backend::name`](crate::Backend::name) does.
    fn backend(&self) -> &'static str;

    /// Returns by what the object can be opened elsewhere.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX**: the name; `None` for an unnamed region and an adopted descriptor.
    /// - **System V**: the name or key it was asked for by, else the segment id.
    fn id(&self) -> Option<RegionId>;

    /// Returns what can be done with this region here and now.
    fn capabilities(&self) -> Capabilities;

    /// Asks the system about the object. Provided for regions that lend a [`descriptor`](Self::descriptor).
    ///
    /// # Errors
    ///
    /// - [`PermissionDenied`](ErrorKind::PermissionDenied): a later change of mode took read permission away and the
    ///   system asks for it anew (System V, where `/proc` does not help).
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX**: `fstat`.
    /// - **System V**: `shmctl(IPC_STAT)`.
    fn metadata(&self) -> Result<Metadata> {
        by_descriptor(self, "look at", |file| file.metadata()).map(|file| Metadata::from(&file))
    }

    /// Changes the permission bits of the object. Mappings that exist keep their access. Provided for regions that lend
    /// a [`descriptor`](Self::descriptor).
    ///
    /// # Errors
    ///
    /// - [`PermissionDenied`](ErrorKind::PermissionDenied): the caller is not the owner (System V: nor the creator).
    /// - [`InvalidOptions`](ErrorKind::InvalidOptions): the mode is over 0777.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX**: `fchmod`.
    /// - **System V**: `shmctl(IPC_SET)`.
    fn set_mode(&self, mode: u32) -> Result<()> {
        const SET: &str = "set the mode of";
        check_mode(mode).map_err(|error| self.describe(error, SET))?;
        by_descriptor(self, SET, |file| file.set_permissions(Permissions::from_mode(mode)))
    }

    /// Gives the object to another user, another group, or both; `None` leaves one as it is. Provided for regions that
    /// lend a [`descriptor`](Self::descriptor).
    ///
    /// # Errors
    ///
    /// - [`PermissionDenied`](ErrorKind::PermissionDenied): the caller may not.
    /// - [`InvalidOptions`](ErrorKind::InvalidOptions): an id is `u32::MAX`, C's −1, which nobody has.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX**: `fchown`. An owner may choose among their own groups; giving it to another user takes privilege.
    /// - **System V**: `shmctl(IPC_SET)`. Owner and creator may give it to anybody; the creator stays who they are.
    ///   `IPC_SET` sets owner and mode at once, so what does not change is read first: of two such calls at the same
    ///   time, one can undo the other.
    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        const SET: &str = "set the owner of";
        check_owner(uid, gid).map_err(|error| self.describe(error, SET))?;
        by_descriptor(self, SET, |file| fchown(file, uid, gid))
    }

    /// Removes the object: nobody can open it any more, mappings that exist go on working, and the memory is freed
    /// with the last of them. The name can be created anew at once.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](ErrorKind::NotFound): it has been removed before. POSIX: also if its name means another object
    ///   now, which is left alone.
    /// - [`PermissionDenied`](ErrorKind::PermissionDenied): the caller may not.
    /// - [`Unsupported`](ErrorKind::Unsupported): a POSIX region without a name has nothing to remove.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX**: `shm_unlink`, after comparing the device and inode behind the name with the region's own. Between
    ///   the two calls lies a window, as long as one system call, in which another process can replace the object and
    ///   lose the new one's name.
    /// - **System V**: `shmctl(IPC_RMID)` by id; ids are not reused while attached, so there is no window.
    fn remove(&self) -> Result<()>;

    /// Maps the same object a second time, with the same access. The clone never removes the object when dropped.
    ///
    /// # Errors
    ///
    /// - [`PermissionDenied`](ErrorKind::PermissionDenied): the mode became stricter (System V checks it anew).
    /// - [`NotFound`](ErrorKind::NotFound): it was removed, and the backend lacks
    ///   [`attach_after_remove`](Capabilities::attach_after_remove).
    /// - [`LimitExceeded`](ErrorKind::LimitExceeded): address space, descriptors.
    /// - [`Unsupported`](ErrorKind::Unsupported): POSIX: the descriptor was closed, as
    ///   [`keep_descriptor(false)`](crate::CreateOptions::keep_descriptor) asked.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX**: `mmap` of a descriptor that all clones share; the first one makes it (`F_DUPFD_CLOEXEC`).
    /// - **System V**: `shmat` of the id.
    fn try_clone(&self) -> Result<Self>
    where
        Self: Sized;

    /// Does what [`try_clone`](Self::try_clone) does, for `dyn SharedRegion`.
    ///
    /// # Errors
    ///
    /// Those of [`try_clone`](Self::try_clone).
    fn try_clone_boxed(&self) -> Result<Box<dyn SharedRegion>>;

    /// Makes the object, and this mapping, at least `len` bytes long.
    ///
    /// Old bytes keep their values, new bytes are zero, and their memory is reserved before the size moves. Nothing
    /// ever shrinks; where the object is as long already, this is [`refresh`](Self::refresh). Peers see the new size
    /// after a `refresh` of theirs. Growers in all processes exclude each other.
    ///
    /// # Errors
    ///
    /// On error the object and the mapping are as before.
    ///
    /// - [`Unsupported`](ErrorKind::Unsupported): the backend lacks [`grow`](Capabilities::grow), or the region its
    ///   descriptor ([`keep_descriptor`](crate::CreateOptions::keep_descriptor)).
    /// - [`ReadOnly`](ErrorKind::ReadOnly): the region was opened read-only.
    /// - [`PermissionDenied`](ErrorKind::PermissionDenied): the caller may not read the object any more, since its mode
    ///   was changed, or a seal forbids it.
    /// - [`InvalidSize`](ErrorKind::InvalidSize): `len` is 0 or over `isize::MAX`.
    /// - [`NoSpace`](ErrorKind::NoSpace), [`LimitExceeded`](ErrorKind::LimitExceeded): as at creation.
    /// - [`Busy`](ErrorKind::Busy): another process kept the lock for a second. Whoever may read the object can do so
    ///   for ever.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX** on Linux: `flock` on a description of its own, `fallocate`, `mmap`, `fallocate` for the size.
    /// - **POSIX** elsewhere, **System V**: `Unsupported`.
    fn grow(&mut self, len: usize) -> Result<()> {
        let _ = len;
        Err(self.error(ErrorKind::Unsupported, "grow").reason("its size is fixed: create a larger region and copy"))
    }

    /// Adapts the mapping to the object's present size.
    ///
    /// # Errors
    ///
    /// On error the mapping is as before.
    ///
    /// - [`NotReady`](ErrorKind::NotReady): a peer has shrunk the object to 0 bytes.
    /// - [`Unsupported`](ErrorKind::Unsupported): POSIX: the descriptor was closed
    ///   ([`keep_descriptor`](crate::CreateOptions::keep_descriptor)).
    /// - [`LimitExceeded`](ErrorKind::LimitExceeded): address space.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX**: `fstat`, and `mmap` where the size has changed.
    /// - **System V**: sizes never change; nothing is done.
    fn refresh(&mut self) -> Result<()> {
        Ok(())
    }

    /// Keeps the mapping's pages in memory, so that touching them never waits for a disk. This is no mutex.
    ///
    /// # Errors
    ///
    /// - [`LimitExceeded`](ErrorKind::LimitExceeded): `RLIMIT_MEMLOCK`.
    /// - [`NoSpace`](ErrorKind::NoSpace): not all pages could be had, as the store or the memory is full; nothing is
    ///   locked then.
    ///
    /// # Platform-specific behavior
    ///
    /// Both: `mlock` on the mapping. It ends with `unlock_memory` or the mapping, so also when [`grow`](Self::grow) or
    /// [`refresh`](Self::refresh) put another in its place: lock that one again.
    ///
    /// # References
    ///
    /// [POSIX: mlock](https://pubs.opengroup.org/onlinepubs/9799919799/functions/mlock.html),
    /// [mlock(2)](https://man7.org/linux/man-pages/man2/mlock.2.html)
    #[doc(alias = "mlock")]
    fn lock_memory(&self) -> Result<()> {
        memory::lock(self.as_ptr(), self.len()).map_err(|error| self.describe(error, "lock in memory"))
    }

    /// Undoes [`lock_memory`](Self::lock_memory).
    ///
    /// # Errors
    ///
    /// None on a mapping that exists, as far as the manual pages tell.
    #[doc(alias = "munlock")]
    fn unlock_memory(&self) -> Result<()> {
        memory::unlock(self.as_ptr(), self.len()).map_err(|error| self.describe(error, "unlock in memory"))
    }

    /// Lends the descriptor, to pass it on over a socket or to a child.
    ///
    /// # Errors
    ///
    /// - [`Unsupported`](ErrorKind::Unsupported): the backend lacks [`file_descriptor`](Capabilities::file_descriptor), or
    ///   the descriptor was closed ([`keep_descriptor`](crate::CreateOptions::keep_descriptor)).
    fn descriptor(&self) -> Result<BorrowedFd<'_>> {
        Err(self
            .error(ErrorKind::Unsupported, "lend the descriptor of")
            .reason("it has no descriptor: pass its id on, or use a backend with the capability file_descriptor"))
    }
}

/// What an error about a region says of it; in reach of every region, `dyn` ones included.
pub(crate) trait Describe: SharedRegion {
    #[cold]
    #[inline(never)]
    fn error(&self, kind: ErrorKind, operation: &'static str) -> Error {
        self.describe(Error::new(kind), operation)
    }
}

impl<R: SharedRegion + ?Sized> Describe for R {}

/// Refuses a mode that is more than permission bits.
pub(crate) fn check_mode(mode: u32) -> Result<()> {
    if mode & !0o777 == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidOptions)
        .reason(format!("mode {mode:#o} has bits beyond 0o777: permission bits only")))
}

/// Refuses the id that no user has: chown(2) takes it for "unchanged", shmctl(2) for an error.
pub(crate) fn check_owner(uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    if uid != Some(u32::MAX) && gid != Some(u32::MAX) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidOptions)
        .reason("4294967295 is -1 in C and nobody's id: pass None to leave one as it is"))
}

/// Makes a system call with a region's descriptor, anew as long as signals interrupt it.
fn by_descriptor<R: SharedRegion + ?Sized, T>(
    region: &R,
    operation: &'static str,
    call: impl Fn(&File) -> io::Result<T>,
) -> Result<T> {
    let descriptor = region.descriptor().map_err(|error| error.operation(operation))?;
    // SAFETY: `from_raw_fd` asks for an open descriptor that nobody else closes. It is borrowed for longer than this
    // call, so nobody does (`std::io`, I/O Safety), and `ManuallyDrop` keeps the file from doing so.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor.as_raw_fd()) });
    loop {
        match call(&file) {
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            made => {
                let look = || file.metadata().ok().map(|metadata| Refusing::from(&metadata));
                return made.map_err(|error| region.describe(translated(&error, look), operation));
            }
        }
    }
}

/// Forwards every call but the two that make clones.
macro_rules! forward {
    () => {
        fn as_ptr(&self) -> *const u8 {
            (**self).as_ptr()
        }

        fn len(&self) -> usize {
            (**self).len()
        }

        fn access(&self) -> Access {
            (**self).access()
        }

        fn backend(&self) -> &'static str {
            (**self).backend()
        }

        fn id(&self) -> Option<RegionId> {
            (**self).id()
        }

        fn capabilities(&self) -> Capabilities {
            (**self).capabilities()
        }

        fn metadata(&self) -> Result<Metadata> {
            (**self).metadata()
        }

        fn set_mode(&self, mode: u32) -> Result<()> {
            (**self).set_mode(mode)
        }

        fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
            (**self).set_owner(uid, gid)
        }

        fn remove(&self) -> Result<()> {
            (**self).remove()
        }

        fn try_clone_boxed(&self) -> Result<Box<dyn SharedRegion>> {
            (**self).try_clone_boxed()
        }

        fn grow(&mut self, len: usize) -> Result<()> {
            (**self).grow(len)
        }

        fn refresh(&mut self) -> Result<()> {
            (**self).refresh()
        }

        fn lock_memory(&self) -> Result<()> {
            (**self).lock_memory()
        }

        fn unlock_memory(&self) -> Result<()> {
            (**self).unlock_memory()
        }

        fn descriptor(&self) -> Result<BorrowedFd<'_>> {
            (**self).descriptor()
        }
    };
}

// SAFETY: every answer comes from the boxed region, which its implementor vouches for; moving the box moves no mapping.
unsafe impl<R: SharedRegion> SharedRegion for Box<R> {
    forward!();

    fn try_clone(&self) -> Result<Self> {
        (**self).try_clone().map(Box::new)
    }
}

// SAFETY: as above.
unsafe impl SharedRegion for Box<dyn SharedRegion> {
    forward!();

    fn try_clone(&self) -> Result<Self> {
        (**self).try_clone_boxed()
    }
}
