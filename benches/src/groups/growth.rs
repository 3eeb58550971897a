//! Group 7: what grows with the size of a region, and with the number of regions.

use std::rc::Rc;

use anyhow::Result;
use anyhow::ensure;
use shared_region::{Allocation, Backend, Posix, Sysv};

use crate::model::{Group, Plan, Plot, Role, Shape, Size, Subject};
use crate::sampler;
use crate::ways::ours::Ours;
use crate::ways::raw::{ShmOpen, Shmget};
use crate::ways::{Name, Way};

const BY_SIZE: &str = "open and unmap, by size";
const BY_COUNT: &str = "open and unmap, among so many regions";
const LIST: &str = "list so many regions";

pub(crate) const GROUP: Group = Group {
    name: "growth",
    title: "Growth",
    text: "Opening takes the same time whatever the size of the region, and listing takes time for each region. Opening one of many
looks it up by a hash; among thousands, what is looked at is less often in the processor's caches. Opened are regions of
the size that is named, or of a page; nothing is touched. Among many, each time another one is opened.",
    plots: &[
        Plot { file: "growth-size", title: BY_SIZE, case: BY_SIZE, shape: Shape::Growth("time by the region's size") },
        Plot { file: "growth-open", title: BY_COUNT, case: BY_COUNT, shape: Shape::Growth("time by the number of regions") },
        Plot { file: "growth-list", title: LIST, case: LIST, shape: Shape::Growth("time by the number of regions") },
    ],
    plan,
};

fn plan(plan: &mut Plan) -> Result<()> {
    for &size in &plan.sizes(&[4 << 10, 1 << 20, 1 << 30], &[64 << 10, 16 << 20, 128 << 20]) {
        plan.compare(BY_SIZE, size, move || opens(1, size as usize));
    }
    if !plan.machine.private_namespaces {
        plan.skip(
            "thousands of regions",
            "They would fill the machine's own store: run it as root, or allow user namespaces.",
        );
        return Ok(());
    }
    for &count in &plan.sizes(&[10, 100, 1000], &[4000]) {
        let size = Size::Count(count, "regions");
        plan.compare(BY_COUNT, size, move || opens(count as usize, 4096));
        plan.compare(LIST, size, move || lists(count as usize));
    }
    Ok(())
}

/// Regions that exist until this is dropped.
struct Crowd<W: Way> {
    way: W,
    names: Vec<Name>,
}

impl<W: Way> Crowd<W> {
    fn create(way: W, count: usize, size: usize) -> Result<Rc<Self>> {
        let mut crowd = Self { way, names: Vec::new() };
        while crowd.names.len() < count {
            let name = Name::unique()?;
            match way.create(&name, size) {
                Ok(_) => crowd.names.push(name),
                // Among thousands of names two may share a key.
                Err(_) if way.open(&name).is_ok() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Rc::new(crowd))
    }
}

impl<W: Way> Drop for Crowd<W> {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = self.way.remove(name);
        }
    }
}

fn opens(count: usize, size: usize) -> Result<Vec<Subject>> {
    let posix = Crowd::create(Ours(Posix, Allocation::Lazy), count, size)?;
    let sysv = Crowd::create(Ours(Sysv, Allocation::Lazy), count, size)?;
    Ok(vec![
        open(Role::System, "libc, shm_open", ShmOpen, &posix, size),
        open(Role::Ours, "Posix", posix.way, &posix, size).against("libc, shm_open"),
        open(Role::System, "libc, shmget", Shmget::Lazy, &sysv, size),
        open(Role::Ours, "Sysv", sysv.way, &sysv, size).against("libc, shmget"),
    ])
}

fn open<W: Way, C: Way>(role: Role, name: &'static str, way: W, crowd: &Rc<Crowd<C>>, size: usize) -> Subject {
    let verified = Rc::clone(crowd);
    let verify = move || {
        for name in &verified.names {
            ensure!(W::len(&way.open(name)?) == size, "another region was opened");
        }
        Ok(())
    };
    let crowd = Rc::clone(crowd);
    let run = move |count| {
        sampler::time(count, || {
            let name = &crowd.names[fastrand::usize(..crowd.names.len())];
            way.open(name).map(drop)
        })
    };
    Subject::new(role, name, "", verify, run)
}

fn lists(count: usize) -> Result<Vec<Subject>> {
    let posix = Crowd::create(Ours(Posix, Allocation::Lazy), count, 4096)?;
    let sysv = Crowd::create(Ours(Sysv, Allocation::Lazy), count, 4096)?;
    Ok(vec![list("Posix", Posix, posix), list("Sysv", Sysv, sysv)])
}

fn list<B: Backend + Copy + 'static, W: Way>(name: &'static str, backend: B, crowd: Rc<Crowd<W>>) -> Subject {
    let count = crowd.names.len();
    let verify = move || {
        let listed = backend.list()?.len();
        ensure!(listed == count, "{listed} regions are listed, and there are {count}");
        Ok(())
    };
    let run = move |times| {
        sampler::time(times, || {
            ensure!(backend.list()?.len() >= crowd.names.len());
            Ok(())
        })
    };
    Subject::new(Role::Ours, name, "", verify, run)
}
