//! A: access.

use std::fmt::Debug;
use std::sync::atomic::{
    AtomicI32, AtomicU8, AtomicU16, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
};
use std::thread;

use shared_region::{Access, ErrorKind, Result, SharedLayout, SharedRegion, SharedRegionExt};

use crate::support::child::{role, rounds};
use crate::support::race::Race;
use crate::sut::{Fresh, Sut, bytes_of, create, load_u64, name_in, open, open_read_only};

/// Words of 1, 2, 4 and 8 bytes, each aligned to itself and to no more.
const WORDS: [(usize, usize); 4] = [(67, 1), (130, 2), (196, 4), (264, 8)];

/// How often a racer acts in a row: it must not step aside between two words each time, or none would ever be seen torn.
const IN_A_ROW: usize = 100;

pub fn aligned_words_of_up_to_eight_bytes_never_tear<S: Sut>() {
    let name = Fresh::<S>::new();
    let (region, read_only) = (create::<S>(&name, 4096), open_read_only::<S>(&name));
    let race = Race::of(&region);
    let writer = role::<S>("words_writer").arg(name.as_str()).start();
    thread::scope(|scope| {
        scope.spawn(|| race.run(|| write_words(&region, race, 1)));
        let mut read = 0;
        race.run_until(|| {
            (0..IN_A_ROW).for_each(|_| compare_words(&region, &read_only));
            read += IN_A_ROW;
            read >= rounds(10_000) && both_wrote(race, rounds(10_000))
        });
    });
    writer.finish();
}

fn compare_words<R: SharedRegion>(region: &R, read_only: &R) {
    for (offset, len) in WORDS {
        for region in [region, read_only] {
            let mut word = [0; 8];
            region.read_at(offset, &mut word[..len]).unwrap();
            assert_eq!(word[..len], [word[0]; 8][..len], "{len} bytes");
        }
    }
    let word = load_u64(read_only, 264, Acquire).to_ne_bytes();
    assert_eq!(word, [word[0]; 8]);
}

pub fn words_writer<S: Sut>(arguments: &[String]) {
    let region = open::<S>(&name_in(arguments, 0));
    let race = Race::of(&region);
    race.run(|| write_words(&region, race, 0));
}

/// Fills each word with one byte, which is another each time.
fn write_words(region: &impl SharedRegion, race: &Race, writer: usize) {
    for _ in 0..IN_A_ROW {
        let round = race.count(writer).fetch_add(1, SeqCst);
        let byte = (round << 1) as u8 | writer as u8;
        for (offset, len) in WORDS {
            region.write_at(offset, &[byte; 8][..len]).unwrap();
        }
    }
}

fn both_wrote(race: &Race, times: usize) -> bool {
    [0, 1].iter().all(|writer| race.count(*writer).load(SeqCst) as usize >= times)
}

/// A long range at an odd place, and what two writers put there.
const RANGE: (usize, usize) = (Race::SIZE + 3, 5003);
const TEXTS: [u8; 2] = [0x5a, 0xc3];

fn text(which: usize) -> Vec<u8> {
    (0..RANGE.1).map(|at| TEXTS[which].wrapping_add(at as u8)).collect()
}

pub fn a_copy_sees_old_or_new_bytes_and_nothing_else<S: Sut>() {
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 8192);
    let race = Race::of(&region);
    let texts = [text(0), text(1)];
    region.write_at(RANGE.0, &texts[0]).unwrap();
    let writer = role::<S>("texts_writer").arg(name.as_str()).start();
    thread::scope(|scope| {
        scope.spawn(|| race.run(|| write_texts(&region, race, &texts, 1)));
        let (mut read, mut seen) = (0, vec![0; RANGE.1]);
        race.run_until(|| {
            region.read_at(RANGE.0, &mut seen).unwrap();
            for (at, byte) in seen.iter().enumerate() {
                assert!(*byte == texts[0][at] || *byte == texts[1][at], "{byte:#x} at {at}");
            }
            read += 1;
            read >= rounds(600) && both_wrote(race, rounds(300))
        });
    });
    writer.finish();
}

pub fn texts_writer<S: Sut>(arguments: &[String]) {
    let region = open::<S>(&name_in(arguments, 0));
    let (race, texts) = (Race::of(&region), [text(0), text(1)]);
    race.run(|| write_texts(&region, race, &texts, 0));
}

