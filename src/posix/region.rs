//! A mapped POSIX object.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use shared_region_posix::{self as leaf, MapAccess, Mapping, Object, Reserved, Sizing};

use super::failure;
use super::handle::Handle;
use super::removal::{LastUser, remove_same};
use super::{NAME, Posix, metadata, native, not_found, unsupported};
use crate::access::SharedRegionExt;
use crate::backend::Backend;
use crate::backoff::Backoff;
use crate::denied::lacks_permission;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{check_memory_limits, mapping_refused};
use crate::memory;
use crate::metadata::{Capabilities, Metadata};
use crate::name::RegionId;
use crate::options::{OpenOptions, validate_size};
use crate::process::Process;
use crate::region::Access;
use crate::region::{Describe, SharedRegion, check_mode, check_owner};

/// A region of POSIX shared memory.
///
/// It owns a mapping, and unless [`keep_descriptor`](crate::CreateOptions::keep_descriptor) says otherwise a descriptor
/// (close-on-exec), which it lends by [`descriptor`](SharedRegion::descriptor). A descriptor from elsewhere, such as a
/// memfd that came over a socket, becomes a region by [`from_fd`](Self::from_fd) or `TryFrom<OwnedFd>`.
///
/// # Examples
///
/// ```
/// use shared_region::{Backend, CreateOptions, Posix, PosixRegion, SharedRegion, SharedRegionExt};
///
/// let region = Posix.create_unnamed(&CreateOptions::new(4096))?;
/// region.write_at(0, b"hello")?;
///
/// let descriptor = region.descriptor()?.try_clone_to_owned()?; // to another process, usually
/// let same = PosixRegion::try_from(descriptor)?;
/// assert_eq!(same.id(), None);
/// let mut bytes = [0; 5];
/// same.read_at(0, &mut bytes)?;
/// assert_eq!(&bytes, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PosixRegion {
    pub(super) mapping: Mapping,
    pub(super) object: Handle,
    pub(super) id: Option<RegionId>,
    /// The process whose drop of this handle removes the object.
    pub(super) remover: Option<Process>,
    /// Whether the mapping, and those that take its place or are cloned off it, go into core dumps.
    pub(super) core_dump: bool,
    /// The last, so that it is dropped when nothing holds the object here any more.
    pub(super) last_user: Option<LastUser>,
}

/// Refuses a size that `fallocate` can give to an object of huge pages, though none of its own calls would.
pub(super) fn check_huge_pages(object: &Object, len: usize) -> Result<()> {
    match object.huge_page_size() {
        Some(page) if len % page != 0 => Err(Error::new(ErrorKind::InvalidSize).reason(format!(
            "{len} bytes are not a multiple of {page}, a huge page's, and the rest can be neither touched nor unmapped: \
             whoever made it has to round up"
        ))),
        _ => Ok(()),
    }
}

impl PosixRegion {
    /// Maps `len` bytes of the object as it is mapped now.
    fn map_alike(&self, object: &Object, len: usize) -> io::Result<Mapping> {
        let access = if self.mapping.is_read_only() { MapAccess::ReadOnly } else { MapAccess::ReadWrite };
        let mapping = object.map(len, access)?;
        if !self.core_dump {
            memory::keep_out_of_core_dumps(mapping.as_ptr(), mapping.len())?;
        }
        Ok(mapping)
    }

    /// The object, for what cannot be done without.
    pub(super) fn object(&self, operation: &'static str) -> Result<&Object> {
        self.object.get().ok_or_else(|| self.closed(operation))
    }

    fn closed(&self, operation: &'static str) -> Error {
        self.error(ErrorKind::Unsupported, operation)
            .reason("its descriptor was closed after mapping (keep_descriptor(false)): open it again by its name")
    }

    /// Opens the object again by its name, if that still means it.
    fn reopened(&self, operation: &'static str) -> Result<Object> {
        let id = self.id.as_ref().ok_or_else(|| self.closed(operation))?;
        let failed =
            |error: &io::Error| if not_found(error) { self.closed(operation) } else { self.failed(error, operation) };
        let (object, _) = leaf::OpenOptions::new().open(native(id)).map_err(|error| failed(&error))?;
        let same = self.object.identity().and_then(|own| Ok(own == object.identity()?));
        if same.map_err(|error| failed(&error))? { Ok(object) } else { Err(self.closed(operation)) }
    }

