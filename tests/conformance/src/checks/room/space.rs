//! S: space and limits. What is counted is counted in second processes that are alone with their store.

use std::fs;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc::rlim_t;
use nix::sys::mman::{MlockAllFlags, mlockall, munlockall};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::sysinfo::sysinfo;
use nix::sys::wait::WaitStatus;
use shared_region::{
    Allocation, Backend, CreateOptions, Error, ErrorKind, OpenOptions, RegionName, SharedRegion, SharedRegionExt,
};

use crate::support::child::{MemoryGroup, NOBODY, forked, is_root, role, skip};
use crate::support::holdings::{Holdings, kilobytes, resident};
use crate::sut::{Fresh, Sut, bytes_of, create};

type Region<S> = <<S as Sut>::Backend as Backend>::Region;

const PAGE: usize = 4096;
const STORE: usize = 256 * 1024;

fn name(name: &str) -> RegionName {
    RegionName::new(name).unwrap()
}

fn try_create<S: Sut>(name: &RegionName, size: usize) -> Result<Region<S>, Error> {
    S::backend().create_new(name, &CreateOptions::new(size))
}

#[track_caller]
fn no_space<T>(result: Result<T, Error>) {
    let error = result.err().expect("it was let through");
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert_eq!(error.raw_os_error(), Some(Errno::ENOSPC as i32), "{error}");
}

#[track_caller]
fn exceeds<T>(limit: &'static str, value: u64, result: Result<T, Error>) {
    let error = result.err().expect("it was let through");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded { limit, value }, "{error}");
    let text = error.to_string();
    assert!(text.contains(limit) && text.contains(&value.to_string()), "{text}");
}

/// Runs a role in a private store of 256 KiB.
fn in_a_small_store<S: Sut>(act: &str) {
    match S::small_store(STORE as u64).filter(|_| is_root()) {
        Some(store) => role::<S>(act).confined(store).run(),
        None => skip::<S>("no private store can be made here"),
    }
}

/// Touches every page of a mapping in a child.
fn touched(region: &impl SharedRegion) -> WaitStatus {
    let (start, len) = (region.as_ptr().cast_mut(), region.len());
    forked(|| {
        for offset in (0..len).step_by(PAGE) {
            // SAFETY: inside of the mapping; whether there is memory for it is what is being checked, in this child.
            unsafe { start.wrapping_add(offset).write_volatile(1) };
        }
        0
    })
}

/// Lets only so many bytes, files or the like be had from now on.
fn limit(resource: Resource, value: u64) {
    let (_, hard) = getrlimit(resource).unwrap();
    setrlimit(resource, value as rlim_t, hard).unwrap();
}

pub fn a_full_store_is_no_space_at_creation<S: Sut>() {
    in_a_small_store::<S>("fills_the_store");
}

pub fn fills_the_store<S: Sut>(_: &[String]) {
    let backend = S::backend();
    no_space(try_create::<S>(&name("larger"), STORE + 1));
    let region = try_create::<S>(&name("all"), STORE).unwrap();
    region.fill_at(0, STORE, 0xA5).unwrap();
    for size in [1, PAGE, STORE, 64 << 20] {
        for allocation in [Allocation::Reserve, Allocation::Prefault] {
            let options = CreateOptions::new(size).allocation(allocation);
            no_space(backend.create_new(&name("more"), &options));
            let never = |_: &_| -> Result<(), Error> { panic!("there is no region") };
            no_space(backend.create_with(&name("more"), &options, never));
        }
        no_space(backend.create_unique("more-", &CreateOptions::new(size)));
        assert!(!backend.exists(&name("more")).unwrap());
        // A taken name wins.
        let taken = try_create::<S>(&name("all"), size).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists, "{taken}");
    }
    assert_eq!(backend.list().unwrap().len(), 1);
    assert_eq!(bytes_of(&region), vec![0xA5; STORE]);
    // What failed has kept nothing: all of it can be had again.
    region.remove().unwrap();
    drop(region);
    assert_eq!(bytes_of(&try_create::<S>(&name("again"), STORE).unwrap()), vec![0; STORE]);
}

