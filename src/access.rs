//! Reading and writing a region safely: [`SharedRegionExt`], [`SharedLayout`].

use std::ops::RangeBounds;
use std::sync::atomic::{AtomicI8, AtomicI16, AtomicI32, AtomicU8, AtomicU16, AtomicU32, Ordering, fence};
#[cfg(target_has_atomic = "64")]
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::memory;
use crate::region::Access;
use crate::region::{Describe, SharedRegion};

/// A type whose shared reference may point into memory that other processes write.
///
/// Implemented for the atomic integers of a fixed width and arrays of them. Declare a struct of such fields by
/// [`shared_layout!`](crate::shared_layout), without `unsafe`, or implement it for a `#[repr(C)]` struct by hand, to
/// describe the layout of a region, and take a reference by [`SharedRegionExt::view`].
///
/// # Safety
///
/// The implementor ensures that
///
/// - every byte of the type belongs to an atomic integer (or to an `UnsafeCell` whose safe calls do not mind other
///   writers), so that nobody's store breaks what a shared reference promises; padding is allowed, if nothing reads it;
/// - every pattern of bits is a valid value;
/// - the layout is fixed by `#[repr(C)]` or `#[repr(transparent)]`, the same in all programs that meet;
/// - the type has no destructor and holds no pointer, which would mean nothing elsewhere.
///
/// # Examples
///
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
/// use shared_region::{AnyBackend, Backend, CreateOptions, SharedLayout, SharedRegionExt};
///
/// #[repr(C)]
/// struct Header {
///     magic: AtomicU32,
///     ready: AtomicU32,
///     frames: AtomicU64,
/// }
///
/// // SAFETY: atomic integers only, any bits are valid, and `repr(C)` fixes the layout.
/// unsafe impl SharedLayout for Header {}
///
/// let region = AnyBackend::default().create_unnamed(&CreateOptions::new(4096))?;
/// let header: &Header = region.view(0)?;
/// header.magic.store(0x5EED, Ordering::Relaxed);
/// header.ready.store(1, Ordering::Release);
/// # }
/// # Ok::<(), shared_region::Error>(())
/// ```
pub unsafe trait SharedLayout: Sized + Sync {}

