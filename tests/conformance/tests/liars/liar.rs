//! A good backend, and one that is like it but for one fault.

use std::mem::ManuallyDrop;
use std::ops::Deref;

use shared_region::{
    Access, Backend, Capabilities, CreateOptions, Error, ErrorKind, ListEntry, Metadata, OpenOptions, RegionId,
    RegionName, Removal, Result, SharedRegion, SharedRegionExt,
};
use shared_region_heap::{Heap, HeapRegion};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    KeepsOldBytes,
    RoundsTheSize,
    RemovesByName,
    IgnoresReadOnly,
    OpensWhatExists,
    IgnoresTheLeastSize,
    ListsNothing,
    ForgetsTheMode,
    RemovesNothing,
    ClonesRemove,
    AlwaysCreated,
    NamesNoRegion,
}

impl Fault {
    pub(crate) const ALL: [Self; 13] = [
        Self::None,
        Self::KeepsOldBytes,
        Self::RoundsTheSize,
        Self::RemovesByName,
        Self::IgnoresReadOnly,
        Self::OpensWhatExists,
        Self::IgnoresTheLeastSize,
        Self::ListsNothing,
        Self::ForgetsTheMode,
        Self::RemovesNothing,
        Self::ClonesRemove,
        Self::AlwaysCreated,
        Self::NamesNoRegion,
    ];
}

#[derive(Clone, Debug)]
pub(crate) struct Liar {
    heap: Heap,
    fault: Fault,
}

impl Liar {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { heap: Heap::new(), fault }
    }

    fn region(&self, region: HeapRegion, removes: bool) -> LiarsRegion {
        LiarsRegion { region: ManuallyDrop::new(region), liar: self.clone(), removes }
    }

    fn told(&self, error: Error) -> Error {
        if self.fault == Fault::NamesNoRegion {
            return Error::new(error.kind()).operation(error.get_operation().to_owned());
        }
        error
    }
}

#[derive(Debug)]
pub(crate) struct LiarsRegion {
    region: ManuallyDrop<HeapRegion>,
    liar: Liar,
    /// Whether it is one whose drop removes, of clones of one that does.
    removes: bool,
}

impl Deref for LiarsRegion {
    type Target = HeapRegion;

    fn deref(&self) -> &HeapRegion {
        &self.region
    }
}

impl Drop for LiarsRegion {
    fn drop(&mut self) {
        if self.removes && self.liar.fault == Fault::ClonesRemove {
            let _ = self.region.remove();
        }
        // SAFETY: it is dropped here, once, and not used after.
        unsafe { ManuallyDrop::drop(&mut self.region) };
    }
}

impl Backend for Liar {
    type Region = LiarsRegion;

    fn name(&self) -> &'static str {
        self.heap.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.heap.capabilities()
    }

    fn create_with<E: From<Error>>(
        &self,
        name: &RegionName,
        options: &CreateOptions,
        init: impl FnOnce(&LiarsRegion) -> Result<(), E>,
    ) -> Result<LiarsRegion, E> {
        if self.fault == Fault::OpensWhatExists {
            if let Ok(region) = self.heap.open(name, &OpenOptions::new()) {
                return Ok(self.region(region, false));
            }
        }
        let options = match self.fault {
            Fault::ForgetsTheMode if options.validate().is_ok() => options.clone().mode(0o600),
            _ => options.clone(),
        };
        let removes = options.get_removal() == Removal::OnDrop;
        // What is filled is the region that is handed out, so the heap's own creation is taken apart.
        let mut failure = None;
        let made = self.heap.create_with(name, &options, |region| {
            if self.fault == Fault::KeepsOldBytes {
                region.fill_at(0, region.len(), 0xaa)?;
            }
            let lent = self.region(region.try_clone()?, false);
            init(&lent).map_err(|error| {
                failure = Some(error);
                Error::new(ErrorKind::Unexpected)
            })
        });
        match (made, failure) {
            (_, Some(error)) => Err(error),
            (Ok(region), None) => Ok(self.region(region, removes)),
            (Err(error), None) => Err(self.told(error).into()),
        }
    }

    fn open_or_create_id(&self, id: &RegionId, options: &CreateOptions) -> Result<(LiarsRegion, bool)> {
        let (region, created) = self.heap.open_or_create_id(id, options).map_err(|error| self.told(error))?;
        let (always, old) = (self.fault == Fault::AlwaysCreated, self.fault == Fault::KeepsOldBytes && created);
        if old {
            region.fill_at(0, region.len(), 0xaa)?;
        }
        Ok((self.region(region, created && options.get_removal() == Removal::OnDrop), created || always))
    }

    fn create_unnamed(&self, options: &CreateOptions) -> Result<LiarsRegion> {
        self.heap.create_unnamed(options).map(|region| self.region(region, false)).map_err(|error| self.told(error))
    }

    fn open_id(&self, id: &RegionId, options: &OpenOptions) -> Result<LiarsRegion> {
        let options = match self.fault {
            Fault::IgnoresTheLeastSize => options.clone().min_size(0),
            Fault::IgnoresReadOnly => options.clone().read_only(false),
            _ => options.clone(),
        };
        self.heap.open_id(id, &options).map(|region| self.region(region, false)).map_err(|error| self.told(error))
    }

    fn exists(&self, name: &RegionName) -> Result<bool> {
        self.heap.exists(name)
    }

    fn remove_id(&self, id: &RegionId) -> Result<()> {
        if self.fault == Fault::RemovesNothing && id.backend() == self.name() {
            return Ok(());
        }
        self.heap.remove_id(id).map_err(|error| self.told(error))
    }

    fn remove_id_if_unused(&self, id: &RegionId) -> Result<bool> {
        self.heap.remove_id_if_unused(id)
    }

    fn list(&self) -> Result<Vec<ListEntry>> {
        if self.fault == Fault::ListsNothing { Ok(Vec::new()) } else { self.heap.list() }
    }
}

// SAFETY: it is the heap's region; a length that is rounded up stays within its last page, which is there.
unsafe impl SharedRegion for LiarsRegion {
    fn as_ptr(&self) -> *const u8 {
        self.region.as_ptr()
    }

    fn len(&self) -> usize {
        match self.liar.fault {
            Fault::RoundsTheSize => self.region.len().next_multiple_of(4096),
            _ => self.region.len(),
        }
    }

    fn access(&self) -> Access {
        self.region.access()
    }

    fn backend(&self) -> &'static str {
        self.region.backend()
    }

    fn id(&self) -> Option<RegionId> {
        self.region.id()
    }

    fn capabilities(&self) -> Capabilities {
        self.region.capabilities()
    }

    fn metadata(&self) -> Result<Metadata> {
        self.region.metadata()
    }

    fn set_mode(&self, mode: u32) -> Result<()> {
        self.region.set_mode(mode)
    }

    fn remove(&self) -> Result<()> {
        match (self.liar.fault, self.region.id()) {
            (Fault::RemovesNothing, Some(_)) => Ok(()),
            (Fault::RemovesByName, Some(id)) => self.liar.heap.remove_id(&id),
            _ => self.region.remove().map_err(|error| self.liar.told(error)),
        }
    }

    fn try_clone(&self) -> Result<Self> {
        Ok(self.liar.region(self.region.try_clone()?, self.removes))
    }

    fn try_clone_boxed(&self) -> Result<Box<dyn SharedRegion>> {
        Ok(Box::new(self.try_clone()?))
    }
}
