//! A value that is always whole: clauses V1 to V3, X1.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use shared_region::{Backend, CreateOptions, ErrorKind, Posix, PosixRegion, SharedRegionExt};
use shared_region_sync::Versioned;

mod common;
use common::{Block, LONG, Role, TRY, board, join, on_each, on_each_named, region_of_role, until};

#[track_caller]
fn whole(block: Block) -> u64 {
    assert!(block.iter().all(|&part| part == block[0]), "{block:?}");
    block[0]
}

#[test]
fn readers_see_whole_values_while_two_processes_update() {
    on_each_named(|region| {
        let value = &board(region).value;
        let roles = [Role::start("updates", region), Role::start("updates", region)];
        let mut last = 0;
        while last < 40_000 {
            let now = whole(value.load().unwrap());
            assert!(now >= last);
            last = now;
        }
        roles.into_iter().for_each(Role::ends_well);
        assert_eq!(whole(value.load().unwrap()), 40_000);
    });
}

#[test]
#[ignore = "a role"]
fn updates() {
    let Some(region) = region_of_role() else { return };
    let me = join(&region);
    for _ in 0..20_000 {
        me.update(&board(&region).value, LONG, |block| *block = block.map(|part| part + 1)).unwrap();
    }
}

#[test]
fn a_panic_changes_nothing_and_leaves_no_lock() {
    on_each(|region| {
        let (me, value) = (join(region), &board(region).value);
        me.update(value, TRY, |block| *block = [7; 8]).unwrap();
        let before = value.load_versioned().unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            me.update(value, TRY, |block| {
                block[0] = 8;
                panic!("as expected");
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(value.load_versioned().unwrap(), before);
        join(region).update(value, TRY, |block| *block = [9; 8]).unwrap();
        assert_eq!(whole(value.load().unwrap()), 9);
    });
}

#[test]
fn who_waits_for_a_newer_one_is_woken() {
    on_each(|region| {
        let (me, value) = (join(region), &board(region).value);
        let (version, _) = value.load_versioned().unwrap();
        assert_eq!(value.wait_newer(version, Duration::from_millis(5)).unwrap_err().kind(), ErrorKind::Busy);
        thread::scope(|scope| {
            let newer = scope.spawn(|| value.wait_newer(version, LONG).unwrap());
            me.update(value, LONG, |block| *block = [3; 8]).unwrap();
            assert_eq!(newer.join().unwrap(), (version + 1, [3; 8]));
        });
    });
}

#[test]
fn a_read_only_region_has_a_reader() {
    let region = Posix.create_unnamed(&CreateOptions::new(4096)).unwrap();
    let read_only = PosixRegion::try_from(region.share_read_only().unwrap()).unwrap();
    let value: &Versioned<[u8; 5]> = region.view(64).unwrap();
    let reader = Versioned::<[u8; 5]>::reader(&read_only, 64).unwrap();
    assert_eq!(reader.load().unwrap(), [0; 5]);
    value.store(b"hello");
    assert_eq!(reader.load_versioned().unwrap(), (1, *b"hello"));
    thread::scope(|scope| {
        let newer = scope.spawn(|| reader.wait_newer(1, LONG).unwrap());
        value.store(b"world");
        assert_eq!(newer.join().unwrap(), (2, *b"world"));
    });
    let size = size_of::<Versioned<[u8; 5]>>();
    assert!(Versioned::<[u8; 5]>::reader(&read_only, 4096 - size).is_ok());
    assert!(Versioned::<[u8; 5]>::reader(&read_only, 4096 - size + 4).is_err());
}

#[test]
fn after_a_death_in_an_update_the_next_goes_on_from_the_last_whole_value() {
    on_each_named(|region| {
        let (me, board) = (join(region), board(region));
        me.update(&board.value, TRY, |block| *block = [5; 8]).unwrap();
        let role = Role::start("updates_half", region);
        until(|| board.counters[2].load(SeqCst) == 1);
        assert_eq!(me.update(&board.value, TRY, |_| ()).unwrap_err().kind(), ErrorKind::Busy);
        role.kill();
        assert_eq!(whole(board.value.load().unwrap()), 5);
        me.update(&board.value, LONG, |block| *block = block.map(|part| part + 1)).unwrap();
        assert_eq!(whole(board.value.load().unwrap()), 6);
    });
}

#[test]
#[ignore = "a role"]
fn updates_half() {
    let Some(region) = region_of_role() else { return };
    let _ = join(&region).update(&board(&region).value, LONG, |block| {
        block[3] = 99;
        board(&region).counters[2].store(1, SeqCst);
        loop {
            thread::park();
        }
    });
}
