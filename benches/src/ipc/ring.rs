//! A queue of messages in a shared region, from one sender to one receiver, usually in another process.
//!
//! The region holds [`Control`], then slots of equal size that are used in turn. A slot is a header of 8 bytes and room
//! for one message, without gaps. The header tells the message's number and length, and is stored last: it is the flag
//! that the receiver waits for, in the same cache line as the message's first bytes, so that a short message costs one
//! transfer of a line between the cores. The receiver counts the messages that it has taken in a line of its own, a quarter
//! of the ring at a time, and the sender looks there only when all slots seem to be full: so that line hardly ever moves.
//! Each byte of a message is copied into the region once and out of it once.
//!
//! # Order
//!
//! - The header is stored with `Release`, after the message; the receiver loads it with `Acquire` before it copies the
//!   message. So it copies what was sent, whole.
//! - The count is stored with `Release`, after the copy; the sender loads it with `Acquire` before it uses a slot again.
//!   So no message is overwritten before it has been copied.
//! - Both copies are calls that the compiler cannot move across these accesses, since it does not know what they do.
//!
//! A peer is trusted to be alive no more than to be right: every wait ends after the patience that was granted, and a
//! length that a slot cannot hold is an error.

#[cfg(test)]
mod tests;

use std::hint;
use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::thread::futex;
use shared_region::{SharedLayout, SharedRegion, SharedRegionExt};

/// How one side waits for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// By looking again and again: quickest, and keeps a core busy.
    Spin,
    /// Asleep in the kernel, until the other side rings.
    Futex,
}

/// What both sides have to agree on, beside the region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// The longest message, in bytes.
    pub(crate) message: usize,
    /// How many messages the ring holds: a power of two.
    pub(crate) slots: usize,
    pub(crate) waiting: Waiting,
    /// How long a side waits for the other before it gives up.
    pub(crate) patience: Duration,
}

/// A value in a pair of cache lines of its own: processors of today fetch lines in pairs.
#[repr(C, align(128))]
struct Apart<T>(T);

#[repr(C)]
struct Control {
    /// How many messages the receiver has taken, or up to a quarter of the ring fewer. Written by it alone.
    taken: Apart<AtomicU64>,
    /// 1 as long as the receiver sleeps, or is about to.
    receiver_sleeps: Apart<AtomicU32>,
    /// 1 as long as the sender sleeps, or is about to.
    sender_sleeps: Apart<AtomicU32>,
}

// SAFETY: atomic integers and padding that nobody reads; any bits are valid; `repr(C)` fixes the layout.
unsafe impl SharedLayout for Control {}

const HEADER: usize = size_of::<AtomicU64>();

impl Shape {
    /// Returns the size in bytes of the region that such a ring needs.
    pub(crate) fn region_size(&self) -> usize {
        size_of::<Control>() + self.slots * self.stride()
    }

    fn stride(&self) -> usize {
        (HEADER + self.message).next_multiple_of(HEADER)
    }
}

/// The common part of both sides: where things are.
#[derive(Debug)]
struct Side<R> {
    region: R,
    shape: Shape,
    stride: usize,
    /// How many messages this side is through with.
    count: u64,
}

impl<R: SharedRegion> Side<R> {
    fn new(region: R, shape: Shape) -> io::Result<Self> {
        if !shape.slots.is_power_of_two() || region.len() < shape.region_size() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the region is too small for such a ring"));
        }
        Ok(Self { region, shape, stride: shape.stride(), count: 0 })
    }

    fn control(&self) -> io::Result<&Control> {
        Ok(self.region.view(0)?)
    }

    /// Returns where the slot of the next message starts.
    fn slot(&self) -> usize {
        size_of::<Control>() + (self.count as usize & (self.shape.slots - 1)) * self.stride
    }

    /// Returns what the upper half of the header of the next message is. It differs from what zeroed memory and the
    /// messages before in the same slot hold, until 2³² messages later.
    fn mark(&self) -> u32 {
        (self.count as u32).wrapping_add(1)
    }

    /// Waits until `look` finds something.
    #[inline]
    fn wait<T>(&self, bell: &AtomicU32, look: impl Fn() -> Option<T>) -> io::Result<T> {
        match look() {
            Some(found) => Ok(found),
            None => self.wait_longer(bell, look),
        }
    }

    fn wait_longer<T>(&self, bell: &AtomicU32, look: impl Fn() -> Option<T>) -> io::Result<T> {
        let start = Instant::now();
        loop {
            let Some(left) = self.shape.patience.checked_sub(start.elapsed()) else {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the other side of the ring stands still"));
            };
            let found = match self.shape.waiting {
                Waiting::Spin => spin(&look),
                Waiting::Futex => sleep(bell, &look, left)?,
            };
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }

    /// Wakes the other side if it sleeps; called after what it waits for has been stored.
    #[inline]
    fn ring(&self, bell: &AtomicU32) -> io::Result<()> {
        if self.shape.waiting == Waiting::Spin {
            return Ok(());
        }
        fence(SeqCst); // see `sleep`
        if bell.load(Relaxed) == 1 {
            bell.store(0, Relaxed);
            futex::wake(bell, futex::Flags::empty(), 1)?;
        }
        Ok(())
    }
}

