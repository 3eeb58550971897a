//! What is to be written into a region, measured before the first byte is.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use tempfile::spooled_tempfile_in;

use crate::failure::{Failure, tell};
use crate::standard;

/// How much is kept in memory, before a temporary file takes over.
const IN_MEMORY: usize = 16 << 20;

/// Bytes whose number is known.
pub(crate) struct Input {
    bytes: Box<dyn Read>,
    length: u64,
    name: String,
}

impl Input {
    /// Opens a file, or standard input, and measures it: by its size where it has one, else by reading it to its end.
    /// Past `limit` nobody needs to know how long it is.
    pub(crate) fn open(path: Option<&PathBuf>, limit: u64) -> Result<Self, Failure> {
        let path = path.filter(|path| path.as_path() != Path::new("-"));
        let name = path.map_or("standard input".to_owned(), |path| format!("{path:?}"));
        let failed = |error: io::Error| Failure::with(format_args!("read {name}"), &error);
        let mut file = match path {
            Some(path) => File::open(path).map_err(failed)?,
            None => standard::input().map_err(failed)?.into(),
        };
        let metadata = file.metadata().map_err(failed)?;
        // Files of the kernel's own, as in /proc, say 0 and have something to read.
        if metadata.is_file() && metadata.len() > 0 {
            let position = file.stream_position().map_err(failed)?;
            let length = metadata.len().saturating_sub(position);
            return Ok(Self { bytes: Box::new(file), length, name });
        }
        let directory = spool_directory();
        let mut spool = spooled_tempfile_in(IN_MEMORY, &directory);
        let length = io::copy(&mut file.take(limit.saturating_add(1)), &mut spool).map_err(failed)?;
        if spool.is_rolled() && is_in_memory(&directory) {
            tell(&format_args!(
                "until all is written the input takes its {length} bytes of memory twice, as {} is in memory: a TMPDIR on a disk would not",
                directory.display()
            ));
        }
        spool.flush().and_then(|()| spool.rewind()).map_err(failed)?;
        Ok(Self { bytes: Box::new(spool), length, name })
    }

    /// How many bytes there are; beyond the limit, at least one more than that.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn read(&mut self, piece: &mut [u8]) -> Result<(), Failure> {
        self.bytes.read_exact(piece).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Failure::Failed(format!("{} became shorter while it was read", self.name)),
            _ => Failure::with(format_args!("read {}", self.name), &error),
        })
    }
}

/// Where what does not fit into memory goes: to a disk, unless somebody chose otherwise.
fn spool_directory() -> PathBuf {
    let chosen = std::env::temp_dir();
    let disk = PathBuf::from("/var/tmp");
    if std::env::var_os("TMPDIR").is_none() && is_in_memory(&chosen) && disk.is_dir() { disk } else { chosen }
}

/// Whether files there are memory.
#[cfg(target_os = "linux")]
fn is_in_memory(directory: &Path) -> bool {
    use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
    /// From the kernel's include/uapi/linux/magic.h.
    const RAMFS_MAGIC: FsType = FsType(0x8584_58f6_u32 as _); // the type differs by processor and C library
    statfs(directory).is_ok_and(|system| [TMPFS_MAGIC, RAMFS_MAGIC].contains(&system.filesystem_type()))
}

/// That is not asked here.
#[cfg(not(target_os = "linux"))]
fn is_in_memory(_: &Path) -> bool {
    false
}
