//! `shm copy`.

use shared_region::OpenOptions;

use crate::args::Kind;
use crate::create;
use crate::failure::Failure;
use crate::identity::{self, Identity};
use crate::stream::{self, Bytes};

/// Copies a region, also from one kind to the other.
///
/// The copy is as large as the original and has its mode. Others may write to the original meanwhile: then the copy is
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
    let mode = source.metadata()?.mode();
    let from = Bytes::of(source.as_ref())?;
    let length = source.len() as u64;
    create::create(&target, create::options(length), mode, |region| {
        let to = Bytes::of(region)?;
        stream::pump(length, |done, piece| Ok(from.read(done, piece)?), |done, piece| Ok(to.write(done, piece)?))
    })
}
