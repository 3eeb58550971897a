//! `shm rm`.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::args::Selection;
use crate::failure::{Failure, each};
use crate::identity::{self, Identity};
use crate::inventory::{self, Depth, Item, Status, is_sticky, may_remove};
use crate::ls;

/// Removes regions.
///
/// Nobody can open them any more; those who have one mapped go on with it, and its memory is freed with the last of them.
/// After a failure the others are removed all the same, and the exit code is 1.
///
/// --orphans removes what nobody has attached, and whose creator (System V) has ended, of what the caller may remove. It shows
/// them and asks first, and looks again before it removes each. Where it cannot be known whether somebody has a region, that
/// stays; one line says why, and the exit code is 3. What `shm create`, `shm copy` or ipcmk(1) made is an orphan until somebody attaches
/// it.
#[derive(Debug, clap::Args)]
#[command(after_help = identity::FORMS)]
pub(crate) struct Args {
    /// The regions to remove.
    #[arg(value_name = "ID", required_unless_present = "orphans", value_parser = Identity::parser())]
    ids: Vec<Identity>,
    /// Remove what `shm ls --orphans` shows.
    #[arg(long, conflicts_with = "ids")]
    orphans: bool,
    #[command(flatten)]
    selection: Selection,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Say what would be removed, and remove nothing.
    #[arg(long, short = 'n')]
    dry_run: bool,
}

pub(crate) fn run(args: Args, out: &mut dyn Write) -> Result<(), Failure> {
    if args.orphans {
        return orphans(&args, out);
    }
    if args.yes || args.selection.mine || args.selection.kind.backend.is_some() {
        return Err(Failure::Usage("--yes, --mine and --backend are for --orphans: leave them out".into()));
    }
    each(&args.ids, |id| {
        let id = id.existing()?;
        if !args.dry_run {
            return Ok(id.remove()?);
        }
        let metadata = id.metadata()?;
        if metadata.is_removed() {
            return Err(Failure::Failed(format!("{id} has been removed before")));
        }
        let sysv = id.backend() == "sysv";
        if !may_remove(metadata.uid(), metadata.creator_uid(), !sysv && is_sticky()) {
            return Err(Failure::Failed(format!(
                "cannot remove {id}: permission denied: it belongs to uid {}: run as that, or as root",
                metadata.uid()
            )));
        }
        writeln!(out, "would remove {id}").map_err(Failure::output)
    })
}

fn orphans(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    if !args.yes && !args.dry_run && !io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "nobody can be asked, as standard input is no terminal: add --yes or --dry-run".into(),
        ));
    }
    let (mut items, complete) = inventory::list(args.selection, Depth::Named);
    // What one may not remove is others' to clean up.
    items.retain(Item::is_removable);
    let doubts = items.iter().filter(|item| item.in_doubt).count();
    items.retain(|item| item.is(Status::Orphan));
    let outcome = if complete { Ok(()) } else { Err(Failure::Told) };
    if items.is_empty() && doubts == 0 {
        writeln!(out, "there are no orphans").map_err(Failure::output)?;
    }
    if items.is_empty() || (!args.yes && !args.dry_run && !agreed(&items, out)?) {
        return outcome.and(ls::unknown(doubts));
    }
    let removed = each(&items, |item| remove(item, args.dry_run, out));
    outcome.and(removed).and(ls::unknown(doubts))
}

/// Shows what would go, and asks.
fn agreed(items: &[Item], out: &mut dyn Write) -> Result<bool, Failure> {
    ls::table(items).write(out)?;
    write!(
        out,
        "Remove {}? [y/N] ",
        if items.len() == 1 { "this one".into() } else { format!("these {}", items.len()) }
    )
    .and_then(|()| out.flush())
    .map_err(Failure::output)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::with("read the answer", &error))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn remove(item: &Item, dry_run: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let said = match item.exact_id() {
        Some(_) if dry_run => "would remove",
        Some(id) if id.remove_if_unused()? => "removed",
        _ => return Err(Failure::Failed(format!("{} is in use by now, and stays", item.id))),
    };
    writeln!(out, "{said} {}", item.id).map_err(Failure::output)
}
