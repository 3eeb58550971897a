//! What errnos of the System V calls mean.

use std::io;

use nix::errno::Errno;
use shared_region_sysv::{self as leaf, Segment};

use crate::error::{Error, ErrorKind};

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

/// Translates the failure of a call that takes a key or an id.
pub(super) fn failed(error: &io::Error) -> Error {
    match errno(error) {
        // shmctl(2): the id means nothing any more, or is on its way out.
        Some(errno @ (Errno::EINVAL | Errno::EIDRM)) => {
            Error::new(ErrorKind::NotFound).errno(errno as i32)
        }
        _ => Error::from_io(error),
    }
}

/// Translates the failure of `shmget` on a key that may have a segment.
pub(super) fn find_failed(error: &io::Error) -> Error {
    match errno(error) {
        Some(Errno::EPERM) => forbidden(),
        _ => failed(error),
    }
}

/// shmget(2), shmat(2): neither says EPERM but about huge pages, so something else does.
fn forbidden() -> Error {
    Error::new(ErrorKind::BackendUnavailable)
        .reason("a sandbox forbids the system calls")
        .errno(Errno::EPERM as i32)
}

/// Translates the failure of `shmget` with `IPC_CREAT`.
pub(super) fn create_failed(error: &io::Error, key: i32, size: usize) -> Error {
    let Some(errno) = errno(error) else { return Error::from_io(error) };
    // Some systems look at the size or the mode first, and the name can have been taken meanwhile.
    if errno != Errno::EEXIST && key != leaf::IPC_PRIVATE && Segment::open(key).is_ok() {
        return Error::new(ErrorKind::AlreadyExists).errno(Errno::EEXIST as i32);
    }
    let limits = leaf::limits();
    let translated = match (errno, &limits) {
        (Errno::EINVAL, Ok(limits)) => {
            let value = limits.segment_max_bytes();
            Error::new(ErrorKind::LimitExceeded { limit: "kernel.shmmax", value }).reason(format!(
                "{size} bytes are more than one segment may have: kernel.shmmax is {value} bytes; raise it or ask for less"
            ))
        }
        (Errno::ENOSPC, Ok(limits)) if leaf::usage().is_ok_and(|usage| usage.segments() >= limits.segments_max()) => {
            let value = limits.segments_max();
            Error::new(ErrorKind::LimitExceeded { limit: "kernel.shmmni", value }).reason(format!(
                "there are as many segments as kernel.shmmni allows ({value}): remove some (ipcrm) or raise it"
            ))
        }
        (Errno::ENOSPC, Ok(limits)) => Error::new(ErrorKind::NoSpace).reason(format!(
            "{size} bytes do not fit: all segments together may have kernel.shmall = {} pages; raise it, remove some or ask for less",
            limits.pages_max()
        )),
        (Errno::ENOMEM, _) => Error::new(ErrorKind::NoSpace)
            .reason(format!("{size} bytes do not fit into memory: free some or ask for less")),
        (Errno::EPERM, _) => forbidden(),
        _ => return Error::from_io(error),
    };
    translated.errno(errno as i32)
}

/// Translates the failure of `shmat`.
pub(super) fn attach_failed(error: &io::Error, segment: Segment, address: Option<usize>) -> Error {
    match (errno(error), address) {
        (Some(Errno::EINVAL), Some(address)) if segment.stat().is_ok() => {
            let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
                .ok()
                .flatten()
                .unwrap_or(4096);
            let told = if address % page as usize != 0 {
                Error::new(ErrorKind::InvalidOptions).reason(format!(
                    "address {address:#x} is not a multiple of the page size ({page}): round it"
                ))
            } else {
                Error::new(ErrorKind::AddressInUse).reason(format!(
                    "another mapping is at address {address:#x}: choose another, or none"
                ))
            };
            told.errno(Errno::EINVAL as i32)
        }
        (Some(Errno::EPERM), _) => forbidden(),
        _ => failed(error),
    }
}
