//! A third implementation, over plain files of one directory: what somebody else's crate can do by the public API.

use std::ffi::{OsString, c_void};
use std::fs::{self, File, Permissions};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FallocateFlags, OFlag, fallocate};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::{Statvfs, statvfs};
use nix::unistd::linkat;
use shared_region::{
    Access, Allocation, Backend, Capabilities, CreateOptions, Error, ErrorKind, ListEntry, Metadata, OpenOptions,
    RegionId, RegionName, Removal, Result, SharedRegion,
};

const NAME: &str = "files";

/// Regions are files of a directory that anybody may write to, as `/dev/shm` is.
#[derive(Debug)]
pub struct Files;

#[derive(Debug)]
pub struct FilesRegion {
    start: NonNull<c_void>,
    len: NonZeroUsize,
    access: Access,
    file: Arc<File>,
    id: Option<RegionId>,
    /// The process whose drop of this handle removes the file.
    remover: Option<u32>,
}

// SAFETY: mapped memory belongs to no thread, and only `Drop` unmaps it.
unsafe impl Send for FilesRegion {}
// SAFETY: as above; all that `&FilesRegion` does, other threads may do at the same time.
unsafe impl Sync for FilesRegion {}

pub fn directory() -> PathBuf {
    std::env::temp_dir().join("shared-region-files")
}

pub fn path(name: &RegionName) -> PathBuf {
    directory().join(name.as_str())
}

/// Makes a system call, anew as long as signals interrupt it, and translates its failure.
fn call<T>(mut make: impl FnMut() -> io::Result<T>) -> Result<T> {
    loop {
        match make() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            made => return made.map_err(failed),
        }
    }
}

/// Translates what only this backend knows. The rest is the same everywhere.
fn failed(error: io::Error) -> Error {
    let errno = error.raw_os_error();
    let everything = || fs::metadata(directory()).is_err_and(|why| why.raw_os_error() == errno);
    let full = |store: Statvfs| {
        let [free, all] = [store.blocks_available(), store.blocks()].map(|n| n * store.fragment_size());
        format!("is full ({free} free of {all}): remove some, or enlarge it")
    };
    let (kind, why) = match errno.map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::EPERM) if everything() => {
            let why = "is missing or forbidden: make it, or leave the sandbox";
            (ErrorKind::BackendUnavailable, why.into())
        }
        Some(Errno::EOPNOTSUPP | Errno::EISDIR) => {
            (ErrorKind::BackendUnavailable, "lacks O_TMPFILE: use another".into())
        }
        Some(Errno::ENOSPC) => (ErrorKind::NoSpace, statvfs(&directory()).map_or("is full".into(), full)),
        _ => return Error::from_io(&error),
    };
    let told = Error::new(kind).reason(format!("{} {why}", directory().display()));
    told.errno(errno.unwrap_or_default())
}

/// Looks at what has a name, without opening or following it. It must be a regular file.
fn look(name: &RegionName) -> Result<fs::Metadata> {
    let found = call(|| path(name).symlink_metadata())?;
    if found.is_file() { Ok(found) } else { Err(Error::new(ErrorKind::NotSharedMemory)) }
}

