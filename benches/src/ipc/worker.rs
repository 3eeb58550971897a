//! What the two processes do, and how they are told.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use anyhow::Result;
use nix::time::{ClockId, clock_gettime};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::channel::{Message, ReceivingEnd, SendingEnd, check_fill, check_stamp};
use super::meter::{Meter, Tally};

/// What is asked of the two processes.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Order {
    pub(crate) messages: u64,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Kind {
    /// Every byte is made anew for each message, and compared.
    Verify,
    /// Messages are numbered at both ends, and the numbers compared.
    Time,
    /// As `Time`, while the kernel counts.
    Count,
}

/// What one process says afterwards.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Account {
    /// When it began and ended, in nanoseconds of the monotonic clock, which all processes share.
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) tally: Tally,
}

/// What one process says to another: what was asked for, or why it cannot be had.
pub(crate) type Answer<T> = std::result::Result<T, String>;

/// Turns an error into a text that can be said.
pub(crate) fn told<T>(outcome: Result<T>) -> Answer<T> {
    outcome.map_err(|error| format!("{error:#}"))
}

/// A line between a worker and the umpire.
pub(crate) struct Line(BufReader<UnixStream>);

impl Line {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self(BufReader::with_capacity(1, stream)) // takes no more than a line, so that `poll` sees the next one
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        self.0.get_ref()
    }

    pub(crate) fn say(&mut self, what: &impl Serialize) -> Result<()> {
        Ok(self.0.get_mut().write_all(&said(what)?)?)
    }

    pub(crate) fn hear<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        hear(&mut self.0)
    }
}

/// Puts something into a line of text.
pub(crate) fn said(what: &impl Serialize) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    Ok(line)
}

/// Waits for a line and what was put into it; `None` once the other side has gone.
pub(crate) fn hear<T: DeserializeOwned>(from: &mut impl BufRead) -> Result<Option<T>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

/// A part that one of the two processes plays.
pub(crate) trait Part {
    /// Plays it for the message with this number.
    fn play(&mut self, message: &mut Message, number: u64, verify: bool) -> Result<()>;
}

/// Sends, to [`Receives`].
pub(crate) struct Sends<S>(pub(crate) S);

impl<S: SendingEnd> Part for Sends<S> {
    #[inline]
    fn play(&mut self, message: &mut Message, number: u64, verify: bool) -> Result<()> {
        if verify {
            message.fill(number);
        } else {
            message.stamp(number);
        }
        self.0.send(message)
    }
}

/// Receives what [`Sends`] sent.
pub(crate) struct Receives<R>(pub(crate) R);

impl<R: ReceivingEnd> Part for Receives<R> {
    #[inline]
    fn play(&mut self, message: &mut Message, number: u64, verify: bool) -> Result<()> {
        let size = message.bytes().len();
        let received = self.0.receive(message)?;
        if verify { check_fill(received, size, number) } else { check_stamp(received, size, number) }
    }
}

/// Sends, and waits for the answer of [`Answers`].
pub(crate) struct Asks<S, R>(pub(crate) Sends<S>, pub(crate) Receives<R>);

impl<S: SendingEnd, R: ReceivingEnd> Part for Asks<S, R> {
    #[inline]
    fn play(&mut self, message: &mut Message, number: u64, verify: bool) -> Result<()> {
        self.0.play(message, number, verify)?;
        self.1.play(message, number, verify)
    }
}

/// Sends back what it received from [`Asks`], once it has looked at it.
pub(crate) struct Answers<R, S>(pub(crate) Receives<R>, pub(crate) Sends<S>);

impl<R: ReceivingEnd, S: SendingEnd> Part for Answers<R, S> {
    #[inline]
    fn play(&mut self, message: &mut Message, number: u64, verify: bool) -> Result<()> {
        self.0.play(message, number, verify)?;
        self.1.play(message, number, verify)
    }
}

/// Plays a part whenever the umpire says so, until it has gone.
pub(crate) fn work(mut part: impl Part, size: usize, tracepoint: Option<u64>, line: &mut Line) -> Result<()> {
    let mut message = Message::new(size);
    let mut number = 0;
    let done = Answer::Ok(());
    line.say(&done)?; // the ends are taken
    while let Some(Order { messages, kind }) = line.hear()? {
        let mut meter = Meter::new(tracepoint.filter(|_| kind == Kind::Count))?;
        line.say(&done)?; // ready
        let before = meter.start()?;
        let began = now()?;
        for _ in 0..messages {
            number += 1;
            part.play(&mut message, number, kind == Kind::Verify)?;
        }
        let ended = now()?;
        let tally = meter.stop(before)?;
        line.say(&Answer::Ok(Account { began, ended, tally }))?;
    }
    Ok(())
}

fn now() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}
