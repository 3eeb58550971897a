//! H: hostile neighbours, and places where something is missing.

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::path::Path;
use std::ptr::NonNull;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc::off_t;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::{alarm, ftruncate};
use shared_region::{
    Backend, CreateOptions, Error, ErrorKind, HugePages, OpenOptions, RegionId, RegionName, SharedRegion,
    SharedRegionExt,
};

use crate::checks::identity::each_call_says;
use crate::support::child::{NOBODY, forked, is_root, role, skip};
use crate::support::conversation::{Conversation, entry};
use crate::support::holdings::Holdings;
use crate::sut::{Fresh, Plant, Sut, bytes_of, create, open};

const PAGE: usize = 4096;

/// Ends this process, which is a second one, should a call block.
fn no_longer_than(seconds: u32) {
    alarm::set(seconds);
}

fn refused<T>(what: &str, kind: ErrorKind, result: Result<T, Error>) -> Error {
    match result {
        Ok(_) => panic!("{what} was let through"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{what}: {error}");
            error
        }
    }
}

pub fn a_planted_entry_is_not_shared_memory<S: Sut>() {
    for plant in Plant::FOREIGN {
        let name = Fresh::<S>::new();
        let Some(planted) = S::plant(plant, &name) else {
            skip::<S>(&format!("nothing can be planted under a name: {plant:?}"));
            continue;
        };
        role::<S>("meets_a_planted_entry").arg(*name).run();
        assert!((planted.untouched)(), "{plant:?}");
        if is_root() {
            role::<S>("meets_a_planted_entry").arg(*name).as_user(NOBODY).run();
            assert!((planted.untouched)(), "{plant:?}");
        }
    }
}

pub fn what_another_user_planted_is_not_shared_memory<S: Sut>() {
    if !is_root() {
        return skip::<S>("only root can become other users");
    }
    for number in 0..Plant::FOREIGN.len() {
        let name = Fresh::<S>::new();
        let mut planter = Conversation::<S>::of(Some(NOBODY));
        if planter.ask(format!("plant {name} {number}")) != "true" {
            skip::<S>(&format!("no user can plant {:?}", Plant::FOREIGN[number]));
            continue;
        }
        role::<S>("meets_a_planted_entry").arg(*name).run();
        role::<S>("meets_a_planted_entry").arg(*name).as_user(NOBODY - 1).run();
        assert_eq!(planter.ask("untouched"), "true", "{:?}", Plant::FOREIGN[number]);
    }
}

pub fn meets_a_planted_entry<S: Sut>(arguments: &[String]) {
    no_longer_than(20);
    let name = RegionName::new(&arguments[0]).unwrap();
    let (backend, foreign) = (S::backend(), ErrorKind::NotSharedMemory);
    for read_only in [false, true] {
        let options = OpenOptions::new().read_only(read_only);
        let error = refused("open", foreign, backend.open(&name, &options));
        assert!(error.to_string().contains(name.as_str()), "{error}");
        // Waiting does not make it shared memory.
        let waiting = options.timeout(Duration::from_secs(600));
        refused("open with a timeout", foreign, backend.open(&name, &waiting));
        let careful = OpenOptions::new().read_only(read_only).min_size(1).expect_owner(0);
        refused("open with conditions", foreign, backend.open(&name, &careful));
    }
    let options = CreateOptions::new(4096);
    refused("exists", foreign, backend.exists(&name));
    refused("open_or_create", foreign, backend.open_or_create(&name, &options));
    refused("create_new", ErrorKind::AlreadyExists, backend.create_new(&name, &options));
    let never = |_: &_| -> Result<(), Error> { panic!("nothing was created") };
    refused("create_with", ErrorKind::AlreadyExists, backend.create_with(&name, &options, never));
    refused("remove", foreign, backend.remove(&name));
    let id = RegionId::named(backend.name(), name);
    if S::reaches_by_identity().is_some() {
        each_call_says::<S>(&id, &[foreign]);
    }
    assert!(entry(&backend.list().unwrap(), &id).is_none(), "it is listed");
}

