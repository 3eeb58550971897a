//! Opening what exists, or creating it.

use std::time::Duration;

use super::Backend;
use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::name::RegionId;
use crate::options::{CreateOptions, Removal};
use crate::region::SharedRegion;

/// How a backend clears the way for a new region, where the options say so.
pub(crate) struct Way<U, F> {
    /// Removes what nobody holds. Says `false` where something is left.
    pub(crate) remove_unused: U,
    /// Removes what is [unfit](CreateOptions::is_unfit), and nothing that has taken its place meanwhile. Says `false` where
    /// what is there is fit.
    pub(crate) remove_unfit: F,
}

pub(crate) fn open_or_create<B: Backend + ?Sized>(
    backend: &B,
    id: &RegionId,
    options: &CreateOptions,
    way: Way<impl Fn() -> bool, impl Fn() -> Result<bool>>,
) -> Result<(B::Region, bool)> {
    options.validate().map_err(|error| error.region(id))?;
    let open = options.to_open();
    let replaces_unused = options.get_removal() == Removal::LastUser;
    let mut patience = Backoff::new(Duration::from_secs((1 + (options.get_size() >> 30) as u64).min(10)));
    loop {
        if !(replaces_unused && (way.remove_unused)()) {
            match backend.open_id(id, &open) {
                Ok(region) => {
                    if options.get_lock_memory() {
                        region.lock_memory()?;
                    }
                    return Ok((region, false));
                }
                Err(error) => match error.kind() {
                    ErrorKind::NotFound => {}
                    _ if !options.get_replace() => return Err(error),
                    ErrorKind::NotReady if (way.remove_unused)() => {}
                    ErrorKind::SizeMismatch { .. } => _ = gone((way.remove_unfit)())?,
                    ErrorKind::PermissionDenied if gone((way.remove_unfit)())? => {}
                    _ => return Err(error),
                },
            }
        }
        let error = match backend.create_id(id, options) {
            Ok(region) => return Ok((region, true)),
            Err(error) => error,
        };
        match error.kind() {
            // `NotFound`: it was removed before its creator had it mapped.
            ErrorKind::AlreadyExists | ErrorKind::NotFound | ErrorKind::NoSpace => {}
            _ => return Err(error),
        }
        if !patience.pause() {
            return Err(if error.kind() == ErrorKind::NoSpace {
                error
            } else {
                Error::new(ErrorKind::Busy)
                    .operation("open or create")
                    .region(id)
                    .reason("others created and removed it each time in between: try again")
            });
        }
    }
}

/// Takes what is not there any more for removed.
fn gone(removed: Result<bool>) -> Result<bool> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        other => other,
    }
}
