//! Linux: the flags, `struct shmid_ds`, and the commands that POSIX does not have.

#![allow(clippy::unnecessary_cast, reason = "the widths of C's types differ between machines")]

use std::ffi::c_int;
use std::io;
use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, shmatt_t, shmid_ds};

use super::calls::{control, zeroed};
use crate::{AttachOptions, GetOptions, HugePages, Limits, SegmentStat, Usage};

// What libc lacks, from the kernel's include/uapi/linux/shm.h (SHM_HUGE_SHIFT by way of
// include/uapi/asm-generic/hugetlb_encode.h) and include/linux/shm.h (SHM_DEST, SHM_LOCKED).
const SHM_HUGE_SHIFT: u32 = 26;
pub(super) const SHM_DEST: u32 = 0o1000;
pub(super) const SHM_LOCKED: u32 = 0o2000;
const SHM_INFO: c_int = 14;
// The bit 0x100 is 32-bit musl's mark for 64-bit times, which libc's IPC_STAT has where it is needed.
pub(super) const SHM_STAT: c_int = 13 | (libc::IPC_STAT & 0x100);
pub(super) const SHM_STAT_ANY: c_int = 15 | (libc::IPC_STAT & 0x100);

/// More than any `SHMLBA`, to which SHM_RND rounds: the page size nearly everywhere, and 256 KiB on MIPS.
/// arch/*/include/asm/shmparam.h
const LOWEST_TO_ROUND: usize = 1 << 20;

/// The kernel's `__kernel_ulong_t`, by the only name that libc has for it. Not `c_ulong`, which on x32 has half its size.
type Word = shmatt_t;

/// `struct shminfo64` of include/uapi/asm-generic/shmbuf.h, which the C libraries call `shminfo`.
#[repr(C)]
#[derive(Default)]
struct ShmInfo64 {
    shmmax: Word,
    shmmin: Word,
    shmmni: Word,
    shmseg: Word,
    shmall: Word,
    unused: [Word; 4],
}

