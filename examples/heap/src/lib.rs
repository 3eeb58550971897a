//! Regions on the heap of one process: the contract of [`shared_region`] without kernel objects, for unit tests of programs
//! that are generic over their [`Backend`].
//!
//! ```
//! use shared_region::{Backend, CreateOptions, OpenOptions, RegionName, Result, SharedRegionExt};
//! use shared_region_heap::Heap;
//!
//! fn greet<B: Backend>(backend: &B) -> Result<()> {
//!     let region = backend.create_new(&RegionName::new("/greeting")?, &CreateOptions::new(64))?;
//!     region.write_at(0, b"hello")
//! }
//!
//! let heap = Heap::new(); // each is a store of its own
//! greet(&heap)?;
//! let mut bytes = [0; 5];
//! heap.open(&RegionName::new("/greeting")?, &OpenOptions::new().read_only(true))?.read_at(0, &mut bytes)?;
//! assert_eq!(&bytes, b"hello");
//! # Ok::<(), shared_region::Error>(())
//! ```
//!
//! Threads share the regions, other processes do not, and a forked child gets a copy. Read-only is kept by the safe calls
//! alone: nothing keeps a raw pointer from writing.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use shared_region::{
    Access, Backend, Capabilities, CreateOptions, Error, ErrorKind, ListEntry, Metadata, OpenOptions, RegionId,
    RegionName, Removal, Result, SharedRegion, SharedRegionExt,
};

const NAME: &str = "heap";

/// What a mapping is aligned to, and more than any type needs.
const PAGE: usize = 4096;

/// What the system would say: as it does of the crate's own backends, so that tests see the same errors.
const ENOENT: i32 = 2;
const EEXIST: i32 = 17;

fn missing() -> Error {
    Error::new(ErrorKind::NotFound).errno(ENOENT)
}

type Names = BTreeMap<RegionName, Arc<Object>>;

/// A store of regions. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct Heap(Arc<Mutex<Names>>);

impl Heap {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn region(&self, object: Arc<Object>, access: Access, id: Option<RegionId>) -> HeapRegion {
        HeapRegion { object, access, id, heap: self.clone(), removal: Removal::Explicit }
    }

    fn create(&self, id: Option<RegionId>, options: &CreateOptions) -> Result<HeapRegion> {
        let object = Object::new(options.get_size(), options.get_mode())?;
        let region = self.region(Arc::new(object), Access::ReadWrite, id);
        options.settle(&region)?;
        Ok(region)
    }

    fn find(&self, name: &RegionName) -> Result<Arc<Object>> {
        self.names().get(name).cloned().ok_or_else(missing)
    }
}

/// The bytes of a region.
#[derive(Debug)]
struct Object {
    start: NonNull<u8>,
    len: usize,
    mode: AtomicU32,
    removed: AtomicBool,
    changed: SystemTime,
}

// SAFETY: the memory is owned by the object, and reached through raw pointers and atomics alone, as any region's is.
unsafe impl Send for Object {}
// SAFETY: as above.
unsafe impl Sync for Object {}

/// Whole pages: whoever has a mapping expects that the rest of the last one is there.
fn layout(len: usize) -> Option<Layout> {
    Layout::from_size_align(len.checked_next_multiple_of(PAGE)?, PAGE).ok()
}

