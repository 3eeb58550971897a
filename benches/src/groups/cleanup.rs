//! Group 8: remove what nobody holds.

use std::ffi::CString;
use std::process::{Child, Command};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use shared_region::{Allocation, Backend, Posix, Sysv};

use crate::model::{Group, Plan, Plot, Role, Shape, Size, Subject};
use crate::ways::Name;
use crate::ways::Way;
use crate::ways::ours::Ours;

const CASE: &str = "remove if unused, among so many more processes";

pub(crate) const GROUP: Group = Group {
    name: "cleanup",
    title: "Cleanup",
    text: "One operation removes a region that nobody holds, and finds that out. The walk is how tools do it, and this crate where
the kernel gives no lease: it looks into every process, and misses those of other PID namespaces and descriptors that are
under way. System V counts attachments.",
    plots: &[Plot { file: "cleanup", title: CASE, case: CASE, shape: Shape::Growth("time by the number of processes") }],
    plan,
};

fn plan(plan: &mut Plan) -> Result<()> {
    for &count in &plan.sizes(&[10, 100], &[300]) {
        plan.compare(CASE, Size::Count(count, "processes"), move || {
            let crowd = Crowd::start(count)?;
            Ok(vec![
                subject(Role::System, "walk through /proc", &crowd, Ours(Posix, Allocation::Lazy), by_walk),
                subject(Role::Ours, "Posix", &crowd, Ours(Posix, Allocation::Lazy), |name| {
                    Ok(Posix.remove_if_unused(&name.region)?)
                })
                .against("walk through /proc"),
                subject(Role::Ours, "Sysv", &crowd, Ours(Sysv, Allocation::Lazy), |name| {
                    Ok(Sysv.remove_if_unused(&name.region)?)
                }),
            ])
        });
    }
    Ok(())
}

/// Processes that do nothing, until this is dropped.
struct Crowd(Vec<Child>);

impl Crowd {
    fn start(count: u64) -> Result<Rc<Self>> {
        let mut crowd = Self(Vec::new());
        for _ in 0..count {
            crowd.0.push(Command::new("sleep").arg("infinity").spawn()?);
        }
        Ok(Rc::new(crowd))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn by_walk(name: &Name) -> Result<bool> {
    let native = CString::new(name.text.as_str())?;
    let (_, stat) = shared_region_posix::kind(&native)?;
    let found = shared_region_posix::holders_of(&[(stat.device(), stat.inode())])?;
    let unused = found.iter().all(|holders| holders.processes().is_empty());
    if unused {
        shared_region_posix::unlink(&native)?;
    }
    Ok(unused)
}

fn subject<W: Way>(
    role: Role,
    name: &'static str,
    crowd: &Rc<Crowd>,
    way: W,
    remove: impl Fn(&Name) -> Result<bool> + Copy + 'static,
) -> Subject {
    let verify = move || {
        let name = Name::unique()?;
        let held = way.create(&name, 4096)?;
        ensure!(!remove(&name)?, "it was removed though it is held");
        drop(held);
        ensure!(remove(&name)? && way.open(&name).is_err(), "it was not removed though nobody holds it");
        Ok(())
    };
    let crowd = Rc::clone(crowd);
    let run = move |count| {
        let mut time = Duration::ZERO;
        for _ in 0..count {
            let _there = &crowd;
            let name = Name::unique()?;
            drop(way.create(&name, 4096)?);
            let start = Instant::now();
            ensure!(remove(&name)?);
            time += start.elapsed();
        }
        Ok(time)
    };
    Subject::new(role, name, "", verify, run)
}