/// Refuses a name that anything has.
fn vacant(name: &RegionName) -> Result<()> {
    match call(|| path(name).symlink_metadata()) {
        Ok(_) => Err(failed(Errno::EEXIST.into())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn map(file: Arc<File>, len: usize, access: Access, id: Option<RegionId>) -> Result<FilesRegion> {
    let protection = match access {
        Access::ReadWrite => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        Access::ReadOnly => ProtFlags::PROT_READ,
    };
    let len = NonZeroUsize::new(len).ok_or(Error::new(ErrorKind::InvalidSize))?;
    // SAFETY: without MAP_FIXED the system chooses an address where nothing is mapped; mmap(2).
    let map = || unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, &*file, 0) };
    let start = call(|| Ok(map()?))?;
    Ok(FilesRegion { start, len, access, file, id, remover: None })
}

/// Makes a file without a name, complete and mapped.
fn create(id: Option<&RegionId>, options: &CreateOptions) -> Result<FilesRegion> {
    let mut how = fs::OpenOptions::new();
    how.read(true).write(true).custom_flags(OFlag::O_TMPFILE.bits());
    let file = Arc::new(call(|| how.open(directory()))?);
    call(|| file.set_permissions(Permissions::from_mode(options.get_mode())))?;
    let size = options.get_size() as u64;
    if getrlimit(Resource::RLIMIT_FSIZE).is_ok_and(|(limit, _)| size > limit) {
        return Err(failed(Errno::EFBIG.into())); // the call itself would raise SIGXFSZ
    }
    call(|| match options.get_allocation() {
        Allocation::Lazy => file.set_len(size),
        _ => match fallocate(&*file, FallocateFlags::empty(), 0, size as i64) {
            Err(Errno::EOPNOTSUPP) => file.set_len(size), // and the metadata says so
            reserved => Ok(reserved?),
        },
    })?;
    let mut region = map(file, options.get_size(), Access::ReadWrite, id.cloned())?;
    options.settle(&region)?;
    let removes = options.get_removal() == Removal::OnDrop && id.is_some();
    region.remover = removes.then(std::process::id);
    Ok(region)
}

fn open(id: &RegionId, options: &OpenOptions) -> Result<FilesRegion> {
    let name = id.name_in(NAME)?;
    options.validate_unfixed()?;
    let access = options.get_access();
    let mut how = fs::OpenOptions::new();
    how.read(true).write(access == Access::ReadWrite);
    how.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits());
    options.poll(|| {
        let file = call(|| how.open(path(name))).map_err(|error| match look(name) {
            Err(foreign) if foreign.kind() == ErrorKind::NotSharedMemory => foreign,
            _ => error,
        })?;
        let stat = call(|| file.metadata())?;
        if !stat.is_file() {
            return Err(Error::new(ErrorKind::NotSharedMemory));
        }
        options.validate_owner(stat.uid())?;
        map(file.into(), options.validate_size(stat.len())?, access, Some(id.clone()))
    })
}

impl Backend for Files {
    type Region = FilesRegion;

    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        let exact = Capabilities::new().with_exact_names(true).with_atomic_init(true);
        exact.with_attach_after_remove(true).with_file_descriptor(true)
    }

    fn create_with<E: From<Error>>(
        &self,
        name: &RegionName,
        options: &CreateOptions,
        init: impl FnOnce(&FilesRegion) -> Result<(), E>,
    ) -> Result<FilesRegion, E> {
        let id = RegionId::named(NAME, *name);
        let told = |error: Error| error.context("create", NAME, Some(&id));
        let made = options.validate_unfixed().and_then(|()| vacant(name)).and_then(|()| {
            create(Some(&id), options).map_err(|error| match vacant(name) {
                Err(taken) if taken.kind() == ErrorKind::AlreadyExists => taken,
                _ => error,
            })
        });
        let region = made.map_err(told)?;
        init(&region)?;
        let unnamed = format!("/proc/self/fd/{}", region.file.as_raw_fd());
        let (from, to, follow) = (Path::new(&unnamed), path(name), AtFlags::AT_SYMLINK_FOLLOW);
        call(|| Ok(linkat(AT_FDCWD, from, AT_FDCWD, &to, follow)?)).map_err(told)?;
        Ok(region)
    }

    fn create_unnamed(&self, options: &CreateOptions) -> Result<FilesRegion> {
        let made = options.validate_unfixed().and_then(|()| create(None, options));
        made.map_err(|error| error.context("create", NAME, None))
    }

    fn open_id(&self, id: &RegionId, options: &OpenOptions) -> Result<FilesRegion> {
        open(id, options).map_err(|error| error.context("open", NAME, Some(id)))
    }

    fn exists(&self, name: &RegionName) -> Result<bool> {
        match look(name) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.context("look for", NAME, Some(&RegionId::named(NAME, *name)))),
        }
    }

    fn remove_id(&self, id: &RegionId) -> Result<()> {
        let removed = id.name_in(NAME).and_then(|name| {
            look(name)?;
            call(|| fs::remove_file(path(name)))
        });
        removed.map_err(|error| error.context("remove", NAME, Some(id)))
    }

    fn list(&self) -> Result<Vec<ListEntry>> {
        let read = || fs::read_dir(directory())?.map(|file| Ok(file?.file_name())).collect();
        let entry = |name: RegionName| match look(&name) {
            Ok(file) => Ok(Some(ListEntry::new(RegionId::named(NAME, name), (&file).into()))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotSharedMemory) => Ok(None),
            Err(error) => Err(error),
        };
        let names = call(read).map(|names: Vec<OsString>| {
            names.into_iter().filter_map(|name| RegionName::new(name.to_str()?).ok()).collect()
        });
        let listed =
            names.and_then(|names: Vec<_>| names.into_iter().filter_map(|name| entry(name).transpose()).collect());
        listed.map_err(|error| error.context("list", NAME, None))
    }
}

