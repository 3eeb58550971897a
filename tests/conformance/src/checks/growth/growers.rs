//! Z1: growers exclude each other.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::wait::WaitStatus;
use shared_region::{Backend, CreateOptions, ErrorKind, RegionName, SharedRegion, SharedRegionExt};

use crate::checks::grow::{can_grow, dirty_the_tail, facts};
use crate::support::child::{NOBODY, Second, eventually, fork_off, hear, is_root, role, rounds, say};
use crate::support::race::Race;
use crate::sut::{Fresh, Sut, bytes_of, create, name_in, open, open_read_only};

/// The race: in each round both racers grow a region by `STEP` bytes, one in a small and a large step, and each stores
/// into a part of what is new: the first bytes, which were the stale tail, and the last ones.
const START: usize = 5000;
const STEP: usize = 41_000;
const RACERS: usize = 2;
const PART: usize = 500;
const LAPS: usize = 120;

fn race_to_grow(region: &mut impl SharedRegion, racer: usize) {
    for round in 0..LAPS {
        let (old, new) = (START + round * STEP, START + (round + 1) * STEP);
        assert_eq!(region.len(), old);
        if round / 2 % RACERS == racer {
            dirty_the_tail(region);
        }
        Race::of(region).meet(RACERS as u32);
        let (len, start) = if round % RACERS == racer { (old + PART, old) } else { (new, new - PART) };
        region.grow(len).unwrap();
        let mut part = [1; PART];
        region.read_at(start, &mut part).unwrap();
        assert_eq!(part, [0; PART], "new bytes of round {round}");
        region.fill_at(start, PART, racer as u8 + 1).unwrap();
        region.grow(new).unwrap();
    }
    Race::of(region).count(0).fetch_add(1, SeqCst);
}

fn before_the_race<S: Sut>(name: &RegionName) -> <S::Backend as Backend>::Region {
    let region = create::<S>(name, START);
    region.fill_at(Race::SIZE, START - Race::SIZE, 0x77).unwrap();
    region
}

/// Watches until all racers are at the goal: the size only rises, and no byte that was stored is lost.
fn watch_the_race<S: Sut>(name: &RegionName) {
    let mut region = open::<S>(name);
    let mut size = START;
    let ended = eventually(|| {
        region.refresh().unwrap();
        assert!(region.len() >= size, "it shrank from {size} to {}", region.len());
        size = region.len();
        Race::of(&region).count(0).load(SeqCst) as usize == RACERS
    });
    assert!(ended, "the racers did not arrive");
    region.refresh().unwrap();
    assert_eq!(region.len(), START + LAPS * STEP);
    let bytes = bytes_of(&region);
    assert!(bytes[Race::SIZE..START].iter().all(|byte| *byte == 0x77));
    for (round, step) in bytes[START..].chunks(STEP).enumerate() {
        let [first, last] = [round, round + 1].map(|racer| (racer % RACERS) as u8 + 1);
        assert_eq!(step[..PART], [first; PART], "round {round}");
        assert!(step[PART..STEP - PART].iter().all(|byte| *byte == 0), "round {round}");
        assert_eq!(step[STEP - PART..], [last; PART], "round {round}");
    }
}

fn race_in_threads<S: Sut>(
    name: &RegionName,
    mut first: <S::Backend as Backend>::Region,
    mut second: <S::Backend as Backend>::Region,
) {
    thread::scope(|scope| {
        scope.spawn(|| race_to_grow(&mut first, 0));
        scope.spawn(|| race_to_grow(&mut second, 1));
        watch_the_race::<S>(name);
    });
}

/// Runs a race where sizes change, with a name of its own each time.
fn race_often<S: Sut>(race: impl Fn(&RegionName)) {
    if can_grow::<S>() {
        (0..rounds(1)).for_each(|_| race(&Fresh::<S>::new()));
    }
}

pub fn two_handles_racing_to_grow_lose_nothing<S: Sut>() {
    race_often::<S>(|name| {
        race_in_threads::<S>(name, before_the_race::<S>(name), open::<S>(name));
    });
}

