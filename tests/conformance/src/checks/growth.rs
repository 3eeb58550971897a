//! Z: growth.

pub mod grow;
pub mod growers;
