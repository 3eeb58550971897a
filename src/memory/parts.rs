//! One call on much memory, made part by part by several threads.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering::Relaxed};
use std::thread::{Builder, available_parallelism, scope};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};

/// What a thread takes at a time: whole huge pages, and worth a thread (some 30 µs) many times over.
const PART: usize = 16 << 20;

/// How many threads share the work on `len` bytes: as many as are wanted or, for 0, as may run here at once (by affinity and
/// control group), but each has a part at least.
pub(crate) fn threads_for(len: usize, wanted: usize) -> usize {
    let parts = len / PART;
    if parts < 2 || wanted == 1 {
        return 1;
    }
    let most = if wanted == 0 { available_parallelism().map_or(1, usize::from) } else { wanted };
    most.min(parts)
}

/// Calls for each part of the `len` bytes at `start`, this thread too. The first error ends it; no thread is left.
pub(super) fn by_threads(
    start: NonNull<c_void>,
    len: usize,
    threads: usize,
    call: impl Fn(NonNull<c_void>, usize) -> nix::Result<()> + Sync,
) -> nix::Result<()> {
    if threads < 2 {
        return call(start, len);
    }
    let (start, next, failed) = (AtomicPtr::new(start.as_ptr()), AtomicUsize::new(0), AtomicI32::new(0));
    let work = || {
        loop {
            let offset = next.fetch_add(PART, Relaxed);
            if offset >= len || failed.load(Relaxed) != 0 {
                break;
            }
            let part = NonNull::new(start.load(Relaxed).wrapping_byte_add(offset));
            if let Some(Err(errno)) = part.map(|part| call(part, PART.min(len - offset))) {
                let _ = failed.compare_exchange(0, errno as i32, Relaxed, Relaxed);
            }
        }
    };
    scope(|scope| {
        // Signals are the program's: a thread is started with all of them blocked, as it inherits the mask.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
        let spawn = || Builder::new().name("prefault".into()).spawn_scoped(scope, work);
        // Where a limit or a sandbox lets there be no more, those that are there do it.
        let helpers: Vec<_> = (1..threads).map_while(|_| spawn().ok()).collect();
        if let Ok(mask) = mask {
            let _ = mask.thread_set_mask();
        }
        work();
        // The scope's end waits for their work alone.
        for helper in helpers {
            let _ = helper.join();
        }
    });
    match failed.into_inner() {
        0 => Ok(()),
        errno => Err(Errno::from_raw(errno)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::thread::{ThreadId, current};

    use super::*;

    const LEN: usize = 5 * PART + 4096;

    #[test]
    fn every_byte_is_in_one_part_and_no_part_is_larger() {
        let parts = Mutex::new(BTreeMap::<usize, usize>::new());
        let start = NonNull::new(std::ptr::without_provenance_mut(1 << 30)).unwrap();
        by_threads(start, LEN, 3, |part, len| {
            assert!(parts.lock().unwrap().insert(part.addr().get(), len).is_none() && len <= PART);
            Ok(())
        })
        .unwrap();
        let mut at = 1 << 30;
        for (&part, &len) in &*parts.lock().unwrap() {
            assert_eq!(part, at);
            at += len;
        }
        assert_eq!(at, (1 << 30) + LEN);
    }

    #[test]
    fn the_first_error_is_told_and_ends_the_work() {
        let calls = AtomicUsize::new(0);
        let failed = by_threads(NonNull::dangling(), 100 * PART, 2, |_, _| {
            calls.fetch_add(1, Relaxed);
            Err(Errno::EFAULT)
        });
        assert_eq!(failed, Err(Errno::EFAULT));
        assert!(calls.into_inner() <= 2);
    }

    #[test]
    fn helpers_have_all_signals_blocked_and_the_caller_what_it_had() {
        let (me, before) = (current().id(), SigSet::thread_get_mask().unwrap());
        let masks = Mutex::new(Vec::<(ThreadId, SigSet)>::new());
        // Both have to be there.
        let barrier = std::sync::Barrier::new(2);
        by_threads(NonNull::dangling(), 2 * PART, 2, |_, _| {
            barrier.wait();
            masks.lock().unwrap().push((current().id(), SigSet::thread_get_mask().unwrap()));
            Ok(())
        })
        .unwrap();
        for (thread, mask) in masks.into_inner().unwrap() {
            assert_eq!(mask == before, thread == me);
            assert!(thread == me || mask.contains(nix::sys::signal::SIGINT));
        }
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }

    #[test]
    fn small_memory_and_who_wants_one_have_one_thread() {
        assert_eq!(threads_for(2 * PART - 1, 0), 1);
        assert_eq!(threads_for(1 << 30, 1), 1);
        assert_eq!(threads_for(3 * PART, 8), 3);
        assert_eq!(threads_for(100 * PART, 8), 8);
        assert!(threads_for(1 << 30, 0) >= 1);
    }
}
