//! Waiting until somebody says that something has changed: [`Event`].
//!
//! One word. Its upper 30 bits count the notifications. The lowest says that somebody may sleep on the present count,
//! the next that a wake is owed for a count before. A notifier sets the second before it wakes and clears it after, so
//! one that is killed in between leaves its debt to the next notifier, and a waiter that was killed costs the next
//! notifier one wake in vain and no more.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Duration;

use shared_region::{Error, ErrorKind, Result, SharedRegion, SharedRegionExt};

use crate::shared_layout;
use crate::sys::{self, AtomicU32, Deadline};

/// Somebody may sleep on the present count.
const WAITED: u32 = 1;
/// A wake is owed to whom a notification found asleep.
const OWED: u32 = 2;
/// One notification.
const ONE: u32 = 4;
/// How often an exchange is tried that only a stranger's writing makes fail again and again.
const TRIES: u32 = 1000;

shared_layout! {
    /// Wakes those who wait for a change. All zeros is its initial state; 4 bytes.
    ///
    /// What has changed stands elsewhere, in atomics or under a [`Mutex`](crate::Mutex). Whoever changes it calls
    /// [`notify_all`](Self::notify_all) after. Nobody has to be a member for that.
    ///
    /// | bytes | field |
    /// |---|---|
    /// | 0 to 3 | bit 0: somebody may sleep; bit 1: a wake is owed; bits 2 to 31: the count of notifications, which wraps |
    ///
    /// A waiter that is stopped for exactly 2³⁰ notifications takes them for none, until the next.
    ///
    /// A notifier that is killed after it has counted and before the kernel has woken leaves the sleepers to the next
    /// notifier, or to themselves: each of them looks at the word once in 50 ms.
    #[derive(Debug, Default)]
    pub struct Event {
        word: AtomicU32,
    }
}

impl Event {
    /// Notifies everybody who waits. Without a waiter this is one atomic operation and no system call.
    ///
    /// What was written before is seen by who is woken.
    #[inline]
    pub fn notify_all(&self) {
        let mut old = self.word.load(Relaxed);
        for _ in 0..TRIES {
            let owed = ((old & WAITED) * OWED) | (old & OWED);
            let new = (old & !(WAITED | OWED)).wrapping_add(ONE) | owed;
            match self.word.compare_exchange_weak(old, new, AcqRel, Relaxed) {
                Ok(_) if owed == 0 => return,
                Ok(_) => return self.wake(),
                Err(now) => old = now,
            }
        }
        // Somebody writes there without end. What the lower bits say is left, and everybody is woken.
        self.word.fetch_add(ONE, AcqRel);
        self.wake();
    }

    #[cold]
    fn wake(&self) {
        sys::wake_all(&self.word);
        self.word.fetch_and(!OWED, AcqRel);
    }

    /// Returns the count of notifications, which wraps at 2³⁰: to be taken before looking at what may have changed, and
    /// then given to [`wait`](Self::wait).
    #[inline]
    pub fn count(&self) -> u32 {
        self.word.load(Acquire) / ONE
    }

    /// Sleeps until the count is another than `seen`, at once if it is; returns the new count.
    ///
    /// # Errors
    ///
    /// - [`Busy`](ErrorKind::Busy): the timeout has passed.
    pub fn wait(&self, seen: u32, timeout: Duration) -> Result<u32> {
        let mut deadline = None;
        self.wait_until(seen, timeout, &mut deadline)
    }

    /// Sleeps as long as `waiting` says so. It is asked again after each notification; a condition is a better name for
    /// it than an action.
    ///
    /// # Errors
    ///
    /// - [`Busy`](ErrorKind::Busy): it still said so when the timeout had passed.
    pub fn wait_while(&self, timeout: Duration, mut waiting: impl FnMut() -> bool) -> Result<()> {
        let mut deadline = None;
        loop {
            let seen = self.count();
            if !waiting() {
                return Ok(());
            }
            match self.wait_until(seen, timeout, &mut deadline) {
                Ok(_) => {}
                Err(_) if !waiting() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn wait_until(&self, seen: u32, timeout: Duration, deadline: &mut Option<Deadline>) -> Result<u32> {
        loop {
            let word = self.word.load(Acquire);
            if word / ONE != seen {
                return Ok(word / ONE);
            }
            if timeout.is_zero() {
                return Err(late(timeout));
            }
            let deadline = deadline.get_or_insert_with(|| Deadline::after(timeout));
            if word & WAITED == 0 && self.word.compare_exchange(word, word | WAITED, AcqRel, Relaxed).is_err() {
                if deadline.has_passed() {
                    return Err(late(timeout));
                }
                continue;
            }
            if !sys::wait(&self.word, word | WAITED, deadline) && self.count() == seen {
                return Err(late(timeout));
            }
        }
    }

    /// Finds the event at `offset` of a region that may be read-only, to wait and never notify.
    ///
    /// # Errors
    ///
    /// - [`OutOfBounds`](ErrorKind::OutOfBounds), [`Misaligned`](ErrorKind::Misaligned).
    pub fn reader<R: SharedRegion + ?Sized>(region: &R, offset: usize) -> Result<EventReader<'_, R>> {
        region.load_u32(offset, Acquire)?;
        Ok(EventReader { region, offset })
    }
}

/// An [`Event`] in a region that is read-only, perhaps.
///
/// No notifier sees this waiter, as it cannot write. So it looks by itself: at first after 50 µs, then at growing
/// intervals, in the end each millisecond. That is the price: up to a millisecond late, and a thousand short wakes a
/// second.
#[derive(Debug)]
pub struct EventReader<'a, R: ?Sized> {
    region: &'a R,
    offset: usize,
}

impl<R: SharedRegion + ?Sized> EventReader<'_, R> {
    /// Does what [`Event::count`] does.
    ///
    /// # Errors
    ///
    /// None, as the place was checked before.
    pub fn count(&self) -> Result<u32> {
        Ok(self.region.load_u32(self.offset, Acquire)? / ONE)
    }

    /// Waits until the count is another than `seen`; returns the new count.
    ///
    /// # Errors
    ///
    /// - [`Busy`](ErrorKind::Busy): the timeout has passed.
    pub fn wait(&self, seen: u32, timeout: Duration) -> Result<u32> {
        let deadline = Deadline::after(timeout);
        let mut interval = Duration::from_micros(50);
        loop {
            let late = !deadline.sleep(interval);
            match self.count()? {
                count if count != seen => return Ok(count),
                _ if late => return Err(self::late(timeout)),
                _ => interval = (interval * 2).min(Duration::from_millis(1)),
            }
        }
    }
}

#[cold]
fn late(timeout: Duration) -> Error {
    Error::new(ErrorKind::Busy)
        .operation("wait for an event")
        .reason(format!("nobody has notified within {timeout:?}: wait longer, or look who is alive"))
}
