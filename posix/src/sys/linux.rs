//! Linux: objects with a name are the regular files in `/dev/shm`.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use memmap2::{Advice, MmapRaw};
use nix::errno::Errno;
use nix::fcntl::{self, AT_FDCWD, AtFlags, FcntlArg, OFlag, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{shm_open, shm_unlink};
use nix::sys::stat::Mode;
use nix::sys::statfs::{HUGETLBFS_MAGIC, fstatfs};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::linkat;

use super::{error, page_size, retry, touch};
use crate::access::MapAccess;
use crate::seals::Seals;
use crate::stat::Stat;
use crate::store::{EntryKind, Store};

mod holders;
mod lock;
mod raw;
mod space;
mod unnamed;
mod unused;

pub(crate) use holders::{holders_of, is_held};
pub(crate) use lock::{Lock, lock, lock_named};
pub(crate) use space::{check_room, clear_tail, reserve};
pub(crate) use unnamed::unnamed;
pub(crate) use unused::{Pin, are_unused, is_unused, tells_unused, unlink_if_unused};

/// Where glibc and musl keep the objects.
const DIRECTORY: &CStr = c"/dev/shm";

/// The longest file name, `NAME_MAX`.
const LONGEST_NAME: usize = 255;

pub(crate) fn open(name: &CStr, write: bool, create_new: bool, mode: u32) -> io::Result<File> {
    // glibc opens the directory itself for "/." and reading.
    file_name(name)?;
    let access = if write { OFlag::O_RDWR } else { OFlag::O_RDONLY };
    let create = if create_new { OFlag::O_CREAT | OFlag::O_EXCL } else { OFlag::empty() };
    let guard = OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    Ok(shm_open(name, access | create | guard, Mode::from_bits_truncate(mode))?.into())
}

/// Opens what a name means on a description of its own, for a lock or a question, by whichever access its mode grants.
/// Returns its identity, too.
fn open_anew(name: &CStr) -> io::Result<(File, (u64, u64))> {
    let path = StorePath::new(name)?;
    let guard = OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let open = |access: OFlag| retry(|| Ok(fcntl::open(path.as_c_str(), access | guard, Mode::empty())?));
    let file = match open(OFlag::O_RDONLY) {
        // A mode such as 0200: either will do.
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => open(OFlag::O_WRONLY)?,
        opened => opened?,
    };
    let file = File::from(file);
    let (kind, stat) = look(&file)?;
    if kind != EntryKind::SharedMemory {
        return Err(error(libc::ENODEV));
    }
    Ok((file, (stat.device(), stat.inode())))
}

pub(crate) fn unlink(name: &CStr) -> io::Result<()> {
    file_name(name)?;
    Ok(shm_unlink(name)?)
}

pub(crate) fn look(file: &File) -> io::Result<(EntryKind, Stat)> {
    retry(|| Ok(raw::fstat(file.as_fd())?)).map(|stat| told(&stat))
}

/// Whether a file consists of huge pages; only then does its file system have to be asked.
pub(crate) fn is_of_huge_pages(file: &File, stat: &Stat) -> io::Result<bool> {
    let larger = stat.block_size() > page_size() as u64;
    Ok(larger && retry(|| Ok(fstatfs(file)?))?.filesystem_type() == HUGETLBFS_MAGIC)
}

#[allow(clippy::unnecessary_cast, reason = "the integers are narrower on some processors")]
fn told(stat: &libc::stat64) -> (EntryKind, Stat) {
    let kind = match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => EntryKind::SharedMemory,
        libc::S_IFLNK => EntryKind::SymbolicLink,
        libc::S_IFIFO => EntryKind::Fifo,
        libc::S_IFDIR => EntryKind::Directory,
        libc::S_IFSOCK => EntryKind::Socket,
        _ => EntryKind::Device,
    };
    let stat = Stat {
        len: stat.st_size as u64,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        links: stat.st_nlink as u64,
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
        allocated: (stat.st_blocks as u64).saturating_mul(512),
        block_size: stat.st_blksize as u64,
        accessed: (stat.st_atime as i64, stat.st_atime_nsec as i64),
        modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
    };
    (kind, stat)
}

