//! System V shared memory in idiomatic Rust: `shmget`, `shmat`, `shmdt`, `shmctl` and `ftok`.
//!
//! A **key**, an `i32` that programs agree on or make with [`ftok`], leads to a **segment**, which the kernel
//! knows by an id: [`Segment`]. Attaching it maps it into the process: [`Attachment`]. A segment stays until
//! somebody removes it, whether or not a process uses it.
//!
//! Every call and flag of C is here, and the search box above finds it by its C name. [`GetOptions`] holds the
//! flags of `shmget` and [`AttachOptions`] those of `shmat`; the commands of `shmctl` are methods of [`Segment`] and
//! the functions [`segments`], [`limits`] and [`usage`]. Only `SHM_REMAP` is missing, which no safe function can
//! offer.
//!
//! Errors are [`std::io::Error`]s with the system's code kept
//! ([`raw_os_error`](std::io::Error::raw_os_error)). What is refused without a call has no code. No call
//! answers `EINTR`: it is repeated.
//!
//! # Examples
//!
//! Two attachments of one segment, as two processes would have them:
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! use shared_region_sysv::{AttachOptions, Segment, ftok};
//!
//! let key = ftok(std::env::current_exe()?, 1)?;
//! let segment = Segment::create_new(key, 4096, 0o600)?;
//! let writer = segment.attach(&AttachOptions::new());
//! let reader = Segment::open(key).and_then(|it| it.attach(&AttachOptions::new().read_only(true)));
//! segment.remove()?; // the bytes stay while attached
//! let (writer, reader) = (writer?, reader?);
//!
//! // SAFETY: the attachment is writable, starts at a page and has 4096 bytes; both sides use atomics.
//! unsafe { AtomicU64::from_ptr(writer.as_mut_ptr().cast()) }.store(42, Ordering::Release);
//!
//! // SAFETY: as above; nothing is stored through this reference, whose memory is read-only.
//! let seen = unsafe { &*reader.as_ptr().cast::<AtomicU64>() }.load(Ordering::Acquire);
//! assert_eq!(seen, 42);
//! # std::io::Result::Ok(())
//! ```
//!
//! # Platform-specific behavior
//!
//! Run on Linux only (x86-64 with glibc and musl; 32-bit x86; emulated aarch64 and s390x). For macOS, FreeBSD, DragonFly,
//! NetBSD and OpenBSD the crate compiles, and was written from their manuals and headers; there [`segments`],
//! [`attachers`], [`limits`], [`usage`], [`Segment::lock`], [`Segment::unlock`], [`AttachOptions::address`],
//! [`AttachOptions::executable`], huge pages and [`GetOptions::no_reserve`] are
//! [`Unsupported`](std::io::ErrorKind::Unsupported). On any other system every call is.

#[cfg(all(doctest, target_os = "linux"))]
#[doc = include_str!("../README.md")]
mod readme {}

mod attachers;
mod attachment;
mod beside;
mod key;
mod namespace;
mod options;
mod segment;
mod stat;
mod sys;

pub use attachers::{AttachedRange, Attacher, Attachers, attachers};
pub use attachment::Attachment;
pub use beside::{remove_queue, remove_semaphores};
pub use key::{IPC_PRIVATE, ftok};
pub use namespace::{Limits, Usage, limits, segments, usage};
pub use options::{AttachOptions, GetOptions, HugePages};
pub use segment::Segment;
pub use stat::SegmentStat;
