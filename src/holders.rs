//! Who holds a region: [`Holders`], [`Holder`], [`HeldMapping`].

#[cfg(any(feature = "posix", feature = "sysv"))]
use crate::error::{Error, ErrorKind};
use crate::region::Access;

/// The processes that hold a region, as far as could be seen. Made by [`Backend::holders`](crate::Backend::holders).
///
/// # Examples
///
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// use shared_region::{Backend, CreateOptions, DefaultBackend, RegionName, SharedRegion};
///
/// let name = RegionName::new("/frames")?;
/// # let name = RegionName::new(&format!("/held-{}", std::process::id()))?;
/// let region = DefaultBackend.create_new(&name, &CreateOptions::new(4096))?;
/// # if cfg!(target_os = "linux") {
/// let holders = DefaultBackend.holders(&name)?;
/// for holder in holders.processes() {
///     println!("{} has it mapped {} times", holder.pid(), holder.mappings().len());
/// }
/// assert!(holders.processes().iter().any(|holder| holder.pid() == std::process::id()));
/// # }
/// region.remove()?;
/// # }
/// # Ok::<(), shared_region::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Holders {
    processes: Vec<Holder>,
    complete: bool,
}

impl Holders {
    /// States which processes were seen, by ascending id, and whether those are all. For backends.
    pub const fn new(processes: Vec<Holder>, complete: bool) -> Self {
        Self { processes, complete }
    }

    /// Returns the processes, by ascending id.
    pub fn processes(&self) -> &[Holder] {
        &self.processes
    }

    /// Says whether all holders were seen, as far as the system tells. Otherwise these are some of them.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX**: the kernel says that nobody has it; or every process of the machine could be looked into, which is never
    ///   so outside of the initial PID namespace. What no process shows, such as a descriptor on its way through a socket,
    ///   may be missing among those that are told, but no region that somebody has is told to be complete and nobody's.
    /// - **System V**: as many attachments were seen as the kernel counts.
    pub const fn is_complete(&self) -> bool {
        self.complete
    }
}

/// A process that holds a region.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Holder {
    pid: u32,
    mappings: Vec<HeldMapping>,
    descriptors: Vec<i32>,
}

impl Holder {
    /// States what a process holds. For backends.
    pub const fn new(pid: u32, mappings: Vec<HeldMapping>, descriptors: Vec<i32>) -> Self {
        Self { pid, mappings, descriptors }
    }

    /// Returns the process id, in the PID namespace of `/proc`.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns where the process has the region mapped, by ascending address. Linux tells one mapping as several where
    /// parts of it differ in protection.
    pub fn mappings(&self) -> &[HeldMapping] {
        &self.mappings
    }

    /// Returns the process' open descriptors of the region, ascending; none where regions have no descriptors.
    pub fn descriptors(&self) -> &[i32] {
        &self.descriptors
    }
}

/// A mapping of a region in some process.
///
/// Addresses and sizes have 64 bits, as those of other processes may where this one has 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct HeldMapping {
    address: u64,
    len: u64,
    offset: u64,
    access: Access,
}

impl HeldMapping {
    /// States where something is mapped: its first address, its length in bytes, where in the region it starts, and
    /// whether stores through it reach the region. For backends.
    pub const fn new(address: u64, len: u64, offset: u64, access: Access) -> Self {
        Self { address, len, offset, access }
    }

    /// Returns its first address in that process.
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Returns its length in bytes, a multiple of the page size.
    #[allow(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Returns where in the region it starts, in bytes.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns whether the process can store into the region through it, as it is now. A private mapping, whose stores
    /// stay with its process, is read-only.
    pub const fn access(&self) -> Access {
        self.access
    }
}

/// Translates the failure to look at processes.
#[cfg(any(feature = "posix", feature = "sysv"))]
pub(crate) fn unknown(error: &std::io::Error) -> Error {
    let told = Error::new(ErrorKind::Unsupported);
    match error.raw_os_error() {
        Some(errno) => told
            .reason("/proc cannot be read, so nobody knows who holds it: mount one in this PID namespace")
            .errno(errno),
        None => told.reason("this system does not tell who holds a region: ask those who use it"),
    }
}
