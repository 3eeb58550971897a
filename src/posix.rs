//! The POSIX backend: [`Posix`], [`PosixRegion`].

use std::ffi::CStr;
use std::io;

use nix::libc;
use shared_region_posix::{self as leaf, EntryKind, MapAccess, Object, Stat};

use crate::backend::{Backend, Way, open_or_create};
use crate::error::{Error, ErrorKind, Result};
use crate::holders::Holders;
use crate::metadata::{Capabilities, ListEntry, Metadata};
use crate::name::{PosixName, RegionId, RegionName};
use crate::options::{CreateOptions, OpenOptions, Removal};
use crate::region::{check_mode, check_owner};

mod create;
mod failure;
mod handle;
mod holders;
mod open;
mod publication;
mod region;
mod removal;
mod seals;

pub(crate) use create::create_with;
use failure::Subject;
pub use region::PosixRegion;

const NAME: &str = "posix";

/// POSIX shared memory: objects with exact names that live in `/dev/shm` on Linux.
///
/// Which objects there are depends on the mount namespace. See [`Backend`] for what each call does here.
///
/// # References
///
/// [POSIX: shm_open](https://pubs.opengroup.org/onlinepubs/9799919799/functions/shm_open.html),
/// [shm_overview(7)](https://man7.org/linux/man-pages/man7/shm_overview.7.html)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[doc(alias = "shm_open")]
pub struct Posix;

/// Refuses what is no shared memory; where the system can tell, says what stands there.
fn look(subject: &Subject<'_>) -> Result<Option<Stat>> {
    match leaf::kind(subject.native()) {
        Ok((EntryKind::SharedMemory, stat)) => Ok(Some(stat)),
        Ok((kind, _)) => Err(subject.foreign(kind)),
        // With a code it is a sandbox that lacks the call.
        Err(error) if unsupported(&error) && error.raw_os_error().is_none() => Ok(None),
        Err(error) => Err(subject.failed(&error)),
    }
}

/// Asks about what has the name, which the system may not tell.
fn stat(subject: &Subject<'_>) -> Result<Stat> {
    look(subject)?.ok_or_else(|| {
        subject.error(ErrorKind::Unsupported).reason("this system tells about open objects only: open it")
    })
}

fn metadata(stat: &Stat) -> Metadata {
    let metadata = Metadata::new(stat.len(), stat.mode(), stat.uid(), stat.gid())
        .with_removed(stat.links() == 0)
        .with_allocated(stat.allocated())
        .with_changed(stat.changed())
        .with_modified(stat.modified());
    match stat.inode() {
        0 => metadata, // macOS does not tell
        inode => metadata.with_native_id(inode),
    }
}

fn native(id: &RegionId) -> &CStr {
    match id {
        RegionId::Named { name, .. } => name.as_c_str(),
        RegionId::Posix(name) => name.as_c_str(),
        RegionId::Key(_) | RegionId::Segment(_) => c"", // `own` let none of these in
    }
}

/// Lets in identities of this backend only.
fn own<'a>(id: &'a RegionId, operation: &'static str) -> Result<&'a RegionId> {
    if id.backend() == NAME { Ok(id) } else { Err(id.foreign_to(NAME).operation(operation)) }
}

fn not_found(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOENT)
}

/// Whether the leaf or the system cannot do that. Errnos count by number: which of them `std` gives this kind differs
/// between its releases.
fn unsupported(error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(errno) => [libc::EOPNOTSUPP, libc::ENOTSUP, libc::ENOSYS].contains(&errno),
        None => error.kind() == io::ErrorKind::Unsupported,
    }
}

fn capabilities(atomic_init: bool) -> Capabilities {
    Capabilities::new()
        .with_exact_names(true)
        .with_grow(cfg!(target_os = "linux"))
        .with_atomic_init(atomic_init)
        .with_attach_after_remove(true)
        .with_file_descriptor(true)
}

/// What is needed of the backend for a region with such a removal.
fn able_to(removal: Removal) -> Capabilities {
    capabilities(false).with_last_user(removal == Removal::LastUser && leaf::tells_unused())
}

