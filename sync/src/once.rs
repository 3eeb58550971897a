//! One that initialises: [`Once`].

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use shared_region::{Error, ErrorKind, Result};

use crate::member::Member;
use crate::mutex::Mutex;
use crate::shared_layout;
use crate::sys::AtomicU32;

const DONE: u32 = 1;

shared_layout! {
    /// Has one of all who start initialise, and tells programs of another layout. All zeros is its initial state; 36 bytes.
    ///
    /// | bytes | field |
    /// |---|---|
    /// | 0 to 3 | 1 when all is done |
    /// | 4 to 7 | how many have begun |
    /// | 8 to 19 | magic, version and size of the user's, once all is done |
    /// | 20 to 35 | a [`Mutex`] |
    #[derive(Debug, Default)]
    pub struct Once {
        done: AtomicU32,
        begun: AtomicU32,
        magic: AtomicU32,
        version: AtomicU32,
        size: AtomicU32,
        lock: Mutex,
    }
}

/// By what a program knows the layout of its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayoutTag {
    /// A number that other programs do not use.
    pub magic: u32,
    /// To be raised when fields change their meaning.
    pub version: u32,
    /// The size of the layout, in bytes.
    pub size: u32,
}

impl LayoutTag {
    /// Makes the tag of `L`, with its size.
    pub fn of<L>(magic: u32, version: u32) -> Self {
        Self { magic, version, size: size_of::<L>() as u32 }
    }
}

impl Once {
    /// Returns whether all is done, and by a program of the same layout.
    ///
    /// # Errors
    ///
    /// - [`LayoutMismatch`](ErrorKind::LayoutMismatch): it was done by a program of another layout; the message tells both.
    pub fn is_done(&self, tag: LayoutTag) -> Result<bool> {
        if self.done.load(Acquire) != DONE {
            return Ok(false);
        }
        let load = |word: &AtomicU32| word.load(Relaxed);
        let have = LayoutTag { magic: load(&self.magic), version: load(&self.version), size: load(&self.size) };
        if have == tag {
            return Ok(true);
        }
        Err(Error::new(ErrorKind::LayoutMismatch { have: have.version, want: tag.version })
            .operation("use the layout of a region")
            .reason(format!(
                "it is of magic {:#x}, version {}, {} bytes, and this program's of magic {:#x}, version {}, {} bytes: run \
                 the same program, or use another name",
                have.magic, have.version, have.size, tag.magic, tag.version, tag.size
            )))
    }
}

impl Member {
    /// Initialises by `initialise`, unless somebody has; waits until `timeout` for whoever is at it. If that one dies, or
    /// its closure fails or panics, the next does it.
    ///
    /// `initialise` is told whether it is the first. If not, another has begun before it, and left what it left.
    ///
    /// # Errors
    ///
    /// - [`LayoutMismatch`](ErrorKind::LayoutMismatch): it was done by a program of another layout; the message tells both.
    /// - [`Busy`](ErrorKind::Busy): another lives and was at it until the timeout.
    /// - That of `initialise`.
    /// - Those of [`lock`](Self::lock).
    pub fn initialise(
        &self,
        once: &Once,
        tag: LayoutTag,
        timeout: Duration,
        initialise: impl FnOnce(bool) -> Result<()>,
    ) -> Result<()> {
        if once.is_done(tag)? {
            return Ok(());
        }
        let _guard = self.lock(&once.lock, timeout)?;
        if once.is_done(tag)? {
            return Ok(());
        }
        let begun = once.begun.load(Relaxed);
        // It never comes back to 0.
        once.begun.store(begun.saturating_add(1), Relaxed);
        initialise(begun == 0)?;
        once.magic.store(tag.magic, Relaxed);
        once.version.store(tag.version, Relaxed);
        once.size.store(tag.size, Relaxed);
        once.done.store(DONE, Release);
        Ok(())
    }
}
