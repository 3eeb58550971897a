//! System calls that no safe wrapper fits.

use std::os::fd::{AsRawFd, BorrowedFd};

use memmap2::MmapRaw;
use nix::errno::Errno;
use nix::libc;

/// Takes or releases a lock on an open file description.
///
/// `nix::fcntl::Flock` does not fit: its drop releases the lock in a forked child too.
pub(super) fn flock(fd: BorrowedFd<'_>, operation: i32) -> Result<(), Errno> {
    // SAFETY: `fd` is borrowed, so it is open during the call, and flock(2) takes two integers, so it
    // reads and writes no memory of this process.
    let result = unsafe { libc::flock(fd.as_raw_fd(), operation) };
    Errno::result(result).map(drop)
}

/// Reads from `fd` into the mapped bytes from `offset` on.
///
/// `nix::unistd::read` does not fit: no `&mut [u8]` may be made of memory that others write to.
pub(super) fn read_into(fd: BorrowedFd<'_>, map: &MmapRaw, offset: usize) -> Result<(), Errno> {
    let len = map.len().checked_sub(offset).ok_or(Errno::EINVAL)?;
    let start = map.as_mut_ptr().wrapping_add(offset);
    // SAFETY: `start` and `len` are the rest of a live, writable mapping from `offset` on, and only the
    // kernel writes to it here; read(2) writes at most `len` bytes, and answers EFAULT where it cannot.
    let result = unsafe { libc::read(fd.as_raw_fd(), start.cast(), len) };
    Errno::result(result).map(drop)
}
