//! The limits of this process that a call may have hit.

use std::fs::{self, File};
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