pub fn a_place_without_the_facility_is_backend_unavailable<S: Sut>() {
    let places = S::places_without();
    if !is_root() || places.is_empty() {
        return skip::<S>("no place without it can be made here");
    }
    for (why, place) in places {
        role::<S>("finds_no_facility").arg(why).confined(place).run();
    }
}

pub fn finds_no_facility<S: Sut>(arguments: &[String]) {
    let backend = S::backend();
    let name = RegionName::new("conf-nowhere").unwrap();
    let (create, open) = (CreateOptions::new(4096), OpenOptions::new());
    let waiting = OpenOptions::new().timeout(Duration::from_secs(600));
    let unavailable = |what: &str, error: Option<Error>| {
        let error = error.unwrap_or_else(|| panic!("{what} was let through"));
        assert_eq!(error.kind(), ErrorKind::BackendUnavailable, "{what}: {error}");
        assert!(error.to_string().contains(&arguments[0]), "{what}: {error}");
    };
    unavailable("probe", backend.probe().err());
    unavailable("create_new", backend.create_new(&name, &create).err());
    unavailable("create_unique", backend.create_unique("conf-", &create).err());
    unavailable("open", backend.open(&name, &open).err());
    unavailable("open with a timeout", backend.open(&name, &waiting).err());
    unavailable("open_or_create", backend.open_or_create(&name, &create).err());
    unavailable("exists", backend.exists(&name).err());
    unavailable("remove", backend.remove(&name).err());
    let id = RegionId::named(backend.name(), name);
    if S::reaches_by_identity().is_some() {
        each_call_says::<S>(&id, &[ErrorKind::BackendUnavailable]);
    }
    unavailable("list", backend.list().err());
}

pub fn a_read_only_store_is_backend_unavailable_for_changes<S: Sut>() {
    let Some(store) = S::small_store(1 << 20).filter(|_| is_root()) else {
        return skip::<S>("no private store can be made here");
    };
    role::<S>("uses_a_read_only_store").confined(store).run();
}

pub fn uses_a_read_only_store<S: Sut>(_: &[String]) {
    let backend = S::backend();
    let name = RegionName::new("conf-frozen").unwrap();
    let missing = RegionName::new("conf-missing").unwrap();
    create::<S>(&name, 4096).write_at(0, b"frozen").unwrap();
    match S::freeze_store() {
        Some(frozen) => frozen.unwrap(),
        None => return skip::<S>("its store is never read-only"),
    }
    let unavailable = ErrorKind::BackendUnavailable;
    let options = CreateOptions::new(4096);
    refused("probe", unavailable, backend.probe());
    refused("create_new", unavailable, backend.create_new(&missing, &options));
    refused("open_or_create", unavailable, backend.open_or_create(&missing, &options));
    refused("remove", unavailable, backend.remove(&name));
    refused("open", unavailable, backend.open(&name, &OpenOptions::new()));
    if S::reaches_by_identity().is_some() {
        refused("set_mode", unavailable, backend.set_mode(&name, 0o640));
        refused("set_owner", unavailable, backend.set_owner(&name, None, Some(NOBODY)));
        assert_eq!(backend.metadata(&name).unwrap().mode(), 0o600);
    }
    // What only looks goes on, and a missing name is told apart.
    assert!(backend.exists(&name).unwrap() && !backend.exists(&missing).unwrap());
    let read_only = OpenOptions::new().read_only(true);
    refused("open", ErrorKind::NotFound, backend.open(&missing, &read_only));
    refused("create_new", ErrorKind::AlreadyExists, backend.create_new(&name, &options));
    assert_eq!(bytes_of(&backend.open(&name, &read_only).unwrap())[..6], *b"frozen");
}

