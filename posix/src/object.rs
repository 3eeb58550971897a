//! An open object: where it comes from, its name, owner and mode.

use std::ffi::CStr;
use std::fmt;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{PermissionsExt, fchown};

use memmap2::MmapOptions;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;

use crate::access::MapAccess;
use crate::mapping::Mapping;
use crate::stat::Stat;
use crate::store::EntryKind;
use crate::sys;

/// Holds a shared memory object open: owns its descriptor.
///
/// It comes from a name ([`OpenOptions`](crate::OpenOptions)), from nothing
/// ([`create_unlinked`](Self::create_unlinked), [`memfd`](Self::memfd)), or from a descriptor that was
/// inherited or received over a socket (`Object::try_from(owned_fd)`). It turns back into a descriptor
/// by [`AsFd`] and `OwnedFd::from`.
///
/// Dropping it closes the descriptor. Mappings made from it live on, and the object itself stays as
/// long as it has a name, a descriptor or a mapping anywhere.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use std::os::fd::OwnedFd;
/// use shared_region_posix::Object;
///
/// let object = Object::memfd(c"frames", 0o600)?;
/// object.set_len(8192)?;
///
/// let descriptor = OwnedFd::from(object); // send it to another process; there:
/// let object = Object::try_from(descriptor)?;
/// assert_eq!(object.stat()?.len(), 8192);
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Object {
    pub(crate) file: File,
    pub(crate) writable: bool,
    /// Device and inode, where they were told when it was opened.
    identity: Option<(u64, u64)>,
    /// The size of the huge pages that an adopted object consists of.
    huge_page: Option<usize>,
}

impl Object {
    /// Keeps what a stat said of the file, for [`identity`](Self::identity).
    pub(crate) fn new(file: File, writable: bool, stat: Option<&Stat>) -> Self {
        Self { file, writable, identity: stat.map(|stat| (stat.device(), stat.inode())), huge_page: None }
    }

    /// Creates an object in the store that has no name yet, readable and writable here, of size 0.
    ///
    /// Nobody else can open it until [`link`](Self::link) names it, and if that never happens it goes
    /// away with its last descriptor and mapping, however the process ends. Its permission bits are
    /// `mode` whatever the umask says.
    ///
    /// # Errors
    ///
    /// - `NotFound` (`ENOENT`): there is no `/dev/shm`.
    /// - `EOPNOTSUPP`: `/dev/shm` lies on a file system that cannot do this.
    /// - `StorageFull` (`ENOSPC`): no inode is left. `ReadOnlyFilesystem` (`EROFS`), `EACCES`: it is
    ///   not for writing to.
    /// - `Unsupported`: not Linux.
    ///
    /// # References
    ///
    /// [open(2)](https://man7.org/linux/man-pages/man2/open.2.html), `O_TMPFILE`
    #[doc(alias = "O_TMPFILE")]
    pub fn create_unlinked(mode: u32) -> io::Result<Self> {
        let file = sys::create_unlinked(mode)?;
        let (_, stat) = sys::look(&file)?;
        let object = Self::new(file, true, Some(&stat));
        // The umask may have taken any bit, and a default ACL of the directory may have changed them all.
        if stat.mode() != mode & 0o7777 {
            object.set_mode(mode)?;
        }
        Ok(object)
    }

