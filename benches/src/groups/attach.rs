//! Group 2: open an existing region, map it, read a byte, unmap it.

use std::rc::Rc;

use anyhow::{Result, ensure};
use shared_region::{Allocation, Posix, Sysv};

use crate::model::{Group, Plan, Plot, Role, Shape, Subject};
use crate::sampler;
use crate::ways::ours::Ours;
use crate::ways::peers::{Iceoryx, NixMemmap, SharedMemoryCrate};
use crate::ways::raw::{ShmOpen, Shmget};
use crate::ways::{Named, Way, expect, peek, standing, touch};

pub(crate) const GROUP: Group = Group {
    name: "attach",
    title: "Attach",
    text: "One operation opens a region that exists, maps it, reads its first byte, and unmaps it. All subjects open the same
one, and ask the system for its size. *Checked*: what is no shared memory, or has no size yet, is refused. The others map
whatever they find. *All pages touched* stores a byte into each page in place of the reading; *prefault* has them mapped in as
it opens.",
    plots: &[
        Plot { file: "attach-posix", title: "Attach, POSIX", case: "POSIX", shape: Shape::Ratios("libc, shm_open") },
        Plot { file: "attach-sysv", title: "Attach, System V", case: "System V", shape: Shape::Ratios("libc, shmget") },
    ],
    plan,
};

fn plan(plan: &mut Plan) -> Result<()> {
    let sizes = plan.sizes(&[4 << 10, 2 << 20], &[64 << 20]);
    for &size in &sizes {
        plan.compare("POSIX", size, move || {
            let standing = standing(ShmOpen, size as usize, BYTE)?;
            let name = || Rc::clone(&standing);
            Ok(vec![
                subject(Role::System, "libc, shm_open", CHECKED, ShmOpen, name()),
                subject(Role::Ours, "Posix", CHECKED, Ours(Posix, Allocation::Reserve), name())
                    .against("libc, shm_open"),
                subject(Role::Peer, "nix + memmap2", UNCHECKED, NixMemmap, name()).against("libc, shm_open"),
                subject(Role::Peer, "shared_memory", UNCHECKED, SharedMemoryCrate, name()).against("libc, shm_open"),
                subject(Role::Peer, "iceoryx2-bb-posix", UNCHECKED, Iceoryx, name()).against("libc, shm_open"),
            ])
        });
    }
    for &size in &sizes {
        plan.compare("System V", size, move || {
            let standing = standing(Shmget::Reserve, size as usize, BYTE)?;
            let name = || Rc::clone(&standing);
            Ok(vec![
                subject(Role::System, "libc, shmget", "", Shmget::Reserve, name()),
                subject(Role::Ours, "Sysv", "", Ours(Sysv, Allocation::Reserve), name()).against("libc, shmget"),
            ])
        });
    }
    for &size in &plan.sizes(&[4 << 10, 16 << 10, 256 << 10, 2 << 20], &[64 << 20]) {
        plan.compare(POSIX_TOUCHED, size, move || {
            let standing = standing(ShmOpen, size as usize, BYTE)?;
            let name = || Rc::clone(&standing);
            Ok(vec![
                touched(Role::System, "libc, shm_open", ShmOpen, name()),
                touched(Role::Ours, "Posix", Ours(Posix, Allocation::Reserve), name()).against("libc, shm_open"),
                touched(Role::Ours, "Posix, prefault", Ours(Posix, Allocation::Prefault), name())
                    .against("libc, shm_open"),
            ])
        });
        plan.compare(SYSV_TOUCHED, size, move || {
            let standing = standing(Shmget::Reserve, size as usize, BYTE)?;
            let name = || Rc::clone(&standing);
            Ok(vec![
                touched(Role::System, "libc, shmget", Shmget::Reserve, name()),
                touched(Role::Ours, "Sysv", Ours(Sysv, Allocation::Reserve), name()).against("libc, shmget"),
                touched(Role::Ours, "Sysv, prefault", Ours(Sysv, Allocation::Prefault), name()).against("libc, shmget"),
            ])
        });
    }
    Ok(())
}

const POSIX_TOUCHED: &str = "POSIX, all pages touched";
const SYSV_TOUCHED: &str = "System V, all pages touched";

const CHECKED: &str = "checked";
const UNCHECKED: &str = "whatever is there";

/// What every page begins with.
const BYTE: u8 = 0xa7;

/// Opens, and stores a byte into every page.
fn touched<W: Way>(role: Role, name: &'static str, way: W, standing: Rc<dyn Named>) -> Subject {
    let verified = Rc::clone(&standing);
    let verify = move || expect::<W>(&way.open(verified.name())?, BYTE);
    let run = move |count| {
        sampler::time(count, || {
            touch::<W>(&way.open(standing.name())?, BYTE);
            Ok(())
        })
    };
    Subject::new(role, name, "", verify, run)
}

fn subject<W: Way>(
    role: Role,
    name: &'static str,
    guarantee: &'static str,
    way: W,
    standing: Rc<dyn Named>,
) -> Subject {
    let verified = Rc::clone(&standing);
    let verify = move || expect::<W>(&way.open(verified.name())?, BYTE);
    let run = move |count| {
        sampler::time(count, || {
            let opened = way.open(standing.name())?;
            ensure!(peek::<W>(&opened, 0) == BYTE);
            Ok(())
        })
    };
    Subject::new(role, name, guarantee, verify, run)
}
