//! How an object loses its name.
//!
//! All who take a name away or put another object under it do so in turns, by a lock on the object, and look at the name
//! again once they have it. Otherwise one could take away what another has just put there.

use std::io;
use std::time::Duration;

use shared_region_posix::{self as leaf, Lock, Pin, Stat};

use super::failure::Subject;
use super::{look, native, not_found};
use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::name::RegionId;
use crate::options::CreateOptions;

/// How long others are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a name means, and the lock of that, if it could be had.
struct Turn {
    lock: io::Result<Option<Lock>>,
    named: Option<Stat>,
}

impl Turn {
    /// Waits for one's turn at what the name means by then. Without the lock, who may change the name may do so all the
    /// same: the lock keeps nobody out who does not ask for it.
    fn take(subject: &Subject<'_>) -> Result<Self> {
        let mut patience = Backoff::new(PATIENCE);
        loop {
            let lock = Lock::of(subject.native());
            let named = look(subject)?;
            match (&lock, &named) {
                (Ok(Some(lock)), Some(stat)) if lock.identity() != identity(stat) => {}
                (Ok(None), _) => {}
                // It went between the two.
                (Err(error), Some(_)) if not_found(error) => {}
                _ => return Ok(Self { lock, named }),
            }
            if !patience.pause() {
                return Ok(Self { lock: Ok(None), named });
            }
        }
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.device(), stat.inode())
}

/// Removes what a name means.
pub(super) fn remove(id: &RegionId) -> Result<()> {
    let subject = Subject::new(id, "remove");
    let _turn = Turn::take(&subject)?;
    leaf::unlink(native(id)).map_err(|error| subject.failed(&error))
}

/// Removes the name, if it still means this object.
pub(super) fn remove_same(id: &RegionId, own: io::Result<(u64, u64)>) -> Result<()> {
    let subject = Subject::new(id, "remove");
    let own = own.map_err(|error| subject.failed(&error))?;
    let turn = Turn::take(&subject).map_err(|error| match error.kind() {
        ErrorKind::NotFound => subject.error(ErrorKind::NotFound).reason("it has been removed before"),
        ErrorKind::NotSharedMemory => another(&subject),
        _ => error,
    })?;
    if turn.named.is_some_and(|stat| identity(&stat) != own) {
        return Err(another(&subject));
    }
    leaf::unlink(native(id)).map_err(|error| subject.failed(&error))
}

fn another(subject: &Subject<'_>) -> Error {
    subject.error(ErrorKind::NotFound).reason("the name means another object by now, which is left alone")
}

/// Removes what a name means if it is too small or another user's; says `false` if it is not.
pub(super) fn remove_unfit(id: &RegionId, options: &CreateOptions) -> Result<bool> {
    let subject = Subject::new(id, "replace");
    let turn = match Turn::take(&subject) {
        Ok(turn) => turn,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    let Some(stat) = turn.named else {
        return Err(subject.error(ErrorKind::Unsupported).reason("this system tells about open objects only"));
    };
    if !options.is_unfit(stat.len(), stat.uid()) {
        return Ok(false);
    }
    match turn.lock {
        Ok(Some(_)) => {}
        Ok(None) => {
            return Err(subject
                .error(ErrorKind::Busy)
                .reason("another process has kept a lock on it for a second: try again"));
        }
        Err(error) => return Err(subject.failed(&error)),
    }
    match leaf::unlink(native(id)) {
        Err(error) if !not_found(&error) => Err(subject.failed(&error)),
        _ => Ok(true),
    }
}

/// Removes what a name means if nobody holds it; `false` also where that cannot be told.
pub(super) fn remove_unused(id: &RegionId) -> bool {
    match leaf::unlink_if_unused(native(id)) {
        Ok(removed) => removed,
        Err(error) => not_found(&error),
    }
}

/// The duty to take a name away that nobody needs any more. Meant to be dropped after one's own mapping and descriptor:
/// then the kernel is asked whether there are other users.
#[derive(Debug)]
pub(super) struct LastUser {
    id: RegionId,
    object: Option<Pin>,
}

impl LastUser {
    pub(super) fn of(id: &RegionId) -> Self {
        Self { id: id.clone(), object: None }
    }

    /// Takes down which object it is about, while that is still held and so cannot be mistaken.
    pub(super) fn is_about(&mut self, own: io::Result<(u64, u64)>) {
        let own = own.ok();
        self.object = Pin::of(native(&self.id)).ok().filter(|pin| Some(pin.identity()) == own);
    }
}

impl Clone for LastUser {
    fn clone(&self) -> Self {
        Self::of(&self.id)
    }
}

impl Drop for LastUser {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            let _ = object.unlink_if_unused(native(&self.id));
        }
    }
}