fn write_texts(region: &impl SharedRegion, race: &Race, texts: &[Vec<u8>; 2], writer: usize) {
    let round = race.count(writer).fetch_add(1, SeqCst) as usize;
    region.write_at(RANGE.0, &texts[(round + writer) % 2]).unwrap();
}

/// Every call that takes an offset and a length, as one that tells how it went.
fn ranges<R: SharedRegion>(region: &R, offset: usize, len: usize) -> [Result<()>; 4] {
    // A length that no buffer can have is left to the calls that need none.
    let buffer_len = if len > 1 << 20 { 0 } else { len };
    let mut buffer = vec![0xee; buffer_len];
    let read = region.read_at(offset, &mut buffer);
    assert!(read.is_ok() || buffer == vec![0xee; buffer_len], "a failed read wrote");
    let or_fill = |result: Result<()>| {
        if buffer_len == len { result } else { region.fill_at(offset, len, 0x55) }
    };
    [
        or_fill(read),
        or_fill(region.write_at(offset, &vec![0x55; buffer_len])),
        region.fill_at(offset, len, 0x55),
        region.slice_view::<AtomicU8>(offset, len).map(drop),
    ]
}

pub fn access_out_of_bounds_is_refused_and_copies_nothing<S: Sut>() {
    for region_len in [1, 5000, 8192] {
        let name = Fresh::<S>::new();
        let region = create::<S>(&name, region_len);
        region.fill_at(0, region_len, 7).unwrap();
        for (offset, len) in [
            (0, region_len + 1),
            (1, region_len),
            (region_len - 1, 2),
            (region_len, 1),
            (region_len + 1, 0),
            (region_len + 1, 1),
            (region_len, 8),
            (0, isize::MAX as usize),
            (1, usize::MAX),
            (region_len, usize::MAX),
            (usize::MAX, 1),
            (usize::MAX, 0),
            (usize::MAX, usize::MAX),
            (usize::MAX - 7, 8),
        ] {
            for result in ranges(&region, offset, len) {
                let kind = result.unwrap_err().kind();
                assert_eq!(kind, ErrorKind::OutOfBounds { offset, len, region_len });
            }
        }
        assert_eq!(bytes_of(&region), vec![7; region_len]);
    }
}

pub fn typed_access_out_of_bounds_is_refused<S: Sut>() {
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 5000);
    let read_only = open_read_only::<S>(&name);
    for offset in [4993, 4999, 5000, 5001, 5008, 8184, usize::MAX - 7, usize::MAX] {
        let kind = ErrorKind::OutOfBounds { offset, len: 8, region_len: 5000 };
        assert_eq!(region.atomic_u64(offset).unwrap_err().kind(), kind);
        assert_eq!(region.load_u64(offset, Relaxed).unwrap_err().kind(), kind);
        assert_eq!(read_only.load_u64(offset, Relaxed).unwrap_err().kind(), kind);
        assert_eq!(region.view::<[AtomicU16; 4]>(offset).unwrap_err().kind(), kind);
    }
    for (count, len) in [(626, 5008), (usize::MAX / 8 + 2, usize::MAX), (usize::MAX, usize::MAX)] {
        let error = region.slice_view::<AtomicU64>(0, count).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfBounds { offset: 0, len, region_len: 5000 });
    }
    assert_eq!(region.slice_view::<AtomicU64>(0, 625).unwrap().len(), 625);
}

pub fn access_of_no_bytes_at_the_end_is_fine<S: Sut>() {
    for region_len in [1, 5000, 8192] {
        let name = Fresh::<S>::new();
        let region = create::<S>(&name, region_len);
        for offset in [0, region_len] {
            for result in ranges(&region, offset, 0) {
                result.unwrap();
            }
        }
        assert_eq!(region.slice_view::<AtomicU64>(region_len & !7, 0).unwrap().len(), 0);
        assert_eq!(bytes_of(&region), vec![0; region_len]);
        let read_only = open_read_only::<S>(&name);
        read_only.read_at(region_len, &mut []).unwrap();
    }
}

#[derive(Debug)]
#[repr(C)]
struct Header {
    magic: AtomicU32,
    flags: [AtomicU8; 4],
    frames: AtomicU64,
    delta: AtomicI32,
    ports: [[AtomicU16; 2]; 3],
}

// SAFETY: atomic integers and arrays of them, any bits are valid, nobody reads the padding, and `repr(C)` fixes the
// layout.
unsafe impl SharedLayout for Header {}

