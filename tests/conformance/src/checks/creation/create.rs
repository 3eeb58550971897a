//! C1 to C7: creation.

use nix::libc::{self, rlim_t};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use shared_region::{
    Allocation, Backend, CreateOptions, Error, ErrorKind, HugePages, OpenOptions, RegionName, Result, SharedRegion,
    SharedRegionExt,
};

use crate::support::child::{NOBODY, is_root, role, say, skip};
use crate::support::trace::{self, Fate};
use crate::sut::{Fresh, NativeStat, Plant, Sut, bytes_of, create, name_in, open};

const SIZE: usize = 4096;

/// The kind of error that creating gives.
fn refusal<R>(result: Result<R>) -> ErrorKind {
    let error = result.map(drop).unwrap_err();
    error.kind()
}

/// What must stay as it is. Attachments come and go with every process that a neighbouring test forks.
fn facts<S: Sut>(
    name: &RegionName,
    region: &impl SharedRegion,
) -> (Option<Option<NativeStat>>, u64, u32, [u32; 2], Vec<u8>) {
    let known = region.metadata().unwrap();
    let owner = [known.uid(), known.gid()];
    (S::native_stat(name), known.size(), known.mode(), owner, bytes_of(region))
}

/// How many descriptors and shared mappings this process has. Means something where it does nothing else.
fn held() -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let shared = maps.lines().filter(|line| line.split(' ').nth(1).unwrap().ends_with('s'));
    (std::fs::read_dir("/proc/self/fd").unwrap().count(), shared.count())
}

pub fn create_new_twice_fails_with_already_exists<S: Sut>() {
    let name = Fresh::<S>::new();
    let first = create::<S>(&name, SIZE);
    first.write_at(0, b"first").unwrap();
    let before = facts::<S>(&name, &first);
    for size in [1, SIZE, 1 << 20] {
        let options = CreateOptions::new(size).mode(0o666);
        let error = S::backend().create_new(&name, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        let with = S::backend().create_with(&name, &options, |_| -> Result<()> { panic!("ran") });
        assert_eq!(refusal(with), ErrorKind::AlreadyExists);
    }
    assert_eq!(facts::<S>(&name, &first), before);
    assert_eq!(bytes_of(&first)[..5], *b"first");
    role::<S>("open_and_compare").arg(name.as_str()).arg("first").run();
}

pub fn open_and_compare<S: Sut>(arguments: &[String]) {
    let region = open::<S>(&RegionName::new(&arguments[0]).unwrap());
    assert_eq!(bytes_of(&region)[..arguments[1].len()], *arguments[1].as_bytes());
}

pub fn a_taken_name_is_told_before_a_lack_of_space<S: Sut>() {
    let name = Fresh::<S>::new();
    let _region = create::<S>(&name, SIZE);
    // More than any machine has.
    for size in [isize::MAX as usize / 2, isize::MAX as usize] {
        let taken = S::backend().create_new(&name, &CreateOptions::new(size));
        assert_eq!(refusal(taken), ErrorKind::AlreadyExists, "{size}");
    }
    match S::small_store(1 << 20) {
        Some(store) if is_root() => role::<S>("takes_names_in_a_full_store").confined(store).run(),
        Some(_) => skip::<S>("a private store takes root"),
        None => skip::<S>("there is no private store"),
    }
}

/// Creation in each way that takes memory.
fn taking_memory() -> [CreateOptions; 4] {
    let options = CreateOptions::new(SIZE);
    let lazily = options.clone().allocation(Allocation::Lazy).lock_memory(true);
    let tried = options.clone().huge_pages(HugePages::Try);
    [options.clone().allocation(Allocation::Prefault), options, lazily, tried]
}

pub fn a_taken_name_is_told_before_memory_is_taken<S: Sut>() {
    if !trace::works::<S>() {
        return;
    }
    let name = Fresh::<S>::new();
    let _region = create::<S>(&name, SIZE);
    let mut second = role::<S>("takes_a_taken_name").arg(name.as_str()).start();
    for options in taking_memory() {
        let seen = trace::follow(&mut second, "go", |_| Fate::Pass);
        assert_eq!((seen.end, second.hear().as_str()), (None, "taken"));
        let takes = [libc::SYS_fallocate, libc::SYS_mlock, libc::SYS_madvise];
        let taking: Vec<_> = seen.calls.iter().filter(|call| call.is(&takes)).collect();
        assert!(taking.is_empty(), "{options:?}: {taking:?}");
    }
    second.finish();
}

pub fn takes_a_taken_name<S: Sut>(arguments: &[String]) {
    let (backend, name) = (S::backend(), name_in(arguments, 0));
    for options in taking_memory() {
        let made = trace::act(|_| backend.create_new(&name, &options)).unwrap();
        assert_eq!(refusal(made), ErrorKind::AlreadyExists);
        say("taken");
    }
}

pub fn takes_names_in_a_full_store<S: Sut>(_: &[String]) {
    let (taken, free) = (Fresh::<S>::new(), Fresh::<S>::new());
    let region = create::<S>(&taken, (1 << 20) - SIZE);
    region.write_at(0, b"first").unwrap();
    for size in [2 * SIZE, 1 << 20, 1 << 30] {
        let options = CreateOptions::new(size);
        let kind = refusal(S::backend().create_new(&taken, &options));
        assert_eq!(kind, ErrorKind::AlreadyExists, "{size}");
        let kind = refusal(S::backend().create_new(&free, &options));
        assert_eq!(kind, ErrorKind::NoSpace, "{size}");
    }
    assert_eq!((region.len(), &bytes_of(&region)[..5]), ((1 << 20) - SIZE, &b"first"[..]));
}

pub fn a_taken_name_is_told_to_those_who_may_not_open_it<S: Sut>() {
    if !is_root() {
        return skip::<S>("another user takes root");
    }
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, SIZE);
    let before = facts::<S>(&name, &region);
    role::<S>("finds_the_name_taken").arg(name.as_str()).as_user(NOBODY).run();
    assert_eq!(facts::<S>(&name, &region), before);
}

