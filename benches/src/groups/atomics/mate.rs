//! Somebody else who adds to the same atomic at the same time: a thread, or a process.

use std::hint::spin_loop;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use shared_region::{SharedLayout, SharedRegion, SharedRegionExt};

use crate::isolation::pin;

/// What both see. The counter has a cache line of its own, and its neighbour too, which processors fetch with it.
#[repr(C)]
pub(super) struct Board {
    counter: AtomicU64,
    _apart: [AtomicU64; 31],
    /// How much each adds this time.
    share: AtomicU64,
    /// How often the mate was ready, how often both were let go, and how often the mate was done.
    ready: AtomicU64,
    go: AtomicU64,
    done: AtomicU64,
}

// SAFETY: atomic integers only, any bits are valid, and `repr(C)` fixes the layout.
unsafe impl SharedLayout for Board {}

/// The board of two threads.
static STATIC: Board = Board {
    counter: AtomicU64::new(0),
    _apart: [const { AtomicU64::new(0) }; 31],
    share: AtomicU64::new(0),
    ready: AtomicU64::new(0),
    go: AtomicU64::new(0),
    done: AtomicU64::new(0),
};

/// A thread that shares a static with this one, or a process that shares a region with it.
pub(super) struct Mate {
    region: Option<Box<dyn SharedRegion>>,
    /// A byte sent calls it to a round; it sleeps in between. Closing ends it.
    line: UnixStream,
    process: Option<Pid>,
}

impl Mate {
    /// Starts a thread on a processor.
    pub(super) fn thread(processor: usize) -> Result<Self> {
        let (line, theirs) = UnixStream::pair()?;
        thread::spawn(move || pin(processor).is_ok().then(|| serve(&STATIC, theirs)));
        Ok(Self { region: None, line, process: None })
    }

    /// Forks a process onto a processor. Call it while this one has no second thread.
    pub(super) fn process(region: impl SharedRegion + 'static, processor: usize) -> Result<Self> {
        let (line, theirs) = UnixStream::pair()?;
        // SAFETY: fork(2): this process has one thread, so the new one may do what it likes.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self { region: Some(Box::new(region)), line, process: Some(child) }),
            ForkResult::Child => {
                let ready = set_pdeathsig(Signal::SIGKILL).is_ok() && pin(processor).is_ok();
                let board = region.view(0).ok().filter(|_| ready);
                if let Some(board) = board {
                    serve(board, theirs);
                }
                // SAFETY: _exit(2) runs nothing more of this program, whose other destructors are its parent's.
                unsafe { libc::_exit(0) }
            }
        }
    }

    fn board(&self) -> Result<&Board> {
        Ok(match &self.region {
            Some(region) => region.view(0)?,
            None => &STATIC,
        })
    }

    /// Has both add `share` at the same time, and says how long that took.
    pub(super) fn add_together(&self, share: u64) -> Result<Duration> {
        let board = self.board()?;
        let before = board.counter.load(Relaxed);
        let round = board.done.load(Relaxed) + 1;
        board.share.store(share, Relaxed);
        (&self.line).write_all(&[1])?;
        await_round(&board.ready, round)?;
        let start = Instant::now();
        board.go.store(round, Release);
        board.add(share);
        await_round(&board.done, round)?;
        let took = start.elapsed();
        ensure!(board.counter.load(Relaxed) == before + 2 * share, "an addition was lost");
        Ok(took)
    }
}

impl Board {
    fn add(&self, share: u64) {
        for _ in 0..share {
            self.counter.fetch_add(1, Relaxed);
        }
    }
}

/// Adds whenever it is called, until nobody can call any more.
fn serve(board: &Board, mut line: UnixStream) {
    while line.read_exact(&mut [0]).is_ok() {
        let round = board.ready.fetch_add(1, Release) + 1;
        if await_round(&board.go, round).is_err() {
            return;
        }
        board.add(board.share.load(Relaxed));
        board.done.store(round, Release);
    }
}

/// Spins until a count is reached, but not for ever, should the other one have died.
fn await_round(count: &AtomicU64, round: u64) -> Result<()> {
    let mut patience = None;
    while count.load(Acquire) < round {
        for _ in 0..100 {
            spin_loop();
        }
        ensure!(patience.get_or_insert_with(Instant::now).elapsed() < Duration::from_secs(20), "the mate stands still");
    }
    Ok(())
}

impl Drop for Mate {
    fn drop(&mut self) {
        // A thread ends once its line is closed.
        if let Some(process) = self.process {
            let _ = kill(process, Signal::SIGKILL);
            let _ = waitpid(process, None);
        }
    }
}
