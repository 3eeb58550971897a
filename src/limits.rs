//! The limits of this process that a call may have hit.

use std::fs::{self, File};
#[cfg(any(feature = "posix", feature = "sysv"))]
use std::io;
use std::io::Read;

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use crate::error::{Error, ErrorKind};

mod cgroup;

pub(crate) use cgroup::check_memory_limits;
pub use cgroup::{MemoryLimit, memory_limits};

/// One limit, by its usual name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    name: &'static str,
    resource: Option<Resource>,
}

pub(crate) const OPEN_FILES: Limit = Limit { name: "RLIMIT_NOFILE", resource: Some(Resource::RLIMIT_NOFILE) };
pub(crate) const FILE_SIZE: Limit = Limit { name: "RLIMIT_FSIZE", resource: Some(Resource::RLIMIT_FSIZE) };
pub(crate) const ADDRESS_SPACE: Limit = Limit { name: "RLIMIT_AS", resource: AS };
pub(crate) const LOCKED_MEMORY: Limit = Limit { name: "RLIMIT_MEMLOCK", resource: MEMLOCK };

impl Limit {
    /// The value in force, where one is set and the system tells.
    #[allow(clippy::unnecessary_cast, reason = "`rlim_t` is narrower or signed on some systems")]
    pub(crate) fn value(self) -> Option<u64> {
        match getrlimit(self.resource?) {
            Ok((soft, _)) if soft != RLIM_INFINITY => Some(soft as u64),
            _ => None,
        }
    }

    /// Says that a call hit this limit.
    pub(crate) fn exceeded(self, errno: Errno) -> Error {
        let kind = ErrorKind::LimitExceeded { limit: self.name, value: self.value().unwrap_or(u64::MAX) };
        Error::new(kind).errno(errno as i32)
    }
}

/// Says that this process has as many mappings as Linux lets it have, if that is so.
pub(crate) fn mappings_exceeded(errno: Errno) -> Option<Error> {
    let value = fs::read_to_string("/proc/sys/vm/max_map_count").ok()?.trim().parse().ok()?;
    let (mut maps, mut chunk, mut mappings) = (File::open("/proc/self/maps").ok()?, [0; 4096], 0);
    // Piece by piece, as memory for all of it would take a mapping.
    loop {
        match maps.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => mappings += chunk[..read].iter().filter(|&&byte| byte == b'\n').count() as u64,
            Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => {}
            Err(_) => return None,
        }
    }
    // The list has a line or two that are not counted.
    let kind = ErrorKind::LimitExceeded { limit: "vm.max_map_count", value };
    (mappings + 8 >= value).then(|| Error::new(kind).errno(errno as i32))
}

/// Whether the limit of locked memory is why so many bytes from an address on could not be locked, as the kernel
/// reckons: what is locked, and of the range what is not yet.
pub(crate) fn exceeds_locked_memory(start: usize, len: usize) -> bool {
    let Some(limit) = LOCKED_MEMORY.value() else { return false };
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    exceeds(limit, start, len, &read("/proc/self/status"), &read("/proc/self/smaps"))
}

/// Translates the failure to map so many bytes, where everything that is mapped is locked.
///
/// mmap(2), mlockall(2): EAGAIN then means the limit; elsewhere somebody's lock.
#[cfg(any(feature = "posix", feature = "sysv"))]
pub(crate) fn mapping_refused(error: &io::Error, len: usize) -> Option<Error> {
    let refused = error.raw_os_error() == Some(Errno::EAGAIN as i32) && exceeds_locked_memory(0, len);
    refused.then(|| LOCKED_MEMORY.exceeded(Errno::EAGAIN))
}

fn exceeds(limit: u64, start: usize, len: usize, status: &str, mappings: &str) -> bool {
    const CAP_IPC_LOCK: u64 = 1 << 14;
    let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let privileged =
        of("CapEff:").and_then(|bits| u64::from_str_radix(bits, 16).ok()).map(|bits| bits & CAP_IPC_LOCK != 0);
    let locked = of("VmLck:").and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok());
    // Without `/proc`, what alone is more than the limit is taken for over it.
    let locked = locked.map_or(0, |kib| kib.saturating_mul(1024));
    let missing = (len as u64).saturating_sub(locked_within(start, len, mappings));
    !privileged.unwrap_or(false) && locked.saturating_add(missing) > limit
}