    /// Gives the object a name, in one step: whoever opens it sees all that was done to it before.
    ///
    /// Meant for what [`create_unlinked`](Self::create_unlinked) made. An object that has a name gets
    /// another one.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists` (`EEXIST`): the name is taken; nothing has changed.
    /// - `NotFound` (`ENOENT`): the system does not let this process link the descriptor and there is no
    ///   `/proc` to go through; or all names of the object have been removed; or there is no `/dev/shm`.
    /// - `EINVAL`: the name is empty, `.`, `..`, or has a slash inside. `ENAMETOOLONG`: over 255 bytes.
    /// - `PermissionDenied` (`EACCES`, `EPERM`): the caller may not write to `/dev/shm`, or the sysctl
    ///   `fs.protected_hardlinks` forbids naming another user's object.
    /// - `CrossesDevices` (`EXDEV`): not from this mount of `/dev/shm`; always so for a memfd.
    /// - `Unsupported`: not Linux.
    ///
    /// # Platform-specific behavior
    ///
    /// Linux grants `linkat(AT_EMPTY_PATH)` to `CAP_DAC_READ_SEARCH`, and newer kernels also to the
    /// credentials that opened the file (6.18 does). Where it is not granted this goes through
    /// `/proc/thread-self/fd`, which needs no privilege. No file is ever replaced.
    ///
    /// # References
    ///
    /// [POSIX `linkat`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/link.html),
    /// [linkat(2)](https://man7.org/linux/man-pages/man2/link.2.html)
    #[doc(alias = "linkat")]
    pub fn link(&self, name: &CStr) -> io::Result<()> {
        sys::link(&self.file, name)
    }

    /// Returns whether [`link`](Self::link) can reach this object, without leaving anything behind.
    ///
    /// It links the object onto `/dev/shm` itself, which cannot succeed: "exists already" means that the
    /// system found the source first and would have gone on. What it does not foresee is a taken name,
    /// a store mounted anew since the object was made, or one that has become read-only; nor what a
    /// security module (AppArmor, SELinux) says, which is asked about a new name alone. Only a link that
    /// has been made tells that.
    #[must_use]
    pub fn can_link(&self) -> bool {
        sys::can_link(&self.file)
    }

    /// Creates an object that never has a name, readable and writable here, of size 0.
    ///
    /// It is reached by inheriting or receiving its descriptor. `debug_name` is what `/proc` shows, and
    /// need not be unique. The permission bits, `mode` whatever the umask says, count only for who
    /// opens it anew through `/proc`. It can be sealed ([`add_seals`](Self::add_seals)).
    ///
    /// Without an execute bit in `mode` it never gets one (`F_SEAL_EXEC`), where the kernel knows of that.
    ///
    /// It takes memory from no store, so that no store's limit protects the machine from it.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `debug_name` is longer than 249 bytes.
    /// - `EMFILE`, `ENFILE`, `ENOMEM`: too many descriptors, no memory.
    /// - `PermissionDenied` (`EACCES`): an execute bit in `mode` where the sysctl `vm.memfd_noexec` is 2.
    /// - `Unsupported`: not Linux.
    ///
    /// # Platform-specific behavior
    ///
    /// Linux 6.3 and later are told whether it may become executable, by `MFD_NOEXEC_SEAL` or `MFD_EXEC`. Without a
    /// word the kernel writes a warning to its log, and early ones refuse where `vm.memfd_noexec` is 2.
    ///
    /// # References
    ///
    /// [memfd_create(2)](https://man7.org/linux/man-pages/man2/memfd_create.2.html)
    #[doc(alias = "memfd_create")]
    pub fn memfd(debug_name: &CStr, mode: u32) -> io::Result<Self> {
        let object = Self::new(sys::memfd(debug_name, mode, false)?, true, None);
        object.set_mode(mode)?;
        Ok(object)
    }

    /// Creates an object as [`memfd`](Self::memfd) does, of huge pages: the system's default size of them,
    /// from the pool that the administrator fills (`vm.nr_hugepages`).
    ///
    /// [`Stat::block_size`](crate::Stat::block_size) tells the size of its pages. The object's size, and every
    /// length that is mapped, must be a multiple of that: of another mapping nothing would be unmapped again.
    /// [`set_len`](Self::set_len) refuses other sizes, [`reserve`](Self::reserve) does not. A mapping reserves the
    /// pages that it needs, or fails.
    ///
    /// # Errors
    ///
    /// Those of [`memfd`](Self::memfd), and
    ///
    /// - `Unsupported` (`ENOSYS`): the kernel was built without huge pages. `EINVAL`: it is older than 4.14.
    ///
    /// # References
    ///
    /// [memfd_create(2)](https://man7.org/linux/man-pages/man2/memfd_create.2.html), `MFD_HUGETLB`
    #[doc(alias = "MFD_HUGETLB")]
    pub fn memfd_of_huge_pages(debug_name: &CStr, mode: u32) -> io::Result<Self> {
        let object = Self::new(sys::memfd(debug_name, mode, true)?, true, None);
        object.set_mode(mode)?;
        Ok(object)
    }

