//! An attached segment.

use std::io;
use std::path::Path;

use shared_region_sysv::{self as leaf, Attachment, SegmentStat};

use super::failure::{attach_failed, failed, failed_on};
use super::removal::{LastUser, Turn, remove};
use super::segment::{attach_options, is_foreign, is_removed, look, set};
use super::{NAME, Sysv, find, metadata};
use crate::access::SharedRegionExt;
use crate::backend::Backend;
use crate::error::{Error, ErrorKind, Result};
use crate::memory;
use crate::metadata::{Capabilities, Metadata};
use crate::name::RegionId;
use crate::options::{OpenOptions, Removal};
use crate::process::Process;
use crate::region::Access;
use crate::region::{SharedRegion, check_mode, check_owner};

/// A region of System V shared memory: a segment, attached.
///
/// # Examples
///
/// ```
/// use shared_region::{Backend, CreateOptions, OpenOptions, SharedRegionExt, Sysv, SysvRegion};
///
/// let region = Sysv.create_unnamed(&CreateOptions::new(4096))?;
/// region.write_at(0, b"hello")?;
///
/// let shmid = region.shmid(); // to an X server, a C program
/// # #[cfg(target_os = "linux")] {
/// let same = SysvRegion::from_id(shmid, &OpenOptions::new().read_only(true))?;
/// let mut bytes = [0; 5];
/// same.read_at(0, &mut bytes)?;
/// assert_eq!(&bytes, b"hello");
/// # }
/// # Ok::<(), shared_region::Error>(())
/// ```
#[derive(Debug)]
pub struct SysvRegion {
    pub(super) attachment: Attachment,
    pub(super) id: RegionId,
    /// The process whose drop of this handle removes the segment.
    pub(super) remover: Option<Process>,
    /// Whether the mapping, and those that are cloned off it, go into core dumps.
    pub(super) core_dump: bool,
    /// The last, so that it is dropped when nothing is attached here any more.
    pub(super) last_user: Option<LastUser>,
}

pub(super) fn open(id: &RegionId, options: &OpenOptions) -> Result<SysvRegion> {
    let told = |error: Error| error.operation("open").region(id);
    options.validate_for(Sysv.capabilities()).map_err(told)?;
    let address = options.get_fixed_address();
    let attach = attach_options(options.get_access(), address);
    let last_user = options.get_removal() == Removal::LastUser;
    options.poll(|| {
        let turn = last_user.then(Turn::take);
        let segment = find(id).map_err(told)?;
        if let Some(uid) = options.get_expect_owner() {
            let stat = segment.stat().map_err(|error| told(failed_on(&error, segment)))?;
            if is_foreign(&stat, uid) {
                return Err(told(Error::new(ErrorKind::PermissionDenied).reason(format!(
                    "it belongs to uid {} and was made by uid {}, and uid {uid} was expected",
                    stat.uid(),
                    stat.creator_uid()
                ))));
            }
        }
        let attachment = segment.attach(&attach).map_err(|error| told(attach_failed(&error, segment, address)))?;
        options.validate_size(attachment.len() as u64).map_err(told)?;
        let last_user = last_user.then(|| LastUser::of(segment));
        if last_user.is_some() && is_removed(segment) && !matches!(id, RegionId::Segment(_)) {
            return Err(told(Error::new(ErrorKind::NotFound).reason("its last user has just removed it: try again")));
        }
        drop(turn);
        let core_dump = options.get_core_dump();
        let region = SysvRegion { attachment, id: id.clone(), remover: None, core_dump, last_user };
        options.settle(&region)?;
        Ok(region)
    })
}

impl SysvRegion {
    /// Opens a segment by its key, as [`Backend::open`] does by a name.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::open`], and
    ///
    /// - [`InvalidName`](ErrorKind::InvalidName): the key is 0 (`IPC_PRIVATE`), which names no segment.
    pub fn from_key(key: i32, options: &OpenOptions) -> Result<Self> {
        open(&RegionId::Key(key), options)
    }

    /// Opens a segment by its id, as [`Backend::open`] does by a name.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::open`].
    ///
    /// # Platform-specific behavior
    ///
    /// On Linux this works also after removal, as long as the segment is attached somewhere.
    pub fn from_id(shmid: i32, options: &OpenOptions) -> Result<Self> {
        open(&RegionId::Segment(shmid), options)
    }

