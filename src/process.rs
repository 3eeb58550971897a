//! Which process this is, told apart from those that were forked off it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use nix::libc;

/// How many forks lie between this process and the one that first asked.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// Whether forks are counted.
static COUNTING: AtomicBool = AtomicBool::new(false);

extern "C" fn forked() {
    FORKS.fetch_add(1, Relaxed);
}

/// A process. Its number alone does not do: a child in a PID namespace of its own can have its parent's, and a
/// grandchild can get it once the parent has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    id: u32,
    forks: u64,
}

impl Process {
    /// The process that asks.
    pub(crate) fn current() -> Self {
        // Two threads may both come here, and forks then count twice. A `Once` would leave a child stuck that was forked
        // in the middle of it.
        if !COUNTING.load(Relaxed) {
            // SAFETY: the function is there as long as the program, and may run in a forked child, where it adds to an
            // atomic and no more. pthread_atfork(3). If it is refused, the number remains.
            unsafe { libc::pthread_atfork(None, None, Some(forked)) };
            COUNTING.store(true, Relaxed);
        }
        Self { id: std::process::id(), forks: FORKS.load(Relaxed) }
    }

    /// Whether it is the process that asks.
    pub(crate) fn is_current(self) -> bool {
        self == Self { id: std::process::id(), forks: FORKS.load(Relaxed) }
    }
}
