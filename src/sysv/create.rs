//! How a segment comes to be.

use std::io;

use nix::libc;
use shared_region_sysv::{self as leaf, GetOptions, HugePages as LeafPages, Segment};

use super::failure::{attach_failed, create_failed, failed, or_taken};
use super::region::SysvRegion;
use super::removal::{LastUser, Turn};
use super::segment::{attach_options, is_removed};
use super::{NAME, Sysv, own};
use crate::access::SharedRegionExt;
use crate::backend::Backend;
use crate::error::{Error, ErrorKind, Result};
use crate::name::RegionId;
use crate::options::{Allocation, CreateOptions, HugePages, Removal};
use crate::process::Process;
use crate::region::Access;

/// Removes a segment again, unless told that all went well.
pub(super) struct Undo(Option<Segment>);

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(segment) = self.0.take() {
            let _ = segment.remove();
        }
    }
}

/// Creates a region and fills it while it has the form in which the caller wants it.
pub(crate) fn create_with<R, E: From<Error>>(
    id: &RegionId,
    options: &CreateOptions,
    wrap: impl FnOnce(SysvRegion) -> R,
    init: impl FnOnce(&R) -> Result<(), E>,
) -> Result<R, E> {
    let (region, mut undo) = create(Some(own(id, "create")?), options)?;
    let region = wrap(region);
    init(&region)?;
    undo.0 = None;
    Ok(region)
}

/// Creates a region of zeros.
pub(super) fn create_new(id: &RegionId, options: &CreateOptions) -> Result<SysvRegion> {
    let (region, mut undo) = create(Some(id), options)?;
    undo.0 = None;
    Ok(region)
}

/// Makes a segment and attaches it. Without an identity it is private, known by its segment id, and goes with its last
/// user.
pub(super) fn create(id: Option<&RegionId>, options: &CreateOptions) -> Result<(SysvRegion, Undo)> {
    let told = |error: Error| {
        let error = error.operation("create").backend(NAME);
        match id {
            Some(id) => error.region(id),
            None => error.subject("without a key"),
        }
    };
    options.validate_for(Sysv.capabilities()).map_err(told)?;
    let key = match id {
        Some(RegionId::Named { name, .. }) => name.key(),
        Some(RegionId::Key(key)) if *key != leaf::IPC_PRIVATE => *key,
        Some(_) => {
            return Err(told(
                Error::new(ErrorKind::InvalidName).reason("a new segment is named by a key other than 0"),
            ));
        }
        None => leaf::IPC_PRIVATE,
    };
    let size = options.get_size();
    options.validate_room().map_err(|error| told(or_taken(error, key)))?;
    let last_user = id.is_some() && options.get_removal() == Removal::LastUser;
    let turn = last_user.then(Turn::take);
    let segment = get(key, options).map_err(|error| told(create_failed(&error, key, options)))?;
    let mut undo = Undo(Some(segment));
    let gone = |error: Error| error.reason("somebody removed it before it was attached: try again");
    let attach = attach_options(Access::ReadWrite, options.get_fixed_address());
    let attachment = segment
        .attach(&attach)
        .map_err(|error| attach_failed(&error, segment, options.get_fixed_address()))
        .map_err(|error| if error.kind() == ErrorKind::NotFound { gone(error) } else { error })
        .map_err(told)?;
    if attachment.len() != size {
        // While this process stood still the id has come around again: it means another's segment.
        undo.0 = None;
        return Err(told(gone(Error::new(ErrorKind::NotFound))));
    }
    if last_user && is_removed(segment) {
        undo.0 = None;
        return Err(told(gone(Error::new(ErrorKind::NotFound))));
    }
    drop(turn);
    let named = id.is_some();
    let id = id.cloned().unwrap_or(RegionId::Segment(segment.id()));
    let mut region = SysvRegion { attachment, id, remover: None, core_dump: options.get_core_dump(), last_user: None };
    if !named {
        // Before what takes its time, so that a kill can hardly come in between.
        segment.remove().map_err(|error| region.describe(failed(&error), "create"))?;
        undo.0 = None;
    }
    options.settle(&region)?;
    region.remover = (named && options.get_removal() == Removal::OnDrop).then(Process::current);
    region.last_user = last_user.then(|| LastUser::of(segment));
    Ok((region, undo))
}

/// Makes the segment, of such pages as are asked for.
fn get(key: i32, options: &CreateOptions) -> io::Result<Segment> {
    let ordinary = GetOptions::new().create(true).exclusive(true).mode(options.get_mode());
    // Huge pages are reserved whatever the allocation: that takes nothing but a count, and a touch is no SIGBUS then.
    let huge = || ordinary.clone().huge_pages(LeafPages::Default).get(key, options.get_size());
    let lazy = cfg!(target_os = "linux") && options.get_allocation() == Allocation::Lazy;
    let small = || ordinary.clone().no_reserve(lazy).get(key, options.get_size());
    match options.get_huge_pages() {
        HugePages::No => small(),
        // Explicit ones fit at multiples of their size only, and may reach into the next mapping.
        HugePages::Try if options.get_fixed_address().is_some() => small(),
        HugePages::Try => {
            huge().or_else(|error| if error.raw_os_error() == Some(libc::EEXIST) { Err(error) } else { small() })
        }
        HugePages::Require => huge(),
    }
}

impl SysvRegion {
    /// Creates a segment under a key of one's own, such as [`ftok`](Self::ftok)'s, as [`Backend::create_new`] does under
    /// a name.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::create_new`], and
    ///
    /// - [`InvalidName`](ErrorKind::InvalidName): the key is 0 (`IPC_PRIVATE`); use
    ///   [`create_unnamed`](Backend::create_unnamed).
    ///
    /// # Examples
    ///
    /// ```
    /// use shared_region::{CreateOptions, OpenOptions, SharedRegion, SysvRegion};
    ///
    /// let key = SysvRegion::ftok("/tmp", i32::from(b'R'))?;
    /// # let key = key ^ std::process::id() as i32;
    /// let region = SysvRegion::create_key(key, &CreateOptions::new(100))?;
    /// let same = SysvRegion::from_key(key, &OpenOptions::new())?;
    /// assert_eq!((same.len(), same.key()), (100, Some(key)));
    /// region.remove()?;
    /// # Ok::<(), shared_region::Error>(())
    /// ```
    pub fn create_key(key: i32, options: &CreateOptions) -> Result<Self> {
        create_new(&RegionId::Key(key), options)
    }
}
