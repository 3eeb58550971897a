//! Joining, leaving, dying: clauses M1 to M5.

use std::os::unix::process::CommandExt;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use shared_region::{Backend, CreateOptions, ErrorKind, Posix, SharedRegion, SharedRegionExt, shared_layout};
use shared_region_sync::{Member, MemberId, Members};

mod common;
use common::{Board, LONG, Role, SLOTS, board, in_fork, join, on_each, on_each_named, region_of_role, rounds, until};

#[test]
fn a_full_table_refuses_with_its_size_and_a_slot_left_is_free() {
    on_each(|region| {
        let mut all: Vec<_> = (0..SLOTS).map(|_| join(region)).collect();
        assert_eq!(board(region).members.iter().count(), SLOTS);
        let refused = Member::join(region, 0, |board: &Board| &board.members).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::LimitExceeded { limit: "the table's slots", value: SLOTS as u64 });
        let left = all[3].id();
        drop(all.remove(3));
        assert!(!board(region).members.alive(left), "{left}");
        let new = join(region);
        assert_ne!(new.id(), left);
        assert!(board(region).members.alive(new.id()) && !board(region).members.alive(left));
    });
}

#[test]
fn a_member_outlives_the_region_that_it_was_made_of() {
    let region = Posix.create_unnamed(&CreateOptions::new(4096)).unwrap();
    let clone = region.try_clone().unwrap();
    let member = Member::join(&region, 0, |board: &Members<4>| board).unwrap();
    drop(region);
    let table: &Members<4> = clone.view(0).unwrap();
    assert!(table.alive(member.id()));
    drop(member);
    assert_eq!(table.iter().count(), 0);
}

#[test]
fn wrong_tables_are_refused_and_told_why() {
    let region = Posix.create_unnamed(&CreateOptions::new(4096)).unwrap();
    let elsewhere: &'static Members<0> = Box::leak(Box::new(zeroed()));
    let none = Member::join(&region, 0, |_: &Members<1>| elsewhere).unwrap_err();
    assert!(none.to_string().contains("it has 0 slots"), "{none}");
    let elsewhere: &'static Members<2> = Box::leak(Box::new(zeroed()));
    let outside = Member::join(&region, 0, |_: &Members<1>| elsewhere).unwrap_err();
    assert!(outside.to_string().contains("outside of the region"), "{outside}");

    let _four = Member::join(&region, 0, |table: &Members<4>| table).unwrap();
    let five = Member::join(&region, 0, |table: &Members<5>| table).unwrap_err();
    assert_eq!(five.kind(), ErrorKind::LayoutMismatch { have: 4, want: 5 });
    region.atomic_u32(0).unwrap().store(9, Relaxed);
    let other = Member::join(&region, 0, |table: &Members<4>| table).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::LayoutMismatch { have: 9, want: 1 });

    let read_only = shared_region::PosixRegion::try_from(region.share_read_only().unwrap()).unwrap();
    let refused = Member::join(&read_only, 0, |table: &Members<4>| table).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnly);
}

/// As a new region is.
fn zeroed<const N: usize>() -> Members<N> {
    // SAFETY: all zeros is a table's initial state; it consists of atomic integers.
    unsafe { std::mem::zeroed() }
}

#[test]
fn a_death_is_seen_and_wakes_who_waits_for_it() {
    on_each_named(|region| {
        let counters = &board(region).counters;
        for _ in 0..rounds(20) {
            counters[0].store(0, SeqCst);
            let role = Role::start("joins_and_stays", region);
            until(|| counters[0].load(SeqCst) != 0);
            let peer = MemberId::from_bits(counters[0].load(SeqCst)).unwrap();
            assert!(board(region).members.alive(peer));
            let late = board(region).members.wait_for_death(peer, Duration::from_millis(1)).unwrap_err();
            assert_eq!(late.kind(), ErrorKind::Busy);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| board(region).members.wait_for_death(peer, LONG).unwrap());
                }
                role.kill();
            });
            assert!(!board(region).members.alive(peer));
        }
    });
}

#[test]
#[ignore = "a role"]
fn joins_and_stays() {
    let Some(region) = region_of_role() else { return };
    let member = join(&region);
    board(&region).counters[0].store(member.id().to_bits(), SeqCst);
    loop {
        std::thread::park();
    }
}

#[test]
fn exit_and_exec_are_deaths() {
    on_each_named(|region| {
        for role in ["joins_and_exits", "joins_and_becomes_another"] {
            board(region).counters[0].store(0, SeqCst);
            let mut role = Role::start(role, region);
            until(|| board(region).counters[0].load(SeqCst) != 0);
            let peer = MemberId::from_bits(board(region).counters[0].load(SeqCst)).unwrap();
            board(region).members.wait_for_death(peer, LONG).unwrap();
            role.0.wait().unwrap();
        }
    });
}

#[test]
#[ignore = "a role"]
fn joins_and_exits() {
    let Some(region) = region_of_role() else { return };
    let member = std::mem::ManuallyDrop::new(join(&region));
    board(&region).counters[0].store(member.id().to_bits(), SeqCst);
    std::process::exit(0);
}

#[test]
#[ignore = "a role"]
fn joins_and_becomes_another() {
    let Some(region) = region_of_role() else { return };
    let member = join(&region);
    board(&region).counters[0].store(member.id().to_bits(), SeqCst);
    panic!("{}", std::process::Command::new("sleep").arg("0.2").exec());
}

#[test]
fn a_forked_child_is_no_member_by_its_parents_handle_and_joins_for_itself() {
    on_each(|region| {
        let member = join(region);
        let code = in_fork(|| {
            let refused = member.lock(&board(region).mutex, LONG).unwrap_err();
            assert!(refused.to_string().contains("forked child"), "{refused}");
            let mine = join(region);
            assert!(mine.id() != member.id());
            drop(mine.lock(&board(region).mutex, LONG).unwrap());
            // Dropping the parent's handle here changes nothing.
            // SAFETY: the child ends without using the original.
            drop(unsafe { std::ptr::read(&member) });
            0
        });
        assert_eq!(code, 0);
        assert!(board(region).members.alive(member.id()));
        drop(member.lock(&board(region).mutex, LONG).unwrap());
        assert_eq!(board(region).members.iter().count(), 1);
    });
}

#[test]
fn slots_of_dead_members_are_taken_again_a_thousand_times() {
    let region = Posix.create_unnamed(&CreateOptions::new(4096)).unwrap();
    shared_layout! {
        struct Small { members: Members<2> }
    }
    let join = || Member::join(&region, 0, |small: &Small| &small.members).unwrap();
    let table = &region.view::<Small>(0).unwrap().members;
    let mut before = None;
    for _ in 0..500 {
        let member = join();
        let bits = member.id().to_bits();
        assert_ne!(before, Some(bits));
        before = Some(bits);
        assert!(table.alive(member.id()));
        // Dies without leaving.
        assert_eq!(
            in_fork(|| {
                std::mem::forget(join());
                0
            }),
            0
        );
        assert_eq!(table.iter().count(), 1);
    }
}

#[test]
fn a_claim_that_a_killed_keeper_left_is_taken_when_no_other_slot_is_free() {
    let region = Posix.create_unnamed(&CreateOptions::new(4096)).unwrap();
    // The slot's claim differs from its generation.
    region.atomic_u32(16 + 8).unwrap().store(1, SeqCst);
    let started = Instant::now();
    let member = Member::join(&region, 0, |table: &Members<1>| table).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(100));
    assert!(region.view::<Members<1>>(0).unwrap().alive(member.id()));
}
