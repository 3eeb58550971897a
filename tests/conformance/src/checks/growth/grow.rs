//! Z: size changes.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{SysconfVar, sysconf};
use shared_region::{Access, Backend, CreateOptions, ErrorKind, Metadata, SharedRegion, SharedRegionExt};

use crate::support::child::{NOBODY, hear, is_root, role, say, skip};
use crate::sut::{Fresh, Sut, bytes_of, create, name_in, open, open_read_only};

pub(super) fn can_grow<S: Sut>() -> bool {
    let can = S::backend().capabilities().grow();
    if !can {
        skip::<S>("sizes are fixed");
    }
    can
}

/// All there is to know about a region and its object, times apart.
pub(super) fn facts(region: &impl SharedRegion) -> (*const u8, Vec<u8>, u64, Option<u64>, Metadata) {
    let metadata = region.metadata().unwrap();
    let timeless = Metadata::new(metadata.size(), metadata.mode(), metadata.uid(), metadata.gid());
    (region.as_ptr(), bytes_of(region), metadata.size(), metadata.allocated(), timeless)
}

pub fn grow_is_unsupported_where_the_capability_is_missing<S: Sut>() {
    if S::backend().capabilities().grow() {
        return;
    }
    let name = Fresh::<S>::new();
    let mut region = create::<S>(&name, 5000);
    let before = facts(&region);
    for len in [1, 5000, 5001, 1 << 20] {
        let error = region.grow(len).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let told = (error.get_operation(), error.get_backend(), error.raw_os_error());
        assert_eq!(told, ("grow", Some(S::backend().name()), None));
        assert_eq!(facts(&region), before);
    }
}

pub fn grow_keeps_old_bytes_and_adds_zeros_that_are_reserved<S: Sut>() {
    if !can_grow::<S>() {
        return;
    }
    let name = Fresh::<S>::new();
    let mut region = create::<S>(&name, 5000);
    let mut expected = vec![0x77; 5000];
    region.write_at(0, &expected).unwrap();
    for len in [5001, 8191, 8192, 8193, 12_288, 3 << 20, (3 << 20) + 1, 20 << 20] {
        region.grow(len).unwrap();
        assert_eq!(region.len(), len);
        let grown_from = expected.len();
        expected.resize(len, 0);
        assert!(bytes_of(&region) == expected, "{len}");
        expected[grown_from..].fill(0x55);
        region.write_at(grown_from, &expected[grown_from..]).unwrap();
        let metadata = region.metadata().unwrap();
        assert_eq!(metadata.size(), len as u64);
        assert_ne!(metadata.is_reserved(), Some(false), "{metadata:?}");
        if let Some(stat) = S::native_stat(&name) {
            assert_eq!(stat.unwrap().size, len as u64);
        }
    }
    assert!(bytes_of(&open::<S>(&name)) == expected);
}

pub fn new_memory_is_reserved_before_anybody_touches_it<S: Sut>() {
    if !can_grow::<S>() {
        return;
    }
    let name = Fresh::<S>::new();
    let mut region = create::<S>(&name, 5000);
    region.grow(5 << 20).unwrap();
    assert!(region.metadata().unwrap().allocated().is_none_or(|bytes| bytes >= 5 << 20));
}

pub fn grow_never_shrinks<S: Sut>() {
    if !can_grow::<S>() {
        return;
    }
    let name = Fresh::<S>::new();
    let (mut region, mut other) = (create::<S>(&name, 5000), open::<S>(&name));
    region.fill_at(0, 5000, 0x33).unwrap();
    let before = facts(&region);
    for len in [1, 4096, 4999, 5000] {
        region.grow(len).unwrap();
        assert_eq!(facts(&region), before, "{len}");
    }
    other.grow(9000).unwrap();
    region.grow(6000).unwrap(); // as long already: adapts to the size that the object has
    assert_eq!((region.len(), region.metadata().unwrap().size()), (9000, 9000));
}

pub fn grow_to_a_size_that_no_region_has_is_invalid<S: Sut>() {
    if !can_grow::<S>() {
        return;
    }
    let name = Fresh::<S>::new();
    let mut region = create::<S>(&name, 5000);
    let before = facts(&region);
    for len in [0, isize::MAX as usize + 1, usize::MAX] {
        assert_eq!(region.grow(len).unwrap_err().kind(), ErrorKind::InvalidSize, "{len}");
        assert_eq!(facts(&region), before);
    }
}