pub fn finds_the_name_taken<S: Sut>(arguments: &[String]) {
    let name = RegionName::new(&arguments[0]).unwrap();
    for size in [1, SIZE, 1 << 20] {
        let taken = S::backend().create_new(&name, &CreateOptions::new(size));
        assert_eq!(refusal(taken), ErrorKind::AlreadyExists, "{size}");
    }
    let closed = S::backend().open(&name, &OpenOptions::new().read_only(true));
    assert_eq!(refusal(closed), ErrorKind::PermissionDenied);
}

pub fn a_name_taken_by_something_foreign_is_already_exists<S: Sut>() {
    let name = Fresh::<S>::new();
    for plant in Plant::FOREIGN {
        let Some(planted) = S::plant(plant, &name) else {
            skip::<S>(&format!("no {plant:?} can be planted"));
            continue;
        };
        for size in [1, 1 << 20] {
            let taken = S::backend().create_new(&name, &CreateOptions::new(size));
            assert_eq!(refusal(taken), ErrorKind::AlreadyExists, "{plant:?}");
        }
        if is_root() {
            role::<S>("finds_something_foreign").arg(name.as_str()).as_user(NOBODY).run();
        }
        assert!((planted.untouched)(), "{plant:?}");
    }
}

pub fn finds_something_foreign<S: Sut>(arguments: &[String]) {
    let name = RegionName::new(&arguments[0]).unwrap();
    let taken = S::backend().create_new(&name, &CreateOptions::new(SIZE));
    assert_eq!(refusal(taken), ErrorKind::AlreadyExists);
}

