//! Bytes in and out of regions, piece by piece.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use shared_region::{Error, ErrorKind, SharedRegion, SharedRegionExt};

use crate::failure::Failure;
use crate::interrupt;

/// How much is copied at a time.
const PIECE: usize = 1 << 20;

/// A region's bytes, without SIGBUS.
///
/// Whoever may write to a region that has a descriptor may shrink it, and touching the lost part of the mapping is
/// SIGBUS; so is touching a lazily made page when the store is full. The system calls on the descriptor answer both with
/// an error, see the same bytes, and take no memory for pages that nobody has touched. What has no descriptor keeps its
/// size, and is reached through its mapping.
#[derive(Debug)]
pub(crate) enum Bytes<'a> {
    File(File, &'a dyn SharedRegion),
    Mapped(&'a dyn SharedRegion),
}

impl<'a> Bytes<'a> {
    pub(crate) fn of(region: &'a dyn SharedRegion) -> Result<Self, Failure> {
        let Ok(descriptor) = region.descriptor() else { return Ok(Self::Mapped(region)) };
        let own = descriptor.try_clone_to_owned().map_err(|error| Failure::with("duplicate a descriptor", &error))?;
        Ok(Self::File(own.into(), region))
    }

    pub(crate) fn read(&self, offset: u64, piece: &mut [u8]) -> Result<(), Error> {
        match self {
            Self::File(file, region) => {
                file.read_exact_at(piece, offset).map_err(|error| failed(*region, "read from", &error))
            }
            Self::Mapped(region) => region.read_at(position(offset), piece),
        }
    }

    pub(crate) fn write(&self, offset: u64, piece: &[u8]) -> Result<(), Error> {
        match self {
            Self::File(file, region) => {
                let written = file.metadata().and_then(|now| {
                    // Written past its end it would grow again.
                    if now.len() < offset + piece.len() as u64 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    file.write_all_at(piece, offset)
                });
                written.map_err(|error| failed(*region, "write to", &error))
            }
            Self::Mapped(region) => region.write_at(position(offset), piece),
        }
    }
}

/// Says why a region's descriptor did not do.
fn failed(region: &dyn SharedRegion, operation: &'static str, error: &io::Error) -> Error {
    let described = region.describe(Error::from_io(error), operation);
    match error.kind() {
        io::ErrorKind::UnexpectedEof => described.reason("another process has made it shorter meanwhile"),
        _ => described,
    }
}

/// How many bytes `offset` and `length` name; all of them have to lie inside the region.
pub(crate) fn part(region: &dyn SharedRegion, offset: u64, length: Option<u64>) -> Result<u64, Error> {
    let rest = (region.len() as u64).checked_sub(offset);
    match (rest, length) {
        (Some(rest), None) => Ok(rest),
        (Some(rest), Some(length)) if length <= rest => Ok(length),
        _ => {
            let kind = ErrorKind::OutOfBounds {
                offset: position(offset),
                len: position(length.unwrap_or(0)),
                region_len: region.len(),
            };
            Err(region.describe(Error::new(kind), "find a part of"))
        }
    }
}

/// An offset in a mapping; what is beyond an address space is past every end.
fn position(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// How much is left out where it is zeros: no page is smaller.
const HOLE: usize = 4096;

/// Tells of those parts of a piece that are not zeros, as few as there are holes between them.
pub(crate) fn without_holes(
    piece: &[u8],
    mut give: impl FnMut(u64, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let is_hole = |page: &[u8]| page.iter().all(|&byte| byte == 0);
    let mut start = 0;
    while start < piece.len() {
        let holes: usize = piece[start..].chunks(HOLE).take_while(|page| is_hole(page)).map(<[u8]>::len).sum();
        start += holes;
        let full: usize = piece[start..].chunks(HOLE).take_while(|page| !is_hole(page)).map(<[u8]>::len).sum();
        if full > 0 {
            give(start as u64, &piece[start..start + full])?;
        }
        start += full;
    }
    Ok(())
}

/// Copies `length` bytes piece by piece, each at its offset from the start, and shows how far it is where that takes long,
/// unless the bytes themselves go to the terminal.
pub(crate) fn pump(
    length: u64,
    to_terminal: bool,
    mut take: impl FnMut(u64, &mut [u8]) -> Result<(), Failure>,
    mut give: impl FnMut(u64, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut piece = vec![0; usize::try_from(length).map_or(PIECE, |length| length.min(PIECE))];
    let progress = Progress::new(length);
    let mut done = 0;
    while done < length {
        interrupt::check()?;
        let here = usize::try_from(length - done).map_or(piece.len(), |left| left.min(piece.len()));
        take(done, &mut piece[..here])?;
        give(done, &piece[..here])?;
        done += here as u64;
        if !to_terminal {
            progress.at(done);
        }
    }
    Ok(())
}

/// A bar on standard error, where that is a terminal and the work takes longer than a moment.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new(length: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
        let style =
            ProgressStyle::with_template("{bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}");
        Self { start: Instant::now(), bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())) }
    }

    pub(crate) fn at(&self, done: u64) {
        if self.bar.is_hidden() && self.start.elapsed() > Duration::from_millis(500) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
