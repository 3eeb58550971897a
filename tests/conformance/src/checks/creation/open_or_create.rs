//! C10: `open_or_create`, alone and in races.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use nix::sys::wait::WaitStatus;
use shared_region::{Backend, CreateOptions, ErrorKind, OpenOptions, RegionName, SharedRegion, SharedRegionExt};

use crate::support::child::{NOBODY, eventually, forked_all, is_root, role, rounds, skip};
use crate::support::race::Race;
use crate::sut::{Fresh, Sut, bytes_of, create, open};

const SIZE: usize = 4096;

/// The kind of error of a creation.
fn refusal<R>(result: shared_region::Result<R>) -> ErrorKind {
    let error = result.map(drop).unwrap_err();
    error.kind()
}

pub fn open_or_create_says_whether_it_created<S: Sut>() {
    let name = Fresh::<S>::new();
    let options = CreateOptions::new(5000).mode(0o640);
    let (first, created) = S::backend().open_or_create(&name, &options).unwrap();
    assert!(created);
    assert_eq!((first.len(), first.metadata().unwrap().mode()), (5000, 0o640));
    assert_eq!(bytes_of(&first), vec![0; 5000]);
    first.write_at(0, b"first").unwrap();

    // What exists keeps its bytes and its mode, and may be larger than asked.
    for size in [5000, 4999, 1] {
        let options = CreateOptions::new(size).mode(0o666);
        let (region, created) = S::backend().open_or_create(&name, &options).unwrap();
        assert!(!created);
        assert_eq!((region.len(), region.metadata().unwrap().mode()), (5000, 0o640));
        assert_eq!(bytes_of(&region)[..5], *b"first");
    }
    S::backend().remove(&name).unwrap();
    let (again, created) = S::backend().open_or_create(&name, &CreateOptions::new(1)).unwrap();
    assert!(created);
    assert_eq!(bytes_of(&again), [0]);
    assert_eq!(bytes_of(&first)[..5], *b"first");
}

pub fn open_or_create_refuses_what_is_smaller_than_asked<S: Sut>() {
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 5000);
    region.write_at(0, b"first").unwrap();
    for want in [5001, 8192, isize::MAX as usize / 2] {
        let kind = refusal(S::backend().open_or_create(&name, &CreateOptions::new(want)));
        assert_eq!(kind, ErrorKind::SizeMismatch { have: 5000, want });
    }
    assert_eq!((region.metadata().unwrap().size(), &bytes_of(&region)[..5]), (5000, &b"first"[..]));
}

/// Where `fs.protected_regular` is set, `O_CREAT` without `O_EXCL` is EACCES here, also for root.
pub fn open_or_create_opens_what_another_user_made_for_all<S: Sut>() {
    if !is_root() {
        return skip::<S>("another user takes root");
    }
    let name = Fresh::<S>::new();
    role::<S>("makes_a_region_for_all").arg(name.as_str()).as_user(NOBODY).run();
    let (region, created) = S::backend().open_or_create(&name, &CreateOptions::new(SIZE)).unwrap();
    assert!(!created);
    assert_eq!(region.metadata().unwrap().uid(), NOBODY);
    assert_eq!(bytes_of(&region)[..7], *b"for all");
}

pub fn makes_a_region_for_all<S: Sut>(arguments: &[String]) {
    let name = RegionName::new(&arguments[0]).unwrap();
    let options = CreateOptions::new(SIZE).mode(0o666);
    let (region, created) = S::backend().open_or_create(&name, &options).unwrap();
    assert!(created);
    region.write_at(0, b"for all").unwrap();
}

pub fn of_racing_creators_exactly_one_creates_each_object_and_no_write_is_lost<S: Sut>() {
    race::<S>("1");
}

pub fn racing_creators_keep_their_writes_though_each_of_them_removes<S: Sut>() {
    race::<S>("3");
}

/// Where the object that is raced for has its number, and how many writes it has seen.
const ID: usize = 0;
const WRITES: usize = 8;

/// Counters of the race: how many creations there were, how many removals, and how many calls used their retries up.
const CREATIONS: usize = 0;
const REMOVALS: usize = 1;
const BUSY: usize = 2;

/// How many times each of the three processes opens or creates, in one round and in all.
const TIMES: usize = 100;

fn all_times() -> usize {
    TIMES * rounds(5)
}

