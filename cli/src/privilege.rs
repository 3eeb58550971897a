//! What the caller may do to what belongs to others.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat, geteuid};

/// Bits of `CapEff`; capabilities(7).
const CAP_FOWNER: u64 = 1 << 3;
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Who calls.
#[derive(Debug)]
pub(crate) struct Caller {
    uid: u32,
    capabilities: u64,
    /// Whether names can be removed from the store at all, and others' by whoever may do that.
    store: (bool, bool),
}

impl Caller {
    pub(crate) fn new() -> Self {
        let uid = geteuid().as_raw();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
        // Where that cannot be read, root is taken for somebody who may do all.
        let capabilities = set.unwrap_or(if uid == 0 { u64::MAX } else { 0 });
        // Android's C library asks for the real user alone.
        #[cfg(not(target_os = "android"))]
        let effective = AtFlags::AT_EACCESS;
        #[cfg(target_os = "android")]
        let effective = AtFlags::empty();
        let writable = faccessat(AT_FDCWD, "/dev/shm", AccessFlags::W_OK | AccessFlags::X_OK, effective).is_ok();
        let free = fs::metadata("/dev/shm").is_ok_and(|store| store.mode() & 0o1000 == 0 || store.uid() == uid);
        Self { uid, capabilities, store: (writable, free) }
    }

    /// Whether they may remove what belongs to `owner`, or was made by `creator`. shm_unlink(3), IPC_RMID in shmctl(2)
    pub(crate) fn may_remove(&self, backend: &str, owner: u32, creator: Option<u32>) -> bool {
        let own = owner == self.uid || creator == Some(self.uid);
        let has = |capability| self.capabilities & capability != 0;
        match backend {
            "sysv" => own || has(CAP_SYS_ADMIN),
            _ => self.store.0 && (own || self.store.1 || has(CAP_FOWNER)),
        }
    }
}
