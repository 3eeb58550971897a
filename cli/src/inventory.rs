//! What exists, and who has it.

use std::time::SystemTime;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, geteuid};
use serde::Serialize;
use shared_region::{AnyBackend, Backend, Error, Holders, Metadata, RegionId};
use shared_region_sysv::{self as sysv, IPC_PRIVATE, SegmentStat};

use crate::args::Selection;
use crate::failure::{Failure, tell};
use crate::people::{People, command};

/// A region as `shm ls` shows it, and as JSON has it.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    #[serde(serialize_with = "as_text")]
    pub(crate) id: RegionId,
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
    pub(crate) status: Vec<Status>,
    #[serde(serialize_with = "as_time")]
    pub(crate) changed: Option<SystemTime>,
    pub(crate) creator_uid: Option<u32>,
    pub(crate) creator_pid: Option<u32>,
    pub(crate) creator_command: Option<String>,
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
    pub(crate) fn object(id: RegionId, metadata: &Metadata, people: &mut People) -> Self {
        Self {
            backend: id.backend().to_owned(),
            id,
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
            status: Vec::new(),
            changed: metadata.changed(),
            creator_uid: None,
            creator_pid: None,
            creator_command: None,
        }
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
        // A creator of another PID namespace is 0, and could be alive.
        if stat.attach_count() == 0 && creator.is_some_and(has_ended) {
            status.push(Status::Orphan);
        }
        Self {
            id: match stat.key() {
                IPC_PRIVATE => RegionId::Segment(stat.segment().id()),
                key => RegionId::Key(key),
            },
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
        self.attached = Some(holders.processes().iter().map(|holder| count(holder.mappings().len())).sum());
        self.attached_exact = holders.is_complete();
        if self.attached == Some(0) && self.attached_exact {
            self.status.push(Status::Orphan);
        }
    }

    pub(crate) fn is(&self, status: Status) -> bool {
        self.status.contains(&status)
    }

    /// What nothing but this object answers to: a key can come to mean another segment, a segment id cannot so soon.
    pub(crate) fn exact_id(&self) -> RegionId {
        match (&self.id, self.native_id.and_then(|id| i32::try_from(id).ok())) {
            (RegionId::Key(_), Some(id)) => RegionId::Segment(id),
            _ => self.id.clone(),
        }
    }
}

/// Whether no process has this number. Signal 0 asks, and is not sent; EPERM says that there is one.
fn has_ended(pid: u32) -> bool {
    i32::try_from(pid).is_ok_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH))
}

/// Lists what is asked for, by identity. What cannot be listed is told, and makes the second value false.
pub(crate) fn list(selection: Selection) -> (Vec<Item>, bool) {
    let mut people = People::default();
    let (mut items, mut complete) = (Vec::new(), true);
    for backend in selection.kind.all() {
        let listed = match backend {
            AnyBackend::Sysv => segments(&mut people),
            _ => objects(backend, &mut people),
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
    items.sort_by_cached_key(|item| item.id.to_string());
    (items, complete)
}

/// All segments, those that were removed and are still attached among them.
fn segments(people: &mut People) -> Result<Vec<Item>, Error> {
    let segments = sysv::segments().map_err(|error| Error::from_io(&error).operation("list").backend("sysv"))?;
    Ok(segments.iter().map(|stat| Item::segment(stat, people)).collect())
}

fn objects(backend: AnyBackend, people: &mut People) -> Result<Vec<Item>, Error> {
    let listed = backend.list()?;
    let ids: Vec<RegionId> = listed.iter().map(|entry| entry.id().clone()).collect();
    let mut items: Vec<Item> =
        listed.iter().map(|entry| Item::object(entry.id().clone(), entry.metadata(), people)).collect();
    // Where nobody can tell who has them, they are shown without.
    if let Ok(holders) = backend.holders_ids(&ids) {
        for (item, holders) in items.iter_mut().zip(holders) {
            if let Ok(holders) = holders {
                item.held(&holders);
            }
        }
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

fn as_text<S: serde::Serializer>(id: &RegionId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
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
