//! What `--check` holds.

use std::fmt;
use std::ops::RangeInclusive;

use serde::Serialize;

use crate::machine::Machine;
use crate::model::Comparison;
use crate::statistics::Summary;

/// The most that a subject may cost, beside another one of the same comparison.
pub(crate) struct Limit {
    pub(crate) group: &'static str,
    pub(crate) case: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) against: &'static str,
    pub(crate) sizes: RangeInclusive<u64>,
    pub(crate) bound: Bound,
    /// Where it does not hold, it does not apply.
    pub(crate) when: fn(&Machine) -> bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// So many times as much; 0.1 means ten times less.
    AtMost(f64),
    /// So many nanoseconds more.
    More(f64),
    /// The same within noise: the ratio's interval contains 1, or the ratio is within 2 % of it.
    Same,
    /// Not more, within the same noise.
    NotMore,
}

const NOISE: f64 = 0.02;

/// A limit applied to a comparison.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) group: &'static str,
    pub(crate) case: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) against: &'static str,
    pub(crate) size: String,
    /// In words.
    pub(crate) limit: String,
    pub(crate) measured: String,
    pub(crate) holds: bool,
}

/// Applies the limits to what was measured.
pub(crate) fn verdicts(machine: &Machine, comparisons: &[Comparison]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for limit in LIMITS.iter().filter(|limit| (limit.when)(machine)) {
        let concerned = comparisons.iter().filter(|comparison| {
            (comparison.group, comparison.case.name) == (limit.group, limit.case)
                && limit.sizes.contains(&comparison.case.size.amount())
        });
        verdicts.extend(concerned.filter_map(|comparison| limit.judge(comparison)));
    }
    verdicts
}

impl Limit {
    fn judge(&self, comparison: &Comparison) -> Option<Verdict> {
        let subject = comparison.subject(self.subject)?;
        let ratio = comparison.ratio(subject, self.against)?;
        let median = |samples: &[f64]| Summary::of(samples).median;
        let more = median(&subject.samples) - median(&comparison.subject(self.against)?.samples);
        let interval = format!("{:.2} ({:.2} to {:.2})", ratio.ratio, ratio.ratio_low, ratio.ratio_high);
        let (limit, measured, holds) = match self.bound {
            Bound::AtMost(most) => (format!("at most {most:.2}"), interval, ratio.ratio <= most),
            Bound::More(most) => (format!("at most {most} ns more"), format!("{more:.1} ns more"), more <= most),
            Bound::Same => {
                let holds = (ratio.ratio_low..=ratio.ratio_high).contains(&1.0) || (ratio.ratio - 1.0).abs() <= NOISE;
                ("1.00 within noise".into(), interval, holds)
            }
            Bound::NotMore => {
                ("not slower, within noise".into(), interval, ratio.ratio_low <= 1.0 || ratio.ratio <= 1.0 + NOISE)
            }
        };
        Some(Verdict {
            group: self.group,
            case: self.case,
            subject: self.subject,
            against: self.against,
            size: comparison.case.size.to_string(),
            limit,
            measured,
            holds,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, case, subject, against, size, limit, measured, .. } = self;
        write!(f, "{group}, {case}, {size}: {subject} beside {against}: {measured}; {limit}")
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Applies on every machine, at every size.
const fn limit(
    group: &'static str,
    case: &'static str,
    subject: &'static str,
    against: &'static str,
    bound: Bound,
) -> Limit {
    Limit { group, case, subject, against, sizes: 0..=u64::MAX, bound, when: |_| true }
}

impl Limit {
    const fn sizes(mut self, from: u64, to: u64) -> Self {
        self.sizes = RangeInclusive::new(from, to);
        self
    }

    const fn when(mut self, when: fn(&Machine) -> bool) -> Self {
        self.when = when;
        self
    }
}

/// What the crate may add to the same calls by hand.
const NOTHING: Bound = Bound::AtMost(1.05);

/// The limits, and why they are what they are.
static LIMITS: &[Limit] = &[
    // The crate adds nothing to the calls that its promises take: 5 % is what two runs of the same code may differ.
    limit("lifecycle", "POSIX", "Posix, Lazy", "libc, whole", NOTHING),
    limit("lifecycle", "POSIX", "Posix, Reserve", "libc, whole, fallocate", NOTHING),
    limit("lifecycle", "POSIX", "Posix, Prefault", "libc, whole, populate", NOTHING),
    limit("lifecycle", "System V", "Sysv, Lazy", "libc, SHM_NORESERVE", NOTHING),
    limit("lifecycle", "System V", "Sysv, Reserve", "libc, shmget", NOTHING),
    limit("lifecycle", "System V", "Sysv, Prefault", "libc, shmget, populate", NOTHING),
    // Publishing whole costs one page's creation something (a file without a name is made and linked, and by a longer
    // way where AT_EMPTY_PATH is not granted), and nothing that can be seen beside touching 2 MiB.
    limit("lifecycle", "POSIX", "Posix, Lazy", "libc, shm_open", Bound::AtMost(1.20))
        .sizes(4 * KIB, 4 * KIB)
        .when(|machine| machine.empty_path),
    limit("lifecycle", "POSIX", "Posix, Lazy", "libc, shm_open", Bound::AtMost(1.45))
        .sizes(4 * KIB, 4 * KIB)
        .when(|machine| !machine.empty_path),
    limit("lifecycle", "POSIX", "Posix, Lazy", "libc, shm_open", Bound::NotMore).sizes(2 * MIB, u64::MAX),
    // Reserving does early what touching does late.
    limit("lifecycle", "POSIX", "Posix, Reserve", "Posix, Lazy", Bound::AtMost(1.10)),
    limit("lifecycle", "System V", "Sysv, Reserve", "Sysv, Lazy", Bound::AtMost(1.10)),
    // The only peer whose memory is reserved too; it is less than what Prefault promises.
    limit("lifecycle", "POSIX", "Posix, Prefault", "iceoryx2-bb-posix", Bound::NotMore),
    // A ring is as quick as two bare words, but for the length, the bounds, and the copies of any length.
    limit("ipc", "round trip", "POSIX ring, spinning", "two words by hand", Bound::AtMost(1.20)),
    limit("ipc", "round trip", "System V ring, spinning", "two words by hand", Bound::AtMost(1.20)),
    // The system calls that it saves: all of the cost at 64 bytes, less than the copies' later.
    limit("ipc", "one way", "POSIX ring, spinning", "pipe", Bound::AtMost(0.10)).sizes(64, 64),
    limit("ipc", "one way", "System V ring, spinning", "pipe", Bound::AtMost(0.10)).sizes(64, 64),
    limit("ipc", "one way", "POSIX ring, spinning", "pipe", Bound::AtMost(0.33)).sizes(4 * KIB, 4 * KIB),
    limit("ipc", "one way", "System V ring, spinning", "pipe", Bound::AtMost(0.33)).sizes(4 * KIB, 4 * KIB),
];
