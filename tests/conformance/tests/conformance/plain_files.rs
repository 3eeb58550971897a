//! A third implementation, over plain files of one directory: what somebody else's crate can do by the public API.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FallocateFlags, OFlag, fallocate};
use nix::libc::{off_t, rlim_t};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;
use nix::unistd::linkat;
use rustix::fs::{FlockOperation, flock};
use shared_region::{
    Access, Allocation, Backend, Capabilities, CreateOptions, Error, ErrorKind, ListEntry, OpenOptions, RegionId,
    RegionName, Removal, Result, SharedRegion, SharedRegionExt,
};

const NAME: &str = "files";

/// Regions are files of a directory that anybody may write to, as `/dev/shm` is.
#[derive(Debug)]
pub struct Files;

#[derive(Debug)]
pub struct FilesRegion {
    mapping: MmapRaw,
    access: Access,
    file: Arc<File>,
    id: Option<RegionId>,
    /// The process whose drop of this handle removes the file.
    remover: Option<u32>,
    /// Whether its mappings go into core dumps.
    core_dump: bool,
}

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
    let (store, errno) = (directory(), error.raw_os_error().unwrap_or_default());
    let (kind, why) = match Errno::from_raw(errno) {
        Errno::ENOENT | Errno::EPERM if fs::metadata(&store).is_err_and(|why| why.raw_os_error() == Some(errno)) => {
            (ErrorKind::BackendUnavailable, "is missing or forbidden: make it, or leave the sandbox".into())
        }
        Errno::EOPNOTSUPP | Errno::EISDIR => (ErrorKind::BackendUnavailable, "lacks O_TMPFILE: use another".into()),
        Errno::ENOSPC => {
            let room = statvfs(&store).map(|all| (all.blocks_available(), all.blocks(), all.fragment_size()));
            let (free, all, unit) = room.unwrap_or_default();
            let room = format!("({} free of {})", free * unit, all * unit);
            (ErrorKind::NoSpace, format!("is full {room}: remove some, or enlarge it"))
        }
        _ => return Error::from_io(&error),
    };
    Error::new(kind).reason(format!("{} {why}", store.display())).errno(errno)
}

/// Looks at what has a name, without opening or following it. It must be a regular file.
fn look(name: &RegionName) -> Result<fs::Metadata> {
    let found = call(|| path(name).symlink_metadata())?;
    if found.is_file() { Ok(found) } else { Err(Error::new(ErrorKind::NotSharedMemory)) }
}

/// Refuses a name that anything has. What cannot be looked at is told by the calls that follow.
fn vacant(name: &RegionName) -> Result<()> {
    let taken = call(|| path(name).symlink_metadata()).is_ok();
    if taken { Err(failed(Errno::EEXIST.into())) } else { Ok(()) }
}

fn map(file: Arc<File>, len: usize, access: Access, id: Option<RegionId>) -> Result<FilesRegion> {
    let mapping = call(|| match access {
        Access::ReadWrite => MmapOptions::new().len(len).map_raw(&file),
        Access::ReadOnly => MmapOptions::new().len(len).map_raw_read_only(&file),
    })?;
    Ok(FilesRegion { mapping, access, file, id, remover: None, core_dump: true })
}

/// Makes a file without a name, complete and mapped.
fn create(id: Option<RegionId>, options: &CreateOptions) -> Result<FilesRegion> {
    let mut how = fs::OpenOptions::new();
    how.read(true).write(true).custom_flags(OFlag::O_TMPFILE.bits());
    let file = call(|| how.open(directory()))?;
    let size = options.get_size() as u64;
    if getrlimit(Resource::RLIMIT_FSIZE).is_ok_and(|(limit, _)| options.get_size() as rlim_t > limit) {
        return Err(failed(Errno::EFBIG.into())); // the call itself would raise SIGXFSZ
    }
    call(|| match options.get_allocation() {
        Allocation::Lazy => file.set_len(size),
        _ => match fallocate(&file, FallocateFlags::empty(), 0, size as off_t) {
            Err(Errno::EOPNOTSUPP) => file.set_len(size), // and the metadata says so
            reserved => Ok(reserved?),
        },
    })?;
    let mut region = map(file.into(), options.get_size(), Access::ReadWrite, id)?;
    region.core_dump = options.get_core_dump();
    region.set_mode(options.get_mode())?;
    options.settle(&region)?;
    Ok(region)
}

