//! The one place that knows which system this is. Each file below has the same functions:
//!
//! - `open`, `unlink`, `kind`, `set_mode`, `set_owner`, `list`, `store`, `store_identity`: names;
//! - `look`, `names_only`: what was opened;
//! - `create_unlinked`, `link`, `can_link`, `memfd`: objects without a name;
//! - `seals`, `add_seals`, `reopen_read_only`: what others may do;
//! - `check_room`, `reserve`, `clear_tail`, `prefault`: storage;
//! - `lock`, `lock_named`, with their `Lock`;
//! - `holders_of`, `is_held`, `unnamed`, `is_unused`, `are_unused`, `tells_unused`, `unlink_if_unused`, with its `Pin`.

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU8, Ordering};

use memmap2::MmapRaw;
use nix::libc;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};

use crate::access::MapAccess;

cfg_if::cfg_if! {
    if #[cfg(target_os = "linux")] {
        mod linux;
        pub(crate) use linux::*;
    } else if #[cfg(any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "dragonfly",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "illumos",
        target_os = "solaris",
    ))] {
        mod absent;
        mod portable;
        pub(crate) use portable::*;
    } else {
        mod absent;
        mod unsupported;
        pub(crate) use unsupported::*;
    }
}

pub(crate) fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// Repeats a call for as long as a signal interrupts it.
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            result => return result,
        }
    }
}

/// Says `EFBIG` where a file of `end` bytes cannot be, or where growing to that would raise `SIGXFSZ`.
///
/// The limit counts against growth only, so an object that is as large already passes.
pub(crate) fn check_size_limit(file: &File, end: u64) -> io::Result<()> {
    if i64::try_from(end).is_err() {
        return Err(error(libc::EFBIG));
    }
    let (limit, _) = retry(|| Ok(getrlimit(Resource::RLIMIT_FSIZE)?))?;
    // Wider than any `rlim_t`, which has a sign on some systems.
    let allowed = limit == RLIM_INFINITY || i128::from(end) <= i128::from(limit);
    if allowed || end <= retry(|| file.metadata())?.size() {
        return Ok(());
    }
    Err(error(libc::EFBIG))
}

/// The unit in which memory is mapped.
pub(crate) fn page_size() -> usize {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(4096)
}

/// Makes every page of a mapping present by touching it.
pub(crate) fn touch(raw: &MmapRaw, access: MapAccess) {
    for offset in (0..raw.len()).step_by(page_size()) {
        let byte = raw.as_mut_ptr().wrapping_add(offset);
        match access {
            MapAccess::ReadWrite => {
                // SAFETY: `offset` is below the length of this live, writable mapping, and a `u8` is
                // never misaligned, so `byte` is valid for this borrow; the documentation of `Mapping`
                // asks that whoever races with it does so atomically (std, `AtomicU8::from_ptr`).
                let byte = unsafe { AtomicU8::from_ptr(byte) };
                // Opaque, because LLVM may turn a known `| 0` into a load, which maps no page for writing.
                byte.fetch_or(black_box(0), Ordering::Relaxed);
            }
            MapAccess::ReadOnly => {
                // SAFETY: `offset` is below the length of this live, readable mapping, so `byte` is valid
                // for a read (std, `read_volatile`); any value will do, since none is used.
                let _ = unsafe { byte.read_volatile() };
            }
        }
    }
}
