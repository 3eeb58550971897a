//! Memory that several processes share, over System V or over POSIX, behind one tested contract.
//!
//! A [`Backend`] makes and finds regions: [`Posix`], [`Sysv`], or [`AnyBackend`], chosen at run time. A region implements
//! [`SharedRegion`], which states what a caller may rely on. [`SharedRegionExt`] reads and writes it.
//!
//! ```
//! # #[cfg(any(feature = "posix", feature = "sysv"))] {
//! use std::sync::atomic::Ordering;
//! use shared_region::{Backend, CreateOptions, DefaultBackend, OpenOptions, RegionName, SharedRegion, SharedRegionExt};
//!
//! let name = RegionName::new("/frames")?;
//! # let name = RegionName::new(&format!("/frames-{}", std::process::id()))?;
//! let writer = DefaultBackend.create_new(&name, &CreateOptions::new(4096).mode(0o600))?;
//! writer.write_at(0, b"hello")?;
//!
//! let reader = DefaultBackend.open(&name, &OpenOptions::new().read_only(true))?; // another process, usually
//! let mut bytes = [0u8; 5];
//! reader.read_at(0, &mut bytes)?;
//! assert_eq!(&bytes, b"hello");
//! writer.atomic_u64(4088)?.fetch_add(1, Ordering::Relaxed); // &AtomicU64, checked
//! writer.remove()?;
//! # }
//! # Ok::<(), shared_region::Error>(())
//! ```
//!
//! # Where to look
//!
//! | to | see |
//! |---|---|
//! | create, open, remove, list | [`Backend`], [`CreateOptions`], [`OpenOptions`] |
//! | read and write safely | [`SharedRegionExt`], [`SharedLayout`], [`shared_layout!`] |
//! | wait, exclude, survive a death | the package `shared-region-sync` |
//! | name a region, pass it on | [`RegionName`], [`RegionId`], [`PosixName`] |
//! | know what the system knows | [`Metadata`], [`SharedRegion::metadata`], [`Backend::metadata`] |
//! | know who holds a region | [`Holders`], [`Backend::holders`] |
//! | write for both backends | [`Capabilities`] says where they differ |
//! | understand a failure | [`Error`], [`ErrorKind`] |
//! | know the limits of a container | [`memory_limits`] |
//! | adopt a descriptor | `PosixRegion::from_fd`, with [`OpenOptions::require_seals`] |
//! | let others read and not write | `PosixRegion::share_read_only`; a mode such as 0640 for what has a name |
//! | meet a C program by key or id | `SysvRegion` |
//! | port C that calls `shmget` | [`porting`], a guide in three stages |
//! | add a backend | implement [`Backend`] and [`SharedRegion`]; the setters marked "for backends" are yours |
//!
//! # Lifetime
//!
//! A region outlives its handles and processes until somebody removes it: [`SharedRegion::remove`],
//! [`Backend::remove`], [`Removal::OnDrop`], or the last of those who say [`Removal::LastUser`]. Three things outside of the program remove regions too: systemd's
//! `RemoveIPC=` when a user has logged out, `kernel.shm_rmid_forced=1` (System V, once nobody is attached), and a
//! reboot. Mappings that exist go on working.
//!
//! # Features
//!
//! `posix` and `sysv`, both on by default, each bring their backend; `zerocopy` brings typed copies. The unit structs
//! `Posix` and `Sysv` can be named whenever they are compiled. `DefaultBackend` and `Region` follow the features.
#![cfg_attr(
    not(all(feature = "posix", feature = "sysv")),
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "the documentation speaks of both backends, and the guide needs both"
    )
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod backend;
mod backoff;
mod denied;
mod errno;
mod error;
mod holders;
mod limits;
mod memory;
mod metadata;
mod name;
mod options;
#[cfg(feature = "posix")]
mod posix;
#[cfg(any(feature = "posix", feature = "sysv"))]
mod process;
mod region;
mod seals;
#[cfg(feature = "sysv")]
mod sysv;

pub use access::{SharedLayout, SharedRegionExt};
pub use backend::{AnyBackend, Backend};
#[cfg(any(feature = "posix", feature = "sysv"))]
pub use backend::{DefaultBackend, Region};
pub use error::{Error, ErrorKind, Result};
pub use holders::{HeldMapping, Holder, Holders};
pub use limits::{MemoryLimit, memory_limits};
pub use metadata::{Capabilities, ListEntry, Metadata};
pub use name::{PosixName, RegionId, RegionName};
pub use options::{Allocation, CreateOptions, HugePages, OpenOptions, Removal};
#[cfg(feature = "posix")]
pub use posix::{Posix, PosixRegion};
pub use region::{Access, SharedRegion};
pub use seals::Seals;
#[cfg(feature = "sysv")]
pub use sysv::{Sysv, SysvRegion};

/// Runs the README's examples.
#[cfg(all(doctest, feature = "posix"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// A guide for programs in C that call `shmget`. There is nothing to import here.
///
// Where the files are on docs.rs. Of two definitions of a link the first counts.
/// [sensors.c]: https://docs.rs/crate/shared-region/latest/source/examples/port/sensors.c
/// [board.rs]: https://docs.rs/crate/shared-region/latest/source/examples/port/board.rs
/// [stage1.rs]: https://docs.rs/crate/shared-region/latest/source/examples/port/stage1.rs
/// [stage2.rs]: https://docs.rs/crate/shared-region/latest/source/examples/port/stage2.rs
/// [stage3.rs]: https://docs.rs/crate/shared-region/latest/source/examples/port/stage3.rs
/// [frames.rs]: https://docs.rs/crate/shared-region/latest/source/examples/x11_shm/frames.rs
///
#[cfg(all(any(doc, doctest), feature = "posix", feature = "sysv"))]
#[doc = include_str!("../PORTING.md")]
pub mod porting {}
