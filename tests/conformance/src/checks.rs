//! The checks, by section of the contract. Each is generic over the implementation, and asks its capabilities for what
//! differs, never its name.

mod bytes;
mod creation;
pub mod divergence;
mod failures;
mod growth;
pub mod hostile;
mod life;
mod naming;
mod opening;
pub mod permissions;
pub mod process;
mod room;

pub use bytes::{access, sharing};
pub use creation::{create, open_or_create, publish, unnamed};
pub use failures::{causes, errors, faults};
pub use growth::{grow, growers};
pub use life::{crash, holders, last_user, lifetime, removal, replace, unused};
pub use naming::{identity, names};
pub use opening::{mapping, open};
pub use room::{huge, leaks, space};
