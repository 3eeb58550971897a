//! Group 5: what the first touch of much memory costs, by the pages that back it.

use std::fs;
use std::rc::Rc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Result, ensure};
use shared_region::{
    Allocation, AnyBackend, Backend, CreateOptions, HugePages, Removal, SharedRegion, SharedRegionExt,
};

use crate::isolation::{HugeStore, Processors};
use crate::machine;
use crate::model::{Group, Plan, Plot, Role, Shape, Size, Subject};
use crate::sampler;

pub(crate) const GROUP: Group = Group {
    name: "prefault",
    title: "Prefault",
    text: "One operation creates a region, stores a byte into every 4 KiB of it, and unmaps it, which frees it. *Touched*: each page is
found missing at its first store. *Reserved*: the pages are there before (`fallocate`), and each is mapped at its first
store. *Populated*: `MADV_POPULATE_WRITE` does all of that in one call, or
*by two* in one of each thread. A huge page of 2 MiB does it for 512 pages at
once: *transparent* ones are put together by the kernel where the memory allows it, *explicit* ones come from a pool that the
administrator has set aside.",
    plots: &[
        Plot { file: "prefault-posix", title: "Create and touch, POSIX", case: "POSIX", shape: Shape::Values },
        Plot { file: "prefault-sysv", title: "Create and touch, System V", case: "System V", shape: Shape::Values },
    ],
    plan,
};

fn plan(plan: &mut Plan) -> Result<()> {
    for &size in &plan.sizes(&[64 << 20], &[256 << 20, 1 << 30]) {
        let available = machine::available_memory();
        if available < 2 * size {
            let (size, available) = (Size::Bytes(size), Size::Bytes(available));
            plan.skip("larger regions", format!("{size} are too much, with {available} of memory to be had."));
            continue;
        }
        for backend in [AnyBackend::Posix, AnyBackend::Sysv] {
            let processors = plan.processors.clone();
            let able: Vec<Kind> = KINDS.iter().filter(|kind| kind.is_possible(plan, backend, size)).copied().collect();
            let machine = plan.machine.clone();
            plan.compare(title(backend), size, move || {
                let store = HugeStore::remount(machine.private_namespaces).map(Rc::new);
                Ok(able
                    .into_iter()
                    .map(|kind| kind.subject(backend, size as usize, store.clone(), processors.clone()))
                    .collect())
            });
        }
    }
    Ok(())
}

/// How the memory of a region comes.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    allocation: Allocation,
    pages: Pages,
    /// How many do it, each on a processor of its own.
    threads: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Pages {
    Ordinary,
    Transparent,
    Explicit,
}

const KINDS: &[Kind] = &[
    Kind { name: BASE, allocation: Allocation::Lazy, pages: Pages::Ordinary, threads: 1 },
    Kind { name: "4 KiB pages, reserved", allocation: Allocation::Reserve, pages: Pages::Ordinary, threads: 1 },
    Kind { name: POPULATED, allocation: Allocation::Prefault, pages: Pages::Ordinary, threads: 1 },
    Kind { name: BY_TWO, allocation: Allocation::Prefault, pages: Pages::Ordinary, threads: 2 },
    Kind { name: "transparent, touched", allocation: Allocation::Lazy, pages: Pages::Transparent, threads: 1 },
    Kind { name: "transparent, populated", allocation: Allocation::Prefault, pages: Pages::Transparent, threads: 1 },
    Kind { name: "explicit, touched", allocation: Allocation::Lazy, pages: Pages::Explicit, threads: 1 },
    Kind { name: "explicit, populated", allocation: Allocation::Prefault, pages: Pages::Explicit, threads: 1 },
];

const BASE: &str = "4 KiB pages, touched";
const POPULATED: &str = "4 KiB pages, populated";
const BY_TWO: &str = "4 KiB pages, populated by two";

impl Pages {
    fn title(self, backend: AnyBackend) -> &'static str {
        match (self, backend) {
            (Self::Ordinary, _) => "ordinary pages",
            (Self::Transparent, AnyBackend::Posix) => "transparent huge pages on POSIX",
            (Self::Transparent, _) => "transparent huge pages on System V",
            (Self::Explicit, AnyBackend::Posix) => "explicit huge pages on POSIX",
            (Self::Explicit, _) => "explicit huge pages on System V",
        }
    }
}

fn title(backend: AnyBackend) -> &'static str {
    if backend == AnyBackend::Posix { "POSIX" } else { "System V" }
}

