//! The bottom of the crate: the system calls, and what differs between systems.
//!
//! The ladder picks the platform; all other files are free of `cfg`. `calls` has what POSIX describes, and stands for
//! every system that has it. `linux` and `bsd` have the flags, `struct shmid_ds` and what POSIX lacks.

use cfg_if::cfg_if;

cfg_if! {
    if #[cfg(target_os = "linux")] {
        mod calls;
        mod linux;
        mod linux_attachers;
        mod linux_huge;
        mod linux_list;
        use linux as platform;
        pub(crate) use calls::{attach, detach, ftok, get, remove, set, stat};
        pub(crate) use linux::{limits, lock, remove_queue, remove_semaphores, unlock};
        pub(crate) use linux_attachers::attachers;
        pub(crate) use linux_list::{segments, usage};
    } else if #[cfg(any(target_vendor = "apple", target_os = "netbsd"))] {
        mod bsd;
        mod calls;
        use bsd as platform;
        pub(crate) use bsd::{attachers, limits, lock, remove_queue, remove_semaphores, segments, unlock, usage};
        pub(crate) use calls::{attach, detach, ftok, get, remove, set, stat};

        /// Two members of `struct ipc_perm`, by their names here. A key is a C `long` on NetBSD.
        #[allow(clippy::unnecessary_cast, reason = "not on every one of these systems")]
        mod perm {
            use nix::libc::ipc_perm;

            pub(super) fn key(perm: &ipc_perm) -> i32 {
                perm._key as i32
            }

            pub(super) fn sequence(perm: &ipc_perm) -> u32 {
                u32::from(perm._seq)
            }
        }
    } else if #[cfg(any(target_os = "freebsd", target_os = "dragonfly", target_os = "openbsd"))] {
        mod bsd;
        mod calls;
        use bsd as platform;
        pub(crate) use bsd::{attachers, limits, lock, remove_queue, remove_semaphores, segments, unlock, usage};
        pub(crate) use calls::{attach, detach, ftok, get, remove, set, stat};

        /// Two members of `struct ipc_perm`, by their names here. A key is a C `long` on some.
        #[allow(clippy::unnecessary_cast, reason = "not on every one of these systems")]
        mod perm {
            use nix::libc::ipc_perm;

            pub(super) fn key(perm: &ipc_perm) -> i32 {
                perm.key as i32
            }

            pub(super) fn sequence(perm: &ipc_perm) -> u32 {
                u32::from(perm.seq)
            }
        }
    } else {
        mod unsupported;
        pub(crate) use unsupported::{
            attach, attachers, detach, ftok, get, limits, lock, remove, remove_queue, remove_semaphores, segments, set,
            stat, unlock, usage,
        };
    }
}