impl Backend for Files {
    type Region = FilesRegion;

    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        let names = Capabilities::new().with_exact_names(true).with_atomic_init(true);
        names.with_attach_after_remove(true).with_file_descriptor(true)
    }

    fn create_with<E: From<Error>>(
        &self,
        name: &RegionName,
        options: &CreateOptions,
        init: impl FnOnce(&FilesRegion) -> Result<(), E>,
    ) -> Result<FilesRegion, E> {
        let id = RegionId::named(NAME, *name);
        let told = |error: Error| error.context("create", NAME, Some(&id));
        options.validate_for(Files.capabilities()).and_then(|()| vacant(name)).map_err(told)?;
        let made = create(Some(id.clone()), options).or_else(|error| vacant(name).and(Err(error)));
        let mut region = made.map_err(told)?;
        init(&region)?;
        let (unnamed, named) = (format!("/proc/self/fd/{}", region.file.as_raw_fd()), path(name));
        let link = || linkat(AT_FDCWD, &*unnamed, AT_FDCWD, &named, AtFlags::AT_SYMLINK_FOLLOW);
        call(|| Ok(link()?)).map_err(told)?;
        region.remover = (options.get_removal() == Removal::OnDrop).then(std::process::id);
        Ok(region)
    }

    fn create_unnamed(&self, options: &CreateOptions) -> Result<FilesRegion> {
        let made = options.validate_for(Files.capabilities()).and_then(|()| create(None, options));
        made.map_err(|error| error.context("create", NAME, None))
    }

    fn open_id(&self, id: &RegionId, options: &OpenOptions) -> Result<FilesRegion> {
        let told = |error: Error| error.context("open", NAME, Some(id));
        let name = id.name_in(NAME).map_err(told)?;
        options.validate_for(Files.capabilities()).map_err(told)?;
        let mut how = fs::OpenOptions::new();
        how.read(true).write(options.get_access() == Access::ReadWrite);
        how.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits());
        let open = || {
            let file = call(|| how.open(path(name))).or_else(|error| look(name).and(Err(error)))?;
            let stat = call(|| file.metadata())?;
            if !stat.is_file() {
                return Err(Error::new(ErrorKind::NotSharedMemory));
            }
            options.validate_owner(stat.uid())?;
            let len = options.validate_size(stat.len())?;
            let mut region = map(file.into(), len, options.get_access(), Some(id.clone()))?;
            region.core_dump = options.get_core_dump();
            options.settle(&region)?;
            Ok(region)
        };
        options.poll(open).map_err(told)
    }

    fn exists(&self, name: &RegionName) -> Result<bool> {
        let id = RegionId::named(NAME, *name);
        match look(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            looked => looked.map(|_| true).map_err(|error| error.context("look for", NAME, Some(&id))),
        }
    }

    fn remove_id(&self, id: &RegionId) -> Result<()> {
        let looked = id.name_in(NAME).and_then(|name| look(name).map(|_| path(name)));
        let removed = looked.and_then(|path| {
            let _turn = turn()?;
            call(|| fs::remove_file(&path))
        });
        removed.map_err(|error| error.context("remove", NAME, Some(id)))
    }

    fn list(&self) -> Result<Vec<ListEntry>> {
        let told = |error: Error| error.operation("list").backend(NAME);
        let mut entries = Vec::new();
        let files: Vec<_> = call(|| fs::read_dir(directory())?.collect()).map_err(told)?;
        for file in files {
            let Some(Ok(name)) = file.file_name().to_str().map(RegionName::new) else { continue };
            match look(&name) {
                Ok(stat) => entries.push(ListEntry::new(RegionId::named(NAME, name), (&stat).into())),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotSharedMemory) => {}
                Err(error) => return Err(told(error)),
            }
        }
        Ok(entries)
    }
}

/// One's turn to remove: nobody gives a name to another file between another's look and removal. It ends with the
/// descriptor.
fn turn() -> Result<File> {
    let directory = call(|| File::open(directory()))?;
    call(|| Ok(flock(&directory, FlockOperation::LockExclusive)?))?;
    Ok(directory)
}

impl Drop for FilesRegion {
    fn drop(&mut self) {
        if self.remover == Some(std::process::id()) {
            let _ = self.remove();
        }
    }
}

// SAFETY: mmap(2) gave `len` bytes, page-aligned; `len` is neither 0 nor over `isize::MAX` (`validate`, `validate_size`);
// no reference to them is made here, and they stay mapped until the region is dropped.
unsafe impl SharedRegion for FilesRegion {
    fn as_ptr(&self) -> *const u8 {
        self.mapping.as_ptr()
    }

    fn len(&self) -> usize {
        self.mapping.len()
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

    fn remove(&self) -> Result<()> {
        let told = |error: Error| self.describe(error, "remove");
        let unnamed = || Error::new(ErrorKind::Unsupported).reason("it has no name to remove");
        let name = self.id.as_ref().ok_or_else(unnamed).and_then(|id| id.name_in(NAME)).map_err(told)?;
        let _turn = turn().map_err(told)?;
        let own = call(|| self.file.metadata()).map_err(told)?;
        let same = |named: fs::Metadata| (named.dev(), named.ino()) == (own.dev(), own.ino());
        if own.nlink() == 0 || !look(name).map(same).map_err(told)? {
            return Err(told(Error::new(ErrorKind::NotFound).reason("it was removed, or its name means another file")));
        }
        call(|| fs::remove_file(path(name))).map_err(told)
    }

    fn try_clone(&self) -> Result<Self> {
        let cloned = map(Arc::clone(&self.file), self.len(), self.access, self.id.clone()).and_then(|mut region| {
            region.core_dump = self.core_dump;
            OpenOptions::new().core_dump(self.core_dump).settle(&region)?;
            Ok(region)
        });
        cloned.map_err(|error| self.describe(error, "clone"))
    }

    fn try_clone_boxed(&self) -> Result<Box<dyn SharedRegion>> {
        Ok(Box::new(self.try_clone()?))
    }

    fn descriptor(&self) -> Result<BorrowedFd<'_>> {
        Ok(self.file.as_fd())
    }
}
