//! Mapped bytes below the level of safe calls: copying while others write, and asking the system for pages.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicUsize, Ordering::Relaxed};

use nix::errno::Errno;
use nix::sys::mman;

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{LOCKED_MEMORY, exceeds_locked_memory};

mod parts;

use parts::by_threads;
pub(crate) use parts::threads_for;

type Move = unsafe extern "C" fn(*mut u8, *const u8, usize) -> *mut u8;
type Set = unsafe extern "C" fn(*mut u8, i32, usize) -> *mut u8;

unsafe extern "C" {
    #[link_name = "memmove"]
    fn libc_memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
    #[link_name = "memset"]
    fn libc_memset(to: *mut u8, byte: i32, len: usize) -> *mut u8;
}

/// The C library's functions, behind pointers that are loaded anew for every call: the compiler cannot know what is
/// called, so it cannot replace the call by plain loads and stores, split it, or reason about data races in it.
static MEMMOVE: Move = libc_memmove;
static MEMSET: Set = libc_memset;

/// The longest access that is one machine word, and so one atomic access on every target.
const WORD: usize = size_of::<usize>();

/// Copies out of shared memory, while others may write there.
///
/// # Safety
///
/// - `shared` is readable for `len` bytes of memory that no `&mut` covers and no plain write of this program touches.
/// - `to` is writable for `len` bytes of the caller's own, which do not overlap the former.
#[inline]
pub(crate) unsafe fn load(shared: *const u8, to: *mut u8, len: usize) {
    macro_rules! word {
        ($atomic:ty, $plain:ty) => {{
            // SAFETY: the caller grants `len` readable bytes, and the check below alignment. Nothing but this relaxed
            // load of at most one word is done through the reference, which the documentation of `std::sync::atomic`
            // allows on read-only memory too.
            let shared = unsafe { &*shared.cast::<$atomic>() };
            // SAFETY: the caller grants `len` writable bytes; `write_unaligned` asks for no alignment.
            unsafe { to.cast::<$plain>().write_unaligned(shared.load(Relaxed)) }
        }};
    }
    if len > WORD || !len.is_power_of_two() || shared.addr() & (len - 1) != 0 {
        // SAFETY: a static of this file, valid and initialised; volatile so that its value stays unknown.
        let memmove = unsafe { (&raw const MEMMOVE).read_volatile() };
        // SAFETY: memmove(3) asks for `len` bytes readable and writable, which the caller grants.
        unsafe { memmove(to, shared, len) };
        return;
    }
    match len {
        1 => word!(AtomicU8, u8),
        2 => word!(AtomicU16, u16),
        4 => word!(AtomicU32, u32),
        _ => word!(AtomicUsize, usize),
    }
}

/// Copies into shared memory, while others may read and write there.
///
/// # Safety
///
/// - `shared` is writable for `len` bytes of memory that no reference but to atomics covers.
/// - `from` is readable for `len` bytes of the caller's own, which do not overlap the former.
#[inline]
pub(crate) unsafe fn store(shared: *mut u8, from: *const u8, len: usize) {
    macro_rules! word {
        ($atomic:ty, $plain:ty) => {{
            // SAFETY: the caller grants `len` readable bytes; `read_unaligned` asks for no alignment.
            let value = unsafe { from.cast::<$plain>().read_unaligned() };
            // SAFETY: the caller grants `len` writable bytes, and the check below alignment; every access to them is
            // atomic or foreign.
            let shared = unsafe { <$atomic>::from_ptr(shared.cast()) };
            shared.store(value, Relaxed);
        }};
    }
    if len > WORD || !len.is_power_of_two() || shared.addr() & (len - 1) != 0 {
        // SAFETY: a static of this file, valid and initialised; volatile so that its value stays unknown.
        let memmove = unsafe { (&raw const MEMMOVE).read_volatile() };
        // SAFETY: memmove(3) asks for `len` bytes readable and writable, which the caller grants.
        unsafe { memmove(shared, from, len) };
        return;
    }
    match len {
        1 => word!(AtomicU8, u8),
        2 => word!(AtomicU16, u16),
        4 => word!(AtomicU32, u32),
        _ => word!(AtomicUsize, usize),
    }
}

/// Sets bytes of shared memory, while others may read and write there.
///
/// # Safety
///
/// `shared` is writable for `len` bytes of memory that no reference but to atomics covers.
pub(crate) unsafe fn fill(shared: *mut u8, byte: u8, len: usize) {
    // SAFETY: a static of this file, valid and initialised; volatile so that its value stays unknown.
    let memset = unsafe { (&raw const MEMSET).read_volatile() };
    // SAFETY: memset(3) asks for `len` writable bytes, which the caller grants.
    unsafe { memset(shared, i32::from(byte), len) };
}

