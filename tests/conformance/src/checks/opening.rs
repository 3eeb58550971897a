//! O: opening.

pub mod mapping;
pub mod open;
