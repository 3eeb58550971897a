//! The algorithms under a model checker for the memory model (loom): all interleavings of two or three threads, and all
//! values that each load may return.
//!
//! The files are those of the crate; what stands below them, atomics and the system, is the model's.
#![allow(dead_code, unreachable_pub, reason = "the model calls less than the crate has, and exports nothing")]

use std::time::Duration;

use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;

#[path = "../../src/event.rs"]
mod event;
mod member;
#[path = "../../src/mutex.rs"]
mod mutex;
#[path = "../../src/once.rs"]
mod once;
mod sys;
#[path = "../../src/versioned.rs"]
mod versioned;

use event::Event;
use member::Member;
use mutex::Mutex;
use once::{LayoutTag, Once};
use sys::AtomicU32;
use versioned::Versioned;

use std::sync::atomic::Ordering::Relaxed;

/// Declares a struct; in the crate it also implements the trait for layouts.
macro_rules! shared_layout {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident { $($fields:tt)* }) => {
        $(#[$attribute])*
        $visibility struct $name { $($fields)* }
    };
}
use shared_layout;

const LONG: Duration = Duration::MAX;

/// All interleavings in which threads are preempted a few times. What is checked is done by threads that the model
/// starts: the first thread's own steps are not all reordered (seen with loom 0.7).
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[test]
fn a_notification_is_never_lost_on_two_waiters() {
    explore(2, || {
        let shared = Arc::new((Event::default(), AtomicU32::new(0)));
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.0.wait_while(LONG, || shared.1.load(Relaxed) == 0).unwrap())
            })
            .collect();
        shared.1.store(1, Relaxed);
        shared.0.notify_all();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

#[test]
fn two_notifiers_and_a_waiter_for_both_meet() {
    explore(2, || {
        let shared = Arc::new((Event::default(), AtomicU32::new(0)));
        let notifiers: Vec<_> = (0..2)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.1.fetch_add(1, Relaxed);
                    shared.0.notify_all();
                })
            })
            .collect();
        shared.0.wait_while(LONG, || shared.1.load(Relaxed) < 2).unwrap();
        notifiers.into_iter().for_each(|notifier| notifier.join().unwrap());
    });
}

#[test]
fn three_threads_exclude_each_other_and_see_what_the_others_wrote() {
    explore(2, || {
        let shared = Arc::new((Mutex::default(), loom::cell::UnsafeCell::new(0)));
        let add = |shared: Arc<(Mutex, loom::cell::UnsafeCell<u32>)>, slot| {
            let member = Member::new(slot);
            let guard = member.lock(&shared.0, LONG).unwrap();
            assert!(!guard.recovered());
            // SAFETY: the lock is held; the model fails if another access is not ordered with this one.
            shared.1.with_mut(|count| unsafe { *count += 1 });
        };
        let others: Vec<_> = (0..3)
            .map(|slot| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || add(shared, slot))
            })
            .collect();
        others.into_iter().for_each(|other| other.join().unwrap());
        // SAFETY: the others have ended.
        assert_eq!(shared.1.with(|count| unsafe { *count }), 3);
    });
}

#[test]
fn of_two_that_wait_for_a_holder_that_dies_both_go_on_and_one_recovers() {
    explore(2, || {
        let mutex = Arc::new(Mutex::default());
        let victim = Member::new(2);
        std::mem::forget(victim.lock(&mutex, LONG).unwrap());
        let others: Vec<_> = (0..2)
            .map(|slot| {
                let mutex = Arc::clone(&mutex);
                thread::spawn(move || {
                    let member = Member::new(slot);
                    let mut guard = member.lock(&mutex, LONG).unwrap();
                    let recovered = guard.recovered();
                    guard.repaired();
                    u32::from(recovered)
                })
            })
            .collect();
        victim.die();
        let recovered: u32 = others.into_iter().map(|other| other.join().unwrap()).sum();
        assert_eq!(recovered, 1);
    });
}

#[test]
fn a_reader_beside_two_updates_sees_a_whole_value() {
    explore(3, || {
        let value = Arc::new(Versioned::<sys::Pair>::default());
        let writer = {
            let value = Arc::clone(&value);
            thread::spawn(move || {
                for _ in 0..2 {
                    value.replace(|pair| *pair = [pair[0] + 1, pair[1] + 1]);
                }
            })
        };
        let reader = {
            let value = Arc::clone(&value);
            thread::spawn(move || {
                let first = value.load().unwrap();
                assert_eq!(first[0], first[1], "torn");
            })
        };
        writer.join().unwrap();
        reader.join().unwrap();
        assert_eq!(value.load().unwrap(), [2, 2]);
    });
}

#[test]
fn of_two_that_start_exactly_one_initialises_and_both_see_it() {
    explore(2, || {
        let shared = Arc::new((Once::default(), loom::cell::UnsafeCell::new(0)));
        let start = |shared: Arc<(Once, loom::cell::UnsafeCell<u32>)>, slot| {
            let tag = LayoutTag { magic: 1, version: 1, size: 4 };
            let initialise = |first: bool| {
                assert!(first);
                // SAFETY: nobody else is here; the model fails if another access is not ordered with this one.
                shared.1.with_mut(|count| unsafe { *count += 1 });
                Ok(())
            };
            Member::new(slot).initialise(&shared.0, tag, LONG, initialise).unwrap();
            // SAFETY: it is initialised, and nobody writes any more.
            assert_eq!(shared.1.with(|count| unsafe { *count }), 1);
        };
        let both: Vec<_> = (0..2)
            .map(|slot| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || start(shared, slot))
            })
            .collect();
        both.into_iter().for_each(|one| one.join().unwrap());
    });
}
