//! Storage behind an object.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use memmap2::MmapOptions;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc;
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use nix::sys::sysinfo::sysinfo;

use super::raw;
use crate::space::{Reserved, Sizing};
use crate::sys::{page_size, retry};

/// What is reserved by one call at most: some 5 ms of work, so that a signal cannot undo much. Measured,
/// 256 MiB take as long in one call as in steps of 1, 4, 16 or 64 MiB.
const STEP: u64 = 16 << 20;

/// What is reserved by one call at least, however often signals come; as large as a page can well be.
const SMALLEST_STEP: u64 = 64 << 10;

pub(crate) fn reserve(file: &File, offset: u64, end: u64, size: Sizing) -> io::Result<Reserved> {
    let flags = match size {
        Sizing::Extend => FallocateFlags::empty(),
        Sizing::Keep => FallocateFlags::FALLOC_FL_KEEP_SIZE,
    };
    let mut shortage = shortage(file, offset, end)?;
    if shortage == Some(Errno::ENOSPC) {
        // A grower that died may have left something there.
        release(file, offset, end);
        shortage = self::shortage(file, offset, end)?;
    }
    let reserved = match shortage {
        Some(errno) => Err(errno),
        None => in_steps(offset, end, |at, len| allocate(file, flags, at, len)),
    };
    match (reserved, size) {
        (Ok(()), _) => Ok(Reserved::Yes),
        (Err(Errno::EOPNOTSUPP | Errno::ENOSYS), _) => {
            if size == Sizing::Extend && end > retry(|| file.metadata())?.size() {
                retry(|| file.set_len(end))?;
            }
            Ok(Reserved::No)
        }
        (Err(error), Sizing::Extend) => Err(error.into()),
        (Err(error), Sizing::Keep) => {
            release(file, offset, end);
            Err(error.into())
        }
    }
}

/// Calls `allocate` piece by piece, with smaller pieces for as long as signals interrupt it.
fn in_steps(mut at: u64, end: u64, mut allocate: impl FnMut(u64, u64) -> Result<(), Errno>) -> Result<(), Errno> {
    let mut step = STEP;
    while at < end {
        let len = step.min(end - at);
        match allocate(at, len) {
            Ok(()) => {
                at += len;
                step = (step * 2).min(STEP);
            }
            Err(Errno::EINTR) => step = (step / 2).max(SMALLEST_STEP),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(crate) fn check_room(file: &File, offset: u64, end: u64) -> io::Result<()> {
    shortage(file, offset, end)?.map_or(Ok(()), |errno| Err(errno.into()))
}

/// Why a large reservation cannot succeed, which else is found out by taking all there is.
fn shortage(file: &File, offset: u64, end: u64) -> io::Result<Option<Errno>> {
    let len = end - offset;
    if len <= STEP {
        return Ok(None);
    }
    let metadata = retry(|| file.metadata())?;
    // At most so much of the range has storage already.
    let below_end = metadata.size().next_multiple_of(page_size() as u64).saturating_sub(offset);
    let missing = i128::from(len.saturating_sub(below_end.min(metadata.blocks() * 512)));
    let store = retry(|| Ok(fstatfs(file)?))?;
    let free = i128::from(store.blocks_free()) * i128::from(store.block_size());
    // No blocks at all means no limit, as for a memfd and for a tmpfs of `size=0`.
    if store.blocks() != 0 && missing > free {
        return Ok(Some(Errno::ENOSPC));
    }
    // A file on a disk may well be larger than memory.
    if store.filesystem_type() != TMPFS_MAGIC {
        return Ok(None);
    }
    let machine = retry(|| Ok(sysinfo()?))?;
    let memory = i128::from(machine.ram_total()) + i128::from(machine.swap_total());
    Ok((missing > memory).then_some(Errno::ENOMEM))
}

/// Gives back what was reserved past the page of the end. A hole there cannot take away from somebody
/// what `ftruncate` could: the size, should it just have moved.
fn release(file: &File, offset: u64, end: u64) {
    let Ok(metadata) = retry(|| file.metadata()) else { return };
    let from = offset.max(metadata.size()).next_multiple_of(page_size() as u64);
    if from < end {
        let _ = punch_hole(file, from, end);
    }
}

pub(crate) fn clear_tail(file: &File, len: u64) -> io::Result<()> {
    let page = page_size() as u64;
    let end = len.checked_next_multiple_of(page).ok_or(Errno::EFBIG)?;
    if end == len {
        return Ok(());
    }
    match punch_hole(file, len, end) {
        // As on ramfs, which does not clear the tail by itself when the file grows either.
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => zero_through_mapping(file, len, end - page),
        result => Ok(result?),
    }
}

/// Zeroes from `len` to the end of the page that begins at `start`, by having the kernel write into a
/// mapping of it: where the page is gone, that is `EFAULT` and not `SIGBUS`.
fn zero_through_mapping(file: &File, len: u64, start: u64) -> io::Result<()> {
    let mut options = MmapOptions::new();
    let map = retry(|| options.offset(start).len(page_size()).map_raw(file))?;
    let zeros = retry(|| File::open("/dev/zero"))?;
    let tail = (len - start) as usize;
    match retry(|| Ok(raw::read_into(zeros.as_fd(), &map, tail)?)) {
        // There is no such page: when there is, it will be a new one.
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
        result => result,
    }
}

fn punch_hole(file: &File, from: u64, to: u64) -> Result<(), Errno> {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    loop {
        match allocate(file, flags, from, to - from) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

fn allocate(file: &File, flags: FallocateFlags, at: u64, len: u64) -> Result<(), Errno> {
    let at = libc::off_t::try_from(at).map_err(|_| Errno::EFBIG)?;
    let len = libc::off_t::try_from(len).map_err(|_| Errno::EFBIG)?;
    fallocate(file, flags, at, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_shrink_the_steps_and_lose_nothing() {
        let (end, mut covered, mut calls) = (STEP * 3 + 5, 5, 0);
        let result = in_steps(5, end, |at, len| {
            calls += 1;
            if len > SMALLEST_STEP && calls % 3 != 0 {
                return Err(Errno::EINTR);
            }
            assert_eq!(at, covered);
            covered += len;
            Ok(())
        });
        assert_eq!((result, covered), (Ok(()), end));
    }

    #[test]
    fn release_gives_back_what_lies_past_the_page_of_the_end_and_nothing_else() {
        let (file, page) = (super::super::memfd(c"test", 0o600, false).unwrap(), page_size() as u64);
        file.set_len(page + 1).unwrap();
        let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let storage = || file.metadata().unwrap().blocks() * 512;
        for (offset, left) in [(page + 1, 2), (3 * page + 1, 4)] {
            allocate(&file, keep, 0, 9 * page).unwrap();
            release(&file, offset, 9 * page);
            assert_eq!((storage(), file.metadata().unwrap().size()), (left * page, page + 1));
        }
    }

    #[test]
    fn an_error_ends_the_steps_where_it_happens() {
        let mut calls = 0;
        let result = in_steps(0, STEP * 3, |_, _| {
            calls += 1;
            if calls == 2 { Err(Errno::ENOSPC) } else { Ok(()) }
        });
        assert_eq!((result, calls), (Err(Errno::ENOSPC), 2));
    }
}
