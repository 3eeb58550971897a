//! Runs the planned comparisons, one after the other.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::Report;
use crate::interrupts::Interrupts;
use crate::isolation::{Processors, pin};
use crate::limits;
use crate::machine::Machine;
use crate::model::{Comparison, Group, Measured, Plan, Skipped, Task, Work};
use crate::sampler::{self, Effort};

pub(crate) fn run(
    groups: Vec<&'static Group>,
    quick: bool,
    machine: Machine,
    processors: &Processors,
    interrupts: &Interrupts,
) -> Result<Report> {
    let start = Instant::now();
    let mut planned = Vec::new();
    for group in &groups {
        let mut plan = Plan::new(quick, &machine, processors);
        (group.plan)(&mut plan).context(group.name)?;
        planned.push((group.name, plan));
    }
    pin(processors.nth(0))?;
    let progress = Progress::new(planned.iter().map(|(_, plan)| plan.tasks.len()).sum());
    let effort = if quick { Effort::QUICK } else { Effort::FULL };
    let (mut comparisons, mut skipped) = (Vec::new(), Vec::new());
    for (group, plan) in planned {
        skipped.extend(plan.skipped.into_iter().map(|skipped| Skipped { group, ..skipped }));
        for task in plan.tasks {
            progress.begin(group, &task);
            let comparison = measure(group, task, &effort, interrupts, &progress);
            comparisons.push(comparison.with_context(|| format!("group {group}"))?);
            progress.end();
        }
    }
    let (verdicts, idle) = limits::apply(&machine, &groups, &comparisons);
    Ok(Report { machine, quick, took: start.elapsed(), groups, comparisons, skipped, verdicts, idle })
}

fn measure(
    group: &'static str,
    task: Task,
    effort: &Effort,
    interrupts: &Interrupts,
    progress: &Progress,
) -> Result<Comparison> {
    let Task { case, work } = task;
    let subjects = match work {
        Work::Compare(prepare) => {
            let subjects = prepare().with_context(|| format!("prepare {}", case.name))?;
            sampler::sample(&case, subjects, effort, || interrupts.check(), |part| progress.part(part))?
        }
        Work::Count(prepare) => {
            let counted = prepare().with_context(|| format!("count {}", case.name))?;
            counted
                .into_iter()
                .map(|it| Measured {
                    role: it.role,
                    name: it.name,
                    guarantee: it.guarantee,
                    baseline: it.baseline,
                    samples: vec![it.value],
                })
                .collect()
        }
    };
    Ok(Comparison { group, case, subjects })
}

/// Two bars on a terminal: all comparisons, and the current one. Elsewhere a line for each comparison.
struct Progress {
    all: ProgressBar,
    current: ProgressBar,
    plain: bool,
}

impl Progress {
    const STEPS: f64 = 1000.0;

    fn new(count: usize) -> Self {
        let bars = MultiProgress::new();
        let style =
            |template: &str| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let all = bars.add(ProgressBar::new(count as u64));
        all.set_style(style("{bar:40} {pos} of {len} comparisons, {elapsed}, {eta} left"));
        let current = bars.add(ProgressBar::new(Self::STEPS as u64));
        current.set_style(style("{bar:40} {msg}"));
        Self { all, current, plain: !stderr().is_terminal() }
    }

    fn begin(&self, group: &str, task: &Task) {
        let message = format!("{group}: {}, {}", task.case.name, task.case.size);
        if self.plain {
            eprintln!("{} of {}: {message}", self.all.position() + 1, self.all.length().unwrap_or(0));
        }
        self.current.set_message(message);
        self.current.set_position(0);
        // Here, as no thread draws in the background, where it would disturb.
        self.all.tick();
    }

    fn part(&self, part: f64) {
        self.current.set_position((part * Self::STEPS) as u64);
    }

    fn end(&self) {
        self.all.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.current.finish_and_clear();
        self.all.finish_and_clear();
    }
}

/// How long a run took, as people say it.
pub(crate) fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", (seconds + 30) / 60),
    }
}