pub fn grow_of_a_read_only_region_is_read_only<S: Sut>() {
    if !can_grow::<S>() {
        return;
    }
    let name = Fresh::<S>::new();
    drop(create::<S>(&name, 5000));
    let mut region = open_read_only::<S>(&name);
    let before = facts(&region);
    for len in [4096, 5000, 10_000] {
        assert_eq!(region.grow(len).unwrap_err().kind(), ErrorKind::ReadOnly);
        assert_eq!(facts(&region), before);
    }
}

pub fn unnamed_removed_and_cloned_regions_grow_too<S: Sut>() {
    if !can_grow::<S>() {
        return;
    }
    let mut unnamed = S::backend().create_unnamed(&CreateOptions::new(100)).unwrap();
    let name = Fresh::<S>::new();
    let mut removed = create::<S>(&name, 100);
    removed.remove().unwrap();
    for region in [&mut unnamed, &mut removed] {
        let mut clone = region.try_clone().unwrap();
        region.write_at(95, b"value").unwrap();
        clone.grow(10_000).unwrap();
        assert_eq!((clone.len(), region.len()), (10_000, 100));
        assert_eq!(bytes_of(&clone)[95..102], *b"value\0\0");
        clone.write_at(9995, b"grown").unwrap();
        region.refresh().unwrap();
        assert_eq!(bytes_of(region)[9995..], *b"grown");
    }
}

/// Stores past the end of a region, in its last page, as any process can that has it mapped.
pub(super) fn dirty_the_tail(region: &impl SharedRegion) {
    let page = sysconf(SysconfVar::PAGE_SIZE).unwrap().unwrap() as usize;
    let (start, len) = (region.as_mut_ptr().unwrap(), region.len());
    // SAFETY: `len` bytes are mapped from `start` on.
    let tail = unsafe { start.add(len) };
    // SAFETY: a mapping reaches to the end of its last page, and no reference to these bytes exists; mmap(2).
    unsafe { tail.write_bytes(0xff, len.next_multiple_of(page) - len) };
}

pub fn what_was_stored_past_the_end_does_not_show_up<S: Sut>() {
    if !can_grow::<S>() {
        return;
    }
    for (from, to) in [(1, 2), (5000, 6000), (5000, 8192), (8191, 20_000)] {
        let name = Fresh::<S>::new();
        let (mut region, mut other) = (create::<S>(&name, from), open::<S>(&name));
        region.fill_at(0, from, 0x77).unwrap();
        dirty_the_tail(&region);
        region.grow(to).unwrap();
        let mut expected = vec![0x77; from];
        expected.resize(to, 0);
        assert!(bytes_of(&region) == expected, "{from} to {to}");
        other.refresh().unwrap();
        assert!(bytes_of(&other) == expected, "{from} to {to}");
    }
}

pub fn who_moves_no_size_clears_nothing<S: Sut>() {
    if !can_grow::<S>() {
        return;
    }
    let name = Fresh::<S>::new();
    let (mut first, mut second) = (create::<S>(&name, 5000), open::<S>(&name));
    let mut clone = first.try_clone().unwrap();
    first.grow(6000).unwrap();
    first.fill_at(5000, 1000, 0x66).unwrap();
    second.grow(6000).unwrap();
    clone.grow(5500).unwrap();
    for region in [&first, &second, &clone] {
        assert_eq!(region.len(), 6000);
        assert_eq!(bytes_of(region)[5000..], [0x66; 1000]);
    }
}

pub fn a_full_store_is_no_space_and_leaves_object_and_mapping_as_before<S: Sut>() {
    if !can_grow::<S>() {
        return;
    }
    match S::small_store(1 << 20).filter(|_| is_root()) {
        Some(store) => role::<S>("grows_in_a_small_store").confined(store).run(),
        None => skip::<S>("no private store can be made here"),
    }
}

pub fn grows_in_a_small_store<S: Sut>(_: &[String]) {
    let (name, filler) = (Fresh::<S>::new(), Fresh::<S>::new());
    let mut region = create::<S>(&name, 300_001);
    let mut other = open::<S>(&name);
    region.fill_at(0, 300_001, 0x77).unwrap();
    let before = facts(&region);
    for len in [2 << 20, 10 << 20, 100 << 20] {
        let error = region.grow(len).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
        assert_eq!(facts(&region), before);
        other.refresh().unwrap();
        assert_eq!(other.len(), 300_001);
        drop(create::<S>(&filler, 600_000)); // the rest of the store is free still
        S::backend().remove(&filler).unwrap();
    }
    region.grow(900_000).unwrap();
    assert_eq!(bytes_of(&region)[300_000..300_002], [0x77, 0]);
    assert_ne!(region.metadata().unwrap().is_reserved(), Some(false));
}

