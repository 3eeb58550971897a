//! `shm ls`.

use std::cmp::Reverse;
use std::io::Write;
use std::time::SystemTime;

use clap::ValueEnum;

use crate::args::Selection;
use crate::failure::Failure;
use crate::inventory::{self, Listed, Wanted};
use crate::item::{Item, Status};
use crate::size::show;
use crate::table::{self, Table, left, right};

/// Lists what exists, both kinds in one table.
///
/// In a terminal sizes are rounded and times are ages, and columns that do not fit are left out, the less important
/// ones first. Elsewhere all columns are there, separated by spaces, one line for each region, sizes in bytes, times in
/// UTC, `-` for what is not known.
///
/// ATTACHED counts mappings, and processes that only have an object open; `≥ n` says that some processes could not be
/// looked into. STATUS is removed (gone once nobody has it attached), locked (in memory, by SHM_LOCK), or orphan.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Only what nobody has attached, and whose creator (System V) has ended. The exit code is 3 where that could not be
    /// seen of some.
    #[arg(long)]
    orphans: bool,
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
    let wanted = if args.orphans { Wanted::Orphans } else { Wanted::Everything };
    let Listed { mut items, complete } = inventory::list(args.selection, wanted);
    let mut sure = Ok(());
    if args.orphans {
        sure = inventory::check_sure(&items);
        items.retain(|item| item.is(Status::Orphan));
    }
    sort(&mut items, args.sort);
    if args.json {
        table::write_json(out, &items)?
    } else {
        table(&items).write(out)?
    }
    if complete { sure } else { Err(Failure::Told) }
}

/// Sorts what is in the order of its identities.
fn sort(items: &mut [Item], column: Column) {
    match column {
        Column::Id => {}
        Column::Native => items.sort_by_key(|item| item.native_id),
        Column::Owner => items.sort_by(|a, b| a.owner.cmp(b.owner)),
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
        right("NATIVE", 7),
        left("OWNER", 2),
        left("GROUP", 9),
        left("MODE", 3),
        right("SIZE", 0),
        right("RESIDENT", 5),
        right("ATTACHED", 1),
        left("STATUS", 0),
        right("CHANGED", 4),
        right("CPID", 8),
        left("CREATOR", 6),
    ]);
    for item in items {
        let status: Vec<&str> = item.status.names().collect();
        table.row([
            item.id.to_string(),
            item.native_id.map(|id| id.to_string()).unwrap_or_default(),
            item.owner.into(),
            item.group.into(),
            format!("{:04o}", item.mode),
            size(item.size),
            item.resident.map(size).unwrap_or_default(),
            attached(item),
            status.join(","),
            item.changed.map(|time| if human { age(time) } else { utc(time) }).unwrap_or_default(),
            item.creator_pid.map(|pid| pid.to_string()).unwrap_or_default(),
            item.creator_command.clone().unwrap_or_default(),
        ]);
    }
    table
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
