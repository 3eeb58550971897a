//! Which process this is, told apart from those that were forked off it.
//!
//! Processes are numbered by generation: a child's is higher than those of all its ancestors at the time of its birth. So
//! what a child inherited bears another number than its own, and that is all that is asked. Siblings can have the same
//! number, and never inherit anything from each other.
//!
//! A child with memory of its own finds a zero where its parent keeps the number, by `MADV_WIPEONFORK`, however it was
//! made: also by a raw `clone`, of which the C library knows nothing. A child that shares its parent's memory (`vfork`,
//! `clone(CLONE_VM)`) counts as the same process, as it works on its parent's very handles.
//!
//! Nothing here takes a lock: a child that was forked in the middle of it would be stuck.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use nix::libc;

/// How many generations have been given out, here and among the ancestors.
static GENERATIONS: AtomicU64 = AtomicU64::new(0);

/// Takes a number that no ancestor has.
fn next_generation() -> u64 {
    GENERATIONS.fetch_add(1, Relaxed) + 1
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    generation: u64,
    /// Beside a generation of which children by `fork` alone hear.
    id: u32,
}

impl Process {
    /// The process that asks.
    pub(crate) fn current() -> Self {
        match wiped::generation() {
            Some(generation) => Self { generation, id: 0 },
            None => counted(),
        }
    }

    /// Whether it is the process that asks.
    pub(crate) fn is_current(self) -> bool {
        self == Self::current()
    }
}

/// Where no page is wiped: counts the calls of `fork`, which the C library tells. The number of the process alone does
/// not do: a child in a PID namespace of its own can have its parent's, and a grandchild can get it once the parent has
/// ended.
fn counted() -> Process {
    static COUNTING: AtomicBool = AtomicBool::new(false);

    extern "C" fn forked() {
        next_generation();
    }

    // Two threads may both come here, and forks then count twice.
    if !COUNTING.load(Relaxed) {
        // SAFETY: the function is there as long as the program, and may run in a forked child, where it adds to an
        // atomic and no more. pthread_atfork(3). If it is refused, the number of the process remains.
        unsafe { libc::pthread_atfork(None, None, Some(forked)) };
        COUNTING.store(true, Relaxed);
    }
    Process { generation: GENERATIONS.load(Relaxed), id: std::process::id() }
}

cfg_if::cfg_if! {
    if #[cfg(target_os = "linux")] {
        mod wiped {
            use std::num::NonZero;
            use std::ptr::{self, NonNull};
            use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
            use std::sync::atomic::{AtomicPtr, AtomicU64};

            use nix::libc;
            use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

            use super::next_generation;

            /// The word that holds the number: null before anybody asked, `REFUSED` where the system wipes no page.
            static WORD: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

            /// Stands for a word that cannot be had. It is never written to.
            static REFUSED: AtomicU64 = AtomicU64::new(0);

            const PAGE: NonZero<usize> = NonZero::new(4096).unwrap();

            /// The number of this process.
            pub(super) fn generation() -> Option<u64> {
                let mut word = WORD.load(Acquire);
                if word.is_null() {
                    word = set_up();
                }
                if ptr::eq(word, &raw const REFUSED) {
                    return None;
                }
                // SAFETY: a word that is neither null nor `REFUSED` is the start of a page of zeros of this module's own,
                // which is never unmapped, and to which nobody writes but through this atomic.
                let word = unsafe { &*word };
                match word.load(Relaxed) {
                    0 => {
                        let new = next_generation();
                        // Of two threads that see the zero, both go on with the number of the first.
                        Some(word.compare_exchange(0, new, AcqRel, Acquire).map_or_else(|first| first, |_| new))
                    }
                    known => Some(known),
                }
            }

            /// Makes the word. Of threads that do so at once the first wins; a child that is forked meanwhile finds what
            /// the winner has made, or makes its own.
            fn set_up() -> *mut AtomicU64 {
                let page = wiped_page();
                let new = page.map_or((&raw const REFUSED).cast_mut(), |page| page.cast::<AtomicU64>().as_ptr());
                match WORD.compare_exchange(ptr::null_mut(), new, AcqRel, Acquire) {
                    Ok(_) => new,
                    Err(first) => {
                        if let Some(page) = page {
                            unmap(page);
                        }
                        first
                    }
                }
            }

            /// A page of zeros that a child finds as zeros again.
            fn wiped_page() -> Option<NonNull<libc::c_void>> {
                let (access, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
                // SAFETY: mmap(2) puts a new mapping where nothing else is, as no address is asked for.
                let page = unsafe { mmap_anonymous(None, PAGE, access, flags) }.ok()?;
                // Some emulators of user mode say yes to every advice: then also to one that does not exist.
                if advise(page, libc::MADV_WIPEONFORK) && !advise(page, -1) {
                    return Some(page);
                }
                unmap(page);
                None
            }

            fn advise(page: NonNull<libc::c_void>, advice: i32) -> bool {
                // SAFETY: the page is this module's own and holds nothing yet, so that no advice can harm; madvise(2).
                unsafe { libc::madvise(page.as_ptr(), PAGE.get(), advice) == 0 }
            }

            fn unmap(page: NonNull<libc::c_void>) {
                // SAFETY: `wiped_page` has made the page, and nobody else has heard of it; munmap(2).
                let _ = unsafe { munmap(page, PAGE.get()) };
            }
        }
    } else {
        mod wiped {
            /// There is no such page here.
            pub(super) fn generation() -> Option<u64> {
                None
            }
        }
    }
}
