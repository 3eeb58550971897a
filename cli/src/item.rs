//! A region, as `shm ls` shows it.

use std::fmt;
use std::time::SystemTime;

use serde::{Serialize, Serializer};
use shared_region::RegionId;
use shared_region_posix::Stat;
use shared_region_sysv::{IPC_PRIVATE, SegmentStat};

use crate::people::People;
use crate::process::Process;

/// A region as `shm ls` shows it, and as JSON has it.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    #[serde(serialize_with = "as_text")]
    pub(crate) id: Id,
    pub(crate) backend: &'static str,
    /// The segment id or the inode.
    pub(crate) native_id: Option<u64>,
    pub(crate) owner: &'static str,
    pub(crate) uid: u32,
    pub(crate) group: &'static str,
    pub(crate) gid: u32,
    #[serde(serialize_with = "as_octal")]
    pub(crate) mode: u32,
    pub(crate) size: u64,
    pub(crate) resident: Option<u64>,
    /// How many mappings there are; a process that only has it open counts as one. `None` where nothing could be seen.
    pub(crate) attached: Option<u64>,
    /// Whether there are no more than those.
    pub(crate) attached_exact: bool,
    /// The processes that were seen to have it; nobody looks for those of segments, which the system counts.
    pub(crate) pids: Vec<u32>,
    pub(crate) status: Statuses,
    #[serde(serialize_with = "as_time")]
    pub(crate) changed: Option<SystemTime>,
    pub(crate) creator_uid: Option<u32>,
    pub(crate) creator_pid: Option<u32>,
    pub(crate) creator_command: Option<String>,
    /// When it was last made, changed, opened or attached, as far as the system notes that.
    #[serde(skip)]
    pub(crate) used: SystemTime,
    /// Why it could not be seen whether it is an orphan.
    #[serde(skip)]
    pub(crate) unsure: Option<&'static str>,
}

/// What something is called.
#[derive(Clone, Debug)]
pub(crate) enum Id {
    Region(RegionId),
    /// A text that is no region's identity, for what cannot be opened by one.
    Other(Box<str>),
}

impl Id {
    pub(crate) fn region(&self) -> Option<&RegionId> {
        match self {
            Self::Region(id) => Some(id),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(id) => id.fmt(f),
            Self::Other(text) => text.fmt(f),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Removed,
    Locked,
    Orphan,
    /// Of huge pages, as far as that shows.
    Huge,
}

impl Status {
    const ALL: [Self; 4] = [Self::Removed, Self::Locked, Self::Orphan, Self::Huge];

    fn name(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Locked => "locked",
            Self::Orphan => "orphan",
            Self::Huge => "huge",
        }
    }
}

/// A set of them, small, as there may be very many regions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Statuses(u8);

impl Statuses {
    pub(crate) fn add(&mut self, status: Status) {
        self.0 |= 1 << status as u8;
    }

    pub(crate) fn contains(self, status: Status) -> bool {
        self.0 & 1 << status as u8 != 0
    }

    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        Status::ALL.into_iter().filter(move |&status| self.contains(status)).map(Status::name)
    }
}

impl Serialize for Statuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

impl Item {
    /// A POSIX object or the like, of which nobody counts yet who has it.
    pub(crate) fn object(id: Id, backend: &'static str, stat: &Stat, people: &mut People) -> Self {
        Self {
            backend,
            id,
            native_id: Some(stat.inode()),
            owner: people.user(stat.uid()),
            uid: stat.uid(),
            group: people.group(stat.gid()),
            gid: stat.gid(),
            mode: stat.mode() & 0o777,
            size: stat.len(),
            resident: Some(stat.allocated()),
            attached: None,
            attached_exact: false,
            pids: Vec::new(),
            status: Statuses::default(),
            changed: Some(stat.changed()),
            creator_uid: None,
            creator_pid: None,
            creator_command: None,
            used: stat.changed().max(stat.accessed()).max(stat.modified()),
            unsure: None,
        }
    }

    /// A System V segment, which the system counts.
    pub(crate) fn segment(stat: &SegmentStat, people: &mut People) -> Self {
        let creator = Process::of(stat.creator_pid(), stat.change_time());
        let mut status = Statuses::default();
        if stat.is_removed() {
            status.add(Status::Removed);
        }
        if stat.is_locked() {
            status.add(Status::Locked);
        }
        if stat.huge_page_size().is_some() {
            status.add(Status::Huge);
        }
        if stat.attach_count() == 0 && creator == Process::Ended {
            status.add(Status::Orphan);
        }
        let hidden = stat.attach_count() == 0 && creator == Process::Unknown;
        Self {
            id: Id::Region(match stat.key() {
                IPC_PRIVATE => RegionId::Segment(stat.segment().id()),
                key => RegionId::Key(key),
            }),
            backend: "sysv",
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
            pids: Vec::new(),
            status,
            changed: Some(stat.change_time()),
            creator_uid: Some(stat.creator_uid()),
            creator_pid: Some(stat.creator_pid()).filter(|&pid| pid != 0),
            creator_command: creator.command(),
            used: stat.change_time().max(last_use(stat)),
            unsure: hidden.then_some("its creator is of another PID namespace, or out of sight"),
        }
    }

    /// Says who has it and how many times mapped, for those that the system does not count: a mapping counts as one, and so
    /// does a process that only has it open.
    pub(crate) fn held(&mut self, holders: impl Iterator<Item = (u32, usize)>, complete: bool) {
        let mut attached = 0;
        for (pid, mappings) in holders {
            attached += mappings.max(1) as u64;
            self.pids.push(pid);
        }
        self.attached = Some(attached);
        self.attached_exact = complete;
    }

    pub(crate) fn is(&self, status: Status) -> bool {
        self.status.contains(status)
    }

    /// What nothing but this object answers to: a key can come to mean another segment, a segment id cannot so soon.
    pub(crate) fn exact_id(&self) -> Option<RegionId> {
        match (self.id.region()?, self.native_id.and_then(|id| i32::try_from(id).ok())) {
            (RegionId::Key(_), Some(id)) => Some(RegionId::Segment(id)),
            (id, _) => Some(id.clone()),
        }
    }
}

/// When a segment was last attached or detached.
pub(crate) fn last_use(stat: &SegmentStat) -> SystemTime {
    stat.attach_time().max(stat.detach_time()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn as_text<S: Serializer>(id: &Id, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn as_octal<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{mode:04o}"))
}

pub(crate) fn as_time<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(&humantime::format_rfc3339_seconds(*time)),
        None => serializer.serialize_none(),
    }
}
