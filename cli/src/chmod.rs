//! `shm chmod`.

use crate::failure::{Failure, each};
use crate::identity::{self, Identity};
use crate::mode::Change;

/// Changes permission bits.
///
/// Mappings that exist keep the access that they have. For System V this takes the owner or the creator, for POSIX the
/// owner.
#[derive(Debug, clap::Args)]
#[command(after_help = identity::FORMS)]
pub(crate) struct Args {
    /// Octal bits (0640), or changes (u+rw, go-w, a=r, g=u).
    #[arg(value_parser = Change::parse, allow_hyphen_values = true)]
    mode: Change,
    /// The regions to change.
    #[arg(value_name = "ID", required = true, value_parser = Identity::parser())]
    ids: Vec<Identity>,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    each(args.ids, |id| {
        let id = id.existing()?;
        let mode = match args.mode {
            Change::To(mode) => mode,
            ref change => change.apply(id.metadata()?.mode()),
        };
        Ok(id.set_mode(mode)?)
    })
}