pub fn a_reserved_region_can_be_touched_when_the_store_is_full<S: Sut>() {
    in_a_small_store::<S>("touches_in_a_full_store");
}

pub fn touches_in_a_full_store<S: Sut>(_: &[String]) {
    let backend = S::backend();
    let reserved = try_create::<S>(&name("reserved"), STORE / 2).unwrap();
    let lazily = |size| CreateOptions::new(size).allocation(Allocation::Lazy);
    let lazy = backend.create_new(&name("lazy"), &lazily(STORE / 4)).unwrap();
    let mut others = Vec::new();
    while let Ok(region) = try_create::<S>(&name(&format!("other-{}", others.len())), PAGE) {
        others.push(region);
    }
    assert!(matches!(touched(&reserved), WaitStatus::Exited(_, 0)));
    assert_eq!(reserved.load_u8(STORE / 2 - PAGE, std::sync::atomic::Ordering::Relaxed).unwrap(), 1);
    let end = touched(&lazy);
    match lazy.metadata().unwrap().is_reserved() {
        // The store gave its last pages to others.
        Some(false) => {
            assert!(matches!(end, WaitStatus::Signaled(_, Signal::SIGBUS, _)), "{end:?}")
        }
        _ => assert!(matches!(end, WaitStatus::Exited(_, 0)), "{end:?}"),
    }
}

pub fn lazy_creates_what_memory_could_not_hold<S: Sut>() {
    if !S::shares_with_processes() {
        return skip::<S>("its regions are no mappings");
    }
    let memory = sysinfo().unwrap();
    let size = usize::try_from(4 * (memory.ram_total() + memory.swap_total()));
    let Some(size) = size.ok().filter(|&size| size <= isize::MAX as usize) else {
        return skip::<S>("memory holds as much as an address space");
    };
    let name = Fresh::<S>::new();
    let lazy = CreateOptions::new(size).allocation(Allocation::Lazy);
    let region = S::backend().create_new(&name, &lazy).unwrap();
    assert_eq!(region.len(), size);
    region.write_at(size - 4, b"last").unwrap();
    let metadata = region.metadata().unwrap();
    if let Some(allocated) = metadata.allocated() {
        assert!(allocated <= 2 << 20, "{allocated} bytes behind one that was touched");
        assert_eq!(metadata.is_reserved(), Some(false));
        // To try and reserve it would fill the store, which others use.
        return;
    }
    drop(region);
    S::backend().remove(&name).unwrap();
    if fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap().trim() == "1" {
        return skip::<S>("this machine lets anybody reserve anything");
    }
    let error = try_create::<S>(&name, size).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert_eq!(error.raw_os_error(), Some(Errno::ENOMEM as i32), "{error}");
    assert!(!S::backend().exists(&name).unwrap());
}

pub fn reserving_takes_the_memory_and_prefaulting_maps_it<S: Sut>() {
    let name = Fresh::<S>::new();
    role::<S>("counts_resident_pages").arg(*name).run();
}

pub fn counts_resident_pages<S: Sut>(arguments: &[String]) {
    let size = 64 * PAGE;
    for (allocation, mapped, reserved) in
        [(Allocation::Lazy, 0, false), (Allocation::Reserve, 0, true), (Allocation::Prefault, size, true)]
    {
        let options = CreateOptions::new(size).allocation(allocation);
        let unnamed = S::backend().create_unnamed(&options).unwrap();
        let region = S::backend().create_new(&name(&arguments[0]), &options).unwrap();
        for region in [&region, &unnamed] {
            assert_eq!(resident(region), (mapped, false), "{allocation:?}");
            let metadata = region.metadata().unwrap();
            if let Some(allocated) = metadata.allocated() {
                assert_eq!(allocated, if reserved { size as u64 } else { 0 }, "{allocation:?}");
                assert_eq!(metadata.is_reserved(), Some(reserved));
            }
            assert_eq!(bytes_of(region), vec![0; size]);
        }
        region.remove().unwrap();
    }
}