/// Keeps the pages of a mapping in memory. What cannot be brought in is `NoSpace`, and nothing of it is kept then.
pub(crate) fn lock(start: *const u8, len: usize) -> Result<()> {
    // SAFETY: mlock(2) changes where pages may live, never what they hold; a range that is not mapped is ENOMEM.
    retry(|| unsafe { mman::mlock(start_of(start), len) }).map_err(|errno| match errno {
        // mlock(2): without any allowance.
        Errno::EPERM => LOCKED_MEMORY.exceeded(errno),
        // mlock(2): past the allowance, or a page cannot be had: in the store, or (EAGAIN) in memory.
        Errno::ENOMEM | Errno::EAGAIN => {
            if exceeds_locked_memory(start.addr(), len) {
                return LOCKED_MEMORY.exceeded(errno);
            }
            // The kernel has marked the mapping before it looked for pages.
            let _ = unlock(start, len);
            Error::new(ErrorKind::NoSpace)
                .reason(format!("not all of {len} bytes could be had: the memory or its store is full; free some"))
                .errno(errno as i32)
        }
        _ => Error::from_io(&errno.into()),
    })
}

/// Lets the pages of a mapping go again.
pub(crate) fn unlock(start: *const u8, len: usize) -> Result<()> {
    // SAFETY: as for `lock`.
    retry(|| unsafe { mman::munlock(start_of(start), len) }).map_err(|errno| Error::from_io(&errno.into()))
}

fn start_of(start: *const u8) -> NonNull<std::ffi::c_void> {
    NonNull::new(start.cast_mut().cast()).unwrap_or(NonNull::dangling())
}

/// Repeats a call that a signal interrupted.
pub(crate) fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Maps in every page of a mapping that may be written, by so many threads; 0 for as many as pay.
///
/// # Safety
///
/// `start` is writable for `len` bytes of memory that no reference but to atomics covers.
pub(crate) unsafe fn prefault(start: *mut u8, len: usize, threads: usize) -> Result<()> {
    by_threads(start_of(start), len, threads_for(len, threads), populate).or_else(|errno| {
        if errno != Errno::EINVAL {
            // madvise(2): EFAULT where a store would be SIGBUS, as the file system has no page left.
            let errno = if errno == Errno::EFAULT { Errno::ENOSPC } else { errno };
            return Err(Error::from_io(&errno.into()));
        }
        // A kernel without the advice: touch each page, without changing what a peer may have written.
        reach(start, len).map_err(|errno| Error::from_io(&errno.into()))?;
        for offset in (0..len).step_by(4096) {
            // SAFETY: `offset` is below `len`, so the sum stays inside what the caller grants.
            let byte = unsafe { start.add(offset) };
            // SAFETY: one writable byte, which is always aligned; every access to it is atomic or foreign.
            let byte = unsafe { AtomicU8::from_ptr(byte) };
            // Opaque, as LLVM turns a known `| 0` into a load, which maps no page for writing.
            byte.fetch_or(std::hint::black_box(0), Relaxed);
        }
        Ok(())
    })
}

/// Maps in every page of a mapping that may be read alone, as [`prefault`] does.
///
/// # Safety
///
/// `start` is readable for `len` bytes.
pub(crate) unsafe fn prefault_to_read(start: *const u8, len: usize, threads: usize) -> Result<()> {
    by_threads(start_of(start), len, threads_for(len, threads), populate_to_read).or_else(|errno| {
        if errno != Errno::EINVAL {
            // As for `prefault`.
            let errno = if errno == Errno::EFAULT { Errno::ENOSPC } else { errno };
            return Err(Error::from_io(&errno.into()));
        }
        reach(start, len).map_err(|errno| Error::from_io(&errno.into()))?;
        for offset in (0..len).step_by(4096) {
            // SAFETY: `offset` is below `len`, so the sum stays inside what the caller grants.
            let byte = unsafe { start.add(offset) };
            // SAFETY: one readable byte, which is always aligned; any value will do, as none is used. Volatile, so that the
            // load is made.
            let _ = unsafe { byte.read_volatile() };
        }
        Ok(())
    })
}

/// Keeps the bytes of a mapping out of core dumps.
pub(crate) fn keep_out_of_core_dumps(start: *const u8, len: usize) -> io::Result<()> {
    Ok(advise_no_dump(start_of(start), len)?)
}