pub fn a_struct_is_viewed_in_place_by_every_mapping<S: Sut>() {
    let name = Fresh::<S>::new();
    let (region, other) = (create::<S>(&name, 4096), open::<S>(&name));
    for offset in [0, 8, 4096 - size_of::<Header>()] {
        let (here, there) = (region.view(offset).unwrap(), other.view::<Header>(offset).unwrap());
        let Header { magic, flags, frames, delta, ports } = here;
        magic.store(0x5eed_cafe, Release);
        flags[3].store(0xa5, Relaxed);
        frames.store(u64::MAX - 5, Relaxed);
        delta.store(-7, Relaxed);
        ports[2][1].fetch_add(0x1234, SeqCst);
        assert_eq!(there.magic.load(Acquire), 0x5eed_cafe);
        assert_eq!(there.flags[3].load(Relaxed), 0xa5);
        assert_eq!(there.frames.load(Relaxed), u64::MAX - 5);
        assert_eq!(there.delta.load(Relaxed), -7);
        assert_eq!(there.ports[2][1].load(Relaxed), 0x1234);
        let mut bytes = [0; size_of::<Header>()];
        region.read_at(offset, &mut bytes).unwrap();
        assert_eq!(bytes[..8], [&0x5eed_cafe_u32.to_ne_bytes()[..], &[0, 0, 0, 0xa5]].concat());
        assert_eq!(bytes[8..16], (u64::MAX - 5).to_ne_bytes());
        assert_eq!(bytes[16..20], (-7_i32).to_ne_bytes());
        assert_eq!(bytes[30..32], 0x1234_u16.to_ne_bytes());
        region.fill_at(offset, bytes.len(), 0).unwrap();
    }
}

pub fn a_slice_of_atomics_is_the_bytes_that_copies_see<S: Sut>() {
    let name = Fresh::<S>::new();
    let (region, other) = (create::<S>(&name, 5000), open::<S>(&name));
    let words = region.slice_view::<AtomicU32>(4, 1249).unwrap();
    for (index, word) in words.iter().enumerate() {
        word.store(index as u32 ^ 0xdead_0000, Relaxed);
    }
    let expected = (0..1249).flat_map(|index| (index ^ 0xdead_0000_u32).to_ne_bytes());
    assert_eq!(bytes_of(&other), [0; 4].into_iter().chain(expected).collect::<Vec<u8>>());
    assert_eq!(other.atomic_u16(4998).unwrap().load(Relaxed).to_ne_bytes(), {
        let last = (1248 ^ 0xdead_0000_u32).to_ne_bytes();
        [last[2], last[3]]
    });
}

/// Asks for one type of atomic, and for its loads, at every offset of two words.
fn is_misaligned_where_it_should<T: Debug>(
    atomic: impl Fn(usize) -> Result<T>,
    load: impl Fn(usize) -> Result<()>,
    width: usize,
) {
    for offset in 0..16 {
        let (atomic, load) = (atomic(offset), load(offset));
        if offset % width == 0 {
            atomic.unwrap();
            load.unwrap();
        } else {
            assert_eq!(atomic.unwrap_err().kind(), ErrorKind::Misaligned, "{width} at {offset}");
            assert_eq!(load.unwrap_err().kind(), ErrorKind::Misaligned, "{width} at {offset}");
        }
    }
}

pub fn a_misaligned_reference_is_refused<S: Sut>() {
    let name = Fresh::<S>::new();
    let r = create::<S>(&name, 4096);
    is_misaligned_where_it_should(|at| r.atomic_u8(at), |at| r.load_u8(at, Relaxed).map(drop), 1);
    is_misaligned_where_it_should(|at| r.atomic_u16(at), |at| r.load_u16(at, Relaxed).map(drop), 2);
    is_misaligned_where_it_should(|at| r.atomic_u32(at), |at| r.load_u32(at, Relaxed).map(drop), 4);
    is_misaligned_where_it_should(|at| r.atomic_u64(at), |at| r.load_u64(at, Relaxed).map(drop), 8);
    let no_load = |at: usize| if at % 8 == 0 { Ok(()) } else { r.atomic_u64(at).map(drop) };
    is_misaligned_where_it_should(|at| r.view::<Header>(at), no_load, 8);
    is_misaligned_where_it_should(|at| r.slice_view::<AtomicU64>(at, 2), no_load, 8);
    is_misaligned_where_it_should(|at| r.slice_view::<AtomicU64>(at, 0), no_load, 8);
}

