//! How a region is created and opened: [`CreateOptions`], [`OpenOptions`] and what they choose from.

use std::time::Duration;

use crate::access::SharedRegionExt;
use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::check_memory_limits;
use crate::memory;
use crate::metadata::Capabilities;
use crate::region::{Access, SharedRegion};
use crate::seals::Seals;

/// When the memory behind a new region is set aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Allocation {
    /// At creation, so that a full store is [`NoSpace`](ErrorKind::NoSpace) then, and never SIGBUS at a later touch.
    ///
    /// Unless a peer that may write frees pages again (`MADV_REMOVE`, `FALLOC_FL_PUNCH_HOLE`): see "What a peer can do" of
    /// [`SharedRegion`].
    ///
    /// On a machine of several NUMA nodes all pages come from the creator's node, or from where its memory policy and the
    /// mount option `mpol` of `/dev/shm` send them. With [`Lazy`](Self::Lazy) each comes from the node of whoever touches it
    /// first. (By numa(7), tmpfs(5) and the kernel's documentation; only one node was there to measure.)
    ///
    /// A container's memory limit is not the store's: past it the kernel kills. So from 16 MiB on the size is compared
    /// with the room under each of [`memory_limits`](crate::memory_limits) first, and too little is `NoSpace` too.
    #[default]
    Reserve,
    /// At the first touch of each page. Creation is quick at any size, and the store may turn out to be full later:
    /// touching a page is SIGBUS then.
    Lazy,
    /// At creation, and every page is mapped into this process too, so that the first touch costs nothing.
    Prefault,
}

/// Which pages a new region is made of.
///
/// A huge page (2 MiB on x86-64) takes one entry where ordinary ones take hundreds, so that a large region is mapped in
/// quicker, and addresses in it are looked up quicker. *Explicit* ones come from a pool that the administrator fills
/// (`vm.nr_hugepages`), and are never swapped out. *Transparent* ones are put together by the kernel as it can.
///
/// | | POSIX, with a name | POSIX, unnamed | System V |
/// |---|---|---|---|
/// | `Try` | transparent, where `/dev/shm` is mounted with `huge=advise` or more | transparent, where `/sys/kernel/mm/transparent_hugepage/shmem_enabled` is `advise` or more | explicit, else transparent as beside |
/// | `Require` | `Unsupported` | explicit | explicit |
///
/// What a region got is in `/proc/PID/smaps` of a process that has it mapped: `KernelPageSize` for explicit huge pages,
/// `ShmemPmdMapped` for transparent ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HugePages {
    /// Ordinary pages, unless the system is set to do otherwise by itself.
    #[default]
    No,
    /// Huge pages where they can be had, else ordinary ones. Never the reason for an error.
    Try,
    /// Explicit huge pages of the system's default size, or an error. They are set aside at creation, whatever the
    /// [`Allocation`], so that a pool that runs empty makes no touch fail. (A control group's limit of huge pages may
    /// still do so, by the kernel's documentation: SIGBUS.)
    Require,
}

/// Who removes a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Removal {
    /// Whoever calls `remove`; until then the region outlives every handle and process.
    #[default]
    Explicit,
    /// The handle that created the object, when it is dropped in the process that created it. A clone, a handle that
    /// opened the region, and the copy of the handle in a forked child never remove anything.
    ///
    /// So nothing is removed where nothing is dropped: by `std::process::exit`, `abort`, or a signal; nor in a daemon that
    /// created the region before it forked itself into the background. [`LastUser`](Self::LastUser) is for those.
    OnDrop,
    /// The last handle of all, in whatever process that is: each handle that asks for this, a clone or one in a forked child
    /// too, looks as it is dropped whether anybody else holds the region, and removes it if not. Peers of another make (C,
    /// Python) count as users. Have every handle ask for it, by [`CreateOptions::removal`] and [`OpenOptions::removal`].
    ///
    /// What a program leaves that was killed, or that left by `std::process::exit`, is replaced by the next
    /// [`open_or_create`](crate::Backend::open_or_create) that asks for this: it first removes what nobody holds. Of programs
    /// that start at once after a crash exactly one creates a new region, of zeros, and the others open that.
    ///
    /// Needs [`Capabilities::last_user`](crate::Capabilities::last_user). A region without a name goes with its last user
    /// anyway.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX** on Linux: as [`remove_if_unused`](crate::Backend::remove_if_unused) does by a lease, and never by a look
    ///   at processes. There is no window. The kernel answers the object's owner alone (or `CAP_LEASE`), so another user who
    ///   is the last leaves it behind, and one who finds a leftover of somebody else joins it. A program that is being
    ///   started at that moment (between `fork` and `exec`, which copies descriptors) counts as a user for so long.
    /// - **System V**: when the attach count is 0. All who ask for this take turns by a lock on `/proc/sysvipc/shm`, and
    ///   whose segment turns out to be removed when it has just been attached tries again. A window is left to those who do
    ///   not ask for this, or see another `/proc`: who attaches between the look and the removal keeps a segment without a
    ///   key.
    LastUser,
}