/// Asks for transparent huge pages; without them all goes on as before.
pub(crate) fn try_huge_pages(start: *const u8, len: usize) {
    // Its EINVAL means a kernel without them, or pages that are huge already.
    let _ = advise_huge(start_of(start), len);
}

/// Maps in what can be mapped in of a mapping that may be written; a page that cannot be had is no error here.
#[cfg(feature = "posix")]
pub(crate) fn try_prefault(start: *const u8, len: usize, threads: usize) {
    let _ = by_threads(start_of(start), len, threads_for(len, threads), populate);
}

cfg_if::cfg_if! {
    if #[cfg(target_os = "linux")] {
        use nix::libc;

        fn advise_huge(start: NonNull<std::ffi::c_void>, len: usize) -> nix::Result<()> {
            // SAFETY: madvise(2): MADV_HUGEPAGE changes which pages hold the bytes, and none of the bytes.
            retry(|| unsafe { mman::madvise(start, len, mman::MmapAdvise::MADV_HUGEPAGE) })
        }

        /// Maps in every page by one call, which reports a full store as an error and not as a signal.
        fn populate(start: NonNull<std::ffi::c_void>, len: usize) -> nix::Result<()> {
            // SAFETY: madvise(2): MADV_POPULATE_WRITE touches pages as a store would, and changes no byte.
            retry(|| unsafe { mman::madvise(start, len, mman::MmapAdvise::MADV_POPULATE_WRITE) })
        }

        fn populate_to_read(start: NonNull<std::ffi::c_void>, len: usize) -> nix::Result<()> {
            // SAFETY: madvise(2): MADV_POPULATE_READ touches pages as a load would, and changes no byte.
            retry(|| unsafe { mman::madvise(start, len, mman::MmapAdvise::MADV_POPULATE_READ) })
        }

        fn advise_no_dump(start: NonNull<std::ffi::c_void>, len: usize) -> nix::Result<()> {
            // SAFETY: madvise(2): MADV_DONTDUMP changes what is written about a process that dies, and none of the bytes.
            retry(|| unsafe { mman::madvise(start, len, mman::MmapAdvise::MADV_DONTDUMP) })
        }

        /// Has the kernel read of each page, which tells of one that cannot be had by ENOSPC and not by SIGBUS.
        fn reach(start: *const u8, len: usize) -> nix::Result<()> {
            let mut byte = 0_u8;
            let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
            let this = std::process::id() as libc::pid_t;
            for offset in (0..len).step_by(4096) {
                let there = libc::iovec { iov_base: start.wrapping_add(offset).cast_mut().cast(), iov_len: 1 };
                // SAFETY: process_vm_readv(2) writes one byte, to `byte`, which lives; it only reads of what `there` names,
                // and answers EFAULT where it cannot.
                let read = unsafe { libc::process_vm_readv(this, &raw const here, 1, &raw const there, 1, 0) };
                match Errno::result(read) {
                    Err(Errno::EFAULT) => return Err(Errno::ENOSPC),
                    // A sandbox forbids it.
                    Err(_) => return Ok(()),
                    Ok(_) => {}
                }
            }
            Ok(())
        }
    } else {
        fn advise_huge(_: NonNull<std::ffi::c_void>, _: usize) -> nix::Result<()> {
            Err(Errno::EINVAL)
        }

        cfg_if::cfg_if! {
            if #[cfg(target_os = "freebsd")] {
                fn advise_no_dump(start: NonNull<std::ffi::c_void>, len: usize) -> nix::Result<()> {
                    // SAFETY: madvise(2): MADV_NOCORE changes what is written about a process that dies, and none of the
                    // bytes.
                    retry(|| unsafe { mman::madvise(start, len, mman::MmapAdvise::MADV_NOCORE) })
                }
            } else {
                fn advise_no_dump(_: NonNull<std::ffi::c_void>, _: usize) -> nix::Result<()> {
                    Ok(())
                }
            }
        }

        /// No call tells without touching.
        fn reach(_: *const u8, _: usize) -> nix::Result<()> {
            Ok(())
        }

        /// There is no such call here.
        fn populate_to_read(_: NonNull<std::ffi::c_void>, _: usize) -> nix::Result<()> {
            Err(Errno::EINVAL)
        }

        /// There is no such call here.
        fn populate(_: NonNull<std::ffi::c_void>, _: usize) -> nix::Result<()> {
            Err(Errno::EINVAL)
        }
    }
}
