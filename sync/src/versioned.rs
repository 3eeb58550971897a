//! A value that is always whole: [`Versioned`].
//!
//! Two buffers and a count. The count's lowest bit says which buffer is the present one; a writer fills the other and
//! then counts. A reader copies the present one and looks whether the count is the same still: only the next but one
//! value goes where it read. A writer that dies has not counted, so the present value stays what it was.

use std::fmt;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread;
use std::time::Duration;

use shared_region::{Error, ErrorKind, Result, SharedRegion, SharedRegionExt};

use crate::event::Event;
use crate::mutex::Mutex;
use crate::sys::{Shared, Value, fence};

/// How often a value is read anew because writers have been there twice meanwhile; after a few times in turns with them.
const TRIES: u32 = 100_000;
const TRIES_AT_ONCE: u32 = 100;

/// A value of the user's, of which everybody sees the whole old or the whole new one, whoever dies. All zeros is its
/// initial state: then the value is all zeros, too.
///
/// [`load`](Self::load) waits for nobody, needs no membership, and has a form for read-only regions. Several writers go by
/// [`Member::update`](crate::Member::update), one alone by [`store`](Self::store).
///
/// | bytes | field |
/// |---|---|
/// | 0 to 3 | an [`Event`]: its count is the version, whose lowest bit says which buffer is the present one |
/// | 4 to 7 | 0 |
/// | 8 to 23 | a [`Mutex`], for writers |
/// | 24 on | two buffers, each of the size of `T` rounded up to 8 |
///
/// A reader that is stopped in the middle for exactly 2³⁰ updates could see a mixture.
#[derive(Default)]
#[repr(C)]
pub struct Versioned<T: Value> {
    changed: Event,
    reserved: crate::sys::AtomicU32,
    lock: Mutex,
    buffers: [Shared<T>; 2],
}

impl<T: Value> Versioned<T> {
    /// Copies the present value out.
    ///
    /// # Errors
    ///
    /// - [`Busy`](ErrorKind::Busy): there were two updates in each of 100,000 tries, which takes a peer that means it.
    #[inline]
    pub fn load(&self) -> Result<T> {
        self.load_versioned().map(|(_, value)| value)
    }

    /// Copies the present value out, and its version before it, to be given to [`wait_newer`](Self::wait_newer).
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    #[inline]
    pub fn load_versioned(&self) -> Result<(u32, T)> {
        for tries in 0..TRIES {
            let version = self.changed.count();
            let value = self.buffers[(version & 1) as usize].load();
            fence(Acquire);
            if self.changed.count() == version {
                return Ok((version, value));
            }
            if tries > TRIES_AT_ONCE {
                thread::yield_now();
            }
        }
        Err(torn())
    }

    /// Sleeps until there is a newer value than that of `version`; returns the newest.
    ///
    /// # Errors
    ///
    /// - [`Busy`](ErrorKind::Busy): there was none by the timeout.
    /// - Those of [`load`](Self::load).
    pub fn wait_newer(&self, version: u32, timeout: Duration) -> Result<(u32, T)> {
        self.changed.wait(version, timeout)?;
        self.load_versioned()
    }

    /// Puts a value in place of the present one, without a lock: for the one writer of a value that has no other. With a
    /// second writer at the same time, also one that uses [`Member::update`](crate::Member::update), readers can see a
    /// mixture.
    pub fn store(&self, value: &T) {
        let next = self.changed.count().wrapping_add(1);
        self.publish(next, value);
    }

    /// Replaces the value by what `change` makes of it; the caller holds the lock.
    pub(crate) fn replace(&self, change: impl FnOnce(&mut T)) {
        let version = self.changed.count();
        let mut value = self.buffers[(version & 1) as usize].load();
        change(&mut value);
        self.publish(version.wrapping_add(1), &value);
    }

    fn publish(&self, version: u32, value: &T) {
        // Who sees a word of this value sees the count of the one before: it reads the other buffer, or reads anew.
        fence(Release);
        self.buffers[(version & 1) as usize].store(value);
        self.changed.notify_all();
    }

    pub(crate) fn lock(&self) -> &Mutex {
        &self.lock
    }

    /// Finds the value at `offset` of a region that may be read-only.
    ///
    /// # Errors
    ///
    /// - [`OutOfBounds`](ErrorKind::OutOfBounds), [`Misaligned`](ErrorKind::Misaligned).
    pub fn reader<R: SharedRegion + ?Sized>(region: &R, offset: usize) -> Result<VersionedReader<'_, T, R>> {
        let (mut first, end) = ([0], offset.saturating_add(size_of::<Self>() - 1));
        region.read_at(end, &mut first)?;
        let event = Event::reader(region, offset)?;
        Ok(VersionedReader { region, offset, event, _value: std::marker::PhantomData })
    }
}

impl<T: Value> fmt::Debug for Versioned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versioned").field("version", &self.changed.count()).finish_non_exhaustive()
    }
}

/// A [`Versioned`] value in a region that is read-only, perhaps.
#[derive(Debug)]
pub struct VersionedReader<'a, T, R: ?Sized> {
    region: &'a R,
    offset: usize,
    event: crate::event::EventReader<'a, R>,
    _value: std::marker::PhantomData<fn() -> T>,
}

impl<T: Value, R: SharedRegion + ?Sized> VersionedReader<'_, T, R> {
    /// Does what [`Versioned::load`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Versioned::load`].
    pub fn load(&self) -> Result<T> {
        self.load_versioned().map(|(_, value)| value)
    }

    /// Does what [`Versioned::load_versioned`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Versioned::load`].
    pub fn load_versioned(&self) -> Result<(u32, T)> {
        let buffers = self.offset + std::mem::offset_of!(Versioned<T>, buffers);
        let mut value = T::new_zeroed();
        for tries in 0..TRIES {
            let version = self.event.count()?;
            let place = buffers + (version & 1) as usize * size_of::<Shared<T>>();
            self.region.read_at(place, value.as_mut_bytes())?;
            fence(Acquire);
            if self.event.count()? == version {
                return Ok((version, value));
            }
            if tries > TRIES_AT_ONCE {
                thread::yield_now();
            }
        }
        Err(torn())
    }

    /// Does what [`Versioned::wait_newer`] does, at the price of [`EventReader`](crate::EventReader).
    ///
    /// # Errors
    ///
    /// Those of [`Versioned::wait_newer`].
    pub fn wait_newer(&self, version: u32, timeout: Duration) -> Result<(u32, T)> {
        self.event.wait(version, timeout)?;
        self.load_versioned()
    }
}

#[cold]
fn torn() -> Error {
    Error::new(ErrorKind::Busy)
        .operation("load a value")
        .reason("writers changed it without a pause: look who writes there")
}
