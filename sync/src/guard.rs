//! What holds a lock: [`Guard`].

use std::marker::PhantomData;

use crate::member::Member;
use crate::mutex::Mutex;

/// A locked [`Mutex`]. Dropping it unlocks.
///
/// It stays with the thread that locked. A guard that is forgotten (`mem::forget`) holds the lock until the member leaves
/// or dies; the next holder then sees [`recovered`](Self::recovered). Dropping one in a forked child, after the region
/// was removed, or when a peer has scribbled over the lock, is fine: it releases what this member holds, or nothing.
#[must_use = "dropping it unlocks"]
#[derive(Debug)]
pub struct Guard<'a> {
    member: &'a Member,
    mutex: &'a Mutex,
    dirty: bool,
    repaired: bool,
    _of_this_thread: PhantomData<*const ()>,
}

impl<'a> Guard<'a> {
    pub(crate) fn new(member: &'a Member, mutex: &'a Mutex, dirty: bool) -> Self {
        Self { member, mutex, dirty, repaired: false, _of_this_thread: PhantomData }
    }

    /// Returns whether a holder died inside, and what the lock guards may be half-written. It stays so, for the next
    /// holders too, until one of them says [`repaired`](Self::repaired) and unlocks.
    #[inline]
    pub fn recovered(&self) -> bool {
        self.dirty && !self.repaired
    }

    /// Says that what the lock guards is whole again. It counts with the unlock: whoever dies before leaves it to repair.
    pub fn repaired(&mut self) {
        self.repaired = true;
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.member.is_mine() {
            self.mutex.release(self.member.owner(), self.dirty, self.repaired);
        }
    }
}
