//! The calls of POSIX: `shmget`, `shmat`, `shmdt`, `shmctl`, `ftok`. All of the crate's calls into C stand here.

use std::ffi::{CString, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};

use nix::errno::Errno;
use nix::libc::{self, shmid_ds};

use super::platform;
use crate::{AttachOptions, GetOptions, SegmentStat};

/// Makes a call until it answers something other than the error `EINTR`. `None` means that `errno` has the answer.
fn retry<T>(mut call: impl FnMut() -> Option<T>) -> io::Result<T> {
    loop {
        if let Some(value) = call() {
            return Ok(value);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
}

/// Takes -1 for "`errno` has the answer".
fn unless_minus_one(value: c_int) -> Option<c_int> {
    (value != -1).then_some(value)
}

pub(crate) fn ftok(path: &Path, proj_id: i32) -> io::Result<i32> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    retry(|| {
        Errno::clear();
        // SAFETY: `path` is a C string that outlives the call, which only reads it. ftok(3)
        let key = unsafe { libc::ftok(path.as_ptr(), proj_id) };
        // -1 is also a key, of one file in 2^32. Only if `stat` failed there is an error.
        (key != -1 || Errno::last_raw() == 0).then_some(key as i32)
    })
}

pub(crate) fn get(options: &GetOptions, key: i32, size: usize) -> io::Result<i32> {
    let mut flags = platform::get_flags(options)? | options.mode as c_int;
    if options.create {
        flags |= libc::IPC_CREAT;
    }
    if options.exclusive {
        flags |= libc::IPC_EXCL;
    }
    retry(|| {
        // SAFETY: `shmget` takes three numbers and touches no memory of this process. shmget(2)
        unless_minus_one(unsafe { libc::shmget(key as libc::key_t, size, flags) })
    })
}

pub(crate) fn attach(id: i32, options: &AttachOptions) -> io::Result<NonNull<u8>> {
    let (address, flags) = platform::placement(options)?;
    let start = retry(|| {
        // SAFETY: `placement` asks for an address only where one in use is refused. So the call puts a mapping
        // where there was none, and changes none that exists. shmop(2)
        let start = unsafe { libc::shmat(id, ptr::without_provenance(address), flags) };
        (start.addr() != usize::MAX).then_some(start)
    })?;
    // No system chooses address 0, and `placement` never asks for it.
    NonNull::new(start.cast()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Detaches what [`attach`] has attached.
///
/// # Safety
///
/// - `start` comes from [`attach`] and was not detached since.
/// - Nobody accesses the bytes any more.
pub(crate) unsafe fn detach(start: NonNull<u8>) -> io::Result<()> {
    retry(|| {
        // SAFETY: the caller vouches that `start` is an attachment that nobody uses any more. So a mapping goes
        // that nothing refers to. shmop(2)
        unless_minus_one(unsafe { libc::shmdt(start.as_ptr().cast()) })
    })?;
    Ok(())
}

/// Calls `shmctl`.
///
/// # Safety
///
/// `command` does not look at `buffer`, or `buffer` is valid for reads and writes of the struct that it takes.
pub(super) unsafe fn control(id: i32, command: c_int, buffer: *mut shmid_ds) -> io::Result<c_int> {
    retry(|| {
        // SAFETY: the caller vouches for the buffer, and no other memory of this process is touched. shmctl(2)
        unless_minus_one(unsafe { libc::shmctl(id, command, buffer) })
    })
}

/// Returns a `shmid_ds` of zeros.
pub(super) fn zeroed() -> shmid_ds {
    // SAFETY: the struct consists of integers, and on some systems of a raw pointer. All zeros are a value of each.
    // Reference, "Behavior considered undefined"
    unsafe { MaybeUninit::zeroed().assume_init() }
}

pub(crate) fn stat(id: i32) -> io::Result<SegmentStat> {
    let mut ds = zeroed();
    // SAFETY: IPC_STAT writes one `struct shmid_ds`, which `ds` is. shmctl(2)
    unsafe { control(id, libc::IPC_STAT, &raw mut ds) }?;
    Ok(platform::convert(id, &ds))
}

pub(crate) fn set(id: i32, uid: u32, gid: u32, mode: u32) -> io::Result<()> {
    let mut ds = zeroed();
    ds.shm_perm.uid = uid;
    ds.shm_perm.gid = gid;
    ds.shm_perm.mode = mode as _;
    // SAFETY: IPC_SET reads one `struct shmid_ds`, which `ds` is. shmctl(2)
    unsafe { control(id, libc::IPC_SET, &raw mut ds) }?;
    Ok(())
}

pub(crate) fn remove(id: i32) -> io::Result<()> {
    // SAFETY: IPC_RMID does not look at the buffer. shmctl(2)
    unsafe { control(id, libc::IPC_RMID, ptr::null_mut()) }?;
    Ok(())
}
