//! How a check is run as a test.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};

use super::child::{self, skip};
use super::summary;
use crate::Sut;

/// Where the tests of each implementation stand, by its label: there is the entry of its second processes.
static PLACES: Mutex<Option<HashMap<&'static str, String>>> = Mutex::new(None);

thread_local! {
    /// Whether the check that runs is of an implementation whose regions other processes cannot have, and so its label.
    static ALONE: Cell<bool> = const { Cell::new(false) };
    /// Why the check that runs has skipped.
    static SKIPPED: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whether skips are not said.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Ends a check that cannot go on.
struct Skip;

/// Runs a check in the test of that name.
pub fn run<S: Sut>(module: &'static str, check: &'static str, run: fn()) {
    let place = module.rsplitn(3, "::").nth(2).and_then(|place| place.split_once("::")).map(|(_, within)| within);
    let child = place.map_or_else(|| "child".to_owned(), |within| format!("{within}::child"));
    PLACES.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(S::LABEL, child);
    ALONE.set(!S::shares_with_processes());
    SKIPPED.take();
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(()) => {}
        Err(payload) if payload.is::<Skip>() => skip::<S>("its regions are of one process alone"),
        Err(payload) => resume_unwind(payload),
    }
    let skipped = SKIPPED.take();
    let must_run = std::env::var_os("CONFORMANCE_SKIPS").is_some_and(|value| value == "fail");
    let refused = if must_run { skipped.clone() } else { None };
    summary::take_down(S::LABEL, check, skipped);
    if let Some(reason) = refused {
        panic!("{check} was skipped ({reason}), and CONFORMANCE_SKIPS=fail");
    }
}

/// Runs a check without a test of its own, and without a word where it skips.
pub fn quietly<S: Sut>(run: fn()) {
    ALONE.set(!S::shares_with_processes());
    QUIET.set(true);
    match catch_unwind(AssertUnwindSafe(run)) {
        Err(payload) if !payload.is::<Skip>() => resume_unwind(payload),
        _ => {}
    }
}

/// Where second processes of an implementation start.
pub(super) fn place_of<S: Sut>() -> String {
    let places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    let known = places.as_ref().and_then(|places| places.get(S::LABEL).cloned());
    // In a second process, which starts others.
    known.or_else(|| std::env::var(child::PLACE).ok()).unwrap_or_else(|| "child".to_owned())
}

/// Takes down that the check that runs here has skipped; says whether that is to be said.
pub(super) fn skipped(reason: &str) -> bool {
    SKIPPED.set(Some(reason.to_owned()));
    !QUIET.get()
}

/// Ends the check, by skipping it, where no other process can have a region.
pub(super) fn need_processes() {
    if ALONE.get() {
        resume_unwind(Box::new(Skip));
    }
}

/// What a second process does with its arguments.
pub type Role = fn(&[String]);

/// An implementation, and what its second processes can be told to do.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    label: &'static str,
    role: fn(&str) -> Option<Role>,
}

impl Entry {
    #[must_use]
    pub fn of<S: Sut>() -> Self {
        Self { label: S::LABEL, role: crate::role::<S> }
    }
}

/// What a second process does; nothing in one that was not started by a check.
pub fn run_child(entries: &[Entry]) {
    let Some((label, name, arguments)) = child::task() else { return };
    let role = entries.iter().find(|entry| entry.label == label).and_then(|entry| (entry.role)(&name));
    role.unwrap_or_else(|| panic!("no role {name} for {label}"))(&arguments);
}