pub fn what_could_not_be_reserved_says_so_in_the_metadata<S: Sut>() {
    match S::unreserving_store().filter(|_| is_root()) {
        Some(store) => role::<S>("creates_without_reserving").confined(store).run(),
        None => skip::<S>("no private store without reservation can be made here"),
    }
}

pub fn creates_without_reserving<S: Sut>(_: &[String]) {
    let region = create::<S>(&name("unreserved"), 5000);
    assert_eq!((region.len(), region.metadata().unwrap().is_reserved()), (5000, Some(false)));
    assert!(matches!(touched(&region), WaitStatus::Exited(_, 0)));
}

pub fn what_a_containers_memory_limit_has_no_room_for_is_no_space<S: Sut>() {
    let Some(group) = MemoryGroup::new(64 << 20).filter(|_| is_root()) else {
        return skip::<S>("no control group with a limit of memory can be made here");
    };
    let (large, small) = (Fresh::<S>::new(), Fresh::<S>::new());
    let role = role::<S>("outgrows_its_container").arg(group.limit_file().display()).arg(*large).arg(*small);
    role.confined(group.confinement()).run();
}

pub fn outgrows_its_container<S: Sut>(arguments: &[String]) {
    if S::store_name().is_none() {
        return skip::<S>("it reserves by itself");
    }
    let (backend, limits) = (S::backend(), shared_region::memory_limits());
    let limit = limits.iter().find(|limit| limit.path() == std::path::Path::new(&arguments[0])).unwrap();
    assert_eq!(limit.max(), 64 << 20);
    // The test program itself lives in it too; swap would make more room, and there may be any amount of it.
    assert!(limit.current() < 32 << 20 && limit.room() > 32 << 20, "{limit:?}");
    let size = (limit.room() as usize).max(64 << 20) + (64 << 20);
    let refused = |result: Result<Region<S>, Error>| {
        let error = result.expect_err("it was let through");
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::NoSpace, None), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("{} is 67108864 bytes", arguments[0])) && text.contains(" left"), "{text}");
        assert_eq!(error.get_operation(), "create");
    };
    for allocation in [Allocation::Reserve, Allocation::Prefault] {
        let options = CreateOptions::new(size).allocation(allocation);
        refused(backend.create_new(&name(&arguments[1]), &options));
        refused(backend.create_unnamed(&options));
        // What is locked is brought in.
        let locked = CreateOptions::new(size).allocation(Allocation::Lazy).lock_memory(true);
        refused(backend.create_new(&name(&arguments[1]), &locked));
        let never = |_: &_| -> Result<(), Error> { panic!("there is no region") };
        refused(backend.create_with(&name(&arguments[1]), &options, never));
    }
    assert!(!backend.exists(&name(&arguments[1])).unwrap());
    let mut small = create::<S>(&name(&arguments[2]), 20 << 20);
    small.fill_at(0, 20 << 20, 1).unwrap();
    // A taken name wins.
    let taken = try_create::<S>(&name(&arguments[2]), size).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists, "{taken}");
    if small.capabilities().grow() {
        let error = small.grow(size).unwrap_err();
        assert_eq!((error.kind(), error.get_operation()), (ErrorKind::NoSpace, "grow"), "{error}");
        assert!(error.to_string().contains(&arguments[0]), "{error}");
        assert_eq!((small.len(), small.metadata().unwrap().size()), (20 << 20, 20 << 20));
    }
    small.remove().unwrap();
    // Who touches little of it is not kept from that.
    let lazy = CreateOptions::new(size).allocation(Allocation::Lazy);
    backend.create_new(&name(&arguments[1]), &lazy).unwrap().remove().unwrap();
    backend.create_unnamed(&lazy).unwrap();
}

pub fn a_limit_of_the_store_is_named_with_its_value<S: Sut>() {
    let limits = S::store_limits();
    if !is_root() || limits.is_empty() {
        return skip::<S>("no private store with limits can be made here");
    }
    for (index, limit) in limits.into_iter().enumerate() {
        role::<S>("hits_a_limit_of_the_store").arg(index).confined(limit.confinement).run();
    }
}

