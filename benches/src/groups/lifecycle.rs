//! Group 1: create, map, touch every page, unmap, remove.

use std::rc::Rc;

use anyhow::{Result, ensure};
use shared_region::{Allocation, Posix, Sysv};

use crate::model::{Group, Plan, Plot, Role, Shape, Subject};
use crate::sampler;
use crate::ways::ours::Ours;
use crate::ways::peers::{Iceoryx, NixMemmap, SharedMemoryCrate};
use crate::ways::raw::{ShmOpen, Shmget, Whole};
use crate::ways::{Name, Way, expect, touch};

pub(crate) const GROUP: Group = Group {
    name: "lifecycle",
    title: "Lifecycle",
    text: "One operation creates a region, maps it, stores a byte into every page, unmaps and removes it.

- **zeroed**: new bytes read as 0. The kernel sees to it on every path here.
- **reserved**: a full store is an error at creation. Where not, it is SIGBUS at some later store.
- **whole**: nobody can open it before it has its size and its mode. Where not, an opener may see size 0.
- **mapped in**: the pages are in this process's page table, so the touching faults no more.

`libc, …` are the same calls by hand; their guarantee stands beside them. The ratio is to the hand-written calls with the
same guarantee, where there are such, and to `libc, shm_open` otherwise.",
    plots: &[
        Plot { file: "lifecycle-posix", title: "Lifecycle, POSIX", case: POSIX, shape: Shape::Ratios("libc, shm_open") },
        Plot { file: "lifecycle-sysv", title: "Lifecycle, System V", case: SYSV, shape: Shape::Ratios("libc, shmget") },
    ],
    plan,
};

pub(crate) const POSIX: &str = "POSIX";
pub(crate) const SYSV: &str = "System V";

fn plan(plan: &mut Plan) -> Result<()> {
    let sizes = plan.sizes(&[4 << 10, 64 << 10, 2 << 20], &[64 << 20]);
    for &size in &sizes {
        plan.compare(POSIX, size, move || {
            let size = size as usize;
            let lazy = "zeroed; half made at first, not reserved";
            let whole =
                ["zeroed, whole; not reserved", "zeroed, whole, reserved", "zeroed, whole, reserved, mapped in"];
            Ok(vec![
                subject(Role::System, "libc, shm_open", lazy, ShmOpen, size)?,
                subject(Role::Peer, "nix + memmap2", lazy, NixMemmap, size)?.against("libc, shm_open"),
                subject(Role::Peer, "shared_memory", lazy, SharedMemoryCrate, size)?.against("libc, shm_open"),
                subject(Role::System, "libc, whole", whole[0], Whole::Lazy, size)?,
                subject(Role::Ours, "Posix, Lazy", whole[0], Ours(Posix, Allocation::Lazy), size)?
                    .against("libc, whole"),
                subject(Role::System, "libc, whole, fallocate", whole[1], Whole::Reserve, size)?,
                subject(Role::Ours, "Posix, Reserve", whole[1], Ours(Posix, Allocation::Reserve), size)?
                    .against("libc, whole, fallocate"),
                subject(Role::System, "libc, whole, populate", whole[2], Whole::Prefault, size)?,
                subject(Role::Ours, "Posix, Prefault", whole[2], Ours(Posix, Allocation::Prefault), size)?
                    .against("libc, whole, populate"),
                subject(
                    Role::Peer,
                    "iceoryx2-bb-posix",
                    "zeroed twice, reserved and mapped in by that; half made at first",
                    Iceoryx,
                    size,
                )?
                .against("libc, shm_open"),
            ])
        });
    }
    for &size in &sizes {
        plan.compare(SYSV, size, move || {
            let size = size as usize;
            let promises =
                ["zeroed, whole; not reserved", "zeroed, whole, reserved", "zeroed, whole, reserved, mapped in"];
            Ok(vec![
                subject(Role::System, "libc, SHM_NORESERVE", promises[0], Shmget::Lazy, size)?,
                subject(Role::Ours, "Sysv, Lazy", promises[0], Ours(Sysv, Allocation::Lazy), size)?
                    .against("libc, SHM_NORESERVE"),
                subject(Role::System, "libc, shmget", promises[1], Shmget::Reserve, size)?,
                subject(Role::Ours, "Sysv, Reserve", promises[1], Ours(Sysv, Allocation::Reserve), size)?
                    .against("libc, shmget"),
                subject(Role::System, "libc, shmget, populate", promises[2], Shmget::Prefault, size)?,
                subject(Role::Ours, "Sysv, Prefault", promises[2], Ours(Sysv, Allocation::Prefault), size)?
                    .against("libc, shmget, populate"),
            ])
        });
    }
    Ok(())
}

fn subject<W: Way>(role: Role, name: &'static str, guarantee: &'static str, way: W, size: usize) -> Result<Subject> {
    let region = Rc::new(Name::unique()?);
    let verified = Rc::clone(&region);
    let verify = move || {
        let created = way.create(&verified, size)?;
        ensure!(W::len(&created) == size, "{} bytes long, and {size} were asked for", W::len(&created));
        expect::<W>(&created, 0)?;
        ensure!(way.create(&verified, size).is_err(), "a taken name was created once more");
        touch::<W>(&created, 0x5a);
        let opened = way.open(&verified)?;
        expect::<W>(&opened, 0x5a)?;
        drop((created, opened));
        way.remove(&verified)?;
        ensure!(way.open(&verified).is_err(), "it was removed and is still there");
        Ok(())
    };
    let run = move |count| {
        sampler::time(count, || {
            let created = way.create(&region, size)?;
            touch::<W>(&created, 1);
            drop(created);
            way.remove(&region)
        })
    };
    Ok(Subject::new(role, name, guarantee, verify, run))
}
