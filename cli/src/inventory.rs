//! What exists, and who has it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, geteuid};
use serde::Serialize;
use shared_region::{AnyBackend, Backend, Error, Holders, Metadata, RegionId};
use shared_region_sysv::{self as sysv, IPC_PRIVATE, SegmentStat};

use crate::args::Selection;
use crate::elsewhere;
use crate::failure::{Failure, tell};
use crate::people::{People, command};

/// A region as `shm ls` shows it, and as JSON has it.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    /// By what it is listed; an identity, where it has one.
    pub(crate) id: String,
    #[serde(skip)]
    pub(crate) region: Option<RegionId>,
    pub(crate) backend: String,
    /// The segment id or the inode.
    pub(crate) native_id: Option<u64>,
    pub(crate) owner: String,
    pub(crate) uid: u32,
    pub(crate) group: String,
    pub(crate) gid: u32,
    #[serde(serialize_with = "as_octal")]
    pub(crate) mode: u32,
    pub(crate) size: u64,
    pub(crate) resident: Option<u64>,
    /// How many mappings there are; a process that only has it open counts as one. `None` where nothing could be seen.
    pub(crate) attached: Option<u64>,
    /// Whether there are no more than those.
    pub(crate) attached_exact: bool,
    /// The processes that were seen to have it; `None` where nobody looked.
    pub(crate) held_by: Option<Vec<HeldBy>>,
    /// Whether somebody may have it, or be about to, who does not show.
    #[serde(skip)]
    pub(crate) in_doubt: bool,
    pub(crate) status: Vec<Status>,
    #[serde(serialize_with = "as_time")]
    pub(crate) changed: Option<SystemTime>,
    pub(crate) creator_uid: Option<u32>,
    pub(crate) creator_pid: Option<u32>,
    pub(crate) creator_command: Option<String>,
}

/// A process that has a region.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HeldBy {
    pub(crate) pid: u32,
    pub(crate) command: Option<String>,
}

impl HeldBy {
    pub(crate) fn of(pid: u32) -> Self {
        Self { pid, command: command(pid) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Removed,
    Locked,
    Orphan,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Locked => "locked",
            Self::Orphan => "orphan",
        }
    }
}

impl Item {
    /// A POSIX object, of which nobody counts yet who has it.
    pub(crate) fn object(id: String, region: Option<RegionId>, metadata: &Metadata, people: &mut People) -> Self {
        Self {
            backend: "posix".into(),
            id,
            region,
            native_id: metadata.native_id(),
            owner: people.user(metadata.uid()),
            uid: metadata.uid(),
            group: people.group(metadata.gid()),
            gid: metadata.gid(),
            mode: metadata.mode(),
            size: metadata.size(),
            resident: metadata.allocated(),
            attached: None,
            attached_exact: false,
            held_by: None,
            in_doubt: false,
            status: Vec::new(),
            changed: metadata.changed(),
            creator_uid: None,
            creator_pid: None,
            creator_command: None,
        }
    }

    /// A POSIX object by its name.
    pub(crate) fn named(id: &RegionId, metadata: &Metadata, people: &mut People) -> Self {
        Self::object(id.to_string(), Some(id.clone()), metadata, people)
    }

    /// A System V segment, which the system counts.
    pub(crate) fn segment(stat: &SegmentStat, people: &mut People) -> Self {
        let creator = Some(stat.creator_pid()).filter(|&pid| pid != 0);
        let mut status = Vec::new();
        if stat.is_removed() {
            status.push(Status::Removed);
        }
        if stat.is_locked() {
            status.push(Status::Locked);
        }
        let unused = stat.attach_count() == 0;
        if unused && creator.is_some_and(has_ended) {
            status.push(Status::Orphan);
        }
        let id = match stat.key() {
            IPC_PRIVATE => RegionId::Segment(stat.segment().id()),
            key => RegionId::Key(key),
        };
        Self {
            id: id.to_string(),
            region: Some(id),
            backend: "sysv".into(),
            native_id: Some(stat.segment().id().unsigned_abs().into()),
            owner: people.user(stat.uid()),
            uid: stat.uid(),
            group: people.group(stat.gid()),
            gid: stat.gid(),
            mode: stat.mode(),
            size: stat.size() as u64,
            resident: stat.resident(),
            attached: Some(stat.attach_count()),
            attached_exact: true,
            held_by: None,
            // A creator of another PID namespace is 0, and could be alive.
            in_doubt: unused && creator.is_none(),
            status,
            changed: Some(stat.change_time()),
            creator_uid: Some(stat.creator_uid()),
            creator_pid: creator,
            creator_command: creator.and_then(command),
        }
    }

    /// Says who has it, for those that the system does not count.
    pub(crate) fn held(&mut self, holders: &Holders) {
        let count = |mappings: usize| mappings.max(1) as u64;
        let seen: u64 = holders.processes().iter().map(|holder| count(holder.mappings().len())).sum();
        self.attached_exact = holders.is_complete();
        self.in_doubt = holders.is_held().is_none();
        if holders.is_held() == Some(false) {
            self.status.push(Status::Orphan);
        }
        // Somebody whom the kernel knows, and who does not show.
        self.attached = Some(if holders.is_held() == Some(true) { seen.max(1) } else { seen });
        self.held_by = Some(holders.processes().iter().map(|holder| HeldBy::of(holder.pid())).collect());
    }

