//! Systems without System V shared memory, or where nobody has looked yet.

use std::io;
use std::path::Path;
use std::ptr::NonNull;

use crate::{AttachOptions, Attachers, GetOptions, Limits, SegmentStat, Usage};

fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "no System V shared memory on this platform"))
}

pub(crate) fn ftok(_path: &Path, _proj_id: i32) -> io::Result<i32> {
    unsupported()
}

pub(crate) fn get(_options: &GetOptions, _key: i32, _size: usize) -> io::Result<i32> {
    unsupported()
}

pub(crate) fn attach(_id: i32, _options: &AttachOptions) -> io::Result<NonNull<u8>> {
    unsupported()
}

/// # Safety
///
/// Nothing is asked of the caller here; elsewhere it is.
pub(crate) unsafe fn detach(_start: NonNull<u8>) -> io::Result<()> {
    unsupported()
}

pub(crate) fn stat(_id: i32) -> io::Result<SegmentStat> {
    unsupported()
}

pub(crate) fn set(_id: i32, _uid: u32, _gid: u32, _mode: u32) -> io::Result<()> {
    unsupported()
}

pub(crate) fn remove(_id: i32) -> io::Result<()> {
    unsupported()
}

pub(crate) fn lock(_id: i32) -> io::Result<()> {
    unsupported()
}

pub(crate) fn unlock(_id: i32) -> io::Result<()> {
    unsupported()
}

pub(crate) fn remove_semaphores(_id: i32) -> io::Result<()> {
    unsupported()
}

pub(crate) fn remove_queue(_id: i32) -> io::Result<()> {
    unsupported()
}

pub(crate) fn limits() -> io::Result<Limits> {
    unsupported()
}

pub(crate) fn usage() -> io::Result<Usage> {
    unsupported()
}

pub(crate) fn segments() -> io::Result<Vec<SegmentStat>> {
    unsupported()
}

pub(crate) fn attachers(_stats: &[SegmentStat]) -> io::Result<Vec<Attachers>> {
    unsupported()
}