pub fn unusual_places_are_as_good_as_others<S: Sut>() {
    let places = S::odd_places();
    if !is_root() || places.is_empty() {
        return skip::<S>("no unusual place can be made here");
    }
    for (index, (what, _)) in places.into_iter().enumerate() {
        let end = role::<S>("uses_a_place").arg(index).start().end();
        assert!(end.success(), "{what}: {end}");
    }
}

pub fn uses_a_place<S: Sut>(arguments: &[String]) {
    // Here and not before, as without /proc this program cannot be started.
    let (_, mut enter) = S::odd_places().swap_remove(arguments[0].parse().unwrap());
    enter().unwrap();
    let backend = S::backend();
    let name = RegionName::new("conf-somewhere").unwrap();
    backend.probe().unwrap();
    let region = create::<S>(&name, 5000);
    region.write_at(4990, b"0123456789").unwrap();
    assert_eq!(bytes_of(&open::<S>(&name)), bytes_of(&region));
    let (opened, created) = backend.open_or_create(&name, &CreateOptions::new(5000)).unwrap();
    assert_eq!((opened.len(), created), (5000, false));
    if !Path::new("/proc/self").exists() {
        // Who they are cannot be seen, and that there are some all the same.
        let holders = backend.holders(&name).unwrap();
        assert!(holders.processes().is_empty() && !holders.is_complete(), "{holders:?}");
        assert!(!backend.remove_if_unused(&name).unwrap());
    }
    backend.remove(&name).unwrap();
    assert!(!backend.exists(&name).unwrap());
    let unnamed = backend.create_unnamed(&CreateOptions::new(5000)).unwrap();
    unnamed.write_at(4990, b"0123456789").unwrap();
    assert_eq!(&bytes_of(&unnamed)[4990..], b"0123456789");
}

pub fn probe_leaves_nothing_behind<S: Sut>() {
    let Some(store) = S::small_store(1 << 20).filter(|_| is_root()) else {
        return skip::<S>("no private store can be made here");
    };
    role::<S>("probes").confined(store).run();
}

pub fn probes<S: Sut>(_: &[String]) {
    let before = Holdings::now::<S>();
    for _ in 0..10 {
        S::backend().probe().unwrap();
        let _ = S::backend().capabilities();
    }
    assert_eq!(Holdings::now::<S>(), before);
    assert_eq!(S::backend().list().unwrap(), []);
}

pub fn probe_works_for_every_user<S: Sut>() {
    S::backend().probe().unwrap();
    if is_root() {
        role::<S>("probes_once").as_user(NOBODY).run();
    }
}

pub fn probes_once<S: Sut>(_: &[String]) {
    S::backend().probe().unwrap();
}

pub fn a_store_for_others_is_permission_denied<S: Sut>() {
    let Some(store) = S::closed_store().filter(|_| is_root()) else {
        return skip::<S>("no private store for others can be made here");
    };
    let name = Fresh::<S>::new();
    let mut user = Conversation::<S>::in_role(role::<S>("converse").confined(store));
    user.order("probe");
    user.order(format!("create {name} 4096 666"));
    user.order(format!("become {NOBODY} {NOBODY}"));
    for request in ["probe".to_owned(), format!("create {name}- 4096 600"), format!("open {name}")] {
        let answer = user.ask(&request);
        assert!(answer.starts_with("PermissionDenied"), "{request}: {answer}");
    }
    // Who may not look does not guess.
    let by_identity: &[_] = if S::reaches_by_identity().is_some() { &["metadata-id", "holders-id"] } else { &[] };
    for request in ["exists", "remove", "list"].iter().chain(by_identity) {
        let answer = user.ask(format!("{request} {name}"));
        assert!(answer.starts_with("PermissionDenied"), "{request}: {answer}");
    }
}