/// How a region is created.
///
/// # Examples
///
/// ```
/// use shared_region::{Allocation, CreateOptions, Removal};
///
/// let options = CreateOptions::new(1 << 20).mode(0o640).allocation(Allocation::Lazy).removal(Removal::OnDrop);
/// assert_eq!(options.get_size(), 1 << 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct CreateOptions {
    size: usize,
    mode: u32,
    allocation: Allocation,
    huge_pages: HugePages,
    prefault_threads: usize,
    removal: Removal,
    lock_memory: bool,
    core_dump: bool,
    keep_descriptor: bool,
    fixed_address: Option<usize>,
    expect_owner: Option<u32>,
    replace: bool,
}

impl CreateOptions {
    /// Asks for `size` bytes, mode 0600, memory reserved at creation, ordinary pages, explicit removal.
    pub const fn new(size: usize) -> Self {
        Self {
            size,
            mode: 0o600,
            allocation: Allocation::Reserve,
            huge_pages: HugePages::No,
            prefault_threads: 0,
            removal: Removal::Explicit,
            lock_memory: false,
            core_dump: true,
            keep_descriptor: true,
            fixed_address: None,
            expect_owner: None,
            replace: false,
        }
    }

    /// Sets the permission bits. The asked mode is the resulting mode, whatever the umask.
    ///
    /// It must hold 0600: a mode that keeps its own creator out is refused. Fill the region first, then
    /// [`set_mode(0o444)`](crate::SharedRegion::set_mode).
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets when memory is set aside.
    pub const fn allocation(mut self, allocation: Allocation) -> Self {
        self.allocation = allocation;
        self
    }

    /// Sets which pages the region is made of.
    ///
    /// [`HugePages::Require`] needs [`Capabilities::huge_pages`](crate::Capabilities::huge_pages), or an unnamed region
    /// on POSIX, else `Unsupported`.
    ///
    /// # Platform-specific behavior
    ///
    /// Linux only; elsewhere `Try` changes nothing and `Require` is `Unsupported`.
    ///
    /// - **POSIX**: `Try` is `madvise(MADV_HUGEPAGE)` on the creator's mapping, and memory is then reserved through
    ///   that mapping (`MADV_POPULATE_WRITE`), as huge pages. Others who map the region, and this process after
    ///   `grow`, use what is there; pages that come later are ordinary. `Require` on an unnamed region is
    ///   `memfd_create(MFD_HUGETLB)`: its size is a multiple of a huge page's, else
    ///   [`InvalidSize`](ErrorKind::InvalidSize), and stays what it is (`F_SEAL_GROW`).
    /// - **System V**: `shmget(SHM_HUGETLB)`, which needs `CAP_IPC_LOCK` or membership in the group of
    ///   `vm.hugetlb_shm_group`. Any size will do; the last huge page is taken whole. With `Require` a fixed
    ///   address is a multiple of a huge page's size, else [`AddressInUse`](ErrorKind::AddressInUse). `Try` falls back
    ///   to ordinary pages with `MADV_HUGEPAGE`, and begins with these at a fixed address.
    ///
    /// # References
    ///
    /// [shmget(2)](https://man7.org/linux/man-pages/man2/shmget.2.html),
    /// [madvise(2)](https://man7.org/linux/man-pages/man2/madvise.2.html),
    /// [tmpfs(5)](https://man7.org/linux/man-pages/man5/tmpfs.5.html)
    #[doc(alias("SHM_HUGETLB", "MADV_HUGEPAGE", "MFD_HUGETLB"))]
    pub const fn huge_pages(mut self, huge_pages: HugePages) -> Self {
        self.huge_pages = huge_pages;
        self
    }

    /// Sets who removes the region.
    pub const fn removal(mut self, removal: Removal) -> Self {
        self.removal = removal;
        self
    }

