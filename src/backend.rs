//! Where regions come from: [`Backend`], and [`AnyBackend`], chosen at run time.

use std::fmt::Debug;

use crate::error::{Error, ErrorKind, Result};
use crate::holders::Holders;
use crate::metadata::{Capabilities, ListEntry, Metadata};
use crate::name::{RegionId, RegionName};
use crate::options::{CreateOptions, OpenOptions};
use crate::region::SharedRegion;

#[cfg_attr(
    not(any(feature = "posix", feature = "sysv")),
    allow(unused_variables, reason = "without a backend there is nothing to hand them to")
)]
mod any;
mod creation;
mod identity;
mod provided;

pub use any::AnyBackend;
#[cfg(any(feature = "posix", feature = "sysv"))]
pub use any::{DefaultBackend, Region};
pub(crate) use creation::{Way, open_or_create};
use provided::unsupported;
pub(crate) use provided::{HOLDERS, random_suffix};

/// A way to make and find shared memory: [`Posix`](crate::Posix), [`Sysv`](crate::Sysv), the run-time choice
/// [`AnyBackend`], or one's own.
///
/// Programs that are generic over it work with each of them. Where backends differ, ask
/// [`capabilities`](Self::capabilities), never the backend's name.
///
/// Errors of every call beyond those that it lists: [`BackendUnavailable`](ErrorKind::BackendUnavailable) where this
/// machine, namespace or sandbox lacks the facility; [`LimitExceeded`](ErrorKind::LimitExceeded) for a limit of the
/// process, named with its value.
///
/// # Examples
///
/// One program for every backend:
///
/// ```
/// use shared_region::{AnyBackend, Backend, CreateOptions, OpenOptions, Result, SharedRegion, SharedRegionExt};
///
/// fn round_trip<B: Backend>(backend: B) -> Result<()> {
///     let region = backend.create_unique("doc-", &CreateOptions::new(4096))?;
///     region.write_at(0, b"hello")?;
///     if let Some(id) = region.id() {
///         let mut bytes = [0; 5];
///         backend.open_id(&id, &OpenOptions::new().read_only(true))?.read_at(0, &mut bytes)?;
///         assert_eq!(&bytes, b"hello");
///     }
///     region.remove()
/// }
///
/// for name in ["posix", "sysv"] {
///     # if name.parse::<AnyBackend>().is_err() { continue }
///     round_trip(name.parse::<AnyBackend>()?)?;
/// }
/// # Ok::<(), shared_region::Error>(())
/// ```
///
/// # One's own backend
///
/// Beside `name` and `capabilities` six calls have to be written: [`create_with`](Self::create_with),
/// [`create_unnamed`](Self::create_unnamed), [`open_id`](Self::open_id), [`exists`](Self::exists),
/// [`remove_id`](Self::remove_id), [`list`](Self::list). The others have a default; that of
/// [`metadata_id`](Self::metadata_id), [`set_mode_id`](Self::set_mode_id), [`set_owner_id`](Self::set_owner_id),
/// [`holders_ids`](Self::holders_ids) and [`remove_id_if_unused`](Self::remove_id_if_unused) is
/// [`Unsupported`](ErrorKind::Unsupported). What every backend needs for them is public:
///
/// - creating: [`CreateOptions::validate_for`] first, [`settle`](CreateOptions::settle) once it is mapped;
/// - opening: [`RegionId::name_in`], [`OpenOptions::poll`] around the attempt, in it
///   [`validate_owner`](OpenOptions::validate_owner) and [`validate_size`](OpenOptions::validate_size) before mapping,
///   [`settle`](OpenOptions::settle) after it;
/// - removing: a region's [`remove`](SharedRegion::remove) looks at the name and removes it under a lock, else
///   [`CreateOptions::replace`] can split those who replace at once;
/// - failing: [`Error::from_io`], and on the way out [`Error::context`] or, of a region,
///   [`SharedRegionExt::describe`](crate::SharedRegionExt::describe);
/// - asking and changing: [`SharedRegion::metadata`], `set_mode` and `set_owner` are there for regions that lend a
///   descriptor;
/// - telling: [`Metadata`] (from `std::fs::Metadata`, too), [`Holders`], [`Capabilities`], [`ListEntry`].
///
/// The package `shared-region-conformance` checks any; in its tests there is one over plain files.
pub trait Backend: Debug + Send + Sync {
    /// What this backend's regions are.
    type Region: SharedRegion + 'static;

