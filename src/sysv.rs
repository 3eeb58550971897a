//! The System V backend: [`Sysv`], [`SysvRegion`].

use nix::errno::Errno;
use shared_region_sysv::{self as leaf, Segment, SegmentStat};

use crate::backend::{Backend, HOLDERS, Way, open_or_create};
use crate::error::{Error, ErrorKind, Result};
use crate::holders::Holders;
use crate::metadata::{Capabilities, ListEntry, Metadata};
use crate::name::{RegionId, RegionName};
use crate::options::{CreateOptions, OpenOptions};
use crate::region::{check_mode, check_owner};

mod create;
mod failure;
mod holders;
mod region;
mod removal;
mod segment;

pub(crate) use create::create_with;
use failure::{failed, failed_on, find_failed};
pub use region::SysvRegion;

const NAME: &str = "sysv";

/// System V shared memory: segments with keys of 32 bits.
///
/// Which segments there are depends on the IPC namespace. A [`RegionName`] stands for the key that
/// [`RegionName::key`] computes. See [`Backend`] for what each call does here.
///
/// # Platform-specific behavior
///
/// Where Linux has `kernel.shm_rmid_forced=1` set, for each IPC namespace by its root, a segment goes with its last
/// attachment, whoever made it and whatever [`Removal`](crate::Removal) says. A program that keeps its handle until its
/// peers have theirs is not hurt; one that makes a region, fills it and ends leaves nothing. If what you make has to
/// outlive you, read `/proc/sys/kernel/shm_rmid_forced` first, and if it is 1 refuse, or use POSIX.
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
    let mut metadata = Metadata::new(stat.size() as u64, stat.mode(), stat.uid(), stat.gid())
        .with_removed(stat.is_removed())
        .with_native_id(stat.segment().id().unsigned_abs().into())
        .with_attach_count(stat.attach_count())
        .with_creator_uid(stat.creator_uid())
        .with_creator_gid(stat.creator_gid())
        .with_creator_pid(stat.creator_pid())
        .with_last_pid(stat.last_pid())
        .with_changed(stat.change_time())
        .with_locked(stat.is_locked());
    if stat.key() != leaf::IPC_PRIVATE {
        metadata = metadata.with_key(stat.key());
    }
    if let Some(time) = stat.attach_time() {
        metadata = metadata.with_attached(time);
    }
    if let Some(time) = stat.detach_time() {
        metadata = metadata.with_detached(time);
    }
    if let Some(bytes) = stat.resident() {
        metadata = metadata.with_resident(bytes);
    }
    if let Some(bytes) = stat.swapped() {
        metadata = metadata.with_swapped(bytes);
    }
    metadata
}

/// Sets owner and mode of what an identity stands for.
fn set(id: &RegionId, uid: Option<u32>, gid: Option<u32>, mode: Option<u32>) -> Result<()> {
    let segment = find(id)?;
    segment::set(segment, uid, gid, mode).map_err(|error| failed_on(&error, segment))
}

/// Lets in identities of this backend only.
fn own<'a>(id: &'a RegionId, operation: &'static str) -> Result<&'a RegionId> {
    if id.backend() == NAME { Ok(id) } else { Err(id.foreign_to(NAME).operation(operation)) }
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
            .with_last_user(true)
            .with_fixed_size(true)
    }

    fn create_new(&self, name: &RegionName, options: &CreateOptions) -> Result<SysvRegion> {
        create::create_new(&RegionId::named(NAME, *name), options)
    }

    fn create_id(&self, id: &RegionId, options: &CreateOptions) -> Result<SysvRegion> {
        create::create_new(own(id, "create")?, options)
    }

    fn create_with<E: From<Error>>(
        &self,
        name: &RegionName,
        options: &CreateOptions,
        init: impl FnOnce(&SysvRegion) -> Result<(), E>,
    ) -> Result<SysvRegion, E> {
        self.create_id_with(&RegionId::named(NAME, *name), options, init)
    }

    fn create_id_with<E: From<Error>>(
        &self,
        id: &RegionId,
        options: &CreateOptions,
        init: impl FnOnce(&SysvRegion) -> Result<(), E>,
    ) -> Result<SysvRegion, E> {
        create_with(id, options, |region| region, init)
    }

    fn open_or_create_id(&self, id: &RegionId, options: &CreateOptions) -> Result<(SysvRegion, bool)> {
        let way = Way {
            remove_unused: || match find(id).and_then(removal::remove_unused) {
                Ok(removed) => removed,
                Err(error) => error.kind() == ErrorKind::NotFound,
            },
            remove_unfit: || removal::remove_unfit(id, options).map_err(|error| error.operation("replace").region(id)),
        };
        open_or_create(self, own(id, "open")?, options, way)
    }

    fn create_unnamed(&self, options: &CreateOptions) -> Result<SysvRegion> {
        create::create(None, options).map(|(region, _)| region)
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
        let removed = find(own(id, "remove")?).and_then(|segment| match id {
            RegionId::Segment(_) => removal::remove(segment),
            // One that was removed before has no key any more.
            _ => segment.remove().map_err(|error| failed_on(&error, segment)),
        });
        removed.map_err(|error| error.operation("remove").region(id))
    }

    fn metadata_id(&self, id: &RegionId) -> Result<Metadata> {
        let stat = find(own(id, "look at")?).and_then(|segment| {
            // The list knows more, and asks for no permission.
            segment::listed(segment).map_or_else(|| segment.stat(), Ok).map_err(|error| failed_on(&error, segment))
        });
        stat.map(|stat| metadata(&stat)).map_err(|error| error.operation("look at").region(id))
    }

    fn set_mode_id(&self, id: &RegionId, mode: u32) -> Result<()> {
        const SET: &str = "set the mode of";
        own(id, SET)?;
        let set = check_mode(mode).and_then(|()| set(id, None, None, Some(mode)));
        set.map_err(|error| error.operation(SET).region(id))
    }

    fn set_owner_id(&self, id: &RegionId, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        const SET: &str = "set the owner of";
        own(id, SET)?;
        let set = check_owner(uid, gid).and_then(|()| set(id, uid, gid, None));
        set.map_err(|error| error.operation(SET).region(id))
    }

    fn holders_ids(&self, ids: &[RegionId]) -> Result<Vec<Result<Holders>>> {
        holders::find_all(ids).map_err(|error| error.operation(HOLDERS).backend(NAME))
    }

    fn remove_id_if_unused(&self, id: &RegionId) -> Result<bool> {
        const REMOVE: &str = "remove if unused";
        let removed = find(own(id, REMOVE)?).and_then(removal::remove_unused);
        removed.map_err(|error| error.operation(REMOVE).region(id))
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