    /// Returns whether the descriptor is for writing too. Asks no system call.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Asks for size, mode, owner and so on.
    ///
    /// # Errors
    ///
    /// None is known for an open object; what `fstat` says is passed on.
    ///
    /// # References
    ///
    /// [POSIX `fstat`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/fstat.html),
    /// [fstat(2)](https://man7.org/linux/man-pages/man2/stat.2.html)
    #[doc(alias = "fstat")]
    pub fn stat(&self) -> io::Result<Stat> {
        sys::look(&self.file).map(|(_, stat)| stat)
    }

    /// Returns device and inode, as [`stat`](Self::stat) does. They name the object for as long as it is open. The
    /// system is asked for those of a memfd alone: all other ways to an object have looked at it. macOS tells 0 for both.
    ///
    /// # Errors
    ///
    /// Those of [`stat`](Self::stat).
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        match self.identity {
            Some(identity) => Ok(identity),
            None => self.stat().map(|stat| (stat.device(), stat.inode())),
        }
    }

    /// Sets the permission bits, at most `0o7777`, whatever the umask says.
    ///
    /// Who has it open or mapped keeps the access that was granted then.
    ///
    /// # Errors
    ///
    /// - `PermissionDenied` (`EPERM`): the caller is neither its owner nor privileged.
    ///
    /// # References
    ///
    /// [POSIX `fchmod`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/fchmod.html),
    /// [fchmod(2)](https://man7.org/linux/man-pages/man2/chmod.2.html)
    #[doc(alias = "fchmod")]
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        sys::retry(|| self.file.set_permissions(Permissions::from_mode(mode & 0o7777)))
    }

    /// Gives the object to another user, another group, or both.
    ///
    /// # Errors
    ///
    /// - `PermissionDenied` (`EPERM`): without privilege the owner may choose among their own groups, and
    ///   nobody may choose another user.
    ///
    /// # References
    ///
    /// [POSIX `fchown`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/fchown.html),
    /// [fchown(2)](https://man7.org/linux/man-pages/man2/chown.2.html)
    #[doc(alias = "fchown")]
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        sys::retry(|| fchown(&self.file, uid, gid))
    }

    /// Returns the size of the huge pages that an adopted object consists of; `None` for ordinary pages, and for objects
    /// that were made or opened here.
    #[must_use]
    pub fn huge_page_size(&self) -> Option<usize> {
        self.huge_page
    }

    /// Maps the first `len` bytes, shared with everybody else who does.
    ///
    /// This does not look at the object's size. Where it ends before `len`, touching a page that lies
    /// wholly past its end is `SIGBUS`; in its last page the bytes past the end can be touched, but are
    /// not part of the object. The same happens when somebody shrinks the object later. Compare with
    /// [`stat`](Self::stat) first.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` (`EINVAL`): `len` is 0 or more than `isize::MAX`, or no multiple of the
    ///   [huge pages](Self::huge_page_size) that an adopted object consists of, of which a part can be neither touched nor
    ///   unmapped.
    /// - `PermissionDenied` (`EACCES`): [`ReadWrite`](MapAccess::ReadWrite) and the descriptor is not;
    ///   `EPERM`: the object is sealed against writing.
    /// - `OutOfMemory` (`ENOMEM`): no room in the address space, `RLIMIT_AS`, or too many mappings.
    /// - `ENODEV`: an adopted descriptor of something that cannot be mapped.
    ///
    /// # References
    ///
    /// [POSIX `mmap`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/mmap.html),
    /// [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html)
    #[doc(alias("mmap", "MAP_SHARED"))]
    pub fn map(&self, len: usize, access: MapAccess) -> io::Result<Mapping> {
        self.map_by(MmapOptions::new().len(len), len, access)
    }

    /// Maps the first `len` bytes as [`map`](Self::map) does, and all pages of them that can be had at once, which saves
    /// the faults of their first touch.
    ///
    /// Pages that nobody has touched or reserved are taken from the store. One that cannot be had is no error here, and
    /// its touch is `SIGBUS` later; [`Mapping::prefault`] tells.
    ///
    /// # Errors
    ///
    /// Those of [`map`](Self::map).
    ///
    /// # Platform-specific behavior
    ///
    /// - Linux: `MAP_POPULATE`.
    /// - Elsewhere: as [`map`](Self::map).
    ///
    /// # References
    ///
    /// [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html)
    #[doc(alias = "MAP_POPULATE")]
    pub fn map_populated(&self, len: usize, access: MapAccess) -> io::Result<Mapping> {
        self.map_by(MmapOptions::new().len(len).populate(), len, access)
    }

    fn map_by(&self, options: &MmapOptions, len: usize, access: MapAccess) -> io::Result<Mapping> {
        let partial = self.huge_page.is_some_and(|page| len % page != 0);
        if len == 0 || isize::try_from(len).is_err() || partial {
            return Err(sys::error(libc::EINVAL));
        }
        let raw = sys::retry(|| match access {
            MapAccess::ReadWrite => options.map_raw(&self.file),
            MapAccess::ReadOnly => options.map_raw_read_only(&self.file),
        })?;
        Ok(Mapping::new(raw, access))
    }

    /// Makes a second descriptor of the same open object, close-on-exec.
    ///
    /// # Errors
    ///
    /// - `EMFILE`: too many open descriptors.
    ///
    /// # References
    ///
    /// [POSIX `fcntl`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/fcntl.html),
    /// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html)
    #[doc(alias("dup", "F_DUPFD_CLOEXEC"))]
    pub fn try_clone(&self) -> io::Result<Self> {
        let file = sys::retry(|| self.file.try_clone())?;
        Ok(Self { file, ..*self })
    }
}

