//! Group 4: atomics in a region.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Result, ensure};
use shared_region::{Backend, CreateOptions, Posix, SharedRegion, SharedRegionExt, Sysv};

use crate::model::{Group, Plan, Plot, Role, Shape, Subject};
use crate::sampler;

mod mate;

use mate::Mate;

const ALONE: &str = "fetch_add, alone";
const TWO: &str = "fetch_add, two at once";

pub(crate) const GROUP: Group = Group {
    name: "atomics",
    title: "Atomics",
    text: "One operation adds 1 to an `AtomicU64`. *Borrowed*: the region was asked for the reference once. *Looked up*: it is asked
each time, by `atomic_u64`, which checks bounds, alignment and access. Two at once: both add as quickly as they can, each
on a processor of its own, until each has added its share: two threads to the static, two processes to the regions. The
sums are verified.",
    plots: &[
        Plot { file: "atomics-alone", title: ALONE, case: ALONE, shape: Shape::Ratios("static") },
        Plot { file: "atomics-two", title: TWO, case: TWO, shape: Shape::Ratios("static, two threads") },
    ],
    plan,
};

fn plan(plan: &mut Plan) -> Result<()> {
    plan.compare(ALONE, 8, || {
        let options = CreateOptions::new(4096);
        let (posix, sysv) = (Rc::new(Posix.create_unnamed(&options)?), Rc::new(Sysv.create_unnamed(&options)?));
        let unshared = |_: &()| Ok(&UNSHARED);
        Ok(vec![
            borrowed(Role::System, "static", Rc::new(()), unshared),
            borrowed(Role::Ours, "Posix, borrowed", Rc::clone(&posix), |region| region.atomic_u64(0)).against("static"),
            looked_up("Posix, looked up", posix).against("static"),
            borrowed(Role::Ours, "Sysv, borrowed", Rc::clone(&sysv), |region| region.atomic_u64(0)).against("static"),
            looked_up("Sysv, looked up", sysv).against("static"),
        ])
    });
    if plan.processors.count() < 2 {
        plan.skip(TWO, "Two at once need two processors.");
        return Ok(());
    }
    let processor = plan.processors.nth(1);
    plan.compare(TWO, 8, move || {
        let options = CreateOptions::new(4096);
        // Processes are forked before there is a thread.
        let posix = Mate::process(Posix.create_unnamed(&options)?, processor)?;
        let sysv = Mate::process(Sysv.create_unnamed(&options)?, processor)?;
        let unshared = Mate::thread(processor)?;
        Ok(vec![
            together(Role::System, "static, two threads", unshared),
            together(Role::Ours, "Posix, two processes", posix).against("static, two threads"),
            together(Role::Ours, "Sysv, two processes", sysv).against("static, two threads"),
        ])
    });
    Ok(())
}

static UNSHARED: AtomicU64 = AtomicU64::new(0);

/// Asks for the atomic once.
fn borrowed<S: 'static>(
    role: Role,
    name: &'static str,
    source: Rc<S>,
    ask: fn(&S) -> shared_region::Result<&AtomicU64>,
) -> Subject {
    let verified = Rc::clone(&source);
    let verify = move || adds(|| ask(&verified).map(|atomic| atomic.fetch_add(1, Relaxed)));
    let run = move |count| {
        let atomic = ask(&source)?;
        sampler::time(count, || {
            black_box(atomic).fetch_add(1, Relaxed);
            Ok(())
        })
    };
    Subject::new(role, name, "", verify, run)
}

/// Asks for the atomic each time.
fn looked_up<R: SharedRegion + 'static>(name: &'static str, region: Rc<R>) -> Subject {
    let verified = Rc::clone(&region);
    let verify = move || adds(|| verified.atomic_u64(0).map(|atomic| atomic.fetch_add(1, Relaxed)));
    let run = move |count| {
        sampler::time(count, || {
            black_box(&*region).atomic_u64(0)?.fetch_add(1, Relaxed);
            Ok(())
        })
    };
    Subject::new(Role::Ours, name, "", verify, run)
}

/// Fails unless each call finds one more than the call before.
fn adds(mut add: impl FnMut() -> shared_region::Result<u64>) -> Result<()> {
    let before = add()?;
    ensure!(add()? == before + 1, "an addition was lost");
    Ok(())
}

/// Adds together with a mate.
fn together(role: Role, name: &'static str, mate: Mate) -> Subject {
    let mate = Rc::new(mate);
    let verified = Rc::clone(&mate);
    let verify = move || verified.add_together(10_000).map(drop);
    // Both have added `count`.
    let run = move |count| mate.add_together(count).map(|both| both / 2);
    Subject::new(role, name, "", verify, run)
}
