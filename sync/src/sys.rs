//! What the system does, and the only `unsafe` code: sleeping and waking, who dies, which process this is, and values
//! that others write.

cfg_if::cfg_if! {
    if #[cfg(target_os = "linux")] {
        mod linux;
        pub(crate) use linux::{Birthmark, Deadline, barrier, own_id, spawn, wait, wait_for_either, wake_all, watched, Watch};
    } else {
        mod absent;
        pub(crate) use absent::{Birthmark, Deadline, barrier, own_id, spawn, wait, wait_for_either, wake_all, watched, Watch};
    }
}
mod values;

pub(crate) use std::sync::atomic::{AtomicU32, fence};

pub(crate) use values::Shared;
pub use values::Value;

/// In a member's word: the bits of the thread that keeps it (`FUTEX_TID_MASK` of futex(2)).
pub(crate) const DEATH_ID: u32 = 0x3FFF_FFFF;
/// In a member's word: the kernel has marked the death (`FUTEX_OWNER_DIED`).
pub(crate) const DEATH_MARK: u32 = 0x4000_0000;
/// In a member's word: somebody sleeps until then, whom the kernel shall wake (`FUTEX_WAITERS`).
pub(crate) const DEATH_WAITERS: u32 = 0x8000_0000;

/// How often a lock is looked at before sleeping.
pub(crate) const SPINS: u32 = 100;
