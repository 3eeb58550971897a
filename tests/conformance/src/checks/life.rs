//! L: how long regions live, and who removes them.

pub mod crash;
pub mod holders;
pub mod last_user;
pub mod lifetime;
pub mod removal;
pub mod replace;
pub mod unused;
