//! S7, S8: huge pages. What a mapping got is read from `/proc/self/smaps`.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use shared_region::{
    Allocation, Backend, CreateOptions, Error, ErrorKind, HugePages, RegionName, SharedRegion, SharedRegionExt,
};

use crate::support::child::{NOBODY, is_root, role, skip};
use crate::sut::{Fresh, Sut, bytes_of, open};

const HUGE: usize = 2 << 20;
const SIZE: usize = 5000;

fn tried(size: usize) -> CreateOptions {
    CreateOptions::new(size).huge_pages(HugePages::Try)
}

fn required(size: usize) -> CreateOptions {
    CreateOptions::new(size).huge_pages(HugePages::Require)
}

/// What smaps says of the mapping at `start`, in KiB.
fn smaps(start: *const u8, fact: &str) -> u64 {
    let all = fs::read_to_string("/proc/self/smaps").unwrap();
    let head = format!("{:x}-", start.addr());
    let own = all.lines().skip_while(|line| !line.starts_with(&head));
    let value = own.skip(1).find_map(|line| line.strip_prefix(fact)?.strip_prefix(':')).unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}

/// How many huge pages nobody has, nor has a right to.
fn free_huge_pages() -> u64 {
    let all = fs::read_to_string("/proc/meminfo").unwrap();
    let count = |fact| all.lines().find_map(|line| line.strip_prefix(fact)?.trim().parse::<u64>().ok()).unwrap_or(0);
    count("HugePages_Free:").saturating_sub(count("HugePages_Rsvd:"))
}

/// Checks that a refusal of explicit huge pages says what is lacking.
#[track_caller]
fn assert_says_what_is_lacking(error: &Error) {
    let (kind, errno) = (error.kind(), error.raw_os_error().map(Errno::from_raw));
    let told = match kind {
        ErrorKind::NoSpace => {
            assert!(matches!(errno, Some(Errno::ENOMEM | Errno::ENOSPC)), "{error}");
            "vm.nr_hugepages"
        }
        ErrorKind::PermissionDenied => {
            assert_eq!(errno, Some(Errno::EPERM), "{error}");
            "vm.hugetlb_shm_group"
        }
        _ => "no huge pages",
    };
    assert!(matches!(kind, ErrorKind::NoSpace | ErrorKind::PermissionDenied | ErrorKind::Unsupported), "{error}");
    assert!(error.to_string().contains(told), "{error}");
}

/// Checks a region of explicit huge pages.
fn assert_huge(region: &impl SharedRegion, size: usize) {
    assert_eq!(region.len(), size);
    assert!(smaps(region.as_ptr(), "KernelPageSize") > 4);
    assert!(bytes_of(region).iter().all(|&byte| byte == 0));
    region.write_at(size - 3, b"end").unwrap();
    let clone = region.try_clone_boxed().unwrap();
    assert_eq!(bytes_of(&clone)[size - 3..], *b"end");
}

pub fn huge_pages_that_are_required_are_had_or_refused<S: Sut>() {
    let name = Fresh::<S>::new();
    let backend = S::backend();
    let can = backend.capabilities().huge_pages();
    for allocation in [Allocation::Reserve, Allocation::Lazy, Allocation::Prefault] {
        match backend.create_new(&name, &required(SIZE).allocation(allocation)) {
            Ok(region) => {
                assert!(can);
                assert_huge(&region, SIZE);
                assert_eq!(open::<S>(&name).len(), SIZE);
                region.remove().unwrap();
            }
            Err(error) if can => {
                assert_says_what_is_lacking(&error);
                skip::<S>(&error.to_string());
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                assert!(error.to_string().contains("huge"), "{error}");
            }
        }
        assert!(!backend.exists(&name).unwrap());
    }
}

pub fn more_huge_pages_than_there_are_is_no_space<S: Sut>() {
    let name = Fresh::<S>::new();
    let backend = S::backend();
    if !backend.capabilities().huge_pages() {
        return skip::<S>("it has no explicit huge pages");
    }
    // Others may free some meanwhile, but not so many.
    let Some(size) = (free_huge_pages() as usize + 4096).checked_mul(HUGE) else {
        return skip::<S>("an address space has no room for more");
    };
    let allocations = [Allocation::Reserve, Allocation::Lazy, Allocation::Prefault];
    for options in allocations.map(|allocation| required(size).allocation(allocation)) {
        let error = backend.create_new(&name, &options).unwrap_err();
        assert_says_what_is_lacking(&error);
        assert!(!backend.exists(&name).unwrap());
        // Who only tries gets another kind of pages.
        let region = backend.create_new(&name, &options.huge_pages(HugePages::Try).allocation(Allocation::Lazy));
        let region = region.unwrap();
        region.write_at(size - 1, b"1").unwrap();
        assert_eq!(smaps(region.as_ptr(), "KernelPageSize"), 4);
        region.remove().unwrap();
    }
}

pub fn another_user_needs_leave_for_explicit_huge_pages<S: Sut>() {
    if !S::backend().capabilities().huge_pages() {
        return skip::<S>("it has no explicit huge pages");
    }
    if !is_root() {
        return skip::<S>("needs root, to become another user");
    }
    role::<S>("asks_for_huge_pages").arg(Fresh::<S>::new()).as_user(NOBODY).run();
}