pub fn a_fixed_address_never_replaces_a_mapping<S: Sut>() {
    let name = Fresh::<S>::new();
    if S::backend().capabilities().fixed_address() {
        role::<S>("asks_for_addresses").arg(*name).run();
        return;
    }
    let _region = create::<S>(&name, 4096);
    let backend = S::backend();
    let (missing, address) = (Fresh::<S>::new(), usize::MAX / 4 - 0x0fff_ffff);
    let creating = CreateOptions::new(4096).fixed_address(address);
    let opening = OpenOptions::new().fixed_address(address);
    let unsupported = ErrorKind::Unsupported;
    let error = refused("create_new", unsupported, backend.create_new(&missing, &creating));
    assert!(error.to_string().contains("fixed_address"), "{error}");
    refused("create_unnamed", unsupported, backend.create_unnamed(&creating));
    refused("open", unsupported, backend.open(&name, &opening));
    refused("open_or_create", unsupported, backend.open_or_create(&name, &creating));
    assert!(!backend.exists(&missing).unwrap());
}

/// Finds room for some pages, by a mapping that has gone again. Only where no other thread maps anything.
fn free_pages(pages: usize) -> usize {
    let start = map_pages(pages, 0);
    // SAFETY: exactly what has just been mapped, and nobody uses it; munmap(2).
    unsafe { munmap(start, pages * PAGE) }.unwrap();
    start.addr().get()
}

/// Maps some pages of zeros, at an address where nothing is mapped, or anywhere.
fn map_pages(pages: usize, address: usize) -> NonNull<c_void> {
    let length = NonZeroUsize::new(pages * PAGE).unwrap();
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let flags = MapFlags::MAP_PRIVATE | if address == 0 { MapFlags::empty() } else { MapFlags::MAP_FIXED_NOREPLACE };
    // SAFETY: without MAP_FIXED nothing that is mapped is replaced; mmap(2).
    unsafe { mmap_anonymous(NonZeroUsize::new(address), length, protection, flags) }.unwrap()
}

pub fn asks_for_addresses<S: Sut>(arguments: &[String]) {
    let backend = S::backend();
    let name = RegionName::new(&arguments[0]).unwrap();
    let missing = RegionName::new(&format!("{}-", name.as_str())).unwrap();
    let creating = |address| CreateOptions::new(2 * PAGE).fixed_address(address);
    let opening = |address| OpenOptions::new().fixed_address(address);
    let free = free_pages(8);

    // Free: that address it is.
    let created = backend.create_new(&name, &creating(free)).unwrap();
    assert_eq!(created.as_ptr().addr(), free);
    created.write_at(0, b"text").unwrap();
    let opened = backend.open(&name, &opening(free + 4 * PAGE)).unwrap();
    assert_eq!(opened.as_ptr().addr(), free + 4 * PAGE);
    assert_eq!(bytes_of(&opened)[..4], *b"text");
    let read_only = opening(free + 6 * PAGE).read_only(true);
    assert_eq!(backend.open(&name, &read_only).unwrap().as_ptr().addr(), free + 6 * PAGE);
    drop(opened);
    let (opened, _) = backend.open_or_create(&name, &creating(free + 4 * PAGE)).unwrap();
    assert_eq!(opened.as_ptr().addr(), free + 4 * PAGE);
    drop(opened);
    // Where huge pages are free: they do not fit at every page, and are only tried for.
    let trying = creating(free + 4 * PAGE).huge_pages(HugePages::Try);
    assert_eq!(backend.create_unnamed(&trying).unwrap().as_ptr().addr(), free + 4 * PAGE);

    // Occupied, by a region, by other memory, and in its second page only.
    let page = map_pages(1, free + 5 * PAGE);
    // SAFETY: one writable page that nobody else uses.
    unsafe { page.cast::<u64>().write_volatile(0x5EED) };
    let before = Holdings::but_names();
    for address in [free, free + PAGE, free + 5 * PAGE, free + 4 * PAGE] {
        let in_use = ErrorKind::AddressInUse;
        let error = refused("open", in_use, backend.open(&name, &opening(address)));
        assert_eq!(error.raw_os_error(), Some(Errno::EINVAL as i32), "{error}");
        assert!(error.to_string().contains(&format!("{address:#x}")), "{error}");
        refused("create_new", in_use, backend.create_new(&missing, &creating(address)));
        refused("create_unnamed", in_use, backend.create_unnamed(&creating(address)));
        refused("open_or_create", in_use, backend.open_or_create(&name, &creating(address)));
        assert!(!backend.exists(&missing).unwrap());
    }
    // Misaligned, zero, and beyond every process.
    for address in [free + 2 * PAGE + 1, free + 2 * PAGE + 8, free + 3 * PAGE - 1, 0] {
        let invalid = ErrorKind::InvalidOptions;
        refused("open", invalid, backend.open(&name, &opening(address)));
        refused("create_new", invalid, backend.create_new(&missing, &creating(address)));
        assert!(!backend.exists(&missing).unwrap());
    }
    let beyond = if usize::BITS == 64 { usize::MAX / 4 + 1 } else { usize::MAX - 2 * PAGE + 1 };
    for address in [beyond, usize::MAX - PAGE + 1] {
        let error = refused("open", ErrorKind::InvalidOptions, backend.open(&name, &opening(address)));
        assert!(error.to_string().contains(&format!("{address:#x}")), "{error}");
        refused("create_new", ErrorKind::InvalidOptions, backend.create_new(&missing, &creating(address)));
    }
    assert_eq!(Holdings::but_names(), before);
    assert_eq!(bytes_of(&created)[..4], *b"text");
    // SAFETY: as above.
    assert_eq!(unsafe { page.cast::<u64>().read_volatile() }, 0x5EED);
}

