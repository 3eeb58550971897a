//! `shm stat`.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::time::SystemTime;

use serde::Serialize;
use shared_region::{Access, AnyBackend, Backend, Error, Holders, RegionId};
use shared_region_posix as posix;
use shared_region_sysv::{IPC_PRIVATE, SegmentStat, segments};

use crate::failure::{Failure, each};
use crate::identity::{self, Identity};
use crate::inside::Inside;
use crate::inventory;
use crate::item::{Id, Item, as_time, last_use};
use crate::people::{self, People, command};
use crate::process::Process as Remembered;
use crate::{mounted, table};

mod text;

/// Tells everything known about regions, and who has them mapped.
#[derive(Debug, clap::Args)]
#[command(after_help = identity::FORMS)]
pub(crate) struct Args {
    /// The regions to examine.
    #[arg(value_name = "ID", required = true, value_parser = Identity::parser())]
    ids: Vec<Identity>,
    #[command(flatten)]
    inside: Inside,
    /// Print JSON: a list with what `shm ls --json` has, and more.
    #[arg(long)]
    json: bool,
}

/// Everything, as JSON has it.
#[derive(Debug, Serialize)]
struct Details {
    #[serde(flatten)]
    item: Item,
    #[serde(skip_serializing_if = "Option::is_none")]
    posix: Option<PosixDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sysv: Option<SysvDetails>,
    /// `null` where this system does not tell.
    holders: Option<Vec<Process>>,
    holders_complete: bool,
}

#[derive(Debug, Serialize)]
struct PosixDetails {
    device: u64,
    inode: u64,
    links: u64,
    #[serde(serialize_with = "as_time")]
    accessed: Option<SystemTime>,
    #[serde(serialize_with = "as_time")]
    modified: Option<SystemTime>,
}

#[derive(Debug, Serialize)]
struct SysvDetails {
    shmid: i32,
    key: String,
    sequence: Option<u32>,
    creator_uid: u32,
    creator_gid: u32,
    last_pid: Option<u32>,
    last_command: Option<String>,
    #[serde(serialize_with = "as_time")]
    attached: Option<SystemTime>,
    #[serde(serialize_with = "as_time")]
    detached: Option<SystemTime>,
    swapped: Option<u64>,
}

/// A process that has it.
#[derive(Debug, Serialize)]
struct Process {
    pid: u32,
    user: Option<String>,
    command: Option<String>,
    mappings: Vec<Mapping>,
    descriptors: Vec<i32>,
}

#[derive(Debug, Serialize)]
struct Mapping {
    address: String,
    size: u64,
    offset: u64,
    read_only: bool,
}

pub(crate) fn run(args: Args, out: &mut dyn Write) -> Result<(), Failure> {
    args.inside.or_of(&args.ids).enter()?;
    let mut ids = Vec::new();
    let named = each(args.ids, |id| {
        ids.push(id.existing()?);
        Ok(())
    });
    let mut known = Known::of(&ids);
    let mut found = Vec::new();
    let outcome = each(ids, |id| {
        found.push(Details::of(id, &mut known)?);
        Ok(())
    });
    let people = &mut known.people;
    if args.json {
        table::write_json(out, &found)?;
    } else {
        for (index, details) in found.iter().enumerate() {
            if index > 0 {
                writeln!(out).map_err(Failure::output)?;
            }
            details.write(out, people)?;
        }
    }
    named.and(outcome)
}

/// What is asked for once for all regions.
struct Known {
    people: People,
    /// From the list, which asks for no permission on a segment and knows the most; by their ids.
    segments: HashMap<i32, SegmentStat>,
    keys: HashMap<i32, i32>,
    holders: HashMap<RegionId, Holders>,
    mounted: HashSet<Vec<u8>>,
}

impl Known {
    fn of(ids: &[RegionId]) -> Self {
        let (sysv, posix): (Vec<_>, Vec<_>) = ids.iter().cloned().partition(|id| id.backend() == "sysv");
        let listed = if sysv.is_empty() { Vec::new() } else { segments().unwrap_or_default() };
        let keys = listed.iter().map(|stat| (stat.key(), stat.segment().id())).collect();
        let segments = listed.into_iter().map(|stat| (stat.segment().id(), stat)).collect();
        let mut known =
            Self { people: People::default(), keys, segments, holders: HashMap::new(), mounted: mounted::names() };
        // By their numbers, which go on to mean them.
        let sysv: Vec<RegionId> =
            sysv.iter().filter_map(|id| known.segment(id)).map(|stat| RegionId::Segment(stat.segment().id())).collect();
        for (backend, ids) in [(AnyBackend::Sysv, sysv), (AnyBackend::Posix, posix)] {
            let found = backend.holders_ids(&ids).into_iter().flatten();
            known.holders.extend(ids.iter().cloned().zip(found).filter_map(|(id, found)| Some((id, found.ok()?))));
        }
        known
    }

