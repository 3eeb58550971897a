//! Stage 1: the same segment, another language. `sensors.c` call by call, with the System V leaf.
//!
//! ```console
//! $ cargo run --example port1 -- PATH produce CHANNEL COUNT | consume COUNT | remove
//! ```

use std::env;
use std::process::ExitCode;

use shared_region_sysv::{AttachOptions, GetOptions, Segment, ftok};

mod board;

use board::{Board, Outcome, Work};

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("port1: {error}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let (path, words) = arguments.split_first().ok_or("name a file that exists, for its key")?;
    let key = ftok(path, 'S' as i32)?;

    if words == ["remove"] {
        return Ok(Segment::open(key)?.remove()?); // shmctl(shmget(key, 0, 0), IPC_RMID, NULL)
    }
    let work = Work::parse(words)?;
    let segment = GetOptions::new().create(true).mode(0o600).get(key, size_of::<Board>())?;
    let attachment = segment.attach(&AttachOptions::new())?; // detached when dropped

    // SAFETY: shmat(2) maps whole pages, writable and aligned; `get` refused a segment smaller than a `Board`, and
    // segments do not shrink. A `Board` is atomics only, so others may write, and any bits are valid. The reference does
    // not outlive the attachment.
    let board = unsafe { &*attachment.as_ptr().cast::<Board>() };
    board.enter()?.act(work)
}
