//! Other systems with `shm_open`: only what POSIX promises. Written from their manuals and sources, not
//! run there.
//!
//! - FreeBSD's `shm_open` refuses every flag but these, and POSIX has it set `FD_CLOEXEC` by itself.
//! - FreeBSD's `posix_fallocate` moves the size of such an object and does no more than `ftruncate`,
//!   macOS has none, and allows one `ftruncate` per object: so `reserve` is `ftruncate`.
//! - macOS leaves the file type out of `st_mode`, and device, inode, link count and times at 0.

use std::ffi::CStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::mman::{shm_open, shm_unlink};
use nix::sys::stat::{Mode, SFlag};

pub(crate) use super::absent::*;
use super::{error, retry};
use crate::stat::Stat;
use crate::store::EntryKind;

pub(crate) fn open(name: &CStr, write: bool, create_new: bool, mode: u32) -> io::Result<File> {
    let access = if write { OFlag::O_RDWR } else { OFlag::O_RDONLY };
    let create = if create_new { OFlag::O_CREAT | OFlag::O_EXCL } else { OFlag::empty() };
    let mode = Mode::from_bits_truncate((mode & 0o7777) as libc::mode_t);
    Ok(shm_open(name, access | create, mode)?.into())
}

pub(crate) fn unlink(name: &CStr) -> io::Result<()> {
    Ok(shm_unlink(name)?)
}

pub(crate) fn look(file: &File) -> io::Result<(EntryKind, Stat)> {
    let metadata = retry(|| file.metadata())?;
    let format = SFlag::from_bits_truncate(metadata.mode() as libc::mode_t) & SFlag::S_IFMT;
    let kind = match format {
        SFlag::S_IFLNK => EntryKind::SymbolicLink,
        SFlag::S_IFIFO => EntryKind::Fifo,
        SFlag::S_IFDIR => EntryKind::Directory,
        SFlag::S_IFSOCK => EntryKind::Socket,
        SFlag::S_IFCHR | SFlag::S_IFBLK => EntryKind::Device,
        _ => EntryKind::SharedMemory,
    };
    Ok((kind, Stat::from(&metadata)))
}

pub(crate) fn kind(name: &CStr) -> io::Result<(EntryKind, Stat)> {
    find(name).map(|(_, stat)| (EntryKind::SharedMemory, stat))
}

pub(crate) fn set_mode(name: &CStr, mode: u32) -> io::Result<()> {
    let (file, _) = find(name)?;
    retry(|| file.set_permissions(Permissions::from_mode(mode)))
}

pub(crate) fn set_owner(name: &CStr, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let (file, _) = find(name)?;
    retry(|| fchown(&file, uid, gid))
}

fn find(name: &CStr) -> io::Result<(File, Stat)> {
    let file = retry(|| open(name, false, false, 0))?;
    match look(&file)? {
        (EntryKind::SharedMemory, stat) => Ok((file, stat)),
        _ => Err(error(libc::ENODEV)),
    }
}