    /// Whether the caller may remove it.
    pub(crate) fn is_removable(&self) -> bool {
        let sysv = self.backend == "sysv";
        may_remove(self.uid, self.creator_uid.filter(|_| sysv), !sysv && is_sticky())
    }

    pub(crate) fn is(&self, status: Status) -> bool {
        self.status.contains(&status)
    }

    /// What nothing but this object answers to: a key can come to mean another segment, a segment id cannot so soon.
    pub(crate) fn exact_id(&self) -> Option<RegionId> {
        match (self.region.as_ref()?, self.native_id.and_then(|id| i32::try_from(id).ok())) {
            (RegionId::Key(_), Some(id)) => Some(RegionId::Segment(id)),
            (region, _) => Some(region.clone()),
        }
    }
}

/// Whether the caller may remove what belongs to that user and was made by that one. In a directory that is not sticky
/// whoever may write to it may.
pub(crate) fn may_remove(uid: u32, creator: Option<u32>, to_owners_alone: bool) -> bool {
    let me = geteuid().as_raw();
    me == 0 || me == uid || Some(me) == creator || (creator.is_none() && !to_owners_alone)
}

/// Whether names in the store are for their owners to remove, and for the store's.
pub(crate) fn is_sticky() -> bool {
    let me = geteuid().as_raw();
    fs::metadata("/dev/shm").map_or(true, |store| store.mode() & 0o1000 != 0 && store.uid() != me)
}

/// Whether no process has this number. Signal 0 asks, and is not sent; EPERM says that there is one.
fn has_ended(pid: u32) -> bool {
    i32::try_from(pid).is_ok_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH))
}

/// How far to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What has a name, and can be removed.
    Named,
    /// Also what was removed and is held.
    Removed,
    /// All that takes memory: memfds and foreign files of the store, too.
    All,
}

/// Lists what is asked for, by identity. What cannot be listed is told, and makes the second value false.
pub(crate) fn list(selection: Selection, depth: Depth) -> (Vec<Item>, bool) {
    let mut people = People::default();
    let (mut items, mut complete) = (Vec::new(), true);
    for backend in selection.kind.all() {
        let listed = match backend {
            AnyBackend::Sysv => segments(&mut people),
            _ => objects(backend, depth, &mut people),
        };
        match listed {
            Ok(mut listed) => items.append(&mut listed),
            Err(error) => {
                tell(&error);
                complete = false;
            }
        }
    }
    if selection.mine {
        let me = geteuid().as_raw();
        items.retain(|item| item.uid == me || item.creator_uid == Some(me));
    }
    items.sort_by(|a, b| a.id.cmp(&b.id));
    (items, complete)
}

/// All segments, those that were removed and are still attached among them.
fn segments(people: &mut People) -> Result<Vec<Item>, Error> {
    let segments = sysv::segments().map_err(|error| Error::from_io(&error).operation("list").backend("sysv"))?;
    let mut items: Vec<Item> = segments.iter().map(|stat| Item::segment(stat, people)).collect();
    let (attached, stats): (Vec<_>, Vec<_>) = items
        .iter_mut()
        .zip(&segments)
        .filter(|(_, stat)| stat.attach_count() > 0)
        .map(|(item, stat)| (item, stat.clone()))
        .unzip();
    if let (false, Ok(found)) = (stats.is_empty(), sysv::attachers(&stats)) {
        for (item, found) in attached.into_iter().zip(found) {
            item.held_by = Some(found.processes().iter().map(|process| HeldBy::of(process.pid())).collect());
        }
    }
    Ok(items)
}

fn objects(backend: AnyBackend, depth: Depth, people: &mut People) -> Result<Vec<Item>, Error> {
    let listed = backend.list()?;
    let ids: Vec<RegionId> = listed.iter().map(|entry| entry.id().clone()).collect();
    let mut items: Vec<Item> = listed.iter().map(|entry| Item::named(entry.id(), entry.metadata(), people)).collect();
    // Where nobody can tell who has them, they are shown without.
    let holders = backend.holders_ids(&ids).unwrap_or_default();
    let mut holders = holders.into_iter().map(Result::ok);
    for item in &mut items {
        match holders.next().flatten() {
            Some(holders) => item.held(&holders),
            None => item.in_doubt = true,
        }
    }
    if depth != Depth::Named {
        match elsewhere::nameless(depth == Depth::All, people) {
            Ok((mut found, _)) => items.append(&mut found),
            // Who asks for no more than that hears of it.
            Err(error) if depth == Depth::All => tell(&error),
            Err(_) => {}
        }
    }
    if depth == Depth::All {
        items.append(&mut elsewhere::others(people));
    }
    Ok(items)
}

/// Finds the segment that an identity stands for in the list, which asks for no permission on it and knows the most.
pub(crate) fn segment(id: &RegionId) -> Result<SegmentStat, Failure> {
    let number = id.metadata()?.native_id();
    let found = sysv::segments().map_err(|error| Error::from_io(&error).operation("look at").region(id))?;
    let found = found.into_iter().find(|stat| Some(u64::from(stat.segment().id().unsigned_abs())) == number);
    found.ok_or_else(|| Failure::Failed(format!("{id} was removed just now")))
}

fn as_octal<S: serde::Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{mode:04o}"))
}

pub(crate) fn as_time<S: serde::Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(&humantime::format_rfc3339_seconds(*time)),
        None => serializer.serialize_none(),
    }
}