pub fn a_size_of_zero_or_over_isize_max_is_invalid_and_leaves_nothing<S: Sut>() {
    let (name, backend) = (Fresh::<S>::new(), S::backend());
    let refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::InvalidSize, "{error}");
        assert_eq!(error.raw_os_error(), None, "{error}");
    };
    for size in [0, isize::MAX as usize + 1, usize::MAX] {
        let options = CreateOptions::new(size);
        refused(backend.create_new(&name, &options).unwrap_err());
        refused(backend.create_with(&name, &options, |_| Ok(())).map(drop).unwrap_err());
        refused(backend.open_or_create(&name, &options).map(drop).unwrap_err());
        refused(backend.create_unnamed(&options).unwrap_err());
        refused(backend.create_unique("conf-", &options).unwrap_err());
        assert!(!backend.exists(&name).unwrap());
        assert_eq!(S::native_stat(&name).flatten(), None);
        // Before any system call: not even one that would find the name taken.
        let region = create::<S>(&name, 1);
        refused(backend.create_new(&name, &options).unwrap_err());
        refused(backend.open_or_create(&name, &options).map(drop).unwrap_err());
        region.remove().unwrap();
    }
}

pub fn a_new_region_reads_as_zeros<S: Sut>() {
    let name = Fresh::<S>::new();
    for allocation in [Allocation::Reserve, Allocation::Lazy, Allocation::Prefault] {
        for size in [1, 4095, 5000, 3 << 20] {
            let options = CreateOptions::new(size).allocation(allocation);
            let region = S::backend().create_new(&name, &options).unwrap();
            assert_eq!(bytes_of(&region), vec![0; size], "{allocation:?} {size}");
            // The next one of this name follows a dirty one, which some still have mapped.
            region.fill_at(0, size, 0xa5).unwrap();
            S::backend().remove(&name).unwrap();
            let next = create::<S>(&name, size);
            assert_eq!(bytes_of(&next), vec![0; size], "{allocation:?} {size}");
            assert_eq!(bytes_of(&region), vec![0xa5; size]);
            drop(region);
            S::backend().remove(&name).unwrap();
        }
    }
    let unnamed = S::backend().create_unnamed(&CreateOptions::new(5000)).unwrap();
    assert_eq!(bytes_of(&unnamed), vec![0; 5000]);
}

pub fn a_new_region_reads_as_zeros_after_a_failed_create<S: Sut>() {
    let name = Fresh::<S>::new();
    let options = CreateOptions::new(SIZE);
    let failed = S::backend().create_with(&name, &options, |region| {
        region.fill_at(0, SIZE, 0xa5)?;
        Err::<(), Box<dyn std::error::Error>>("changed my mind".into())
    });
    assert_eq!(failed.unwrap_err().to_string(), "changed my mind");
    assert_eq!(bytes_of(&create::<S>(&name, SIZE)), vec![0; SIZE]);
}

pub fn the_length_is_exactly_what_was_asked<S: Sut>() {
    let name = Fresh::<S>::new();
    for size in [1, 2, 7, 8, 4095, 4096, 4097, 5000, (1 << 20) + 1] {
        let region = create::<S>(&name, size);
        assert_eq!(region.len(), size);
        assert_eq!(region.metadata().unwrap().size(), size as u64);
        assert_eq!(open::<S>(&name).len(), size);
        assert_eq!(region.try_clone().unwrap().len(), size);
        match S::native_stat(&name) {
            Some(stat) => assert_eq!(stat.unwrap().size, size as u64),
            None => skip::<S>("the system cannot be asked"),
        }
        S::backend().remove(&name).unwrap();
        let unnamed = S::backend().create_unnamed(&CreateOptions::new(size)).unwrap();
        assert_eq!((unnamed.len(), unnamed.metadata().unwrap().size()), (size, size as u64));
    }
}