impl Kind {
    fn create(self, backend: AnyBackend, size: usize) -> Result<Box<dyn SharedRegion>> {
        let options = CreateOptions::new(size).allocation(self.allocation).removal(Removal::OnDrop);
        let options = options.prefault_threads(self.threads);
        Ok(match self.pages {
            Pages::Ordinary => backend.create_unique("bench-", &options)?,
            Pages::Transparent => backend.create_unique("bench-", &options.huge_pages(HugePages::Try))?,
            // Objects with a name have none on POSIX.
            Pages::Explicit => backend.create_unnamed(&options.huge_pages(HugePages::Require))?,
        })
    }

    /// Tries it, and says in the report why it is left out.
    fn is_possible(self, plan: &mut Plan, backend: AnyBackend, size: u64) -> bool {
        if self.threads > plan.processors.count() {
            plan.skip(self.name, "Two at once need two processors.");
            return false;
        }
        if self.pages == Pages::Ordinary {
            return true;
        }
        let store = HugeStore::remount(plan.machine.private_namespaces);
        let tried = self.create(backend, size as usize).and_then(|region| verify(&*region, self.pages));
        let Err(error) = tried else { return true };
        let remedy = match self.pages {
            Pages::Explicit => format!("`sysctl vm.nr_hugepages={}` sets enough of them aside.", size >> 21),
            Pages::Transparent if backend == AnyBackend::Posix && store.is_none() => {
                "`mount -o remount,huge=advise /dev/shm` allows them.".to_owned()
            }
            _ => format!(
                "`/sys/kernel/mm/transparent_hugepage/shmem_enabled` is `{}`, and `advise` allows them; System V takes \
                 explicit ones first, as long as there are some.",
                plan.machine.shmem_enabled
            ),
        };
        plan.skip(self.pages.title(backend), format!("It was tried: {error}. {remedy}"));
        false
    }

    fn subject(
        self,
        backend: AnyBackend,
        size: usize,
        store: Option<Rc<HugeStore>>,
        processors: Processors,
    ) -> Subject {
        let verify = move || verify(&*self.create(backend, size)?, self.pages);
        let run = move |count| {
            let _store = &store;
            // Threads that are started stay where this one may be.
            let _everywhere = if self.threads > 1 { Some(processors.everywhere()?) } else { None };
            sampler::time(count, || touch(&*self.create(backend, size)?))
        };
        let subject = Subject::new(Role::Ours, self.name, "", verify, run);
        match self.name {
            BASE => subject,
            BY_TWO => subject.against(POPULATED),
            _ => subject.against(BASE),
        }
    }
}

/// Stores into every 4 KiB.
fn touch(region: &dyn SharedRegion) -> Result<()> {
    let bytes = region.slice_view::<AtomicU8>(0, region.len())?;
    bytes.iter().step_by(4096).for_each(|byte| byte.store(1, Relaxed));
    Ok(())
}

/// Fails unless new memory is zero, can be touched, and is mapped by such pages.
fn verify(region: &dyn SharedRegion, pages: Pages) -> Result<()> {
    let bytes = region.slice_view::<AtomicU8>(0, region.len())?;
    ensure!(bytes.iter().step_by(4096).all(|byte| byte.load(Relaxed) == 0), "new memory is not zero");
    touch(region)?;
    ensure!(bytes.iter().step_by(4096).all(|byte| byte.load(Relaxed) == 1), "a store was lost");
    let huge = match pages {
        Pages::Ordinary => return Ok(()),
        Pages::Transparent => smaps(region, "ShmemPmdMapped")?,
        Pages::Explicit => smaps(region, "Shared_Hugetlb")? + smaps(region, "Private_Hugetlb")?,
    };
    // The kernel aligns large mappings so that all of it can be huge.
    ensure!(huge >= region.len() as u64 / 2, "{} of {} bytes are in huge pages", huge, region.len());
    Ok(())
}

/// What `/proc` says of the mapping that begins where the region does, in bytes.
fn smaps(region: &dyn SharedRegion, field: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/self/smaps")?;
    let start = format!("{:x}-", region.as_ptr().addr());
    let mapping = text.lines().skip_while(|line| !line.starts_with(&start));
    let line = mapping.skip(1).find(|line| line.starts_with(field)).unwrap_or_default();
    Ok(line.split_whitespace().nth(1).and_then(|kibibytes| kibibytes.parse::<u64>().ok()).unwrap_or(0) << 10)
}
