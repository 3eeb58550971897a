//! Opening by name, and adopting descriptors.

use std::os::fd::OwnedFd;

use nix::libc;
use shared_region_posix::{self as leaf, MapAccess, Mapping, Object};

use super::failure::{self, Subject};
use super::region::{PosixRegion, check_huge_pages};
use super::removal::LastUser;
use super::{able_to, native, seals};
use crate::error::{Error, Result};
use crate::name::{PosixName, RegionId};
use crate::options::{OpenOptions, Removal};
use crate::region::Access;
use crate::seals::Seals;

/// The most bytes of an object that are mapped in at opening unasked, where all of them are there.
const FEW: u64 = 16 << 10;

pub(super) fn open(id: &RegionId, options: &OpenOptions) -> Result<PosixRegion> {
    let subject = Subject::new(id, "open");
    options.validate_for(able_to(options.get_removal())).map_err(|error| subject.told(error))?;
    let writable = options.get_access() == Access::ReadWrite;
    options.poll(|| {
        let (object, stat) =
            leaf::OpenOptions::new().write(writable).open(native(id)).map_err(|error| subject.failed(&error))?;
        options.validate_owner(stat.uid()).map_err(|error| subject.told(error))?;
        let len = options.validate_size(stat.len()).map_err(|error| subject.told(error))?;
        let access = if writable { MapAccess::ReadWrite } else { MapAccess::ReadOnly };
        // The fault of the first touch is saved, and no memory taken.
        let there = stat.len() <= FEW && stat.allocated() >= stat.len();
        let mapped = if there { object.map_populated(len, access) } else { object.map(len, access) };
        let mapping = mapped.map_err(|error| subject.not_mapped(&error, len))?;
        PosixRegion::opened(mapping, object, Some(id.clone()), options, &subject)
    })
}

impl PosixRegion {
    /// Opens an object by a name of which only POSIX knows, as [`Backend::open`](crate::Backend::open) does by a portable one.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::open`](crate::Backend::open).
    pub fn open_native(name: &PosixName, options: &OpenOptions) -> Result<Self> {
        open(&name.clone().into(), options)
    }

    /// Adopts a descriptor: maps the whole object, read-only where the descriptor or a seal allows no more.
    ///
    /// **Whoever sent it may shrink the object afterwards, and the next safe read is SIGBUS.** Unless the sender is trusted,
    /// demand that they cannot, by [`require_seals`](OpenOptions::require_seals): it is checked before the size is read.
    ///
    /// | what comes | `require_seals(shrink)` | without |
    /// |---|---|---|
    /// | a region of `create_unnamed`, of this crate | adopted, cannot shrink | adopted, cannot shrink |
    /// | one that was given by [`share_read_only`](Self::share_read_only) | adopted read-only, nobody takes pages away | the same |
    /// | a memfd, not sealed | `PermissionDenied`, names `F_SEAL_SHRINK` | adopted; its sender can shrink it |
    /// | an object with a name, a regular file | `PermissionDenied`, as these take no seals | adopted; who may write can shrink it |
    ///
    /// What is not shared memory by name can be adopted too: a memfd, a regular file. Nothing is waited for: a timeout
    /// among the options has no effect. The descriptor's close-on-exec flag stays as it was.
    ///
    /// # Errors
    ///
    /// The descriptor is closed on error.
    ///
    /// - [`NotSharedMemory`](crate::ErrorKind::NotSharedMemory): a pipe, socket, directory or device, which cannot be mapped.
    /// - [`PermissionDenied`](crate::ErrorKind::PermissionDenied): it is open for writing alone, or for neither (`O_PATH`), or
    ///   [`expect_owner`](OpenOptions::expect_owner) refused its owner, or it lacks a seal that
    ///   [`require_seals`](OpenOptions::require_seals) asks for.
    /// - [`NotReady`](crate::ErrorKind::NotReady): its size is 0.
    /// - [`SizeMismatch`](crate::ErrorKind::SizeMismatch): it is smaller than [`min_size`](OpenOptions::min_size).
    /// - [`InvalidSize`](crate::ErrorKind::InvalidSize): its size is over `isize::MAX`, or not one of whole huge pages though it
    ///   consists of them.
    /// - [`Unsupported`](crate::ErrorKind::Unsupported): a fixed address is asked for.
    pub fn from_fd(fd: OwnedFd, options: &OpenOptions) -> Result<Self> {
        let subject = Subject::unnamed("adopt");
        let told = |error: Error| subject.told(error);
        options.clone().require_seals(Seals::new()).validate_for(able_to(options.get_removal())).map_err(told)?;
        let object = Object::try_from(fd).map_err(|error| failure::not_adoptable(&error, &subject))?;
        // First, as without seals the size can change once it is read.
        seals::demand(&object, options).map_err(told)?;
        let stat = object.stat().map_err(|error| subject.failed(&error))?;
        options.validate_owner(stat.uid()).map_err(told)?;
        let len = options.validate_size(stat.len()).map_err(told)?;
        check_huge_pages(&object, len).map_err(told)?;
        let mapping = match options.get_access() {
            Access::ReadWrite if object.is_writable() => {
                match object.map(len, MapAccess::ReadWrite) {
                    // fcntl(2): a seal against writing makes a writable mapping EPERM.
                    Err(error) if error.raw_os_error() == Some(libc::EPERM) => object.map(len, MapAccess::ReadOnly),
                    mapped => mapped,
                }
            }
            _ => object.map(len, MapAccess::ReadOnly),
        };
        let mapping = mapping.map_err(|error| subject.not_mapped(&error, len))?;
        Self::opened(mapping, object, None, options, &subject)
    }

    /// Makes a region as these options ask.
    fn opened(
        mapping: Mapping,
        object: Object,
        id: Option<RegionId>,
        options: &OpenOptions,
        subject: &Subject<'_>,
    ) -> Result<Self> {
        let core_dump = options.get_core_dump();
        let last_user = id.as_ref().filter(|_| options.get_removal() == Removal::LastUser).map(LastUser::of);
        let mut region = Self { mapping, object: object.into(), id, remover: None, core_dump, last_user };
        options.settle(&region)?;
        if !options.get_keep_descriptor() {
            region.object.close().map_err(|error| subject.failed(&error))?;
        }
        Ok(region)
    }
}

/// Adopts a descriptor, as [`PosixRegion::from_fd`] does with default options. **They demand no seals: whoever sent it may
/// shrink the object, and the next safe read is SIGBUS.** For a sender that is not trusted there is `from_fd` with
/// [`require_seals`](OpenOptions::require_seals).
///
/// # Errors
///
/// Those of [`PosixRegion::from_fd`].
impl TryFrom<OwnedFd> for PosixRegion {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        Self::from_fd(fd, &OpenOptions::new())
    }
}
