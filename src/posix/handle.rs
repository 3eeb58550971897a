//! The open object behind a region.

use std::io;
use std::ops::Deref;
use std::sync::{Arc, Mutex, Weak};

use shared_region_posix::Object;

/// An open object. Clones of a region share one descriptor more, so that they need none each; most regions are never
/// cloned, and need neither that nor the memory to share it.
#[derive(Debug)]
pub(super) enum Handle {
    Own(Object, Mutex<Weak<Object>>),
    Shared(Arc<Object>),
}

impl Handle {
    /// Another handle of the same object.
    pub(super) fn share(&self) -> io::Result<Self> {
        let second = |object: &Object| object.try_clone().map(Arc::new);
        let (object, shared) = match self {
            Self::Shared(shared) => return Ok(Self::Shared(Arc::clone(shared))),
            Self::Own(object, shared) => (object, shared),
        };
        // Not waited for: a child that was forked at the wrong moment would wait for ever.
        let Ok(mut shared) = shared.try_lock() else { return second(object).map(Self::Shared) };
        if let Some(shared) = shared.upgrade() {
            return Ok(Self::Shared(shared));
        }
        let first = second(object)?;
        *shared = Arc::downgrade(&first);
        Ok(Self::Shared(first))
    }
}

impl From<Object> for Handle {
    fn from(object: Object) -> Self {
        Self::Own(object, Mutex::default())
    }
}

impl Deref for Handle {
    type Target = Object;

    fn deref(&self) -> &Object {
        match self {
            Self::Own(object, _) => object,
            Self::Shared(object) => object,
        }
    }
}
