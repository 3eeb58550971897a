//! `shm write`.

use std::path::PathBuf;

use shared_region::{AnyBackend, OpenOptions, SharedRegion};

use crate::failure::Failure;
use crate::identity::{self, Identity};
use crate::input::Input;
use crate::stream::{self, Bytes};
use crate::{args, create, mode, size};

/// Fills a region from a file or from standard input.
///
/// Input that is too long is an error before a byte is written; for that, input without a size of its own (a pipe) is
/// read to its end first, past 16 MiB into a file in TMPDIR; a line says so if that is in memory, too. The rest of the region stays as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = identity::FORMS)]
pub(crate) struct Args {
    /// The region to fill.
    #[arg(value_name = "ID", value_parser = Identity::parser())]
    id: Identity,
    /// Where the bytes come from: standard input, unless told otherwise.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Where in the region to begin.
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "0", hide_default_value = true)]
    offset: u64,
    /// Make the region first, as large as the input; nobody finds it half filled where the system can help it.
    #[arg(long, conflicts_with = "offset")]
    create: bool,
    /// Permission bits of what --create makes.
    #[arg(long, value_parser = mode::octal, default_value = "0600", requires = "create")]
    mode: u32,
    /// Which kind --create makes, where ID does not say.
    #[arg(long, value_parser = args::backend(), requires = "create")]
    backend: Option<AnyBackend>,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    if args.create {
        let id = create::target(&args.id, args.backend)?;
        let mut input = Input::open(args.file.as_ref(), u64::MAX)?;
        let options = create::options(input.length());
        return create::create(&id, options, args.mode, |region| fill(region, 0, &mut input));
    }
    let id = args.id.existing()?;
    let region = id.open(&OpenOptions::new())?;
    let room = stream::part(region.as_ref(), args.offset, None)?;
    let mut input = Input::open(args.file.as_ref(), room)?;
    if input.length() > room {
        return Err(Failure::Failed(format!(
            "the input is longer than the {room} bytes that {id} has from offset {} on: nothing was written",
            args.offset
        )));
    }
    fill(region.as_ref(), args.offset, &mut input)
}

/// Writes all of the input.
fn fill(region: &dyn SharedRegion, offset: u64, input: &mut Input) -> Result<(), Failure> {
    let bytes = Bytes::of(region)?;
    stream::pump(
        input.length(),
        false,
        |_, piece| input.read(piece),
        |done, piece| Ok(bytes.write(offset + done, piece)?),
    )
}
