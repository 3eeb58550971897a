//! Who has a segment attached.

use std::collections::HashMap;

use shared_region_sysv::{self as leaf, AttachedRange, Attacher, Attachers, SegmentStat};

use super::failure::{failed, failed_on};
use super::{find, own};
use crate::backend::HOLDERS;
use crate::error::Result;
use crate::holders::{HeldMapping, Holder, Holders, unknown};
use crate::name::RegionId;
use crate::region::Access;

pub(super) fn find_all(ids: &[RegionId]) -> Result<Vec<Result<Holders>>> {
    let listed = leaf::segments().map_err(|error| failed(&error))?;
    let listed: HashMap<_, _> = listed.into_iter().map(|stat| (stat.segment(), stat)).collect();
    let stat = |id: &RegionId| -> Result<SegmentStat> {
        let segment = find(own(id, HOLDERS)?)?;
        // It may have been made since.
        let stat = listed.get(&segment).map_or_else(|| segment.stat(), |stat| Ok(stat.clone()));
        stat.map_err(|error| failed_on(&error, segment))
    };
    let told = |id| stat(id).map_err(|error| error.operation(HOLDERS).region(id));
    let known: Vec<Result<SegmentStat>> = ids.iter().map(told).collect();
    let stats: Vec<_> = known.iter().flatten().cloned().collect();
    let found = leaf::attachers(&stats).map_err(|error| unknown(&error))?;
    let mut found = found.iter().map(convert);
    Ok(known.into_iter().filter_map(|known| known.map(|_| found.next()).transpose()).collect())
}

fn convert(found: &Attachers) -> Holders {
    let mapping = |range: &AttachedRange| {
        let access = if range.is_read_only() { Access::ReadOnly } else { Access::ReadWrite };
        HeldMapping::new(range.address(), range.len(), range.offset(), access)
    };
    let holder =
        |attacher: &Attacher| Holder::new(attacher.pid(), attacher.ranges().iter().map(mapping).collect(), Vec::new());
    Holders::new(found.processes().iter().map(holder).collect(), found.is_complete())
}
