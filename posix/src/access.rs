//! What a mapping may do.

/// Says what a [`Mapping`](crate::Mapping) may do with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapAccess {
    /// `PROT_READ | PROT_WRITE`; the descriptor must be for writing too.
    ReadWrite,
    /// `PROT_READ`: a store is a fault, `SIGSEGV`, and with a read-only descriptor `mprotect` cannot
    /// change that.
    ReadOnly,
}
