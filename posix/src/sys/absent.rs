//! What only Linux has, for the systems that have not.

use std::ffi::{CStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use memmap2::MmapRaw;
use nix::fcntl::OFlag;

use super::{retry, touch};
use crate::access::MapAccess;
use crate::holders::Holders;
use crate::seals::Seals;
use crate::space::{Reserved, Sizing};
use crate::stat::Stat;
use crate::store::Store;
use crate::unnamed::UnnamedObjects;

pub(super) fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

/// No lock can be had.
#[derive(Debug)]
pub(crate) enum Lock {}

impl Lock {
    pub(crate) fn identity(&self) -> (u64, u64) {
        match *self {}
    }
}

/// Nothing is known and not held.
#[derive(Debug)]
pub(crate) enum Pin {}

impl Pin {
    pub(crate) fn of(_name: &CStr) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn identity(&self) -> (u64, u64) {
        match *self {}
    }

    pub(crate) fn unlink_if_unused(self, _name: &CStr) -> io::Result<bool> {
        match self {}
    }
}

pub(crate) fn names_only(_flags: OFlag) -> bool {
    false
}

pub(crate) fn create_unlinked(_mode: u32) -> io::Result<File> {
    unsupported()
}

pub(crate) fn link(_file: &File, _name: &CStr) -> io::Result<()> {
    unsupported()
}

pub(crate) fn can_link(_file: &File) -> bool {
    false
}

pub(crate) fn memfd(_debug_name: &CStr, _mode: u32, _huge_pages: bool) -> io::Result<File> {
    unsupported()
}

pub(crate) fn is_of_huge_pages(_file: &File, _stat: &Stat) -> io::Result<bool> {
    Ok(false)
}

pub(crate) fn seals(_file: &File) -> io::Result<Seals> {
    unsupported()
}

pub(crate) fn add_seals(_file: &File, _seals: Seals) -> io::Result<()> {
    unsupported()
}

pub(crate) fn reopen_read_only(_file: &File) -> io::Result<File> {
    unsupported()
}

pub(crate) fn check_room(_file: &File, _offset: u64, _end: u64) -> io::Result<()> {
    Ok(())
}

pub(crate) fn reserve(file: &File, _offset: u64, end: u64, size: Sizing) -> io::Result<Reserved> {
    if size == Sizing::Extend && end > retry(|| file.metadata())?.size() {
        retry(|| file.set_len(end))?;
    }
    Ok(Reserved::No)
}

pub(crate) fn clear_tail(_file: &File, _len: u64) -> io::Result<()> {
    unsupported()
}

pub(crate) fn lock(_file: &File) -> io::Result<Option<Lock>> {
    unsupported()
}

pub(crate) fn lock_named(_name: &CStr) -> io::Result<Option<Lock>> {
    unsupported()
}

pub(crate) fn prefault(raw: &MmapRaw, access: MapAccess) -> io::Result<()> {
    touch(raw, access);
    Ok(())
}

pub(crate) fn store() -> io::Result<Store> {
    unsupported()
}

pub(crate) fn store_identity() -> io::Result<(u64, u64)> {
    unsupported()
}

pub(crate) fn list() -> io::Result<Vec<(OsString, Stat)>> {
    unsupported()
}

pub(crate) fn holders_of(_objects: &[(u64, u64)]) -> io::Result<Vec<Holders>> {
    unsupported()
}

pub(crate) fn unnamed() -> io::Result<UnnamedObjects> {
    unsupported()
}

pub(crate) fn is_held(_device: u64, _inode: u64) -> io::Result<Option<bool>> {
    unsupported()
}

pub(crate) fn is_unused(_name: &CStr) -> io::Result<bool> {
    unsupported()
}

pub(crate) fn are_unused(names: &[&CStr]) -> Vec<io::Result<bool>> {
    names.iter().map(|_| unsupported()).collect()
}

pub(crate) fn unlink_if_unused(_name: &CStr) -> io::Result<bool> {
    unsupported()
}

pub(crate) fn tells_unused() -> bool {
    false
}
