//! Stage 2: the same segment by the trait. No `unsafe` is left but for the layout, and nothing below the opening knows
//! which backend it is.
//!
//! ```console
//! $ cargo run --example port2 -- PATH produce CHANNEL COUNT | consume COUNT | remove
//! ```

use std::env;
use std::process::ExitCode;

use shared_region::{CreateOptions, RegionId, SharedRegion, SharedRegionExt, SysvRegion};

mod board;

use board::{Board, Outcome, Work};

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("port2: {error}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let (path, words) = arguments.split_first().ok_or("name a file that exists, for its key")?;
    let id = RegionId::Key(SysvRegion::ftok(path, 'S' as i32)?);
    if words == ["remove"] {
        return Ok(id.remove()?);
    }
    let work = Work::parse(words)?;
    let (region, _created) = id.open_or_create(&CreateOptions::new(size_of::<Board>()))?;
    serve(&region, work)
}

/// Works on any region.
fn serve(region: &impl SharedRegion, work: Work) -> Outcome<()> {
    region.view::<Board>(0)?.enter()?.act(work)
}