pub fn safe_access_never_reaches_the_tail_of_the_last_page<S: Sut>() {
    let name = Fresh::<S>::new();
    let (created, opened) = (create::<S>(&name, 5000), open::<S>(&name));
    for region in [&created, &opened] {
        let past = |offset, len| ErrorKind::OutOfBounds { offset, len, region_len: 5000 };
        for (offset, len) in [(5000, 1), (4999, 2), (4998, 3), (0, 5001), (5001, 0), (8191, 1)] {
            let mut bytes = vec![0x77; len];
            assert_eq!(refusal(region.read_at(offset, &mut bytes)), past(offset, len));
            assert_eq!(bytes, vec![0x77; len]);
            assert_eq!(refusal(region.write_at(offset, &bytes)), past(offset, len));
            assert_eq!(refusal(region.fill_at(offset, len, 1)), past(offset, len));
        }
        assert_eq!(refusal(region.atomic_u8(5000)), past(5000, 1));
        assert_eq!(refusal(region.atomic_u64(5000)), past(5000, 8));
        assert_eq!(refusal(region.load_u16(5000, std::sync::atomic::Ordering::Relaxed)), past(5000, 2));
        region.atomic_u64(4992).unwrap();
        region.write_at(4999, b"!").unwrap();
        region.write_at(5000, b"").unwrap();
    }
    let mut expected = vec![0; 5000];
    expected[4999] = b'!';
    assert_eq!(bytes_of(&created), expected);
}

pub fn the_asked_mode_is_the_resulting_mode_whatever_the_umask<S: Sut>() {
    for mask in ["0", "22", "77", "777"] {
        role::<S>("creates_under_a_umask").arg(mask).run();
        if is_root() {
            role::<S>("creates_under_a_umask").arg(mask).as_user(NOBODY).run();
        }
    }
}

pub fn creates_under_a_umask<S: Sut>(arguments: &[String]) {
    let mask = u32::from_str_radix(&arguments[0], 8).unwrap();
    umask(Mode::from_bits_truncate(mask as _));
    let name = Fresh::<S>::new();
    let check = |region: <S::Backend as Backend>::Region, mode: u32| {
        assert_eq!(region.metadata().unwrap().mode(), mode, "umask {mask:o}");
        if let Some(stat) = S::native_stat(&name) {
            assert_eq!(stat.unwrap().mode, mode, "umask {mask:o}");
        }
        S::backend().remove(&name).unwrap();
    };
    check(create::<S>(&name, SIZE), 0o600);
    for mode in [0o600, 0o640, 0o644, 0o660, 0o666, 0o700, 0o777] {
        let options = CreateOptions::new(SIZE).mode(mode);
        check(S::backend().create_new(&name, &options).unwrap(), mode);
        // While it is filled, too.
        let filled = S::backend().create_with(&name, &options, |region| {
            assert_eq!(region.metadata()?.mode(), mode, "umask {mask:o}");
            Ok::<(), shared_region::Error>(())
        });
        check(filled.unwrap(), mode);
        check(S::backend().open_or_create(&name, &options).unwrap().0, mode);
        let unnamed = S::backend().create_unnamed(&options).unwrap();
        assert_eq!(unnamed.metadata().unwrap().mode(), mode, "umask {mask:o}");
        let unique = S::backend().create_unique("conf-", &options).unwrap();
        let unique_mode = unique.metadata().unwrap().mode();
        unique.remove().unwrap();
        assert_eq!(unique_mode, mode, "umask {mask:o}");
    }
    assert_eq!(umask(Mode::empty()).bits() as u32, mask);
}

pub fn a_mode_that_keeps_its_creator_out_or_is_none_is_refused<S: Sut>() {
    role::<S>("asks_for_strange_modes").run();
    if is_root() {
        role::<S>("asks_for_strange_modes").as_user(NOBODY).run();
    }
}