pub fn hits_a_limit_of_the_store<S: Sut>(arguments: &[String]) {
    let backend = S::backend();
    let limit = S::store_limits().swap_remove(arguments[0].parse().unwrap());
    let full: Vec<_> = (limit.fill.iter().enumerate())
        .map(|(index, &size)| try_create::<S>(&name(&format!("fill-{index}")), size).unwrap())
        .collect();
    for _ in 0..3 {
        let options = CreateOptions::new(limit.ask);
        let before = Holdings::now::<S>();
        for error in [
            backend.create_new(&name("more"), &options).unwrap_err(),
            backend.create_unique("more-", &options).unwrap_err(),
        ] {
            assert_eq!(error.kind(), limit.kind, "{error}");
            assert_eq!(error.raw_os_error(), Some(limit.errno as i32), "{error}");
            assert!(error.to_string().contains(limit.told), "{error}");
        }
        assert_eq!(Holdings::now::<S>(), before);
    }
    if let Some(index) = full.len().checked_sub(1) {
        full[index].remove().unwrap();
        drop(full);
        try_create::<S>(&name("more"), limit.ask).unwrap();
    }
}

pub fn a_limit_of_the_process_is_named_with_its_value<S: Sut>() {
    for act in ["hits_nofile", "hits_fsize", "hits_as"] {
        let name = Fresh::<S>::new();
        role::<S>(act).arg(*name).run();
    }
}

pub fn hits_nofile<S: Sut>(arguments: &[String]) {
    let backend = S::backend();
    let name = name(&arguments[0]);
    let options = CreateOptions::new(4096);
    let before = Holdings::but_names();
    let region = create::<S>(&name, 4096);
    let lowest = fs::File::open("/dev/null").unwrap().as_raw_fd() as u64;
    let missing = RegionName::new(&format!("{}-", name.as_str())).unwrap();
    limit(Resource::RLIMIT_NOFILE, lowest);
    let results = [
        backend.create_new(&missing, &options).map(drop),
        backend.create_unnamed(&options).map(drop),
        backend.create_unique("conf-", &options).and_then(|unique| unique.remove()),
        backend.open(&name, &OpenOptions::new()).map(drop),
        backend.open_or_create(&name, &options).map(drop),
    ];
    limit(Resource::RLIMIT_NOFILE, lowest + 10);
    for result in results {
        if backend.capabilities().file_descriptor() {
            exceeds("RLIMIT_NOFILE", lowest, result);
        } else {
            result.unwrap();
        }
    }
    assert_eq!(backend.remove(&missing).is_ok(), !backend.capabilities().file_descriptor());
    drop((region.try_clone().unwrap(), region));
    assert_eq!(Holdings::but_names(), before);
}

pub fn hits_fsize<S: Sut>(arguments: &[String]) {
    const LIMIT: usize = 2 * PAGE;
    let backend = S::backend();
    let name = name(&arguments[0]);
    // Where nothing is a file all of this works.
    let files = backend.capabilities().file_descriptor();
    let check = |result: Result<(), Error>| {
        if files { exceeds("RLIMIT_FSIZE", LIMIT as u64, result) } else { result.unwrap() }
    };
    let before = Holdings::but_names();
    // SIGXFSZ would end this process.
    limit(Resource::RLIMIT_FSIZE, LIMIT as u64);
    for allocation in [Allocation::Reserve, Allocation::Lazy, Allocation::Prefault] {
        for size in [LIMIT + 1, 64 << 20] {
            let options = CreateOptions::new(size).allocation(allocation);
            check(backend.create_new(&name, &options).and_then(|region| region.remove()));
            check(backend.create_unnamed(&options).map(drop));
            assert!(!backend.exists(&name).unwrap());
        }
    }
    assert_eq!(Holdings::but_names(), before);
    let mut region = create::<S>(&name, LIMIT);
    if region.capabilities().grow() {
        check(region.grow(LIMIT + 1));
        assert_eq!((region.len(), region.metadata().unwrap().size()), (LIMIT, LIMIT as u64));
    }
}

