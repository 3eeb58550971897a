//! What a carrier has to do: get messages from one process to another.

use std::process;

use anyhow::{Context, Result, ensure};

/// One direction from one process to another.
pub(crate) trait Channel: Sized {
    type Sender: SendingEnd;
    type Receiver: ReceivingEnd;

    /// Makes what both ends need, for messages of `size` bytes, before the two processes are forked.
    fn new(size: usize) -> Result<Self>;

    /// Takes the sending end, in the process that sends. It may wait here for the other end.
    fn sender(self) -> Result<Self::Sender>;

    /// Takes the receiving end, in the process that receives.
    fn receiver(self) -> Result<Self::Receiver>;

    /// Takes the name away once both ends have been taken, so that nothing remains whoever is killed.
    fn unlink(&self) -> Result<()> {
        Ok(())
    }
}

/// Tells the process that made something from those that were forked later: only the former takes it away.
pub(crate) struct Maker(u32);

impl Maker {
    pub(crate) fn this() -> Self {
        Self(process::id())
    }

    pub(crate) fn is_this(&self) -> bool {
        self.0 == process::id()
    }
}

pub(crate) trait SendingEnd {
    /// Sends a message; waits for room.
    fn send(&mut self, message: &mut Message) -> Result<()>;
}

pub(crate) trait ReceivingEnd {
    /// Waits for a message and puts it into memory of this process: into `message`, or wherever the carrier's user
    /// finds it.
    fn receive<'a>(&'a mut self, message: &'a mut Message) -> Result<&'a [u8]>;
}

/// A buffer for one message, with room in front of it for what `msgsnd` wants to stand there.
pub(crate) struct Message(Vec<u8>);

const WORD: usize = size_of::<u64>();

impl Message {
    /// Makes room for a message of `size` bytes: a multiple of 8, and not 0.
    pub(crate) fn new(size: usize) -> Self {
        assert!(size > 0 && size.is_multiple_of(WORD));
        Self(vec![0; WORD + size])
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0[WORD..]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0[WORD..]
    }

    /// Returns the message with the 8 bytes in front of it.
    pub(crate) fn framed(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Fills the message with words that depend on its number and their place.
    pub(crate) fn fill(&mut self, number: u64) {
        for (place, word) in self.bytes_mut().chunks_exact_mut(WORD).enumerate() {
            word.copy_from_slice(&pattern(number, place).to_ne_bytes());
        }
    }

    /// Writes the message's number to its start and its end.
    pub(crate) fn stamp(&mut self, number: u64) {
        let bytes = self.bytes_mut();
        let last = bytes.len() - WORD;
        bytes[..WORD].copy_from_slice(&number.to_ne_bytes());
        bytes[last..].copy_from_slice(&number.to_ne_bytes());
    }
}

/// A word that no other place of this message and the next ones has: both factors are odd.
fn pattern(number: u64, place: usize) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add((place as u64).wrapping_mul(0xBF58_476D_1CE4_E5B9))
}

/// Compares every word of a message with what [`Message::fill`] wrote.
pub(crate) fn check_fill(message: &[u8], size: usize, number: u64) -> Result<()> {
    ensure!(message.len() == size, "message {number} has {} bytes and not {size}", message.len());
    for (place, word) in message.chunks_exact(WORD).enumerate() {
        ensure!(word == pattern(number, place).to_ne_bytes(), "message {number} differs in word {place}");
    }
    Ok(())
}

/// Compares a message's length and ends with what [`Message::stamp`] wrote.
#[inline]
pub(crate) fn check_stamp(message: &[u8], size: usize, number: u64) -> Result<()> {
    ensure!(message.len() == size, "message {number} has {} bytes and not {size}", message.len());
    let (first, last) = message.first_chunk().zip(message.last_chunk()).context("a message has 8 bytes at least")?;
    let (first, last) = (u64::from_ne_bytes(*first), u64::from_ne_bytes(*last));
    ensure!(first == number && last == number, "message {first} to {last} came, and not {number}");
    Ok(())
}
