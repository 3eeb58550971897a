//! `shm top`.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant, SystemTime};

use console::Term;
use serde::Serialize;

use crate::args::Selection;
use crate::failure::Failure;
use crate::interrupt;
use crate::inventory::{self, Wanted};
use crate::item::{Item, as_time};
use crate::ls::attached;
use crate::size::show;
use crate::table::{self, Table, left, names, right};

/// Shows what exists again and again: what grew, who came.
///
/// In a terminal it is one table, what changed first and then the largest, until Ctrl-C. GROWS is by how much RESIDENT
/// grew in a second, CAME how many more have it attached than at the last look. Elsewhere each look at each region is a
/// line of JSON: what `shm ls --json` has, and time, grew and came since the last look.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// How long to wait between two looks: 500ms, 2s.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "2s")]
    every: Duration,
    /// End after so many looks.
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

/// A region at one look.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "as_time")]
    time: Option<SystemTime>,
    #[serde(flatten)]
    item: &'a Item,
    /// By how many bytes it takes more memory than at the last look.
    grew: i64,
    came: i64,
    new: bool,
}

/// What was seen last of each, by its identity and the number behind it.
type Before = HashMap<(String, Option<u64>), (u64, u64)>;

pub(crate) fn run(args: Args, out: &mut dyn Write) -> Result<(), Failure> {
    interrupt::defer()?;
    let human = std::io::stdout().is_terminal();
    let mut before: Option<(Before, Instant)> = None;
    let mut looks = 0;
    loop {
        let listed = inventory::list(&args.selection, Wanted::Everything { all: false })?;
        interrupt::check()?;
        let (now, seconds) = (Instant::now(), before.as_ref().map_or(0.0, |(_, then)| then.elapsed().as_secs_f64()));
        let mut lines: Vec<Line<'_>> =
            listed.items.iter().map(|item| compare(item, before.as_ref().map(|(before, _)| before))).collect();
        if human {
            lines.sort_by_key(|line| {
                (line.grew == 0 && line.came == 0 && !line.new, std::cmp::Reverse(line.item.resident))
            });
            draw(&lines, seconds, out)?;
        } else {
            for line in &lines {
                serde_json::to_writer(&mut *out, line).map_err(|error| Failure::output(error.into()))?;
                writeln!(out).map_err(Failure::output)?;
            }
        }
        out.flush().map_err(Failure::output)?;
        looks += 1;
        if args.count.is_some_and(|count| looks >= count) {
            return Ok(());
        }
        before = Some((listed.items.iter().map(|item| (name(item), numbers(item))).collect(), now));
        interrupt::sleep(args.every)?;
    }
}

fn name(item: &Item) -> (String, Option<u64>) {
    (item.id.to_string(), item.native_id)
}

fn numbers(item: &Item) -> (u64, u64) {
    (item.resident.unwrap_or(0), item.attached.unwrap_or(0))
}

fn compare<'a>(item: &'a Item, before: Option<&Before>) -> Line<'a> {
    let known = before.and_then(|before| before.get(&name(item)));
    let now = numbers(item);
    let then = known.copied().unwrap_or(if before.is_some() { (0, 0) } else { now });
    let more = |now: u64, then: u64| (now as i64).wrapping_sub(then as i64);
    Line {
        time: Some(SystemTime::now()),
        item,
        grew: more(now.0, then.0),
        came: more(now.1, then.1),
        new: before.is_some() && known.is_none(),
    }
}

/// Draws one table over the last one, as much of it as there is room for.
fn draw(lines: &[Line<'_>], seconds: f64, out: &mut dyn Write) -> Result<(), Failure> {
    let mut table = Table::new(&[
        names("ID"),
        left("OWNER", 5),
        right("SIZE", 4),
        right("RESIDENT", 0),
        right("GROWS", 1),
        right("ATTACHED", 2),
        right("CAME", 3),
        left("STATUS", 6),
    ]);
    let rows = Term::stdout().size_checked().map_or(24, |(rows, _)| usize::from(rows));
    for line in lines.iter().take(rows.saturating_sub(3)) {
        let item = line.item;
        let speed = if seconds > 0.0 { (line.grew.unsigned_abs() as f64 / seconds) as u64 } else { 0 };
        let sign = if line.grew < 0 { "-" } else { "+" };
        let mut status: Vec<&str> = item.status.names().collect();
        status.extend(line.new.then_some("new"));
        table.row([
            item.id.to_string(),
            item.owner.to_owned(),
            show(item.size),
            item.resident.map(show).unwrap_or_default(),
            if speed == 0 { String::new() } else { format!("{sign}{}/s", show(speed)) },
            attached(item, true),
            if line.came == 0 { String::new() } else { format!("{:+}", line.came) },
            status.join(","),
        ]);
    }
    let resident = lines.iter().filter_map(|line| line.item.resident).sum();
    // Home, and away with what was there.
    write!(out, "\x1b[H\x1b[J{} listed, {} resident\n\n", lines.len(), show(resident)).map_err(Failure::output)?;
    table.write(table::terminal_width(), out)
}