pub fn asks_for_strange_modes<S: Sut>(_: &[String]) {
    let name = Fresh::<S>::new();
    for mode in [0, 0o400, 0o200, 0o444, 0o066, 0o177, 0o1600, 0o4700, 0o10600, u32::MAX] {
        let options = CreateOptions::new(SIZE).mode(mode);
        for kind in [
            refusal(S::backend().create_new(&name, &options)),
            refusal(S::backend().create_with(&name, &options, |_| Ok::<(), shared_region::Error>(()))),
            refusal(S::backend().open_or_create(&name, &options)),
            refusal(S::backend().create_unnamed(&options)),
            refusal(S::backend().create_unique("conf-", &options)),
        ] {
            assert_eq!(kind, ErrorKind::InvalidOptions, "{mode:o}");
        }
        assert!(!S::backend().exists(&name).unwrap(), "{mode:o}");
    }
    // What to do in its stead.
    let region = create::<S>(&name, SIZE);
    region.write_at(0, b"filled").unwrap();
    region.set_mode(0o444).unwrap();
    assert_eq!(region.metadata().unwrap().mode(), 0o444);
    let reader = S::backend().open(&name, &OpenOptions::new().read_only(true)).unwrap();
    assert_eq!(bytes_of(&reader)[..6], *b"filled");
    if !is_root() {
        let kind = refusal(S::backend().open(&name, &OpenOptions::new()));
        assert_eq!(kind, ErrorKind::PermissionDenied);
    }
}

pub fn a_failed_creation_leaves_nothing<S: Sut>() {
    role::<S>("fails_to_create").arg("address space").run();
    role::<S>("fails_to_create").arg("init").run();
    if !is_root() {
        return skip::<S>("a private store and another user take root");
    }
    role::<S>("fails_to_create").arg("lock").as_user(NOBODY).run();
    match S::small_store(1 << 20) {
        Some(store) => role::<S>("fails_to_create").arg("space").confined(store).run(),
        None => skip::<S>("there is no private store"),
    }
}

pub fn fails_to_create<S: Sut>(arguments: &[String]) {
    let name = Fresh::<S>::new();
    // A size that nobody else asks for at the same time.
    let mut options = CreateOptions::new((8 << 20) + std::process::id() as usize);
    let expected = match &arguments[0][..] {
        "space" => ErrorKind::NoSpace,
        "init" => ErrorKind::Busy,
        "lock" => {
            setrlimit(Resource::RLIMIT_MEMLOCK, SIZE as rlim_t, SIZE as rlim_t).unwrap();
            options = options.lock_memory(true);
            ErrorKind::LimitExceeded { limit: "RLIMIT_MEMLOCK", value: SIZE as u64 }
        }
        _ => {
            // More than this program has, and an object that is larger than that but that an address space could hold.
            let value = if usize::BITS == 64 { 1 << 40 } else { 512 << 20 };
            setrlimit(Resource::RLIMIT_AS, value as rlim_t, value as rlim_t).unwrap();
            options = CreateOptions::new(2 * value).allocation(Allocation::Lazy);
            ErrorKind::LimitExceeded { limit: "RLIMIT_AS", value: value as u64 }
        }
    };
    let init = |_: &<S::Backend as Backend>::Region| Err(shared_region::Error::new(expected));
    // The first failure may load what stays, such as a table of messages.
    for round in 0..3 {
        let before = held();
        assert_eq!(refusal(S::backend().create_with(&name, &options, init)), expected, "{round}");
        if expected != ErrorKind::Busy {
            assert_eq!(refusal(S::backend().create_new(&name, &options)), expected);
            assert_eq!(refusal(S::backend().create_unique("conf-", &options)), expected);
        }
        if round > 0 {
            assert_eq!(held(), before);
        }
        assert!(!S::backend().exists(&name).unwrap());
        assert_eq!(S::native_stat(&name).flatten(), None);
        let leftover = |size: u64| size == options.get_size() as u64;
        assert!(!S::backend().list().unwrap().iter().any(|entry| leftover(entry.metadata().size())));
    }
}