pub fn hits_as<S: Sut>(arguments: &[String]) {
    const LARGE: usize = 256 << 20;
    let backend = S::backend();
    let name = name(&arguments[0]);
    let options = CreateOptions::new(LARGE).allocation(Allocation::Lazy);
    let mut region = backend.create_new(&name, &options).unwrap();
    let missing = RegionName::new(&format!("{}-", name.as_str())).unwrap();
    let used = kilobytes(&fs::read_to_string("/proc/self/status").unwrap(), "VmSize:") * 1024;
    let value = used + LARGE as u64 / 2;
    limit(Resource::RLIMIT_AS, value);
    let before = Holdings::but_names();
    for _ in 0..3 {
        exceeds("RLIMIT_AS", value, backend.create_new(&missing, &options));
        exceeds("RLIMIT_AS", value, backend.create_unnamed(&options));
        exceeds("RLIMIT_AS", value, backend.open(&name, &OpenOptions::new()));
        exceeds("RLIMIT_AS", value, backend.open_or_create(&missing, &options));
        exceeds("RLIMIT_AS", value, region.try_clone());
    }
    if region.capabilities().grow() {
        exceeds("RLIMIT_AS", value, region.grow(LARGE + PAGE));
        assert_eq!((region.len(), region.metadata().unwrap().size()), (LARGE, LARGE as u64));
    }
    assert_eq!(Holdings::but_names(), before);
}

pub fn lock_memory_keeps_the_pages_resident_until_unlock_memory<S: Sut>() {
    let name = Fresh::<S>::new();
    role::<S>("locks_memory").arg(*name).run();
}

pub fn locks_memory<S: Sut>(arguments: &[String]) {
    let name = name(&arguments[0]);
    let before = Holdings::but_names();
    let size = 16 * PAGE;
    let region = create::<S>(&name, size - 100);
    let reader = S::backend().open(&name, &OpenOptions::new().read_only(true)).unwrap();
    for region in [&region, &reader] {
        assert_eq!(resident(region), (0, false));
        region.lock_memory().unwrap();
        assert_eq!(resident(region), (size, true));
        // Twice is as once, and one undoing is enough.
        region.lock_memory().unwrap();
        region.unlock_memory().unwrap();
        assert_eq!(resident(region), (size, false));
        region.unlock_memory().unwrap();
        assert_eq!(bytes_of(region), vec![0; size - 100]);
    }
    region.remove().unwrap();
    drop((region, reader));

    let options = CreateOptions::new(size).lock_memory(true);
    let region = S::backend().create_new(&name, &options).unwrap();
    let unnamed = S::backend().create_unnamed(&options).unwrap();
    assert_eq!(resident(&region), (size, true));
    assert_eq!(resident(&unnamed), (size, true));
    // It ends with the mapping, and is no other mapping's.
    assert_eq!(resident(&region.try_clone().unwrap()), (0, false));
    region.remove().unwrap();
    drop((region, unnamed));
    assert_eq!(Holdings::but_names(), before);
}

pub fn locking_more_than_the_limit_is_limit_exceeded<S: Sut>() {
    if !is_root() {
        return skip::<S>("only root can become other users");
    }
    for allowed in [0, 16 * PAGE] {
        let name = Fresh::<S>::new();
        let confinement: crate::sut::Confinement =
            Box::new(move || Ok(setrlimit(Resource::RLIMIT_MEMLOCK, allowed as rlim_t, allowed as rlim_t)?));
        let hits = role::<S>("hits_memlock").arg(*name).arg(allowed);
        hits.as_user(NOBODY).confined(confinement).run();
    }
}