impl FilesRegion {
    fn told<T>(&self, operation: &'static str, result: Result<T>) -> Result<T> {
        result.map_err(|error| error.context(operation, NAME, self.id.as_ref()))
    }

    /// Removes the name, if it still means this file.
    fn remove_same(&self) -> Result<()> {
        let unnamed = || Error::new(ErrorKind::Unsupported).reason("it has no name to remove");
        let name = self.id.as_ref().ok_or_else(unnamed)?.name_in(NAME)?;
        let own = call(|| self.file.metadata())?;
        if own.nlink() == 0 {
            return Err(Error::new(ErrorKind::NotFound).reason("it has been removed before"));
        }
        let named = look(name)?;
        if (named.dev(), named.ino()) != (own.dev(), own.ino()) {
            return Err(Error::new(ErrorKind::NotFound).reason("its name means another file now"));
        }
        call(|| fs::remove_file(path(name)))
    }
}

impl Drop for FilesRegion {
    fn drop(&mut self) {
        if self.remover == Some(std::process::id()) {
            let _ = self.remove_same();
        }
        // SAFETY: `map` made exactly this mapping, and nobody uses it after its owner; munmap(2).
        let unmap = || unsafe { munmap(self.start, self.len.get()) };
        let _ = call(|| Ok(unmap()?));
    }
}

// SAFETY: mmap(2) gave `len` bytes at `start`, page-aligned; `len` is neither 0 nor over `isize::MAX` (`validate`,
// `validate_size`); no reference to them is made here, and they stay mapped until the region is dropped.
unsafe impl SharedRegion for FilesRegion {
    fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr().cast()
    }

    fn len(&self) -> usize {
        self.len.get()
    }

    fn access(&self) -> Access {
        self.access
    }

    fn backend(&self) -> &'static str {
        NAME
    }

    fn id(&self) -> Option<RegionId> {
        self.id.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Files.capabilities()
    }

    fn metadata(&self) -> Result<Metadata> {
        let file = self.told("look at", call(|| self.file.metadata()))?;
        Ok((&file).into())
    }

    fn set_mode(&self, mode: u32) -> Result<()> {
        let set = match mode {
            0..=0o777 => call(|| self.file.set_permissions(Permissions::from_mode(mode))),
            _ => Err(Error::new(ErrorKind::InvalidOptions)),
        };
        self.told("set the mode of", set)
    }

    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        self.told("set the owner of", call(|| fchown(&*self.file, uid, gid)))
    }

    fn remove(&self) -> Result<()> {
        self.told("remove", self.remove_same())
    }

    fn try_clone(&self) -> Result<Self> {
        let file = Arc::clone(&self.file);
        self.told("clone", map(file, self.len(), self.access, self.id.clone()))
    }

    fn try_clone_boxed(&self) -> Result<Box<dyn SharedRegion>> {
        Ok(Box::new(self.try_clone()?))
    }

    fn descriptor(&self) -> Result<BorrowedFd<'_>> {
        Ok(self.file.as_fd())
    }
}