pub(crate) fn names_only(flags: OFlag) -> bool {
    flags.contains(OFlag::O_PATH)
}

pub(crate) fn create_unlinked(mode: u32) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).mode(mode).custom_flags(libc::O_TMPFILE);
    retry(|| options.open(directory()))
}

pub(crate) fn link(file: &File, name: &CStr) -> io::Result<()> {
    link_to(file, StorePath::new(name)?.as_c_str())
}

pub(crate) fn can_link(file: &File) -> bool {
    let ours = look(file).map(|(_, stat)| stat.device()).ok();
    let store = store_identity().map(|(device, _)| device).ok();
    // The source is looked up before the target, which is known to exist.
    ours.is_some() && ours == store && says(&link_to(file, DIRECTORY), Errno::EEXIST)
}

fn link_to(file: &File, target: &CStr) -> io::Result<()> {
    let granted = retry(|| Ok(linkat(file, c"", AT_FDCWD, target, AtFlags::AT_EMPTY_PATH)?));
    if !says(&granted, Errno::ENOENT) {
        return granted;
    }
    let source = path_of(file);
    let follow = AtFlags::AT_SYMLINK_FOLLOW;
    retry(|| Ok(linkat(AT_FDCWD, &source, AT_FDCWD, target, follow)?))
}

/// A path to an open file. `thread-self`, because a thread can have descriptors of its own, and because
/// `self` is empty once the main thread has ended.
fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/thread-self/fd/{}", file.as_raw_fd()))
}

pub(crate) fn memfd(debug_name: &CStr, mode: u32, huge_pages: bool) -> io::Result<File> {
    /// From the kernel's include/uapi/linux/memfd.h; since 6.3.
    const MFD_EXEC: u32 = 0x10;
    let pages = if huge_pages { MFdFlags::MFD_HUGETLB } else { MFdFlags::empty() };
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING | pages;
    let execution = if mode & 0o111 == 0 { libc::MFD_NOEXEC_SEAL } else { MFD_EXEC };
    let make = |flags| retry(|| Ok(memfd_create(debug_name, flags)?.into()));
    let made = make(flags | MFdFlags::from_bits_retain(execution));
    // EINVAL: an older kernel, or a name that is too long.
    if says(&made, Errno::EINVAL) { make(flags) } else { made }
}

pub(crate) fn seals(file: &File) -> io::Result<Seals> {
    let bits = retry(|| Ok(fcntl(file, FcntlArg::F_GET_SEALS)?))?;
    Ok(Seals::from_bits(bits as u32))
}

pub(crate) fn add_seals(file: &File, seals: Seals) -> io::Result<()> {
    let seals = SealFlag::from_bits_retain(seals.bits() as i32);
    retry(|| Ok(fcntl(file, FcntlArg::F_ADD_SEALS(seals)).map(drop)?))
}

pub(crate) fn reopen_read_only(file: &File) -> io::Result<File> {
    let opened = retry(|| File::open(path_of(file)));
    if says(&opened, Errno::ENOENT) { no_proc() } else { opened }
}

fn no_proc<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "there is no /proc to reach an object by"))
}

pub(crate) fn prefault(raw: &MmapRaw, access: MapAccess) -> io::Result<()> {
    let advice = match access {
        MapAccess::ReadWrite => Advice::PopulateWrite,
        MapAccess::ReadOnly => Advice::PopulateRead,
    };
    let result = retry(|| raw.advise(advice));
    if says(&result, Errno::EINVAL) {
        // Before Linux 5.14.
        touch(raw, access);
        return Ok(());
    }
    result
}

pub(crate) fn kind(name: &CStr) -> io::Result<(EntryKind, Stat)> {
    let path = StorePath::new(name)?;
    retry(|| Ok(raw::lstat(path.as_c_str())?)).map(|stat| told(&stat))
}

pub(crate) fn set_mode(name: &CStr, mode: u32) -> io::Result<()> {
    change(name, |path| fs::set_permissions(path, Permissions::from_mode(mode)))
}

