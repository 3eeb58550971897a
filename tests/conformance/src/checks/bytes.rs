//! A: access to the bytes, and sharing them.

pub mod access;
pub mod sharing;