/// How many writes an object must have seen: behind the counters, by the object's number.
fn tally(control: &impl SharedRegion, id: u64) -> &AtomicU64 {
    control.atomic_u64(Race::SIZE + 8 * id as usize).unwrap()
}

/// Three processes race to open or create a name, and `removers` of them remove it at random.
fn race<S: Sut>(removers: &str) {
    let (name, place) = (Fresh::<S>::new(), Fresh::<S>::new());
    let control = create::<S>(&place, Race::SIZE + 8 * (3 * all_times() + 1));
    let racers: Vec<_> = (0..3)
        .map(|number| {
            let racer = role::<S>("races_to_create").arg(name.as_str()).arg(place.as_str());
            racer.arg(number).arg(removers).start()
        })
        .collect();
    for racer in racers {
        racer.finish();
    }
    let count = |index| Race::of(&control).count(index).load(SeqCst);
    if removers == "1" {
        compare::<S>(&name, count(CREATIONS), count(REMOVALS));
    }
    assert!(count(CREATIONS) > 20, "{} creations are no race", count(CREATIONS));
    assert!(count(CREATIONS) < 3 * all_times() as u32 - 20, "nobody opened");
    assert!(count(BUSY) < 10, "{} calls used their retries up", count(BUSY));
}

/// Compares how many objects were created with how many have been, when one process at a time removes.
fn compare<S: Sut>(name: &RegionName, creations: u32, removals: u32) {
    let objects = removals + u32::from(S::backend().exists(name).unwrap());
    if S::backend().capabilities().atomic_init() {
        assert_eq!(creations, objects);
    } else {
        // One can be removed before its creator has it mapped, who makes another then. How many are lost so is up to
        // the scheduler; that each call told the truth is seen by the numbers in the objects.
        assert!(creations <= objects, "{creations} creations of {objects} objects");
    }
}

