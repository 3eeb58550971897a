//! Who holds an object.

use shared_region_posix::{self as leaf, Stat};

use super::failure::Subject;
use super::{NAME, look, native, own, stat};
use crate::backend::HOLDERS;
use crate::error::{ErrorKind, Result};
use crate::holders::{HeldMapping, Holder, Holders, unknown};
use crate::name::RegionId;
use crate::options::Access;

/// Device and inode, which stay the object's when its name comes to mean another.
fn object(stat: &Stat) -> (u64, u64) {
    (stat.device(), stat.inode())
}

pub(super) fn find(ids: &[RegionId]) -> Result<Vec<Result<Holders>>> {
    let known = ids.iter().map(|id| stat(&Subject::new(own(id, HOLDERS)?, HOLDERS)).map(|stat| object(&stat)));
    let known: Vec<Result<_>> = known.collect();
    let objects: Vec<_> = known.iter().flatten().copied().collect();
    let found = leaf::holders_of(&objects).map_err(|error| unknown(&error).operation(HOLDERS).backend(NAME))?;
    let mut found = found.iter().map(convert);
    Ok(known.into_iter().filter_map(|known| known.map(|_| found.next()).transpose()).collect())
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
    let before = object(&stat(&subject)?);
    match leaf::is_held(before.0, before.1).map_err(|error| subject.told(unknown(&error)))? {
        Some(true) => return Ok(false),
        Some(false) => {}
        None => {
            return Err(subject.error(ErrorKind::Unsupported).reason(
                "some processes could not be looked into, and one of them may hold it: run as root, or ask those who use it",
            ));
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