    /// Keeps the creator's mapping resident from the start, as
    /// [`SharedRegion::lock_memory`](crate::SharedRegion::lock_memory) does.
    pub const fn lock_memory(mut self, lock: bool) -> Self {
        self.lock_memory = lock;
        self
    }

    /// Sets whether the mapping's bytes go into core dumps of this process, which they do by default. Keep secrets, and what
    /// is too large for a disk, out of them.
    ///
    /// It holds for this mapping and what comes of it by `grow`, `refresh` and `try_clone`. Every process decides for
    /// itself: peers say so as they open the region.
    ///
    /// # Platform-specific behavior
    ///
    /// - Linux: `madvise(MADV_DONTDUMP)`. What `/proc/PID/coredump_filter` leaves out stays out either way.
    /// - FreeBSD: `madvise(MADV_NOCORE)`, by its manual.
    /// - Elsewhere nothing is done.
    ///
    /// # References
    ///
    /// [core(5)](https://man7.org/linux/man-pages/man5/core.5.html),
    /// [madvise(2)](https://man7.org/linux/man-pages/man2/madvise.2.html)
    #[doc(alias("MADV_DONTDUMP", "MADV_NOCORE"))]
    pub const fn core_dump(mut self, core_dump: bool) -> Self {
        self.core_dump = core_dump;
        self
    }

    /// Sets how many threads map pages in for [`Allocation::Prefault`], this one among them; 0, the default, is as many as
    /// may run here at once, by affinity and the quota of a control group. Less than 32 MiB are mapped in by one. The others
    /// have all signals blocked, and none is left when the call returns; where no thread can be had, fewer do it. If a page
    /// cannot be had, those that were taken from the store of an object that exists stay with the object.
    ///
    /// # Platform-specific behavior
    ///
    /// - Linux 5.14 and later. Elsewhere one thread does it.
    pub const fn prefault_threads(mut self, threads: usize) -> Self {
        self.prefault_threads = threads;
        self
    }

    /// Sets whether the region keeps its descriptor once it is mapped, which it does by default. Without one, thousands of
    /// regions fit into `RLIMIT_NOFILE`.
    ///
    /// The mapping keeps the object. Access, `remove`, removal on drop and metadata go on working; mode and owner are
    /// changed by opening the object for a moment, by its name. What needs the descriptor is
    /// [`Unsupported`](ErrorKind::Unsupported) then: `descriptor`, `grow`, `refresh`, `try_clone`, and of an unnamed or
    /// removed region metadata, mode and owner, too. In `create_with` it is so already as `init` runs.
    ///
    /// # Platform-specific behavior
    ///
    /// - **System V**: there is no descriptor, and this changes nothing.
    pub const fn keep_descriptor(mut self, keep: bool) -> Self {
        self.keep_descriptor = keep;
        self
    }

    /// Maps the region at `address`, a multiple of the page size, and never over another mapping.
    ///
    /// Needs [`Capabilities::fixed_address`](crate::Capabilities::fixed_address), else `Unsupported`.
    pub const fn fixed_address(mut self, address: usize) -> Self {
        self.fixed_address = Some(address);
        self
    }

    /// Has [`open_or_create`](crate::Backend::open_or_create) refuse what exists and belongs to another user than `uid`, as
    /// [`OpenOptions::expect_owner`] does. No other call looks at it.
    pub const fn expect_owner(mut self, uid: u32) -> Self {
        self.expect_owner = Some(uid);
        self
    }

    /// Has [`open_or_create`](crate::Backend::open_or_create) replace what it would refuse: a region that is too small, that
    /// belongs to another user than [`expect_owner`](Self::expect_owner) says, or that never got a size and that nobody
    /// holds. Who has the old region keeps it, without a name. No other call looks at this.
    ///
    /// Of several processes that do so at once all end on one region: who removes an old one looks again, while nobody else
    /// of this crate can, whether it still has the name and is still unfit. By calls of one's own that cannot be had: between
    /// the look and the removal the name can come to mean what another has made meanwhile.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX** on Linux: by the lock that [`grow`](crate::SharedRegion::grow) and `remove` take, too (`flock` on the
    ///   object); a stranger who keeps it for a second is [`Busy`](ErrorKind::Busy). Elsewhere
    ///   [`Unsupported`](ErrorKind::Unsupported) if something is in the way.
    /// - **System V**: by the segment's id, which means no other segment.
    pub const fn replace(mut self, replace: bool) -> Self {
        self.replace = replace;
        self
    }