pub fn a_read_only_region_lends_nothing_that_can_store<S: Sut>() {
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 4096);
    region.fill_at(0, 4096, 0x11).unwrap();
    let read_only = open_read_only::<S>(&name);
    assert_eq!((region.access(), read_only.access()), (Access::ReadWrite, Access::ReadOnly));
    for result in [
        read_only.atomic_u8(1).map(drop),
        read_only.atomic_u16(2).map(drop),
        read_only.atomic_u32(4).map(drop),
        read_only.atomic_u64(8).map(drop),
        read_only.view::<Header>(0).map(drop),
        read_only.slice_view::<AtomicU8>(0, 16).map(drop),
        read_only.write_at(0, &[1]),
        read_only.write_at(5, &[1; 100]),
        read_only.fill_at(0, 4096, 1),
        read_only.as_mut_ptr().map(drop),
    ] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ReadOnly);
    }
    assert_eq!(bytes_of(&region), vec![0x11; 4096]);
}

pub fn loads_work_on_read_only_regions_in_every_ordering_of_a_load<S: Sut>() {
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 4096);
    region.atomic_u64(4088).unwrap().store(0x8877_6655_4433_2211, Relaxed);
    let bytes = 0x8877_6655_4433_2211_u64.to_ne_bytes();
    for region in [&region, &open_read_only::<S>(&name)] {
        for order in [Relaxed, Acquire, SeqCst] {
            assert_eq!(load_u64(region, 4088, order), 0x8877_6655_4433_2211);
            let word = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            assert_eq!(region.load_u32(4092, order).unwrap(), word);
            let word = u16::from_ne_bytes([bytes[6], bytes[7]]);
            assert_eq!(region.load_u16(4094, order).unwrap(), word);
            assert_eq!(region.load_u8(4095, order).unwrap(), bytes[7]);
        }
        for order in [Release, AcqRel] {
            for result in [
                region.load_u8(0, order).map(drop),
                region.load_u16(0, order).map(drop),
                region.load_u32(0, order).map(drop),
            ] {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidOptions);
            }
            if usize::BITS == 64 || region.access() == Access::ReadWrite {
                assert_eq!(region.load_u64(0, order).unwrap_err().kind(), ErrorKind::InvalidOptions);
            }
        }
    }
}

#[cfg(feature = "zerocopy")]
pub fn plain_values_are_copied_at_any_alignment<S: Sut>() {
    fn one<T>(region: &impl SharedRegion, value: T)
    where
        T: zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable + PartialEq + Debug,
    {
        let (size, len) = (size_of::<T>(), region.len());
        for offset in (0..16).chain(len - size - 16..=len - size) {
            region.fill_at(0, len, 0xbb).unwrap();
            region.write_value(offset, &value).unwrap();
            assert_eq!(region.read_value::<T>(offset).unwrap(), value);
            let bytes = bytes_of(region);
            assert_eq!(bytes[offset..offset + size], *value.as_bytes());
            let rest = [&bytes[..offset], &bytes[offset + size..]].concat();
            assert!(rest.iter().all(|byte| *byte == 0xbb), "{size} bytes at {offset} spilled");
        }
        for offset in [len - size + 1, len, len + 1, usize::MAX] {
            let kind = ErrorKind::OutOfBounds { offset, len: size, region_len: len };
            assert_eq!(region.write_value(offset, &value).unwrap_err().kind(), kind);
            assert_eq!(region.read_value::<T>(offset).unwrap_err().kind(), kind);
        }
    }
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 333);
    one(&region, 0x12_u8);
    one(&region, 0x1234_u16);
    one(&region, -0x1234_5678_i32);
    one(&region, 0x1234_5678_9abc_def0_u64);
    one(&region, 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10_u128);
    one(&region, -1.5_f64);
    one(&region, *b"seven b");
    one(&region, [0x1111_2222_u32, 3, 4, 5, 6]);
    let read_only = open_read_only::<S>(&name);
    region.write_value(3, &77_u64).unwrap();
    assert_eq!(read_only.read_value::<u64>(3).unwrap(), 77);
    assert_eq!(read_only.write_value(3, &78_u64).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(region.read_value::<u64>(3).unwrap(), 77);
}

#[cfg(not(feature = "zerocopy"))]
pub fn plain_values_are_copied_at_any_alignment<S: Sut>() {
    crate::support::child::skip::<S>("typed copies come with the feature zerocopy");
}
