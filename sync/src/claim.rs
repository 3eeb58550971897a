//! Taking a slot and leaving it, by the keeper: the thread whose end the kernel marks.
//!
//! The kernel looks at the word that the thread's list leads to, and compares it with the thread's id. So the list is
//! pointed first and the word written after, and whoever is killed in between has taken nothing. But ids are those of a
//! PID namespace: a keeper whose list leads to a slot that a namesake from another namespace has just taken would, if it
//! were killed then, be taken for that one. So nobody points at a slot without having claimed it, and a slot is not free
//! for others before the list has left it. A keeper that is killed between leaves a claim behind. Such slots are taken
//! when no other is left, and nobody has moved there for a while.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::thread;
use std::time::Duration;

use shared_region::{Error, ErrorKind, Result};

use crate::members::{Slot, lives};
use crate::sys::{self, DEATH_ID, DEATH_WAITERS, Watch};

/// For how long a claim stands still before it counts as left behind.
const STALE: Duration = Duration::from_millis(100);

/// Takes a free slot; returns its number and the generation.
pub(crate) fn take<'words>(slots: &'words [Slot], watch: &Watch<'_, 'words>) -> Result<(usize, u32)> {
    let free = |_: usize, slot: &Slot| slot.claim.load(Acquire) == slot.generation.load(Acquire);
    if let Some(taken) = take_where(slots, watch, free) {
        return Ok(taken);
    }
    let state = |slot: &Slot| (slot.claim.load(Acquire), slot.generation.load(Acquire), slot.word.load(Acquire));
    let before: Vec<_> = slots.iter().map(state).collect();
    if !before.iter().all(|&(.., word)| lives(word)) {
        thread::sleep(STALE);
        if let Some(taken) = take_where(slots, watch, |at, slot| state(slot) == before[at]) {
            return Ok(taken);
        }
    }
    Err(Error::new(ErrorKind::LimitExceeded { limit: "the table's slots", value: slots.len() as u64 })
        .operation("join a table of members")
        .reason(format!("all {} slots are taken by processes that live: declare more, or wait", slots.len())))
}

fn take_where<'words>(
    slots: &'words [Slot],
    watch: &Watch<'_, 'words>,
    free: impl Fn(usize, &Slot) -> bool,
) -> Option<(usize, u32)> {
    let id = sys::own_id();
    for (at, slot) in slots.iter().enumerate() {
        if lives(slot.word.load(Acquire)) || !free(at, slot) {
            continue;
        }
        let (claim, generation) = (slot.claim.load(Acquire), slot.generation.load(Acquire));
        let mine = generation.wrapping_add(1 + u32::from(claim == generation.wrapping_add(1)));
        if slot.claim.compare_exchange(claim, mine, AcqRel, Relaxed).is_err() {
            continue;
        }
        watch.point(&slot.word);
        let take = |word| (!lives(word)).then_some(id | word & DEATH_WAITERS);
        let Ok(before) = slot.word.fetch_update(AcqRel, Acquire, take) else {
            watch.unpoint();
            continue;
        };
        // From here on the slot is this thread's, and its death is marked.
        let generation = slot.generation.load(Relaxed).wrapping_add(1);
        slot.generation.store(generation, Release);
        slot.claim.store(generation, Release);
        if before & DEATH_WAITERS != 0 {
            // Who took the word for that of the former member.
            sys::wake_all(&slot.word);
        }
        return Some((at, generation));
    }
    None
}

/// Leaves the slot, if it is this thread's still.
pub(crate) fn leave(slot: &Slot, generation: u32, watch: &Watch<'_, '_>) {
    let id = sys::own_id();
    let mine = |word: u32| (word & DEATH_ID == id).then_some(0);
    slot.claim.store(generation.wrapping_add(1), Release);
    let left = slot.word.fetch_update(AcqRel, Relaxed, mine);
    watch.unpoint();
    if left.is_ok() {
        slot.claim.store(generation, Release);
        sys::wake_all(&slot.word);
    }
}