pub fn a_peer_that_shrinks_an_object_makes_touching_it_sigbus<S: Sut>() {
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 4 * PAGE);
    if !shrinks::<S>(&name, PAGE) {
        return skip::<S>("its objects cannot be shrunk");
    }
    let start = region.as_ptr();
    let touched = |offset: usize| {
        forked(|| {
            // SAFETY: inside of the mapping; that the page may be lost, and this child with it, is what is being checked.
            i32::from(unsafe { start.wrapping_add(offset).read_volatile() })
        })
    };
    assert!(matches!(touched(0), WaitStatus::Exited(_, 0)));
    for offset in [PAGE, 2 * PAGE, 4 * PAGE - 1] {
        let end = touched(offset);
        assert!(matches!(end, WaitStatus::Signaled(_, Signal::SIGBUS, _)), "{offset}: {end:?}");
    }
    // A new look is safe.
    assert_eq!(open::<S>(&name).len(), PAGE);
}

/// Does to an object what a hostile peer would; says whether it can be done.
fn shrinks<S: Sut>(name: &RegionName, len: usize) -> bool {
    S::native_resize(name, len as u64).map(Result::unwrap).is_some()
}

pub fn refresh_tells_what_a_peer_left_of_the_object<S: Sut>() {
    let name = Fresh::<S>::new();
    let mut region = create::<S>(&name, 4 * PAGE);
    region.write_at(0, b"left").unwrap();
    if !region.capabilities().grow() || !shrinks::<S>(&name, 100) {
        return skip::<S>("it never sees another size");
    }
    region.refresh().unwrap();
    assert_eq!((region.len(), &bytes_of(&region)[..4]), (100, &b"left"[..]));
    assert!(shrinks::<S>(&name, 0));
    assert_eq!(region.refresh().unwrap_err().kind(), ErrorKind::NotReady);
    assert_eq!(region.len(), 100);
}

