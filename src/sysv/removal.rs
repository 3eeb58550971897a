//! How a segment is marked for removal.

use std::fs::File;
use std::mem;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use shared_region_sysv::Segment;

use super::failure::{failed, failed_on};
use super::find;
use super::segment::{is_foreign, look};
use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::name::RegionId;
use crate::options::CreateOptions;

/// How long others are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// One's turn among those who remove unused segments and those who must not lose one to them: asking and removing are two
/// calls, and so are finding and attaching. It is a lock on the list of segments, which anybody can take and keep: after a
/// while it is done without, as where there is none.
pub(super) struct Turn(Option<Flock<File>>);

impl Turn {
    pub(super) fn take() -> Self {
        let mut patience = Backoff::new(PATIENCE);
        let Ok(mut file) = File::open("/proc/sysvipc/shm") else { return Self(None) };
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Self(Some(lock)),
                Err((again, Errno::EWOULDBLOCK | Errno::EINTR)) if patience.pause() => file = again,
                Err(_) => return Self(None),
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        while let Some(lock) = self.0.take() {
            match lock.unlock() {
                Err((again, Errno::EINTR)) => self.0 = Some(again),
                // Its own `drop` would panic.
                Err((kept, _)) => mem::forget(kept),
                Ok(_) => {}
            }
        }
    }
}

pub(super) fn removed_before() -> Error {
    Error::new(ErrorKind::NotFound).reason("it has been removed before")
}

/// Marks a segment for removal, if nobody has before.
pub(super) fn remove(segment: Segment) -> Result<()> {
    match look(segment) {
        Ok(stat) if stat.is_removed() => {
            return Err(removed_before());
        }
        Err(error) if error.raw_os_error() != Some(Errno::EACCES as i32) => {
            return Err(failed(&error));
        }
        _ => {}
    }
    segment.remove().map_err(|error| failed_on(&error, segment))
}

/// Removes a segment if nobody has it attached; says whether it did.
pub(super) fn remove_unused(segment: Segment) -> Result<bool> {
    let _turn = Turn::take();
    let stat = look(segment).map_err(|error| failed(&error))?;
    if stat.is_removed() {
        return Err(removed_before());
    }
    if stat.attach_count() > 0 {
        return Ok(false);
    }
    segment.remove().map(|()| true).map_err(|error| failed_on(&error, segment))
}

/// Removes the segment that an identity stands for if it is too small or another user's; says `false` if it is not.
pub(super) fn remove_unfit(id: &RegionId, options: &CreateOptions) -> Result<bool> {
    let segment = find(id)?;
    let stat = look(segment).map_err(|error| failed_on(&error, segment))?;
    let foreign = options.get_expect_owner().is_some_and(|uid| is_foreign(&stat, uid));
    if !foreign && !options.is_unfit(stat.size() as u64, stat.uid()) {
        return Ok(false);
    }
    // By its id, which means no other.
    segment.remove().map(|()| true).map_err(|error| failed_on(&error, segment))
}

/// The duty to remove a segment that nobody needs any more. Meant to be dropped after one's own attachment.
#[derive(Clone, Debug)]
pub(super) struct LastUser(Segment);

impl LastUser {
    pub(super) fn of(segment: Segment) -> Self {
        Self(segment)
    }
}

impl Drop for LastUser {
    fn drop(&mut self) {
        let _ = remove_unused(self.0);
    }
}
