//! N: names and identities.

pub mod identity;
pub mod names;
