//! POSIX shared memory in idiomatic Rust: `shm_open`, `ftruncate`, `mmap`, `shm_unlink`, and on Linux
//! what is needed to make them safe against full stores, half-made objects and hostile neighbours.
//!
//! An [`Object`] is an open shared memory object, a [`Mapping`] its bytes in this process. Neither
//! removes anything when dropped: an object with a name stays until [`unlink`], one without until its
//! last descriptor and mapping are gone.
//!
//! A mapping hands out raw pointers and nothing else, because other processes may write at any time;
//! atomics are the way to read and write through them. The errors are [`std::io::Error`]s with the
//! system's code kept, and no call fails with `EINTR`. The package `shared-region` puts checked access,
//! names, and System V memory behind the same interface on top of this.
//!
//! # Publication whole
//!
//! With `shm_open(O_CREAT)` and `ftruncate` an object is visible before it has its size and its content.
//! On Linux it can be finished first, and then appear under its name in one step:
//!
//! ```
//! # #[cfg(target_os = "linux")] {
//! use std::ffi::CString;
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use shared_region_posix::{MapAccess, Object, OpenOptions, Reserved, Sizing, unlink};
//!
//! let name = CString::new(format!("/doc-publication-{}", std::process::id()))?;
//!
//! let object = Object::create_unlinked(0o600)?;
//! let reserved = object.reserve(0, 4096, Sizing::Extend)?; // a full store says so here
//! assert_eq!(reserved, Reserved::Yes);
//! let ours = object.map(4096, MapAccess::ReadWrite)?;
//! // SAFETY: the mapping is live, writable and page-aligned, and every access to these bytes is atomic.
//! let counter = unsafe { AtomicU64::from_ptr(ours.as_mut_ptr().cast()) };
//! counter.store(42, Ordering::Relaxed);
//! object.link(&name)?; // from here on others can open it
//!
//! let (opened, stat) = OpenOptions::new().open(&name)?;
//! let theirs = opened.map(usize::try_from(stat.len())?, MapAccess::ReadOnly)?;
//! // SAFETY: the mapping is live and aligned, and an aligned volatile read of this width is one load.
//! assert_eq!(unsafe { theirs.as_ptr().cast::<u64>().read_volatile() }, 42);
//! unlink(&name)?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Names
//!
//! A name is what `shm_open` takes. The portable form is one slash and up to 30 bytes without another;
//! on Linux up to 255 bytes, and `x`, `/x` and `//x` are the same. Linux keeps the objects as files in
//! `/dev/shm`, where glibc also keeps named semaphores, as `sem.*`.
//!
//! # Platform-specific behavior
//!
//! - **Linux**: everything. Run on x86-64 with glibc and with musl, on 32-bit x86, and emulated on aarch64 and s390x.
//! - **macOS, the BSDs, illumos, Solaris**: what POSIX has, that is [`OpenOptions`], sizing, mapping,
//!   owner and mode, [`unlink`]; the rest is [`ErrorKind::Unsupported`](std::io::ErrorKind::Unsupported).
//!   Written from their manuals and sources, compiled for all of them but Solaris, never run.
//! - **Other Unix systems**, Android among them: descriptors from elsewhere can be adopted, sized and
//!   mapped; the rest is `Unsupported`. Compiled for Android, never run.
//! - **Not Unix**: the crate is empty.
#![cfg(unix)]

#[cfg(all(doctest, target_os = "linux"))]
#[doc = include_str!("../README.md")]
mod readme {}

mod access;
mod holders;
mod lock;
mod mapping;
mod object;
mod open;
mod seals;
mod space;
mod stat;
mod store;
mod sys;
mod unnamed;
mod unused;

pub use crate::access::MapAccess;
pub use crate::holders::{HeldMapping, Holder, Holders, holders, holders_of, is_held};
pub use crate::lock::Lock;
pub use crate::mapping::Mapping;
pub use crate::object::Object;
pub use crate::open::OpenOptions;
pub use crate::seals::Seals;
pub use crate::space::{Reserved, Sizing};
pub use crate::stat::Stat;
pub use crate::store::{EntryKind, Store, kind, list, set_mode, set_owner, store, store_identity, unlink};
pub use crate::unnamed::{UnnamedObject, UnnamedObjects, unnamed};
pub use crate::unused::{Pin, are_unused, is_unused, tells_unused, unlink_if_unused};
