//! By hand, with the C library alone: the baselines.

use std::ffi::{CString, c_int, c_void};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use anyhow::{Result, ensure};
use nix::libc;

use super::{Name, Way};

/// What the kernel says as -1, as an error.
fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// POSIX: what programs write.
#[derive(Clone, Copy)]
pub(crate) struct ShmOpen;

/// POSIX: made without a name, and linked in when it is complete, with exactly the asked mode.
#[derive(Clone, Copy)]
pub(crate) enum Whole {
    Lazy,
    Reserve,
    Prefault,
}

/// A mapped object with its descriptor.
pub(crate) struct Object {
    start: *mut c_void,
    len: usize,
    fd: c_int,
}

impl Object {
    fn map(fd: c_int, len: usize) -> Result<Self> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: mmap(2): a new mapping, where the kernel finds room.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, access, kind, fd, 0) };
        ensure!(start != libc::MAP_FAILED, io::Error::last_os_error());
        Ok(Self { start, len, fd })
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: munmap(2): the mapping is this object's own, and nobody uses it any more.
        unsafe { libc::munmap(self.start, self.len) };
        // SAFETY: close(2): the descriptor is this object's own.
        unsafe { libc::close(self.fd) };
    }
}

fn stat(fd: c_int) -> Result<libc::stat> {
    // SAFETY: all bits zero are a valid value of this struct of integers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: fstat(2) fills the struct that it is given.
    check(unsafe { libc::fstat(fd, &mut stat) })?;
    Ok(stat)
}

fn sized(fd: c_int, size: usize) -> Result<()> {
    // SAFETY: ftruncate(2) touches no memory of this process.
    check(unsafe { libc::ftruncate(fd, size as libc::off_t) })?;
    Ok(())
}

/// Opens and maps what exists, as long as it is.
fn open(name: &Name) -> Result<Object> {
    let flags = libc::O_RDWR | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    // SAFETY: shm_open(3) reads the name, which is a C string.
    let fd = check(unsafe { libc::shm_open(name.c.as_ptr(), flags, 0) })?;
    let stat = stat(fd)?;
    ensure!(stat.st_mode & libc::S_IFMT == libc::S_IFREG && stat.st_size > 0, "not ready");
    Object::map(fd, stat.st_size as usize)
}

fn unlink(name: &Name) -> Result<()> {
    // SAFETY: shm_unlink(3) reads the name, which is a C string.
    check(unsafe { libc::shm_unlink(name.c.as_ptr()) })?;
    Ok(())
}

impl Way for ShmOpen {
    type Mapping = Object;

    fn create(self, name: &Name, size: usize) -> Result<Object> {
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
        // SAFETY: shm_open(3) reads the name, which is a C string.
        let fd = check(unsafe { libc::shm_open(name.c.as_ptr(), flags, 0o600) })?;
        sized(fd, size)?;
        Object::map(fd, size)
    }

    fn open(self, name: &Name) -> Result<Object> {
        open(name)
    }

    fn start(mapping: &Object) -> *mut u8 {
        mapping.start.cast()
    }

    fn len(mapping: &Object) -> usize {
        mapping.len
    }

    fn remove(self, name: &Name) -> Result<()> {
        unlink(name)
    }
}

impl Way for Whole {
    type Mapping = Object;

    fn create(self, name: &Name, size: usize) -> Result<Object> {
        let path = path(name);
        if !matches!(self, Self::Lazy) {
            // A taken name is told before its memory is asked for.
            ensure!(!exists(&path)?, "the name is taken");
        }
        let flags = libc::O_TMPFILE | libc::O_RDWR | libc::O_CLOEXEC;
        // SAFETY: open(2) reads the path, which is a C string.
        let fd = check(unsafe { libc::open(c"/dev/shm".as_ptr(), flags, 0o600) })?;
        // SAFETY: fchmod(2) touches no memory of this process.
        check(unsafe { libc::fchmod(fd, 0o600) })?;
        // A limit of file sizes is to be an error, and not the signal SIGXFSZ.
        ensure!(size as u64 <= file_limit()?, "the size is over RLIMIT_FSIZE");
        match self {
            Self::Lazy => sized(fd, size)?,
            // SAFETY: fallocate(2) touches no memory of this process.
            Self::Reserve | Self::Prefault => drop(check(unsafe { libc::fallocate(fd, 0, 0, size as libc::off_t) })?),
        }
        let object = Object::map(fd, size)?;
        if let Self::Prefault = self {
            // SAFETY: madvise(2): touches pages as a store would, and changes no byte.
            check(unsafe { libc::madvise(object.start, size, libc::MADV_POPULATE_WRITE) })?;
        }
        link(fd, &path)?;
        Ok(object)
    }

    fn open(self, name: &Name) -> Result<Object> {
        open(name)
    }

    fn start(mapping: &Object) -> *mut u8 {
        mapping.start.cast()
    }

    fn len(mapping: &Object) -> usize {
        mapping.len
    }

