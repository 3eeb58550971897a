//! Notifying and waiting: clauses W1, W3, M6 of an event alone.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use shared_region::{Backend, CreateOptions, ErrorKind, Posix, PosixRegion, SharedRegionExt};
use shared_region_sync::{Event, EventReader};

mod common;
use common::{LONG, Role, TRY, board, on_each, on_each_named, region_of_role, rounds};

#[test]
fn two_processes_take_turns_and_no_notification_is_lost() {
    on_each_named(|region| {
        let board = board(region);
        let role = Role::start("answers", region);
        for round in 1..=rounds(20_000) {
            board.counters[0].store(round, SeqCst);
            board.event.notify_all();
            board.event.wait_while(LONG, || board.counters[1].load(SeqCst) != round).unwrap();
        }
        role.ends_well();
    });
}

#[test]
#[ignore = "a role"]
fn answers() {
    let Some(region) = region_of_role() else { return };
    let board = board(&region);
    for round in 1..=rounds(20_000) {
        board.event.wait_while(LONG, || board.counters[0].load(SeqCst) != round).unwrap();
        board.counters[1].store(round, SeqCst);
        board.event.notify_all();
    }
}

#[test]
fn a_timeout_is_one_deadline_and_zero_tries() {
    on_each(|region| {
        let event = &board(region).event;
        assert_eq!(event.wait(event.count(), TRY).unwrap_err().kind(), ErrorKind::Busy);
        let started = Instant::now();
        assert!(event.wait_while(Duration::from_millis(120), || true).is_err());
        assert!(started.elapsed() >= Duration::from_millis(120));
        assert!(event.wait_while(TRY, || false).is_ok());
        let seen = event.count();
        event.notify_all();
        assert_eq!(event.wait(seen, TRY).unwrap(), seen + 1);
    });
}

#[test]
fn the_word_is_as_documented_and_a_killed_waiter_costs_one_wake() {
    let region = Posix.create_unnamed(&CreateOptions::new(4096)).unwrap();
    let (event, word) = (region.view::<Event>(0).unwrap(), region.atomic_u32(0).unwrap());
    event.notify_all();
    assert_eq!(word.load(SeqCst), 4);
    // As one leaves it that was killed asleep.
    word.fetch_or(1, SeqCst);
    event.notify_all();
    assert_eq!(word.load(SeqCst), 8);
    // As one leaves it that was killed before its wake.
    word.fetch_or(2, SeqCst);
    event.notify_all();
    assert_eq!(word.load(SeqCst), 12);
}

/// The child may do no more than read, write and exit: any other call is its end.
#[test]
fn notifying_nobody_makes_no_system_call() {
    let region = Posix.create_unnamed(&CreateOptions::new(4096)).unwrap();
    let (event, word) = (region.view::<Event>(0).unwrap(), region.atomic_u32(0).unwrap());
    let ends = || {
        // SAFETY: the child makes two system calls and stores, and needs nothing of other threads.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => waitpid(child, None).unwrap(),
            ForkResult::Child => {
                // SAFETY: prctl(2) takes numbers.
                unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
                for _ in 0..1000 {
                    event.notify_all();
                }
                // SAFETY: exit(2), by itself, which is permitted; nothing of the parent's is torn down.
                unsafe { libc::syscall(libc::SYS_exit, 0) };
                unreachable!()
            }
        }
    };
    assert!(matches!(ends(), WaitStatus::Exited(_, 0)));
    assert_eq!(event.count(), 1000);
    // Where somebody is thought to sleep, there is one.
    word.fetch_or(1, SeqCst);
    assert!(matches!(ends(), WaitStatus::Signaled(_, Signal::SIGKILL, _)));
}

#[test]
fn waiting_through_a_read_only_mapping_sees_a_notification() {
    let region = Posix.create_unnamed(&CreateOptions::new(4096)).unwrap();
    let read_only = PosixRegion::try_from(region.share_read_only().unwrap()).unwrap();
    let event: &Event = region.view(128).unwrap();
    let reader: EventReader<'_, _> = Event::reader(&read_only, 128).unwrap();
    assert_eq!(reader.wait(0, Duration::from_millis(5)).unwrap_err().kind(), ErrorKind::Busy);
    thread::scope(|scope| {
        let waits = scope.spawn(|| reader.wait(0, LONG).unwrap());
        event.notify_all();
        assert_eq!(waits.join().unwrap(), 1);
    });
    assert!(matches!(Event::reader(&read_only, 4096).unwrap_err().kind(), ErrorKind::OutOfBounds { .. }));
}

#[test]
fn many_notifiers_and_many_waiters_lose_nothing() {
    on_each(|region| {
        let board = board(region);
        const EACH: u64 = 5_000;
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        board.counters[0].fetch_add(1, SeqCst);
                        board.event.notify_all();
                    }
                });
            }
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut seen = 0;
                    while seen < 3 * EACH {
                        board.event.wait_while(LONG, || board.counters[0].load(SeqCst) == seen).unwrap();
                        seen = board.counters[0].load(Relaxed);
                    }
                });
            }
        });
    });
}