    /// Returns the size in bytes.
    pub const fn get_size(&self) -> usize {
        self.size
    }

    /// Returns the permission bits.
    pub const fn get_mode(&self) -> u32 {
        self.mode
    }

    /// Returns when memory is set aside.
    pub const fn get_allocation(&self) -> Allocation {
        self.allocation
    }

    /// Returns which pages the region is made of.
    pub const fn get_huge_pages(&self) -> HugePages {
        self.huge_pages
    }

    /// Returns who removes the region.
    pub const fn get_removal(&self) -> Removal {
        self.removal
    }

    /// Returns whether the creator's mapping is kept resident.
    pub const fn get_lock_memory(&self) -> bool {
        self.lock_memory
    }

    /// Returns whether the mapping goes into core dumps.
    pub const fn get_core_dump(&self) -> bool {
        self.core_dump
    }

    /// Returns how many threads map pages in; 0 for as many as pay.
    pub const fn get_prefault_threads(&self) -> usize {
        self.prefault_threads
    }

    /// Returns whether the region keeps its descriptor.
    pub const fn get_keep_descriptor(&self) -> bool {
        self.keep_descriptor
    }

    /// Returns the asked address.
    pub const fn get_fixed_address(&self) -> Option<usize> {
        self.fixed_address
    }

    /// Returns the only user whose region [`open_or_create`](crate::Backend::open_or_create) opens.
    pub const fn get_expect_owner(&self) -> Option<u32> {
        self.expect_owner
    }

    /// Returns whether [`open_or_create`](crate::Backend::open_or_create) replaces what it would refuse.
    pub const fn get_replace(&self) -> bool {
        self.replace
    }

    /// Says what these options ask of a region that exists, for [`open_or_create`](crate::Backend::open_or_create).
    pub(crate) fn to_open(&self) -> OpenOptions {
        let mut open = OpenOptions::new()
            .min_size(self.size)
            .prefault(self.allocation == Allocation::Prefault)
            .prefault_threads(self.prefault_threads)
            .core_dump(self.core_dump)
            .keep_descriptor(self.keep_descriptor);
        open.fixed_address = self.fixed_address;
        open.expect_owner = self.expect_owner;
        // What exists is not removed by who did not create it.
        if self.removal == Removal::LastUser {
            open.removal = Removal::LastUser;
        }
        open
    }

    /// Says whether a region of so many bytes that belongs to `uid` is one that `open_or_create` refuses. For backends.
    #[must_use]
    pub fn is_unfit(&self, size: u64, uid: u32) -> bool {
        size < self.size as u64 || self.expect_owner.is_some_and(|expected| expected != uid)
    }

    /// Checks what can be checked without a system call. Backends call it first.
    ///
    /// # Errors
    ///
    /// - [`InvalidSize`](ErrorKind::InvalidSize): the size is 0 or over `isize::MAX`.
    /// - [`InvalidOptions`](ErrorKind::InvalidOptions): the mode is over 0777 or lacks 0600; the address is 0.
    pub fn validate(&self) -> Result<()> {
        validate_size(self.size as u64).map_err(|error| error.operation("create"))?;
        let invalid = |reason: String| Err(Error::new(ErrorKind::InvalidOptions).operation("create").reason(reason));
        if self.mode & !0o777 != 0 {
            return invalid(format!("mode {:#o} has bits beyond 0o777: permission bits only", self.mode));
        }
        if self.mode & 0o600 != 0o600 {
            return invalid(format!(
                "mode {:#o} keeps its own creator out: include 0o600, fill the region, then call set_mode",
                self.mode
            ));
        }
        validate_address(self.fixed_address).map_err(|error| error.operation("create"))
    }

    /// Checks what [`validate`](Self::validate) checks, and that a backend of these capabilities can do it.
    ///
    /// # Errors
    ///
    /// Those of [`validate`](Self::validate), and
    ///
    /// - [`Unsupported`](ErrorKind::Unsupported): an address, huge pages or [`Removal::LastUser`] are required, and the
    ///   capability is missing.
    pub fn validate_for(&self, capabilities: Capabilities) -> Result<()> {
        self.validate()?;
        validate_capability(self.fixed_address, self.removal, capabilities)
            .map_err(|error| error.operation("create"))?;
        if self.huge_pages == HugePages::Require && !capabilities.huge_pages() {
            return Err(Error::new(ErrorKind::Unsupported).operation("create").reason(
                "this backend has no huge pages for that: try for them, or use one with the capability huge_pages",
            ));
        }
        Ok(())
    }