    /// Returns the name that stands before the colon of a [`RegionId`]: `posix`, `sysv`, or one's own, of
    /// `A-Z a-z 0-9 . _ -`.
    fn name(&self) -> &'static str;

    /// Returns what this backend can do here and now.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX**: `atomic_init` is found out once for each process and `/dev/shm`, by a link that is made and taken away
    ///   at once (`.shared-region-probe-UID`), as security modules judge the link itself. Nothing is left behind, but by
    ///   a process that is killed between the two calls: an empty file of that name, which the next one takes away.
    fn capabilities(&self) -> Capabilities;

    /// Finds out whether this backend works here, and leaves nothing behind.
    ///
    /// # Errors
    ///
    /// - [`BackendUnavailable`](ErrorKind::BackendUnavailable): it does not, and the message says why.
    /// - [`PermissionDenied`](ErrorKind::PermissionDenied): it does, for others.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX**: makes an object without a name and maps it; where the system has no such objects, under a unique
    ///   name that is removed at once.
    /// - **System V**: makes a private segment of one page, attaches and removes it.
    fn probe(&self) -> Result<()> {
        let unnamed = self.create_unnamed(&CreateOptions::new(1));
        unnamed.map(drop).map_err(|error| error.operation("use"))
    }

    /// Creates a region that did not exist before, filled with zeros.
    ///
    /// It is all or nothing: on error no object, mapping or descriptor is left, and what stood under the name is as
    /// before. The region outlives this handle unless [`Removal::OnDrop`](crate::Removal::OnDrop) says otherwise.
    ///
    /// # Errors
    ///
    /// - [`AlreadyExists`](ErrorKind::AlreadyExists): something has the name, whatever else the system would refuse.
    /// - [`InvalidSize`](ErrorKind::InvalidSize), [`InvalidOptions`](ErrorKind::InvalidOptions): see [`CreateOptions`].
    /// - [`NoSpace`](ErrorKind::NoSpace): the store or the memory is full, or a quota or the memory limit of a container
    ///   has no room for it.
    /// - [`PermissionDenied`](ErrorKind::PermissionDenied): the caller may not create there.
    /// - [`NotFound`](ErrorKind::NotFound): System V: another process removed it before it was attached here.
    /// - [`Unsupported`](ErrorKind::Unsupported): an option asks for a missing capability.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX** on Linux: the object is made without a name (`O_TMPFILE`), sized, reserved (`fallocate`) and mapped,
    ///   then linked into `/dev/shm` (`linkat`), so that nobody ever sees it half made. Where a file without a name or
    ///   its link is refused (by an old or odd file system, AppArmor, SELinux, a sandbox), and on other systems:
    ///   `shm_open(O_CREAT | O_EXCL)`, with the size given last; if that fails too, its error is told. What was refused
    ///   is remembered, by process and `/dev/shm`.
    /// - **System V**: `shmget(IPC_CREAT | IPC_EXCL)`, `shmat`.
    fn create_new(&self, name: &RegionName, options: &CreateOptions) -> Result<Self::Region> {
        self.create_with(name, options, |_| Ok(()))
    }

