//! Options that several commands share.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use glob::Pattern;
use nix::unistd::geteuid;
use shared_region::AnyBackend;

use crate::failure::Failure;
use crate::item::Item;
use crate::people::read_user;

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
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Selection {
    #[command(flatten)]
    pub(crate) kind: Kind,
    /// Only what belongs to the caller or was created by them.
    #[arg(long, conflicts_with = "user")]
    mine: bool,
    /// Only what belongs to this user or was created by them: a name or a number.
    #[arg(long)]
    user: Option<String>,
    /// Only what has such an ID: * stands for any characters, ? for one, as in 'posix:/psm_*'.
    #[arg(long, value_name = "PATTERN")]
    matching: Option<Pattern>,
}

impl Selection {
    /// Whether it leaves nothing out but perhaps a kind.
    pub(crate) fn is_whole(&self) -> bool {
        !self.mine && self.user.is_none() && self.matching.is_none()
    }

    /// Leaves out what is not meant.
    pub(crate) fn choose(&self, items: &mut Vec<Item>) -> Result<(), Failure> {
        let user = match &self.user {
            Some(user) => Some(read_user(user)?.0),
            None => self.mine.then(|| geteuid().as_raw()),
        };
        if let Some(user) = user {
            items.retain(|item| item.uid == user || item.creator_uid == Some(user));
        }
        if let Some(pattern) = &self.matching {
            items.retain(|item| pattern.matches(&item.id.to_string()));
        }
        Ok(())
    }
}