pub fn two_clones_racing_to_grow_lose_nothing<S: Sut>() {
    race_often::<S>(|name| {
        let region = before_the_race::<S>(name);
        let clone = region.try_clone().unwrap();
        race_in_threads::<S>(name, region, clone);
    });
}

pub fn a_forked_child_and_its_parent_racing_to_grow_lose_nothing<S: Sut>() {
    race_often::<S>(|name| {
        drop(before_the_race::<S>(name));
        let forker = role::<S>("forks_a_grower").arg(name.as_str()).start();
        watch_the_race::<S>(name);
        forker.finish();
    });
}

pub fn forks_a_grower<S: Sut>(arguments: &[String]) {
    let mut region = open::<S>(&name_in(arguments, 0));
    let child = fork_off(|_| {
        race_to_grow(&mut region, 1);
        0
    });
    race_to_grow(&mut region, 0);
    assert!(matches!(child.wait(), WaitStatus::Exited(_, 0)));
}

pub fn two_processes_racing_to_grow_lose_nothing<S: Sut>() {
    race_often::<S>(|name| {
        drop(before_the_race::<S>(name));
        let growers = [0, 1].map(|racer| role::<S>("grower").arg(name.as_str()).arg(racer).start());
        watch_the_race::<S>(name);
        growers.into_iter().for_each(Second::finish);
    });
}

pub fn grower<S: Sut>(arguments: &[String]) {
    let racer = arguments[1].parse().unwrap();
    race_to_grow(&mut open::<S>(&name_in(arguments, 0)), racer);
}

/// Takes the lock of growers on the very description that a region and all that stems from it share.
fn lock_description_of(region: &impl SharedRegion, how: FlockArg) -> Flock<OwnedFd> {
    let descriptor = region.descriptor().unwrap().try_clone_to_owned().unwrap();
    Flock::lock(descriptor, how).map_err(|(_, errno)| errno).unwrap()
}

fn is_busy(region: &mut impl SharedRegion) {
    let (before, start) = (facts(region), Instant::now());
    let error = region.grow(100_000).unwrap_err();
    let waited = start.elapsed();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert_eq!(facts(region), before);
    assert!(waited >= Duration::from_millis(900), "gave up after {waited:?}");
    assert!(waited < Duration::from_secs(10), "gave up only after {waited:?}");
}

pub fn a_reader_that_keeps_the_lock_makes_growing_busy_and_nothing_changes<S: Sut>() {
    if !can_grow::<S>() {
        return;
    }
    let name = Fresh::<S>::new();
    let options = CreateOptions::new(5000).mode(0o644);
    let mut region = S::backend().create_new(&name, &options).unwrap();
    region.fill_at(0, 5000, 0x44).unwrap();
    let mut reader = role::<S>("keeps_the_lock").arg(name.as_str());
    if is_root() {
        reader = reader.as_user(NOBODY);
    }
    let mut reader = reader.start();
    assert_eq!(reader.hear(), "locked");
    is_busy(&mut region);
    reader.tell("enough");
    region.grow(100_000).unwrap(); // waits for the lock if need be
    assert_eq!(bytes_of(&region)[4999..5001], [0x44, 0]);
    reader.finish();
}

pub fn keeps_the_lock<S: Sut>(arguments: &[String]) {
    let region = open_read_only::<S>(&name_in(arguments, 0));
    let _lock = lock_description_of(&region, FlockArg::LockExclusive);
    say("locked");
    hear();
}

pub fn a_shared_lock_on_ones_own_descriptor_keeps_growers_out_too<S: Sut>() {
    if !can_grow::<S>() {
        return;
    }
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 5000);
    let mut clone = region.try_clone().unwrap();
    let lock = lock_description_of(&region, FlockArg::LockShared);
    is_busy(&mut clone);
    drop(lock);
    clone.grow(100_000).unwrap();
    drop(lock_description_of(&region, FlockArg::LockExclusiveNonblock)); // the grower has let go
}
