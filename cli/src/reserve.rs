//! Memory set aside step by step, so that Ctrl-C is answered and a bar shows how far it is.

use std::hint::black_box;
use std::sync::atomic::Ordering::Relaxed;

use shared_region::{Allocation, CreateOptions, Error, HugePages, RegionId, SharedRegion, SharedRegionExt};
use shared_region_posix::{self as posix, Object, Reserved, Sizing};

use crate::failure::Failure;
use crate::interrupt;
use crate::stream::{Bytes, Progress};

/// What is set aside between two looks at the signals: some hundredths of a second.
const STEP: usize = 16 << 20;

/// What is below this is set aside in one go, as it takes no longer than a look.
const SMALL: usize = 64 << 20;

/// No page is smaller.
const PAGE: usize = 4096;

/// Options that make the region without its memory, and what is left to do then; `None` where the crate should do all at
/// once: where that is quick, or refused at once with a reason.
pub(crate) fn later(id: &RegionId, options: &CreateOptions) -> Option<(CreateOptions, Allocation)> {
    let (size, allocation) = (options.get_size(), options.get_allocation());
    let refused = || options.validate_room().is_err();
    if size < SMALL || allocation == Allocation::Lazy || refused() {
        return None;
    }
    let without = if id.backend() == "sysv" {
        // The kernel counts its pages at once; only touching them takes long.
        (allocation == Allocation::Prefault).then_some(Allocation::Reserve)
    } else {
        let fits = posix::store().is_ok_and(|store| store.total() == 0 || store.free() >= size as u64);
        // Pages come in huge ones by a touch alone, and a touch is SIGBUS where there is no room.
        (fits && options.get_huge_pages() == HugePages::No).then_some(Allocation::Lazy)
    };
    Some((options.clone().allocation(without?), allocation))
}

/// Sets the memory of a new region aside.
pub(crate) fn fulfil(region: &dyn SharedRegion, allocation: Allocation) -> Result<(), Failure> {
    let reserved = match region.descriptor() {
        Ok(descriptor) => {
            let object = descriptor.try_clone_to_owned().and_then(Object::try_from);
            let object = object.map_err(|error| Failure::with("duplicate a descriptor", &error))?;
            reserve(region, &object)?
        }
        // A segment's pages are counted from the start.
        Err(_) => Reserved::Yes,
    };
    match (allocation, reserved) {
        (Allocation::Prefault, Reserved::Yes) => steps(region.len(), |start, end| touch(region, start, end)),
        // Zeros are written where a touch could be SIGBUS.
        (Allocation::Prefault, Reserved::No) => {
            let (bytes, zeros) = (Bytes::of(region)?, vec![0; STEP]);
            steps(region.len(), |start, end| bytes.write(start as u64, &zeros[..end - start]))
        }
        _ => Ok(()),
    }
}

fn reserve(region: &dyn SharedRegion, object: &Object) -> Result<Reserved, Failure> {
    let mut reserved = Reserved::Yes;
    steps(region.len(), |start, end| {
        if reserved == Reserved::Yes {
            reserved = object
                .reserve(start as u64, (end - start) as u64, Sizing::Keep)
                .map_err(|error| region.describe(Error::from_io(&error), "create"))?;
        }
        Ok(())
    })?;
    Ok(reserved)
}

fn touch(region: &dyn SharedRegion, start: usize, end: usize) -> Result<(), Error> {
    for offset in (start..end).step_by(PAGE) {
        // Opaque, as a known `| 0` becomes a load, which takes no page.
        region.atomic_u8(offset)?.fetch_or(black_box(0), Relaxed);
    }
    Ok(())
}

/// Goes from the start to the end of `length` bytes, until a signal comes.
fn steps(length: usize, mut step: impl FnMut(usize, usize) -> Result<(), Error>) -> Result<(), Failure> {
    let progress = Progress::new(length as u64);
    for start in (0..length).step_by(STEP) {
        interrupt::check()?;
        let end = length.min(start + STEP);
        step(start, end)?;
        progress.at(end as u64);
    }
    Ok(())
}
