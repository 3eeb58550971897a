//! What the processes of a race share: some atomics at the start of a region.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use shared_region::{SharedLayout, SharedRegion, SharedRegionExt};

use crate::support::child::eventually;

/// A view of the first bytes of a region.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Race {
    over: AtomicU32,
    met: AtomicU32,
    counts: [AtomicU32; 14],
}

// SAFETY: atomic integers only, any bits are valid, and `repr(C)` fixes the layout.
unsafe impl SharedLayout for Race {}

impl Race {
    /// How many bytes of the region it takes.
    pub const SIZE: usize = size_of::<Self>();

    pub fn of(region: &(impl SharedRegion + ?Sized)) -> &Self {
        region.view(0).unwrap()
    }

    /// One of the counters.
    pub fn count(&self, index: usize) -> &AtomicU32 {
        &self.counts[index]
    }

    /// Acts again and again, until the race is over; steps aside after each act.
    pub fn run(&self, mut act: impl FnMut()) {
        let ended = eventually(|| {
            act();
            self.over.load(SeqCst) != 0
        });
        assert!(ended, "nobody ended the race");
    }

    /// Acts again and again, until the act says that it is enough, and ends the race for all.
    pub fn run_until(&self, act: impl FnMut() -> bool) {
        let _end = End(self);
        assert!(eventually(act), "the race took too long");
    }

    /// Waits until all `parties` have come here; to be called by all of them equally often.
    pub fn meet(&self, parties: u32) {
        let before = self.met.fetch_add(1, SeqCst);
        let goal = (before / parties + 1) * parties;
        assert!(eventually(|| self.met.load(SeqCst) >= goal), "somebody did not come");
    }
}

/// Ends the race, also when the check fails.
struct End<'a>(&'a Race);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.over.store(1, SeqCst);
    }
}
