//! Asks the kernel whether anybody holds an object, by a lease.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::stat::Mode;
use nix::sys::statfs::{EXT4_SUPER_MAGIC, FsType, TMPFS_MAGIC, fstatfs, statfs};

use super::{DIRECTORY, StorePath, kind, look, open_anew, raw, unlink};
use crate::sys::{error, retry};

/// From the kernel's include/uapi/linux/magic.h.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6_u32 as _); // the type differs by processor and C library, its 32 bits do not

/// Where all who use a file hold its one inode. Measured: on overlayfs a mapping holds the file below instead, so that a
/// lease is granted in spite of it, and its device is another.
const EXACT: [FsType; 3] = [TMPFS_MAGIC, RAMFS_MAGIC, EXT4_SUPER_MAGIC];

pub(super) fn is_exact(path: &CStr) -> bool {
    retry(|| Ok(statfs(path)?)).is_ok_and(|system| EXACT.contains(&system.filesystem_type()))
}

/// How long one waits for others who ask, and for a lease of somebody else's.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) fn is_unused(name: &CStr) -> io::Result<bool> {
    let _turn = Turn::take();
    Question::open(name)?.grants_lease()
}

/// How many questions one turn has: some milliseconds, after which others come to theirs.
const TURN: usize = 256;

pub(crate) fn are_unused(names: &[&CStr]) -> Vec<io::Result<bool>> {
    let mut answers = Vec::with_capacity(names.len());
    // The device on which the last one was, where leases are exact.
    let mut exact = None;
    for names in names.chunks(TURN) {
        let _turn = Turn::take();
        answers.extend(names.iter().map(|name| {
            let question = Question::open(name)?;
            if exact != Some(question.identity.0) {
                question.check_exact()?;
                exact = Some(question.identity.0);
            }
            question.takes_lease()
        }));
    }
    answers
}

pub(crate) fn unlink_if_unused(name: &CStr) -> io::Result<bool> {
    let _turn = Turn::take();
    Question::open(name)?.unlink(name)
}

/// Whether questions are answered here, as far as that shows beforehand.
pub(crate) fn tells_unused() -> bool {
    let leases = fs::read_to_string("/proc/sys/fs/leases-enable");
    leases.map_or(true, |text| text.trim() != "0")
        // A missing store has another error of its own.
        && retry(|| Ok(statfs(DIRECTORY)?)).map_or(true, |system| EXACT.contains(&system.filesystem_type()))
}

/// An object that is known and not held: an `O_PATH` description keeps its inode from becoming another's, and does not
/// count in the question.
#[derive(Debug)]
pub(crate) struct Pin {
    file: File,
    identity: (u64, u64),
}

impl Pin {
    pub(crate) fn of(name: &CStr) -> io::Result<Self> {
        let path = StorePath::new(name)?;
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = File::from(retry(|| Ok(open(path.as_c_str(), flags, Mode::empty())?))?);
        let (_, stat) = look(&file)?;
        Ok(Self { file, identity: (stat.device(), stat.inode()) })
    }

    pub(crate) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    pub(crate) fn unlink_if_unused(self, name: &CStr) -> io::Result<bool> {
        let _turn = Turn::take();
        let question = Question::open(name)?;
        if question.identity != self.identity {
            return Err(error(libc::ENOENT));
        }
        // The question keeps the inode from here on, and before Linux 5.3 `O_PATH` counts, too.
        drop(self.file);
        question.unlink(name)
    }
}

/// One's turn to ask, among all who do so by this crate: to open an object in order to ask is to hold it, so two who ask
/// at once would each take the other for a user. It is a lock on the store's directory, which anybody can take and keep:
/// after a while it is done without, and the worst is an answer "in use".
struct Turn(Option<File>);

impl Turn {
    fn take() -> Self {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let Ok(directory) = retry(|| Ok(open(DIRECTORY, flags, Mode::empty())?)) else { return Self(None) };
        let directory = File::from(directory);
        let mut patience = Patience::new();
        loop {
            match raw::flock(directory.as_fd(), libc::LOCK_EX | libc::LOCK_NB) {
                Ok(()) => return Self(Some(directory)),
                Err(Errno::EWOULDBLOCK | Errno::EINTR) if patience.pause() => {}
                Err(_) => return Self(None),
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Closing alone would leave the lock to a child that was forked meanwhile.
        if let Some(directory) = &self.0 {
            let _ = raw::flock(directory.as_fd(), libc::LOCK_UN);
        }
    }
}

/// An object, opened for nothing but the question: a description of its own, as a lease asked for through a shared one is
/// granted in spite of those who share it.
struct Question {
    file: File,
    identity: (u64, u64),
}

impl Question {
    fn open(name: &CStr) -> io::Result<Self> {
        let mut patience = Patience::new();
        loop {
            match open_anew(name) {
                // Somebody has a lease on it.
                Err(error) if error.raw_os_error() == Some(libc::EWOULDBLOCK) && patience.pause() => {}
                opened => return opened.map(|(file, identity)| Self { file, identity }),
            }
        }
    }

    /// Whether no other description of the object exists; if so none can be made until this is dropped.
    fn grants_lease(&self) -> io::Result<bool> {
        self.check_exact()?;
        self.takes_lease()
    }

    /// Fails where the answer could be wrong.
    fn check_exact(&self) -> io::Result<()> {
        let system = retry(|| Ok(fstatfs(&self.file)?))?.filesystem_type();
        if EXACT.contains(&system) { Ok(()) } else { Err(error(libc::EOPNOTSUPP)) }
    }

    fn takes_lease(&self) -> io::Result<bool> {
        match raw::lease(self.file.as_fd(), libc::F_WRLCK) {
            Ok(()) => Ok(true),
            Err(Errno::EAGAIN) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn unlink(&self, name: &CStr) -> io::Result<bool> {
        if !self.grants_lease()? {
            return Ok(false);
        }
        // Nobody can open it now. That the name still means it is all that is left to see.
        let (_, named) = kind(name)?;
        if (named.device(), named.inode()) != self.identity {
            return Err(error(libc::ENOENT));
        }
        retry(|| unlink(name)).map(|()| true)
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        // As for a lock: a child that was forked meanwhile would keep it. Without a lease this changes nothing.
        let _ = raw::lease(self.file.as_fd(), libc::F_UNLCK);
    }
}

/// Waits between attempts, for a second in all.
struct Patience {
    start: Option<Instant>,
    pause: Duration,
}

impl Patience {
    fn new() -> Self {
        Self { start: None, pause: Duration::from_micros(10) }
    }

    fn pause(&mut self) -> bool {
        if self.start.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(Duration::from_millis(2));
        true
    }
}
