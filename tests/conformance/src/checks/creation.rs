//! C: how regions come to be.

pub mod create;
pub mod open_or_create;
pub mod publish;
pub mod unnamed;