pub fn a_limit_that_growing_hits_leaves_object_and_mapping_as_before<S: Sut>() {
    if can_grow::<S>() {
        role::<S>("grows_over_limits").run();
    }
}

pub fn grows_over_limits<S: Sut>(_: &[String]) {
    let name = Fresh::<S>::new();
    let mut region = create::<S>(&name, 5000);
    region.fill_at(0, 5000, 0x77).unwrap();
    let before = facts(&region);
    // A file that may not be so long, and an address space that has no such gap.
    for (limit, resource, value, len) in [
        ("RLIMIT_FSIZE", Resource::RLIMIT_FSIZE, 1 << 20, 2 << 20),
        ("RLIMIT_AS", Resource::RLIMIT_AS, 256 << 20, 256 << 20),
    ] {
        let (soft, hard) = getrlimit(resource).unwrap();
        setrlimit(resource, value, hard).unwrap();
        let error = region.grow(len).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded { limit, value: value as _ }, "{error}");
        setrlimit(resource, soft, hard).unwrap();
        assert_eq!(facts(&region), before, "{limit}");
    }
    region.grow(2 << 20).unwrap();
}

pub fn who_may_not_read_the_object_any_more_may_not_grow_it<S: Sut>() {
    if !can_grow::<S>() {
        return;
    }
    if !is_root() {
        return skip::<S>("it takes a second user");
    }
    let name = Fresh::<S>::new();
    let options = CreateOptions::new(5000).mode(0o666);
    let region = S::backend().create_new(&name, &options).unwrap();
    let mut other = role::<S>("grows_when_told").arg(name.as_str()).as_user(NOBODY).start();
    assert_eq!(other.hear(), "opened");
    region.set_mode(0o600).unwrap();
    other.tell("grow");
    other.finish();
}

pub fn grows_when_told<S: Sut>(arguments: &[String]) {
    let mut region = open::<S>(&name_in(arguments, 0));
    say("opened");
    assert_eq!(hear(), "grow");
    let before = facts(&region);
    let error = region.grow(10_000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert_eq!(facts(&region), before);
}

pub fn a_peer_sees_growth_after_a_refresh_and_not_before<S: Sut>() {
    if !can_grow::<S>() {
        return;
    }
    let name = Fresh::<S>::new();
    let mut region = create::<S>(&name, 5000);
    region.write_at(0, b"kept").unwrap();
    let mut peer = role::<S>("refreshes").arg(name.as_str()).start();
    assert_eq!(peer.hear(), "opened");
    region.grow(50_000).unwrap();
    region.write_at(49_995, b"grown").unwrap();
    peer.tell("grown");
    peer.finish();
    assert_eq!(bytes_of(&region)[49_000..49_005], *b"reply");
}

pub fn refreshes<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let handles = [open::<S>(&name), open_read_only::<S>(&name)];
    say("opened");
    assert_eq!(hear(), "grown");
    for mut region in handles {
        let access = region.access();
        assert_eq!((region.len(), region.metadata().unwrap().size()), (5000, 50_000));
        let kind = ErrorKind::OutOfBounds { offset: 4999, len: 2, region_len: 5000 };
        assert_eq!(region.read_at(4999, &mut [0; 2]).unwrap_err().kind(), kind);
        region.refresh().unwrap();
        assert_eq!((region.len(), region.access()), (50_000, access));
        let bytes = bytes_of(&region);
        assert_eq!((&bytes[..4], &bytes[49_995..]), (&b"kept"[..], &b"grown"[..]));
        let written = region.write_at(49_000, b"reply");
        assert_eq!(written.is_ok(), access == Access::ReadWrite);
    }
}

pub fn a_refresh_without_growth_changes_nothing<S: Sut>() {
    let name = Fresh::<S>::new();
    let mut region = create::<S>(&name, 5000);
    region.fill_at(0, 5000, 0x22).unwrap();
    for mut region in [region.try_clone().unwrap(), open_read_only::<S>(&name)] {
        let before = facts(&region);
        region.refresh().unwrap();
        assert_eq!(facts(&region), before);
    }
    region.remove().unwrap();
    let before = facts(&region);
    region.refresh().unwrap();
    assert_eq!(facts(&region), before);
}
