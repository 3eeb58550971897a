//! What can be done with an identity alone: it knows its backend.

#[cfg(doc)]
use super::ErrorKind;
use super::{AnyBackend, Backend, HOLDERS};
use crate::error::{Error, Result};
use crate::holders::Holders;
use crate::metadata::Metadata;
use crate::name::RegionId;
use crate::options::OpenOptions;
use crate::region::SharedRegion;

impl RegionId {
    /// Opens what this identity stands for, in its own backend.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::open`], and
    ///
    /// - [`BackendUnavailable`](ErrorKind::BackendUnavailable): this build has no such backend.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// use shared_region::{AnyBackend, Backend, CreateOptions, OpenOptions, RegionId, SharedRegion};
    ///
    /// let region = AnyBackend::default().create_unique("doc-", &CreateOptions::new(4096))?;
    /// let text = region.id().map(|id| id.to_string()).unwrap_or_default(); // to another process
    ///
    /// let same = text.parse::<RegionId>()?.open(&OpenOptions::new())?;
    /// assert_eq!(same.len(), 4096);
    /// same.remove()?;
    /// # }
    /// # Ok::<(), shared_region::Error>(())
    /// ```
    pub fn open(&self, options: &OpenOptions) -> Result<Box<dyn SharedRegion>> {
        dispatch(self, "open", |backend| backend.open_id(self, options))
    }

    /// Removes what this identity stands for, in its own backend.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::remove`], and
    ///
    /// - [`BackendUnavailable`](ErrorKind::BackendUnavailable): this build has no such backend.
    pub fn remove(&self) -> Result<()> {
        dispatch(self, "remove", |backend| backend.remove_id(self))
    }

    /// Asks about what this identity stands for, in its own backend, without opening it.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::metadata`], and
    ///
    /// - [`BackendUnavailable`](ErrorKind::BackendUnavailable): this build has no such backend.
    pub fn metadata(&self) -> Result<Metadata> {
        dispatch(self, "look at", |backend| backend.metadata_id(self))
    }

    /// Changes the permission bits of what this identity stands for, in its own backend, without opening it.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::set_mode`], and
    ///
    /// - [`BackendUnavailable`](ErrorKind::BackendUnavailable): this build has no such backend.
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        dispatch(self, "set the mode of", |backend| backend.set_mode_id(self, mode))
    }

    /// Gives what this identity stands for to another user, group, or both, in its own backend, without opening it.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::set_owner`], and
    ///
    /// - [`BackendUnavailable`](ErrorKind::BackendUnavailable): this build has no such backend.
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        dispatch(self, "set the owner of", |backend| backend.set_owner_id(self, uid, gid))
    }

    /// Finds out who holds what this identity stands for, in its own backend. For many, [`Backend::holders_ids`] takes
    /// the time of one.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::holders`], and
    ///
    /// - [`BackendUnavailable`](ErrorKind::BackendUnavailable): this build has no such backend.
    pub fn holders(&self) -> Result<Holders> {
        dispatch(self, HOLDERS, |backend| backend.holders_id(self))
    }

    /// Removes what this identity stands for, in its own backend, if nobody holds it; says `false` if somebody does.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::remove_if_unused`], and
    ///
    /// - [`BackendUnavailable`](ErrorKind::BackendUnavailable): this build has no such backend.
    pub fn remove_if_unused(&self) -> Result<bool> {
        dispatch(self, "remove if unused", |backend| backend.remove_id_if_unused(self))
    }
}

/// Finds the backend of an identity and calls it.
fn dispatch<R>(id: &RegionId, operation: &'static str, call: impl FnOnce(AnyBackend) -> Result<R>) -> Result<R> {
    match id.backend().parse() {
        Ok(backend) => call(backend),
        Err(error) => Err(Error::operation(error, operation).subject(format_args!("\"{id}\""))),
    }
}
