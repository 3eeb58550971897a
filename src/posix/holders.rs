//! Who holds an object.

use shared_region_posix::{self as leaf, Stat};

use super::failure::Subject;
use super::{look, native, not_found, own, stat};
use crate::backend::HOLDERS;
use crate::error::{ErrorKind, Result};
use crate::holders::{HeldMapping, Holder, Holders, unknown};
use crate::name::RegionId;
use crate::region::Access;

/// Device and inode, which stay the object's when its name comes to mean another.
fn object(stat: &Stat) -> (u64, u64) {
    (stat.device(), stat.inode())
}

pub(super) fn find(ids: &[RegionId]) -> Result<Vec<Result<Holders>>> {
    let known = ids.iter().map(|id| {
        let stat = stat(&Subject::new(own(id, HOLDERS)?, HOLDERS))?;
        // Of what nobody holds no process need be looked at.
        Ok((object(&stat), leaf::is_unused(native(id)).ok()))
    });
    let known: Vec<Result<_>> = known.collect();
    let objects: Vec<_> =
        known.iter().flatten().filter(|(_, unused)| *unused != Some(true)).map(|(object, _)| *object).collect();
    let walked = leaf::holders_of(&objects);
    let mut found = walked.iter().flatten().map(convert);
    let mut told = |id: &RegionId, (_, unused): ((u64, u64), Option<bool>)| match (unused, &walked) {
        (Some(true), _) => Ok(Holders::new(Vec::new(), true)),
        (_, Ok(_)) => {
            let seen = found.next().unwrap_or_else(|| Holders::new(Vec::new(), false));
            // The kernel says that somebody has it, whom the look did not find.
            let missed = unused == Some(false) && seen.processes().is_empty();
            Ok(if missed { Holders::new(Vec::new(), false) } else { seen })
        }
        (Some(false), Err(_)) => Ok(Holders::new(Vec::new(), false)),
        (None, Err(error)) => Err(Subject::new(id, HOLDERS).told(unknown(error))),
    };
    Ok(ids.iter().zip(known).map(|(id, known)| known.and_then(|known| told(id, known))).collect())
}

fn convert(found: &leaf::Holders) -> Holders {
    let mapping = |held: &leaf::HeldMapping| {
        let access = if held.is_writable() && held.is_shared() { Access::ReadWrite } else { Access::ReadOnly };
        HeldMapping::new(held.address(), held.len(), held.offset(), access)
    };
    let holder = |holder: &leaf::Holder| {
        let mappings = holder.mappings().iter().map(mapping).collect();
        Holder::new(holder.pid(), mappings, holder.descriptors().to_vec())
    };
    Holders::new(found.processes().iter().map(holder).collect(), found.is_complete())
}

pub(super) fn remove_if_none(id: &RegionId) -> Result<bool> {
    let subject = Subject::new(id, "remove if unused");
    match leaf::unlink_if_unused(native(id)) {
        Ok(removed) => return Ok(removed),
        // What can come of the removal, and what comes of a question that cannot be answered here.
        Err(error) if not_found(&error) => return Err(subject.failed(&error)),
        Err(_) => {}
    }
    let now = stat(&subject)?;
    let before = object(&now);
    match leaf::is_held(before.0, before.1).map_err(|error| subject.told(unknown(&error)))? {
        Some(true) => return Ok(false),
        Some(false) => {}
        None => {
            return Err(subject.error(ErrorKind::Unsupported).reason(format!(
                "the kernel tells its owner alone whether it is held, and not all processes could be looked into: run as uid {}, or ask those who use it",
                now.uid()
            )));
        }
    }
    if look(&subject)?.is_none_or(|now| object(&now) != before) {
        return Err(subject
            .error(ErrorKind::NotFound)
            .reason("the name means another object by now, which is left alone"));
    }
    leaf::unlink(native(id)).map_err(|error| subject.failed(&error))?;
    Ok(true)
}
