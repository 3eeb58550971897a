//! Options that several commands share.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use shared_region::AnyBackend;

/// How clap reads the name of a backend.
pub(crate) fn backend() -> impl TypedValueParser<Value = AnyBackend> {
    PossibleValuesParser::new(["posix", "sysv"]).try_map(|name| name.parse::<AnyBackend>())
}

/// Which kind of shared memory.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Kind {
    /// The kind of shared memory that is meant.
    #[arg(long, value_parser = backend())]
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
