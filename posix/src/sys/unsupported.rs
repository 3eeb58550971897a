//! Systems without `shm_open`, Android among them: a descriptor from elsewhere can be adopted, sized and
//! mapped. Not run.

use std::ffi::CStr;
use std::fs::{File, Metadata};
use std::io;

pub(crate) use super::absent::*;
use crate::stat::Stat;
use crate::store::EntryKind;

pub(crate) fn open(_name: &CStr, _write: bool, _new: bool, _mode: u32) -> io::Result<File> {
    unsupported()
}

pub(crate) fn unlink(_name: &CStr) -> io::Result<()> {
    unsupported()
}

pub(crate) fn is_shared_memory(metadata: &Metadata) -> bool {
    metadata.is_file()
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
