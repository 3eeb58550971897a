//! What is measured: groups of comparisons, and what comes out of them.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::isolation::Processors;
use crate::machine::Machine;
use crate::statistics::{Ratio, Summary};

/// A table and plots of the report, and the comparisons behind them.
pub(crate) struct Group {
    /// What one types to have it alone.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What is measured and how to read it, in Markdown.
    pub(crate) text: &'static str,
    pub(crate) plots: &'static [Plot],
    /// Registers the comparisons; nothing is measured yet.
    pub(crate) plan: fn(&mut Plan) -> Result<()>,
}

/// A picture of one or several cases of a group.
pub(crate) struct Plot {
    /// The file's name, without folder and ending.
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    pub(crate) case: &'static str,
    pub(crate) shape: Shape,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    /// A row for each subject, a panel for each size, a dot at the ratio to one subject.
    Ratios(&'static str),
    /// A row for each subject, a panel for each size, a dot at the value.
    Values,
    /// A line for each subject over the sizes: bytes per second.
    Rates,
    /// A line for each subject over the sizes (or counts, as the string says): the value.
    Growth(&'static str),
}

/// What one run will measure.
pub(crate) struct Plan {
    /// Fewer sizes and samples, for a look and for CI.
    pub(crate) quick: bool,
    pub(crate) machine: Machine,
    pub(crate) processors: Processors,
    pub(crate) tasks: Vec<Task>,
    pub(crate) skipped: Vec<Skipped>,
}

pub(crate) struct Task {
    pub(crate) case: Case,
    pub(crate) work: Work,
}

type Prepare<T> = Box<dyn FnOnce() -> Result<Vec<T>>>;

pub(crate) enum Work {
    Compare(Prepare<Subject>),
    Count(Prepare<Counted>),
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) size: Size,
    pub(crate) unit: Unit,
}

/// What a case is measured at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Bytes(u64),
    /// So many of something that is not bytes, such as `regions`.
    Count(u64, &'static str),
}

impl Size {
    pub(crate) fn amount(self) -> u64 {
        match self {
            Self::Bytes(amount) | Self::Count(amount, _) => amount,
        }
    }

    pub(crate) fn of(self) -> &'static str {
        match self {
            Self::Bytes(_) => "bytes",
            Self::Count(_, of) => of,
        }
    }
}

impl From<u64> for Size {
    fn from(bytes: u64) -> Self {
        Self::Bytes(bytes)
    }
}

/// `64 KiB`, `4000 regions`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Count(count, of) => write!(f, "{count} {of}"),
            Self::Bytes(bytes) => {
                let units = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
                let (unit, shift) = *units.iter().find(|(_, shift)| bytes >> shift != 0).unwrap_or(&units[3]);
                write!(f, "{} {unit}", bytes >> shift)
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Nanoseconds for one operation.
    Time,
    /// Something counted for one operation.
    Count(&'static str),
}

impl Plan {
    pub(crate) fn new(quick: bool, machine: &Machine, processors: &Processors) -> Self {
        let (machine, processors) = (machine.clone(), processors.clone());
        Self { quick, machine, processors, tasks: Vec::new(), skipped: Vec::new() }
    }

    /// The sizes of a quick run, or all, in order.
    pub(crate) fn sizes(&self, quick: &[u64], more: &[u64]) -> Vec<u64> {
        let mut sizes = if self.quick { quick.to_vec() } else { [quick, more].concat() };
        sizes.sort_unstable();
        sizes
    }

    /// Registers a comparison. `prepare` sets up its subjects just before they are measured; what they hold is dropped
    /// just after.
    pub(crate) fn compare(
        &mut self,
        name: &'static str,
        size: impl Into<Size>,
        prepare: impl FnOnce() -> Result<Vec<Subject>> + 'static,
    ) {
        let case = Case { name, size: size.into(), unit: Unit::Time };
        self.tasks.push(Task { case, work: Work::Compare(Box::new(prepare)) });
    }

    /// Registers something that is counted, once for each subject.
    pub(crate) fn count(
        &mut self,
        name: &'static str,
        size: impl Into<Size>,
        unit: &'static str,
        prepare: impl FnOnce() -> Result<Vec<Counted>> + 'static,
    ) {
        let case = Case { name, size: size.into(), unit: Unit::Count(unit) };
        self.tasks.push(Task { case, work: Work::Count(Box::new(prepare)) });
    }

    /// Says in the report that a subject is missing, why, and what would allow it. Said again, the last word counts.
    pub(crate) fn skip(&mut self, subject: &'static str, reason: impl Into<String>) {
        self.skipped.retain(|skipped| skipped.subject != subject);
        self.skipped.push(Skipped { group: "", subject, reason: reason.into() });
    }
}

/// Whose work a subject is; gives it its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// This crate's.
    Ours,
    /// The system's, called by hand.
    System,
    /// Another crate's.
    Peer,
}

