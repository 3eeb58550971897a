//! A region whose name the server keeps.

use std::os::fd::BorrowedFd;

use shared_region::{
    Access, Capabilities, Error, ErrorKind, Metadata, PosixRegion, RegionId, Result, SharedRegion, SharedRegionExt,
};

use crate::wire::{self, Identity, Request};
use crate::{Broker, NAME, told};

/// A mapped memfd, and the name that the server keeps for it.
#[derive(Debug)]
pub struct BrokerRegion {
    region: PosixRegion,
    id: Option<RegionId>,
    broker: Broker,
    /// The process whose drop of this handle removes the name.
    remover: Option<u32>,
}

impl BrokerRegion {
    pub(crate) fn new(region: PosixRegion, id: Option<RegionId>, broker: Broker) -> Self {
        Self { region, id, broker, remover: None }
    }

    pub(crate) fn remove_on_drop(&mut self, on_drop: bool) {
        self.remover = on_drop.then(std::process::id);
    }

    fn identity(&self) -> Result<Identity> {
        wire::stat(self.region.descriptor()?).map(|stat| Identity::of(&stat)).map_err(told)
    }

    /// Whether the name means this very object.
    fn is_named(&self) -> Result<bool> {
        let Some(id) = &self.id else { return Ok(false) };
        match self.broker.look(id.name_in(NAME)?) {
            Ok(stat) => Ok(Identity::of(&stat) == self.identity()?),
            // With the server its names are gone.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::BackendUnavailable) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn remove_same(&self) -> Result<()> {
        let unnamed = || Error::new(ErrorKind::Unsupported).reason("it has no name to remove");
        let name = self.id.as_ref().ok_or_else(unnamed)?.name_in(NAME)?;
        let only = Some(self.identity()?);
        self.broker.ask(Request::Remove { name: *name, only }, wire::NONE).map(drop).map_err(|error| {
            match error.kind() {
                ErrorKind::NotFound => {
                    Error::new(ErrorKind::NotFound).reason("it was removed, or its name means another region")
                }
                _ => error,
            }
        })
    }
}

impl Drop for BrokerRegion {
    fn drop(&mut self) {
        if self.remover == Some(std::process::id()) {
            let _ = self.remove_same();
        }
    }
}

// SAFETY: every answer about the memory comes from the mapped region, whose implementor vouches for it.
unsafe impl SharedRegion for BrokerRegion {
    fn as_ptr(&self) -> *const u8 {
        self.region.as_ptr()
    }

    fn len(&self) -> usize {
        self.region.len()
    }

    fn access(&self) -> Access {
        self.region.access()
    }

    fn backend(&self) -> &'static str {
        NAME
    }

    fn id(&self) -> Option<RegionId> {
        self.id.clone()
    }

    fn capabilities(&self) -> Capabilities {
        self.region.capabilities().with_exact_names(true).with_atomic_init(true).with_last_user(false)
    }

    fn metadata(&self) -> Result<Metadata> {
        let look = || Ok(self.region.metadata()?.with_removed(!self.is_named()?));
        look().map_err(|error| self.describe(error, "look at"))
    }

    fn set_mode(&self, mode: u32) -> Result<()> {
        self.region.set_mode(mode).map_err(|error| self.describe(error, "set the mode of"))
    }

    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        self.region.set_owner(uid, gid).map_err(|error| self.describe(error, "set the owner of"))
    }

    fn remove(&self) -> Result<()> {
        self.remove_same().map_err(|error| self.describe(error, "remove"))
    }

    fn try_clone(&self) -> Result<Self> {
        let region = self.region.try_clone().map_err(|error| self.describe(error, "clone"))?;
        Ok(Self::new(region, self.id.clone(), self.broker.clone()))
    }

    fn try_clone_boxed(&self) -> Result<Box<dyn SharedRegion>> {
        Ok(Box::new(self.try_clone()?))
    }

    fn grow(&mut self, len: usize) -> Result<()> {
        self.region.grow(len).map_err(|error| self.describe(error, "grow"))
    }

    fn refresh(&mut self) -> Result<()> {
        self.region.refresh().map_err(|error| self.describe(error, "refresh"))
    }

    fn lock_memory(&self) -> Result<()> {
        self.region.lock_memory().map_err(|error| self.describe(error, "lock in memory"))
    }

    fn descriptor(&self) -> Result<BorrowedFd<'_>> {
        self.region.descriptor().map_err(|error| self.describe(error, "lend the descriptor of"))
    }
}