pub fn races_to_create<S: Sut>(arguments: &[String]) {
    let name = RegionName::new(&arguments[0]).unwrap();
    let control = open::<S>(&RegionName::new(&arguments[1]).unwrap());
    let [number, removers]: [u64; 2] = [2, 3].map(|index| arguments[index].parse().unwrap());
    let race = Race::of(&control);
    let count = |index| race.count(index).fetch_add(1, SeqCst) + 1;
    let mut random = 0x9e37_79b9_7f4a_7c15 ^ (number + 1);
    for _ in 0..all_times() / TIMES {
        let mut mine = Vec::new();
        race.meet(3);
        for _ in 0..TIMES {
            let result = S::backend().open_or_create(&name, &CreateOptions::new(SIZE));
            let (region, created) = match result {
                Ok(opened) => opened,
                Err(error) if error.kind() == ErrorKind::Busy => {
                    count(BUSY);
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            // At once, so that a creator who zeroes the object now would take this away again.
            region.atomic_u64(WRITES).unwrap().fetch_add(1, SeqCst);
            let id = region.atomic_u64(ID).unwrap();
            if created {
                let own = u64::from(count(CREATIONS));
                let other = id.compare_exchange(0, own, SeqCst, SeqCst);
                assert_eq!(other, Ok(0), "two processes created one object");
            }
            assert!(eventually(|| id.load(SeqCst) != 0), "nobody created this object");
            let id = id.load(SeqCst);
            tally(&control, id).fetch_add(1, SeqCst);
            mine.push((region, id));

            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if number < removers && random % 3 == 0 {
                match S::backend().remove(&name) {
                    Ok(()) => _ = count(REMOVALS),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
                }
            }
        }
        race.meet(3);
        for (region, id) in &mine {
            let written = region.load_u64(WRITES, SeqCst).unwrap();
            assert_eq!(written, tally(&control, *id).load(SeqCst), "writes into object {id}");
        }
        race.meet(3);
        // An object that still stands has the same number and tally in the next round.
    }
}

pub fn open_or_create_never_fails_though_another_removes_all_the_time<S: Sut>() {
    let (name, place) = (Fresh::<S>::new(), Fresh::<S>::new());
    let control = create::<S>(&place, Race::SIZE);
    let race = Race::of(&control);
    let second = role::<S>("removes_all_the_time").arg(name.as_str()).arg(place.as_str()).start();
    race.meet(2);
    let (mut creations, mut calls) = (0, 0);
    race.run_until(|| {
        let result = S::backend().open_or_create(&name, &CreateOptions::new(SIZE));
        let (region, created) = result.unwrap();
        assert_eq!(region.len(), SIZE);
        // Nobody else creates: what was not made by this call is what the last creation made.
        let id = region.atomic_u64(ID).unwrap();
        if created {
            creations += 1;
            assert_eq!(id.swap(u64::from(creations), SeqCst), 0, "an object that had stood before was called new");
        } else {
            assert_eq!(id.load(SeqCst), u64::from(creations), "a new object was called an old one");
        }
        calls += 1;
        calls >= rounds(1000) && race.count(REMOVALS).load(SeqCst) as usize >= rounds(300)
    });
    second.finish();
    compare::<S>(&name, creations, race.count(REMOVALS).load(SeqCst));
}

pub fn removes_all_the_time<S: Sut>(arguments: &[String]) {
    let name = RegionName::new(&arguments[0]).unwrap();
    let control = open::<S>(&RegionName::new(&arguments[1]).unwrap());
    let race = Race::of(&control);
    race.meet(2);
    race.run(|| match S::backend().remove(&name) {
        Ok(()) => _ = race.count(REMOVALS).fetch_add(1, SeqCst),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
    });
}

/// Of which the store below holds one and not two.
const LARGE: usize = 1 << 20;

pub fn racing_creators_meet_in_a_store_that_holds_one_such_object_and_not_two<S: Sut>() {
    in_small_store::<S>("races_in_a_small_store");
}

pub fn a_lack_of_space_that_passes_is_waited_for_and_one_that_stays_is_told<S: Sut>() {
    in_small_store::<S>("waits_for_space");
}

fn in_small_store<S: Sut>(name: &str) {
    match S::small_store(LARGE as u64 * 3 / 2) {
        Some(store) if is_root() => role::<S>(name).confined(store).run(),
        Some(_) => skip::<S>("a private store takes root"),
        None => skip::<S>("there is no private store"),
    }
}

pub fn races_in_a_small_store<S: Sut>(_: &[String]) {
    const RACERS: u32 = 3;
    let name = Fresh::<S>::new();
    let control = S::backend().create_unnamed(&CreateOptions::new(Race::SIZE)).unwrap();
    let race = Race::of(&control);
    let ends = forked_all(RACERS as usize, |_| {
        for round in 0..rounds(60) {
            race.meet(RACERS);
            let result = S::backend().open_or_create(&name, &CreateOptions::new(LARGE));
            let (region, created) = result.unwrap();
            race.count(CREATIONS).fetch_add(u32::from(created), SeqCst);
            region.atomic_u64(WRITES).unwrap().fetch_add(1, SeqCst);
            race.meet(RACERS);
            assert_eq!(race.count(CREATIONS).load(SeqCst), round as u32 + 1);
            assert_eq!(region.load_u64(WRITES, SeqCst).unwrap(), RACERS.into());
            if created {
                S::backend().remove(&name).unwrap();
            }
            // The memory is free once nobody has it mapped.
            drop(region);
            race.meet(RACERS);
        }
        0
    });
    assert!(ends.iter().all(|end| matches!(end, WaitStatus::Exited(_, 0))), "{ends:?}");
}

pub fn waits_for_space<S: Sut>(_: &[String]) {
    let (name, other) = (Fresh::<S>::new(), Fresh::<S>::new());
    let options = CreateOptions::new(LARGE);
    drop(create::<S>(&other, LARGE));
    assert_eq!(refusal(S::backend().create_new(&name, &options)), ErrorKind::NoSpace);

    // It may be another process at the same creation, which takes no second.
    let start = Instant::now();
    assert_eq!(refusal(S::backend().open_or_create(&name, &options)), ErrorKind::NoSpace);
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(!S::backend().exists(&name).unwrap());

    let other: RegionName = *other;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Right whenever it comes; late enough to be waited for.
            std::thread::sleep(Duration::from_millis(100));
            S::backend().remove(&other).unwrap();
        });
        let (region, created) = S::backend().open_or_create(&name, &options).unwrap();
        assert!(created);
        assert_eq!(region.len(), LARGE);
    });

    // Nor is it a lack of space that keeps an opener out.
    let (region, created) = S::backend().open_or_create(&name, &options).unwrap();
    assert!(!created);
    assert_eq!(S::backend().open(&name, &OpenOptions::new()).unwrap().len(), region.len());
}
