//! Who takes part: [`Members`], [`MemberId`].

use std::fmt;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use shared_region::{Error, ErrorKind, Result};

use crate::mutex::slot_and_generation;
use crate::shared_layout;
use crate::sys::{self, AtomicU32, DEATH_ID, DEATH_MARK, DEATH_WAITERS, Deadline};

/// The most slots that a table can have, as a mutex keeps a slot's number in 10 bits.
pub(crate) const MOST: usize = 1023;

/// The layout of tables, and of all that names its members.
const VERSION: u32 = 1;

shared_layout! {
    /// The head of a table, for every number of slots the same.
    #[derive(Debug)]
    pub(crate) struct Head {
        version: AtomicU32,
        slots: AtomicU32,
        id: AtomicU32,
        reserved: AtomicU32,
    }
}

shared_layout! {
    /// A place for a member.
    #[derive(Debug)]
    pub(crate) struct Slot {
        pub(crate) word: AtomicU32,
        pub(crate) generation: AtomicU32,
        pub(crate) claim: AtomicU32,
        reserved: AtomicU32,
    }
}

shared_layout! {
    /// A table of `N` places for members, from 1 to 1023. All zeros is its initial state; 16 + 16 × `N` bytes.
    ///
    /// A program takes a place by [`Member::join`](crate::Member::join). Who lives is one load. Asking needs no membership.
    ///
    /// | bytes | field |
    /// |---|---|
    /// | 0 to 3 | the version of the layout: 1; 0 before the first member |
    /// | 4 to 7 | `N` |
    /// | 8 to 11 | a random number, the table's id |
    /// | 12 to 15 | 0 |
    /// | 16 × (slot + 1) | the member: bits 0 to 29 the keeper thread's id, in its own PID namespace; bit 30: the kernel marked its death (`FUTEX_OWNER_DIED`); bit 31: somebody sleeps until then (`FUTEX_WAITERS`) |
    /// | + 4 | the generation: how often the slot was taken, which wraps |
    /// | + 8 | the generation, too; another number while somebody takes or leaves the slot |
    /// | + 12 | 0 |
    #[derive(Debug)]
    pub struct Members<const N: usize> {
        head: Head,
        slots: [Slot; N],
    }
}

/// A member: a slot, and how many had it before. Whoever takes the slot later is somebody else.
///
/// The generation wraps after 2³² members in one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemberId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl MemberId {
    /// Packs it into an integer that is not 0, to be kept in an atomic of the region.
    pub fn to_bits(self) -> u64 {
        (u64::from(self.slot) + 1) << 32 | u64::from(self.generation)
    }

    /// Unpacks it; `None` where there is none, as in 0. Of a stranger's bits it makes a member that is not alive, at
    /// worst, or another one.
    pub fn from_bits(bits: u64) -> Option<Self> {
        let slot = ((bits >> 32) as u32).checked_sub(1)?;
        Some(Self { slot, generation: bits as u32 })
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {} of slot {}", self.generation, self.slot)
    }
}

/// Whether a word is that of somebody who lives.
pub(crate) fn lives(word: u32) -> bool {
    word & DEATH_ID != 0 && word & DEATH_MARK == 0
}

impl Head {
    /// Takes the table, or makes it; returns its id.
    pub(crate) fn agree(&self, slots: usize) -> Result<u32> {
        let agree = |word: &AtomicU32, want: u32| match word.compare_exchange(0, want, Relaxed, Relaxed) {
            Ok(_) => want,
            Err(have) => have,
        };
        let have = agree(&self.version, VERSION);
        if have != VERSION {
            return Err(
                Error::new(ErrorKind::LayoutMismatch { have, want: VERSION }).operation("join a table of members")
            );
        }
        let have = agree(&self.slots, slots as u32);
        if have as usize != slots {
            return Err(Error::new(ErrorKind::LayoutMismatch { have, want: slots as u32 })
                .operation("join a table of members")
                .reason(format!("it has {have} slots, and this program expects {slots}: declare the same number")));
        }
        Ok(agree(&self.id, random() | 1))
    }
}

/// A number that no other process guesses by accident.
pub(crate) fn random() -> u32 {
    use std::hash::{BuildHasher, RandomState};

    RandomState::new().hash_one(std::process::id()) as u32
}

impl<const N: usize> Members<N> {
    /// Returns whether the member lives: one load, or two.
    #[inline]
    pub fn alive(&self, member: MemberId) -> bool {
        self.slots.get(member.slot as usize).is_some_and(|slot| slot.houses(member.generation).is_some())
    }

    /// Iterates over those who live now.
    pub fn iter(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.slots.iter().enumerate().filter_map(|(at, slot)| {
            let alive = lives(slot.word.load(Acquire));
            alive.then(|| MemberId { slot: at as u32, generation: slot.generation.load(Relaxed) })
        })
    }

    /// Sleeps until the member is dead or has left, at once if it is.
    ///
    /// # Errors
    ///
    /// - [`Busy`](ErrorKind::Busy): it lived when the timeout had passed.
    ///
    /// # Platform-specific behavior
    ///
    /// - **Linux**: the kernel wakes one sleeper, and that one the others. If that one is killed in the act, the others
    ///   look after 50 ms.
    pub fn wait_for_death(&self, member: MemberId, timeout: Duration) -> Result<()> {
        let Some(slot) = self.slots.get(member.slot as usize) else { return Ok(()) };
        let deadline = Deadline::after(timeout);
        while let Some(word) = slot.houses(member.generation) {
            if deadline.has_passed() {
                return Err(Error::new(ErrorKind::Busy)
                    .operation("wait for the death of a member")
                    .reason(format!("it lived at the end of {timeout:?}: wait longer")));
            }
            let asked = word | DEATH_WAITERS;
            if word == asked || slot.word.compare_exchange(word, asked, Relaxed, Relaxed).is_ok() {
                sys::wait(&slot.word, asked, &deadline);
            }
        }
        sys::wake_all(&slot.word);
        Ok(())
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }
}

impl Slot {
    /// The word, while a member of this generation lives here.
    #[inline]
    fn houses(&self, generation: u32) -> Option<u32> {
        // Whoever takes the slot writes first the word and then the generation, and wakes who was misled in between.
        let word = self.word.load(Acquire);
        (lives(word) && self.generation.load(Relaxed) == generation).then_some(word)
    }
}

/// Whether the holder that a mutex names is a member: the word of its slot, and what it was.
pub(crate) fn life(slots: &[Slot], owner: u32) -> Option<(&AtomicU32, u32)> {
    let (at, generation) = slot_and_generation(owner);
    let slot = slots.get(at)?;
    let word = slot.word.load(Acquire);
    let same = slot.generation.load(Relaxed) & 0xF_FFFF == generation;
    (lives(word) && same).then_some((&slot.word, word))
}
