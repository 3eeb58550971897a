//! Killed at every instruction: clauses K2, V1, V2, W2, O1, M1, M2.
//!
//! A victim is traced (ptrace), runs one instruction after the other, and is killed after the first, after the second,
//! and so on to the end of what it does. Each time two other processes then go on, and what they find is compared with
//! what stood in the region when the victim died. Run with a part of a scenario's name to run that one.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use shared_region::{AnyBackend, Backend, CreateOptions, SharedRegion, SharedRegionExt, shared_layout};
use shared_region_sync::{Event, LayoutTag, Member, Members, Mutex, Once, Versioned};

mod helper;
mod tracer;

use helper::Helper;
use tracer::{State, Victim};

/// More than anything takes here.
const LONG: Duration = Duration::from_secs(20);

type Block = [u64; 8];
type Region = Box<dyn SharedRegion>;

shared_layout! {
    struct Board {
        members: Members<8>,
        single: Members<1>,
        mutex: Mutex,
        warm: Mutex,
        event: Event,
        warm_event: Event,
        value: Versioned<Block>,
        once: Once,
        padding_too: AtomicU32,
        told: AtomicU64,
        initialised: AtomicU64,
    }
}

fn tag() -> LayoutTag {
    LayoutTag::of::<Board>(0x4B, 1)
}

struct Stage {
    region: Region,
    helpers: [Helper; 2],
    /// The event's count before the victim.
    count: Cell<u32>,
}

impl Stage {
    fn on(backend: AnyBackend) -> Self {
        let region: Region = backend.create_unnamed(&CreateOptions::new(1 << 16)).unwrap();
        let helpers = [Helper::start(&region), Helper::start(&region)];
        Self { region, helpers, count: Cell::new(0) }
    }

    fn board(&self) -> &Board {
        board(&self.region)
    }

    /// The slot of who holds the mutex, and one; 0 if nobody does.
    fn holder(&self) -> u32 {
        let word = self.region.load_u32(std::mem::offset_of!(Board, mutex), SeqCst).unwrap();
        (word & 0x3FFF_FFFF) >> 20
    }

    fn once_word(&self, at: usize) -> u32 {
        self.region.load_u32(std::mem::offset_of!(Board, once) + 4 * at, SeqCst).unwrap()
    }

    /// Both lock, and unlock; returns how many were told of a death.
    fn both_lock(&self) -> usize {
        self.helpers.iter().for_each(|helper| helper.ask(b'l'));
        self.helpers.iter().filter(|helper| helper.answer() == b'r').count()
    }
}

fn board(region: &Region) -> &Board {
    region.view(0).unwrap()
}

fn join(region: &Region) -> Member {
    Member::join(region, 0, |board: &Board| &board.members).unwrap()
}

/// What a victim does, how others unblock it, and what is checked when it has died.
struct Scenario {
    name: &'static str,
    /// Before each victim.
    prepare: fn(&Stage),
    /// What the victim does, as a member.
    act: fn(&Region, &Member),
    /// When the victim sleeps.
    wake: fn(&Stage),
    /// While the victim stands, `slot` being its own and one; its return kills the victim.
    before: fn(&Stage, slot: u32) -> u64,
    /// Afterwards.
    after: fn(&Stage, seen: u64),
}

