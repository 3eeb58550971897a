//! Atomics and the system of the model. Sleepers are one crowd, whatever word they sleep on, so each wake is for all.

use std::marker::PhantomData;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use loom::sync::{Arc, Condvar, Mutex};

pub(crate) use loom::sync::atomic::{AtomicU32, fence};

pub(crate) const DEATH_MARK: u32 = 0x4000_0000;
pub(crate) const DEATH_WAITERS: u32 = 0x8000_0000;
pub(crate) const SPINS: u32 = 0;

loom::lazy_static! {
    static ref CROWD: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
    static ref LIVING: Arc<[AtomicU32; 3]> = Arc::new([AtomicU32::new(1), AtomicU32::new(1), AtomicU32::new(1)]);
}

/// The words of all members' slots.
pub(crate) struct Lives;

pub(crate) const LIVES: Lives = Lives;

impl Lives {
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Arc<[AtomicU32; 3]>) -> T) -> T {
        look(&LIVING)
    }
}

/// None comes.
pub(crate) struct Deadline;

impl Deadline {
    pub(crate) fn after(_: Duration) -> Self {
        Self
    }

    pub(crate) fn has_passed(&self) -> bool {
        false
    }

    pub(crate) fn sleep(&self, _: Duration) -> bool {
        true
    }
}

pub(crate) fn wait(word: &AtomicU32, value: u32, _: &Deadline) -> bool {
    let crowd = CROWD.0.lock().unwrap();
    if word.load(SeqCst) == value {
        drop(CROWD.1.wait(crowd).unwrap());
    }
    true
}

pub(crate) fn wait_for_either(one: (&AtomicU32, u32), other: (&AtomicU32, u32), _: &Deadline) -> bool {
    let crowd = CROWD.0.lock().unwrap();
    if one.0.load(SeqCst) == one.1 && other.0.load(SeqCst) == other.1 {
        drop(CROWD.1.wait(crowd).unwrap());
    }
    true
}

pub(crate) fn wake_all(_: &AtomicU32) {
    drop(CROWD.0.lock().unwrap());
    CROWD.1.notify_all();
}

pub(crate) fn barrier() {}

/// What the crate asks of zerocopy, for the one type of the model: a pair of words.
pub(crate) trait Value: Clone {
    fn new_zeroed() -> Self;
    fn as_mut_bytes(&mut self) -> &mut [u8];
    fn from_pair(pair: Pair) -> Self;
    fn pair(&self) -> Pair;
}

pub(crate) type Pair = [u32; 2];

impl Value for Pair {
    fn new_zeroed() -> Self {
        [0; 2]
    }

    fn as_mut_bytes(&mut self) -> &mut [u8] {
        unreachable!("the model has no regions")
    }

    fn from_pair(pair: Pair) -> Self {
        pair
    }

    fn pair(&self) -> Pair {
        *self
    }
}

pub(crate) struct Shared<T>([AtomicU32; 2], PhantomData<T>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self([AtomicU32::new(0), AtomicU32::new(0)], PhantomData)
    }
}

impl<T: Value> Shared<T> {
    pub(crate) fn load(&self) -> T {
        T::from_pair([self.0[0].load(Relaxed), self.0[1].load(Relaxed)])
    }

    pub(crate) fn store(&self, value: &T) {
        let pair = value.pair();
        self.0[0].store(pair[0], Relaxed);
        self.0[1].store(pair[1], Relaxed);
    }
}