/// Declares a `#[repr(C)]` struct that lies in a region, and implements [`SharedLayout`] for it.
///
/// Every field has to implement [`SharedLayout`] itself, else this does not compile. Fields take documentation,
/// visibility and other attributes, the struct derives, and one constant may stand for a length. Programs that forbid
/// `unsafe` can use it.
///
/// Two programs that meet have the same layout as long as they declare the same fields in the same order.
///
/// # Examples
///
/// ```
/// #![forbid(unsafe_code)]
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
/// use shared_region::{AnyBackend, Backend, CreateOptions, SharedRegionExt, shared_layout};
///
/// shared_layout! {
///     /// What stands at the start of the region.
///     #[derive(Debug)]
///     pub struct Header {
///         ready: AtomicU32,
///         reserved: AtomicU32,
///         /// How many frames were written, by channel.
///         pub frames: [AtomicU64; 4],
///     }
/// }
///
/// let region = AnyBackend::default().create_unnamed(&CreateOptions::new(4096))?;
/// let header: &Header = region.view(0)?;
/// header.frames[2].store(9, Ordering::Relaxed);
/// header.ready.store(1, Ordering::Release);
/// # }
/// # Ok::<(), shared_region::Error>(())
/// ```
///
/// A field that others' stores would break is refused:
///
/// ```compile_fail,E0277
/// shared_region::shared_layout! {
///     struct Wrong {
///         count: u32,
///     }
/// }
/// ```
#[macro_export]
macro_rules! shared_layout {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident $(<const $length:ident: usize>)? {
            $($(#[$field_attribute:meta])* $field_visibility:vis $field:ident: $type:ty),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[repr(C)]
        $visibility struct $name $(<const $length: usize>)? {
            $($(#[$field_attribute])* $field_visibility $field: $type,)+
        }

        // SAFETY: the bounds hold of all fields, and what holds of the fields holds of a `repr(C)` struct of them: atomic
        // integers and padding, any bits valid, no pointer, a layout that is fixed.
        unsafe impl $(<const $length: usize>)? $crate::SharedLayout for $name $(<$length>)?
        where
            $($type: $crate::SharedLayout,)+
        {
        }
    };
}

macro_rules! layouts {
    ($($atomic:ty)*) => {
        $(
            // SAFETY: an atomic integer: all its bytes are meant for concurrent writers, any bits are valid, and its
            // layout is that of the plain integer.
            unsafe impl SharedLayout for $atomic {}
        )*
    };
}

layouts!(AtomicU8 AtomicU16 AtomicU32 AtomicI8 AtomicI16 AtomicI32);
#[cfg(target_has_atomic = "64")]
layouts!(AtomicU64 AtomicI64);

// SAFETY: an array has its elements' bytes and no others.
unsafe impl<T: SharedLayout, const N: usize> SharedLayout for [T; N] {}

macro_rules! atomics {
    ($($(#[$cfg:meta])* $atomic:ident $integer:ident $atomic_at:ident $load_at:ident;)*) => {
        $(
            $(#[$cfg])*
            #[doc = concat!("Borrows the [`", stringify!($atomic), "`] at `offset`.")]
            ///
            /// # Errors
            ///
            /// - [`OutOfBounds`](ErrorKind::OutOfBounds), [`Misaligned`](ErrorKind::Misaligned).
            /// - [`ReadOnly`](ErrorKind::ReadOnly): whoever has the reference could store through it.
            #[inline]
            fn $atomic_at(&self, offset: usize) -> Result<&$atomic> {
                self.view(offset)
            }

            $(#[$cfg])*
            #[doc = concat!("Loads the `", stringify!($integer), "` at `offset`, in one access; works on read-only regions too.")]
            ///
            /// Made of a relaxed load and fences, as only relaxed loads are allowed on memory that cannot be written.
            ///
            /// # Errors
            ///
            /// - [`OutOfBounds`](ErrorKind::OutOfBounds), [`Misaligned`](ErrorKind::Misaligned).
            /// - [`InvalidOptions`](ErrorKind::InvalidOptions): the ordering is none that a load can have.
            /// - [`Unsupported`](ErrorKind::Unsupported): the region is read-only and the integer wider than a register.
            #[inline]
            fn $load_at(&self, offset: usize, order: Ordering) -> Result<$integer> {
                let pointer = checked::<$atomic, _>(self, offset, 1, "load from")?;
                if self.access() == Access::ReadOnly && size_of::<$integer>() > size_of::<usize>() {
                    return Err(self
                        .error(ErrorKind::Unsupported, "load from")
                        .reason("this processor loads no such width from read-only memory: use a narrower integer"));
                }
                // SAFETY: `checked` found one aligned integer inside the mapping, which lives as long as `self`. On a
                // read-only region nothing but a relaxed load is done through the reference, which the documentation of
                // `std::sync::atomic` allows for integers up to a register's width.
                let atomic = unsafe { &*pointer };
                match order {
                    Ordering::Relaxed => Ok(atomic.load(Ordering::Relaxed)),
                    Ordering::Acquire => {
                        let value = atomic.load(Ordering::Relaxed);
                        fence(Ordering::Acquire);
                        Ok(value)
                    }
                    Ordering::SeqCst => {
                        fence(Ordering::SeqCst);
                        let value = atomic.load(Ordering::Relaxed);
                        fence(Ordering::SeqCst);
                        Ok(value)
                    }
                    _ => Err(self
                        .error(ErrorKind::InvalidOptions, "load from")
                        .reason("a load is Relaxed, Acquire or SeqCst: choose one of them")),
                }
            }
        )*
    };
}

/// Convenience for every region: copies, atomics, views.
///
/// All of it is safe while other processes and threads write to the same bytes: a copy may then see some old and some
/// new bytes, and atomics see whole integers. Use an atomic as a flag to know when bytes are complete. Nothing here
/// makes a system call or allocates, except to describe an error and to [wait](Self::wait_for_attach_count).
///
/// Offsets and lengths are in bytes from the region's start; reaching past its end is
/// [`OutOfBounds`](ErrorKind::OutOfBounds), and nothing is copied then. An access of length 0 at `len()` is fine.
///
/// # Examples
///
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// use std::sync::atomic::Ordering;
/// use shared_region::{AnyBackend, Backend, CreateOptions, SharedRegionExt};
///
/// let region = AnyBackend::default().create_unnamed(&CreateOptions::new(4096))?;
/// region.write_at(8, b"hello")?;
/// region.atomic_u64(0)?.store(5, Ordering::Release); // so many bytes are ready
///
/// let len = region.load_u64(0, Ordering::Acquire)? as usize;
/// let mut bytes = vec![0; len];
/// region.read_at(8, &mut bytes)?;
/// assert_eq!(bytes, b"hello");
/// # }
/// # Ok::<(), shared_region::Error>(())
/// ```
pub trait SharedRegionExt: SharedRegion {
    /// Copies bytes out of the region until `to` is full.
    ///
    /// # Errors
    ///
    /// - [`OutOfBounds`](ErrorKind::OutOfBounds).
    #[inline]
    fn read_at(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        let shared = bounded(self, offset, to.len(), "read from")?;
        // SAFETY: `bounded` found the range inside the mapping, which is readable and which no reference but to atomics
        // covers; `to` is the caller's alone.
        unsafe { memory::load(shared, to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    /// Copies `from` into the region.
    ///
    /// # Errors
    ///
    /// - [`ReadOnly`](ErrorKind::ReadOnly), [`OutOfBounds`](ErrorKind::OutOfBounds).
    #[inline]
    fn write_at(&self, offset: usize, from: &[u8]) -> Result<()> {
        let shared = writable(self, offset, from.len(), "write to")?;
        // SAFETY: `writable` found the range inside the mapping, and the mapping writable; no reference but to atomics
        // covers it, and `from` cannot lie in it, as no safe call lends shared bytes.
        unsafe { memory::store(shared, from.as_ptr(), from.len()) };
        Ok(())
    }

    /// Sets `len` bytes to `byte`.
    ///
    /// # Errors
    ///
    /// - [`ReadOnly`](ErrorKind::ReadOnly), [`OutOfBounds`](ErrorKind::OutOfBounds).
    fn fill_at(&self, offset: usize, len: usize, byte: u8) -> Result<()> {
        let shared = writable(self, offset, len, "fill")?;
        // SAFETY: as in `write_at`.
        unsafe { memory::fill(shared, byte, len) };
        Ok(())
    }

    /// Copies a plain value out of the region, at any alignment.
    ///
    /// # Errors
    ///
    /// - [`OutOfBounds`](ErrorKind::OutOfBounds).
    #[cfg(feature = "zerocopy")]
    #[inline]
    fn read_value<T: zerocopy::FromBytes>(&self, offset: usize) -> Result<T> {
        let shared = bounded(self, offset, size_of::<T>(), "read from")?;
        let mut value = std::mem::MaybeUninit::<T>::uninit();
        // SAFETY: as in `read_at`; `value` has room for `size_of::<T>()` bytes.
        unsafe { memory::load(shared, value.as_mut_ptr().cast(), size_of::<T>()) };
        // SAFETY: all bytes have been written, and `FromBytes` says that any bytes are a valid `T`.
        Ok(unsafe { value.assume_init() })
    }

    /// Copies a plain value into the region, at any alignment.
    ///
    /// # Errors
    ///
    /// - [`ReadOnly`](ErrorKind::ReadOnly), [`OutOfBounds`](ErrorKind::OutOfBounds).
    #[cfg(feature = "zerocopy")]
    #[inline]
    fn write_value<T: zerocopy::IntoBytes + zerocopy::Immutable>(&self, offset: usize, value: &T) -> Result<()> {
        self.write_at(offset, value.as_bytes())
    }

    /// Borrows a `T` at `offset`.
    ///
    /// # Errors
    ///
    /// - [`OutOfBounds`](ErrorKind::OutOfBounds), [`Misaligned`](ErrorKind::Misaligned).
    /// - [`ReadOnly`](ErrorKind::ReadOnly): whoever has the reference could store through it.
    #[inline]
    fn view<T: SharedLayout>(&self, offset: usize) -> Result<&T> {
        let pointer = shareable::<T, _>(self, offset, 1)?;
        // SAFETY: `shareable` found one aligned `T` inside the mapping, which is writable and lives as long as `self`;
        // `SharedLayout` says that any bytes are a valid `T` and that others may store to them meanwhile.
        Ok(unsafe { &*pointer })
    }

    /// Borrows `count` neighbours of type `T` from `offset` on, such as `&[AtomicU64]`.
    ///
    /// # Errors
    ///
    /// Those of [`view`](Self::view).
    #[inline]
    fn slice_view<T: SharedLayout>(&self, offset: usize, count: usize) -> Result<&[T]> {
        let pointer = shareable::<T, _>(self, offset, count)?;
        // SAFETY: as in `view`, for `count` of them in a row; their size is at most the region's, so below `isize::MAX`.
        Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
    }

    atomics! {
        AtomicU8 u8 atomic_u8 load_u8;
        AtomicU16 u16 atomic_u16 load_u16;
        AtomicU32 u32 atomic_u32 load_u32;
        #[cfg(target_has_atomic = "64")]
        AtomicU64 u64 atomic_u64 load_u64;
    }

    /// Returns the start of the region as a pointer to write through.
    ///
    /// # Errors
    ///
    /// - [`ReadOnly`](ErrorKind::ReadOnly): a store would be SIGSEGV.
    fn as_mut_ptr(&self) -> Result<*mut u8> {
        match self.access() {
            Access::ReadWrite => Ok(self.as_ptr().cast_mut()),
            Access::ReadOnly => Err(self.error(ErrorKind::ReadOnly, "write to")),
        }
    }

    /// Lends the whole region as plain bytes.
    ///
    /// # Safety
    ///
    /// - As long as the slice is used, no process and no thread writes to the region, not through atomics either.
    /// - As long as the slice is used, no peer shrinks the object: touching the lost part would be SIGBUS.
    unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: the trait promises `len` readable bytes, at most `isize::MAX`, as long as `self` lives; the caller
        // promises that nobody writes to them.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    /// Lends the whole region as plain bytes that may be written.
    ///
    /// # Errors
    ///
    /// - [`ReadOnly`](ErrorKind::ReadOnly).
    ///
    /// # Safety
    ///
    /// - As long as the slice is used, no process and no thread reads or writes the region by other means, other
    ///   mappings of the same object included.
    /// - As long as the slice is used, no peer shrinks the object: touching the lost part would be SIGBUS.
    unsafe fn as_mut_slice(&mut self) -> Result<&mut [u8]> {
        let start = self.as_mut_ptr()?;
        // SAFETY: the trait promises `len` bytes, readable and, as `as_mut_ptr` checked, writable, as long as `self`
        // lives; the caller promises that nobody else touches them.
        Ok(unsafe { std::slice::from_raw_parts_mut(start, self.len()) })
    }

    /// Waits until the attach count, this region's own included, lies within `wanted`; returns the count. `..=1` waits for
    /// the others to leave, `2..` for somebody to come.
    ///
    /// The system is asked again and again, at intervals from 10 µs to 5 ms, as it notifies nobody. The count can have
    /// changed again when this returns.
    ///
    /// # Errors
    ///
    /// - [`Busy`](ErrorKind::Busy): the count was not there by the timeout; the message tells it.
    /// - [`Unsupported`](ErrorKind::Unsupported): the backend lacks
    ///   [`attach_count`](crate::Capabilities::attach_count).
    /// - Those of [`metadata`](SharedRegion::metadata).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "sysv")] {
    /// use std::time::Duration;
    /// use shared_region::{Backend, CreateOptions, SharedRegion, SharedRegionExt, Sysv};
    ///
    /// let region = Sysv.create_unnamed(&CreateOptions::new(4096))?;
    /// let other = region.try_clone()?; // another process, usually
    /// assert_eq!(region.wait_for_attach_count(2.., Duration::from_secs(5))?, 2);
    /// drop(other);
    /// assert_eq!(region.wait_for_attach_count(..=1, Duration::from_secs(5))?, 1);
    /// # }
    /// # Ok::<(), shared_region::Error>(())
    /// ```
    #[doc(alias = "shm_nattch")]
    fn wait_for_attach_count(&self, wanted: impl RangeBounds<u64>, timeout: Duration) -> Result<u64> {
        const WAIT: &str = "wait for the attach count of";
        let mut patience = Backoff::new(timeout);
        loop {
            let Some(count) = self.metadata()?.attach_count() else {
                return Err(self
                    .error(ErrorKind::Unsupported, WAIT)
                    .reason("its backend does not count: keep a counter in the region, or look at its holders"));
            };
            if wanted.contains(&count) {
                return Ok(count);
            }
            if !patience.pause() {
                let reason = format!("it was {count} at the end of {timeout:?}: wait longer");
                return Err(self.error(ErrorKind::Busy, WAIT).reason(reason));
            }
        }
    }

    /// Adds to an error what was tried, by which backend, and that it was on this region. For backends.
    fn describe(&self, error: Error, operation: &'static str) -> Error {
        error.context(operation, self.backend(), self.id().as_ref())
    }
}

impl<R: SharedRegion + ?Sized> SharedRegionExt for R {}

/// Finds a range of bytes inside the region.
#[inline]
fn bounded<R: SharedRegion + ?Sized>(
    region: &R,
    offset: usize,
    len: usize,
    operation: &'static str,
) -> Result<*const u8> {
    let region_len = region.len();
    if offset > region_len || len > region_len - offset {
        return Err(region.error(ErrorKind::OutOfBounds { offset, len, region_len }, operation));
    }
    // SAFETY: `offset` is at most `len()`, and the trait promises so many bytes in one piece from `as_ptr` on.
    Ok(unsafe { region.as_ptr().add(offset) })
}

/// Finds a range of bytes inside the region that may be written.
#[inline]
fn writable<R: SharedRegion + ?Sized>(
    region: &R,
    offset: usize,
    len: usize,
    operation: &'static str,
) -> Result<*mut u8> {
    if region.access() == Access::ReadOnly {
        return Err(region.error(ErrorKind::ReadOnly, operation));
    }
    bounded(region, offset, len, operation).map(<*const u8>::cast_mut)
}

/// Finds `count` aligned values of type `T` inside the region.
#[inline]
fn checked<T, R: SharedRegion + ?Sized>(
    region: &R,
    offset: usize,
    count: usize,
    operation: &'static str,
) -> Result<*const T> {
    let len = count.saturating_mul(size_of::<T>());
    let pointer = bounded(region, offset, len, operation)?.cast::<T>();
    if !pointer.is_aligned() {
        return Err(region.error(ErrorKind::Misaligned, operation));
    }
    Ok(pointer)
}

/// Finds `count` aligned values of type `T` inside the region, to which references may be given away.
#[inline]
fn shareable<T: SharedLayout, R: SharedRegion + ?Sized>(region: &R, offset: usize, count: usize) -> Result<*const T> {
    if region.access() == Access::ReadOnly {
        return Err(region
            .error(ErrorKind::ReadOnly, "borrow from")
            .reason("it was opened read-only, and a reference to an atomic can store: use read_at or load_u64"));
    }
    checked(region, offset, count, "borrow from")
}
