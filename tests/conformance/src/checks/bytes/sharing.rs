//! A4 to A6: the same bytes in several processes and threads, and the same program on every backend.

use std::ops::Range;
use std::sync::atomic::{
    AtomicU8, AtomicU16, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Relaxed},
};
use std::thread;

use shared_region::{
    Backend, CreateOptions, OpenOptions, Removal, Result, SharedLayout, SharedRegion, SharedRegionExt,
};

use crate::support::child::{Second, fork_off, hear, role, rounds, say};
use crate::support::race::Race;
use crate::sut::{Fresh, Sut, bytes_of, create, load_u64, name_in, open};

const SHORT: [usize; 17] = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 4095, 4096, 4097];
const LONG: [usize; 3] = [(2 << 20) - 1, 2 << 20, (2 << 20) + 1];

/// Where ranges of all lengths lie, at all alignments to a cache line, with bytes between them that nobody writes.
fn ranges() -> Vec<Range<usize>> {
    let short = SHORT.iter().flat_map(|len| (0..64).map(move |at| (*len, at)));
    let long = LONG.iter().flat_map(|len| [0, 1, 7].map(move |at| (*len, at)));
    let mut end = 0;
    let place = |(len, alignment): (usize, usize)| {
        let start = (end + 1_usize).next_multiple_of(64) + alignment;
        end = start + len;
        start..end
    };
    short.chain(long).map(place).collect()
}

/// What a region looks like after one side has filled all ranges.
fn image(ranges: &[Range<usize>], seed: u64) -> Vec<u8> {
    let mut image = vec![0; ranges.last().unwrap().end + 5];
    let mut word = seed;
    for range in ranges {
        for chunk in image[range.clone()].chunks_mut(8) {
            word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            chunk.copy_from_slice(&(word ^ word >> 29).to_ne_bytes()[..chunk.len()]);
        }
    }
    image
}

fn write_image(region: &impl SharedRegion, ranges: &[Range<usize>], image: &[u8]) {
    for range in ranges {
        region.write_at(range.start, &image[range.clone()]).unwrap();
    }
}

fn compare_image(region: &impl SharedRegion, ranges: &[Range<usize>], image: &[u8]) {
    for range in ranges {
        let mut bytes = vec![0; range.len()];
        region.read_at(range.start, &mut bytes).unwrap();
        assert!(bytes == image[range.clone()], "{range:?} came out otherwise");
    }
    assert!(bytes_of(region) == image, "a byte between the ranges changed");
}

pub fn bytes_cross_to_another_process_and_back_exactly<S: Sut>() {
    let (name, ranges) = (Fresh::<S>::new(), ranges());
    let (first, second) = (image(&ranges, 1), image(&ranges, 2));
    let region = create::<S>(&name, first.len());
    write_image(&region, &ranges, &first);
    let mut other = role::<S>("answer_in_bytes").arg(name.as_str()).start();
    assert_eq!(other.hear(), "written");
    compare_image(&region, &ranges, &second);
    region.write_at(0, &first).unwrap(); // the whole length at once
    other.tell("whole");
    other.finish();
}

pub fn answer_in_bytes<S: Sut>(arguments: &[String]) {
    let (region, ranges) = (open::<S>(&name_in(arguments, 0)), ranges());
    let first = image(&ranges, 1);
    assert_eq!(region.len(), first.len());
    compare_image(&region, &ranges, &first);
    write_image(&region, &ranges, &image(&ranges, 2));
    say("written");
    assert_eq!(hear(), "whole");
    assert!(bytes_of(&region) == first);
}

pub fn fills_reach_exactly_their_range<S: Sut>() {
    let name = Fresh::<S>::new();
    let (region, other) = (create::<S>(&name, 12_345), open::<S>(&name));
    for (len, offset) in SHORT.iter().flat_map(|len| [0, 1, 7, 63].map(|at| (*len, at))) {
        region.fill_at(0, 12_345, 0x11).unwrap();
        region.fill_at(4096 + offset, len, 0xee).unwrap();
        let mut expected = vec![0x11; 12_345];
        expected[4096 + offset..4096 + offset + len].fill(0xee);
        assert!(bytes_of(&other) == expected, "{len} bytes at {offset}");
    }
}

#[derive(Debug)]
#[repr(C)]
struct Counters {
    wide: AtomicU64,
    word: AtomicU32,
    half: AtomicU16,
    byte: AtomicU8,
    exchanged: AtomicU64,
}

// SAFETY: atomic integers only, any bits are valid, nobody reads the padding, and `repr(C)` fixes the layout.
unsafe impl SharedLayout for Counters {}

const PROCESSES: usize = 3;
const THREADS: usize = 2;

/// Counts everything up, from several threads that share one region and start when those of all processes do.
fn hammer(region: &impl SharedRegion, times: usize) {
    let count = || {
        let counters: &Counters = region.view(Race::SIZE).unwrap();
        Race::of(region).meet((PROCESSES * THREADS) as u32);
        for _ in 0..times {
            counters.wide.fetch_add(0x1_0000_0001, Relaxed);
            region.atomic_u32(Race::SIZE + 8).unwrap().fetch_add(1, Relaxed);
            counters.half.fetch_add(1, Relaxed);
            counters.byte.fetch_add(1, Relaxed);
            let add = |value: u64| Some(value + 3);
            counters.exchanged.fetch_update(AcqRel, Relaxed, add).unwrap();
        }
    };
    thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(count))));
}

