//! macOS and the BSDs, from their manuals (shmget(2), shmat(2), shmctl(2)) and headers. Compiled, not run.
//!
//! Options that a manual does not describe are refused, not ignored.

#![allow(clippy::unnecessary_cast, reason = "the widths of C's types differ between systems")]

use std::ffi::c_int;
use std::io;

use nix::libc::shmid_ds;

use super::perm;
use crate::{AttachOptions, Attachers, GetOptions, HugePages, Limits, SegmentStat, Usage};

/// libc lacks it for NetBSD and OpenBSD; it is the same in every `<sys/shm.h>`.
const SHM_RDONLY: c_int = 0o10000;

fn unsupported<T>(what: &str) -> io::Result<T> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("{what}: not available for System V shared memory on this system"),
    ))
}

/// The flags of `shmget` that POSIX does not have: none.
pub(super) fn get_flags(options: &GetOptions) -> io::Result<c_int> {
    if options.no_reserve {
        return unsupported("creating without a reservation");
    }
    if options.huge_pages != HugePages::No {
        return unsupported("huge pages");
    }
    Ok(0)
}

/// The address (0: any) and the flags of `shmat`. An address would be safe only if one in use were refused, which
/// no manual here says.
pub(super) fn placement(options: &AttachOptions) -> io::Result<(usize, c_int)> {
    if options.executable {
        return unsupported("attaching for execution");
    }
    if options.address.is_some() {
        return unsupported("attaching at an address");
    }
    Ok((0, if options.read_only { SHM_RDONLY } else { 0 }))
}

/// Turns the kernel's struct into ours. The widths of its members differ between the systems.
pub(super) fn convert(id: i32, ds: &shmid_ds) -> SegmentStat {
    // A copy: on macOS the struct is packed.
    let perm = ds.shm_perm;
    SegmentStat {
        id,
        key: perm::key(&perm),
        size: ds.shm_segsz as usize,
        mode: perm.mode as u32 & 0o777,
        uid: perm.uid,
        gid: perm.gid,
        creator_uid: perm.cuid,
        creator_gid: perm.cgid,
        creator_pid: ds.shm_cpid as u32,
        last_pid: ds.shm_lpid as u32,
        attach_count: ds.shm_nattch as u64,
        attach_time: ds.shm_atime,
        detach_time: ds.shm_dtime,
        change_time: ds.shm_ctime,
        removed: false,
        locked: false,
        sequence: Some(perm::sequence(&perm)),
        resident: None,
        swapped: None,
        huge_page_size: None,
    }
}

pub(crate) fn lock(_id: i32) -> io::Result<()> {
    unsupported("locking")
}

pub(crate) fn unlock(_id: i32) -> io::Result<()> {
    unsupported("unlocking")
}

pub(crate) fn remove_semaphores(_id: i32) -> io::Result<()> {
    unsupported("removing semaphores")
}

pub(crate) fn remove_queue(_id: i32) -> io::Result<()> {
    unsupported("removing message queues")
}

pub(crate) fn limits() -> io::Result<Limits> {
    unsupported("reading the limits")
}

pub(crate) fn usage() -> io::Result<Usage> {
    unsupported("reading the usage")
}

pub(crate) fn segments() -> io::Result<Vec<SegmentStat>> {
    unsupported("listing the segments")
}

pub(crate) fn attachers(_stats: &[SegmentStat]) -> io::Result<Vec<Attachers>> {
    unsupported("finding who has a segment attached")
}
