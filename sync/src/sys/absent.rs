//! Elsewhere: nobody is told of deaths, and who waits looks again each millisecond.

use std::io;
use std::marker::PhantomData;
use std::sync::atomic::AtomicU32;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const BELT: Duration = Duration::from_millis(1);

/// A moment of the monotonic clock; `None` never comes.
#[derive(Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    pub(crate) fn has_passed(&self) -> bool {
        self.0.is_some_and(|end| end <= Instant::now())
    }

    /// Sleeps for `interval`, or shorter where it comes first; false where it has passed.
    pub(crate) fn sleep(&self, interval: Duration) -> bool {
        if self.has_passed() {
            return false;
        }
        let left = self.0.map_or(interval, |end| end.saturating_duration_since(Instant::now()));
        thread::sleep(interval.min(left));
        true
    }
}

pub(crate) fn wait(_: &AtomicU32, _: u32, deadline: &Deadline) -> bool {
    deadline.sleep(BELT)
}

pub(crate) fn wait_for_either(_: (&AtomicU32, u32), _: (&AtomicU32, u32), deadline: &Deadline) -> bool {
    deadline.sleep(BELT)
}

pub(crate) fn wake_all(_: &AtomicU32) {}

pub(crate) fn own_id() -> u32 {
    0
}

pub(crate) fn barrier() {}

pub(crate) fn spawn(_: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is none.
#[derive(Debug)]
pub(crate) struct Birthmark;

impl Birthmark {
    pub(crate) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn is_mine(&self) -> bool {
        false
    }
}

/// There is none.
pub(crate) struct Watch<'a, 'words>(PhantomData<(&'a (), &'words AtomicU32)>);

impl<'words> Watch<'_, 'words> {
    pub(crate) fn point(&self, _: &'words AtomicU32) {}

    pub(crate) fn unpoint(&self) {}
}

pub(crate) fn watched<'words, T>(_: impl FnOnce(&Watch<'_, 'words>) -> T) -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}
