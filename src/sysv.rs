//! The System V backend: [`Sysv`], [`SysvRegion`].

use nix::errno::Errno;
use shared_region_sysv::{self as leaf, Segment, SegmentStat};

use crate::access::SharedRegionExt;
use crate::backend::{Backend, wrong_backend};
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::{Capabilities, ListEntry, Metadata};
use crate::name::{RegionId, RegionName};
use crate::options::{CreateOptions, OpenOptions};

mod create;
mod failure;
mod region;

pub(crate) use create::create_with;
use failure::{failed, find_failed};
pub use region::SysvRegion;

const NAME: &str = "sysv";

/// System V shared memory: segments with keys of 32 bits.
///
/// Which segments there are depends on the IPC namespace. A [`RegionName`] stands for the key that
/// [`RegionName::key`] computes. See [`Backend`] for what each call does here.
///
/// # References
///
/// [POSIX: shmget](https://pubs.opengroup.org/onlinepubs/9799919799/functions/shmget.html),
/// [sysvipc(7)](https://man7.org/linux/man-pages/man7/sysvipc.7.html)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[doc(alias = "shmget")]
pub struct Sysv;

/// Finds the segment that an identity stands for; an id is taken at its word.
fn find(id: &RegionId) -> Result<Segment> {
    let found = match id {
        RegionId::Named { name, .. } => Segment::open(name.key()),
        RegionId::Key(leaf::IPC_PRIVATE) => {
            return Err(Error::new(ErrorKind::InvalidName).reason("key 0 is IPC_PRIVATE and names no segment"));
        }
        RegionId::Key(key) => Segment::open(*key),
        RegionId::Segment(id) => Ok(Segment::from_id(*id)),
        RegionId::Posix(_) => Err(Errno::ENOENT.into()), // `own` let none of these in
    };
    found.map_err(|error| find_failed(&error))
}

fn metadata(stat: &SegmentStat) -> Metadata {
    let metadata = Metadata::new(stat.size() as u64, stat.mode(), stat.uid(), stat.gid())
        .with_removed(stat.is_removed())
        .with_attach_count(stat.attach_count())
        .with_creator_uid(stat.creator_uid())
        .with_creator_gid(stat.creator_gid())
        .with_creator_pid(stat.creator_pid())
        .with_last_pid(stat.last_pid())
        .with_changed(stat.change_time())
        .with_locked(stat.is_locked());
    let metadata = match stat.attach_time() {
        Some(time) => metadata.with_attached(time),
        None => metadata,
    };
    match stat.detach_time() {
        Some(time) => metadata.with_detached(time),
        None => metadata,
    }
}

/// Lets in identities of this backend only.
fn own<'a>(id: &'a RegionId, operation: &'static str) -> Result<&'a RegionId> {
    if id.backend() == NAME { Ok(id) } else { Err(wrong_backend(id, operation, NAME)) }
}

impl Backend for Sysv {
    type Region = SysvRegion;

    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
            .with_attach_count(true)
            .with_attach_after_remove(cfg!(target_os = "linux"))
            .with_fixed_address(cfg!(target_os = "linux"))
            .with_huge_pages(cfg!(target_os = "linux"))
    }

    fn create_new(&self, name: &RegionName, options: &CreateOptions) -> Result<SysvRegion> {
        create::create_new(&RegionId::named(NAME, *name), options)
    }

    fn create_with<E: From<Error>>(
        &self,
        name: &RegionName,
        options: &CreateOptions,
        init: impl FnOnce(&SysvRegion) -> Result<(), E>,
    ) -> Result<SysvRegion, E> {
        create_with(name, options, |region| region, init)
    }

    fn create_unnamed(&self, options: &CreateOptions) -> Result<SysvRegion> {
        let (mut region, undo) = create::create(None, options)?;
        // Marked for removal, it goes with its last user.
        undo.now().map_err(|error| region.describe(failed(&error), "create"))?;
        region.remover = None;
        Ok(region)
    }

    fn open_id(&self, id: &RegionId, options: &OpenOptions) -> Result<SysvRegion> {
        region::open(own(id, "open")?, options)
    }

    fn exists(&self, name: &RegionName) -> Result<bool> {
        let id = RegionId::named(NAME, *name);
        match find(&id) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(true),
            Err(error) => Err(error.operation("look for").region(&id)),
        }
    }

    fn remove_id(&self, id: &RegionId) -> Result<()> {
        find(own(id, "remove")?).and_then(region::remove).map_err(|error| error.operation("remove").region(id))
    }

    fn remove_if_unused(&self, name: &RegionName) -> Result<bool> {
        let id = RegionId::named(NAME, *name);
        let removed = find(&id).and_then(|segment| {
            let unused = region::look(segment).map(|stat| stat.attach_count() == 0);
            match unused {
                Ok(true) => segment.remove().map(|()| true),
                other => other,
            }
            .map_err(|error| failed(&error))
        });
        removed.map_err(|error| error.operation("remove if unused").region(&id))
    }

    fn list(&self) -> Result<Vec<ListEntry>> {
        let segments = leaf::segments().map_err(|error| failed(&error).operation("list").backend(NAME))?;
        let standing = segments.iter().filter(|stat| !stat.is_removed());
        Ok(standing
            .map(|stat| {
                let id = match stat.key() {
                    leaf::IPC_PRIVATE => RegionId::Segment(stat.segment().id()),
                    key => RegionId::Key(key),
                };
                ListEntry::new(id, metadata(stat))
            })
            .collect())
    }
}
