//! `shm ls`.

use std::cmp::Reverse;
use std::fmt;
use std::io::Write;
use std::time::SystemTime;

use clap::ValueEnum;

use shared_region::AnyBackend;

use crate::args::Selection;
use crate::beside;
use crate::everywhere;
use crate::failure::Failure;
use crate::inside::Inside;
use crate::inventory::{self, Listed, Wanted};
use crate::item::{Item, Status};
use crate::people::command;
use crate::prometheus;
use crate::size::show;
use crate::table::{self, Table, left, names, right};

/// Lists what exists, both kinds in one table.
///
/// In a terminal sizes are rounded and times are ages, columns that do not fit are left out, the less important ones first,
/// and long names are shortened in the middle. Elsewhere all columns are there, separated by spaces, one line for each
/// region, sizes in bytes, times in UTC, `-` for what is not known.
///
/// ATTACHED counts mappings, and processes that only have an object open; `≥ n` says that some processes could not be
/// looked into. STATUS is removed (gone once nobody has it attached; such a POSIX object is posix:#INODE/NAME, after the
/// name that it had), locked (in memory, by SHM_LOCK), orphan, or huge (of huge pages; that
/// shows once it is attached or has been used). HOLDERS are the processes that were seen to have a POSIX
/// object, PID/COMMAND; of a segment `shm stat` tells them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Only what nobody has attached, and whose creator (System V) has ended. The exit code is 3 where that could not be
    /// seen of some.
    #[arg(long)]
    orphans: bool,
    /// Also memfds, named semaphores and files in subdirectories of /dev/shm; the last line says what takes its memory.
    #[arg(long, conflicts_with = "orphans")]
    all: bool,
    #[command(flatten)]
    inside: Inside,
    /// What is in every container, in one table with a column INSIDE: a process of each, for --inside, or "here".
    #[arg(long, conflicts_with_all = ["backend", "mine", "user", "matching", "orphans", "all", "inside", "pid", "sum", "sort",
        "columns", "wide", "human"])]
    all_namespaces: bool,
    /// Only what this process was seen to have mapped or open.
    #[arg(long, value_name = "PID", conflicts_with = "orphans")]
    pid: Option<u32>,
    /// End with a line that says how many there are, and their sizes together.
    #[arg(long, conflicts_with = "json")]
    sum: bool,
    /// What to sort by: names and numbers upwards, sizes and counts from the largest, times from the newest.
    #[arg(long, value_name = "COLUMN", default_value = "id")]
    sort: Column,
    /// Only these columns, in this order.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    columns: Vec<Column>,
    /// In a terminal too, all columns and whole names.
    #[arg(long)]
    wide: bool,
    /// Rounded sizes and ages, without a terminal too, and as wide as $COLUMNS says: as watch(1) needs it.
    #[arg(long)]
    human: bool,
    /// Print JSON: every column, every number exact.
    #[arg(long, conflicts_with_all = ["columns", "wide", "human"])]
    json: bool,
    /// Print numbers for Prometheus, as its node exporter collects them from a file: sums for each kind and owner.
    #[arg(long, conflicts_with_all = ["columns", "wide", "human", "json", "sum", "all_namespaces"])]
    prometheus: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Column {
    Id,
    Native,
    Owner,
    Group,
    Mode,
    Size,
    Resident,
    Attached,
    Status,
    Changed,
    Cpid,
    Creator,
    Holders,
}

pub(crate) fn run(args: Args, out: &mut dyn Write) -> Result<(), Failure> {
    if args.all_namespaces {
        return everywhere::list(args.json, out);
    }
    args.inside.enter()?;
    let wanted = if args.orphans { Wanted::Orphans } else { Wanted::Everything { all: args.all } };
    let Listed { mut items, complete } = inventory::list(&args.selection, wanted)?;
    // Of a part of them it would not add up.
    let whole = args.all
        && args.pid.is_none()
        && args.selection.is_whole()
        && args.selection.kind.all().contains(&AnyBackend::Posix);
    let sum = if whole { beside::Sum::of(&items) } else { None };
    let mut sure = Ok(());
    if args.orphans {
        sure = inventory::check_sure(&items);
        items.retain(|item| item.is(Status::Orphan));
    }
    if let Some(pid) = args.pid {
        inventory::keep_held_by(pid, &mut items)?;
    }
    sort(&mut items, args.sort);
    if args.prometheus {
        prometheus::write(&items, out)?
    } else if args.json {
        table::write_json(out, &items)?
    } else {
        let columns = if args.columns.is_empty() { Column::value_variants() } else { &args.columns };
        let human = args.human || table::is_terminal();
        let width = if args.wide { None } else { table::terminal_width().or(args.human.then(said_width).flatten()) };
        table(&items, columns, human).write(width, out)?;
        if args.sum {
            writeln!(out, "\n{}", Together::of(&items, human)).map_err(Failure::output)?;
        }
        if let Some(sum) = sum {
            writeln!(out, "\n{sum}").map_err(Failure::output)?;
        }
    }
    if complete { sure } else { Err(Failure::Told) }
}