    /// Creates a region as [`create_new`](Self::create_new) does, and has `init` fill it.
    ///
    /// If `init` fails or panics, nothing is left. Where [`atomic_init`](Capabilities::atomic_init) holds it runs
    /// before anybody can open the region, and a link that fails after it is an error, never a second try. Elsewhere
    /// openers may see bytes half written: let `init` store a flag last.
    ///
    /// # Errors
    ///
    /// Those of `init`, and those of [`create_new`](Self::create_new) turned into them by `From`.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// use shared_region::{AnyBackend, Backend, CreateOptions, Error, RegionName, SharedRegion, SharedRegionExt};
    ///
    /// let name = RegionName::new("/table")?;
    /// # let name = RegionName::new(&format!("/table-{}", std::process::id()))?;
    /// let region = AnyBackend::default().create_with(&name, &CreateOptions::new(4096), |region| {
    ///     region.write_at(64, b"rows")?;
    ///     region.atomic_u32(0)?.store(1, std::sync::atomic::Ordering::Release); // complete
    ///     Ok::<(), Error>(())
    /// })?;
    /// region.remove()?;
    /// # }
    /// # Ok::<(), shared_region::Error>(())
    /// ```
    fn create_with<E: From<Error>>(
        &self,
        name: &RegionName,
        options: &CreateOptions,
        init: impl FnOnce(&Self::Region) -> Result<(), E>,
    ) -> Result<Self::Region, E>;

    /// Creates a region under an identity of this backend, as [`create_new`](Self::create_new) does under a name: for keys
    /// and native names that other programs expect.
    ///
    /// # Errors
    ///
    /// Those of [`create_new`](Self::create_new), and
    ///
    /// - [`InvalidName`](ErrorKind::InvalidName): as for [`create_id_with`](Self::create_id_with).
    fn create_id(&self, id: &RegionId, options: &CreateOptions) -> Result<Self::Region> {
        let name = id.name_in(self.name()).map_err(|error| error.operation("create"))?;
        self.create_new(name, options)
    }

    /// Creates a region under an identity of this backend, as [`create_with`](Self::create_with) does under a name.
    ///
    /// # Errors
    ///
    /// Those of [`create_with`](Self::create_with), and
    ///
    /// - [`InvalidName`](ErrorKind::InvalidName): the identity belongs to another backend, or is one that the system
    ///   chooses (a segment id) or gives to nothing (key 0).
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX**: also under a [`PosixName`](crate::PosixName).
    /// - **System V**: also under a key.
    fn create_id_with<E: From<Error>>(
        &self,
        id: &RegionId,
        options: &CreateOptions,
        init: impl FnOnce(&Self::Region) -> Result<(), E>,
    ) -> Result<Self::Region, E> {
        let name = id.name_in(self.name()).map_err(|error| error.operation("create"))?;
        self.create_with(name, options, init)
    }

    /// Opens a region, or creates it where there is none; says `true` if it was created here.
    ///
    /// Of processes that race, exactly one creates. An object that exists keeps its mode and contents, and may be
    /// larger than asked; of the options, those about this process' mapping count for it: address, prefaulting, memory lock,
    /// core dumps, descriptor. This handle never removes what it did not create, but by
    /// [`Removal::LastUser`](crate::Removal::LastUser), with which a leftover that nobody holds is replaced, too.
    ///
    /// What is too small or of the wrong owner is an error, or replaced: see [`CreateOptions::replace`].
    ///
    /// # Errors
    ///
    /// Those of [`create_new`](Self::create_new) but `AlreadyExists`, those of [`open`](Self::open) but `NotFound`, and
    ///
    /// - [`SizeMismatch`](ErrorKind::SizeMismatch): what exists is smaller than asked.
    /// - [`PermissionDenied`](ErrorKind::PermissionDenied): also where it belongs to another user than
    ///   [`expect_owner`](CreateOptions::expect_owner) says, or is to be replaced, and may not be removed.
    /// - [`NoSpace`](ErrorKind::NoSpace): told after a second, and one more for each GiB asked, at most ten, as the lack
    ///   may be another process at the same creation.
    /// - [`Busy`](ErrorKind::Busy): for as long, others created and removed the name each time in between.
    fn open_or_create(&self, name: &RegionName, options: &CreateOptions) -> Result<(Self::Region, bool)> {
        self.open_or_create_id(&RegionId::named(self.name(), *name), options)
    }

