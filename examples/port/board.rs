//! The board of `sensors.c`, byte for byte, and what producers and consumers do with it. The three stages differ only in
//! how they come by a `&Board`.

use std::error::Error;
use std::io::{self, Write};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use shared_region::SharedLayout;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

const MAGIC: u32 = 0x5345_4e53;
const SLOTS: u64 = 64;
const PAUSE: Duration = Duration::from_micros(100);
/// How long a place is waited for that another process has.
const PATIENCE: Duration = Duration::from_secs(10);

/// C's `struct board`. What C declares `uint32_t` and casts to `volatile` is an atomic here.
#[repr(C)]
pub(crate) struct Board {
    magic: AtomicU32,
    pub(crate) consumer: AtomicU32,
    pub(crate) channels: [Channel; 4],
}

#[repr(C)]
pub(crate) struct Channel {
    pub(crate) producer: AtomicU32,
    unused: AtomicU32,
    pub(crate) written: AtomicU64,
    pub(crate) taken: AtomicU64,
    ring: [Reading; SLOTS as usize],
}

#[repr(C)]
struct Reading {
    number: AtomicU64,
    value: AtomicI64,
}

// What C's compiler makes of it.
const _: () = assert!(size_of::<Board>() == 4200 && size_of::<Channel>() == 1048 && align_of::<Board>() == 8);

// SAFETY: atomic integers only, any bits are valid, and `repr(C)` fixes the layout. (For stages 2 and 3.)
unsafe impl SharedLayout for Board {}

/// What a program is asked to do at the board.
pub(crate) enum Work {
    Produce { channel: usize, count: u64 },
    Consume { count: u64 },
}

impl Work {
    /// Understands the words that `sensors.c` does.
    pub(crate) fn parse(words: &[String]) -> Outcome<Self> {
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["produce", channel @ ("0" | "1" | "2" | "3"), count] => {
                Ok(Self::Produce { channel: channel.parse()?, count: count.parse()? })
            }
            ["consume", count] => Ok(Self::Consume { count: count.parse()? }),
            _ => Err("usage: WHERE produce CHANNEL(0..3) COUNT | consume COUNT | remove".into()),
        }
    }
}

impl Board {
    /// Makes sure that it is one. A new segment is all zeros, which is an empty board.
    pub(crate) fn enter(&self) -> Outcome<&Self> {
        match self.magic.compare_exchange(0, MAGIC, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) | Err(MAGIC) => Ok(self),
            Err(other) => Err(format!("that is a segment of another program (it begins with {other:#x})").into()),
        }
    }

    pub(crate) fn act(&self, work: Work) -> Outcome<()> {
        match work {
            Work::Produce { channel, count } => self.channels[channel].produce(count),
            Work::Consume { count } => self.consume(count),
        }
    }

    fn consume(&self, count: u64) -> Outcome<()> {
        let _place = Claim::new(&self.consumer, "the consumer's place")?;
        let mut output = io::stdout().lock();
        let mut seen = 0;
        while seen < count {
            let before = seen;
            for (index, channel) in self.channels.iter().enumerate() {
                let mut printed = Ok(());
                let print = |number, value| {
                    printed = writeln!(output, "{index} {number} {value}");
                    printed.is_ok()
                };
                seen += u64::from(seen < count && channel.take(print));
                printed?; // what could not be printed has not been taken
            }
            if seen == before {
                thread::sleep(PAUSE);
            }
        }
        Ok(())
    }
}

impl Channel {
    fn produce(&self, count: u64) -> Outcome<()> {
        let _place = Claim::new(&self.producer, "the channel")?;
        let first = self.written.load(Ordering::Relaxed);
        for number in first..first + count {
            while !self.put(number, measure(number)) {
                thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// Writes a reading, unless the ring is full. For the channel's producer.
    pub(crate) fn put(&self, number: u64, value: i64) -> bool {
        let written = self.written.load(Ordering::Relaxed);
        if written.wrapping_sub(self.taken.load(Ordering::Acquire)) == SLOTS {
            return false;
        }
        let slot = &self.ring[(written % SLOTS) as usize];
        slot.number.store(number, Ordering::Relaxed);
        slot.value.store(value, Ordering::Relaxed);
        self.written.store(written + 1, Ordering::Release);
        true
    }

    /// Takes a reading, unless there is none or `accept` does not want it yet. For the board's consumer.
    pub(crate) fn take(&self, accept: impl FnOnce(u64, i64) -> bool) -> bool {
        let taken = self.taken.load(Ordering::Relaxed);
        if taken == self.written.load(Ordering::Acquire) {
            return false;
        }
        let slot = &self.ring[(taken % SLOTS) as usize];
        let accepted = accept(slot.number.load(Ordering::Relaxed), slot.value.load(Ordering::Relaxed));
        if accepted {
            self.taken.store(taken + 1, Ordering::Release);
        }
        accepted
    }
}

fn measure(number: u64) -> i64 {
    (number * 7919 % 2000) as i64 - 1000
}

/// A place that one process has, by its pid; given up when dropped.
pub(crate) struct Claim<'a>(&'a AtomicU32);

impl<'a> Claim<'a> {
    /// Waits until the place is free, or whoever has it is dead.
    pub(crate) fn new(place: &'a AtomicU32, what: &str) -> Outcome<Self> {
        let start = Instant::now();
        loop {
            if let Some(claim) = Self::attempt(place) {
                return Ok(claim);
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("{what} is taken by process {}", place.load(Ordering::Relaxed)).into());
            }
            thread::sleep(PAUSE);
        }
    }

    pub(crate) fn attempt(place: &'a AtomicU32) -> Option<Self> {
        let holder = place.load(Ordering::Relaxed);
        if holder != 0 && !is_dead(holder) {
            return None;
        }
        place.compare_exchange(holder, std::process::id(), Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(Self(place))
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

/// Whether no process has this pid. Another one may have it by now: then the place stays taken.
fn is_dead(pid: u32) -> bool {
    i32::try_from(pid).is_ok_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH))
}
