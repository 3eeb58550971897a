//! Holds `COVERAGE.md` against the tests, both ways.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("COVERAGE.md");

/// Every clause of the contract.
const CLAUSES: &str = "M1 M2 M3 M4 M5 M6 K1 K2 K3 K4 K5 V1 V2 V3 W1 W2 W3 O1 O2 X1 X2";

/// The clauses of the page, each with what stands behind it.
fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    rows.filter(|(clause, _)| clause.len() == 2)
}

/// The tests that a file or a folder of a test program has, but for roles of second processes.
fn tests_of(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let named =
        |at: usize| lines[at..].iter().find_map(|line| line.strip_prefix("fn ")?.split_once('(').map(|it| it.0));
    let tests = (0..lines.len()).filter(|&at| lines[at] == "#[test]" && !lines[at + 1].starts_with("#[ignore"));
    tests.filter_map(named).map(str::to_owned).collect()
}

/// All tests, by program.
fn tests() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let programs = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = programs.filter_map(|path| {
        let program = path.file_stem()?.to_str()?.to_owned();
        let file = if path.is_dir() { path.join("main.rs") } else { path };
        (file.extension()? == "rs" && program != "coverage" && file.exists()).then_some((program, file))
    });
    files
        .flat_map(|(program, file)| tests_of(&file).into_iter().map(move |test| format!("{program}::{test}")))
        .collect()
}

/// The tests that a row names: the first of a program with that before it, those that follow without.
fn named_in(row: &str) -> Vec<String> {
    let mut program = "";
    let mut named = Vec::new();
    for words in row.split('`').skip(1).step_by(2) {
        match words.split_once("::") {
            Some((its, test)) => {
                program = its;
                named.push(format!("{its}::{test}"));
            }
            None if words.contains('_')
                && words.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()) =>
            {
                named.push(format!("{program}::{words}"));
            }
            None => {}
        }
    }
    named
}

#[test]
fn the_page_has_every_clause_in_order() {
    let clauses: Vec<_> = rows().map(|(clause, _)| clause).collect();
    assert_eq!(clauses, CLAUSES.split(' ').collect::<Vec<_>>());
}

#[test]
fn every_test_that_the_page_names_exists() {
    let tests = tests();
    for (clause, row) in rows() {
        for named in named_in(row) {
            assert!(tests.contains(&named), "{clause}: there is no {named}");
        }
    }
}

#[test]
fn every_test_stands_on_the_page() {
    let named: BTreeSet<_> = rows().flat_map(|(_, row)| named_in(row)).collect();
    let missing: Vec<_> = tests().into_iter().filter(|test| !named.contains(test)).collect();
    assert!(missing.is_empty(), "no clause names {missing:#?}");
}