    /// Opens what an identity of this backend stands for, or creates it, as [`open_or_create`](Self::open_or_create)
    /// does.
    ///
    /// # Errors
    ///
    /// Those of [`open_or_create`](Self::open_or_create), and
    ///
    /// - [`InvalidName`](ErrorKind::InvalidName): as for [`create_id_with`](Self::create_id_with), but a segment id that
    ///   exists is opened.
    #[doc(alias = "IPC_CREAT")]
    fn open_or_create_id(&self, id: &RegionId, options: &CreateOptions) -> Result<(Self::Region, bool)> {
        let way = Way {
            remove_unused: || match self.remove_id_if_unused(id) {
                Ok(removed) => removed,
                Err(error) => error.kind() == ErrorKind::NotFound,
            },
            remove_unfit: || {
                let region = self.open_id(id, &OpenOptions::new().read_only(true))?;
                let unfit = options.is_unfit(region.len() as u64, region.metadata()?.uid());
                if unfit { region.remove().map(|()| true) } else { Ok(false) }
            },
        };
        open_or_create(self, id, options, way)
    }

    /// Creates a region that only this process, its forked children and those who are handed it can reach, and that
    /// disappears with its last user, SIGKILL included.
    ///
    /// # Errors
    ///
    /// Those of [`create_new`](Self::create_new) but `AlreadyExists`.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX** on Linux: `memfd_create`; it is handed on by its descriptor. Elsewhere an object under a unique name
    ///   that is removed at once.
    /// - **System V**: `IPC_PRIVATE`, marked for removal once attached. On Linux its id opens it as long as it is
    ///   attached somewhere; without [`attach_after_remove`](Capabilities::attach_after_remove) only forked children
    ///   have it, so use [`create_unique`](Self::create_unique), hand it over, then remove it. A process that is killed
    ///   between the calls leaves the segment behind.
    fn create_unnamed(&self, options: &CreateOptions) -> Result<Self::Region>;

