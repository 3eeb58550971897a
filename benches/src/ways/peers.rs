//! By other crates, each as its documentation shows it.

use std::fs::File;

use anyhow::{Result, anyhow};
// iceoryx2 calls a logger that only this crate defines; without features it keeps silent.
use iceoryx2_bb_loggers as _;
use iceoryx2_bb_posix::shared_memory::{AccessMode, CreationMode, SharedMemory, SharedMemoryBuilder};
use memmap2::{MmapOptions, MmapRaw};
use nix::fcntl::OFlag;
use nix::sys::mman::{shm_open, shm_unlink};
use nix::sys::stat::Mode;
use shared_memory::{Shmem, ShmemConf};

use super::{Name, Way};

/// nix and memmap2, put together by hand.
#[derive(Clone, Copy)]
pub(crate) struct NixMemmap;

impl Way for NixMemmap {
    type Mapping = (MmapRaw, File);

    fn create(self, name: &Name, size: usize) -> Result<Self::Mapping> {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR;
        let file = File::from(shm_open(name.c.as_c_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        file.set_len(size as u64)?;
        Ok((MmapOptions::new().len(size).map_raw(&file)?, file))
    }

    fn open(self, name: &Name) -> Result<Self::Mapping> {
        let file = File::from(shm_open(name.c.as_c_str(), OFlag::O_RDWR, Mode::empty())?);
        Ok((MmapOptions::new().map_raw(&file)?, file))
    }

    fn start(mapping: &Self::Mapping) -> *mut u8 {
        mapping.0.as_mut_ptr()
    }

    fn len(mapping: &Self::Mapping) -> usize {
        mapping.0.len()
    }

    fn remove(self, name: &Name) -> Result<()> {
        Ok(shm_unlink(name.c.as_c_str())?)
    }
}

/// shared_memory.
#[derive(Clone, Copy)]
pub(crate) struct SharedMemoryCrate;

impl Way for SharedMemoryCrate {
    type Mapping = Shmem;

    fn create(self, name: &Name, size: usize) -> Result<Shmem> {
        let mut region = ShmemConf::new().os_id(&name.text).size(size).create()?;
        // Else unmapping would remove it.
        region.set_owner(false);
        Ok(region)
    }

    fn open(self, name: &Name) -> Result<Shmem> {
        Ok(ShmemConf::new().os_id(&name.text).open()?)
    }

    fn start(mapping: &Shmem) -> *mut u8 {
        mapping.as_ptr()
    }

    fn len(mapping: &Shmem) -> usize {
        mapping.len()
    }

    fn remove(self, name: &Name) -> Result<()> {
        // It has no other call for this than dropping an owner.
        Ok(shm_unlink(name.c.as_c_str())?)
    }
}

/// iceoryx2-bb-posix, which by default zeroes what the kernel has zeroed.
#[derive(Clone, Copy)]
pub(crate) struct Iceoryx;

impl Way for Iceoryx {
    type Mapping = SharedMemory;

    fn create(self, name: &Name, size: usize) -> Result<SharedMemory> {
        SharedMemoryBuilder::new(&name.file)
            .creation_mode(CreationMode::CreateExclusive)
            .size(size)
            .has_ownership(false)
            .create()
            .map_err(|error| anyhow!("{error:?}"))
    }

    fn open(self, name: &Name) -> Result<SharedMemory> {
        SharedMemoryBuilder::new(&name.file).open_existing(AccessMode::ReadWrite).map_err(|error| anyhow!("{error:?}"))
    }

    fn start(mapping: &SharedMemory) -> *mut u8 {
        mapping.base_address().as_ptr()
    }

    fn len(mapping: &SharedMemory) -> usize {
        mapping.size()
    }

    fn remove(self, name: &Name) -> Result<()> {
        SharedMemory::remove(&name.file).map(drop).map_err(|error| anyhow!("{error:?}"))
    }
}