fn nothing(_: &Stage) {}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "lock and unlock",
        prepare: nothing,
        act: |region, me| drop(me.lock(&board(region).mutex, LONG).unwrap()),
        wake: nothing,
        before: |stage, slot| u64::from(stage.holder() == slot),
        after: |stage, held| assert_eq!(stage.both_lock() as u64, held),
    },
    Scenario {
        name: "contended lock",
        // One holds, the other waits.
        prepare: |stage| {
            stage.helpers[0].ask(b'h');
            assert_eq!(stage.helpers[0].answer(), b'h');
            stage.helpers[1].ask(b'l');
        },
        act: |region, me| drop(me.lock(&board(region).mutex, LONG).unwrap()),
        wake: |stage| {
            stage.helpers[0].ask(b'x');
        },
        before: |stage, slot| {
            // Nobody else may come in between, so a woken waiter is let in first.
            u64::from(stage.holder() == slot)
        },
        after: |stage, held| {
            stage.helpers[0].ask(b'x');
            let waiter = u64::from(stage.helpers[1].answer() == b'r');
            assert_eq!(waiter + stage.both_lock() as u64, held);
        },
    },
    Scenario {
        name: "update",
        prepare: nothing,
        // Twice, as each goes to the other of two places.
        act: |region, me| {
            for _ in 0..2 {
                me.update(&board(region).value, LONG, |block| *block = block.map(|part| part + 1)).unwrap();
            }
        },
        wake: nothing,
        before: |stage, _| whole(stage),
        after: |stage, seen| {
            assert_eq!(whole(stage), seen);
            for (helper, more) in stage.helpers.iter().zip(1..) {
                helper.ask(b'u');
                assert_eq!(helper.answer(), b'u');
                assert_eq!(whole(stage), seen + more);
            }
        },
    },
    Scenario {
        name: "notify",
        prepare: |stage| {
            stage.board().told.store(0, SeqCst);
            stage.count.set(stage.board().event.count());
            stage.helpers.iter().for_each(|helper| helper.ask(b'w'));
        },
        act: |region, _| {
            board(region).told.store(1, SeqCst);
            board(region).event.notify_all();
        },
        wake: nothing,
        // Whether it has notified: then nobody has to again.
        before: |stage, _| u64::from(stage.board().event.count() != stage.count.get()),
        after: |stage, notified| {
            if notified == 0 {
                stage.board().told.store(1, SeqCst);
                stage.board().event.notify_all();
            }
            stage.helpers.iter().for_each(|helper| assert_eq!(helper.answer(), b'w'));
            cheap_again(stage);
        },
    },
    Scenario {
        name: "wait",
        prepare: |stage| {
            stage.board().told.store(0, SeqCst);
            stage.helpers[0].ask(b'w');
        },
        act: |region, _| {
            board(region).event.wait_while(LONG, || board(region).told.load(SeqCst) == 0).unwrap();
        },
        wake: |stage| {
            stage.board().told.store(1, SeqCst);
            stage.board().event.notify_all();
        },
        before: |_, _| 0,
        after: |stage, _| {
            stage.helpers[1].ask(b'w');
            stage.board().told.store(1, SeqCst);
            stage.board().event.notify_all();
            stage.helpers.iter().for_each(|helper| assert_eq!(helper.answer(), b'w'));
            cheap_again(stage);
        },
    },
    Scenario {
        name: "initialise",
        prepare: |stage| {
            stage.region.fill_at(std::mem::offset_of!(Board, once), size_of::<Once>(), 0).unwrap();
            stage.board().initialised.store(0, SeqCst);
        },
        act: |region, me| {
            let count = |_| {
                board(region).initialised.fetch_add(1, SeqCst);
                Ok(())
            };
            me.initialise(&board(region).once, tag(), LONG, count).unwrap();
        },
        wake: nothing,
        // Whether it is done, and whether one has begun.
        before: |stage, _| u64::from(stage.once_word(0)) << 1 | u64::from(stage.once_word(1)),
        after: |stage, seen| {
            let (done, begun) = (seen >> 1 == 1, seen & 1 == 1);
            stage.helpers.iter().for_each(|helper| helper.ask(b'i'));
            let answers: Vec<_> = stage.helpers.iter().map(Helper::answer).collect();
            let did = answers.iter().filter(|&&answer| answer != b'd').count();
            assert_eq!(did, usize::from(!done), "{answers:?}");
            // It is told that it is the first if and only if nobody had begun.
            assert!(answers.iter().all(|&answer| answer == b'd' || (answer == b'1') != begun), "{answers:?} {begun}");
        },
    },
];

fn whole(stage: &Stage) -> u64 {
    let block = stage.board().value.load().unwrap();
    assert!(block.iter().all(|&part| part == block[0]), "{block:?}");
    block[0]
}

/// After a notification nobody is thought to wait.
fn cheap_again(stage: &Stage) {
    stage.board().event.notify_all();
    let word = stage.region.load_u32(std::mem::offset_of!(Board, event), SeqCst).unwrap();
    assert_eq!(word & 3, 0, "a killed one is waited for still");
}

