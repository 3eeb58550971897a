//! Locks, events and values in shared memory that survive the death of any process.
//!
//! [`Members`] is a table of who takes part; a program takes a place in it by [`Member::join`]. [`Mutex`] excludes,
//! [`Event`] wakes, [`Versioned`] always holds one whole value, and [`Once`] initialises. All of them lie in a region, as
//! fields of a struct that [`shared_layout!`](shared_region::shared_layout) declares, and all zeros is their initial
//! state: a new region needs no initialisation.
//!
//! ```
//! use std::time::Duration;
//! use shared_region::{Backend, CreateOptions, Posix, SharedRegionExt, shared_layout};
//! use shared_region_sync::{Event, Member, Members, Mutex, Once, Versioned};
//! use zerocopy::{FromBytes, Immutable, IntoBytes};
//!
//! #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
//! #[repr(C)]
//! struct Config { rate: u32, gain: u32 }
//!
//! shared_layout! {
//!     struct Board {
//!         members: Members<64>,
//!         jobs: Mutex,
//!         config: Versioned<Config>,
//!         changed: Event,
//!         ready: Once,
//!     }
//! }
//!
//! let second = Duration::from_secs(1);
//! let region = Posix.create_unnamed(&CreateOptions::new(4096))?;
//! let me = Member::join(&region, 0, |board: &Board| &board.members)?;
//! let board: &Board = region.view(0)?;
//!
//! let mut guard = me.lock(&board.jobs, second)?;
//! if guard.recovered() {
//!     // The last holder died inside: mend what it guards, then
//!     guard.repaired();
//! }
//! drop(guard);
//!
//! me.update(&board.config, second, |config| config.rate = 50)?;
//! assert_eq!(board.config.load()?.rate, 50);
//! board.changed.notify_all();
//! # Ok::<(), shared_region::Error>(())
//! ```
//!
//! # Who dies, who scribbles
//!
//! Any process may be killed at any instruction: what it held is told to the next holder, and nobody waits for it. Any
//! process with write permission may put any bytes anywhere: wrong values, errors and time-outs are what it can cause,
//! and no undefined behaviour. Against a peer that shrinks or punches the object, see
//! [`SharedRegion`](shared_region::SharedRegion#what-a-peer-can-do).
//!
//! A stopped process (SIGSTOP, a debugger) is not dead: what it holds stays held until it goes on or is killed.
//!
//! # Timeouts
//!
//! Each call that waits takes one: [`Duration::ZERO`](std::time::Duration::ZERO) tries, and
//! [`Duration::MAX`](std::time::Duration::MAX) waits without end. It is one deadline on the monotonic clock, whatever
//! signals come.
//!
//! # Platform-specific behavior
//!
//! - **Linux**: everything. From 5.16 on a waiter sleeps on a lock and on its holder's life at once (`futex_waitv`);
//!   before, and where a sandbox forbids it, it looks again each millisecond.
//! - **Others**: [`Member::join`] is [`Unsupported`](shared_region::ErrorKind::Unsupported); what needs no member works,
//!   and who waits looks again each millisecond.

mod claim;
mod event;
mod guard;
mod member;
mod members;
mod mutex;
mod once;
mod sys;
mod versioned;

pub use event::{Event, EventReader};
pub use guard::Guard;
pub use member::Member;
pub use members::{MemberId, Members};
pub use mutex::Mutex;
pub use once::{LayoutTag, Once};
pub use sys::Value;
pub use versioned::{Versioned, VersionedReader};

use shared_region::shared_layout;

/// Runs the README's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