    /// Makes a call with the object, which is opened for that where need be.
    fn with_object<T>(&self, operation: &'static str, call: impl Fn(&Object) -> io::Result<T>) -> Result<T> {
        let made = match self.object.get() {
            Some(object) => call(object),
            None => call(&self.reopened(operation)?),
        };
        made.map_err(|error| self.failed(&error, operation))
    }

    /// Says why some page could not be had: a peer has taken it away, or where it would live is full.
    fn not_all_there(&self, error: Error) -> Error {
        let Some(object) = self.object.get() else { return error };
        match object.stat() {
            Ok(stat) if stat.len() < self.len() as u64 => {
                Error::new(ErrorKind::SizeMismatch { have: stat.len() as usize, want: self.len() })
                    .reason("another process has made it shorter meanwhile: refresh it")
            }
            _ => failure::no_room(&Errno::ENOSPC.into(), self.len(), object)
                .errno(error.raw_os_error().unwrap_or(Errno::ENOSPC as i32)),
        }
    }

    fn failed(&self, error: &io::Error, operation: &'static str) -> Error {
        if let Some(told) = self.refused_by_seal(error, operation) {
            return self.describe(told, operation);
        }
        let told = match self.object.get().map(Object::stat) {
            Some(Ok(stat)) if lacks_permission(error) => failure::of_object(error, &stat),
            // All that is mapped here is as long, or longer.
            _ => mapping_refused(error, self.len()).unwrap_or_else(|| Error::from_io(error)),
        };
        self.describe(told, operation)
    }
}

// SAFETY: the mapping is `len` bytes of `mmap(2)`'s, aligned to a page, neither 0 nor over `isize::MAX` (checked before
// mapping), never given away as Rust references by this crate but to atomics, and replaced by `grow` and `refresh` only.
unsafe impl SharedRegion for PosixRegion {
    fn as_ptr(&self) -> *const u8 {
        self.mapping.as_ptr()
    }

    fn len(&self) -> usize {
        self.mapping.len()
    }

    fn access(&self) -> Access {
        if self.mapping.is_read_only() { Access::ReadOnly } else { Access::ReadWrite }
    }

