//! A peer that writes any bytes anywhere in the region, at any time: clause M6.
//!
//! It can cause wrong values, errors and time-outs. What is checked is that each of a million calls of each kind comes
//! back, that no signal ends this process, and that nothing is written where the scribbler does not write.

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use shared_region::{AnyBackend, Backend, CreateOptions, SharedRegionExt};
use shared_region_sync::{Event, LayoutTag, Member, MemberId, Versioned};

mod common;
use common::{Any, Block, Board, Role, TRY, board, on_each_named, region_of_role};

const CALLS: u32 = 1_000_000;

/// Some numbers, quickly.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }
}

#[test]
#[ignore = "a role"]
fn scribbles() {
    let Some(region) = region_of_role() else { return };
    let words: &[AtomicU32] = region.slice_view(0, size_of::<Board>() / 4).unwrap();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    loop {
        let value = random.next();
        // Words that mean something are met more often than by chance.
        let value = match random.next() % 8 {
            0 => 0,
            1 => value % 16,
            2 => 0x0010_0000 * (value % 16) + value % 4,
            3 => 0x4000_0000 | (value % 4),
            4 => 0x8000_0000 | (value % 0x40_0000),
            _ => value,
        };
        words[random.next() as usize % words.len()].store(value, Relaxed);
    }
}

/// Makes calls of all kinds while somebody scribbles.
fn call_everything(region: &Any, me: &Member) {
    let (board, tag) = (board(region), LayoutTag::of::<Board>(1, 1));
    let mut random = Random(1);
    for _ in 0..CALLS {
        drop(black_box(me.lock(&board.mutex, TRY)));
        let _ = black_box(me.update(&board.value, TRY, |block| block[0] += u64::from(block[1] == 3)));
        let _ = black_box(board.value.load());
        board.event.notify_all();
        let _ = black_box(board.event.wait(board.event.count(), TRY));
        let _ = black_box(me.initialise(&board.once, tag, TRY, |_| Ok(())));
        let id = MemberId::from_bits(u64::from(random.next() % 16) << 32 | u64::from(random.next() % 4));
        let _ = black_box(id.map(|id| board.members.alive(id)));
        let _ = black_box(id.map(|id| board.members.wait_for_death(id, TRY)));
    }
}

/// Makes fewer calls of those that sleep, or that make threads.
fn sleep_everywhere(region: &Any, me: &Member) {
    let (board, tag, short) = (board(region), LayoutTag::of::<Board>(1, 1), Duration::from_micros(200));
    for _ in 0..2_000 {
        drop(me.lock(&board.mutex, short));
        let _ = me.update(&board.value, short, |block| block[0] ^= 1);
        let _ = board.event.wait_while(short, || true);
        let _ = board.value.wait_newer(board.event.count(), short);
        let _ = me.initialise(&board.once, tag, short, |_| Ok(()));
        let _ = board.members.wait_for_death(me.id(), short);
        let _ = Versioned::<Block>::reader(region, std::mem::offset_of!(Board, value)).unwrap().load();
        let event = Event::reader(region, std::mem::offset_of!(Board, event)).unwrap();
        let _ = event.wait(event.count().unwrap(), short);
    }
    for _ in 0..300 {
        drop(Member::join(region, 0, |board: &Board| &board.members));
    }
}

#[test]
fn a_scribbling_peer_causes_errors_and_nothing_else() {
    on_each_named(|region| {
        let me = Member::join(region, 0, |board: &Board| &board.members).unwrap();
        let role = Role::start("scribbles", region);
        call_everything(region, &me);
        sleep_everywhere(region, &me);
        role.kill();
        let mut rest = vec![0; (1 << 16) - size_of::<Board>()];
        region.read_at(size_of::<Board>(), &mut rest).unwrap();
        assert!(rest.iter().all(|&byte| byte == 0), "something was written outside");
        drop(me);
    });
}

#[test]
fn no_pattern_of_bytes_makes_a_call_panic_or_hang() {
    let region: Any = AnyBackend::Posix.create_unnamed(&CreateOptions::new(1 << 16)).unwrap();
    let me = Member::join(&region, 0, |board: &Board| &board.members).unwrap();
    let mut random = Random(7);
    for _ in 0..20_000 {
        let words: &[AtomicU32] = region.slice_view(16, size_of::<Board>() / 4 - 4).unwrap();
        words.iter().for_each(|word| word.store(random.next() & random.next(), Relaxed));
        let board = board(&region);
        let calls = catch_unwind(AssertUnwindSafe(|| {
            drop(me.lock(&board.mutex, TRY));
            let _ = me.update(&board.value, TRY, |_| ());
            let _ = board.value.load();
            let _ = me.initialise(&board.once, LayoutTag::of::<Board>(1, 1), TRY, |_| Ok(()));
            let _ = board.members.iter().filter(|&id| board.members.alive(id)).count();
            board.event.notify_all();
        }));
        assert!(calls.is_ok());
    }
}