pub fn threads_and_processes_lose_no_update_of_an_atomic<S: Sut>() {
    let (name, times) = (Fresh::<S>::new(), rounds(40_000));
    let region = create::<S>(&name, 4096);
    let others = [(); PROCESSES - 1];
    let others = others.map(|()| role::<S>("hammerer").arg(name.as_str()).arg(times).start());
    hammer(&region, times);
    others.into_iter().for_each(Second::finish);
    let counters = region.view::<Counters>(Race::SIZE).unwrap();
    let total = times * THREADS * PROCESSES;
    assert_eq!(counters.wide.load(Relaxed), total as u64 * 0x1_0000_0001);
    assert_eq!(counters.word.load(Relaxed), total as u32);
    assert_eq!(counters.half.load(Relaxed), total as u16);
    assert_eq!(counters.byte.load(Relaxed), total as u8);
    assert_eq!(counters.exchanged.load(Relaxed), total as u64 * 3);
}

pub fn hammerer<S: Sut>(arguments: &[String]) {
    hammer(&open::<S>(&name_in(arguments, 0)), arguments[1].parse().unwrap());
}

pub fn a_forked_child_and_its_parent_lose_no_update_of_an_atomic<S: Sut>() {
    let (name, times) = (Fresh::<S>::new(), rounds(1_000_000));
    let region = create::<S>(&name, 4096);
    let count = || {
        let counter = region.atomic_u64(4088).unwrap();
        Race::of(&region).meet(2);
        for _ in 0..times {
            counter.fetch_add(1, Relaxed);
        }
    };
    let child = fork_off(|_| {
        count();
        0
    });
    count();
    assert!(matches!(child.wait(), nix::sys::wait::WaitStatus::Exited(_, 0)));
    assert_eq!(region.load_u64(4088, Relaxed).unwrap(), 2 * times as u64);
}

pub fn regions_move_between_threads<S: Sut>() {
    fn goes_anywhere<T: Send + Sync + 'static>(value: T) -> T {
        value
    }
    let name = Fresh::<S>::new();
    let region = goes_anywhere(create::<S>(&name, 100));
    let dropped_elsewhere = thread::spawn(move || {
        region.write_at(0, b"there").unwrap();
        let boxed: Box<dyn SharedRegion> = goes_anywhere(Box::new(region));
        thread::spawn(move || boxed.write_at(5, b" and back").unwrap())
    });
    dropped_elsewhere.join().unwrap().join().unwrap();
    assert_eq!(bytes_of(&open::<S>(&name))[..14], *b"there and back");
}

/// A program that knows no backend, and what it found out.
fn program<B: Backend>(backend: &B, name: &shared_region::RegionName) -> Result<Vec<String>> {
    let options = CreateOptions::new(5000).mode(0o640).removal(Removal::OnDrop);
    let mut found = Vec::new();
    let (region, created) = backend.open_or_create(name, &options)?;
    region.write_at(4990, b"the same")?;
    region.atomic_u64(8)?.fetch_add(41, Relaxed);
    let other = backend.open(name, &OpenOptions::new().read_only(true).min_size(5000))?;
    let mut bytes = [0; 8];
    other.read_at(4990, &mut bytes)?;
    found.push(format!("{created} {} {:?} {:?}", other.len(), other.access(), bytes));
    found.push(format!("{}", load_u64(&other, 8, Relaxed)));
    let metadata = other.metadata()?;
    found.push(format!("{} {:o} {}", metadata.size(), metadata.mode(), metadata.is_removed()));
    found.push(format!("{:?}", backend.create_new(name, &options).unwrap_err().kind()));
    found.push(format!("{:?}", other.write_at(0, &[1]).unwrap_err().kind()));
    found.push(format!("{:?}", region.read_at(4993, &mut bytes).unwrap_err().kind()));
    found.push(format!("{:?}", backend.exists(name)?));
    drop(region);
    found.push(format!("{:?} {}", backend.exists(name)?, other.metadata()?.is_removed()));
    found.push(format!("{:?}", backend.open(name, &OpenOptions::new()).unwrap_err().kind()));
    Ok(found)
}

const FOUND: [&str; 9] = [
    "true 5000 ReadOnly [116, 104, 101, 32, 115, 97, 109, 101]",
    "41",
    "5000 640 false",
    "AlreadyExists",
    "ReadOnly",
    "OutOfBounds { offset: 4993, len: 8, region_len: 5000 }",
    "true",
    "false true",
    "NotFound",
];

pub fn the_same_program_runs_on_a_backend_chosen_by_type<S: Sut>() {
    assert_eq!(program(&S::backend(), &Fresh::<S>::new()).unwrap(), FOUND);
}

#[cfg(any(feature = "posix", feature = "sysv"))]
pub fn the_same_program_runs_on_a_backend_chosen_at_run_time_or_by_feature<S: Sut>() {
    use shared_region::{AnyBackend, DefaultBackend, Region};

    let name = Fresh::<S>::new();
    assert_eq!(program(&DefaultBackend, &name).unwrap(), FOUND);
    let by_feature: Region = DefaultBackend.create_unnamed(&CreateOptions::new(8)).unwrap();
    assert_eq!(by_feature.backend(), AnyBackend::default().name());
    let Ok(any) = S::backend().name().parse::<AnyBackend>() else {
        return crate::support::child::skip::<S>("a run-time choice knows the crate's own backends");
    };
    assert_eq!(program(&any, &name).unwrap(), FOUND);
    // Who chose by type and who chose at run time meet.
    let region = create::<S>(&name, 4096);
    region.write_at(0, b"by type").unwrap();
    let same = any.open(&name, &OpenOptions::new()).unwrap();
    assert_eq!(bytes_of(&same)[..7], *b"by type");
    assert_eq!((same.backend(), same.id()), (region.backend(), region.id()));
}

#[cfg(not(any(feature = "posix", feature = "sysv")))]
pub fn the_same_program_runs_on_a_backend_chosen_at_run_time_or_by_feature<S: Sut>() {
    crate::support::child::skip::<S>("this build has no backend to choose");
}
