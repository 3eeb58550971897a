//! Locks on objects, each on an open file description of its own.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process;

use nix::errno::Errno;
use nix::libc;

use super::{look, open_anew, path_of, raw};
use crate::sys::retry;

#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    identity: (u64, u64),
    process: u32,
}

impl Lock {
    pub(crate) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    fn take(file: File, identity: (u64, u64)) -> io::Result<Option<Self>> {
        match retry(|| Ok(raw::flock(file.as_fd(), libc::LOCK_EX | libc::LOCK_NB)?)) {
            Ok(()) => Ok(Some(Self { file, identity, process: process::id() })),
            Err(error) if error.raw_os_error() == Some(libc::EWOULDBLOCK) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would leave it to a child that was forked meanwhile, for the description lives
        // as long as that has it open; and a child must not release what its parent holds.
        if self.process == process::id() {
            let _ = raw::flock(self.file.as_fd(), libc::LOCK_UN);
        }
    }
}

pub(crate) fn lock(file: &File) -> io::Result<Option<Lock>> {
    let path = path_of(file);
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = retry(|| options.open(&path))?;
    let (_, stat) = look(&file)?;
    Lock::take(file, (stat.device(), stat.inode()))
}

pub(crate) fn lock_named(name: &CStr) -> io::Result<Option<Lock>> {
    match open_anew(name) {
        Ok((file, identity)) => Lock::take(file, identity),
        // Somebody has a lease on it.
        Err(error) if error.raw_os_error() == Some(Errno::EWOULDBLOCK as i32) => Ok(None),
        Err(error) => Err(error),
    }
}
