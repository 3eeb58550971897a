//! `shm ipc`.

use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::time::SystemTime;

use serde::Serialize;
use shared_region_sysv as sysv;

use crate::failure::{Failure, each};
use crate::item::as_time;
use crate::ls::{age, utc};
use crate::people::People;
use crate::table::{self, Table, left, names, right};

mod found;

/// Lists semaphores and message queues, System V and POSIX, or removes them.
///
/// An ID is semaphore:0xKEY, semaphore:#ID, semaphore:/NAME, and the same with queue. Without one all are listed, each kind
/// in a table of its own. An orphan is a semaphore with a name that nobody has open, or a queue of System V whose last sender
/// and receiver have both ended; of sets of semaphores the system does not tell, but when they were last used. POSIX queues
/// are seen where /dev/mqueue is mounted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Only orphans.
    #[arg(long, conflicts_with = "ids")]
    orphans: bool,
    /// Remove the IDs.
    #[arg(long, requires = "ids")]
    rm: bool,
    /// Print JSON: a list, every number exact.
    #[arg(long, conflicts_with = "rm")]
    json: bool,
}

/// A set of semaphores, a semaphore or a queue.
#[derive(Debug, Serialize)]
struct Thing {
    id: String,
    kind: &'static str,
    backend: &'static str,
    /// The id of System V, or the inode.
    native_id: u64,
    owner: &'static str,
    uid: u32,
    #[serde(serialize_with = "as_octal")]
    mode: u32,
    /// How many semaphores or messages there are.
    count: Option<u64>,
    /// The bytes of the messages in a queue.
    bytes: Option<u64>,
    /// When it was last made, changed or used.
    #[serde(serialize_with = "as_time")]
    used: Option<SystemTime>,
    /// Who sent and received last.
    last_pids: Vec<u32>,
    orphan: bool,
    #[serde(skip)]
    place: Place,
}

/// What has to be removed.
#[derive(Debug)]
enum Place {
    Semaphores(i32),
    Queue(i32),
    File(std::path::PathBuf),
}

impl Thing {
    /// Whether somebody who typed this means it.
    fn is_called(&self, text: &str) -> bool {
        self.id == text || self.backend == "sysv" && format!("{}:#{}", self.kind, self.native_id) == text
    }

    fn remove(&self) -> io::Result<()> {
        match &self.place {
            Place::Semaphores(id) => sysv::remove_semaphores(*id),
            Place::Queue(id) => sysv::remove_queue(*id),
            Place::File(path) => fs::remove_file(path),
        }
    }
}

pub(crate) fn run(args: Args, out: &mut dyn Write) -> Result<(), Failure> {
    let mut all = found::all(&mut People::default());
    let mut outcome = Ok(());
    if !args.ids.is_empty() {
        let mut chosen = Vec::new();
        outcome = each(&args.ids, |text| {
            let index = all.iter().position(|thing| thing.is_called(text)).ok_or_else(|| missing(text))?;
            chosen.push(all.swap_remove(index));
            Ok(())
        });
        all = chosen;
    }
    if args.rm {
        let removed = each(&all, |thing| {
            thing.remove().map_err(|error| Failure::with(format_args!("remove {}", thing.id), &error))
        });
        return outcome.and(removed);
    }
    all.retain(|thing| !args.orphans || thing.orphan);
    if args.ids.is_empty() {
        all.sort_by(|one, other| one.id.cmp(&other.id));
    }
    if args.json {
        table::write_json(out, &all)?;
    } else {
        // Of all kinds, or of those that were asked for.
        let wanted = |kind: &str| args.ids.is_empty() || all.iter().any(|thing| thing.kind == kind);
        let kinds = [("semaphore", "SEMAPHORES"), ("queue", "QUEUES")].into_iter().filter(|(kind, _)| wanted(kind));
        for (index, (kind, head)) in kinds.enumerate() {
            if index > 0 {
                writeln!(out).map_err(Failure::output)?;
            }
            table_of(&all, kind, head).write(table::terminal_width(), out)?;
        }
    }
    outcome
}

fn missing(text: &str) -> Failure {
    Failure::Failed(match text.split_once(':') {
        Some(("semaphore" | "queue", _)) => format!("there is no {text:?}: see `shm ipc`"),
        _ => format!(
            "{text:?} is no ID here: write semaphore:0xKEY, semaphore:#ID or semaphore:/NAME, or the same with queue"
        ),
    })
}

fn table_of(all: &[Thing], kind: &str, head: &'static str) -> Table {
    let count = if kind == "queue" { "MESSAGES" } else { "COUNT" };
    let mut columns = vec![
        names(head),
        right("NATIVE", 4),
        left("OWNER", 1),
        left("MODE", 3),
        right(count, 0),
        right("BYTES", 0),
        left("STATUS", 0),
        right("USED", 2),
        left("LAST", 5),
    ];
    if kind != "queue" {
        columns.retain(|column| !matches!(column.name, "BYTES" | "LAST"));
    }
    let human = table::is_terminal();
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let mut table = Table::new(&columns);
    for thing in all.iter().filter(|thing| thing.kind == kind) {
        let mut cells = vec![
            thing.id.clone(),
            thing.native_id.to_string(),
            thing.owner.to_owned(),
            format!("{:04o}", thing.mode),
            number(thing.count),
        ];
        if kind == "queue" {
            cells.push(number(thing.bytes));
        }
        cells.push(if thing.orphan { "orphan".to_owned() } else { String::new() });
        cells.push(thing.used.map(|time| if human { age(time) } else { utc(time) }).unwrap_or_default());
        if kind == "queue" {
            cells.push(thing.last_pids.iter().map(u32::to_string).collect::<Vec<_>>().join(","));
        }
        table.row(cells);
    }
    table
}

fn as_octal<S: serde::Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{mode:04o}"))
}

/// A semaphore's file as a name of shared memory.
fn semaphore_object(file: &[u8]) -> Option<CString> {
    CString::new([b"/", file].concat()).ok()
}
