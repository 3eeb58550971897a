//! What the calls that the trait provides share.

use std::hash::{BuildHasher, RandomState};

use crate::error::{Error, ErrorKind};
use crate::name::RegionId;

/// What [`Backend::holders`] and its kin try.
pub(crate) const HOLDERS: &str = "find the holders of";

/// Says that a backend lacks a call that it may lack; of another's identity it says that first.
pub(super) fn unsupported(backend: &'static str, id: &RegionId, operation: &'static str, why: &'static str) -> Error {
    if id.backend() != backend {
        return id.foreign_to(backend).operation(operation);
    }
    Error::new(ErrorKind::Unsupported).context(operation, backend, Some(id)).reason(why)
}

/// 64 random bits in 13 characters.
pub(crate) fn random_suffix() -> String {
    // Each `RandomState` hashes with keys of its own, which the standard library seeds from the system.
    let mut bits = RandomState::new().hash_one(std::process::id());
    (0..13)
        .map(|_| {
            let digit = b"abcdefghijklmnopqrstuvwxyz234567"[(bits & 31) as usize];
            bits >>= 5;
            char::from(digit)
        })
        .collect()
}
