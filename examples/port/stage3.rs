//! Stage 3: another backend, and the way there while everything runs.
//!
//! ```console
//! $ cargo run --example port3 -- posix:/sensors create | bridge PATH
//! $ cargo run --example port3 -- posix:/sensors produce CHANNEL COUNT | consume COUNT | remove
//! ```
//!
//! The board is created by one program and waited for by the others, empty by `create`, or by `bridge`.
//!
//! The bridge takes the consumer's place on the old board, that of the C program, and passes each reading on to the new
//! one. Old producers go on meanwhile. When one leaves, the bridge takes its channel for good, drains it, and gives it
//! away on the new board, where a new producer goes on with the next number. It ends when all channels have moved, and
//! may be killed and started again before. The old board stays, with all places taken, so that an old program that is
//! started by mistake is refused and does not make an empty board; remove it when none can be.

use std::env;
use std::mem;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use shared_region::{CreateOptions, ErrorKind, OpenOptions, RegionId, SharedRegion, SharedRegionExt, SysvRegion};

mod board;

use board::{Board, Channel, Claim, Outcome, Work};

/// In place of a pid: a channel of the new board that has not moved yet, or one of the old board that has. No process can
/// take such a place, not even from a bridge that was killed.
const BARRED: u32 = u32::MAX;

const BOARD: CreateOptions = CreateOptions::new(size_of::<Board>());
const OPEN: OpenOptions = OpenOptions::new().min_size(size_of::<Board>());

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("port3: {error}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let (id, words) = arguments.split_first().ok_or("name a region: posix:/sensors")?;
    let id: RegionId = id.parse()?;
    match words {
        [word] if word == "remove" => Ok(id.remove()?),
        [word] if word == "create" => {
            let region = id.create(&BOARD)?;
            region.view::<Board>(0)?.enter().map(drop)
        }
        [word, path] if word == "bridge" => bridge(&id, path),
        _ => {
            let work = Work::parse(words)?;
            let region = id.open(&OPEN.timeout(Duration::from_secs(10)))?;
            region.view::<Board>(0)?.enter()?.act(work)
        }
    }
}

fn bridge(id: &RegionId, path: &str) -> Outcome<()> {
    let key = SysvRegion::ftok(path, 'S' as i32)?;
    let old_region = SysvRegion::from_key(key, &OPEN)?;
    let old = old_region.view::<Board>(0)?.enter()?;
    let consumer = Claim::new(&old.consumer, "the old board")?;

    let new_region = continuation(id, old)?;
    let new = new_region.view::<Board>(0)?.enter()?;
    let mut passages = Vec::new();
    for (from, to) in old.channels.iter().zip(&new.channels) {
        if from.producer.load(Ordering::Acquire) == BARRED {
            // It has moved; the bridge may have been killed before it said so.
            let _ = to.producer.compare_exchange(BARRED, 0, Ordering::Release, Ordering::Relaxed);
        } else {
            passages.push(Passage::new(from, to)?);
        }
    }
    while !passages.is_empty() {
        let moved: usize = passages.iter().map(Passage::pass).sum();
        passages.retain_mut(|passage| !passage.is_over());
        if moved == 0 {
            thread::sleep(Duration::from_micros(100));
        }
    }
    bar(consumer, &old.consumer);
    Ok(())
}

/// The new board: made, before anybody can see it, to go on where the old one is now; or as a killed bridge left it.
fn continuation(id: &RegionId, old: &Board) -> Outcome<Box<dyn SharedRegion>> {
    let created = id.create_with(&BOARD, |region| {
        for (new, old) in region.view::<Board>(0)?.channels.iter().zip(&old.channels) {
            let taken = old.taken.load(Ordering::Relaxed);
            new.written.store(taken, Ordering::Relaxed);
            new.taken.store(taken, Ordering::Relaxed);
            new.producer.store(BARRED, Ordering::Relaxed);
        }
        Ok::<(), shared_region::Error>(())
    });
    match created {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(id.open(&OPEN)?),
        created => Ok(created?),
    }
}

/// Makes sure that nobody takes a place again.
fn bar(claim: Claim<'_>, place: &AtomicU32) {
    mem::forget(claim);
    place.store(BARRED, Ordering::Release);
}

/// A channel on its way from one board to the other.
struct Passage<'a> {
    from: &'a Channel,
    to: &'a Channel,
    /// The old producer's place, once that has left.
    last: Option<Claim<'a>>,
}

impl<'a> Passage<'a> {
    fn new(from: &'a Channel, to: &'a Channel) -> Outcome<Self> {
        // A reading is put there before it is taken here.
        let continues = to.written.load(Ordering::Relaxed) >= from.taken.load(Ordering::Relaxed);
        if to.producer.load(Ordering::Relaxed) != BARRED || !continues {
            return Err("the new board does not continue the old one: remove it first".into());
        }
        Ok(Self { from, to, last: None })
    }

    /// Passes on what is there and has room; returns how many readings that were.
    fn pass(&self) -> usize {
        let pass = |number, value| {
            // Before a bridge was killed it may have put a reading there and not taken it here.
            let there = number < self.to.written.load(Ordering::Relaxed);
            there || self.to.put(number, value)
        };
        std::iter::repeat_with(|| self.from.take(pass)).take_while(|&taken| taken).count()
    }

    /// Ends the passage if the old producer has left and everything has moved.
    fn is_over(&mut self) -> bool {
        self.last = self.last.take().or_else(|| Claim::attempt(&self.from.producer));
        // Looked at after the producer has left, as it may write until then.
        if self.last.is_none() || self.from.taken.load(Ordering::Relaxed) < self.from.written.load(Ordering::Acquire) {
            return false;
        }
        if let Some(claim) = self.last.take() {
            bar(claim, &self.from.producer);
        }
        self.to.producer.store(0, Ordering::Release);
        true
    }
}
