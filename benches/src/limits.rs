//! What `--check` holds.

use std::fmt;
use std::ops::RangeInclusive;

use serde::Serialize;

use crate::machine::Machine;
use crate::model::{Comparison, Group};
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
    /// So many times as much, or so many nanoseconds more.
    AtMostOrMore(f64, f64),
    /// So many nanoseconds, whatever anything else takes.
    Within(f64),
    /// Not more, within noise: the ratio's interval reaches down to 1, or the ratio is within 2 % of it.
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

/// Applies the limits to what was measured of some groups. Also returns those that found nothing to be applied to, as
/// their subjects were not measured.
pub(crate) fn apply(machine: &Machine, groups: &[&Group], comparisons: &[Comparison]) -> (Vec<Verdict>, Vec<String>) {
    let (mut verdicts, mut idle) = (Vec::new(), Vec::new());
    let concerned = |limit: &&Limit| (limit.when)(machine) && groups.iter().any(|group| group.name == limit.group);
    for limit in LIMITS.iter().filter(concerned) {
        let before = verdicts.len();
        verdicts.extend(comparisons.iter().filter_map(|comparison| limit.judge(comparison)));
        if verdicts.len() == before {
            idle.push(format!("{}, {}: {} beside {}", limit.group, limit.case, limit.subject, limit.against));
        }
    }
    (verdicts, idle)
}

impl Limit {
    fn judge(&self, comparison: &Comparison) -> Option<Verdict> {
        if (comparison.group, comparison.case.name) != (self.group, self.case)
            || !self.sizes.contains(&comparison.case.size.amount())
        {
            return None;
        }
        let subject = comparison.subject(self.subject)?;
        let median = |samples: &[f64]| Summary::of(samples).median;
        if let Bound::Within(most) = self.bound {
            let taken = median(&subject.samples);
            let limit = format!("at most {most} ns");
            return Some(self.verdict(comparison, limit, format!("{taken:.1} ns"), taken <= most));
        }
        let ratio = comparison.ratio(subject, self.against)?;
        let more = median(&subject.samples) - median(&comparison.subject(self.against)?.samples);
        let interval = format!("{:.3} ({:.3} to {:.3})", ratio.ratio, ratio.ratio_low, ratio.ratio_high);
        let (limit, measured, holds) = match self.bound {
            Bound::AtMost(most) => (format!("at most {most:.2}"), interval, ratio.ratio <= most),
            Bound::More(most) => (format!("at most {most} ns more"), format!("{more:.1} ns more"), more <= most),
            Bound::AtMostOrMore(most, ns) => (
                format!("at most {most:.2}, or {ns} ns more"),
                format!("{interval}, {more:.1} ns more"),
                ratio.ratio <= most || more <= ns,
            ),
            Bound::Within(_) => return None,
            Bound::NotMore => {
                ("not slower, within noise".into(), interval, ratio.ratio_low <= 1.0 || ratio.ratio <= 1.0 + NOISE)
            }
        };
        Some(self.verdict(comparison, limit, measured, holds))
    }

    fn verdict(&self, comparison: &Comparison, limit: String, measured: String, holds: bool) -> Verdict {
        Verdict {
            group: self.group,
            case: self.case,
            subject: self.subject,
            against: self.against,
            size: comparison.case.size.to_string(),
            limit,
            measured,
            holds,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, case, subject, against, size, limit, measured, .. } = self;
        write!(f, "{group}, {case}, {size}: {subject} beside {against}: {measured}; {limit}")
    }
}

const POSIX_TOUCHED: &str = "POSIX, all pages touched";
const SYSV_TOUCHED: &str = "System V, all pages touched";

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

