//! `shm wait`.

use std::thread::sleep;
use std::time::{Duration, Instant};

use shared_region::{ErrorKind, RegionId};

use crate::failure::Failure;
use crate::identity::{self, Identity};

/// How long to pause between looks at most; at first it is less, for what comes at once.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Waits until a region exists, or is gone.
///
/// A region exists once it can be opened, so not while its size is still 0, and is gone once it is removed, whoever
/// still has it mapped. A name without a backend means either kind: it exists as soon as one does, and is gone when
/// neither is left.
#[derive(Debug, clap::Args)]
#[command(after_help = identity::FORMS)]
pub(crate) struct Args {
    /// The region to wait for.
    #[arg(value_name = "ID", value_parser = Identity::parser())]
    id: Identity,
    /// Wait until it is gone instead.
    #[arg(long)]
    gone: bool,
    /// Give up after so long: 500ms, 5s, 2min.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

/// What stands under an identity.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Gone,
    Empty,
    There,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let ids = args.id.candidates()?;
    let (start, mut pause) = (Instant::now(), Duration::from_millis(1));
    loop {
        let mut states = Vec::new();
        for id in &ids {
            states.push(state(id)?);
        }
        let done =
            if args.gone { states.iter().all(|&state| state == State::Gone) } else { states.contains(&State::There) };
        if done {
            return Ok(());
        }
        let left = args.timeout.map_or(pause, |timeout| timeout.saturating_sub(start.elapsed()));
        if left.is_zero() {
            let names: Vec<String> = ids.iter().map(RegionId::to_string).collect();
            let what = match (args.gone, states.contains(&State::Empty)) {
                (true, _) => "still exists",
                (false, true) => "still has a size of 0: its creator is at work, or died",
                (false, false) => "still does not exist",
            };
            return Err(Failure::Failed(format!("{} {what}", names.join(" or "))));
        }
        sleep(left.min(pause));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn state(id: &RegionId) -> Result<State, Failure> {
    match id.metadata() {
        Ok(metadata) if metadata.is_removed() => Ok(State::Gone),
        Ok(metadata) if metadata.size() == 0 => Ok(State::Empty),
        Ok(_) => Ok(State::There),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(State::Gone),
        Err(error) => Err(error.into()),
    }
}