/// One of those that are compared.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    /// What its user may rely on.
    pub(crate) guarantee: &'static str,
    /// The subject of the same comparison that its ratio is to.
    pub(crate) baseline: Option<&'static str>,
    /// Does the work once and fails if it was not done.
    pub(crate) verify: Box<dyn FnMut() -> Result<()>>,
    /// Does the work so many times and says how long that took, preparations in between not counted.
    pub(crate) run: Box<dyn FnMut(u64) -> Result<Duration>>,
    /// How long a sample takes at least.
    pub(crate) sample: Duration,
}

impl Subject {
    pub(crate) fn new(
        role: Role,
        name: &'static str,
        guarantee: &'static str,
        verify: impl FnMut() -> Result<()> + 'static,
        run: impl FnMut(u64) -> Result<Duration> + 'static,
    ) -> Self {
        let (verify, run) = (Box::new(verify), Box::new(run));
        Self { role, name, guarantee, baseline: None, verify, run, sample: Self::SAMPLE }
    }

    /// So long that the clock's own cost does not count.
    const SAMPLE: Duration = Duration::from_micros(300);

    /// Has samples take longer, where the beginning of each costs something too.
    pub(crate) fn sampled_for(mut self, sample: Duration) -> Self {
        self.sample = sample;
        self
    }

    pub(crate) fn against(mut self, baseline: &'static str) -> Self {
        self.baseline = Some(baseline);
        self
    }
}

/// A subject's number that needs no clock.
pub(crate) struct Counted {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) guarantee: &'static str,
    /// The subject of the same task that its ratio is to.
    pub(crate) baseline: Option<&'static str>,
    pub(crate) value: f64,
}

/// A comparison that was made.
pub(crate) struct Comparison {
    pub(crate) group: &'static str,
    pub(crate) case: Case,
    pub(crate) subjects: Vec<Measured>,
}

pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) guarantee: &'static str,
    pub(crate) baseline: Option<&'static str>,
    /// One per round, so that equal indices were measured within moments of each other.
    pub(crate) samples: Vec<f64>,
}

impl Comparison {
    pub(crate) fn subject(&self, name: &str) -> Option<&Measured> {
        self.subjects.iter().find(|subject| subject.name == name)
    }

    /// Compares a subject with another one of this comparison.
    pub(crate) fn ratio(&self, subject: &Measured, against: &str) -> Option<Ratio> {
        Some(Ratio::of(&subject.samples, &self.subject(against)?.samples))
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = Row> {
        self.subjects.iter().map(|subject| {
            let ratio = subject.baseline.and_then(|baseline| self.ratio(subject, baseline));
            Row {
                group: self.group,
                case: self.case.name,
                subject: subject.name,
                role: subject.role,
                size: self.case.size.amount(),
                size_of: self.case.size.of(),
                unit: match self.case.unit {
                    Unit::Time => "ns",
                    Unit::Count(unit) => unit,
                },
                summary: Summary::of(&subject.samples),
                baseline: subject.baseline,
                ratio,
                guarantee: subject.guarantee,
            }
        })
    }
}

/// A row of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) case: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) role: Role,
    pub(crate) size: u64,
    pub(crate) size_of: &'static str,
    pub(crate) unit: &'static str,
    #[serde(flatten)]
    pub(crate) summary: Summary,
    pub(crate) baseline: Option<&'static str>,
    #[serde(flatten)]
    pub(crate) ratio: Option<Ratio>,
    pub(crate) guarantee: &'static str,
}

/// What was not measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Skipped {
    pub(crate) group: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) reason: String,
}
