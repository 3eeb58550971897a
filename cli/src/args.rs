//! Options that several commands share.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use shared_region::AnyBackend;

/// Which kind of shared memory.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Kind {
    /// Only this kind of shared memory.
    #[arg(long, value_parser = PossibleValuesParser::new(["posix", "sysv"]).try_map(|name| name.parse::<AnyBackend>()))]
    pub(crate) backend: Option<AnyBackend>,
}

impl Kind {
    /// The one that was asked for, or both.
    pub(crate) fn all(self) -> Vec<AnyBackend> {
        self.backend.map_or_else(|| vec![AnyBackend::Posix, AnyBackend::Sysv], |one| vec![one])
    }
}

/// Which of the regions that exist.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Selection {
    #[command(flatten)]
    pub(crate) kind: Kind,
    /// Only what belongs to the caller or was created by them.
    #[arg(long)]
    pub(crate) mine: bool,
}