/// Looks a hundred times, so that the clock is read now and then only.
fn spin<T>(look: impl Fn() -> Option<T>) -> Option<T> {
    (0..100).find_map(|_| {
        hint::spin_loop();
        look()
    })
}

/// Sleeps until the bell is rung, or less long; returns what `look` found just before, if anything.
///
/// No ring is lost. The one who sleeps sets the bell, then looks; the other stores, then reads the bell; and a `SeqCst`
/// fence stands between the two steps on either side. So at least one of them sees the other: either `look` finds what was
/// stored, or the bell is seen, cleared and the futex woken. If the bell is cleared before the kernel compares it, the
/// futex does not put us to sleep (EAGAIN); if afterwards, the call that wakes comes after that.
fn sleep<T>(bell: &AtomicU32, look: impl Fn() -> Option<T>, longest: Duration) -> io::Result<Option<T>> {
    bell.store(1, Relaxed);
    fence(SeqCst);
    if let Some(found) = look() {
        bell.store(0, Relaxed);
        return Ok(Some(found));
    }
    let timeout = longest.try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    // Not `PRIVATE`: the other side is another process, with the word at another address.
    match futex::wait(bell, futex::Flags::empty(), 1, Some(&timeout)) {
        Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The side that sends.
#[derive(Debug)]
pub(crate) struct Sender<R> {
    side: Side<R>,
    /// How many messages the receiver had taken when the sender last looked.
    taken: u64,
}

impl<R: SharedRegion> Sender<R> {
    /// Makes the sending side of a ring in `region`, which is zeroed and has no sender yet.
    pub(crate) fn new(region: R, shape: Shape) -> io::Result<Self> {
        Ok(Self { side: Side::new(region, shape)?, taken: 0 })
    }

    /// Sends one message; waits while the ring is full.
    pub(crate) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let side = &self.side;
        if message.len() > side.shape.message {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too long for a slot"));
        }
        let control = side.control()?;
        let slots = side.shape.slots as u64;
        if side.count - self.taken == slots {
            self.taken = side.wait(&control.sender_sleeps.0, || {
                let taken = control.taken.0.load(Acquire);
                (side.count.wrapping_sub(taken) < slots).then_some(taken)
            })?;
        }
        let slot = side.slot();
        side.region.write_at(slot + HEADER, message)?;
        let header = u64::from(side.mark()) << 32 | message.len() as u64;
        side.region.atomic_u64(slot)?.store(header, Release);
        side.ring(&control.receiver_sleeps.0)?;
        self.side.count += 1;
        Ok(())
    }
}

/// The side that receives.
#[derive(Debug)]
pub(crate) struct Receiver<R>(Side<R>);

impl<R: SharedRegion> Receiver<R> {
    /// Makes the receiving side of a ring in `region`, which has no receiver yet, and of which nothing was received.
    pub(crate) fn new(region: R, shape: Shape) -> io::Result<Self> {
        Side::new(region, shape).map(Self)
    }

    /// Receives one message into the start of `into`, and returns its length; waits while the ring is empty.
    pub(crate) fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let side = &self.0;
        let control = side.control()?;
        let slot = side.slot();
        let header = side.region.atomic_u64(slot)?;
        let len = side.wait(&control.receiver_sleeps.0, || {
            let header = header.load(Acquire);
            ((header >> 32) as u32 == side.mark()).then_some(header as u32 as usize)
        })?;
        if len > side.shape.message || len > into.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is longer than the room for it"));
        }
        side.region.read_at(slot + HEADER, &mut into[..len])?;
        let taken = side.count + 1;
        if taken.is_multiple_of((side.shape.slots as u64 / 4).max(1)) {
            control.taken.0.store(taken, Release);
            side.ring(&control.sender_sleeps.0)?;
        }
        self.0.count = taken;
        Ok(len)
    }
}
