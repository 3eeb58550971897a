//! A process of its own that starts the two that talk, passes orders on to them, and clears up after them.
//!
//! The report starts one for each carrier and comparison (see [`super::pair`]). It has no threads, so it may fork, and it
//! sleeps while the two work.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::meter::{Meter, Tally, system_calls};
use super::worker::{Account, Answer, Answers, Asks, Line, Order, Receives, Sends, hear, said, told, work};
use crate::isolation::pin;

/// How long the two may take for one order.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the two do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Traffic {
    /// A message there and one back.
    RoundTrip,
    /// One message after the other, in one direction.
    OneWay,
}

/// The processors that the two are pinned to.
pub(crate) type Cores = [usize; 2];

/// What came of an order.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Score {
    /// From the first message's start to the last one's arrival.
    pub(crate) nanoseconds: u64,
    pub(crate) sender: Tally,
    pub(crate) receiver: Tally,
}

/// Serves the report until standard input ends: answers once when the two are ready, then each order.
pub(crate) fn serve<C: Channel>(traffic: Traffic, size: usize, cores: Cores) -> Result<()> {
    // What comes from the terminal reaches every process; this one ends with its input, and clears up before.
    for from_terminal in [Signal::SIGINT, Signal::SIGHUP] {
        // SAFETY: sigaction(2): to ignore a signal runs no code.
        unsafe { signal(from_terminal, SigHandler::SigIgn) }?;
    }
    let tracepoint = system_calls().ok().filter(|&id| Meter::new(Some(id)).is_ok());
    let there = C::new(size)?;
    let back = (traffic == Traffic::RoundTrip).then(|| C::new(size)).transpose()?;

    let mut workers = Workers(Vec::new()); // dropped before the channels
    if let Some(line) = workers.fork()? {
        play(line, cores[0], |line| match back {
            None => work(Sends(there.sender()?), size, tracepoint, line),
            Some(back) => work(Asks(Sends(there.sender()?), Receives(back.receiver()?)), size, tracepoint, line),
        });
    }
    if let Some(line) = workers.fork()? {
        play(line, cores[1], |line| match back {
            None => work(Receives(there.receiver()?), size, tracepoint, line),
            Some(back) => work(Answers(Receives(there.receiver()?), Sends(back.sender()?)), size, tracepoint, line),
        });
    }
    workers.hear_both::<()>().context("taking the ends")?;
    there.unlink()?;
    back.as_ref().map_or(Ok(()), Channel::unlink)?;

    say(&Answer::Ok(()))?;
    let mut input = io::stdin().lock();
    while let Some(order) = hear(&mut input)? {
        say(&Answer::Ok(workers.obey(order)?))?;
    }
    Ok(())
}

/// Says something to the report.
pub(crate) fn say(what: &impl Serialize) -> Result<()> {
    Ok(io::stdout().write_all(&said(what)?)?)
}

/// Has this process run before all that are not in real time, where that is permitted: two processes that need each other
/// at every moment suffer most from what else runs.
fn prefer() {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: sched_setscheduler(2) reads the parameter; 0 is the calling thread. Without permission nothing changes.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest) };
}

/// Plays a part in a process of its own, which ends with its line, and with the umpire.
fn play(mut line: Line, core: usize, part: impl FnOnce(&mut Line) -> Result<()>) -> ! {
    let settled = set_pdeathsig(Signal::SIGKILL).map_err(Into::into).and_then(|()| pin(core));
    prefer();
    let outcome = settled.and_then(|()| part(&mut line));
    let code = outcome.is_err().into();
    if outcome.is_err() {
        let _ = line.say(&told(outcome));
    }
    process::exit(code)
}

/// The two processes: who sends first, then who receives.
struct Workers(Vec<(Pid, Line)>);

impl Workers {
    /// Forks one of them. Returns its line in the new process, and nothing in this one.
    fn fork(&mut self) -> Result<Option<Line>> {
        let (here, there) = UnixStream::pair()?;
        // SAFETY: fork(2): this process has no threads, so the new one may do what it likes.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => {
                self.0.push((child, Line::new(here)));
                Ok(None)
            }
            ForkResult::Child => Ok(Some(Line::new(there))),
        }
    }

    /// Has the two carry out an order: first the receiver begins, and waits, then the sender.
    fn obey(&mut self, order: Order) -> Result<Score> {
        for worker in [1, 0] {
            self.0[worker].1.say(&order)?;
            self.hear::<()>(worker)?;
        }
        let [sender, receiver] = self.hear_both::<Account>()?;
        let nanoseconds = sender.ended.max(receiver.ended) - sender.began;
        Ok(Score { nanoseconds, sender: sender.tally, receiver: receiver.tally })
    }

    /// Waits for an answer from both, and no longer for one if the other has failed.
    fn hear_both<T: DeserializeOwned>(&mut self) -> Result<[T; 2]> {
        let start = Instant::now();
        let mut heard = [None, None];
        while let Some(silent) = heard.iter().position(Option::is_none) {
            let left = PATIENCE.saturating_sub(start.elapsed());
            ensure!(!left.is_zero(), "the two processes stand still");
            let mut lines = [0, 1].map(|i| PollFd::new(self.0[i].1.stream().as_fd(), PollFlags::POLLIN));
            poll(&mut lines[silent..], PollTimeout::try_from(left)?)?;
            let ready = lines.map(|line| line.any().unwrap_or(false));
            for i in 0..2 {
                if ready[i] && heard[i].is_none() {
                    heard[i] = Some(self.hear(i)?);
                }
            }
        }
        let [Some(first), Some(second)] = heard else { unreachable!() };
        Ok([first, second])
    }

    fn hear<T: DeserializeOwned>(&mut self, worker: usize) -> Result<T> {
        let answer = self.0[worker].1.hear::<Answer<T>>()?.context("a worker was killed")?;
        answer.map_err(|error| anyhow!(error))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for (pid, _) in &self.0 {
            let _ = kill(*pid, Signal::SIGKILL);
            let _ = waitpid(*pid, None);
        }
    }
}
