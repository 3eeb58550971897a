//! `shm rm`.

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;

use shared_region::RegionId;

use crate::args::Selection;
use crate::failure::{Failure, each};
use crate::identity::{self, Identity};
use crate::inside::Inside;
use crate::inventory::{self, Listed, Wanted};
use crate::item::{Item, Status};
use crate::privilege::Caller;
use crate::{ls, standard};

/// Removes regions.
///
/// Nobody can open them any more; those who have one mapped go on with it, and its memory is freed with the last of them.
/// After a failure the others are removed all the same, and the exit code is 1.
///
/// --orphans removes what nobody has attached, and whose creator (System V) has ended. It shows them and asks first, and
/// looks again before it removes each. With --yes and --older-than it is one for cron. What the caller may not remove is left out, and counted. Where it could not be seen
/// whether something is an orphan, a line says what and why, it stays, and the exit code is 3. What `shm create`,
/// `shm copy` or ipcmk(1) made is an orphan until somebody attaches it.
#[derive(Debug, clap::Args)]
#[command(after_help = identity::FORMS)]
pub(crate) struct Args {
    /// The regions to remove.
    #[arg(value_name = "ID", required_unless_present = "orphans", value_parser = Identity::parser())]
    ids: Vec<Identity>,
    /// Remove each only if nobody has it: asking and removing are one act.
    #[arg(long, conflicts_with = "orphans")]
    if_unused: bool,
    /// Remove what `shm ls --orphans` shows.
    #[arg(long, conflicts_with = "ids")]
    orphans: bool,
    /// Of the orphans only what was not made, changed, opened or attached for so long: 30min, 4h, 7days.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    inside: Inside,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Say what would be removed, and remove nothing.
    #[arg(long, short = 'n')]
    dry_run: bool,
}

pub(crate) fn run(args: Args, out: &mut dyn Write) -> Result<(), Failure> {
    args.inside.or_of(&args.ids).enter()?;
    if args.orphans {
        return orphans(&args, out);
    }
    let chosen = !args.selection.is_whole() || args.selection.kind.backend.is_some() || args.older_than.is_some();
    if args.yes || chosen {
        return Err(Failure::Usage(
            "--yes, --older-than, --mine, --user, --matching and --backend are for --orphans: leave them out".into(),
        ));
    }
    let caller = Caller::new();
    each(&args.ids, |id| {
        let id = id.existing()?;
        if args.dry_run {
            if args.if_unused && !id.holders().is_ok_and(|found| found.is_complete() && found.processes().is_empty()) {
                return Err(Failure::Failed(format!("{id} is in use, or that cannot be seen")));
            }
            return would_remove(&id, &caller, out);
        }
        if args.if_unused && !id.remove_if_unused()? {
            return Err(Failure::Failed(format!("{id} is in use, and stays")));
        }
        if args.if_unused { Ok(()) } else { Ok(id.remove()?) }
    })
}

fn would_remove(id: &RegionId, caller: &Caller, out: &mut dyn Write) -> Result<(), Failure> {
    let metadata = id.metadata()?;
    if metadata.is_removed() {
        return Err(Failure::Failed(format!("{id} has been removed before")));
    }
    if !caller.may_remove(id.backend(), metadata.uid(), metadata.creator_uid()) {
        return Err(Failure::Failed(format!(
            "{id} cannot be removed: it belongs to uid {}, and only they or root may",
            metadata.uid()
        )));
    }
    writeln!(out, "would remove {id}").map_err(Failure::output)
}

fn orphans(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    if !args.yes && !args.dry_run && !io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "nobody can be asked, as standard input is no terminal: add --yes or --dry-run".into(),
        ));
    }
    // Nothing goes that nobody is told of.
    standard::expect_output()?;
    let Listed { mut items, complete } = inventory::list(&args.selection, Wanted::Orphans)?;
    let caller = Caller::new();
    let all = items.len();
    items.retain(|item| caller.may_remove(item.backend, item.uid, item.creator_uid));
    let others = all - items.len();
    let outcome = if complete { inventory::check_sure(&items) } else { Err(Failure::Told) };
    items.retain(|item| item.is(Status::Orphan));
    let orphans = items.len();
    if let Some(age) = args.older_than {
        // What is of the future is young.
        items.retain(|item| item.used.elapsed().is_ok_and(|unused| unused >= age));
    }
    let young = orphans - items.len();
    let removed = if items.is_empty() {
        // Of what others have nothing is claimed.
        let none = match (&outcome, young, others) {
            (_, 1.., _) => "there are no orphans that are old enough",
            (Err(_), 0, _) => "no orphan was found",
            (Ok(()), 0, 0) => "there are no orphans",
            (Ok(()), 0, _) => "there are no orphans that you may remove",
        };
        writeln!(out, "{none}").map_err(Failure::output)
    } else if !args.yes && !args.dry_run && !agreed(&items, out)? {
        Ok(())
    } else {
        each(&items, |item| remove(item, args.dry_run, out))
    };
    if young > 0 {
        writeln!(out, "left alone, as younger orphans: {young}").map_err(Failure::output)?;
    }
    if others > 0 {
        writeln!(out, "left alone, as only their owners or root may remove them: {others}").map_err(Failure::output)?;
    }
    removed.and(outcome)
}

/// Shows what would go, and asks.
fn agreed(items: &[Item], out: &mut dyn Write) -> Result<bool, Failure> {
    ls::show_all(items, out)?;
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
    let Some(id) = item.exact_id() else { return Ok(()) };
    let said = if dry_run {
        "would remove"
    } else if id.remove_if_unused()? {
        "removed"
    } else {
        return Err(Failure::Failed(format!("{} is in use by now, and stays", item.id)));
    };
    writeln!(out, "{said} {}", item.id).map_err(Failure::output)
}
