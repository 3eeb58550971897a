//! That the checks can fail: backends with one fault each, of which each must fail the check of its clause, and nothing of
//! the modules that it keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex};
use std::thread;

use shared_region_conformance::support::run::quietly;
use shared_region_conformance::{Sut, every_check};

mod liar;

use liar::{Fault, Liar};

/// An implementation of the suite for one fault.
#[derive(Debug)]
struct Lying<const FAULT: usize>;

impl<const FAULT: usize> Sut for Lying<FAULT> {
    type Backend = Liar;
    const LABEL: &'static str = "liar";

    fn backend() -> Liar {
        static LIARS: LazyLock<Mutex<BTreeMap<usize, Liar>>> = LazyLock::new(Mutex::default);
        LIARS.lock().unwrap().entry(FAULT).or_insert_with(|| Liar::new(Fault::ALL[FAULT])).clone()
    }

    fn shares_with_processes() -> bool {
        false
    }
}

/// What a fault must fail, and the modules in which it may fail anything.
struct Verdict {
    caught_by: &'static str,
    within: &'static [&'static str],
}

/// A wrong size or a wrong byte shows wherever bytes are compared, so that more than one module falls with some.
fn verdict(fault: Fault) -> Verdict {
    let (caught_by, within): (_, &[_]) = match fault {
        Fault::None => ("", &[]),
        Fault::KeepsOldBytes => (
            "create::a_new_region_reads_as_zeros",
            &["access", "create", "names", "open_or_create", "publish", "removal", "replace", "sharing"],
        ),
        Fault::RoundsTheSize => (
            "create::the_length_is_exactly_what_was_asked",
            &[
                "access",
                "create",
                "divergence",
                "huge",
                "names",
                "open",
                "open_or_create",
                "publish",
                "removal",
                "replace",
                "sharing",
                "unnamed",
            ],
        ),
        Fault::RemovesByName => {
            ("removal::removing_an_old_handles_region_leaves_a_newer_one_of_its_name_alone", &["errors", "removal"])
        }
        Fault::IgnoresReadOnly => {
            ("open::writing_to_a_read_only_region_is_read_only", &["access", "errors", "open", "sharing"])
        }
        Fault::OpensWhatExists => (
            "create::create_new_twice_fails_with_already_exists",
            &["causes", "create", "errors", "names", "publish", "sharing"],
        ),
        Fault::IgnoresTheLeastSize => {
            ("open::a_min_size_above_the_object_is_size_mismatch_to_the_byte", &["causes", "errors", "open"])
        }
        Fault::ListsNothing => ("names::a_listed_id_opens_and_removes_its_region", &["names"]),
        // That of its clause changes the umask, which takes a process of its own.
        Fault::ForgetsTheMode => ("names::what_an_identity_stands_for_is_created_or_opened", &["names"]),
        Fault::RemovesNothing => (
            "removal::removing_twice_is_not_found_whichever_way_and_whoever_has_it_mapped",
            &["create", "errors", "lifetime", "names", "open_or_create", "removal"],
        ),
        Fault::ClonesRemove => ("lifetime::removal_on_drop_is_the_creating_handles_alone", &["lifetime"]),
        Fault::AlwaysCreated => (
            "open_or_create::open_or_create_says_whether_it_created",
            &["lifetime", "names", "open_or_create", "replace"],
        ),
        Fault::NamesNoRegion => {
            ("errors::the_same_cause_is_told_alike_by_every_implementation", &["errors", "hostile", "huge", "open"])
        }
    };
    Verdict { caught_by, within }
}

fn failures<const FAULT: usize>() -> BTreeSet<&'static str> {
    let failed = |(name, check): (&'static str, fn())| {
        let run = move || quietly::<Lying<FAULT>>(check);
        thread::spawn(move || catch_unwind(AssertUnwindSafe(run)).is_err()).join().unwrap().then_some(name)
    };
    every_check::<Lying<FAULT>>().into_iter().filter_map(failed).collect()
}

macro_rules! faults {
    ($($number:literal)*) => {
        const COUNT: usize = [$($number),*].len();
        const FAILURES: [fn() -> BTreeSet<&'static str>; COUNT] = [$(failures::<$number>),*];
    };
}

faults! { 0 1 2 3 4 5 6 7 8 9 10 11 12 }

#[test]
fn a_backend_that_lies_fails_the_check_of_its_clause_and_keeps_what_it_does_not_break() {
    assert_eq!(COUNT, Fault::ALL.len());
    std::panic::set_hook(Box::new(|_| {}));
    let found = FAILURES.map(|failures| failures());
    drop(std::panic::take_hook());
    let mut wrong = Vec::new();
    for (fault, failed) in Fault::ALL.into_iter().zip(found) {
        let Verdict { caught_by, within } = verdict(fault);
        let modules: BTreeSet<_> = failed.iter().filter_map(|check| Some(check.split_once("::")?.0)).collect();
        println!("{fault:?}: {modules:?}: {failed:?}");
        let caught = fault == Fault::None || failed.contains(caught_by);
        if !caught || !modules.iter().all(|module| within.contains(module)) {
            wrong.push(fault);
        }
    }
    assert!(wrong.is_empty(), "not caught, or caught elsewhere, too: {wrong:?}");
}
