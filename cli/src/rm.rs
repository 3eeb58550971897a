//! `shm rm`.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::args::Selection;
use crate::failure::{Failure, each};
use crate::identity::{self, Identity};
use crate::inventory::{self, Item, Status};
use crate::{ls, standard};

/// Removes regions.
///
/// Nobody can open them any more; those who have one mapped go on with it, and its memory is freed with the last of them.
/// After a failure the others are removed all the same, and the exit code is 1.
///
/// --orphans removes what nobody has attached, and whose creator (System V) has ended. It shows them and asks first, and
/// looks again before it removes each. What `shm create`, `shm copy` or ipcmk(1) made is an orphan until somebody attaches
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
        if id.metadata()?.is_removed() {
            return Err(Failure::Failed(format!("{id} has been removed before")));
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
    // Nothing goes that nobody is told of.
    standard::expect_output()?;
    let (mut items, complete) = inventory::list(args.selection);
    items.retain(|item| item.is(Status::Orphan));
    let outcome = if complete { Ok(()) } else { Err(Failure::Told) };
    if items.is_empty() {
        writeln!(out, "there are no orphans").map_err(Failure::output)?;
        return outcome;
    }
    if !args.yes && !args.dry_run && !agreed(&items, out)? {
        return outcome;
    }
    let removed = each(&items, |item| remove(item, args.dry_run, out));
    outcome.and(removed)
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
    let said = if dry_run {
        "would remove"
    } else if item.exact_id().remove_if_unused()? {
        "removed"
    } else {
        return Err(Failure::Failed(format!("{} is in use by now, and stays", item.id)));
    };
    writeln!(out, "{said} {}", item.id).map_err(Failure::output)
}
