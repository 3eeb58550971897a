//! System calls that no safe wrapper fits.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use memmap2::MmapRaw;
use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::makedev;

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

/// Asks about an open file.
///
/// `std::fs::File::metadata` would do; it takes several times as long outside of the kernel. `nix::sys::stat::fstat` does
/// not fit: it fails on files over 2 GiB in some 32-bit processes.
pub(super) fn fstat(fd: BorrowedFd<'_>) -> Result<libc::stat64, Errno> {
    let mut stat = MaybeUninit::zeroed();
    // SAFETY: `fd` is borrowed, so it is open during the call, and `stat` has room for the struct that the call writes;
    // fstat(2).
    Errno::result(unsafe { libc::fstat64(fd.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: the struct consists of integers, all of which were zero, or written by the call.
    Ok(unsafe { stat.assume_init() })
}

/// Asks about what is at `path`, without following a link; as `fstat`.
pub(super) fn lstat(path: &CStr) -> Result<libc::stat64, Errno> {
    let mut stat = MaybeUninit::zeroed();
    // SAFETY: `path` is a C string that outlives the call, which reads it, and `stat` has room for the struct that it
    // writes; stat(2).
    Errno::result(unsafe { libc::lstat64(path.as_ptr(), stat.as_mut_ptr()) })?;
    // SAFETY: the struct consists of integers, all of which were zero, or written by the call.
    Ok(unsafe { stat.assume_init() })
}

/// Says the device of what is at `path`, and its inode where the file system tells without looking anywhere.
///
/// `std::fs::metadata` does not fit: it has the file system look, which can hang, or be forbidden.
pub(super) fn cached_identity(path: &CStr) -> Result<(u64, Option<u64>), Errno> {
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    let (flags, mask) = (libc::AT_STATX_DONT_SYNC, 0);
    // SAFETY: `path` is a C string that outlives the call, which reads it, and `stat` is a `struct statx`, to which the
    // call writes no more than one; see statx(2).
    let result =
        unsafe { libc::syscall(libc::SYS_statx, libc::AT_FDCWD, path.as_ptr(), flags, mask, stat.as_mut_ptr()) };
    Errno::result(result)?;
    // SAFETY: the struct consists of integers, all of which were zero, or written by the call.
    let stat = unsafe { stat.assume_init() };
    let device = makedev(stat.stx_dev_major.into(), stat.stx_dev_minor.into());
    Ok((device, (stat.stx_mask & libc::STATX_INO != 0).then_some(stat.stx_ino)))
}

/// Whether two threads are known to have one and the same table of descriptors.
pub(super) fn share_descriptors(one: u32, other: u32) -> bool {
    /// From the kernel's include/uapi/linux/kcmp.h.
    const KCMP_FILES: libc::c_int = 2;
    // SAFETY: kcmp(2) takes numbers only, and touches no memory of this process.
    unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_FILES, 0_usize, 0_usize) == 0 }
}

/// Takes a lease on an open file (`F_WRLCK`), or gives it up (`F_UNLCK`).
///
/// Whoever opens the file meanwhile has the kernel send a signal here. It is one that this program leaves alone and the
/// system ignores then, so that nothing is delivered; SIGIO, the default, would end a program.
pub(super) fn lease(fd: BorrowedFd<'_>, kind: i32) -> Result<(), Errno> {
    /// From the kernel's include/uapi/asm-generic/fcntl.h.
    const F_SETSIG: libc::c_int = 10;
    if kind != libc::F_UNLCK {
        let quiet = [libc::SIGURG, libc::SIGWINCH].into_iter().find(|&signal| is_default(signal));
        // SAFETY: `fd` is borrowed, so it is open during the call, and F_SETSIG takes a number; fcntl(2).
        let set = unsafe { libc::fcntl(fd.as_raw_fd(), F_SETSIG, quiet.unwrap_or(libc::SIGURG)) };
        Errno::result(set)?;
    }
    // SAFETY: `fd` is borrowed, so it is open during the call, and F_SETLEASE takes a number; fcntl(2).
    Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLEASE, kind) }).map(drop)
}

/// Whether a signal has its default action here.
fn is_default(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is set, and `action` has room for the struct that the call writes; sigaction(2).
    if unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the struct consists of integers and an optional function, for all of which zeros are valid, or what the
    // call wrote.
    unsafe { action.assume_init() }.sa_sigaction == libc::SIG_DFL
}