    /// Makes a key of a file that exists and a number, exactly as the C library's `ftok` does.
    ///
    /// For meeting C programs. Different files do get the same key, as only some bits of the inode and device go in; in
    /// one tree of 120,288 files, 88 % shared theirs with another.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](ErrorKind::NotFound), [`PermissionDenied`](ErrorKind::PermissionDenied): of the path.
    ///
    /// # References
    ///
    /// [POSIX: ftok](https://pubs.opengroup.org/onlinepubs/9799919799/functions/ftok.html),
    /// [ftok(3)](https://man7.org/linux/man-pages/man3/ftok.3.html)
    pub fn ftok(path: impl AsRef<Path>, proj_id: i32) -> Result<i32> {
        let path = path.as_ref();
        leaf::ftok(path, proj_id).map_err(|error| {
            let error = failed(&error).operation("make a key from the path").subject(format_args!("{path:?}"));
            if error.kind() == ErrorKind::NotFound {
                error.reason("there is no such file: create it first")
            } else {
                error
            }
        })
    }

    /// Returns the segment's id, by which C programs and X servers attach it. Of a `dyn SharedRegion` the metadata tell
    /// it, as [`native_id`](Metadata::native_id).
    ///
    /// In another IPC namespace, such as a container's, the same id may be a stranger's segment. Whether a peer has
    /// attached this one shows in [`attach_count`](Metadata::attach_count).
    pub fn shmid(&self) -> i32 {
        self.attachment.segment().id()
    }

    /// Returns the key by which the segment was created or opened; `None` for an unnamed segment and one that was
    /// opened by its id.
    pub fn key(&self) -> Option<i32> {
        match &self.id {
            RegionId::Named { name, .. } => Some(name.key()),
            RegionId::Key(key) => Some(*key),
            _ => None,
        }
    }

    fn look(&self, operation: &'static str) -> Result<SegmentStat> {
        look(self.attachment.segment()).map_err(|error| self.failed(&error, operation))
    }

    fn failed(&self, error: &io::Error, operation: &'static str) -> Error {
        self.describe(failed_on(error, self.attachment.segment()), operation)
    }

    fn set(&self, uid: Option<u32>, gid: Option<u32>, mode: Option<u32>, operation: &'static str) -> Result<()> {
        set(self.attachment.segment(), uid, gid, mode).map_err(|error| self.failed(&error, operation))
    }
}

// SAFETY: the attachment is `len` bytes of `shmat(2)`'s, aligned to a page; a segment is never empty, never larger than
// an address space, and keeps its size; no Rust reference to it is given away by this crate but to atomics.
unsafe impl SharedRegion for SysvRegion {
    fn as_ptr(&self) -> *const u8 {
        self.attachment.as_ptr()
    }

    fn len(&self) -> usize {
        self.attachment.len()
    }

    fn access(&self) -> Access {
        if self.attachment.is_read_only() { Access::ReadOnly } else { Access::ReadWrite }
    }

    fn backend(&self) -> &'static str {
        NAME
    }

    fn id(&self) -> Option<RegionId> {
        Some(self.id.clone())
    }

    fn capabilities(&self) -> Capabilities {
        Sysv.capabilities()
    }

    fn metadata(&self) -> Result<Metadata> {
        self.look("look at").map(|stat| metadata(&stat))
    }

    fn set_mode(&self, mode: u32) -> Result<()> {
        const SET: &str = "set the mode of";
        check_mode(mode).map_err(|error| self.describe(error, SET))?;
        self.set(None, None, Some(mode), SET)
    }

    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        const SET: &str = "set the owner of";
        check_owner(uid, gid).map_err(|error| self.describe(error, SET))?;
        self.set(uid, gid, None, SET)
    }

    fn remove(&self) -> Result<()> {
        remove(self.attachment.segment()).map_err(|error| self.describe(error, "remove"))
    }

    fn try_clone(&self) -> Result<Self> {
        let segment = self.attachment.segment();
        let attachment = segment
            .attach(&attach_options(self.access(), None))
            .map_err(|error| self.describe(attach_failed(&error, segment, None), "clone"))?;
        let clone = Self {
            attachment,
            id: self.id.clone(),
            remover: None,
            core_dump: self.core_dump,
            last_user: self.last_user.clone(),
        };
        if !clone.core_dump {
            let kept = memory::keep_out_of_core_dumps(clone.as_ptr(), clone.len());
            kept.map_err(|error| self.describe(Error::from_io(&error), "clone"))?;
        }
        Ok(clone)
    }

    fn try_clone_boxed(&self) -> Result<Box<dyn SharedRegion>> {
        Ok(Box::new(self.try_clone()?))
    }
}

impl Drop for SysvRegion {
    fn drop(&mut self) {
        if self.remover.is_some_and(Process::is_current) {
            // Still attached, so the id cannot mean another segment.
            let _ = remove(self.attachment.segment());
        }
    }
}
