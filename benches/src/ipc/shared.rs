//! Shared memory: the ring over each backend, and two bare words as the least that a round trip can cost.

use std::hint;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::process;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use shared_region::{Backend, CreateOptions, OpenOptions, RegionId, Removal, SharedRegion};

use super::channel::{Channel, Message, ReceivingEnd, SendingEnd};
use super::ring::{Receiver, Sender, Shape, Waiting};

/// How long a side that spins waits for the other one.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many messages of `size` bytes a queue in shared memory holds: what stays in a core's caches, and some at least.
pub(crate) fn depth(size: usize) -> usize {
    const BYTES: usize = 1 << 20;
    (BYTES / size).next_power_of_two().clamp(4, 1024)
}

/// Asks again and again, at most for [`PATIENCE`].
#[inline]
pub(crate) fn poll<T>(mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    if let Some(found) = look()? {
        return Ok(found);
    }
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        for _ in 0..100 {
            hint::spin_loop();
            if let Some(found) = look()? {
                return Ok(found);
            }
        }
    }
    bail!("the other process stands still")
}

/// A ring in a region, which each process opens by its identity.
pub(crate) struct Ring<B: Backend, W> {
    region: B::Region,
    id: RegionId,
    shape: Shape,
    marker: PhantomData<(B, W)>,
}

/// A way to wait, as a type.
pub(crate) trait Wait {
    const WAITING: Waiting;
}

pub(crate) struct Spinning;

impl Wait for Spinning {
    const WAITING: Waiting = Waiting::Spin;
}

pub(crate) struct Sleeping;

impl Wait for Sleeping {
    const WAITING: Waiting = Waiting::Futex;
}

impl<B: Backend + Default, W: Wait> Channel for Ring<B, W> {
    type Sender = Sender<B::Region>;
    type Receiver = Receiver<B::Region>;

    fn new(size: usize) -> Result<Self> {
        let shape = Shape { message: size, slots: depth(size), waiting: W::WAITING, patience: PATIENCE };
        // Until `unlink`; then there is nothing to remove any more.
        let options = CreateOptions::new(shape.region_size()).removal(Removal::OnDrop);
        let region = B::default().create_unique(&format!("ring-{}-", process::id()), &options)?;
        let id = region.id().context("a unique region has an identity")?;
        Ok(Self { region, id, shape, marker: PhantomData })
    }

    fn sender(self) -> Result<Self::Sender> {
        Ok(Sender::new(B::default().open_id(&self.id, &OpenOptions::new())?, self.shape)?)
    }

    fn receiver(self) -> Result<Self::Receiver> {
        Ok(Receiver::new(B::default().open_id(&self.id, &OpenOptions::new())?, self.shape)?)
    }

    fn unlink(&self) -> Result<()> {
        Ok(self.region.remove()?)
    }
}

impl<R: SharedRegion> SendingEnd for Sender<R> {
    fn send(&mut self, message: &mut Message) -> Result<()> {
        Ok(Sender::send(self, message.bytes())?)
    }
}

impl<R: SharedRegion> ReceivingEnd for Receiver<R> {
    fn receive<'a>(&'a mut self, message: &'a mut Message) -> Result<&'a [u8]> {
        let len = Receiver::receive(self, message.bytes_mut())?;
        Ok(&message.bytes()[..len])
    }
}

/// The hand-written ping-pong: one word in each direction, mapped and waited for by hand. It carries messages of 8 bytes,
/// no two alike, each answered before the next.
///
/// Where in the machine a cache line lives decides up to a quarter of the time that it takes to move between two cores.
/// So the word moves on to another line now and then, and what is measured is the mean over a page of them, as it is for
/// whoever uses more than one line.
pub(crate) struct Words(&'static [Line; LINES]);

/// How many messages in a row use the same word.
const STAY: usize = 64;
const LINES: usize = 64;

#[repr(align(64))]
pub(crate) struct Line(AtomicU64);

impl Channel for Words {
    type Sender = WordEnd;
    type Receiver = WordEnd;

    fn new(size: usize) -> Result<Self> {
        ensure!(size == size_of::<u64>(), "it carries one word");
        let length = NonZeroUsize::new(size_of::<[Line; LINES]>()).context("not zero")?;
        // SAFETY: mmap(2) without MAP_FIXED replaces nothing.
        let page =
            unsafe { mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED) };
        // SAFETY: a page of zeros, as long and aligned as the lines, readable, writable, never unmapped; all processes
        // access it atomically.
        Ok(Self(unsafe { page?.cast().as_ref() }))
    }

    fn sender(self) -> Result<WordEnd> {
        Ok(WordEnd { lines: self.0, last: [0; LINES], count: 0 })
    }

    fn receiver(self) -> Result<WordEnd> {
        self.sender()
    }
}

pub(crate) struct WordEnd {
    lines: &'static [Line; LINES],
    /// What the receiver has seen in each line.
    last: [u64; LINES],
    count: usize,
}

impl WordEnd {
    fn next_line(&mut self) -> usize {
        self.count += 1;
        self.count / STAY % LINES
    }
}

impl SendingEnd for WordEnd {
    fn send(&mut self, message: &mut Message) -> Result<()> {
        let word = message.bytes().first_chunk().context("it carries one word")?;
        let line = self.next_line();
        self.lines[line].0.store(u64::from_ne_bytes(*word), Release);
        Ok(())
    }
}

impl ReceivingEnd for WordEnd {
    fn receive<'a>(&'a mut self, message: &'a mut Message) -> Result<&'a [u8]> {
        let line = self.next_line();
        let (word, last) = (&self.lines[line].0, self.last[line]);
        let found = poll(|| {
            let found = word.load(Acquire);
            Ok((found != last).then_some(found))
        })?;
        self.last[line] = found;
        message.bytes_mut().copy_from_slice(&found.to_ne_bytes());
        Ok(message.bytes())
    }
}
