//! Holds the pages of the contract against the checks that exist, both ways.

use std::collections::BTreeSet;

use shared_region_conformance::CHECKS;
use shared_region_conformance::contract::clauses;

/// Every clause of the contract.
const CLAUSES: &str = "N1 N2 N3 N4 N5 \
    C1 C2 C3 C4 C5 C6 C7 C8 C9 C10 C11 \
    O1 O2 O3 O4 O5 O6 O7 O8 \
    P1 P2 P3 P4 \
    A1 A2 A3 A4 A5 A6 \
    L1 L2 L3 L4 L5 L6 L7 L8 L9 L10 L11 \
    F1 F2 F3 S1 S2 S3 S4 S5 S6 S7 S8 Z1 Z2 H1 H2 H3 H4 H5 H6 H7 E1 E2 E3 E4 E5 D";

/// The test programs beside this one, by their name.
const ELSEWHERE: &[(&str, &str)] = &[
    ("identities", include_str!("../../../identities/main.rs")),
    ("identities", include_str!("../../../identities/posix.rs")),
    ("identities", include_str!("../../../identities/seals.rs")),
    ("identities", include_str!("../../../identities/sysv.rs")),
    ("errnos", include_str!("../../../errnos.rs")),
    ("native", include_str!("../../../native.rs")),
];

#[test]
fn the_pages_have_every_clause_in_order() {
    let clauses: Vec<_> = clauses().map(|(clause, _)| clause).collect();
    assert_eq!(clauses, CLAUSES.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn every_check_that_a_page_names_exists() {
    for (clause, checks) in clauses() {
        for check in checks {
            let (module, name) = check.split_once("::").unwrap();
            let head = format!("fn {name}() {{");
            let elsewhere = ELSEWHERE
                .iter()
                .any(|(program, text)| *program == module && text.lines().any(|line| line.trim() == head));
            assert!(CHECKS.contains(&check) || elsewhere, "{clause}: there is no {check}");
        }
    }
}

#[test]
fn every_check_stands_on_a_page() {
    let named: BTreeSet<_> = clauses().flat_map(|(_, checks)| checks).collect();
    let missing: Vec<_> = CHECKS.iter().filter(|check| !named.contains(*check)).collect();
    assert!(missing.is_empty(), "no clause names {missing:#?}");
}