    /// Compares a size of 16 MiB and more with the [memory limits](crate::memory_limits) that hold here, unless these
    /// options reserve and lock nothing of it. For backends, before they take memory.
    ///
    /// # Errors
    ///
    /// - [`NoSpace`](ErrorKind::NoSpace): a limit has no room for it; the text names the limit.
    pub fn validate_room(&self) -> Result<()> {
        // What is locked is brought in, and huge pages come out of a pool of their own.
        if self.allocation == Allocation::Lazy && !self.lock_memory || self.huge_pages == HugePages::Require {
            return Ok(());
        }
        check_memory_limits(self.size).map_err(|error| error.operation("create"))
    }

    /// Does what these options ask of the creator's mapping once it exists: keeps it out of core dumps, tries for huge
    /// pages, maps its pages in, locks them. For backends; the region has been created with these options and is writable.
    ///
    /// # Errors
    ///
    /// - [`NoSpace`](ErrorKind::NoSpace), [`LimitExceeded`](ErrorKind::LimitExceeded): not all pages could be had.
    pub fn settle(&self, region: &(impl SharedRegion + ?Sized)) -> Result<()> {
        settle_core_dump(self.core_dump, region, "create")?;
        if self.huge_pages == HugePages::Try {
            memory::try_huge_pages(region.as_ptr(), region.len());
        }
        if self.allocation == Allocation::Prefault {
            let start = region.as_mut_ptr()?;
            // SAFETY: the trait promises `len` bytes from its start on, writable as `as_mut_ptr` checked, which no
            // reference but to atomics covers.
            unsafe { memory::prefault(start, region.len(), self.prefault_threads) }
                .map_err(|error| region.describe(error, "create"))?;
        }
        if self.lock_memory {
            region.lock_memory().map_err(|error| error.operation("create"))?;
        }
        Ok(())
    }
}

/// Keeps a region out of core dumps, unless it may go there.
fn settle_core_dump(core_dump: bool, region: &(impl SharedRegion + ?Sized), operation: &'static str) -> Result<()> {
    if core_dump {
        return Ok(());
    }
    let kept = memory::keep_out_of_core_dumps(region.as_ptr(), region.len());
    kept.map_err(|error| region.describe(Error::from_io(&error), operation))
}

/// Refuses sizes that no mapping can have.
pub(crate) fn validate_size(size: u64) -> Result<()> {
    let reason = if size == 0 {
        "a size of 0 bytes cannot be mapped: ask for at least 1".to_owned()
    } else if size > isize::MAX as u64 {
        format!("{size} bytes are more than an address space holds: at most {}", isize::MAX)
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidSize).reason(reason))
}

fn validate_address(address: Option<usize>) -> Result<()> {
    match address {
        Some(0) => Err(Error::new(ErrorKind::InvalidOptions)
            .reason("address 0 cannot be asked for: leave fixed_address out to let the system choose")),
        _ => Ok(()),
    }
}

fn validate_capability(address: Option<usize>, removal: Removal, capabilities: Capabilities) -> Result<()> {
    let missing = if address.is_some() && !capabilities.fixed_address() {
        "this backend lets the system choose the address: leave fixed_address out"
    } else if removal == Removal::LastUser && !capabilities.last_user() {
        "it cannot be told here who is the last user: remove it by name, or use a backend with the capability last_user"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Unsupported).reason(missing))
}

