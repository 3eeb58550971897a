//! Ways to have shared memory under a name: by hand, by this crate, by its peers.

use std::ffi::CString;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, ensure};
use iceoryx2_bb_container::semantic_string::SemanticString;
use iceoryx2_bb_system_types::file_name::FileName;
use shared_region::RegionName;

pub(crate) mod ours;
pub(crate) mod peers;
pub(crate) mod raw;

/// What is done in the groups that create and attach.
pub(crate) trait Way: Copy + 'static {
    /// An object that is mapped for reading and writing. Dropping it unmaps it.
    type Mapping;

    /// Creates and maps what did not exist.
    fn create(self, name: &Name, size: usize) -> Result<Self::Mapping>;

    /// Opens and maps what exists.
    fn open(self, name: &Name) -> Result<Self::Mapping>;

    fn start(mapping: &Self::Mapping) -> *mut u8;

    fn len(mapping: &Self::Mapping) -> usize;

    /// Removes what nobody maps here any more.
    fn remove(self, name: &Name) -> Result<()>;
}

/// A name that nobody else has, in the forms that the ways ask for.
pub(crate) struct Name {
    pub(crate) region: RegionName,
    pub(crate) c: CString,
    pub(crate) text: String,
    pub(crate) file: FileName,
    pub(crate) key: i32,
}

impl Name {
    pub(crate) fn unique() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let bare = format!("bench-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let region = RegionName::new(&bare)?;
        Ok(Self {
            region,
            c: region.as_c_str().to_owned(),
            text: region.to_string(),
            file: FileName::new(bare.as_bytes()).map_err(|error| anyhow::anyhow!("{error:?}"))?,
            key: region.key(),
        })
    }
}

/// The size of the pages that are touched.
const PAGE: usize = 4096;

/// Stores a byte into every page.
pub(crate) fn touch<W: Way>(mapping: &W::Mapping, value: u8) {
    for offset in (0..W::len(mapping)).step_by(PAGE) {
        // SAFETY: the offset is below the mapping's length.
        let byte = unsafe { W::start(mapping).add(offset) };
        // SAFETY: inside a mapping that is writable; volatile, as it is shared with others.
        unsafe { byte.write_volatile(value) };
    }
}

/// Loads the byte at an offset.
pub(crate) fn peek<W: Way>(mapping: &W::Mapping, offset: usize) -> u8 {
    assert!(offset < W::len(mapping));
    // SAFETY: the offset is below the mapping's length.
    let byte = unsafe { W::start(mapping).add(offset) };
    // SAFETY: inside a mapping that is readable; volatile, as it is shared with others.
    unsafe { byte.read_volatile() }
}

/// Fails unless each page begins with this byte.
pub(crate) fn expect<W: Way>(mapping: &W::Mapping, value: u8) -> Result<()> {
    for offset in (0..W::len(mapping)).step_by(PAGE) {
        let found = peek::<W>(mapping, offset);
        ensure!(found == value, "byte {offset} is {found}, and {value} was expected");
    }
    Ok(())
}

/// A region that exists until this is dropped.
struct Standing<W: Way> {
    way: W,
    name: Name,
    _mapping: W::Mapping,
}

/// What a region that exists can be opened by.
pub(crate) trait Named {
    fn name(&self) -> &Name;
}

impl<W: Way> Named for Standing<W> {
    fn name(&self) -> &Name {
        &self.name
    }
}

impl<W: Way> Drop for Standing<W> {
    fn drop(&mut self) {
        let _ = self.way.remove(&self.name);
    }
}

/// Creates a region whose every page begins with `value`, and that stays until the result is dropped.
pub(crate) fn standing<W: Way>(way: W, size: usize, value: u8) -> Result<Rc<dyn Named>> {
    let name = Name::unique()?;
    let mapping = way.create(&name, size)?;
    touch::<W>(&mapping, value);
    Ok(Rc::new(Standing { way, name, _mapping: mapping }))
}
