//! Excluding others, and what a dead holder leaves: clauses K1, K3 to K5, X2.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use shared_region::{AnyBackend, Backend, CreateOptions, ErrorKind, Posix, SharedRegion, SharedRegionExt};
use shared_region_sync::{Member, Members, Mutex};

mod common;
use common::{Any, LONG, Role, TRY, board, in_fork, join, on_each, on_each_named, region_of_role, until};

/// Adds one in two steps, which only a lock makes one.
fn add(region: &Any) {
    let counter = &board(region).counters[0];
    let old = counter.load(Relaxed);
    std::hint::black_box(old);
    counter.store(old + 1, Relaxed);
}

#[test]
fn threads_that_share_a_member_and_processes_exclude_each_other() {
    on_each_named(|region| {
        let roles: Vec<_> = (0..2).map(|_| Role::start("adds", region)).collect();
        let me = join(region);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let guard = me.lock(&board(region).mutex, LONG).unwrap();
                        assert!(!guard.recovered());
                        add(region);
                    }
                });
            }
        });
        roles.into_iter().for_each(Role::ends_well);
        assert_eq!(board(region).counters[0].load(SeqCst), 40_000);
    });
}

#[test]
#[ignore = "a role"]
fn adds() {
    let Some(region) = region_of_role() else { return };
    let me = join(&region);
    for _ in 0..10_000 {
        let _guard = me.lock(&board(&region).mutex, LONG).unwrap();
        add(&region);
    }
}

#[test]
fn the_next_holder_is_told_of_a_death_until_one_says_repaired() {
    on_each_named(|region| {
        let (me, mutex) = (join(region), &board(region).mutex);
        let role = Role::start("locks_and_stays", region);
        until(|| board(region).counters[1].load(SeqCst) == 1);
        assert_eq!(me.lock(mutex, TRY).unwrap_err().kind(), ErrorKind::Busy);
        thread::scope(|scope| {
            let next = scope.spawn(|| me.lock(mutex, LONG).unwrap().recovered());
            role.kill();
            assert!(next.join().unwrap());
        });
        // Nobody has said so; and another dies inside.
        board(region).counters[1].store(0, SeqCst);
        let role = Role::start("locks_and_stays", region);
        until(|| board(region).counters[1].load(SeqCst) == 1);
        role.kill();
        let mut guard = me.lock(mutex, LONG).unwrap();
        assert!(guard.recovered());
        guard.repaired();
        assert!(!guard.recovered());
        drop(guard);
        assert!(!me.lock(mutex, TRY).unwrap().recovered());
    });
}

#[test]
#[ignore = "a role"]
fn locks_and_stays() {
    let Some(region) = region_of_role() else { return };
    let me = join(&region);
    let _guard = me.lock(&board(&region).mutex, LONG).unwrap();
    board(&region).counters[1].store(1, SeqCst);
    loop {
        thread::park();
    }
}

#[test]
fn a_second_holder_that_dies_is_noticed_by_all_who_wait() {
    on_each_named(|region| {
        let (me, mutex) = (join(region), &board(region).mutex);
        let first = Role::start("locks_and_stays", region);
        until(|| board(region).counters[1].swap(0, SeqCst) == 1);
        // It waits for the first; and so does this process, now for one and then for the other.
        let second = Role::start("locks_and_stays", region);
        thread::scope(|scope| {
            let waits = scope.spawn(|| me.lock(mutex, LONG).unwrap().recovered());
            first.kill();
            until(|| board(region).counters[1].load(SeqCst) == 1 || waits.is_finished());
            until(|| board(region).counters[1].load(SeqCst) == 1);
            second.kill();
            assert!(waits.join().unwrap());
        });
        assert!(me.lock(mutex, LONG).unwrap().recovered());
    });
}

#[test]
fn relocking_is_an_error_in_the_same_thread_and_waits_in_another() {
    on_each(|region| {
        let (me, mutex) = (join(region), &board(region).mutex);
        let guard = me.lock(mutex, TRY).unwrap();
        let again = me.lock(mutex, LONG).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Deadlock);
        assert_eq!(again.to_string(), "cannot lock a mutex: this thread holds it already: release it first");
        thread::scope(|scope| {
            let other = scope.spawn(|| me.lock(mutex, Duration::from_millis(20)).unwrap_err().kind());
            assert_eq!(other.join().unwrap(), ErrorKind::Busy);
        });
        drop(guard);
        drop(me.lock(mutex, TRY).unwrap());
    });
}