/// Applies on every machine, at every size, beside nothing.
const fn within(group: &'static str, case: &'static str, subject: &'static str, nanoseconds: f64) -> Limit {
    limit(group, case, subject, "the clock", Bound::Within(nanoseconds))
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

/// What the crate may add to the same calls by hand: 5 % is what two runs of the same code may differ.
const NOTHING: Bound = Bound::AtMost(1.05);

/// The limits, and why they are what they are.
static LIMITS: &[Limit] = &[
    // The crate adds nothing to the calls that its promises take.
    limit("lifecycle", "POSIX", "Posix, Lazy", "libc, whole", NOTHING),
    limit("lifecycle", "POSIX", "Posix, Reserve", "libc, whole, fallocate", NOTHING),
    limit("lifecycle", "POSIX", "Posix, Prefault", "libc, whole, populate", NOTHING),
    limit("lifecycle", "System V", "Sysv, Lazy", "libc, SHM_NORESERVE", NOTHING),
    limit("lifecycle", "System V", "Sysv, Reserve", "libc, shmget", NOTHING),
    limit("lifecycle", "System V", "Sysv, Prefault", "libc, shmget, populate", NOTHING),
    // Publishing whole costs one page's creation something (a file without a name is made and linked, and by a longer
    // way where AT_EMPTY_PATH is not granted), and nothing that can be seen beside touching 2 MiB. By hand it is 1.11 to
    // 1.14, and 1.21 with a look at what the name means before it is removed. The lock on the object, without which two who
    // remove can take away what a third has just made, is an open, two flocks and a close: 1.6 to 1.7 with it.
    limit("lifecycle", "POSIX", "Posix, Lazy", "libc, shm_open", Bound::AtMost(1.80))
        .sizes(4 * KIB, 4 * KIB)
        .when(|machine| machine.empty_path),
    limit("lifecycle", "POSIX", "Posix, Lazy", "libc, shm_open", Bound::AtMost(2.05))
        .sizes(4 * KIB, 4 * KIB)
        .when(|machine| !machine.empty_path),
    limit("lifecycle", "POSIX", "Posix, Lazy", "libc, shm_open", Bound::NotMore).sizes(2 * MIB, u64::MAX),
    // Reserving does early what touching does late.
    limit("lifecycle", "POSIX", "Posix, Reserve", "Posix, Lazy", Bound::AtMost(1.10)),
    limit("lifecycle", "System V", "Sysv, Reserve", "Sysv, Lazy", Bound::AtMost(1.10)),
    // The only peer whose memory is reserved too. It is not whole, and so may be quicker as long as that can be seen.
    limit("lifecycle", "POSIX", "Posix, Prefault", "iceoryx2-bb-posix", Bound::NotMore).sizes(64 * KIB, u64::MAX),
    // The peers promise less, and may not be quicker even so; nix and memmap2 are the raw calls, and held by them.
    limit("attach", "POSIX", "Posix", "libc, shm_open", NOTHING),
    limit("attach", "POSIX", "Posix", "shared_memory", Bound::NotMore),
    limit("attach", "POSIX", "Posix", "iceoryx2-bb-posix", Bound::NotMore),
    limit("attach", "System V", "Sysv", "libc, shmget", NOTHING),
    // A few pages that are there are mapped in by the call that maps, which saves their faults.
    limit("attach", POSIX_TOUCHED, "Posix", "libc, shm_open", Bound::NotMore).sizes(0, 4 * KIB),
    limit("attach", POSIX_TOUCHED, "Posix", "libc, shm_open", Bound::AtMost(0.85)).sizes(16 * KIB, 16 * KIB),
    // One call for all of the faults.
    limit("attach", POSIX_TOUCHED, "Posix, prefault", "libc, shm_open", Bound::AtMost(0.75)).sizes(256 * KIB, u64::MAX),
    limit("attach", SYSV_TOUCHED, "Sysv, prefault", "libc, shmget", Bound::AtMost(0.75)).sizes(256 * KIB, u64::MAX),
    // A copy is checked, and called through a pointer, which takes two or three cycles: more than 5 % of the two
    // nanoseconds that memcpy takes for 64 bytes.
    limit("copies", "read", "read_at", "memcpy", Bound::More(2.0)).sizes(8, 8),
    limit("copies", "write", "write_at", "memcpy", Bound::More(2.0)).sizes(8, 8),
    limit("copies", "typed read", "read_value", "memcpy", Bound::More(2.0)).sizes(8, 8),
    limit("copies", "typed write", "write_value", "memcpy", Bound::More(2.0)).sizes(8, 8),
    limit("copies", "read", "read_at", "memcpy", Bound::AtMostOrMore(1.0 / 0.95, 1.0)).sizes(64, u64::MAX),
    limit("copies", "write", "write_at", "memcpy", Bound::AtMostOrMore(1.0 / 0.95, 1.0)).sizes(64, u64::MAX),
    limit("copies", "typed write", "write_value", "memcpy", Bound::AtMostOrMore(1.0 / 0.95, 1.0)).sizes(64, u64::MAX),
    limit("copies", "read", "read_at", "VolatileSlice", Bound::NotMore),
    limit("copies", "write", "write_at", "VolatileSlice", Bound::NotMore),
    // A lent atomic is an atomic.
    limit("atomics", "fetch_add, alone", "Posix, borrowed", "static", Bound::NotMore),
    limit("atomics", "fetch_add, alone", "Sysv, borrowed", "static", Bound::NotMore),
    limit("atomics", "fetch_add, two at once", "Posix, two processes", "static, two threads", Bound::NotMore),
    limit("atomics", "fetch_add, two at once", "Sysv, two processes", "static, two threads", Bound::NotMore),
    // Whose holder dies is found only by who waits, so an undisturbed lock pays nothing for it.
    limit("sync", "lock and unlock, nobody else", "Mutex", "pthread, robust", Bound::AtMost(0.75)),
    limit("sync", "lock and unlock, nobody else", "Mutex", "std", Bound::AtMost(1.10)),
    limit("sync", "lock and unlock, two processes", "Mutex", "pthread, robust", Bound::AtMost(1.15)),
    limit("sync", "wake a sleeping process, and be woken", "Event", "futex", Bound::AtMost(1.10)),
    within("sync", "be told that a killed process is dead", "told", 1e6),
    within("sync", "notify nobody, ask who lives", "notify", 12.0),
    within("sync", "notify nobody, ask who lives", "alive", 2.0),
    // A thread is started and ended for it.
    within("sync", "join and leave", "join and leave", 1e5),
    limit("sync", "load a value", "load", "read_at", Bound::More(35.0)),
    // A lock, two copies of 64 bytes, and a count.
    limit("sync", "update 64 bytes", "update", "lock and unlock", Bound::More(30.0)),
    // Two clear twice as much, but for what memory gives one alone.
    limit("prefault", "POSIX", "4 KiB pages, populated by two", "4 KiB pages, populated", Bound::AtMost(0.70))
        .sizes(256 * MIB, u64::MAX)
        .when(|machine| machine.processors > 1),
    limit("prefault", "System V", "4 KiB pages, populated by two", "4 KiB pages, populated", Bound::AtMost(0.70))
        .sizes(256 * MIB, u64::MAX)
        .when(|machine| machine.processors > 1),
    // One entry for 512: what is left is zeroing.
    limit("prefault", "POSIX", "explicit, touched", "4 KiB pages, touched", Bound::AtMost(1.0 / 3.0)),
    limit("prefault", "System V", "explicit, touched", "4 KiB pages, touched", Bound::AtMost(1.0 / 3.0)),
    // No process is looked at.
    limit(
        "cleanup",
        "remove if unused, among so many more processes",
        "Posix",
        "walk through /proc",
        Bound::AtMost(0.05),
    ),
    // A ring is as quick as two bare words, but for the length, the bounds, and the copies of any length.
    limit("ipc", "round trip", "POSIX ring, spinning", "two words by hand", Bound::AtMost(1.20)),
    limit("ipc", "round trip", "System V ring, spinning", "two words by hand", Bound::AtMost(1.20)),
    // The system calls that it saves: all of the cost at 64 bytes, less than the copies' later.
    limit("ipc", "one way", "POSIX ring, spinning", "pipe", Bound::AtMost(0.10)).sizes(64, 64),
    limit("ipc", "one way", "System V ring, spinning", "pipe", Bound::AtMost(0.10)).sizes(64, 64),
    limit("ipc", "one way", "POSIX ring, spinning", "pipe", Bound::AtMost(1.0 / 3.0)).sizes(4 * KIB, 4 * KIB),
    limit("ipc", "one way", "System V ring, spinning", "pipe", Bound::AtMost(1.0 / 3.0)).sizes(4 * KIB, 4 * KIB),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Case, Measured, Role, Unit};

    fn judged(bound: Bound, subject: &[f64], against: &[f64]) -> bool {
        let measured = |name, samples: &[f64]| Measured {
            role: Role::Ours,
            name,
            guarantee: "",
            baseline: None,
            samples: samples.to_vec(),
        };
        let comparison = Comparison {
            group: "group",
            case: Case { name: "case", size: 8.into(), unit: Unit::Time },
            subjects: vec![measured("subject", subject), measured("against", against)],
        };
        let limit = limit("group", "case", "subject", "against", bound);
        assert!(limit.judge(&comparison).is_some());
        assert!(Limit { sizes: 9..=10, ..limit }.judge(&comparison).is_none());
        super::limit("group", "case", "subject", "against", bound).judge(&comparison).is_some_and(|it| it.holds)
    }

    #[test]
    fn a_limit_holds_up_to_its_bound_and_no_further() {
        let (base, more) = ([10.0; 9], [12.0; 9]);
        assert!(judged(Bound::AtMost(1.2), &more, &base) && !judged(Bound::AtMost(1.19), &more, &base));
        assert!(judged(Bound::More(2.0), &more, &base) && !judged(Bound::More(1.9), &more, &base));
        assert!(judged(Bound::AtMostOrMore(1.05, 2.0), &more, &base));
        assert!(judged(Bound::AtMostOrMore(1.20, 1.0), &more, &base));
        assert!(!judged(Bound::AtMostOrMore(1.05, 1.0), &more, &base));
    }

    #[test]
    fn not_more_forgives_what_may_be_noise() {
        let noisy = [0.9, 1.3, 0.9, 1.3, 0.9, 1.3, 1.3];
        assert!(judged(Bound::NotMore, &noisy, &[1.0; 7]));
        assert!(judged(Bound::NotMore, &[1.02; 7], &[1.0; 7]));
        assert!(!judged(Bound::NotMore, &[1.03; 7], &[1.0; 7]));
    }
}
