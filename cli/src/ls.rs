//! `shm ls`.

use std::cmp::Reverse;
use std::fs;
use std::io::Write;
use std::time::SystemTime;

use clap::ValueEnum;
use nix::unistd::geteuid;
use shared_region::AnyBackend;

use crate::args::Selection;
use crate::failure::{Failure, tell};
use crate::inventory::{self, Depth, HeldBy, Item, Status};
use crate::size::show;
use crate::table::{self, Table, left, right};

/// Lists what exists, both kinds in one table.
///
/// In a terminal sizes are rounded and times are ages, and columns that do not fit are left out, the less important
/// ones first. Elsewhere all columns are there, separated by spaces, one line for each region, sizes in bytes, times in
/// UTC, `-` for what is not known.
///
/// ATTACHED counts mappings, and processes that only have an object open; `≥ n` says that some processes could not be
/// looked into. STATUS is removed (gone once nobody has it attached), locked (in memory, by SHM_LOCK), or orphan. HELD-BY is
/// who was seen to have it, PID/COMMAND. removed:/NAME was a POSIX object of that name, whose memory stays in use until those
/// who have it let go.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Only what nobody has attached, and whose creator (System V) has ended.
    #[arg(long)]
    orphans: bool,
    /// Also what has no name, or is no region, and takes memory: memfds, files in directories of /dev/shm, named semaphores
    /// (sem.*). Says how much of what is in use is in none of that.
    #[arg(long, conflicts_with = "orphans")]
    all: bool,
    /// What to sort by: names and numbers upwards, sizes and counts from the largest, times from the newest.
    #[arg(long, value_name = "COLUMN", default_value = "id")]
    sort: Column,
    /// Print JSON: every column, every number exact.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Column {
    Id,
    Native,
    Owner,
    Size,
    Resident,
    Attached,
    Changed,
}

pub(crate) fn run(args: Args, out: &mut dyn Write) -> Result<(), Failure> {
    let depth = match args {
        Args { orphans: true, .. } => Depth::Named,
        Args { all: true, .. } => Depth::All,
        _ => Depth::Removed,
    };
    let (mut items, complete) = inventory::list(args.selection, depth);
    let doubts = items.iter().filter(|item| item.in_doubt).count();
    if args.orphans {
        items.retain(|item| item.is(Status::Orphan));
    }
    sort(&mut items, args.sort);
    if args.json {
        table::write_json(out, &items)?
    } else {
        table(&items).write(out)?
    }
    if !complete {
        return Err(Failure::Told);
    }
    match args {
        Args { orphans: true, .. } => unknown(doubts),
        Args { all: true, selection, .. } => account(&items, selection),
        _ => Ok(()),
    }
}

/// Says of how many it is not known whether they are orphans, and why.
pub(crate) fn unknown(doubts: usize) -> Result<(), Failure> {
    if doubts == 0 {
        return Ok(());
    }
    let namespace = fs::read_link("/proc/thread-self/ns/pid");
    let why = match namespace {
        Err(_) => "there is no /proc to look through",
        // The inode of the first; see pid_namespaces(7).
        Ok(name) if name.as_os_str() != "pid:[4026531836]" => "those of other PID namespaces do not show in this one",
        Ok(_) if !geteuid().is_root() => "other users' processes may not be looked into",
        Ok(_) => "not all processes may be looked into",
    };
    let some = if doubts == 1 { "1 region".to_owned() } else { format!("{doubts} regions") };
    Err(Failure::Unknown(format!(
        "whether somebody uses {some} that nobody is seen to use cannot be known, as {why}: ask as root outside of containers, or as the owner"
    )))
}

/// Sorts what is in the order of its identities.
fn sort(items: &mut [Item], column: Column) {
    match column {
        Column::Id => {}
        Column::Native => items.sort_by_key(|item| item.native_id),
        Column::Owner => items.sort_by(|a, b| a.owner.cmp(&b.owner)),
        Column::Size => items.sort_by_key(|item| Reverse(item.size)),
        Column::Resident => items.sort_by_key(|item| Reverse(item.resident)),
        Column::Attached => items.sort_by_key(|item| Reverse(item.attached)),
        Column::Changed => items.sort_by_key(|item| Reverse(item.changed)),
    }
}

/// The table that `shm ls` prints, and `shm rm --orphans` before it asks.
pub(crate) fn table(items: &[Item]) -> Table {
    let human = table::is_terminal();
    let size = |bytes: u64| if human { show(bytes) } else { bytes.to_string() };
    let mut table = Table::new(&[
        left("ID", 0),
        right("NATIVE", 8),
        left("OWNER", 2),
        left("GROUP", 10),
        left("MODE", 3),
        right("SIZE", 0),
        right("RESIDENT", 5),
        right("ATTACHED", 1),
        left("STATUS", 0),
        right("CHANGED", 4),
        right("CPID", 9),
        left("CREATOR", 6),
        left("HELD-BY", 7),
    ]);
    for item in items {
        let status: Vec<&str> = item.status.iter().map(|status| status.name()).collect();
        table.row([
            item.id.clone(),
            item.native_id.map(|id| id.to_string()).unwrap_or_default(),
            item.owner.clone(),
            item.group.clone(),
            format!("{:04o}", item.mode),
            size(item.size),
            item.resident.map(size).unwrap_or_default(),
            attached(item),
            status.join(","),
            item.changed.map(|time| if human { age(time) } else { utc(time) }).unwrap_or_default(),
            item.creator_pid.map(|pid| pid.to_string()).unwrap_or_default(),
            item.creator_command.clone().unwrap_or_default(),
            held_by(item),
        ]);
    }
    table
}

/// Who was seen to have it, without spaces.
fn held_by(item: &Item) -> String {
    let held = |held: &HeldBy| match &held.command {
        Some(command) => format!("{}/{}", held.pid, command.replace(' ', "_")),
        None => held.pid.to_string(),
    };
    item.held_by.iter().flatten().map(held).collect::<Vec<_>>().join(",")
}

/// Says what of the store's use is in no line, as when it goes between two looks.
fn account(items: &[Item], selection: Selection) -> Result<(), Failure> {
    let Ok(store) = shared_region_posix::store() else { return Ok(()) };
    if selection.mine
        || selection.kind.backend.is_some_and(|backend| backend != AnyBackend::Posix)
        || store.total() == 0
    {
        return Ok(());
    }
    let in_store = items.iter().filter(|item| item.backend == "posix" && !item.id.starts_with("memfd:"));
    let listed: u64 = in_store.filter_map(|item| item.resident).sum();
    let used = store.total() - store.free();
    let missing = used.saturating_sub(listed);
    if missing > 0 {
        tell(&format_args!(
            "{missing} of the {used} bytes that are in use in /dev/shm are in none of these: somebody has them who does not show, or they went meanwhile"
        ));
    }
    Ok(())
}

/// How many have it, or how many at least.
pub(crate) fn attached(item: &Item) -> String {
    match (item.attached, item.attached_exact) {
        (None, _) => String::new(),
        (Some(count), true) => count.to_string(),
        (Some(count), false) if table::is_terminal() => format!("≥ {count}"),
        // One word, for programs that count words.
        (Some(count), false) => format!("≥{count}"),
    }
}

pub(crate) fn utc(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// How long ago that was, in the largest unit.
pub(crate) fn age(time: SystemTime) -> String {
    let seconds = time.elapsed().map_or(0, |age| age.as_secs());
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}min", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
