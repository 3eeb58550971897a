//! The open object behind a region.

use std::io;
use std::mem;
use std::sync::{Arc, Mutex, Weak};

use shared_region_posix::Object;

/// An open object, or what is left of it. Clones of a region share one descriptor more, so that they need none each; most
/// regions are never cloned, and need neither that nor the memory to share it.
#[derive(Debug)]
pub(super) enum Handle {
    Own(Object, Mutex<Weak<Object>>),
    Shared(Arc<Object>),
    /// Device and inode of an object that is open no more. They go on meaning it, as the region's mapping keeps it.
    Closed((u64, u64)),
}

impl Handle {
    /// The object, unless it was closed.
    pub(super) fn get(&self) -> Option<&Object> {
        match self {
            Self::Own(object, _) => Some(object),
            Self::Shared(object) => Some(object),
            Self::Closed(_) => None,
        }
    }

    /// Device and inode of the object.
    pub(super) fn identity(&self) -> io::Result<(u64, u64)> {
        match self {
            Self::Own(object, _) => object.identity(),
            Self::Shared(object) => object.identity(),
            Self::Closed(identity) => Ok(*identity),
        }
    }

    /// Another handle of the same object, for a clone.
    pub(super) fn share(&self) -> io::Result<Arc<Object>> {
        let second = |object: &Object| object.try_clone().map(Arc::new);
        let (object, shared) = match self {
            Self::Own(object, shared) => (object, shared),
            Self::Shared(shared) => return Ok(Arc::clone(shared)),
            Self::Closed(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        // Not waited for: a child that was forked at the wrong moment would wait for ever.
        let Ok(mut shared) = shared.try_lock() else { return second(object) };
        if let Some(shared) = shared.upgrade() {
            return Ok(shared);
        }
        let first = second(object)?;
        *shared = Arc::downgrade(&first);
        Ok(first)
    }

    /// Takes the object out, which remains known by its identity, and is closed once the caller drops it.
    pub(super) fn close(&mut self) -> io::Result<Arc<Object>> {
        let identity = self.identity()?;
        match mem::replace(self, Self::Closed(identity)) {
            Self::Own(object, _) => Ok(Arc::new(object)),
            Self::Shared(object) => Ok(object),
            Self::Closed(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl From<Object> for Handle {
    fn from(object: Object) -> Self {
        Self::Own(object, Mutex::default())
    }
}