pub fn an_unnamed_region_cannot_be_shrunk<S: Sut>() {
    let region = S::backend().create_unnamed(&CreateOptions::new(2 * PAGE)).unwrap();
    let Ok(descriptor) = region.descriptor() else {
        return skip::<S>("its objects cannot be shrunk");
    };
    let seals = fcntl(descriptor, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_retain);
    if seals == Err(Errno::EINVAL) {
        return skip::<S>("its file system has no seals");
    }
    assert!(seals.unwrap().contains(SealFlag::F_SEAL_SHRINK), "{seals:?}");
    for len in [0, 1, 2 * PAGE as off_t - 1] {
        assert_eq!(ftruncate(descriptor, len), Err(Errno::EPERM), "{len}");
    }
    assert_eq!(bytes_of(&region), vec![0; 2 * PAGE]);
}

pub fn a_named_region_takes_no_seal<S: Sut>() {
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 4096);
    let Ok(descriptor) = region.descriptor() else {
        return skip::<S>("it has no descriptors");
    };
    let sealed = fcntl(descriptor, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK));
    // EINVAL: of a file system without seals.
    assert!(matches!(sealed, Err(Errno::EPERM | Errno::EINVAL)), "{sealed:?}");
}

pub fn pages_that_a_peer_frees_are_zeros_or_in_a_full_store_sigbus<S: Sut>() {
    match S::small_store(64 * PAGE as u64).filter(|_| is_root()) {
        Some(store) => role::<S>("loses_pages").confined(store).run(),
        None => skip::<S>("no private store can be made here"),
    }
}

pub fn loses_pages<S: Sut>(_: &[String]) {
    let name = RegionName::new("conf-losing").unwrap();
    let region = create::<S>(&name, 8 * PAGE);
    region.fill_at(0, 8 * PAGE, 7).unwrap();
    role::<S>("frees_pages").arg(name).run();
    let start = region.as_ptr();
    let touched = |page: usize| {
        forked(|| {
            // SAFETY: inside of the mapping; that the page may be gone, and this child with it, is what is being checked.
            i32::from(unsafe { start.wrapping_add(page * PAGE).read_volatile() })
        })
    };
    // Nothing tells of it, and while there is room the pages come back.
    assert_eq!((region.len(), region.metadata().unwrap().size()), (8 * PAGE, 8 * PAGE as u64));
    let byte = |page| matches!(touched(page), WaitStatus::Exited(_, 7));
    assert!(byte(0) && byte(2) && byte(4));
    assert!(matches!(touched(1), WaitStatus::Exited(_, 0)));

    let mut others = Vec::new();
    while let Ok(other) = S::backend().create_unique("conf-other-", &CreateOptions::new(PAGE)) {
        others.push(other);
    }
    assert!(!others.is_empty());
    assert!(byte(0) && byte(2) && byte(4));
    let end = touched(3);
    if region.descriptor().is_ok() {
        assert!(matches!(end, WaitStatus::Signaled(_, Signal::SIGBUS, _)), "{end:?}");
    } else {
        // A segment counts as a whole, whatever of it is there.
        assert!(matches!(end, WaitStatus::Exited(_, 0)), "{end:?}");
    }
}

pub fn frees_pages<S: Sut>(arguments: &[String]) {
    let region = open::<S>(&RegionName::new(&arguments[0]).unwrap());
    for page in [1, 3] {
        let start = NonNull::new(region.as_mut_ptr().unwrap().wrapping_add(page * PAGE)).unwrap();
        // SAFETY: a page of a shared, writable mapping that no reference of this process covers; madvise(2).
        unsafe { madvise(start.cast(), PAGE, MmapAdvise::MADV_REMOVE) }.unwrap();
    }
    // Who may only read may not.
    let reader =
        S::backend().open(&RegionName::new(&arguments[0]).unwrap(), &OpenOptions::new().read_only(true)).unwrap();
    let start = NonNull::new(reader.as_ptr().cast_mut()).unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { madvise(start.cast(), PAGE, MmapAdvise::MADV_REMOVE) }, Err(Errno::EACCES));
}
