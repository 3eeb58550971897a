//! `shm create`.

use clap::ValueEnum;
use shared_region::{Allocation, AnyBackend, CreateOptions, HugePages, RegionId, SharedRegion};

use crate::args::Kind;
use crate::failure::Failure;
use crate::identity::{self, Identity};
use crate::{interrupt, limits, mode, reserve, size};

/// Makes a region of zeros.
///
/// Its memory is set aside at once, so that a full store is an error now and not a crash of whoever touches it later.
/// Where that takes long a bar shows how far it is, and Ctrl-C leaves nothing behind.
/// The mode is as asked, whatever the umask. What exists already is left as it is, and is an error.
#[derive(Debug, clap::Args)]
#[command(after_help = identity::FORMS)]
pub(crate) struct Args {
    /// The region to make. A name without a backend needs --backend.
    #[arg(value_name = "ID", value_parser = Identity::parser())]
    id: Identity,
    /// Bytes, or a number with K, M, G, T: 4096, 64K, 2MiB.
    #[arg(value_parser = size::parse)]
    size: u64,
    /// Permission bits, in octal.
    #[arg(long, value_parser = mode::octal, default_value = "0600")]
    mode: u32,
    /// Set each page aside when it is first touched: quick, and SIGBUS then if the store is full.
    #[arg(long, conflicts_with = "prefault")]
    lazy: bool,
    /// Touch every page now.
    #[arg(long)]
    prefault: bool,
    /// Use huge pages, or fail; with =try, use ordinary ones where there are none.
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "require")]
    huge: Option<Huge>,
    #[command(flatten)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Huge {
    Require,
    Try,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let id = target(&args.id, args.kind.backend)?;
    let allocation = match args {
        Args { lazy: true, .. } => Allocation::Lazy,
        Args { prefault: true, .. } => Allocation::Prefault,
        _ => Allocation::Reserve,
    };
    let huge_pages = match args.huge {
        None => HugePages::No,
        Some(Huge::Try) => HugePages::Try,
        Some(Huge::Require) => HugePages::Require,
    };
    create(&id, options(args.size).allocation(allocation).huge_pages(huge_pages), args.mode, |_| Ok(()))
}

/// The region that is to be made, if it would stay: where the kernel removes each segment that nobody has attached, it
/// would go with this program, and what was written into it too.
pub(crate) fn target(identity: &Identity, backend: Option<AnyBackend>) -> Result<RegionId, Failure> {
    let id = identity.new_one(backend)?;
    if id.backend() == "sysv" && limits::setting("kernel/shm_rmid_forced") == Some(1) {
        return Err(Failure::Failed(format!(
            "{id} was not made, as it would be removed with the end of this command: kernel.shm_rmid_forced is 1 in this \
            IPC namespace; root can change that (sysctl kernel.shm_rmid_forced=0), and POSIX objects (posix:/NAME) stay"
        )));
    }
    Ok(id)
}

/// The options for a size as it was typed or measured.
pub(crate) fn options(size: u64) -> CreateOptions {
    // More than an address space is refused by the crate, in its words.
    CreateOptions::new(usize::try_from(size).unwrap_or(usize::MAX))
}

/// Makes a region and fills it; whatever stops this, Ctrl-C too, leaves nothing behind.
pub(crate) fn create(
    id: &RegionId,
    options: CreateOptions,
    mode: u32,
    fill: impl FnOnce(&dyn SharedRegion) -> Result<(), Failure>,
) -> Result<(), Failure> {
    interrupt::defer()?;
    // Its maker needs these until it is filled.
    let options = options.mode(mode | 0o600);
    let (options, left) = match reserve::later(id, &options) {
        Some((without, allocation)) => (without, Some(allocation)),
        None => (options, None),
    };
    id.create_with(&options, |region| {
        interrupt::check()?;
        if let Some(allocation) = left {
            reserve::fulfil(region, allocation)?;
        }
        fill(region)?;
        if mode & 0o600 != 0o600 {
            region.set_mode(mode)?;
        }
        interrupt::check()
    })
    // To unmap it takes its time, in which Ctrl-C would seem to have undone what stands by now.
    .map(std::mem::forget)
}
