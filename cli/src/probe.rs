//! `shm probe`.

use std::io::Write;

use serde::Serialize;
use shared_region::Backend;

use crate::args::Kind;
use crate::failure::Failure;
use crate::table::{self, Table, left, prose};

/// Says whether each kind of shared memory works here, and why not.
///
/// The exit code is 1 where one that was asked for does not. Nothing is left behind.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    kind: Kind,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Answer {
    backend: &'static str,
    works: bool,
    reason: Option<String>,
}

pub(crate) fn run(args: Args, out: &mut dyn Write) -> Result<(), Failure> {
    let ask = |backend: shared_region::AnyBackend| {
        let reason = backend.probe().err().map(|error| error.to_string());
        Answer { backend: backend.name(), works: reason.is_none(), reason }
    };
    let answers: Vec<Answer> = args.kind.all().into_iter().map(ask).collect();
    if args.json {
        table::write_json(out, &answers)?;
    } else {
        let mut table = Table::new(&[left("BACKEND", 0), left("WORKS", 0), prose("REASON")]);
        for answer in &answers {
            let works = if answer.works { "yes" } else { "no" };
            table.row([answer.backend.into(), works.into(), answer.reason.clone().unwrap_or_default()]);
        }
        table.write(table::terminal_width(), out)?;
    }
    if answers.iter().all(|answer| answer.works) { Ok(()) } else { Err(Failure::Told) }
}
