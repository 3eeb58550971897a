//! What is asked of a segment, whichever region it is.

use std::io;

use nix::errno::Errno;
use shared_region_sysv::{self as leaf, AttachOptions, Segment, SegmentStat};

use crate::region::Access;

/// Whether a segment belongs to another user, or was made by another than that and root.
pub(super) fn is_foreign(stat: &SegmentStat, uid: u32) -> bool {
    stat.uid() != uid || (stat.creator_uid() != uid && stat.creator_uid() != 0)
}

pub(super) fn is_removed(segment: Segment) -> bool {
    look(segment).is_ok_and(|stat| stat.is_removed())
}

/// Asks for everything known about a segment, also where its mode forbids its owner to read it.
pub(super) fn look(segment: Segment) -> io::Result<SegmentStat> {
    segment.stat().or_else(|error| {
        if error.raw_os_error() != Some(Errno::EACCES as i32) {
            return Err(error);
        }
        listed(segment).ok_or(error)
    })
}

/// Looks a segment up among all, for which no permission on it is needed.
pub(super) fn listed(segment: Segment) -> Option<SegmentStat> {
    leaf::segments().ok()?.into_iter().find(|stat| stat.segment() == segment)
}

/// Sets owner and mode, which one call does together.
pub(super) fn set(segment: Segment, uid: Option<u32>, gid: Option<u32>, mode: Option<u32>) -> io::Result<()> {
    let now = look(segment)?;
    segment.set(uid.unwrap_or(now.uid()), gid.unwrap_or(now.gid()), mode.unwrap_or(now.mode()))
}

/// Attaches as asked, never in place of another mapping.
pub(super) fn attach_options(access: Access, address: Option<usize>) -> AttachOptions {
    let options = AttachOptions::new().read_only(access == Access::ReadOnly);
    match address {
        Some(address) => options.address(address),
        None => options,
    }
}
