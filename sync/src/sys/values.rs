//! Values of the user's that lie in shared memory, copied word by word.

use std::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use shared_region::SharedLayout;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// What a value in a region has to be: any bytes are a valid one, and all its bytes are bytes of it.
///
/// Derive zerocopy's three traits, and `Clone`.
pub trait Value: FromBytes + IntoBytes + Immutable + Clone {}

impl<T: FromBytes + IntoBytes + Immutable + Clone> Value for T {}

/// As many bytes as `T` has, rounded up to 8, aligned to 8.
#[repr(C, align(8))]
struct Padded<T>(MaybeUninit<T>);

/// A `T` that others write at any time. It is copied by relaxed atomic accesses of a machine word each; what comes of it
/// is some mixture of words, and whoever wants a whole one compares versions.
#[repr(C)]
pub(crate) struct Shared<T>(UnsafeCell<Padded<T>>);

// SAFETY: all accesses to the bytes are atomic ones, below; `Value` admits no type that is bound to a thread by more
// than its bytes.
unsafe impl<T: Value> Sync for Shared<T> {}

// SAFETY: the bytes lie in an `UnsafeCell`, whose only accesses are atomic and take any bits, by `FromBytes`. `repr(C)`
// fixes the layout; the type has no destructor of its own, and none of `T`'s is run, which `MaybeUninit` holds back.
unsafe impl<T: Value> SharedLayout for Shared<T> {}

// SAFETY: its fields are atomic integers and shared values, in the order that `repr(C)` fixes.
unsafe impl<T: Value> SharedLayout for crate::Versioned<T> {}

impl<T: Value> Shared<T> {
    /// The size and alignment of a `T` are those of every other program that declares it, on 32 bits too.
    const FITS: () =
        assert!(align_of::<T>() <= 8 && size_of::<T>() > 0, "a value is aligned to at most 8 bytes and not empty");

    fn words(&self) -> &[AtomicUsize] {
        let () = Self::FITS;
        let start = self.0.get().cast::<AtomicUsize>();
        // SAFETY: the size of `Padded` is a multiple of 8 and its alignment 8, so that it is a whole number of aligned
        // machine words; they lie in an `UnsafeCell`, live as long as `self`, and are only accessed through this function.
        unsafe { std::slice::from_raw_parts(start, size_of::<Padded<T>>() / size_of::<usize>()) }
    }

    /// Copies it out.
    #[inline]
    pub(crate) fn load(&self) -> T {
        let mut copy = MaybeUninit::<Padded<T>>::uninit();
        let to = copy.as_mut_ptr().cast::<MaybeUninit<usize>>();
        // SAFETY: `copy` is as long as `Padded`, so of as many words, and aligned to 8.
        let to = unsafe { std::slice::from_raw_parts_mut(to, self.words().len()) };
        for (word, to) in self.words().iter().zip(to) {
            to.write(word.load(Relaxed));
        }
        // SAFETY: the value is the first thing in `Padded`, all its bytes are written, and `FromBytes` says that any are a
        // valid `T`.
        unsafe { ptr::read(copy.as_ptr().cast::<T>()) }
    }

    /// Copies `value` in.
    #[inline]
    pub(crate) fn store(&self, value: &T) {
        let mut copy = MaybeUninit::<Padded<T>>::zeroed();
        // SAFETY: `value` is readable and `copy` writable for the size of `T`, and they do not overlap.
        unsafe { ptr::copy_nonoverlapping(ptr::from_ref(value), copy.as_mut_ptr().cast::<T>(), 1) };
        let from = copy.as_ptr().cast::<usize>();
        // SAFETY: as in `load`; the bytes behind the value are zeros, those of the value initialised, by `IntoBytes`.
        let from = unsafe { std::slice::from_raw_parts(from, self.words().len()) };
        for (word, from) in self.words().iter().zip(from) {
            word.store(*from, Relaxed);
        }
    }
}

impl<T: Value> Default for Shared<T> {
    fn default() -> Self {
        Self(UnsafeCell::new(Padded(MaybeUninit::zeroed())))
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}
