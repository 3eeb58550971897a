//! `shm stat`.

use std::io::Write;
use std::time::SystemTime;

use serde::Serialize;
use shared_region::{Access, Error, Holders, RegionId};
use shared_region_posix as posix;

use crate::failure::{Failure, each};
use crate::identity::{self, Identity};
use crate::inventory;
use crate::item::{Id, Item, as_time, last_use};
use crate::people::{self, People, command};
use crate::process::Process as Remembered;
use crate::table;

mod text;

/// Tells everything known about regions, and who has them mapped.
#[derive(Debug, clap::Args)]
#[command(after_help = identity::FORMS)]
pub(crate) struct Args {
    /// The regions to examine.
    #[arg(value_name = "ID", required = true, value_parser = Identity::parser())]
    ids: Vec<Identity>,
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
    let mut people = People::default();
    let mut found = Vec::new();
    let outcome = each(args.ids, |id| {
        found.push(Details::of(id.existing()?, &mut people)?);
        Ok(())
    });
    if args.json {
        table::write_json(out, &found)?;
    } else {
        for (index, details) in found.iter().enumerate() {
            if index > 0 {
                writeln!(out).map_err(Failure::output)?;
            }
            details.write(out, &mut people)?;
        }
    }
    outcome
}

impl Details {
    fn of(id: RegionId, people: &mut People) -> Result<Self, Failure> {
        let mut details = if id.backend() == "sysv" { Self::segment(&id, people)? } else { Self::object(&id, people)? };
        // As it was asked for, so by name where it was.
        details.item.id = Id::Region(id);
        Ok(details)
    }

    fn segment(id: &RegionId, people: &mut People) -> Result<Self, Failure> {
        let stat = inventory::segment(id)?;
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
        let item = Item::segment(&stat, people);
        // By its number, which goes on to mean it.
        let holders = RegionId::Segment(sysv.shmid).holders().ok();
        Ok(Self::new(item, None, Some(sysv), holders, people))
    }

    fn object(id: &RegionId, people: &mut People) -> Result<Self, Failure> {
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
        let mut item = Item::object(Id::Region(id.clone()), "posix", &stat, people);
        let holders = id.holders().ok();
        inventory::examine(&mut item, holders.as_ref());
        Ok(Self::new(item, Some(details), None, holders, people))
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