/// How a region is opened.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use shared_region::OpenOptions;
///
/// let options = OpenOptions::new().read_only(true).min_size(4096).timeout(Duration::from_secs(5));
/// assert_eq!(options.get_min_size(), 4096);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct OpenOptions {
    read_only: bool,
    min_size: usize,
    timeout: Option<Duration>,
    expect_owner: Option<u32>,
    require_seals: Seals,
    prefault: bool,
    prefault_threads: usize,
    core_dump: bool,
    keep_descriptor: bool,
    removal: Removal,
    fixed_address: Option<usize>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// How long an opener waits for an object of size 0 when no [`timeout`](Self::timeout) is given.
    pub const READY_TIMEOUT: Duration = Duration::from_secs(1);

    /// Opens for reading and writing, whatever the size and the owner, without waiting for a missing name.
    pub const fn new() -> Self {
        Self {
            read_only: false,
            min_size: 0,
            timeout: None,
            expect_owner: None,
            require_seals: Seals::new(),
            prefault: false,
            prefault_threads: 0,
            core_dump: true,
            keep_descriptor: true,
            removal: Removal::Explicit,
            fixed_address: None,
        }
    }

    /// Opens for reading alone, for which read permission is enough.
    pub const fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Refuses an object of fewer than `bytes` bytes. The region is as long as the object, never as long as asked.
    pub const fn min_size(mut self, bytes: usize) -> Self {
        self.min_size = bytes;
        self
    }

    /// Waits until the name exists and has a size, at most for `timeout` in all.
    ///
    /// Without it a missing name is [`NotFound`](ErrorKind::NotFound) at once, and an object that its creator has not
    /// sized yet is waited for during [`READY_TIMEOUT`](Self::READY_TIMEOUT).
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Refuses an object that belongs to another user than `uid`, before mapping it.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX**: the object's owner is `uid`.
    /// - **System V**: the owner is `uid`, and the creator is `uid` or root.
    pub const fn expect_owner(mut self, uid: u32) -> Self {
        self.expect_owner = Some(uid);
        self
    }

    /// Refuses an object that lacks one of these seals, before its size is read and anything is mapped.
    ///
    /// Of a descriptor from others demand [`shrink`](Seals::shrink) at least: what they can shrink makes a safe read SIGBUS.
    /// A sender that is trusted to write and not to take pages away needs no more; against that there is
    /// [`future_write`](Seals::future_write). `F_SEAL_WRITE` counts as that, too.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX**: by descriptor (`PosixRegion::from_fd`) a missing seal is
    ///   [`PermissionDenied`](ErrorKind::PermissionDenied), whose text names it. By name every demand is
    ///   [`Unsupported`](ErrorKind::Unsupported), as objects with a name take no seals.
    /// - **System V**: segments can neither shrink nor grow, so these two are granted. The others are
    ///   [`Unsupported`](ErrorKind::Unsupported).
    ///
    /// # References
    ///
    /// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), File Sealing
    #[doc(alias("F_GET_SEALS", "F_SEAL_SHRINK"))]
    pub const fn require_seals(mut self, seals: Seals) -> Self {
        self.require_seals = seals;
        self
    }

    /// Maps in every page before the region is handed out, so that the first touch of none costs anything.
    ///
    /// Pages that nobody has touched or reserved are taken from the store: an object that does not fit is
    /// [`NoSpace`](ErrorKind::NoSpace), and never SIGBUS.
    ///
    /// # Platform-specific behavior
    ///
    /// - Linux 5.14 and later: `madvise(MADV_POPULATE_WRITE)`, for a read-only region `MADV_POPULATE_READ`. Before that
    ///   each page is asked for by `process_vm_readv` of this very process, and touched. Where a sandbox forbids that
    ///   call, a page that cannot be had is SIGBUS.
    /// - **POSIX** on Linux: an object of at most 16 KiB whose memory is all there is mapped in anyway (`MAP_POPULATE`).
    /// - Elsewhere each page is touched.
    ///
    /// # References
    ///
    /// [madvise(2)](https://man7.org/linux/man-pages/man2/madvise.2.html),
    /// [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html)
    #[doc(alias("MADV_POPULATE_WRITE", "MADV_POPULATE_READ", "MAP_POPULATE"))]
    pub const fn prefault(mut self, prefault: bool) -> Self {
        self.prefault = prefault;
        self
    }

    /// Sets how many threads map pages in for [`prefault`](Self::prefault), this one among them; 0, the default, is as many as
    /// may run here at once, by affinity and the quota of a control group. Less than 32 MiB are mapped in by one. The others
    /// have all signals blocked, and none is left when the call returns; where no thread can be had, fewer do it. If a page
    /// cannot be had, those that were taken from the store of an object that exists stay with the object.
    ///
    /// # Platform-specific behavior
    ///
    /// - Linux 5.14 and later. Elsewhere one thread does it.
    pub const fn prefault_threads(mut self, threads: usize) -> Self {
        self.prefault_threads = threads;
        self
    }

    /// Sets whether the mapping's bytes go into core dumps of this process, which they do by default. Keep secrets, and what
    /// is too large for a disk, out of them.
    ///
    /// It holds for this mapping and what comes of it by `grow`, `refresh` and `try_clone`. Every process decides for
    /// itself: peers say so as they open the region.
    ///
    /// # Platform-specific behavior
    ///
    /// - Linux: `madvise(MADV_DONTDUMP)`. What `/proc/PID/coredump_filter` leaves out stays out either way.
    /// - FreeBSD: `madvise(MADV_NOCORE)`, by its manual.
    /// - Elsewhere nothing is done.
    ///
    /// # References
    ///
    /// [core(5)](https://man7.org/linux/man-pages/man5/core.5.html),
    /// [madvise(2)](https://man7.org/linux/man-pages/man2/madvise.2.html)
    #[doc(alias("MADV_DONTDUMP", "MADV_NOCORE"))]
    pub const fn core_dump(mut self, core_dump: bool) -> Self {
        self.core_dump = core_dump;
        self
    }

    /// Sets whether the region keeps its descriptor once it is mapped, which it does by default. Without one, thousands of
    /// regions fit into `RLIMIT_NOFILE`.
    ///
    /// The mapping keeps the object. Access, `remove`, removal on drop and metadata go on working; mode and owner are
    /// changed by opening the object for a moment, by its name. What needs the descriptor is
    /// [`Unsupported`](ErrorKind::Unsupported) then: `descriptor`, `grow`, `refresh`, `try_clone`, and of an unnamed or
    /// removed region metadata, mode and owner, too.
    ///
    /// # Platform-specific behavior
    ///
    /// - **System V**: there is no descriptor, and this changes nothing.
    pub const fn keep_descriptor(mut self, keep: bool) -> Self {
        self.keep_descriptor = keep;
        self
    }

    /// Maps the region at `address`, a multiple of the page size, and never over another mapping.
    ///
    /// Needs [`Capabilities::fixed_address`](crate::Capabilities::fixed_address), else `Unsupported`.
    pub const fn fixed_address(mut self, address: usize) -> Self {
        self.fixed_address = Some(address);
        self
    }

    /// Sets whether this handle is one of those of which the last removes the region: [`Removal::LastUser`]. A region that
    /// nobody holds is opened all the same: `open_or_create` alone takes it for a leftover.
    ///
    /// [`Removal::OnDrop`] is for who creates, and [`InvalidOptions`](ErrorKind::InvalidOptions) here.
    pub const fn removal(mut self, removal: Removal) -> Self {
        self.removal = removal;
        self
    }

    /// Returns the access that the mapping will have.
    pub const fn get_access(&self) -> Access {
        if self.read_only { Access::ReadOnly } else { Access::ReadWrite }
    }

    /// Returns the least size in bytes.
    pub const fn get_min_size(&self) -> usize {
        self.min_size
    }

    /// Returns how long to wait.
    pub const fn get_timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Returns the only user whose object is welcome.
    pub const fn get_expect_owner(&self) -> Option<u32> {
        self.expect_owner
    }

    /// Returns the seals that an object must have.
    pub const fn get_require_seals(&self) -> Seals {
        self.require_seals
    }

    /// Returns whether every page is mapped in.
    pub const fn get_prefault(&self) -> bool {
        self.prefault
    }

    /// Returns whether the mapping goes into core dumps.
    pub const fn get_core_dump(&self) -> bool {
        self.core_dump
    }

    /// Returns how many threads map pages in; 0 for as many as pay.
    pub const fn get_prefault_threads(&self) -> usize {
        self.prefault_threads
    }

    /// Returns whether the region keeps its descriptor.
    pub const fn get_keep_descriptor(&self) -> bool {
        self.keep_descriptor
    }

    /// Returns whether this handle is one of those of which the last removes the region.
    pub const fn get_removal(&self) -> Removal {
        self.removal
    }

    /// Returns the asked address.
    pub const fn get_fixed_address(&self) -> Option<usize> {
        self.fixed_address
    }

    /// Checks what can be checked without a system call. Backends call it first.
    ///
    /// # Errors
    ///
    /// - [`InvalidOptions`](ErrorKind::InvalidOptions): the address is 0, or the removal is [`Removal::OnDrop`].
    pub fn validate(&self) -> Result<()> {
        if self.removal == Removal::OnDrop {
            return Err(Error::new(ErrorKind::InvalidOptions)
                .operation("open")
                .reason("removal on drop is for the handle that creates: open with Removal::LastUser, or without"));
        }
        validate_address(self.fixed_address).map_err(|error| error.operation("open"))
    }

    /// Checks what [`validate`](Self::validate) checks, and that a backend of these capabilities can do it.
    ///
    /// # Errors
    ///
    /// Those of [`validate`](Self::validate), and
    ///
    /// - [`Unsupported`](ErrorKind::Unsupported): an address or [`Removal::LastUser`] is asked for, or a seal required, and the
    ///   capability is missing.
    ///   [`fixed_size`](Capabilities::fixed_size) is as good as the seals against shrinking and growing; a backend that has
    ///   seals checks them itself, and passes these options here without.
    pub fn validate_for(&self, capabilities: Capabilities) -> Result<()> {
        self.validate()?;
        validate_capability(self.fixed_address, self.removal, capabilities).map_err(|error| error.operation("open"))?;
        let fixed = capabilities.fixed_size();
        let missing = self.require_seals.missing_in(Seals::new().with_shrink(fixed).with_grow(fixed));
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported).operation("open").reason(format!(
            "nothing seals it so ({missing}): pass a memfd by its descriptor, and adopt that (PosixRegion::from_fd)"
        )))
    }

    /// Checks an object's size in bytes against these options, and returns it as a length to map. For backends.
    ///
    /// # Errors
    ///
    /// - [`NotReady`](ErrorKind::NotReady): the size is 0, so its creator has not finished, or never will.
    /// - [`InvalidSize`](ErrorKind::InvalidSize): the size is over `isize::MAX`.
    /// - [`SizeMismatch`](ErrorKind::SizeMismatch): the size is below [`min_size`](Self::min_size).
    pub fn validate_size(&self, size: u64) -> Result<usize> {
        let len = usize::try_from(size).unwrap_or(usize::MAX);
        if len == 0 {
            return Err(Error::new(ErrorKind::NotReady).operation("open"));
        }
        validate_size(size).map_err(|error| error.operation("open"))?;
        if len < self.min_size {
            return Err(Error::new(ErrorKind::SizeMismatch { have: len, want: self.min_size }).operation("open"));
        }
        Ok(len)
    }

    /// Checks an object's owner against these options. For backends.
    ///
    /// # Errors
    ///
    /// - [`PermissionDenied`](ErrorKind::PermissionDenied): it is another than [`expect_owner`](Self::expect_owner).
    pub fn validate_owner(&self, uid: u32) -> Result<()> {
        match self.expect_owner {
            Some(expected) if expected != uid => Err(Error::new(ErrorKind::PermissionDenied)
                .operation("open")
                .reason(format!("it belongs to uid {uid}, and uid {expected} was expected"))),
            _ => Ok(()),
        }
    }

    /// Does what these options ask of a mapping once it exists: keeps it out of core dumps, maps its pages in. For backends;
    /// the region has been opened with these options.
    ///
    /// # Errors
    ///
    /// - [`NoSpace`](ErrorKind::NoSpace): not all pages could be had.
    pub fn settle(&self, region: &(impl SharedRegion + ?Sized)) -> Result<()> {
        settle_core_dump(self.core_dump, region, "open")?;
        if !self.prefault {
            return Ok(());
        }
        let mapped = match region.access() {
            Access::ReadWrite => {
                let start = region.as_mut_ptr()?;
                // SAFETY: the trait promises `len` bytes from its start on, writable as `as_mut_ptr` checked, which no
                // reference but to atomics covers.
                unsafe { memory::prefault(start, region.len(), self.prefault_threads) }
            }
            // SAFETY: the trait promises `len` readable bytes from its start on.
            Access::ReadOnly => unsafe {
                memory::prefault_to_read(region.as_ptr(), region.len(), self.prefault_threads)
            },
        };
        mapped.map_err(|error| region.describe(error, "open"))
    }

    /// Calls `attempt` until it says something else than [`NotFound`](ErrorKind::NotFound),
    /// [`NotReady`](ErrorKind::NotReady) or [`Busy`](ErrorKind::Busy), or the time that these options grant is over. For
    /// backends.
    ///
    /// # Errors
    ///
    /// The last error of `attempt`.
    pub fn poll<R>(&self, mut attempt: impl FnMut() -> Result<R>) -> Result<R> {
        let mut waiting = None;
        loop {
            let error = match attempt() {
                Ok(region) => return Ok(region),
                Err(error) => error,
            };
            let patience = match (error.kind(), self.timeout) {
                (ErrorKind::NotFound | ErrorKind::NotReady | ErrorKind::Busy, Some(timeout)) => timeout,
                (ErrorKind::NotReady | ErrorKind::Busy, None) => Self::READY_TIMEOUT,
                _ => return Err(error),
            };
            if !waiting.get_or_insert_with(|| Backoff::new(patience)).pause() {
                return Err(error);
            }
        }
    }
}
