//! Group 3: copies into and out of a region.

use std::cell::RefCell;
use std::hint::black_box;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Result, ensure};
use memmap2::MmapMut;
use shared_region::{Backend, CreateOptions, Posix, PosixRegion, SharedRegion, SharedRegionExt};
use vm_memory::{Bytes, VolatileSlice};

use crate::model::{Group, Plan, Plot, Role, Shape, Subject};
use crate::sampler;

mod typed;

use Direction::{In, Out};

pub(crate) const GROUP: Group = Group {
    name: "copies",
    title: "Copies",
    text: "One operation copies so many bytes between a region and a private buffer. All subjects of a comparison use the same
two buffers, both aligned to a page, so alignment and caches are the same for all. `memcpy` is
`ptr::copy_nonoverlapping` with a length that the compiler does not know; `read_unaligned` and `write_unaligned` have one
that it does know, and become plain loads and stores. These three may not be used while another process writes; the others
may.",
    plots: &[
        Plot { file: "copies-read", title: "Copies out of a region", case: "read", shape: Shape::Rates },
        Plot { file: "copies-write", title: "Copies into a region", case: "write", shape: Shape::Rates },
    ],
    plan,
};

fn plan(plan: &mut Plan) -> Result<()> {
    let sizes = plan.sizes(&[8, 64, 4 << 10, 1 << 20], &[512, 64 << 10, 16 << 20, 64 << 20]);
    for &size in &sizes {
        plan.compare("read", size, move || reads(size as usize));
    }
    for &size in &sizes {
        plan.compare("write", size, move || writes(size as usize));
    }
    typed::plan(plan);
    Ok(())
}

fn reads(len: usize) -> Result<Vec<Subject>> {
    let both = Buffers::new(len)?;
    Ok(vec![
        both.subject(Role::System, "memcpy", Out, |region, private| {
            // SAFETY: both are as long as the private buffer, do not overlap, and nobody writes to them meanwhile.
            unsafe { ptr::copy_nonoverlapping(region.as_ptr(), private.as_mut_ptr(), private.len()) };
            true
        }),
        both.subject(Role::Ours, "read_at", Out, |region, private| region.read_at(0, private).is_ok())
            .against("memcpy"),
        both.subject(Role::Peer, "VolatileSlice", Out, |region, private| {
            volatile(region).read_slice(private, 0).is_ok()
        })
        .against("memcpy"),
        both.subject(Role::Peer, "atomics by byte", Out, |region, private| {
            let Ok(shared) = region.slice_view::<AtomicU8>(0, private.len()) else { return false };
            private.iter_mut().zip(shared).for_each(|(to, from)| *to = from.load(Ordering::Relaxed));
            true
        })
        .against("memcpy"),
    ])
}

fn writes(len: usize) -> Result<Vec<Subject>> {
    let both = Buffers::new(len)?;
    Ok(vec![
        both.subject(Role::System, "memcpy", In, |region, private| {
            // SAFETY: both are as long as the private buffer, do not overlap, and nobody else uses them meanwhile.
            unsafe { ptr::copy_nonoverlapping(private.as_ptr(), region.as_ptr().cast_mut(), private.len()) };
            true
        }),
        both.subject(Role::Ours, "write_at", In, |region, private| region.write_at(0, private).is_ok())
            .against("memcpy"),
        both.subject(Role::Peer, "VolatileSlice", In, |region, private| {
            volatile(region).write_slice(private, 0).is_ok()
        })
        .against("memcpy"),
        both.subject(Role::Peer, "atomics by byte", In, |region, private| {
            let Ok(shared) = region.slice_view::<AtomicU8>(0, private.len()) else { return false };
            private.iter().zip(shared).for_each(|(from, to)| to.store(*from, Ordering::Relaxed));
            true
        })
        .against("memcpy"),
    ])
}

/// vm-memory's view of a whole region.
fn volatile(region: &PosixRegion) -> VolatileSlice<'_> {
    // SAFETY: so many bytes are mapped for reading and writing as long as the region lives.
    unsafe { VolatileSlice::new(region.as_ptr().cast_mut(), region.len()) }
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    In,
    Out,
}

/// A region and a private buffer that is mapped as it is.
struct Buffers {
    region: PosixRegion,
    private: RefCell<MmapMut>,
}

impl Buffers {
    fn new(len: usize) -> Result<Rc<Self>> {
        let region = Posix.create_unnamed(&CreateOptions::new(len))?;
        Ok(Rc::new(Self { region, private: RefCell::new(MmapMut::map_anon(len)?) }))
    }

    fn subject(
        self: &Rc<Self>,
        role: Role,
        name: &'static str,
        direction: Direction,
        copy: impl Fn(&PosixRegion, &mut [u8]) -> bool + Copy + 'static,
    ) -> Subject {
        let verified = Rc::clone(self);
        let verify = move || {
            let (region, private) = (&verified.region, &mut verified.private.borrow_mut()[..]);
            let mut noise = vec![0; region.len()];
            fastrand::Rng::new().fill(&mut noise);
            match direction {
                In => private.copy_from_slice(&noise),
                Out => region.write_at(0, &noise)?,
            }
            ensure!(copy(region, private), "it was refused");
            if direction == In {
                region.read_at(0, private)?;
            }
            ensure!(private == noise, "other bytes arrived");
            Ok(())
        };
        let buffers = Rc::clone(self);
        let run = move |count| {
            let mut private = buffers.private.borrow_mut();
            sampler::time(count, || {
                // The compiler can know neither what is copied, nor how much, nor that nobody looks at it.
                ensure!(copy(black_box(&buffers.region), black_box(&mut private[..])));
                Ok(())
            })
        };
        Subject::new(role, name, "", verify, run)
    }
}
