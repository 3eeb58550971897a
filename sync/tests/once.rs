//! One that initialises: clauses O1, O2.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;

use shared_region::{Error, ErrorKind};
use shared_region_sync::LayoutTag;

mod common;
use common::{Board, LONG, Role, TRY, board, join, on_each, on_each_named, region_of_role, until};

fn tag() -> LayoutTag {
    LayoutTag::of::<Board>(0xB0A2D, 1)
}

#[test]
fn of_processes_that_start_at_once_exactly_one_initialises() {
    on_each_named(|region| {
        let roles: Vec<_> = (0..6).map(|_| Role::start("initialises", region)).collect();
        roles.into_iter().for_each(Role::ends_well);
        assert_eq!(board(region).counters[0].load(SeqCst), 1);
    });
}

#[test]
#[ignore = "a role"]
fn initialises() {
    let Some(region) = region_of_role() else { return };
    let board = board(&region);
    let me = join(&region);
    me.initialise(&board.once, tag(), LONG, |first| {
        assert!(first);
        board.counters[0].fetch_add(1, SeqCst);
        Ok(())
    })
    .unwrap();
    assert_eq!(board.counters[0].load(SeqCst), 1);
}

#[test]
fn after_a_failure_a_panic_or_a_death_the_next_does_it_and_is_told() {
    on_each_named(|region| {
        let (me, board) = (join(region), board(region));
        let role = Role::start("begins", region);
        until(|| board.counters[1].load(SeqCst) == 1);
        assert_eq!(me.initialise(&board.once, tag(), TRY, |_| Ok(())).unwrap_err().kind(), ErrorKind::Busy);
        role.kill();
        let failed = me.initialise(&board.once, tag(), LONG, |first| {
            assert!(!first);
            Err(Error::new(ErrorKind::NoSpace))
        });
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::NoSpace);
        let panicked =
            catch_unwind(AssertUnwindSafe(|| me.initialise(&board.once, tag(), TRY, |_| panic!("as expected"))));
        assert!(panicked.is_err());
        assert!(!board.once.is_done(tag()).unwrap());
        me.initialise(&board.once, tag(), TRY, |first| {
            assert!(!first);
            Ok(())
        })
        .unwrap();
        me.initialise(&board.once, tag(), TRY, |_| panic!("it is done")).unwrap();
        assert!(board.once.is_done(tag()).unwrap());
    });
}

#[test]
#[ignore = "a role"]
fn begins() {
    let Some(region) = region_of_role() else { return };
    let _ = join(&region).initialise(&board(&region).once, tag(), LONG, |first| {
        assert!(first);
        board(&region).counters[1].store(1, SeqCst);
        loop {
            std::thread::park();
        }
    });
}

#[test]
fn a_program_of_another_layout_is_told_both() {
    on_each(|region| {
        let (me, once) = (join(region), &board(region).once);
        me.initialise(once, tag(), TRY, |_| Ok(())).unwrap();
        let mine = LayoutTag { version: 2, ..tag() };
        let refused = me.initialise(once, mine, TRY, |_| panic!("it is done")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::LayoutMismatch { have: 1, want: 2 });
        assert!(refused.to_string().contains("version 1,") && refused.to_string().contains("version 2,"), "{refused}");
        assert!(once.is_done(LayoutTag { size: 1, ..tag() }).is_err());
    });
}
