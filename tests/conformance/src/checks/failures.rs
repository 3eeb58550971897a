//! E: errors.

pub mod causes;
pub mod errors;
pub mod faults;
