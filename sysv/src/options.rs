//! What to ask of `shmget` and of `shmat`.

use std::io;

use crate::{Segment, sys};

/// The arguments of `shmget`: how to open or create a segment.
///
/// Without any option it opens an existing segment and asks for no permission.
///
/// | C | here |
/// |---|---|
/// | `shmget(key, 0, 0)` | `GetOptions::new().get(key, 0)`, or [`Segment::open`] |
/// | `shmget(key, size, IPC_CREAT \| 0600)` | `GetOptions::new().create(true).mode(0o600).get(key, size)` |
/// | `shmget(key, size, IPC_CREAT \| IPC_EXCL \| 0600)` | the same with `.exclusive(true)`, or [`Segment::create_new`] |
/// | `shmget(IPC_PRIVATE, size, 0600)` | `GetOptions::new().mode(0o600).get(IPC_PRIVATE, size)` |
///
/// # Examples
///
/// ```
/// use shared_region_sysv::{GetOptions, IPC_PRIVATE};
///
/// let segment = GetOptions::new().mode(0o600).get(IPC_PRIVATE, 4096)?;
/// assert_eq!(segment.stat()?.size(), 4096);
/// segment.remove()?;
/// # std::io::Result::Ok(())
/// ```
///
/// # References
///
/// - [POSIX: `shmget`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/shmget.html)
/// - [Linux: shmget(2)](https://man7.org/linux/man-pages/man2/shmget.2.html)
#[doc(alias = "shmget")]
#[doc(alias = "shmflg")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetOptions {
    pub(crate) create: bool,
    pub(crate) exclusive: bool,
    pub(crate) mode: u32,
    pub(crate) no_reserve: bool,
    pub(crate) huge_pages: HugePages,
}

impl GetOptions {
    /// Returns the options of `shmget(key, size, 0)`.
    #[must_use]
    pub const fn new() -> Self {
        Self { create: false, exclusive: false, mode: 0, no_reserve: false, huge_pages: HugePages::No }
    }

    /// Creates the segment if the key has none yet.
    ///
    /// An existing segment is opened as it is: it keeps its size and its mode.
    #[doc(alias = "IPC_CREAT")]
    #[must_use]
    pub const fn create(mut self, yes: bool) -> Self {
        self.create = yes;
        self
    }

    /// Together with [`create`](Self::create), fails if the key already has a segment.
    ///
    /// Alone it means nothing: Linux then opens the segment.
    #[doc(alias = "IPC_EXCL")]
    #[must_use]
    pub const fn exclusive(mut self, yes: bool) -> Self {
        self.exclusive = yes;
        self
    }

    /// Sets the nine permission bits; the default is 0.
    ///
    /// A segment that is created gets exactly these bits, whatever the umask. The execute bits count only
    /// for [`AttachOptions::executable`]. With mode 0 even the creator cannot attach it, unless privileged.
    ///
    /// Of a segment that is opened, the bits are asked: the three classes are merged (0o640 asks for read and
    /// write), and if the caller's own class lacks one of them the answer is `PermissionDenied`. Asking for 0
    /// always opens; permission is then checked by [`Segment::attach`].
    ///
    /// A value over 0o777 is [`InvalidInput`](io::ErrorKind::InvalidInput) in [`get`](Self::get): in C its
    /// higher bits would be read as flags.
    #[doc(alias = "SHM_R")]
    #[doc(alias = "SHM_W")]
    #[must_use]
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Creates the segment without reserving memory or swap for it.
    ///
    /// By default Linux accounts for the whole size at creation, so that a segment that cannot be backed is
    /// refused with `ENOMEM`. Without that, a segment can be larger than memory, and touching more pages than
    /// there are wakes the out-of-memory killer. Under `vm.overcommit_memory` 2 the kernel ignores this option.
    ///
    /// # Platform-specific behavior
    ///
    /// Linux only; elsewhere [`get`](Self::get) answers [`Unsupported`](io::ErrorKind::Unsupported).
    #[doc(alias = "SHM_NORESERVE")]
    #[must_use]
    pub const fn no_reserve(mut self, yes: bool) -> Self {
        self.no_reserve = yes;
        self
    }

    /// Backs the segment with huge pages.
    ///
    /// # Platform-specific behavior
    ///
    /// Linux only; elsewhere [`get`](Self::get) answers [`Unsupported`](io::ErrorKind::Unsupported).
    #[doc(alias = "SHM_HUGETLB")]
    #[must_use]
    pub const fn huge_pages(mut self, size: HugePages) -> Self {
        self.huge_pages = size;
        self
    }