/// How many bytes of a range are locked, by the list of mappings with their flags. proc_pid_smaps(5)
fn locked_within(start: usize, len: usize, mappings: &str) -> u64 {
    let (mut range, mut bytes) = (None, 0);
    for line in mappings.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if let Some((from, to)) = word.split_once('-') {
            range = usize::from_str_radix(from, 16).ok().zip(usize::from_str_radix(to, 16).ok());
        } else if word == "VmFlags:" && rest.split(' ').any(|flag| flag == "lo") {
            let (from, to) = range.unwrap_or_default();
            bytes += to.min(start.saturating_add(len)).saturating_sub(from.max(start)) as u64;
        }
    }
    bytes
}

/// Why a region of huge pages cannot be had.
#[cfg(any(feature = "posix", feature = "sysv"))]
pub(crate) fn too_few_huge_pages(size: usize) -> String {
    format!("{size} bytes need more huge pages than are free: raise vm.nr_hugepages, or ask for less")
}

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        const AS: Option<Resource> = Some(Resource::RLIMIT_AS);
        const MEMLOCK: Option<Resource> = Some(Resource::RLIMIT_MEMLOCK);
    } else if #[cfg(any(target_os = "freebsd", target_os = "netbsd", target_os = "openbsd"))] {
        const AS: Option<Resource> = None;
        const MEMLOCK: Option<Resource> = Some(Resource::RLIMIT_MEMLOCK);
    } else {
        const AS: Option<Resource> = Some(Resource::RLIMIT_AS);
        const MEMLOCK: Option<Resource> = None;
    }
}

#[cfg(test)]
mod tests {
    use super::{exceeds, locked_within};

    const MAPPINGS: &str = "\
1000-3000 rw-s 00000000 00:01 1 /dev/shm/a
Rss: 8 kB
VmFlags: rd wr sh mr mw me ms lo
4000-6000 rw-s 00000000 00:01 1 /dev/shm/b
VmFlags: rd wr sh mr mw me ms
6000-7000 rw-s 00000000 00:01 1
VmFlags: rd lo sd
";

    fn status(capabilities: &str, locked: u64) -> String {
        format!("VmPeak:\t 5 kB\nVmLck:\t      {locked} kB\nCapEff:\t{capabilities}\n")
    }

    #[test]
    fn what_is_locked_of_a_range_is_the_part_of_it_in_locked_mappings() {
        for (start, len, locked) in
            [(0x1000, 0x2000, 0x2000), (0x2000, 0x2000, 0x1000), (0x4000, 0x2000, 0), (0x2800, 0x4000, 0x1000)]
        {
            assert_eq!(locked_within(start, len, MAPPINGS), locked, "{start:x} {len:x}");
        }
    }

    #[test]
    fn the_limit_is_exceeded_only_if_the_arithmetic_says_so() {
        let (none, all) = ("0000000000000000", "000001ffffffffff");
        assert!(exceeds(0x3000, 0x8000, 0x4000, &status(none, 0), ""));
        assert!(!exceeds(0x4000, 0x8000, 0x4000, &status(none, 0), ""));
        // Something else is locked.
        assert!(exceeds(0x4000, 0x8000, 0x4000, &status(none, 4), ""));
        // The range itself is.
        assert!(!exceeds(0x2000, 0x1000, 0x2000, &status(none, 8), MAPPINGS));
        assert!(!exceeds(0, 0x8000, 0x4000, &status(all, 0), ""));
        // Without `/proc` the limit is all that is known.
        assert!(exceeds(0x3000, 0x8000, 0x4000, "", ""));
        assert!(!exceeds(0x4000, 0x8000, 0x4000, "", ""));
    }
}
