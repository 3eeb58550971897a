//! S: memory, limits, and that nothing leaks.

pub mod huge;
pub mod leaks;
pub mod space;