#[test]
fn a_timeout_is_one_deadline_whatever_signals_come() {
    use nix::sys::pthread::{pthread_kill, pthread_self};
    use nix::sys::signal::{SigHandler, Signal, signal};

    extern "C" fn nothing(_: i32) {}
    // SAFETY: the handler does nothing.
    unsafe { signal(Signal::SIGUSR1, SigHandler::Handler(nothing)) }.unwrap();

    on_each(|region| {
        let (me, other, mutex) = (join(region), join(region), &board(region).mutex);
        let _guard = other.lock(mutex, TRY).unwrap();
        let this = pthread_self() as usize;
        thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..50 {
                    pthread_kill(this as _, Signal::SIGUSR1).unwrap();
                    thread::sleep(Duration::from_millis(1));
                }
            });
            let started = Instant::now();
            let late = me.lock(mutex, Duration::from_millis(150)).unwrap_err();
            assert_eq!(late.kind(), ErrorKind::Busy);
            assert!(started.elapsed() >= Duration::from_millis(150));
        });
    });
}

#[test]
fn a_forgotten_guard_is_recovered_after_its_member_has_left() {
    on_each(|region| {
        let (me, other, mutex) = (join(region), join(region), &board(region).mutex);
        std::mem::forget(other.lock(mutex, TRY).unwrap());
        assert_eq!(me.lock(mutex, TRY).unwrap_err().kind(), ErrorKind::Busy);
        drop(other);
        // Somebody else in the same slot is not taken for the holder.
        let new = join(region);
        assert!(me.lock(mutex, TRY).unwrap().recovered());
        assert!(new.lock(mutex, TRY).unwrap().recovered());
    });
}

#[test]
fn a_guard_dropped_in_a_forked_child_or_after_scribbling_releases_nothing_of_others() {
    on_each(|region| {
        let (me, mutex) = (join(region), &board(region).mutex);
        let guard = me.lock(mutex, TRY).unwrap();
        let code = in_fork(|| {
            // SAFETY: the child ends without using the original.
            drop(unsafe { std::ptr::read(&guard) });
            0
        });
        assert_eq!(code, 0);
        let other = join(region);
        assert_eq!(other.lock(mutex, TRY).unwrap_err().kind(), ErrorKind::Busy);

        let word = region.atomic_u32(std::mem::offset_of!(common::Board, mutex)).unwrap();
        word.store(0, SeqCst);
        let theirs = other.lock(mutex, TRY).unwrap();
        let held = word.load(SeqCst);
        drop(guard);
        assert_eq!(word.load(SeqCst), held);
        drop(theirs);
        assert_eq!(word.load(SeqCst), 0);
    });
}

#[test]
fn a_guard_outlives_the_removal_of_the_region() {
    let region = common::removable();
    let me = join(&region);
    let guard = me.lock(&board(&region).mutex, TRY).unwrap();
    region.remove().unwrap();
    drop(guard);
    drop(me.lock(&board(&region).mutex, TRY).unwrap());
}

#[test]
fn a_mutex_of_another_table_is_refused() {
    on_each(|region| {
        let me = join(region);
        let another: Any = AnyBackend::Posix.create_unnamed(&CreateOptions::new(1 << 16)).unwrap();
        let stranger = join(&another);
        drop(me.lock(&board(region).mutex, TRY).unwrap());
        let refused = stranger.lock(&board(region).mutex, LONG).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidOptions);
        assert!(refused.to_string().contains("another table of members: join that one"), "{refused}");
    });
}

#[test]
fn a_holder_that_is_no_member_is_recovered_and_not_waited_for() {
    let region = Posix.create_unnamed(&CreateOptions::new(4096)).unwrap();
    let me = Member::join(&region, 0, |table: &Members<4>| table).unwrap();
    let mutex: &Mutex = region.view(128).unwrap();
    // Slot 1023 of 4, and slot 2, in which nobody is.
    for word in [0x3FF0_0001, 0x0030_0001] {
        region.atomic_u32(128).unwrap().store(word, SeqCst);
        let mut guard = me.lock(mutex, LONG).unwrap();
        assert!(guard.recovered());
        guard.repaired();
    }
}

#[test]
fn no_thread_of_a_dead_holder_writes_any_more_once_the_next_one_has_the_lock() {
    on_each_named(|region| {
        let (me, board) = (join(region), board(region));
        for _ in 0..common::rounds(30) {
            board.counters[1].store(0, SeqCst);
            let mut role = Role::start("locks_and_hammers", region);
            until(|| board.counters[1].load(SeqCst) == 1 && board.counters[3].load(SeqCst) != 0);
            role.0.kill().unwrap();
            // As soon as it can be had.
            let mut guard = loop {
                if let Ok(guard) = me.lock(&board.mutex, TRY) {
                    break guard;
                }
            };
            let then = board.counters[3].load(SeqCst);
            for _ in 0..100_000 {
                assert_eq!(board.counters[3].load(SeqCst), then, "a dead one writes");
            }
            assert!(guard.recovered());
            guard.repaired();
            drop(guard);
            board.counters[3].store(0, SeqCst);
        }
    });
}

#[test]
#[ignore = "a role"]
fn locks_and_hammers() {
    let Some(region) = region_of_role() else { return };
    let (me, board) = (join(&region), board(&region));
    let _guard = me.lock(&board.mutex, LONG).unwrap();
    board.counters[1].store(1, SeqCst);
    for count in 1.. {
        board.counters[3].store(count, Relaxed);
    }
}