pub fn asks_for_huge_pages<S: Sut>(arguments: &[String]) {
    let name = Fresh::<S>::named(RegionName::new(&arguments[0]).unwrap());
    let group = fs::read_to_string("/proc/sys/vm/hugetlb_shm_group").unwrap();
    match S::backend().create_new(&name, &required(SIZE)) {
        Ok(region) => {
            assert_eq!(group.trim(), NOBODY.to_string());
            assert_huge(&region, SIZE);
        }
        Err(error) => {
            assert_says_what_is_lacking(&error);
            assert_eq!(error.kind() == ErrorKind::PermissionDenied, group.trim() != NOBODY.to_string(), "{error}");
        }
    }
    // Who only tries needs none.
    drop(S::backend().open_or_create(&name, &tried(SIZE)).unwrap());
}

pub fn an_unnamed_region_of_huge_pages_is_had_or_refused<S: Sut>() {
    let backend = S::backend();
    let lends = backend.capabilities().file_descriptor();
    let made = backend.create_unnamed(&required(2 * HUGE));
    let other = backend.create_unnamed(&required(SIZE));
    let Ok(mut region) = made else {
        let error = made.unwrap_err();
        if error.kind() != ErrorKind::Unsupported || backend.capabilities().huge_pages() {
            assert_says_what_is_lacking(&error);
            skip::<S>(&error.to_string());
        }
        return;
    };
    assert_huge(&region, 2 * HUGE);
    match other {
        Ok(region) => assert_huge(&region, SIZE),
        Err(error) => {
            // A descriptor's size has to be one that others can map and unmap.
            assert_eq!((error.kind(), lends), (ErrorKind::InvalidSize, true), "{error}");
            assert!(error.to_string().contains("2097152"), "{error}");
        }
    }
    let error = region.grow(4 * HUGE).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied), "{error}");
    assert_eq!(region.len(), 2 * HUGE);
}

pub fn trying_for_huge_pages_is_never_the_reason_for_an_error<S: Sut>() {
    if !S::shares_with_processes() {
        return skip::<S>("its regions are no mappings");
    }
    let name = Fresh::<S>::new();
    let backend = S::backend();
    for size in [1, SIZE, HUGE, HUGE + 1, 3 * HUGE] {
        for allocation in [Allocation::Reserve, Allocation::Lazy, Allocation::Prefault] {
            let region = backend.create_new(&name, &tried(size).allocation(allocation)).unwrap();
            assert_eq!((region.len(), open::<S>(&name).len()), (size, size));
            assert!(bytes_of(&region).iter().all(|&byte| byte == 0));
            let taken = backend.create_new(&name, &tried(size)).unwrap_err();
            assert_eq!(taken.kind(), ErrorKind::AlreadyExists, "{taken}");
            if allocation != Allocation::Lazy {
                assert_ne!(region.metadata().unwrap().is_reserved(), Some(false));
            }
            if allocation == Allocation::Prefault {
                assert!(
                    smaps(region.as_ptr(), "Rss") * 1024 >= size as u64 || smaps(region.as_ptr(), "KernelPageSize") > 4
                );
            }
            region.remove().unwrap();
        }
        assert_eq!(backend.create_unnamed(&tried(size)).unwrap().len(), size);
    }
}

pub fn a_store_that_gives_huge_pages_on_advice_gives_them_to_who_tries<S: Sut>() {
    let advised = Path::new("/sys/kernel/mm/transparent_hugepage").exists().then(S::advised_store).flatten();
    match advised.filter(|_| is_root()) {
        Some(store) => role::<S>("tries_for_huge_pages").confined(store).run(),
        None => skip::<S>("no private store that gives huge pages can be made here"),
    }
}

pub fn tries_for_huge_pages<S: Sut>(_: &[String]) {
    let name = RegionName::new("huge").unwrap();
    for allocation in [Allocation::Reserve, Allocation::Prefault] {
        for (pages, huge) in [(HugePages::No, false), (HugePages::Try, true)] {
            let options = CreateOptions::new(4 * HUGE).allocation(allocation).huge_pages(pages);
            let region = S::backend().create_new(&name, &options).unwrap();
            region.fill_at(0, region.len(), 1).unwrap();
            assert_eq!(smaps(region.as_ptr(), "ShmemPmdMapped") > 0, huge, "{options:?}");
            region.remove().unwrap();
        }
    }
}

pub fn who_tries_for_huge_pages_hears_of_a_full_store_all_the_same<S: Sut>() {
    match S::small_store(256 * 1024).filter(|_| is_root()) {
        Some(store) => role::<S>("tries_in_a_small_store").confined(store).run(),
        None => skip::<S>("no private store can be made here"),
    }
}

pub fn tries_in_a_small_store<S: Sut>(_: &[String]) {
    let backend = S::backend();
    let name = RegionName::new("full").unwrap();
    for size in [256 * 1024 + 1, 3 * HUGE, 64 << 20] {
        for allocation in [Allocation::Reserve, Allocation::Prefault] {
            let error = backend.create_new(&name, &tried(size).allocation(allocation)).unwrap_err();
            assert_eq!(
                (error.kind(), error.raw_os_error()),
                (ErrorKind::NoSpace, Some(Errno::ENOSPC as i32)),
                "{error}"
            );
            assert!(backend.list().unwrap().is_empty());
        }
    }
    // What failed has kept nothing.
    let region = backend.create_new(&name, &tried(256 * 1024)).unwrap();
    region.fill_at(0, region.len(), 1).unwrap();
}
