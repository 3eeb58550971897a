//! `shm copy`.

use shared_region::{Allocation, OpenOptions};

use crate::args::Kind;
use crate::create;
use crate::failure::Failure;
use crate::identity::{self, Identity};
use crate::stream::{self, Bytes};

/// Copies a region, also from one kind to the other.
///
/// The copy is as large as the original and has its mode. Where the original is a POSIX object that has not been touched
/// everywhere, the copy takes no memory there either. Others may write to the original meanwhile: then the copy is
/// some mixture of old and new. The copy must not exist before, and nobody finds it half made where the system can help
/// it; whatever stops this takes it away again.
#[derive(Debug, clap::Args)]
#[command(after_help = identity::FORMS)]
pub(crate) struct Args {
    /// The region to copy.
    #[arg(value_name = "SRC", value_parser = Identity::parser())]
    source: Identity,
    /// The region to make. A name without a backend needs --backend.
    #[arg(value_name = "DST", value_parser = Identity::parser())]
    target: Identity,
    #[command(flatten)]
    kind: Kind,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let target = create::target(&args.target, args.kind.backend)?;
    let source = args.source.existing()?.open(&OpenOptions::new().read_only(true))?;
    let metadata = source.metadata()?;
    let from = Bytes::of(source.as_ref())?;
    let length = source.len() as u64;
    // What nobody has touched takes no memory in the copy either.
    let has_holes = metadata.allocated().is_some_and(|allocated| allocated < length);
    let allocation = if has_holes { Allocation::Lazy } else { Allocation::Reserve };
    create::create(&target, create::options(length).allocation(allocation), metadata.mode(), |region| {
        let to = Bytes::of(region)?;
        let give = |done: u64, piece: &[u8]| Ok(to.write(done, piece)?);
        let take = |done: u64, piece: &mut [u8]| Ok(from.read(done, piece)?);
        if !has_holes {
            return stream::pump(length, false, take, give);
        }
        let give = |done: u64, piece: &[u8]| stream::without_holes(piece, |offset, part| give(done + offset, part));
        stream::pump(length, false, take, give)
    })
}
