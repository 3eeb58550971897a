//! `shm chown`.

use crate::failure::{Failure, each};
use crate::identity::{self, Identity};
use crate::people;

/// Changes owner and group.
///
/// The owner of a System V segment may give it to anybody, and stays its creator. To give a POSIX object to another
/// user takes privilege, as with files.
#[derive(Debug, clap::Args)]
#[command(after_help = identity::FORMS)]
pub(crate) struct Args {
    /// OWNER, OWNER:GROUP, :GROUP, or OWNER: for the owner's own group; each a name or a number.
    #[arg(value_name = "OWNER[:GROUP]")]
    owner: String,
    /// The regions to change.
    #[arg(value_name = "ID", required = true, value_parser = Identity::parser())]
    ids: Vec<Identity>,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let (uid, gid) = owner(&args.owner)?;
    each(args.ids, |id| Ok(id.existing()?.set_owner(uid, gid)?))
}

/// Reads who is to own it, as chown(1) does.
fn owner(text: &str) -> Result<(Option<u32>, Option<u32>), Failure> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    if user.is_empty() && group.is_none_or(str::is_empty) {
        return Err(Failure::Usage("no owner and no group is named: write OWNER, OWNER:GROUP or :GROUP".into()));
    }
    let known = if user.is_empty() { None } else { Some(people::read_user(user)?) };
    let gid = match group {
        None => None,
        Some("") => {
            let own = known.and_then(|(_, gid)| gid);
            let unknown = || Failure::Failed(format!("the group of {user:?} is not known: write OWNER:GROUP"));
            Some(own.ok_or_else(unknown)?.as_raw())
        }
        Some(group) => Some(people::read_group(group)?),
    };
    Ok((known.map(|(uid, _)| uid), gid))
}