impl Object {
    fn new(len: usize, mode: u32) -> Result<Self> {
        let no_space = || Error::new(ErrorKind::NoSpace).reason(format!("the heap has no {len} bytes: ask for less"));
        let layout = layout(len).ok_or_else(no_space)?;
        // SAFETY: `validate` lets no size of 0 through.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(no_space)?;
        Ok(Self { start, len, mode: mode.into(), removed: false.into(), changed: SystemTime::now() })
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        if let Some(layout) = layout(self.len) {
            // SAFETY: `new` has allocated it with this layout, and the last region that used it is gone.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}

/// A region on the heap.
#[derive(Debug)]
pub struct HeapRegion {
    object: Arc<Object>,
    access: Access,
    id: Option<RegionId>,
    heap: Heap,
    removal: Removal,
}

impl Backend for Heap {
    type Region = HeapRegion;

    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
            .with_exact_names(true)
            .with_atomic_init(true)
            .with_attach_after_remove(true)
            .with_last_user(true)
            .with_fixed_size(true)
    }

    fn create_with<E: From<Error>>(
        &self,
        name: &RegionName,
        options: &CreateOptions,
        init: impl FnOnce(&HeapRegion) -> Result<(), E>,
    ) -> Result<HeapRegion, E> {
        let id = RegionId::named(NAME, *name);
        let told = |error: Error| error.context("create", NAME, Some(&id));
        let taken = || told(Error::new(ErrorKind::AlreadyExists).errno(EEXIST));
        options.validate_for(self.capabilities()).map_err(told)?;
        if self.names().contains_key(name) {
            return Err(taken().into());
        }
        let mut region = self.create(Some(id.clone()), options).map_err(told)?;
        init(&region)?;
        let mut names = self.names();
        if names.contains_key(name) {
            return Err(taken().into());
        }
        names.insert(*name, Arc::clone(&region.object));
        region.removal = options.get_removal();
        Ok(region)
    }

    fn create_unnamed(&self, options: &CreateOptions) -> Result<HeapRegion> {
        let made = options.validate_for(self.capabilities()).and_then(|()| self.create(None, options));
        made.map_err(|error| error.context("create", NAME, None))
    }

    fn open_id(&self, id: &RegionId, options: &OpenOptions) -> Result<HeapRegion> {
        let told = |error: Error| error.context("open", NAME, Some(id));
        let name = id.name_in(NAME).map_err(told)?;
        options.validate_for(self.capabilities()).map_err(told)?;
        let open = || {
            let object = self.find(name)?;
            options.validate_size(object.len as u64)?;
            let mut region = self.region(object, options.get_access(), Some(id.clone()));
            options.settle(&region)?;
            region.removal = options.get_removal();
            Ok(region)
        };
        options.poll(open).map_err(told)
    }

    fn exists(&self, name: &RegionName) -> Result<bool> {
        Ok(self.names().contains_key(name))
    }

    fn remove_id(&self, id: &RegionId) -> Result<()> {
        let removed = id.name_in(NAME).and_then(|name| {
            let object = self.names().remove(name).ok_or_else(missing)?;
            object.removed.store(true, Relaxed);
            Ok(())
        });
        removed.map_err(|error| error.context("remove", NAME, Some(id)))
    }

    fn remove_id_if_unused(&self, id: &RegionId) -> Result<bool> {
        let removed = id.name_in(NAME).and_then(|name| {
            let mut names = self.names();
            let object = names.get(name).ok_or_else(missing)?;
            // Nobody can open it meanwhile.
            let unused = Arc::strong_count(object) == 1;
            if unused {
                names.remove(name);
            }
            Ok(unused)
        });
        removed.map_err(|error| error.context("remove if unused", NAME, Some(id)))
    }

    fn list(&self) -> Result<Vec<ListEntry>> {
        let entry = |(name, object): (&RegionName, &Arc<Object>)| {
            ListEntry::new(RegionId::named(NAME, *name), metadata(object))
        };
        Ok(self.names().iter().map(entry).collect())
    }
}

fn metadata(object: &Object) -> Metadata {
    // Whose process it is owns it; who that is nobody has to know.
    Metadata::new(object.len as u64, object.mode.load(Relaxed), 0, 0)
        .with_removed(object.removed.load(Relaxed))
        .with_native_id(object.start.addr().get() as u64)
        .with_changed(object.changed)
        .with_allocated(object.len as u64)
}

impl Drop for HeapRegion {
    fn drop(&mut self) {
        let Some(Ok(name)) = self.id.as_ref().map(|id| id.name_in(NAME)) else { return };
        let mut names = self.heap.names();
        let is_named = names.get(name).is_some_and(|object| Arc::ptr_eq(object, &self.object));
        // The name and this handle.
        let is_last = Arc::strong_count(&self.object) == 2;
        if is_named && (self.removal == Removal::OnDrop || (self.removal == Removal::LastUser && is_last)) {
            names.remove(name);
            self.object.removed.store(true, Relaxed);
        }
    }
}

// SAFETY: the allocation is `len` bytes, aligned to a page, neither 0 nor over `isize::MAX` (`validate`), kept by the region;
// no reference to them is made here.
unsafe impl SharedRegion for HeapRegion {
    fn as_ptr(&self) -> *const u8 {
        self.object.start.as_ptr()
    }

    fn len(&self) -> usize {
        self.object.len
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
        self.heap.capabilities()
    }

    fn metadata(&self) -> Result<Metadata> {
        let object = &self.object;
        let unnamed = self.id.is_none();
        Ok(if unnamed { metadata(object).with_removed(true) } else { metadata(object) })
    }

    fn set_mode(&self, mode: u32) -> Result<()> {
        if mode & !0o777 != 0 {
            let invalid =
                Error::new(ErrorKind::InvalidOptions).reason("a mode has permission bits only: at most 0o777");
            return Err(self.describe(invalid, "set the mode of"));
        }
        self.object.mode.store(mode, Relaxed);
        Ok(())
    }

    fn remove(&self) -> Result<()> {
        let told = |error: Error| self.describe(error, "remove");
        let unnamed = || Error::new(ErrorKind::Unsupported).reason("it has no name to remove");
        let name = self.id.as_ref().ok_or_else(unnamed).and_then(|id| id.name_in(NAME)).map_err(told)?;
        let mut names = self.heap.names();
        if !names.get(name).is_some_and(|object| Arc::ptr_eq(object, &self.object)) {
            return Err(told(
                Error::new(ErrorKind::NotFound).reason("it was removed, or its name means another region"),
            ));
        }
        names.remove(name);
        self.object.removed.store(true, Relaxed);
        Ok(())
    }

    fn try_clone(&self) -> Result<Self> {
        let mut clone = self.heap.region(Arc::clone(&self.object), self.access, self.id.clone());
        if self.removal == Removal::LastUser {
            clone.removal = Removal::LastUser;
        }
        Ok(clone)
    }

    fn try_clone_boxed(&self) -> Result<Box<dyn SharedRegion>> {
        Ok(Box::new(self.try_clone()?))
    }
}