impl Backend for Posix {
    type Region = PosixRegion;

    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(publication::is_granted().unwrap_or(false)).with_last_user(leaf::tells_unused())
    }

    fn probe(&self) -> Result<()> {
        let options = CreateOptions::new(1).removal(Removal::OnDrop);
        match Object::create_unlinked(0o600) {
            Ok(object) => {
                let sized = object.set_len(1).and_then(|()| object.map(1, MapAccess::ReadWrite));
                sized.map(drop).map_err(|error| Error::from_io(&error))
            }
            Err(error) if publication::is_refusal(&error) => self.create_unique("probe-", &options).map(drop),
            Err(error) => Err(failure::of_store(&error)),
        }
        .map_err(|error| error.operation("use").backend(NAME))
    }

    fn create_new(&self, name: &RegionName, options: &CreateOptions) -> Result<PosixRegion> {
        create::create(&RegionId::named(NAME, *name), options)
    }

    fn create_id(&self, id: &RegionId, options: &CreateOptions) -> Result<PosixRegion> {
        create::create(own(id, "create")?, options)
    }

    fn create_with<E: From<Error>>(
        &self,
        name: &RegionName,
        options: &CreateOptions,
        init: impl FnOnce(&PosixRegion) -> Result<(), E>,
    ) -> Result<PosixRegion, E> {
        self.create_id_with(&RegionId::named(NAME, *name), options, init)
    }

    fn create_id_with<E: From<Error>>(
        &self,
        id: &RegionId,
        options: &CreateOptions,
        init: impl FnOnce(&PosixRegion) -> Result<(), E>,
    ) -> Result<PosixRegion, E> {
        create_with(id, options, |region| region, init)
    }

    fn create_unnamed(&self, options: &CreateOptions) -> Result<PosixRegion> {
        create::unnamed(options)
    }

    fn open_id(&self, id: &RegionId, options: &OpenOptions) -> Result<PosixRegion> {
        open::open(own(id, "open")?, options)
    }

    fn open_or_create_id(&self, id: &RegionId, options: &CreateOptions) -> Result<(PosixRegion, bool)> {
        let way =
            Way { remove_unused: || removal::remove_unused(id), remove_unfit: || removal::remove_unfit(id, options) };
        open_or_create(self, own(id, "open")?, options, way)
    }

    fn exists(&self, name: &RegionName) -> Result<bool> {
        let id = RegionId::named(NAME, *name);
        let subject = Subject::new(&id, "look for");
        let found = match look(&subject) {
            Ok(Some(_)) => return Ok(true),
            Ok(None) => leaf::OpenOptions::new().open(native(&id)).map(drop).map_err(|error| subject.failed(&error)),
            Err(error) => Err(error),
        };
        match found {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            // Where looking means opening, who may not open it knows that it is there. Linux needs no permission on it.
            Err(error) if error.kind() == ErrorKind::PermissionDenied && !cfg!(target_os = "linux") => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn remove_id(&self, id: &RegionId) -> Result<()> {
        removal::remove(own(id, "remove")?)
    }

    fn metadata_id(&self, id: &RegionId) -> Result<Metadata> {
        let subject = Subject::new(own(id, "look at")?, "look at");
        stat(&subject).map(|stat| metadata(&stat))
    }

    fn set_mode_id(&self, id: &RegionId, mode: u32) -> Result<()> {
        let subject = Subject::new(own(id, "set the mode of")?, "set the mode of");
        check_mode(mode).map_err(|error| subject.told(error))?;
        leaf::set_mode(native(id), mode).map_err(|error| subject.failed(&error))
    }

    fn set_owner_id(&self, id: &RegionId, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let subject = Subject::new(own(id, "set the owner of")?, "set the owner of");
        check_owner(uid, gid).map_err(|error| subject.told(error))?;
        leaf::set_owner(native(id), uid, gid).map_err(|error| subject.failed(&error))
    }

    fn holders_ids(&self, ids: &[RegionId]) -> Result<Vec<Result<Holders>>> {
        holders::find(ids)
    }

    fn remove_id_if_unused(&self, id: &RegionId) -> Result<bool> {
        holders::remove_if_none(own(id, "remove if unused")?)
    }

    fn list(&self) -> Result<Vec<ListEntry>> {
        let listed = leaf::list().map_err(|error| failure::of_store(&error).operation("list").backend(NAME))?;
        listed
            .into_iter()
            .map(|(name, stat)| Ok(ListEntry::new(PosixName::new(name)?.into(), metadata(&stat))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use nix::errno::Errno;

    use super::{not_found, unsupported};

    #[test]
    fn errnos_are_told_apart_by_number_whatever_kind_std_gives_them() {
        for errno in [Errno::EOPNOTSUPP, Errno::ENOSYS] {
            assert!(unsupported(&errno.into()), "{errno}");
        }
        for errno in [Errno::EPERM, Errno::EINVAL, Errno::ENOENT] {
            assert!(!unsupported(&errno.into()), "{errno}");
        }
        assert!(unsupported(&io::ErrorKind::Unsupported.into()));
        assert!(not_found(&Errno::ENOENT.into()) && !not_found(&io::ErrorKind::NotFound.into()));
    }
}