    fn remove(self, name: &Name) -> Result<()> {
        // What is no shared memory is left alone; and of all who remove the object, one at a time looks at its name.
        let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let path = path(name);
        // SAFETY: open(2) reads the path, which is a C string.
        let fd = check(unsafe { libc::open(path.as_ptr(), flags) })?;
        // SAFETY: open(2) has just made the descriptor, which nobody else has.
        let object = unsafe { OwnedFd::from_raw_fd(fd) };
        let opened = stat(fd)?;
        // SAFETY: flock(2) touches no memory of this process.
        check(unsafe { libc::flock(fd, libc::LOCK_EX | libc::LOCK_NB) })?;
        ensure!(exists(&path)? && opened.st_nlink > 0, "nothing has the name");
        unlink(name)?;
        // SAFETY: as above. Else a child that was forked meanwhile would keep it.
        check(unsafe { libc::flock(fd, libc::LOCK_UN) })?;
        drop(object);
        Ok(())
    }
}

/// How large a file of this process may be.
fn file_limit() -> Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit(2) fills the struct that it is given.
    check(unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) })?;
    Ok(limit.rlim_cur)
}

/// Where the object of that name is.
fn path(name: &Name) -> CString {
    let path = Path::new("/dev/shm").join(&name.text[1..]);
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

/// Says whether a regular file is there, which nobody follows links to.
fn exists(path: &CString) -> Result<bool> {
    // SAFETY: all bits zero are a valid value of this struct of integers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: lstat(2) reads the path, which is a C string, and fills the struct that it is given.
    match check(unsafe { libc::lstat(path.as_ptr(), &mut stat) }) {
        Ok(_) => ensure!(stat.st_mode & libc::S_IFMT == libc::S_IFREG, "something else has the name"),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    Ok(true)
}

/// Gives an object its name, by its descriptor alone where that is granted.
fn link(fd: c_int, path: &CString) -> Result<()> {
    // SAFETY: linkat(2) reads the two paths, which are C strings.
    let linked = unsafe { libc::linkat(fd, c"".as_ptr(), libc::AT_FDCWD, path.as_ptr(), libc::AT_EMPTY_PATH) };
    match check(linked) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
        Err(error) => return Err(error.into()),
        Ok(_) => return Ok(()),
    }
    let source = CString::new(format!("/proc/thread-self/fd/{fd}"))?;
    let (at, follow) = (libc::AT_FDCWD, libc::AT_SYMLINK_FOLLOW);
    // SAFETY: linkat(2) reads the two paths, which are C strings.
    check(unsafe { libc::linkat(at, source.as_ptr(), at, path.as_ptr(), follow) })?;
    Ok(())
}

/// System V, with the size asked of the kernel, as ids come around again.
#[derive(Clone, Copy)]
pub(crate) enum Shmget {
    Lazy,
    Reserve,
    Prefault,
}

/// An attached segment.
pub(crate) struct Segment {
    start: *mut c_void,
    len: usize,
}

impl Segment {
    fn attach(id: c_int) -> Result<Self> {
        // SAFETY: shmat(2): attaches where the kernel finds room.
        let start = unsafe { libc::shmat(id, ptr::null(), 0) };
        ensure!(start.addr() != usize::MAX, io::Error::last_os_error());
        let mut segment = Self { start, len: 0 };
        segment.len = segment_size(id)?;
        Ok(segment)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: shmdt(2): the attachment is this value's own, and nobody uses it any more.
        unsafe { libc::shmdt(self.start) };
    }
}

fn segment_size(id: c_int) -> Result<usize> {
    // SAFETY: all bits zero are a valid value of this struct of integers.
    let mut stat: libc::shmid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: shmctl(2) fills the struct that it is given.
    check(unsafe { libc::shmctl(id, libc::IPC_STAT, &mut stat) })?;
    Ok(stat.shm_segsz)
}

fn find(name: &Name) -> Result<c_int> {
    // SAFETY: shmget(2) touches no memory of this process.
    Ok(check(unsafe { libc::shmget(name.key, 0, 0) })?)
}

impl Way for Shmget {
    type Mapping = Segment;

    fn create(self, name: &Name, size: usize) -> Result<Segment> {
        let lazy = if matches!(self, Self::Lazy) { libc::SHM_NORESERVE } else { 0 };
        // SAFETY: shmget(2) touches no memory of this process.
        let id = check(unsafe { libc::shmget(name.key, size, libc::IPC_CREAT | libc::IPC_EXCL | lazy | 0o600) })?;
        let segment = Segment::attach(id)?;
        if let Self::Prefault = self {
            // SAFETY: madvise(2): touches pages as a store would, and changes no byte.
            check(unsafe { libc::madvise(segment.start, size, libc::MADV_POPULATE_WRITE) })?;
        }
        Ok(segment)
    }

    fn open(self, name: &Name) -> Result<Segment> {
        Segment::attach(find(name)?)
    }

    fn start(mapping: &Segment) -> *mut u8 {
        mapping.start.cast()
    }

    fn len(mapping: &Segment) -> usize {
        mapping.len
    }

    fn remove(self, name: &Name) -> Result<()> {
        let id = find(name)?;
        // SAFETY: shmctl(2): IPC_RMID reads and writes no memory.
        check(unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) })?;
        Ok(())
    }
}
