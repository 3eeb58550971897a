//! Mutual exclusion by one word: [`Mutex`].
//!
//! The word names its holder by slot and generation, so that a dead one is told from the one who took its slot. Whoever
//! cannot have the lock sleeps on two words at once: this one, and the one in the holder's slot, where the kernel writes
//! when the holder dies. An unlock wakes all: each that fails again then sleeps on the life of the new holder, and a
//! woken one that is killed takes no wake along.

use std::hint;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use shared_region::{Error, ErrorKind, Result};

use crate::shared_layout;
use crate::sys::{self, AtomicU32, Deadline, SPINS};

/// Somebody may sleep on the word.
const WAITERS: u32 = 1 << 31;
/// A holder died inside, and nobody has said since that all is repaired.
const DIRTY: u32 = 1 << 30;
/// The holder: its slot and one in bits 20 to 29, its generation in the lower 20. 0 is nobody.
const OWNER: u32 = DIRTY - 1;
/// How often an exchange is tried that only a stranger's writing makes fail again and again.
const TRIES: u32 = 1000;

shared_layout! {
    /// Excludes others, and tells the next holder if one dies inside. All zeros is its initial state; 16 bytes.
    ///
    /// It is locked by [`Member::lock`](crate::Member::lock), and belongs to the table of whoever locked it first. What it
    /// guards is what the program agrees on.
    ///
    /// | bytes | field |
    /// |---|---|
    /// | 0 to 3 | bits 0 to 19: the holder's generation; bits 20 to 29: its slot and one, 0 if free; bit 30: a holder died and nobody repaired; bit 31: somebody may sleep |
    /// | 4 to 7 | the id of the table, 0 before the first lock |
    /// | 8 to 11 | a random number of the holder's thread, by which it knows itself |
    /// | 12 to 15 | 0 |
    ///
    /// Of the generation, 20 bits are kept: if the slot of a dead holder is taken 1,048,576 times, while nobody takes the
    /// lock, then the last who took the slot counts as the holder.
    #[derive(Debug, Default)]
    pub struct Mutex {
        word: AtomicU32,
        table: AtomicU32,
        thread: AtomicU32,
        reserved: AtomicU32,
    }
}

/// Who lives.
pub(crate) trait Holders {
    /// The word that the kernel marks at the death of `owner`, and what it was; `None` if it is dead.
    fn life(&self, owner: u32) -> Option<(&AtomicU32, u32)>;
}

/// Makes a name for a holder.
pub(crate) fn owner(slot: usize, generation: u32) -> u32 {
    (slot as u32 + 1) << 20 | generation & 0xF_FFFF
}

/// Reads a holder's name: its slot, and the part of the generation that is kept.
pub(crate) fn slot_and_generation(owner: u32) -> (usize, u32) {
    (((owner & OWNER) >> 20).wrapping_sub(1) as usize, owner & 0xF_FFFF)
}

impl Mutex {
    /// Checks that it is of the table, or makes it so if nobody has used it yet.
    #[inline]
    pub(crate) fn belongs_to(&self, table: u32) -> bool {
        match self.table.load(Relaxed) {
            0 => self.table.compare_exchange(0, table, Relaxed, Relaxed).map_or_else(|first| first == table, |_| true),
            first => first == table,
        }
    }

    /// Takes the lock; returns whether what it guards may be half-written.
    #[inline]
    pub(crate) fn acquire(&self, me: u32, thread: u32, holders: &impl Holders, timeout: Duration) -> Result<bool> {
        let dirty = match self.word.compare_exchange(0, me, Acquire, Relaxed) {
            Ok(_) => false,
            Err(_) => self.contend(me, thread, holders, timeout)?,
        };
        self.thread.store(thread, Relaxed);
        Ok(dirty)
    }

    #[cold]
    fn contend(&self, me: u32, thread: u32, holders: &impl Holders, timeout: Duration) -> Result<bool> {
        let mut deadline = None;
        let mut spins = if timeout.is_zero() { 0 } else { SPINS };
        for round in 1_u32.. {
            // Only where somebody writes there without end are there so many rounds without sleep.
            if round % TRIES == 0 {
                let passed = deadline.get_or_insert_with(|| Deadline::after(timeout)).has_passed();
                if passed {
                    break;
                }
            }
            let word = self.word.load(Relaxed);
            let owner = word & OWNER;
            if owner == 0 {
                if self.replace(word, me | word & (DIRTY | WAITERS)) {
                    return Ok(word & DIRTY != 0);
                }
                continue;
            }
            let life = if owner == me { None } else { holders.life(owner) };
            if owner == me {
                // Whoever holds it by this member, it is the same thread only if that has written its number there: it is
                // cleared before each unlock.
                if self.thread.load(Relaxed) == thread {
                    return Err(Error::new(ErrorKind::Deadlock).operation("lock a mutex"));
                }
            } else if life.is_none() {
                if self.replace(word, me | DIRTY | word & WAITERS) {
                    // Its other threads may still run for a moment after the kernel's mark.
                    sys::barrier();
                    return Ok(true);
                }
                continue;
            }
            if timeout.is_zero() {
                return Err(late(timeout));
            }
            if spins > 0 && word & WAITERS == 0 {
                spins -= 1;
                hint::spin_loop();
                continue;
            }
            if word & WAITERS == 0 && !self.replace(word, word | WAITERS) {
                continue;
            }
            let deadline = deadline.get_or_insert_with(|| Deadline::after(timeout));
            let here = (&self.word, word | WAITERS);
            let in_time = match life {
                None => sys::wait(here.0, here.1, deadline),
                Some((life, was)) => {
                    let asked = was | sys::DEATH_WAITERS;
                    if was != asked && life.compare_exchange(was, asked, Relaxed, Relaxed).is_err() {
                        continue;
                    }
                    let in_time = sys::wait_for_either(here, (life, asked), deadline);
                    if holders.life(owner).is_none() {
                        // The kernel wakes one: it tells the others.
                        sys::wake_all(life);
                    }
                    in_time
                }
            };
            if !in_time {
                // The last look takes what has come free meanwhile.
                return self.contend(me, thread, holders, Duration::ZERO).map_err(|_| late(timeout));
            }
        }
        Err(late(timeout))
    }

    fn replace(&self, old: u32, new: u32) -> bool {
        self.word.compare_exchange(old, new, Acquire, Relaxed).is_ok()
    }

    /// Gives the lock back if `me` holds it. `was_dirty` is what taking it returned.
    #[inline]
    pub(crate) fn release(&self, me: u32, was_dirty: bool, repaired: bool) {
        let left = if was_dirty && !repaired { DIRTY } else { 0 };
        let mut held = me | if was_dirty { DIRTY } else { 0 };
        // If somebody has scribbled, this may be another's, who then waits where it would be told of a deadlock.
        self.thread.store(0, Relaxed);
        for _ in 0..TRIES {
            match self.word.compare_exchange(held, left, Release, Relaxed) {
                Ok(_) => break,
                // Somebody has scribbled over it.
                Err(now) if now & OWNER != me => return,
                Err(now) => held = now,
            }
        }
        if held & WAITERS != 0 {
            sys::wake_all(&self.word);
        }
    }
}

#[cold]
fn late(timeout: Duration) -> Error {
    let error = Error::new(ErrorKind::Busy).operation("lock a mutex");
    if timeout.is_zero() {
        return error.reason("another holds it: try again, or wait");
    }
    error.reason(format!("a living holder kept it for {timeout:?}: wait longer"))
}