    fn backend(&self) -> &'static str {
        NAME
    }

    fn id(&self) -> Option<RegionId> {
        self.id.clone()
    }

    fn capabilities(&self) -> Capabilities {
        let can = Posix.capabilities();
        match self.object.get() {
            Some(_) => can,
            None => can.with_file_descriptor(false).with_grow(false).with_attach_after_remove(false),
        }
    }

    fn metadata(&self) -> Result<Metadata> {
        const LOOK: &str = "look at";
        if let Some(object) = self.object.get() {
            return object.stat().map(|stat| metadata(&stat)).map_err(|error| self.failed(&error, LOOK));
        }
        // By the name, for which no permission is needed.
        let id = self.id.as_ref().ok_or_else(|| self.closed(LOOK))?;
        let own = self.object.identity().map_err(|error| self.failed(&error, LOOK))?;
        match leaf::kind(native(id)) {
            Ok((_, stat)) if (stat.device(), stat.inode()) == own => Ok(metadata(&stat)),
            Err(error) if !not_found(&error) && !unsupported(&error) => Err(self.failed(&error, LOOK)),
            _ => Err(self.closed(LOOK)),
        }
    }

    fn set_mode(&self, mode: u32) -> Result<()> {
        const SET: &str = "set the mode of";
        check_mode(mode).map_err(|error| self.describe(error, SET))?;
        self.with_object(SET, |object| object.set_mode(mode))
    }

    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        const SET: &str = "set the owner of";
        check_owner(uid, gid).map_err(|error| self.describe(error, SET))?;
        self.with_object(SET, |object| object.set_owner(uid, gid))
    }

    fn remove(&self) -> Result<()> {
        match &self.id {
            Some(id) => remove_same(id, self.object.identity()),
            None => Err(self
                .error(ErrorKind::Unsupported, "remove")
                .reason("a POSIX region without a name goes by itself, with its last user")),
        }
    }

    fn try_clone(&self) -> Result<Self> {
        const CLONE: &str = "clone";
        // The mapping first: what the first sharing makes stays with this region.
        let mapping = self.map_alike(self.object(CLONE)?, self.len()).map_err(|error| self.failed(&error, CLONE))?;
        let object = self.object.share().map_err(|error| self.failed(&error, CLONE))?;
        let core_dump = self.core_dump;
        Ok(Self {
            mapping,
            object: Handle::Shared(object),
            id: self.id.clone(),
            remover: None,
            core_dump,
            last_user: self.last_user.clone(),
        })
    }

    fn try_clone_boxed(&self) -> Result<Box<dyn SharedRegion>> {
        Ok(Box::new(self.try_clone()?))
    }

    fn grow(&mut self, len: usize) -> Result<()> {
        const GROW: &str = "grow";
        if self.access() == Access::ReadOnly {
            return Err(self.error(ErrorKind::ReadOnly, GROW));
        }
        validate_size(len as u64).map_err(|error| self.describe(error, GROW))?;
        let Some(object) = self.object.get() else { return Err(self.closed(GROW)) };
        let mut patience = Backoff::new(Duration::from_secs(1));
        let _lock = loop {
            match object.lock() {
                Ok(Some(lock)) => break lock,
                Ok(None) if patience.pause() => {}
                Ok(None) => {
                    return Err(self
                        .error(ErrorKind::Busy, GROW)
                        .reason("another process has kept a lock on it for a second: try again"));
                }
                Err(error) => return Err(self.failed(&error, GROW)),
            }
        };
        // The size can move no more, but by those who do not ask for the lock.
        let have = object.stat().map_err(|error| self.failed(&error, GROW))?.len();
        let want = len as u64;
        if have >= want {
            return self.refresh();
        }
        check_memory_limits(len - have as usize).map_err(|error| self.describe(error, GROW))?;
        let reserved = object.reserve(have, want - have, Sizing::Keep);
        let _: Reserved = reserved.map_err(|error| {
            let sealed = self.refused_by_seal(&error, GROW);
            self.describe(sealed.unwrap_or_else(|| failure::no_room(&error, len, object)), GROW)
        })?;
        let grown = object.clear_tail(have).and_then(|()| {
            let mapping = self.map_alike(object, len)?;
            // Not `ftruncate`, which would cut off what somebody without the lock has added meanwhile.
            let _: Reserved = object.reserve(want - 1, 1, Sizing::Extend)?;
            Ok(mapping)
        });
        match grown {
            Ok(mapping) => self.mapping = mapping,
            Err(error) => {
                // Gives back what was reserved past the end, unless somebody without the lock has moved that.
                if object.stat().is_ok_and(|stat| stat.len() == have) {
                    let _ = object.set_len(have);
                }
                return Err(self.failed(&error, GROW));
            }
        }
        Ok(())
    }

    fn refresh(&mut self) -> Result<()> {
        const REFRESH: &str = "refresh";
        let object = self.object(REFRESH)?;
        let size = object.stat().map_err(|error| self.failed(&error, REFRESH))?.len();
        if size == self.len() as u64 {
            return Ok(());
        }
        let len = OpenOptions::new().validate_size(size).map_err(|error| self.describe(error, REFRESH))?;
        check_huge_pages(object, len).map_err(|error| self.describe(error, REFRESH))?;
        self.mapping = self.map_alike(object, len).map_err(|error| self.failed(&error, REFRESH))?;
        Ok(())
    }

    fn lock_memory(&self) -> Result<()> {
        memory::lock(self.as_ptr(), self.len()).map_err(|error| {
            let told = if error.kind() == ErrorKind::NoSpace { self.not_all_there(error) } else { error };
            self.describe(told, "lock in memory")
        })
    }

    fn descriptor(&self) -> Result<BorrowedFd<'_>> {
        self.object("lend the descriptor of").map(AsFd::as_fd)
    }
}

impl Drop for PosixRegion {
    fn drop(&mut self) {
        if let (Some(remover), Some(id)) = (self.remover, &self.id) {
            if remover.is_current() {
                // It is still mapped, so its inode cannot have been reused for another object.
                let _ = remove_same(id, self.object.identity());
            }
        }
        if let Some(last_user) = &mut self.last_user {
            last_user.is_about(self.object.identity());
        }
    }
}
