//! `shm read`.

use std::io::Write;

use shared_region::OpenOptions;

use crate::failure::Failure;
use crate::hex::Dump;
use crate::identity::{self, Identity};
use crate::stream::{self, Bytes};
use crate::{size, table};

/// Writes a region's bytes to standard output.
///
/// They are read while others may write: what comes out is some mixture of old and new.
#[derive(Debug, clap::Args)]
#[command(after_help = identity::FORMS)]
pub(crate) struct Args {
    /// The region to read.
    #[arg(value_name = "ID", value_parser = Identity::parser())]
    id: Identity,
    /// Where to begin.
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "0", hide_default_value = true)]
    offset: u64,
    /// How much to read: to the end, unless told otherwise.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    length: Option<u64>,
    /// Show them as hexdump -C does; `*` stands for lines like the one above it.
    #[arg(long)]
    hex: bool,
    /// Write raw bytes to a terminal too.
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: Args, out: &mut dyn Write) -> Result<(), Failure> {
    if table::is_terminal() && !args.hex && !args.force {
        return Err(Failure::Usage(
            "raw bytes could upset the terminal: use --hex, a pipe or a file, or --force".into(),
        ));
    }
    let region = args.id.existing()?.open(&OpenOptions::new().read_only(true))?;
    let length = stream::part(region.as_ref(), args.offset, args.length)?;
    let bytes = Bytes::of(region.as_ref())?;
    let take = |done: u64, piece: &mut [u8]| Ok(bytes.read(args.offset + done, piece)?);
    if args.hex {
        let mut dump = Dump::new(out, args.offset);
        stream::pump(length, table::is_terminal(), take, |_, piece| dump.feed(piece).map_err(Failure::output))?;
        dump.end().map_err(Failure::output)
    } else {
        stream::pump(length, table::is_terminal(), take, |_, piece| out.write_all(piece).map_err(Failure::output))
    }
}
