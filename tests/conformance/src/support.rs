//! What checks are made of: second processes, the tracer, races, and private places.

pub mod child;
pub mod conversation;
pub mod holdings;
pub mod race;
pub mod run;
#[cfg(target_os = "linux")]
pub mod seccomp;
mod summary;
pub mod trace;