/// `struct shm_info` of include/uapi/linux/shm.h.
#[repr(C)]
#[derive(Default)]
struct ShmInfo {
    used_ids: c_int,
    shm_tot: Word,
    shm_rss: Word,
    shm_swp: Word,
    swap_attempts: Word,
    swap_successes: Word,
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// The flags of `shmget` that POSIX does not have.
pub(super) fn get_flags(options: &GetOptions) -> io::Result<c_int> {
    let reserve = if options.no_reserve { libc::SHM_NORESERVE } else { 0 };
    let log2 = match options.huge_pages {
        HugePages::No => return Ok(reserve),
        HugePages::Default => 0,
        HugePages::Size2MiB => 21,
        HugePages::Size1GiB => 30,
        HugePages::Log2(log2 @ 0..=63) => u32::from(log2),
        HugePages::Log2(log2) => {
            return Err(invalid(format!("huge pages of 2^{log2} bytes: the exponent is over 63")));
        }
    };
    Ok(reserve | libc::SHM_HUGETLB | (log2 << SHM_HUGE_SHIFT) as c_int)
}

/// The address (0: any) and the flags of `shmat`.
///
/// Linux refuses an address at which something is mapped unless SHM_REMAP is among the flags, and it never is.
/// (shmop(2)) The exception is an address that it rounds down to 0, which is refused here.
pub(super) fn placement(options: &AttachOptions) -> io::Result<(usize, c_int)> {
    let mut flags = 0;
    if options.read_only {
        flags |= libc::SHM_RDONLY;
    }
    if options.executable {
        flags |= libc::SHM_EXEC;
    }
    let Some(address) = options.address else {
        return Ok((0, flags));
    };
    if address == 0 {
        return Err(invalid("nothing can be attached at address 0".to_owned()));
    }
    if options.round_down {
        if address < LOWEST_TO_ROUND {
            return Err(invalid(format!("address {address:#x} is too low to be rounded down")));
        }
        flags |= libc::SHM_RND;
    }
    Ok((address, flags))
}

/// Turns the kernel's struct into ours.
pub(super) fn convert(id: i32, ds: &shmid_ds) -> SegmentStat {
    let perm = &ds.shm_perm;
    // SAFETY: the key is the first member of `ipc_perm` on every Linux, a 32-bit integer; only its name differs
    // between the C libraries. So an aligned `i32` stands there. include/uapi/asm-generic/ipcbuf.h, sysvipc(7)
    let key = unsafe { ptr::from_ref(perm).cast::<i32>().read() };
    let mode = perm.mode as u32;
    #[allow(deprecated, reason = "its type is to become a wider one with musl, which changes nothing here")]
    let sequence = perm.__seq as u32;
    SegmentStat {
        id,
        key,
        size: ds.shm_segsz,
        mode: mode & 0o777,
        uid: perm.uid,
        gid: perm.gid,
        creator_uid: perm.cuid,
        creator_gid: perm.cgid,
        creator_pid: ds.shm_cpid.unsigned_abs(),
        last_pid: ds.shm_lpid.unsigned_abs(),
        attach_count: ds.shm_nattch as u64,
        attach_time: ds.shm_atime as i64,
        detach_time: ds.shm_dtime as i64,
        change_time: ds.shm_ctime as i64,
        removed: mode & SHM_DEST != 0,
        locked: mode & SHM_LOCKED != 0,
        sequence: Some(sequence),
        resident: None,
        swapped: None,
        huge_page_size: None,
    }
}

pub(crate) fn lock(id: i32) -> io::Result<()> {
    // SAFETY: SHM_LOCK does not look at the buffer. shmctl(2)
    unsafe { control(id, libc::SHM_LOCK, ptr::null_mut()) }?;
    Ok(())
}

pub(crate) fn unlock(id: i32) -> io::Result<()> {
    // SAFETY: SHM_UNLOCK does not look at the buffer. shmctl(2)
    unsafe { control(id, libc::SHM_UNLOCK, ptr::null_mut()) }?;
    Ok(())
}

pub(crate) fn remove_semaphores(id: i32) -> io::Result<()> {
    // SAFETY: with IPC_RMID `semctl` takes three numbers and touches no memory of this process. semctl(2)
    Errno::result(unsafe { libc::semctl(id, 0, libc::IPC_RMID) })?;
    Ok(())
}

pub(crate) fn remove_queue(id: i32) -> io::Result<()> {
    // SAFETY: IPC_RMID does not look at the buffer. msgctl(2)
    Errno::result(unsafe { libc::msgctl(id, libc::IPC_RMID, ptr::null_mut()) })?;
    Ok(())
}

pub(crate) fn limits() -> io::Result<Limits> {
    let mut info = ShmInfo64::default();
    // SAFETY: IPC_INFO writes one `struct shminfo64`, which `info` is. shmctl(2)
    unsafe { control(0, libc::IPC_INFO, (&raw mut info).cast()) }?;
    Ok(Limits {
        segment_max_bytes: info.shmmax as u64,
        segment_min_bytes: info.shmmin as u64,
        segments_max: info.shmmni as u64,
        pages_max: info.shmall as u64,
    })
}

/// As the kernel counts, which is wrong for huge pages.
pub(super) fn raw_usage() -> io::Result<Usage> {
    let mut info = ShmInfo::default();
    // SAFETY: SHM_INFO writes one `struct shm_info`, which `info` is. shmctl(2)
    let highest = unsafe { control(0, SHM_INFO, (&raw mut info).cast()) }?;
    Ok(Usage {
        segments: u64::from(info.used_ids.unsigned_abs()),
        pages_total: info.shm_tot as u64,
        pages_resident: info.shm_rss as u64,
        pages_swapped: info.shm_swp as u64,
        highest_index: highest.unsigned_abs(),
    })
}

/// What SHM_STAT or SHM_STAT_ANY says of an index of the kernel's table.
pub(super) fn stat_index(index: c_int, command: c_int) -> io::Result<SegmentStat> {
    let mut ds = zeroed();
    // SAFETY: both commands write one `struct shmid_ds`, which `ds` is, and return the segment's id. shmctl(2)
    let id = unsafe { control(index, command, &raw mut ds) }?;
    Ok(convert(id, &ds))
}
