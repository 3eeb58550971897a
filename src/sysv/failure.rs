//! What errnos of the System V calls mean.

use std::io;

use nix::errno::Errno;
use shared_region_sysv::{self as leaf, AttachOptions, Segment};

use super::segment::look;
use crate::denied::{Refusing, translated};
use crate::error::{Error, ErrorKind};
use crate::limits::{mapping_refused, too_few_huge_pages};
use crate::options::{CreateOptions, HugePages};

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

/// Translates the failure of a call that takes a key or an id.
pub(super) fn failed(error: &io::Error) -> Error {
    match errno(error) {
        // shmctl(2): the id means nothing any more, or is on its way out.
        Some(errno @ (Errno::EINVAL | Errno::EIDRM)) => Error::new(ErrorKind::NotFound).errno(errno as i32),
        _ => Error::from_io(error),
    }
}

/// Translates the failure of a call on a segment; where permission is lacking, names its owner, creator and mode.
pub(super) fn failed_on(error: &io::Error, segment: Segment) -> Error {
    match errno(error) {
        Some(Errno::EACCES | Errno::EPERM) => translated(error, || {
            let stat = look(segment).ok()?;
            Some(Refusing { uid: stat.uid(), creator: Some(stat.creator_uid()), mode: stat.mode() })
        }),
        _ => failed(error),
    }
}

/// Translates the failure of `shmget` on a key that may have a segment.
pub(super) fn find_failed(error: &io::Error) -> Error {
    match errno(error) {
        Some(Errno::EPERM) => forbidden(),
        _ => Error::from_io(error),
    }
}

/// shmget(2), shmat(2): neither says EPERM but about huge pages, so something else does.
fn forbidden() -> Error {
    Error::new(ErrorKind::BackendUnavailable).reason("a sandbox forbids the system calls").errno(Errno::EPERM as i32)
}

fn no_huge_pages() -> Error {
    Error::new(ErrorKind::Unsupported).reason("this kernel has no huge pages: use ordinary ones")
}

/// Lets `AlreadyExists` win over a failure, if the key has a segment.
pub(super) fn or_taken(error: Error, key: i32) -> Error {
    if key != leaf::IPC_PRIVATE && Segment::open(key).is_ok() {
        return Error::new(ErrorKind::AlreadyExists).errno(Errno::EEXIST as i32);
    }
    error
}

/// Translates the failure of `shmget` with `IPC_CREAT`.
pub(super) fn create_failed(error: &io::Error, key: i32, options: &CreateOptions) -> Error {
    let Some(errno) = errno(error) else { return Error::from_io(error) };
    // Some systems look at the size or the mode first, and the name can have been taken meanwhile.
    if errno != Errno::EEXIST && key != leaf::IPC_PRIVATE && Segment::open(key).is_ok() {
        return Error::new(ErrorKind::AlreadyExists).errno(Errno::EEXIST as i32);
    }
    let (limits, size) = (leaf::limits(), options.get_size());
    let huge = options.get_huge_pages() == HugePages::Require;
    let translated = match (errno, &limits) {
        (Errno::ENOMEM, _) if huge => Error::new(ErrorKind::NoSpace).reason(too_few_huge_pages(size)),
        (Errno::EPERM, _) if huge => Error::new(ErrorKind::PermissionDenied).reason(
            "huge pages are for the group in vm.hugetlb_shm_group and for CAP_IPC_LOCK: join it, or use ordinary pages",
        ),
        (Errno::EINVAL, Ok(limits)) if huge && size as u64 <= limits.segment_max_bytes() => no_huge_pages(),
        (Errno::ENOSYS, _) if huge => no_huge_pages(),
        (Errno::EINVAL, Ok(limits)) => {
            let value = limits.segment_max_bytes();
            Error::new(ErrorKind::LimitExceeded { limit: "kernel.shmmax", value }).reason(format!(
                "{size} bytes are more than one segment may have: kernel.shmmax is {value} bytes; raise it or ask for less"
            ))
        }
        (Errno::ENOSPC, Ok(limits)) if leaf::usage().is_ok_and(|usage| usage.segments() >= limits.segments_max()) => {
            let value = limits.segments_max();
            Error::new(ErrorKind::LimitExceeded { limit: "kernel.shmmni", value }).reason(format!(
                "there are as many segments as kernel.shmmni allows ({value}): raise it, or remove unused ones (shm rm --orphans)"
            ))
        }
        (Errno::ENOSPC, Ok(limits)) => Error::new(ErrorKind::NoSpace).reason(format!(
            "{size} bytes do not fit: all segments together may have kernel.shmall = {} pages; raise it, or ask for less",
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
        (Some(Errno::EPERM), _) => forbidden(),
        (Some(errno @ (Errno::EINVAL | Errno::ENOMEM)), Some(address)) => {
            address_refused(errno, segment, address).unwrap_or_else(|| failed(error))
        }
        (Some(Errno::EAGAIN), _) => {
            let len = segment.stat().map_or(0, |stat| stat.size());
            mapping_refused(error, len).unwrap_or_else(|| failed(error))
        }
        _ => failed_on(error, segment),
    }
}

/// Says what is wrong with an address; `None` if something else is wrong.
fn address_refused(errno: Errno, segment: Segment, address: usize) -> Option<Error> {
    let size = segment.stat().ok()?.size();
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    let page = page.unwrap_or(4096) as usize;
    let (kind, why) = if errno == Errno::ENOMEM || address.checked_add(size).is_none() {
        // shmat(2): memory may be lacking too, but then there is no room elsewhere either.
        segment.attach(&AttachOptions::new()).ok()?;
        let why = "is beyond what a process can have: choose another, or none".to_owned();
        (ErrorKind::InvalidOptions, why)
    } else if address % page != 0 {
        (ErrorKind::InvalidOptions, format!("is not a multiple of the page size ({page}): round it"))
    } else {
        (ErrorKind::AddressInUse, "has another mapping: choose another, or none".to_owned())
    };
    let reason = format!("address {address:#x} {why}");
    Some(Error::new(kind).reason(reason).errno(errno as i32))
}