    /// Opens or creates the segment of `key`.
    ///
    /// `size` in bytes is the size of a segment that is created, and the least size of one that is opened:
    /// 0 opens any. A new segment reads as zeros. It stays until [`Segment::remove`], also when no process
    /// uses it. With [`IPC_PRIVATE`](crate::IPC_PRIVATE) a new segment is created whatever the options say.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](io::ErrorKind::NotFound) (`ENOENT`): the key has no segment and
    ///   [`create`](Self::create) was not asked.
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists) (`EEXIST`): the key has a segment and
    ///   [`exclusive`](Self::exclusive) was asked. On Linux this comes before all checks of size and permission.
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): the segment lacks a permission that the mode
    ///   asks for (`EACCES`); or huge pages without `CAP_IPC_LOCK` and outside of the group in
    ///   `vm.hugetlb_shm_group` (`EPERM`).
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the mode is over 0o777 or the logarithm of the huge page
    ///   size over 63 (no code, nothing was called); or (`EINVAL`) the segment to open is smaller than `size`,
    ///   the size for a new one is 0 or over `SHMMAX`, or the kernel has no huge pages of this size.
    /// - [`StorageFull`](io::ErrorKind::StorageFull) (`ENOSPC`): `SHMMNI` segments exist, or `SHMALL` pages are
    ///   in use.
    /// - [`OutOfMemory`](io::ErrorKind::OutOfMemory) (`ENOMEM`): the size cannot be reserved, or there are not
    ///   enough free huge pages.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): the option, or System V shared memory as a whole, does not
    ///   exist on this platform.
    ///
    /// # References
    ///
    /// - [POSIX: `shmget`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/shmget.html)
    /// - [Linux: shmget(2)](https://man7.org/linux/man-pages/man2/shmget.2.html)
    #[doc(alias = "shmget")]
    pub fn get(&self, key: i32, size: usize) -> io::Result<Segment> {
        check_mode(self.mode)?;
        sys::get(self, key, size).map(Segment::from_id)
    }
}

/// Refuses what would be read as flags, or be dropped without a word.
pub(crate) fn check_mode(mode: u32) -> io::Result<()> {
    if mode > 0o777 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("mode {mode:#o} has more than the nine permission bits"),
        ));
    }
    Ok(())
}

/// The pages that back a segment, for [`GetOptions::huge_pages`].
///
/// Huge pages are taken from a pool that the administrator fills (`vm.nr_hugepages`). The segment's size
/// need not be a multiple of theirs, but the last page is taken whole.
///
/// # References
///
/// - [Linux: shmget(2)](https://man7.org/linux/man-pages/man2/shmget.2.html)
#[doc(alias = "SHM_HUGETLB")]
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HugePages {
    /// Ordinary pages.
    #[default]
    No,
    /// Huge pages of the system's default size, `Hugepagesize` in `/proc/meminfo`.
    Default,
    /// Huge pages of 2 MiB.
    #[doc(alias = "SHM_HUGE_2MB")]
    Size2MiB,
    /// Huge pages of 1 GiB.
    #[doc(alias = "SHM_HUGE_1GB")]
    Size1GiB,
    /// Huge pages of two to the power of this many bytes: 16 for 64 KiB. 0 is [`Default`](Self::Default); over
    /// 63 is an error.
    #[doc(alias = "SHM_HUGE_SHIFT")]
    #[doc(alias = "SHM_HUGE_MASK")]
    Log2(u8),
}

/// The arguments of `shmat`: how to attach a segment.
///
/// Without any option it attaches for reading and writing at an address that the system chooses.
///
/// There is no option for Linux's `SHM_REMAP`. It silently replaces whatever is mapped at the address, be it
/// another thread's heap, and could not be offered in safe Rust.
///
/// # References
///
/// - [POSIX: `shmat`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/shmat.html)
/// - [Linux: shmat(2)](https://man7.org/linux/man-pages/man2/shmop.2.html)
#[doc(alias = "shmat")]
#[doc(alias = "SHM_REMAP")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    pub(crate) read_only: bool,
    pub(crate) executable: bool,
    pub(crate) address: Option<usize>,
    pub(crate) round_down: bool,
}

impl AttachOptions {
    /// Returns the options of `shmat(id, NULL, 0)`.
    #[must_use]
    pub const fn new() -> Self {
        Self { read_only: false, executable: false, address: None, round_down: false }
    }

    /// Attaches for reading only, for which read permission is enough.
    ///
    /// A write through the pointer then ends the process with `SIGSEGV`. There is no write-only attachment:
    /// without this option both permissions are needed.
    #[doc(alias = "SHM_RDONLY")]
    #[must_use]
    pub const fn read_only(mut self, yes: bool) -> Self {
        self.read_only = yes;
        self
    }

    /// Makes the attached bytes executable, for which execute permission is needed too.
    ///
    /// # Platform-specific behavior
    ///
    /// Linux only; elsewhere [`Segment::attach`] answers [`Unsupported`](io::ErrorKind::Unsupported).
    #[doc(alias = "SHM_EXEC")]
    #[must_use]
    pub const fn executable(mut self, yes: bool) -> Self {
        self.executable = yes;
        self
    }

    /// Attaches at this address, which must be a multiple of the page size that backs the segment.
    ///
    /// Pointers stored in a segment hold in another process only if both attach it at one address. Better
    /// is to store offsets: nothing guarantees that an address is free everywhere.
    ///
    /// # Platform-specific behavior
    ///
    /// Linux only; elsewhere [`Segment::attach`] answers [`Unsupported`](io::ErrorKind::Unsupported): this
    /// option is safe only where an address in use is refused, and only Linux's manual promises that.
    #[doc(alias = "shmaddr")]
    #[doc(alias = "SHMLBA")]
    #[must_use]
    pub const fn address(mut self, address: usize) -> Self {
        self.address = Some(address);
        self
    }

    /// Rounds the [`address`](Self::address) down to a multiple of `SHMLBA`, the page size on most machines.
    ///
    /// It means nothing without an address. With it, an address below 1 MiB is refused before the call: one that
    /// rounds to 0 would be mapped there (by a privileged process), without the check that nothing else is.
    #[doc(alias = "SHM_RND")]
    #[doc(alias = "SHMLBA")]
    #[must_use]
    pub const fn round_down(mut self, yes: bool) -> Self {
        self.round_down = yes;
        self
    }
}
