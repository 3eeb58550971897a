//! What is known about a region, and what a backend can do: [`Metadata`], [`Capabilities`], [`ListEntry`].

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use crate::name::RegionId;

/// Makes a struct of optional facts: each with a getter, and a builder method for backends.
macro_rules! facts {
    ($($(#[$doc:meta])* $field:ident / $with:ident: $type:ty,)*) => {
        $(
            $(#[$doc])*
            pub const fn $field(&self) -> Option<$type> {
                self.$field
            }

            #[doc = concat!("Sets what [`", stringify!($field), "`](Self::", stringify!($field), ") returns. For backends.")]
            pub const fn $with(mut self, value: $type) -> Self {
                self.$field = Some(value);
                self
            }
        )*
    };
}

/// What the system knows about a region's object, at the moment it was asked.
///
/// What a backend cannot tell is `None`, never a made-up number.
///
/// | fact | POSIX | System V |
/// |---|---|---|
/// | `size`, `mode`, `uid`, `gid`, `is_removed`, `changed` | yes | yes |
/// | `native_id` | the inode | the segment id |
/// | `key`, `attach_count`, `creator_uid`, `creator_gid`, `creator_pid`, `last_pid`, `attached`, `detached`, `locked` | | yes |
/// | `resident`, `swapped` | | on Linux, from [`Backend::list`](crate::Backend::list) and [`metadata_id`](crate::Backend::metadata_id) |
/// | `allocated`, `modified` | yes | |
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Metadata {
    size: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    removed: bool,
    native_id: Option<u64>,
    key: Option<i32>,
    attach_count: Option<u64>,
    resident: Option<u64>,
    swapped: Option<u64>,
    allocated: Option<u64>,
    creator_uid: Option<u32>,
    creator_gid: Option<u32>,
    creator_pid: Option<u32>,
    last_pid: Option<u32>,
    attached: Option<SystemTime>,
    detached: Option<SystemTime>,
    changed: Option<SystemTime>,
    modified: Option<SystemTime>,
    locked: Option<bool>,
}

impl Metadata {
    /// States the facts that every backend knows: size in bytes, permission bits, owner. For backends.
    pub const fn new(size: u64, mode: u32, uid: u32, gid: u32) -> Self {
        Self {
            size,
            mode: mode & 0o777,
            uid,
            gid,
            removed: false,
            native_id: None,
            key: None,
            attach_count: None,
            resident: None,
            swapped: None,
            allocated: None,
            creator_uid: None,
            creator_gid: None,
            creator_pid: None,
            last_pid: None,
            attached: None,
            detached: None,
            changed: None,
            modified: None,
            locked: None,
        }
    }

    /// Returns the object's size in bytes; a mapping can be shorter after another process has grown the object.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns the permission bits, at most 0777.
    pub const fn mode(&self) -> u32 {
        self.mode
    }

    /// Returns the owner.
    pub const fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns the owning group.
    pub const fn gid(&self) -> u32 {
        self.gid
    }

    /// Says whether the object has been removed, so that it goes with its last user.
    ///
    /// # Platform-specific behavior
    ///
    /// - **POSIX**: its link count is 0; so it is for an unnamed region from the start, and on Linux for a new one while
    ///   [`create_with`](crate::Backend::create_with) fills it.
    /// - **System V**: it is marked `SHM_DEST`; so is an unnamed region from the start.
    pub const fn is_removed(&self) -> bool {
        self.removed
    }

    /// Sets what [`is_removed`](Self::is_removed) returns. For backends.
    pub const fn with_removed(mut self, removed: bool) -> Self {
        self.removed = removed;
        self
    }

    /// Says whether the memory of the whole object has been set aside, where the system tells.
    ///
    /// It is `Some(false)` for a lazily allocated region with untouched pages, also where the file system could not
    /// reserve what was asked.
    pub fn is_reserved(&self) -> Option<bool> {
        self.allocated.map(|bytes| bytes >= self.size)
    }

    facts! {
        /// Returns the system's own number for the object, which other tools show: the segment id (shmid), the inode.
        native_id / with_native_id: u64,
        /// Returns the System V key, if the segment has one; a removed one has none.
        key / with_key: i32,
        /// Returns how many attachments exist, in all processes (`nattch`).
        attach_count / with_attach_count: u64,
        /// Returns how many of the object's bytes are in memory, in whole pages.
        resident / with_resident: u64,
        /// Returns how many of the object's bytes are swapped out, in whole pages.
        swapped / with_swapped: u64,
        /// Returns how many bytes of memory the object holds, swapped out or not, rounded up to pages.
        allocated / with_allocated: u64,
        /// Returns the user who created the object.
        creator_uid / with_creator_uid: u32,
        /// Returns the group of the user who created the object.
        creator_gid / with_creator_gid: u32,
        /// Returns the process that created the object.
        creator_pid / with_creator_pid: u32,
        /// Returns the process that attached or detached last.
        last_pid / with_last_pid: u32,
        /// Returns when the object was last attached.
        attached / with_attached: SystemTime,
        /// Returns when the object was last detached.
        detached / with_detached: SystemTime,
        /// Returns when the object was created, or its owner or mode last changed (POSIX: or its size or links).
        changed / with_changed: SystemTime,
        /// Returns when the object's size last changed, or a call other than a store through a mapping wrote to it.
        modified / with_modified: SystemTime,
        /// Says whether the whole segment is locked in memory by `SHM_LOCK`.
        locked / with_locked: bool,
    }
}

/// States what is known about a file. For backends whose regions are files.
impl From<&fs::Metadata> for Metadata {
    fn from(file: &fs::Metadata) -> Self {
        let time =
            |seconds: i64, nanos: i64| SystemTime::UNIX_EPOCH + Duration::new(seconds.max(0) as u64, nanos as u32);
        Self::new(file.size(), file.mode(), file.uid(), file.gid())
            .with_removed(file.nlink() == 0)
            .with_native_id(file.ino())
            .with_allocated(file.blocks().saturating_mul(512))
            .with_changed(time(file.ctime(), file.ctime_nsec()))
            .with_modified(time(file.mtime(), file.mtime_nsec()))
    }
}

/// One object of a backend's store, as [`Backend::list`](crate::Backend::list) found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry {
    id: RegionId,
    metadata: Metadata,
}

impl ListEntry {
    /// Puts an entry together. For backends.
    pub const fn new(id: RegionId, metadata: Metadata) -> Self {
        Self { id, metadata }
    }

    /// Returns the identity, by which the object can be opened and removed.
    pub const fn id(&self) -> &RegionId {
        &self.id
    }

    /// Returns what was known about the object when it was listed.
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// Makes the capabilities: each with a getter, and a builder method for backends.
macro_rules! capabilities {
    ($($(#[$doc:meta])* $field:ident / $with:ident,)*) => {
        /// What a backend can do here and now, where backends differ.
        ///
        /// There is a capability only where the answer of a call depends on it. A call whose capability is missing is
        /// [`Unsupported`](crate::ErrorKind::Unsupported), with a message that names the backend; it is never silently
        /// nothing. Where a capability is a promise and not a call, its absence is documented there: two names can meet,
        /// [`create_with`](crate::Backend::create_with) shows bytes half written, the attach count is `None`, a clone of a
        /// removed region is [`NotFound`](crate::ErrorKind::NotFound).
        ///
        /// | capability | POSIX | System V |
        /// |---|---|---|
        /// | `exact_names` | yes | no: a name becomes a key of 32 bits |
        /// | `attach_count` | no | yes |
        /// | `grow` | on Linux | no |
        /// | `atomic_init` | on Linux, where a file without a name can be made in `/dev/shm` and a link to it is granted | no |
        /// | `attach_after_remove` | yes | on Linux |
        /// | `fixed_address` | no | on Linux |
        /// | `file_descriptor` | yes, unless the region's was closed (`keep_descriptor`) | no |
        /// | `fixed_size` | no: a peer that may write may shrink it, unless it is sealed ([`Seals`](crate::Seals)) | yes |
        /// | `huge_pages` | no; but unnamed regions can have them | on Linux |
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[must_use]
        pub struct Capabilities {
            $($field: bool,)*
        }

        impl Capabilities {
            /// States that nothing optional can be done. For backends.
            pub const fn new() -> Self {
                Self { $($field: false,)* }
            }

            $(
                $(#[$doc])*
                pub const fn $field(&self) -> bool {
                    self.$field
                }

                #[doc = concat!("Sets what [`", stringify!($field), "`](Self::", stringify!($field), ") returns. For backends.")]
                pub const fn $with(mut self, can: bool) -> Self {
                    self.$field = can;
                    self
                }
            )*
        }
    };
}

capabilities! {
    /// Two names are never mistaken for each other.
    exact_names / with_exact_names,
    /// [`Metadata::attach_count`] is known, and
    /// [`wait_for_attach_count`](crate::SharedRegionExt::wait_for_attach_count) works.
    attach_count / with_attach_count,
    /// [`SharedRegion::grow`](crate::SharedRegion::grow) works.
    grow / with_grow,
    /// [`Backend::create_with`](crate::Backend::create_with) runs its closure before anybody can open the region, and a
    /// creator that is killed leaves nothing or a complete region.
    atomic_init / with_atomic_init,
    /// [`SharedRegion::try_clone`](crate::SharedRegion::try_clone) works after the region was removed, and so does
    /// attaching it by its segment id.
    attach_after_remove / with_attach_after_remove,
    /// [`CreateOptions::fixed_address`](crate::CreateOptions::fixed_address) and its namesake for opening work.
    fixed_address / with_fixed_address,
    /// [`SharedRegion::descriptor`](crate::SharedRegion::descriptor) works, so the region can be passed over a socket.
    file_descriptor / with_file_descriptor,
    /// [`HugePages::Require`](crate::HugePages::Require) can be asked for a region with a name, where the machine has
    /// such pages.
    huge_pages / with_huge_pages,
    /// [`Removal::LastUser`](crate::Removal::LastUser) works.
    last_user / with_last_user,
    /// Nobody can make a region smaller or larger, whatever they may do else.
    fixed_size / with_fixed_size,
}