impl AsFd for Object {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Object {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl From<Object> for OwnedFd {
    fn from(object: Object) -> Self {
        object.file.into()
    }
}

/// Adopts a descriptor: of a shared memory object, of a memfd, or of another regular file.
///
/// Any size will do, 0 too. The descriptor is left as it is, its close-on-exec flag included, but for a
/// failure, which closes it:
///
/// - `PermissionDenied` (`EACCES`): it is for writing only, and every mapping needs reading.
/// - `EBADF`: on Linux, it was opened with `O_PATH` and cannot be mapped.
/// - `ENODEV`: it is a pipe, a socket, a directory, a device and so on.
impl TryFrom<OwnedFd> for Object {
    type Error = io::Error;

    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(sys::retry(|| Ok(fcntl(&fd, FcntlArg::F_GETFL)?))?);
        if sys::names_only(flags) {
            return Err(sys::error(libc::EBADF));
        }
        let file = File::from(fd);
        let (kind, stat) = sys::look(&file)?;
        if kind != EntryKind::SharedMemory {
            return Err(sys::error(libc::ENODEV));
        }
        let access = flags & OFlag::O_ACCMODE;
        if access == OFlag::O_WRONLY {
            return Err(sys::error(libc::EACCES));
        }
        let huge_page = if sys::is_of_huge_pages(&file, &stat)? { Some(stat.block_size() as usize) } else { None };
        Ok(Self { huge_page, ..Self::new(file, access == OFlag::O_RDWR, Some(&stat)) })
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("fd", &self.as_raw_fd()).field("writable", &self.writable).finish()
    }
}