    /// What the list has of a segment. Asked for one by one, the list would be read anew for each.
    fn segment(&self, id: &RegionId) -> Option<&SegmentStat> {
        let number = match (id, key(id)) {
            (RegionId::Segment(number), _) => number,
            (_, key) => self.keys.get(&key.filter(|&key| key != IPC_PRIVATE)?)?,
        };
        self.segments.get(number)
    }
}

impl Details {
    fn of(id: RegionId, known: &mut Known) -> Result<Self, Failure> {
        let mut details = if id.backend() == "sysv" { Self::segment(&id, known)? } else { Self::object(&id, known)? };
        // As it was asked for, so by name where it was.
        details.item.id = Id::Region(id);
        Ok(details)
    }

    fn segment(id: &RegionId, known: &mut Known) -> Result<Self, Failure> {
        let Some(stat) = known.segment(id).cloned() else {
            // Says what is wrong with it, if anything is.
            drop(id.metadata()?);
            return Err(Failure::Failed(format!("{id} has been made just now, or is not in the list of segments")));
        };
        let last = Some(stat.last_pid()).filter(|&pid| pid != 0);
        let sysv = SysvDetails {
            shmid: stat.segment().id(),
            key: format!("{:#010x}", stat.key()),
            // The list does not have it, and to ask for it takes permission.
            sequence: stat.segment().stat().ok().and_then(|stat| stat.sequence()),
            creator_uid: stat.creator_uid(),
            creator_gid: stat.creator_gid(),
            last_pid: last,
            last_command: Remembered::of(stat.last_pid(), last_use(&stat)).command(),
            attached: stat.attach_time(),
            detached: stat.detach_time(),
            swapped: stat.swapped(),
        };
        let item = Item::segment(&stat, &mut known.people);
        let holders = known.holders.get(&RegionId::Segment(stat.segment().id())).cloned();
        Ok(Self::new(item, None, Some(sysv), holders, &mut known.people))
    }

    fn object(id: &RegionId, known: &mut Known) -> Result<Self, Failure> {
        // Says what is wrong with the name, if anything is.
        drop(id.metadata()?);
        let (_, stat) = posix::kind(inventory::native(id))
            .map_err(|error| Error::from_io(&error).operation("look at").region(id))?;
        let details = PosixDetails {
            device: stat.device(),
            inode: stat.inode(),
            links: stat.links(),
            accessed: Some(stat.accessed()),
            modified: Some(stat.modified()),
        };
        let mut item = Item::object(Id::Region(id.clone()), "posix", &stat, &mut known.people);
        let holders = known.holders.get(id).cloned();
        inventory::examine(&mut item, holders.as_ref(), &known.mounted);
        Ok(Self::new(item, Some(details), None, holders, &mut known.people))
    }

    fn new(
        item: Item,
        posix: Option<PosixDetails>,
        sysv: Option<SysvDetails>,
        holders: Option<Holders>,
        people: &mut People,
    ) -> Self {
        let holders_complete = holders.as_ref().is_some_and(Holders::is_complete);
        let process = |holder: &shared_region::Holder| Process {
            pid: holder.pid(),
            user: people::user_of(holder.pid()).map(|uid| people.user(uid).to_owned()),
            command: command(holder.pid()),
            mappings: holder.mappings().iter().map(Mapping::of).collect(),
            descriptors: holder.descriptors().to_vec(),
        };
        let holders = holders.map(|holders| holders.processes().iter().map(process).collect());
        Self { item, posix, sysv, holders, holders_complete }
    }
}

/// The key that an identity stands for, if it is none of a segment itself.
fn key(id: &RegionId) -> Option<i32> {
    match id {
        RegionId::Named { name, .. } => Some(name.key()),
        RegionId::Key(key) => Some(*key),
        _ => None,
    }
}

impl Mapping {
    fn of(held: &shared_region::HeldMapping) -> Self {
        Self {
            address: format!("{:#x}", held.address()),
            size: held.len(),
            offset: held.offset(),
            read_only: held.access() == Access::ReadOnly,
        }
    }
}
