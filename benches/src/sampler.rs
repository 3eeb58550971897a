//! Measures subjects in turns.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::model::{Case, Measured, Subject};

/// How long a comparison may take, and how often its subjects come around.
#[derive(Clone, Debug)]
pub(crate) struct Effort {
    pub(crate) time: Duration,
    pub(crate) rounds: std::ops::RangeInclusive<usize>,
}

impl Effort {
    pub(crate) const QUICK: Self = Self { time: Duration::from_millis(400), rounds: 5..=51 };
    pub(crate) const FULL: Self = Self { time: Duration::from_secs(4), rounds: 7..=501 };
}

/// Measures the subjects of one comparison, once each in every round, in random order, so that whatever else goes on
/// here hits all of them alike. `interrupted` is asked before each sample, and ends it all by an error. `tick` hears how
/// much of the work is done, from 0 to 1.
pub(crate) fn sample(
    case: &Case,
    mut subjects: Vec<Subject>,
    effort: &Effort,
    interrupted: impl Fn() -> Result<()>,
    mut tick: impl FnMut(f64),
) -> Result<Vec<Measured>> {
    let mut batches = Vec::new();
    for subject in &mut subjects {
        let batch = prepare(subject).with_context(|| format!("{}, {}, {}", case.name, case.size, subject.name))?;
        batches.push(batch);
    }
    let mut samples = vec![Vec::new(); subjects.len()];
    let mut order: Vec<usize> = (0..subjects.len()).collect();
    let start = Instant::now();
    for round in 0..*effort.rounds.end() {
        let spent = start.elapsed().as_secs_f64() / effort.time.as_secs_f64();
        if spent >= 1.0 && round >= *effort.rounds.start() {
            break;
        }
        tick(spent.min(round as f64 / *effort.rounds.start() as f64).min(1.0));
        fastrand::shuffle(&mut order);
        for &i in &order {
            interrupted()?;
            let took = (subjects[i].run)(batches[i]).with_context(|| format!("{}, {}", case.name, subjects[i].name))?;
            samples[i].push(took.as_nanos() as f64 / batches[i] as f64);
        }
    }
    let mut measured = Vec::new();
    for (mut subject, samples) in subjects.into_iter().zip(samples) {
        (subject.verify)().with_context(|| format!("{}, {}: verified afterwards", case.name, subject.name))?;
        let Subject { role, name, guarantee, baseline, .. } = subject;
        measured.push(Measured { role, name, guarantee, baseline, samples });
    }
    Ok(measured)
}

/// Verifies a subject, warms it up, and finds out how many operations make a sample.
fn prepare(subject: &mut Subject) -> Result<u64> {
    (subject.verify)()?;
    let mut batch = 1;
    loop {
        let mut took = (subject.run)(batch)?;
        // Once more, as it may have been something else that took so long; but hardly longer than this.
        if (subject.sample..PATIENCE).contains(&took) {
            took = took.min((subject.run)(batch)?);
        }
        if took >= subject.sample {
            return Ok(batch);
        }
        let missing = subject.sample.as_nanos() / took.as_nanos().max(1) + 1;
        batch *= (missing as u64).clamp(2, 100);
    }
}

/// Longer than a processor is given to somebody else at once.
const PATIENCE: Duration = Duration::from_millis(100);

/// Times `count` calls in a row.
pub(crate) fn time(count: u64, mut call: impl FnMut() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..count {
        call()?;
    }
    Ok(start.elapsed())
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;
    use crate::model::{Role, Size, Unit};

    fn case() -> Case {
        Case { name: "case", size: Size::Bytes(1), unit: Unit::Time }
    }

    fn subject(verify: impl FnMut() -> Result<()> + 'static) -> Subject {
        Subject::new(Role::Ours, "subject", "", verify, |count| Ok(Duration::from_micros(100) * count as u32))
    }

    #[test]
    fn every_round_samples_each_subject_once_and_per_operation() {
        let subjects = vec![subject(|| Ok(())), subject(|| Ok(()))];
        let effort = Effort { time: Duration::ZERO, rounds: 7..=9 };
        let measured = sample(&case(), subjects, &effort, || Ok(()), |_| {}).unwrap();
        assert!(measured.iter().all(|subject| subject.samples == [100_000.0; 7]));
    }

    #[test]
    fn a_subject_that_does_not_do_its_work_ends_the_run() {
        let mut calls = 0;
        let lazy = subject(move || {
            calls += 1;
            if calls == 2 { bail!("the bytes did not arrive") } else { Ok(()) }
        });
        let failed = sample(&case(), vec![lazy], &Effort::QUICK, || Ok(()), |_| {});
        assert!(failed.is_err_and(|error| error.root_cause().to_string().contains("did not arrive")));
    }

    #[test]
    fn an_interrupt_ends_the_run_between_two_samples() {
        let failed = sample(&case(), vec![subject(|| Ok(()))], &Effort::FULL, || bail!("interrupted"), |_| {});
        assert_eq!(failed.map(|_| ()).unwrap_err().to_string(), "interrupted");
    }
}