    /// Creates a region under a new name: `prefix` and 13 random letters and digits. Its
    /// [`id`](SharedRegion::id) tells the name.
    ///
    /// # Errors
    ///
    /// Those of [`create_new`](Self::create_new), and
    ///
    /// - [`InvalidName`](ErrorKind::InvalidName): the prefix breaks the grammar or is longer than 17 bytes.
    fn create_unique(&self, prefix: &str, options: &CreateOptions) -> Result<Self::Region> {
        loop {
            let name = RegionName::new(&format!("{prefix}{}", random_suffix()))?;
            match self.create_new(&name, options) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                other => return other,
            }
        }
    }

    /// Opens a region that exists. Its length is the object's, whatever the caller expects.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](ErrorKind::NotFound): nothing has that name, or not until the timeout.
    /// - [`PermissionDenied`](ErrorKind::PermissionDenied): the caller may not, or
    ///   [`expect_owner`](OpenOptions::expect_owner) refused its owner.
    /// - [`SizeMismatch`](ErrorKind::SizeMismatch): it is smaller than [`min_size`](OpenOptions::min_size).
    /// - [`NotReady`](ErrorKind::NotReady): its size stayed 0 until the timeout.
    /// - [`InvalidSize`](ErrorKind::InvalidSize): it is larger than an address space.
    /// - [`NotSharedMemory`](ErrorKind::NotSharedMemory): a link, FIFO, directory, device or socket has the name.
    /// - [`AddressInUse`](ErrorKind::AddressInUse): another mapping is at the fixed address.
    /// - [`Unsupported`](ErrorKind::Unsupported): an option asks for a missing capability.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX**: `shm_open`, `fstat`, `mmap`.
    /// - **System V**: `shmget` without permission bits, `shmat`, `shmctl(IPC_STAT)`.
    fn open(&self, name: &RegionName, options: &OpenOptions) -> Result<Self::Region> {
        self.open_id(&RegionId::named(self.name(), *name), options)
    }

    /// Opens what an identity of this backend stands for, as [`open`](Self::open) does.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), and
    ///
    /// - [`InvalidName`](ErrorKind::InvalidName): the identity belongs to another backend; nothing is opened.
    fn open_id(&self, id: &RegionId, options: &OpenOptions) -> Result<Self::Region>;

    /// Says whether a region of that name exists, whoever may open it.
    ///
    /// # Errors
    ///
    /// - [`NotSharedMemory`](ErrorKind::NotSharedMemory): something else has the name.
    fn exists(&self, name: &RegionName) -> Result<bool>;

    /// Removes a region by name. Mappings that exist go on working; see [`SharedRegion::remove`].
    ///
    /// # Errors
    ///
    /// - [`NotFound`](ErrorKind::NotFound): nothing has that name; so it is when removed a second time.
    /// - [`PermissionDenied`](ErrorKind::PermissionDenied): it belongs to somebody else.
    /// - [`NotSharedMemory`](ErrorKind::NotSharedMemory): something else has the name, and is left alone.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX**: `shm_unlink`.
    /// - **System V**: `shmget`, `shmctl(IPC_RMID)`. Of two that do so at the same moment, while somebody has it attached,
    ///   both may be told that they removed it.
    fn remove(&self, name: &RegionName) -> Result<()> {
        self.remove_id(&RegionId::named(self.name(), *name))
    }

    /// Removes what an identity of this backend stands for, as [`remove`](Self::remove) does.
    ///
    /// # Errors
    ///
    /// Those of [`remove`](Self::remove), and
    ///
    /// - [`InvalidName`](ErrorKind::InvalidName): the identity belongs to another backend; nothing is removed.
    fn remove_id(&self, id: &RegionId) -> Result<()>;

    /// Asks the system about a region without opening it, so also about one that the caller may not open, or that has no
    /// size yet.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](ErrorKind::NotFound): nothing has that name.
    /// - [`NotSharedMemory`](ErrorKind::NotSharedMemory): something else has the name.
    /// - [`PermissionDenied`](ErrorKind::PermissionDenied): elsewhere than on Linux, the caller may not read it.
    /// - [`Unsupported`](ErrorKind::Unsupported): this backend cannot.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX** on Linux: `fstatat` without following. Elsewhere `shm_open` for reading, `fstat`.
    /// - **System V** on Linux: `/proc/sysvipc/shm`. Elsewhere `shmctl(IPC_STAT)`.
    fn metadata(&self, name: &RegionName) -> Result<Metadata> {
        self.metadata_id(&RegionId::named(self.name(), *name))
    }

    /// Asks about what an identity of this backend stands for, as [`metadata`](Self::metadata) does.
    ///
    /// # Errors
    ///
    /// Those of [`metadata`](Self::metadata), and
    ///
    /// - [`InvalidName`](ErrorKind::InvalidName): the identity belongs to another backend.
    fn metadata_id(&self, id: &RegionId) -> Result<Metadata> {
        Err(unsupported(self.name(), id, "look at", "this backend tells about open regions only: open it"))
    }

    /// Changes a region's permission bits without opening it, so that an owner whom the mode keeps out can give it back
    /// to themselves. Mappings that exist keep their access.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](ErrorKind::NotFound): nothing has that name.
    /// - [`PermissionDenied`](ErrorKind::PermissionDenied): the caller is not the owner (System V: nor the creator).
    ///   Elsewhere than on Linux also: the caller may not read it.
    /// - [`InvalidOptions`](ErrorKind::InvalidOptions): the mode is over 0777.
    /// - [`NotSharedMemory`](ErrorKind::NotSharedMemory): something else has the name, and is left alone.
    /// - [`Unsupported`](ErrorKind::Unsupported): this backend cannot.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX** on Linux: `open(O_PATH | O_NOFOLLOW)`, and `chmod` of just that, which takes a `/proc`. Elsewhere
    ///   `shm_open` for reading, `fchmod`.
    /// - **System V**: `shmctl(IPC_SET)`.
    fn set_mode(&self, name: &RegionName, mode: u32) -> Result<()> {
        self.set_mode_id(&RegionId::named(self.name(), *name), mode)
    }

    /// Changes the permission bits of what an identity of this backend stands for, as [`set_mode`](Self::set_mode) does.
    ///
    /// # Errors
    ///
    /// Those of [`set_mode`](Self::set_mode), and
    ///
    /// - [`InvalidName`](ErrorKind::InvalidName): the identity belongs to another backend.
    fn set_mode_id(&self, id: &RegionId, mode: u32) -> Result<()> {
        let _ = mode;
        Err(unsupported(self.name(), id, "set the mode of", "this backend changes open regions only: open it"))
    }

    /// Gives a region to another user, another group, or both, without opening it; `None` leaves one as it is.
    ///
    /// # Errors
    ///
    /// Those of [`set_mode`](Self::set_mode), but
    ///
    /// - [`PermissionDenied`](ErrorKind::PermissionDenied): the caller may not, as [`SharedRegion::set_owner`] says.
    /// - [`InvalidOptions`](ErrorKind::InvalidOptions): an id is `u32::MAX`, C's −1, which nobody has.
    ///
    /// # Platform-specific behavior
    ///
    /// As [`set_mode`](Self::set_mode), with `chown` and `fchown`.
    fn set_owner(&self, name: &RegionName, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        self.set_owner_id(&RegionId::named(self.name(), *name), uid, gid)
    }

    /// Gives away what an identity of this backend stands for, as [`set_owner`](Self::set_owner) does.
    ///
    /// # Errors
    ///
    /// Those of [`set_owner`](Self::set_owner), and
    ///
    /// - [`InvalidName`](ErrorKind::InvalidName): the identity belongs to another backend.
    fn set_owner_id(&self, id: &RegionId, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let _ = (uid, gid);
        Err(unsupported(self.name(), id, "set the owner of", "this backend changes open regions only: open it"))
    }

    /// Finds out which processes hold a region, this one too, and how.
    ///
    /// The answer is about the past when it arrives. [`Holders::is_complete`] says whether anybody could have been
    /// overlooked, such as another user's process.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](ErrorKind::NotFound): nothing has that name.
    /// - [`NotSharedMemory`](ErrorKind::NotSharedMemory): something else has the name.
    /// - [`Unsupported`](ErrorKind::Unsupported): the backend or the system does not tell.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX** on Linux: asks the kernel whether anybody has it, as [`remove_if_unused`](Self::remove_if_unused) does;
    ///   nobody is a complete answer then. Else it looks for the object among the mappings and descriptors of every process
    ///   in `/proc`. Processes of a PID namespace that is not below that of `/proc`, and descriptors on their way through a
    ///   socket, are not seen: outside of the initial PID namespace what is seen is never complete. Elsewhere
    ///   `Unsupported`.
    /// - **System V** on Linux: looks among the mappings of every process in `/proc`, until as many are found as the kernel
    ///   counts. Elsewhere `Unsupported`.
    fn holders(&self, name: &RegionName) -> Result<Holders> {
        self.holders_id(&RegionId::named(self.name(), *name))
    }

    /// Finds out who holds what an identity of this backend stands for, as [`holders`](Self::holders) does.
    ///
    /// # Errors
    ///
    /// Those of [`holders`](Self::holders), and
    ///
    /// - [`InvalidName`](ErrorKind::InvalidName): the identity belongs to another backend.
    fn holders_id(&self, id: &RegionId) -> Result<Holders> {
        let untold = |why| unsupported(self.name(), id, HOLDERS, why);
        match self.holders_ids(std::slice::from_ref(id)) {
            Ok(found) => found.into_iter().next().unwrap_or_else(|| Err(untold("this backend did not say"))),
            Err(_) if id.backend() != self.name() => Err(untold("it is another's")),
            Err(error) => Err(error.region(id)),
        }
    }

    /// Finds out who holds each of many regions, by one look at all processes. The answers are in the order of `ids`, each
    /// as [`holders_id`](Self::holders_id) gives it.
    ///
    /// # Errors
    ///
    /// - [`Unsupported`](ErrorKind::Unsupported): the backend or the system does not tell.
    fn holders_ids(&self, ids: &[RegionId]) -> Result<Vec<Result<Holders>>> {
        let _ = ids;
        Err(Error::new(ErrorKind::Unsupported)
            .operation(HOLDERS)
            .backend(self.name())
            .reason("this backend cannot tell who holds a region"))
    }

    /// Removes a region that nobody holds, to clean up after a crash; says `false` if somebody holds it: has it mapped or
    /// open, or has its descriptor on the way through a socket, in any program.
    ///
    /// # Errors
    ///
    /// Those of [`remove`](Self::remove), and
    ///
    /// - [`NotFound`](ErrorKind::NotFound): POSIX: the name came to mean another object meanwhile, which is left alone.
    /// - [`Unsupported`](ErrorKind::Unsupported): it cannot be found out who holds it.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX** on Linux: asks for a write lease, which the kernel grants to the object's owner (or `CAP_LEASE`) if and
    ///   only if nobody holds it, in whatever PID namespace, and keeps it while the name is removed, so that nobody can come
    ///   in between: who opens it in those microseconds waits, or is told `EAGAIN` with `O_NONBLOCK` (this crate waits). Who
    ///   had looked the name up before gets an object without a name, which this crate takes for a missing one. No
    ///   privilege and no `/proc` is needed, and no signal reaches this process. Where no lease can be had (another user's
    ///   object, `fs.leases-enable` 0, a store on another file system than tmpfs, ramfs and ext4) it looks for a holder as
    ///   [`holders`](Self::holders) does, and says `Unsupported` where that may overlook somebody. Elsewhere `Unsupported`.
    /// - **System V**: the attach count. A process that attaches it between the look and the removal keeps a segment
    ///   without a key.
    fn remove_if_unused(&self, name: &RegionName) -> Result<bool> {
        self.remove_id_if_unused(&RegionId::named(self.name(), *name))
    }

    /// Removes what an identity of this backend stands for if nobody holds it, as
    /// [`remove_if_unused`](Self::remove_if_unused) does.
    ///
    /// # Errors
    ///
    /// Those of [`remove_if_unused`](Self::remove_if_unused), and
    ///
    /// - [`InvalidName`](ErrorKind::InvalidName): the identity belongs to another backend; nothing is removed.
    fn remove_id_if_unused(&self, id: &RegionId) -> Result<bool> {
        Err(unsupported(
            self.name(),
            id,
            "remove if unused",
            "this backend cannot tell who holds a region: ask those who use it",
        ))
    }

    /// Lists the regions of the backend's store, also those that the caller may not open, but not those that were
    /// removed. What appears or goes meanwhile may or may not be among them.
    ///
    /// # Errors
    ///
    /// - [`Unsupported`](ErrorKind::Unsupported): the system does not tell.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX** on Linux: regular files in `/dev/shm` but `sem.*`. Elsewhere `Unsupported`.
    /// - **System V** on Linux: `/proc/sysvipc/shm`; the identity is the key, or the segment id where the key is 0.
    ///   Elsewhere `Unsupported`.
    fn list(&self) -> Result<Vec<ListEntry>>;
}
