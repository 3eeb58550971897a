//! What a run has pinned, said in one line for each implementation as the program ends.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Mutex, Once, PoisonError};

use nix::libc;

use crate::contract::clauses;

/// A check that has run, and why it or a part of it was skipped.
type Outcome = (&'static str, Option<String>);

static OUTCOMES: Mutex<BTreeMap<&'static str, Vec<Outcome>>> = Mutex::new(BTreeMap::new());

/// Takes down what came of a check; one that fails is told by its test.
pub(super) fn take_down(label: &'static str, check: &'static str, skipped: Option<String>) {
    static AT_EXIT: Once = Once::new();

    AT_EXIT.call_once(|| {
        // SAFETY: the function is there as long as the program, and unwinds nowhere; atexit(3).
        let _ = unsafe { libc::atexit(report) };
    });
    OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner).entry(label).or_default().push((check, skipped));
}

extern "C" fn report() {
    let outcomes = OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner);
    for (label, outcomes) in &*outcomes {
        let _ = writeln!(io::stderr(), "{label}: {}", line(outcomes));
    }
}

fn line(outcomes: &[Outcome]) -> String {
    let ran: BTreeSet<&str> =
        outcomes.iter().filter(|(_, skipped)| skipped.is_none()).map(|(check, _)| *check).collect();
    let pinned = clauses().filter(|(_, checks)| checks.iter().any(|check| ran.contains(check))).count();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in outcomes.iter().filter_map(|(_, skipped)| skipped.as_deref()) {
        *reasons.entry(reason).or_default() += 1;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let told: Vec<_> = reasons.iter().map(|(reason, count)| format!("{count}: {reason}")).collect();
    let skipped = outcomes.len() - ran.len();
    let why = if told.is_empty() { String::new() } else { format!(" ({})", told.join("; ")) };
    let total = clauses().count();
    format!(
        "{pinned} of {total} clauses pinned by {} checks, {skipped} checks skipped in whole or in part{why}",
        ran.len()
    )
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_clause_counts_once_and_not_by_what_was_skipped() {
        let none = line(&[("open::a_missing_name_is_not_found_at_once", Some("so".into()))]);
        assert!(none.starts_with("0 of "), "{none}");
        assert!(none.ends_with("1 checks skipped in whole or in part (1: so)"), "{none}");
        let one = line(&[
            ("create::a_new_region_reads_as_zeros", None),
            ("create::a_new_region_reads_as_zeros_after_a_failed_create", None),
        ]);
        assert!(one.starts_with("1 of ") && one.contains("by 2 checks, 0 checks skipped"), "{one}");
    }
}
