//! By this crate.

use anyhow::Result;
use shared_region::{Allocation, Backend, CreateOptions, OpenOptions, SharedRegion};

use super::{Name, Way};

/// A backend, and when it sets memory aside.
#[derive(Clone, Copy)]
pub(crate) struct Ours<B>(pub(crate) B, pub(crate) Allocation);

impl<B: Backend + Copy + 'static> Way for Ours<B> {
    type Mapping = B::Region;

    fn create(self, name: &Name, size: usize) -> Result<B::Region> {
        Ok(self.0.create_new(&name.region, &CreateOptions::new(size).allocation(self.1))?)
    }

    fn open(self, name: &Name) -> Result<B::Region> {
        Ok(self.0.open(&name.region, &OpenOptions::new().prefault(self.1 == Allocation::Prefault))?)
    }

    fn start(mapping: &B::Region) -> *mut u8 {
        mapping.as_ptr().cast_mut()
    }

    fn len(mapping: &B::Region) -> usize {
        mapping.len()
    }

    fn remove(self, name: &Name) -> Result<()> {
        Ok(self.0.remove(&name.region)?)
    }
}