/// Kills a victim after each instruction of what it does.
fn run(scenario: &Scenario, stage: &Stage) {
    let (mut killed, mut seen, started) = (0_u32, BTreeMap::<u64, u32>::new(), Instant::now());
    for instructions in 0.. {
        (scenario.prepare)(stage);
        let victim = Victim::start(|| {
            let me = join(&stage.region);
            // What a thread does once and never again is not repeated a thousand times here.
            drop(me.lock(&stage.board().warm, LONG).unwrap());
            let _ = stage.board().warm_event.wait(0, Duration::from_nanos(1));
            tracer::stand();
            (scenario.act)(&stage.region, &me);
            tracer::stand();
            std::mem::forget(me);
        });
        let others: u32 = 2;
        let mut ended = false;
        for _ in 0..instructions {
            match victim.step(|| (scenario.wake)(stage)) {
                State::Steps => {}
                State::Stands => {
                    ended = true;
                    break;
                }
                State::Ended(how) => panic!("the victim ended by itself: {how:?}"),
            }
        }
        // Slots are taken in order, and the helpers have the first two.
        let found = (scenario.before)(stage, others + 1);
        victim.kill();
        (scenario.after)(stage, found);
        killed += 1;
        *seen.entry(found.min(3)).or_default() += 1;
        if ended {
            break;
        }
    }
    println!(
        "{}, {}: killed {killed} times, states {seen:?}, none lost, {:?}",
        scenario.name,
        stage.region.backend(),
        started.elapsed()
    );
}

/// Kills a keeper after each instruction from `start` to the end of what it does there.
fn run_keeper(name: &str, stage: &Stage, leaves: bool) {
    let (mut killed, mut alive, started) = (0_u32, 0_u32, Instant::now());
    let single = std::mem::offset_of!(Board, single);
    let word = |at: usize| stage.region.load_u32(single + 16 + at, SeqCst).unwrap();
    for instructions in 0.. {
        let victim = Victim::start(|| {
            if !leaves {
                tracer::stand();
            }
            let me = Member::join(&stage.region, 0, |board: &Board| &board.single).unwrap();
            if leaves {
                tracer::stand();
            }
            drop(me);
            tracer::stand();
        });
        let before = (word(0), word(4), word(8));
        let keeper = if leaves { victim.seize(word(0)) } else { victim.thread_that_starts() };
        // What comes before the first write and after the last one is not the table's.
        let now = || (word(0), word(4), word(8));
        let mut ended = false;
        let moved = |keeper: &Victim| {
            while now() == before {
                match keeper.step(|| ()) {
                    State::Steps => {}
                    _ => return false,
                }
            }
            true
        };
        assert!(moved(&keeper), "the keeper did not come to the table");
        for _ in 0..instructions {
            if !matches!(keeper.step(|| ()), State::Steps) {
                ended = true;
                break;
            }
            // The last word that is written: the slot is taken, or left, and the claim says so.
            let (word, generation, claim) = now();
            if generation == claim && (word != 0) != leaves && generation != before.1.wrapping_sub(u32::from(leaves)) {
                ended = true;
            }
        }
        let lived = stage.board().single.iter().count();
        alive += lived as u32;
        keeper.kill();
        assert_eq!(stage.board().single.iter().count(), 0, "a dead one seems alive");
        // The slot is to be had, whatever was left there.
        stage.helpers[0].ask(b'j');
        assert_eq!(stage.helpers[0].answer(), b'j');
        killed += 1;
        if ended {
            break;
        }
    }
    println!("{name}: killed {killed} times, of these {alive} as a member, no slot lost, {:?}", started.elapsed());
}

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    if let Err(why) = tracer::allowed() {
        println!("skipped: ptrace is not allowed here: {why}");
        return;
    }
    tracer::set_up();
    let posix = Stage::on(AnyBackend::Posix);
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.name.contains(&wanted)) {
        run(scenario, &posix);
    }
    for (name, leaves) in [("join", false), ("leave", true)] {
        if name.contains(&wanted) {
            run_keeper(name, &posix, leaves);
        }
    }
    // The same instructions on memory of another kind: once more those that leave most behind.
    let sysv = Stage::on(AnyBackend::Sysv);
    for scenario in SCENARIOS.iter().filter(|scenario| ["lock and unlock", "update"].contains(&scenario.name)) {
        if scenario.name.contains(&wanted) {
            run(scenario, &sysv);
        }
    }
}