/// What the listed take.
struct Together {
    count: usize,
    size: String,
    resident: String,
}

impl Together {
    fn of(items: &[Item], human: bool) -> Self {
        let size = |bytes: u64| if human { show(bytes) } else { format!("{bytes} bytes") };
        Self {
            count: items.len(),
            size: size(items.iter().fold(0, |sum, item| sum.saturating_add(item.size))),
            resident: size(items.iter().filter_map(|item| item.resident).sum()),
        }
    }
}

impl fmt::Display for Together {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listed: {}, {} of them resident", self.count, self.size, self.resident)
    }
}

/// How wide whoever started this says that lines may be.
fn said_width() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.parse().ok().filter(|&columns| columns > 0)
}

/// Sorts what is in the order of its identities.
fn sort(items: &mut [Item], column: Column) {
    match column {
        Column::Id => {}
        Column::Native => items.sort_by_key(|item| item.native_id),
        Column::Owner => items.sort_by_key(|item| item.owner),
        Column::Group => items.sort_by_key(|item| item.group),
        Column::Mode => items.sort_by_key(|item| item.mode),
        Column::Size => items.sort_by_key(|item| Reverse(item.size)),
        Column::Resident => items.sort_by_key(|item| Reverse(item.resident)),
        Column::Attached => items.sort_by_key(|item| Reverse(item.attached)),
        Column::Status => items.sort_by_key(|item| item.status),
        Column::Changed => items.sort_by_key(|item| Reverse(item.changed)),
        Column::Cpid => items.sort_by_key(|item| item.creator_pid),
        Column::Creator => items.sort_by(|one, other| one.creator_command.cmp(&other.creator_command)),
        Column::Holders => items.sort_by_key(|item| Reverse(item.pids.len())),
    }
}

/// The table for a person who is to decide about these.
pub(crate) fn show_all(items: &[Item], out: &mut dyn Write) -> Result<(), Failure> {
    table(items, Column::value_variants(), table::is_terminal()).write(table::terminal_width(), out)
}

fn table(items: &[Item], columns: &[Column], human: bool) -> Table {
    let heads: Vec<table::Column> = columns.iter().map(|column| column.head()).collect();
    let mut table = Table::new(&heads);
    for item in items {
        table.row(columns.iter().map(|column| column.cell(item, human)));
    }
    table
}

impl Column {
    fn head(self) -> table::Column {
        match self {
            Self::Id => names("ID"),
            Self::Native => right("NATIVE", 7),
            Self::Owner => left("OWNER", 2),
            Self::Group => left("GROUP", 9),
            Self::Mode => left("MODE", 3),
            Self::Size => right("SIZE", 0),
            Self::Resident => right("RESIDENT", 5),
            Self::Attached => right("ATTACHED", 1),
            Self::Status => left("STATUS", 0),
            Self::Changed => right("CHANGED", 4),
            Self::Cpid => right("CPID", 8),
            Self::Creator => left("CREATOR", 6),
            Self::Holders => left("HOLDERS", 10),
        }
    }

    fn cell(self, item: &Item, human: bool) -> String {
        let size = |bytes: u64| if human { show(bytes) } else { bytes.to_string() };
        let time = |time| if human { age(time) } else { utc(time) };
        match self {
            Self::Id => item.id.to_string(),
            Self::Native => item.native_id.map(|id| id.to_string()).unwrap_or_default(),
            Self::Owner => item.owner.into(),
            Self::Group => item.group.into(),
            Self::Mode => format!("{:04o}", item.mode),
            Self::Size => size(item.size),
            Self::Resident => item.resident.map(size).unwrap_or_default(),
            Self::Attached => attached(item, human),
            Self::Status => item.status.names().collect::<Vec<_>>().join(","),
            Self::Changed => item.changed.map(time).unwrap_or_default(),
            Self::Cpid => item.creator_pid.map(|pid| pid.to_string()).unwrap_or_default(),
            Self::Creator => item.creator_command.clone().unwrap_or_default(),
            Self::Holders => holders(item),
        }
    }
}

/// Who was seen to have it, in one word.
fn holders(item: &Item) -> String {
    let holder = |&pid: &u32| match command(pid) {
        Some(command) => format!("{pid}/{}", command.replace(' ', "_")),
        None => pid.to_string(),
    };
    item.pids.iter().map(holder).collect::<Vec<_>>().join(",")
}

/// How many have it, or how many at least.
pub(crate) fn attached(item: &Item, human: bool) -> String {
    match (item.attached, item.attached_exact) {
        (None, _) => String::new(),
        (Some(count), true) => count.to_string(),
        (Some(count), false) if human => format!("≥ {count}"),
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
