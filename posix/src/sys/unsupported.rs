//! Systems without `shm_open`, Android among them: a descriptor from elsewhere can be adopted, sized and
//! mapped. Not run.

use std::ffi::CStr;
use std::fs::File;
use std::io;

pub(crate) use super::absent::*;
use super::retry;
use crate::stat::Stat;
use crate::store::EntryKind;

pub(crate) fn open(_name: &CStr, _write: bool, _new: bool, _mode: u32) -> io::Result<File> {
    unsupported()
}

pub(crate) fn unlink(_name: &CStr) -> io::Result<()> {
    unsupported()
}

pub(crate) fn look(file: &File) -> io::Result<(EntryKind, Stat)> {
    let metadata = retry(|| file.metadata())?;
    let kind = if metadata.is_file() { EntryKind::SharedMemory } else { EntryKind::Device };
    Ok((kind, Stat::from(&metadata)))
}

pub(crate) fn kind(_name: &CStr) -> io::Result<(EntryKind, Stat)> {
    unsupported()
}

pub(crate) fn set_mode(_name: &CStr, _mode: u32) -> io::Result<()> {
    unsupported()
}

pub(crate) fn set_owner(_name: &CStr, _uid: Option<u32>, _gid: Option<u32>) -> io::Result<()> {
    unsupported()
}