pub(crate) fn set_owner(name: &CStr, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    change(name, |path| chown(path, uid, gid))
}

/// Makes a call with a path that leads to an object and nothing else, whatever its name may come to mean.
fn change(name: &CStr, call: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let path = StorePath::new(name)?;
    // Not by `std`, which with musl takes O_PATH for an access mode and leaves it out, and so would wait for a FIFO's end.
    let pin = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = File::from(retry(|| Ok(fcntl::open(path.as_c_str(), pin, Mode::empty())?))?);
    if look(&file)?.0 != EntryKind::SharedMemory {
        return Err(error(libc::ENODEV));
    }
    let changed = retry(|| call(&path_of(&file)));
    if says(&changed, Errno::ENOENT) {
        return no_proc();
    }
    changed
}

pub(crate) fn store() -> io::Result<Store> {
    let stat = retry(|| Ok(statvfs(DIRECTORY)?))?;
    let unit = wide(stat.fragment_size());
    Ok(Store {
        total: wide(stat.blocks()).saturating_mul(unit),
        free: wide(stat.blocks_available()).saturating_mul(unit),
        inodes_total: wide(stat.files()),
        inodes_free: wide(stat.files_available()),
        read_only: stat.flags().contains(FsFlags::ST_RDONLY),
    })
}

pub(crate) fn store_identity() -> io::Result<(u64, u64)> {
    retry(|| fs::metadata(directory())).map(|metadata| (metadata.dev(), metadata.ino()))
}

pub(crate) fn list() -> io::Result<Vec<(OsString, Stat)>> {
    // As a whole: the iterator ends where a signal interrupts it.
    retry(list_once)
}

fn list_once() -> io::Result<Vec<(OsString, Stat)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory())? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_bytes().starts_with(b"sem.") {
            continue;
        }
        match retry(|| entry.metadata()) {
            Ok(metadata) if metadata.is_file() => found.push((name, Stat::from(&metadata))),
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
            _ => {}
        }
    }
    Ok(found)
}

/// A count of the system, which has 32 bits on some.
fn wide(count: impl Into<u64>) -> u64 {
    count.into()
}

fn directory() -> &'static Path {
    Path::new(OsStr::from_bytes(DIRECTORY.to_bytes()))
}

/// The path of an object, on the stack: it is made for every creation and removal.
struct StorePath {
    bytes: [u8; Self::START + LONGEST_NAME + 1],
    /// Without the terminator.
    len: usize,
}

impl StorePath {
    /// Where the name begins, after the directory and a slash.
    const START: usize = DIRECTORY.count_bytes() + 1;

    fn new(name: &CStr) -> io::Result<Self> {
        let name = file_name(name)?.as_bytes();
        let mut bytes = [0; Self::START + LONGEST_NAME + 1];
        bytes[..Self::START - 1].copy_from_slice(DIRECTORY.to_bytes());
        bytes[Self::START - 1] = b'/';
        bytes[Self::START..][..name.len()].copy_from_slice(name);
        Ok(Self { bytes, len: Self::START + name.len() })
    }

    fn as_c_str(&self) -> &CStr {
        // SAFETY: the directory, a slash and a name, all of them out of C strings and so without NUL, and behind `len` a
        // byte that was left zero.
        unsafe { CStr::from_bytes_with_nul_unchecked(&self.bytes[..=self.len]) }
    }
}

/// The name as it stands in the directory, and never anything outside of it.
fn file_name(name: &CStr) -> io::Result<&OsStr> {
    let bytes = name.to_bytes();
    let slashes = bytes.iter().take_while(|&&byte| byte == b'/').count();
    match &bytes[slashes..] {
        b"" | b"." | b".." => Err(error(libc::EINVAL)),
        name if name.contains(&b'/') => Err(error(libc::EINVAL)),
        name if name.len() > LONGEST_NAME => Err(error(libc::ENAMETOOLONG)),
        name => Ok(OsStr::from_bytes(name)),
    }
}

fn says<T>(result: &io::Result<T>, errno: Errno) -> bool {
    matches!(result, Err(error) if error.raw_os_error() == Some(errno as i32))
}
