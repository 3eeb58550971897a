//! The backend that is chosen at run time, and the one that features choose.

use std::fmt;
use std::str::FromStr;

use super::Backend;
use crate::error::{Error, ErrorKind, Result};
use crate::holders::Holders;
use crate::metadata::{Capabilities, ListEntry, Metadata};
use crate::name::{RegionId, RegionName};
use crate::options::{CreateOptions, OpenOptions};
#[cfg(feature = "posix")]
use crate::posix::{self, Posix};
use crate::region::SharedRegion;
#[cfg(feature = "sysv")]
use crate::sysv::{self, Sysv};

cfg_if::cfg_if! {
    if #[cfg(feature = "posix")] {
        /// The backend that the features chose: POSIX where `posix` is on, else System V.
        ///
        /// Cargo unifies features across a build: another crate that turns `posix` on changes what this means for all. A
        /// library should therefore own the choice, by a feature and an alias of its own, or carry an [`AnyBackend`], so
        /// that two programs which must meet do meet.
        ///
        /// ```
        /// // In a library whose own feature is called `use-sysv`:
        /// # mod a {
        /// #[cfg(feature = "use-sysv")]
        /// pub use shared_region::Sysv as MyBackend;
        /// #[cfg(not(feature = "use-sysv"))]
        /// pub use shared_region::Posix as MyBackend;
        /// # }
        /// ```
        pub use crate::posix::Posix as DefaultBackend;
    } else if #[cfg(feature = "sysv")] {
        /// The backend that the features chose: System V, as `posix` is off.
        ///
        /// Cargo unifies features across a build: another crate that turns `posix` on changes what this means for all.
        pub use crate::sysv::Sysv as DefaultBackend;
    }
}

/// The regions of [`DefaultBackend`].
#[cfg(any(feature = "posix", feature = "sysv"))]
pub type Region = <DefaultBackend as Backend>::Region;

/// A backend that is chosen at run time; parses from `posix` and `sysv`.
///
/// Its regions are `Box<dyn SharedRegion>`. The default is `DefaultBackend`. In a build without backends it has no
/// values.
///
/// # Examples
///
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// use shared_region::{AnyBackend, Backend};
///
/// let backend = AnyBackend::default();
/// assert_eq!(backend.to_string().parse::<AnyBackend>()?, backend);
/// backend.probe()?;
/// # }
/// # Ok::<(), shared_region::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnyBackend {
    /// [`Posix`](crate::Posix).
    #[cfg(feature = "posix")]
    Posix,
    /// [`Sysv`](crate::Sysv).
    #[cfg(feature = "sysv")]
    Sysv,
}

#[cfg(any(feature = "posix", feature = "sysv"))]
impl Default for AnyBackend {
    fn default() -> Self {
        DefaultBackend.into()
    }
}

#[cfg(feature = "posix")]
impl From<Posix> for AnyBackend {
    fn from(_: Posix) -> Self {
        Self::Posix
    }
}

#[cfg(feature = "sysv")]
impl From<Sysv> for AnyBackend {
    fn from(_: Sysv) -> Self {
        Self::Sysv
    }
}

impl fmt::Display for AnyBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for AnyBackend {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            #[cfg(feature = "posix")]
            "posix" => Ok(Self::Posix),
            #[cfg(feature = "sysv")]
            "sysv" => Ok(Self::Sysv),
            _ => Err(Error::new(ErrorKind::BackendUnavailable)
                .operation("choose backend")
                .subject(format_args!("{name:?}"))
                .reason("this build knows posix and sysv, each where its feature is on")),
        }
    }
}

/// Calls the same method of whichever backend it is.
macro_rules! each {
    ($any:expr, $backend:ident => $call:expr) => {
        match *$any {
            #[cfg(feature = "posix")]
            AnyBackend::Posix => {
                let $backend = Posix;
                $call
            }
            #[cfg(feature = "sysv")]
            AnyBackend::Sysv => {
                let $backend = Sysv;
                $call
            }
        }
    };
}

#[cfg(any(feature = "posix", feature = "sysv"))]
fn boxed<R: SharedRegion + 'static>(region: R) -> Box<dyn SharedRegion> {
    Box::new(region)
}

impl Backend for AnyBackend {
    type Region = Box<dyn SharedRegion>;

    fn name(&self) -> &'static str {
        each!(self, backend => backend.name())
    }

    fn capabilities(&self) -> Capabilities {
        each!(self, backend => backend.capabilities())
    }

    fn probe(&self) -> Result<()> {
        each!(self, backend => backend.probe())
    }

    fn create_new(&self, name: &RegionName, options: &CreateOptions) -> Result<Self::Region> {
        each!(self, backend => backend.create_new(name, options).map(boxed))
    }

    fn create_id(&self, id: &RegionId, options: &CreateOptions) -> Result<Self::Region> {
        each!(self, backend => backend.create_id(id, options).map(boxed))
    }

    fn create_with<E: From<Error>>(
        &self,
        name: &RegionName,
        options: &CreateOptions,
        init: impl FnOnce(&Self::Region) -> Result<(), E>,
    ) -> Result<Self::Region, E> {
        self.create_id_with(&RegionId::named(self.name(), *name), options, init)
    }

    fn create_id_with<E: From<Error>>(
        &self,
        id: &RegionId,
        options: &CreateOptions,
        init: impl FnOnce(&Self::Region) -> Result<(), E>,
    ) -> Result<Self::Region, E> {
        match *self {
            #[cfg(feature = "posix")]
            Self::Posix => posix::create_with(id, options, boxed, init),
            #[cfg(feature = "sysv")]
            Self::Sysv => sysv::create_with(id, options, boxed, init),
        }
    }

    fn open_or_create_id(&self, id: &RegionId, options: &CreateOptions) -> Result<(Self::Region, bool)> {
        each!(self, backend => backend.open_or_create_id(id, options).map(|(region, created)| (boxed(region), created)))
    }

    fn create_unnamed(&self, options: &CreateOptions) -> Result<Self::Region> {
        each!(self, backend => backend.create_unnamed(options).map(boxed))
    }

    fn open_id(&self, id: &RegionId, options: &OpenOptions) -> Result<Self::Region> {
        each!(self, backend => backend.open_id(id, options).map(boxed))
    }

    fn exists(&self, name: &RegionName) -> Result<bool> {
        each!(self, backend => backend.exists(name))
    }

    fn remove_id(&self, id: &RegionId) -> Result<()> {
        each!(self, backend => backend.remove_id(id))
    }

    fn metadata_id(&self, id: &RegionId) -> Result<Metadata> {
        each!(self, backend => backend.metadata_id(id))
    }

    fn set_mode_id(&self, id: &RegionId, mode: u32) -> Result<()> {
        each!(self, backend => backend.set_mode_id(id, mode))
    }

    fn set_owner_id(&self, id: &RegionId, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        each!(self, backend => backend.set_owner_id(id, uid, gid))
    }

    fn holders_ids(&self, ids: &[RegionId]) -> Result<Vec<Result<Holders>>> {
        each!(self, backend => backend.holders_ids(ids))
    }

    fn remove_id_if_unused(&self, id: &RegionId) -> Result<bool> {
        each!(self, backend => backend.remove_id_if_unused(id))
    }

    fn list(&self) -> Result<Vec<ListEntry>> {
        each!(self, backend => backend.list())
    }
}
