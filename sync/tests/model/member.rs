//! Members of the model: a slot each, whose word says that they live.

use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use loom::sync::Arc;
use shared_region::Result;

use crate::mutex::{Holders, Mutex, owner, slot_and_generation};
use crate::sys::{self, AtomicU32, DEATH_MARK};

pub(crate) struct Member {
    slot: usize,
    lives: Arc<[AtomicU32; 3]>,
}

pub(crate) struct Guard<'a>(&'a Member, &'a Mutex, bool, bool);

impl Member {
    pub(crate) fn new(slot: usize) -> Self {
        Self { slot, lives: sys::LIVES.with(Arc::clone) }
    }

    pub(crate) fn lock<'a>(&'a self, mutex: &'a Mutex, timeout: Duration) -> Result<Guard<'a>> {
        assert!(mutex.belongs_to(1));
        let dirty = mutex.acquire(owner(self.slot, 0), self.slot as u32 + 1, self, timeout)?;
        Ok(Guard(self, mutex, dirty, false))
    }

    /// What the kernel does.
    pub(crate) fn die(&self) {
        self.lives[self.slot].fetch_or(DEATH_MARK, Release);
        sys::wake_all(&self.lives[self.slot]);
    }
}

impl Holders for Member {
    fn life(&self, owner: u32) -> Option<(&AtomicU32, u32)> {
        let life = &self.lives[slot_and_generation(owner).0];
        let word = life.load(Acquire);
        (word & DEATH_MARK == 0).then_some((life, word))
    }
}

impl Guard<'_> {
    pub(crate) fn recovered(&self) -> bool {
        self.2
    }

    pub(crate) fn repaired(&mut self) {
        self.3 = true;
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.1.release(owner(self.0.slot, 0), self.2, self.3);
    }
}