pub fn hits_memlock<S: Sut>(arguments: &[String]) {
    let name = name(&arguments[0]);
    let allowed: usize = arguments[1].parse().unwrap();
    let value = allowed as u64;
    let before = Holdings::but_names();
    let region = create::<S>(&name, allowed + PAGE);
    exceeds("RLIMIT_MEMLOCK", value, region.lock_memory());
    assert!(!resident(&region).1);
    region.write_at(0, b"still usable").unwrap();
    region.unlock_memory().unwrap();
    region.remove().unwrap();
    drop(region);
    for _ in 0..3 {
        let options = CreateOptions::new(allowed + PAGE).lock_memory(true);
        exceeds("RLIMIT_MEMLOCK", value, S::backend().create_new(&name, &options));
        exceeds("RLIMIT_MEMLOCK", value, S::backend().create_unnamed(&options));
        assert!(!S::backend().exists(&name).unwrap());
        assert_eq!(Holdings::but_names(), before);
    }
    if allowed > 0 {
        let options = CreateOptions::new(allowed).lock_memory(true);
        S::backend().create_new(&name, &options).unwrap().remove().unwrap();
    }
}

pub fn locking_what_the_store_has_no_room_for_is_no_space<S: Sut>() {
    for user in [0, NOBODY] {
        let Some(store) = S::small_store(1 << 20).filter(|_| is_root()) else {
            return skip::<S>("no private store can be made here");
        };
        role::<S>("locks_more_than_the_store_has").arg(user).confined(store).run();
    }
}

pub fn locks_more_than_the_store_has<S: Sut>(arguments: &[String]) {
    const ALLOWED: u64 = 6 << 20;
    if arguments[0] != "0" {
        // The limit is for those without privilege; twice the size would be over it.
        setrlimit(Resource::RLIMIT_MEMLOCK, ALLOWED as rlim_t, ALLOWED as rlim_t).unwrap();
        nix::unistd::setuid(NOBODY.into()).unwrap();
    }
    let (backend, lazy) = (S::backend(), CreateOptions::new(4 << 20).allocation(Allocation::Lazy));
    let region = match backend.create_new(&name("lazy"), &lazy) {
        // It counts what it has promised.
        Err(error) if error.kind() == ErrorKind::NoSpace => return,
        region => region.unwrap(),
    };
    let before = Holdings::now::<S>();
    let full = |result: Result<(), Error>| {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::NoSpace, Some(Errno::ENOMEM as i32)), "{error}");
        let text = error.to_string();
        assert!(S::store_name().is_none_or(|store| text.contains(&format!("do not fit into {store} ("))), "{text}");
    };
    for _ in 0..2 {
        full(region.lock_memory());
        assert!(!resident(&region).1, "it is locked nevertheless");
    }
    assert_eq!(Holdings::now::<S>(), before);
    region.remove().unwrap();
    drop(region);
    full(backend.create_new(&name("locked"), &lazy.clone().lock_memory(true)).map(drop));
    assert!(!backend.exists(&name("locked")).unwrap());
    // What it had taken is free again.
    create::<S>(&name("half"), 512 << 10).lock_memory().unwrap();
}

pub fn mapping_more_than_may_be_locked_is_limit_exceeded<S: Sut>() {
    if !is_root() {
        return skip::<S>("only root can become other users");
    }
    let name = Fresh::<S>::new();
    role::<S>("locks_all_that_it_maps").arg(*name).as_user(NOBODY).run();
}

pub fn locks_all_that_it_maps<S: Sut>(arguments: &[String]) {
    const ALLOWED: u64 = 6 << 20;
    if S::store_name().is_none() {
        return skip::<S>("it leaves its errors to the crate");
    }
    let (backend, name) = (S::backend(), name(&arguments[0]));
    let large = CreateOptions::new(64 << 20).allocation(Allocation::Lazy);
    let region = backend.create_new(&name, &large).unwrap();
    setrlimit(Resource::RLIMIT_MEMLOCK, ALLOWED as rlim_t, ALLOWED as rlim_t).unwrap();
    mlockall(MlockAllFlags::MCL_FUTURE).unwrap();
    exceeds("RLIMIT_MEMLOCK", ALLOWED, backend.open(&name, &OpenOptions::new()));
    exceeds("RLIMIT_MEMLOCK", ALLOWED, backend.create_unnamed(&large));
    exceeds("RLIMIT_MEMLOCK", ALLOWED, region.try_clone());
    backend.create_unnamed(&CreateOptions::new(PAGE)).unwrap();
    munlockall().unwrap();
    backend.open(&name, &OpenOptions::new()).unwrap();
}
