//! S4: no error leaves anything behind. Each kind of failure is counted in a second process that is alone.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use shared_region::{
    Allocation, Backend, CreateOptions, Error, ErrorKind, OpenOptions, RegionId, RegionName, SharedRegion,
    SharedRegionExt,
};

use crate::support::child::{is_root, role, skip};
use crate::support::holdings::Holdings;
use crate::sut::{Plant, Sut, create};

const STORE: usize = 256 * 1024;

/// Counts what is in hands before and after a few calls that fail.
fn no_leak<S: Sut, T>(what: &str, kind: ErrorKind, fails: impl Fn() -> Result<T, Error>) {
    let before = Holdings::now::<S>();
    for _ in 0..3 {
        match fails() {
            Ok(_) => panic!("{what}: it was let through"),
            Err(error) => assert_eq!(error.kind(), kind, "{what}: {error}"),
        }
    }
    assert_eq!(Holdings::now::<S>(), before, "{what}");
}

pub fn no_error_leaks_anything<S: Sut>() {
    match S::small_store(STORE as u64).filter(|_| is_root()) {
        Some(store) => role::<S>("counts_after_errors").confined(store).run(),
        None => skip::<S>("no private store can be made here"),
    }
}

pub fn counts_after_errors<S: Sut>(_: &[String]) {
    let empty = Holdings::now::<S>();
    let taken = RegionName::new("taken").unwrap();
    let region = create::<S>(&taken, 5000);
    creation_fails::<S>(&taken);
    init_fails::<S>();
    opening_fails::<S>(&taken);
    calls_on_a_region_fail::<S>(&taken);
    names_fail::<S>();
    drop(region);
    S::backend().remove(&taken).unwrap();
    assert_eq!(Holdings::now::<S>(), empty);
    // Memory did not leak either: all of it can still be had.
    create::<S>(&taken, STORE);
}

fn creation_fails<S: Sut>(taken: &RegionName) {
    let backend = S::backend();
    let new = RegionName::new("new").unwrap();
    let page = CreateOptions::new(4096);
    for size in [1, 4096, STORE, isize::MAX as usize / 2] {
        let options = CreateOptions::new(size);
        no_leak::<S, _>("a taken name", ErrorKind::AlreadyExists, || backend.create_new(taken, &options));
    }
    for size in [0, isize::MAX as usize + 1, usize::MAX] {
        let options = CreateOptions::new(size);
        no_leak::<S, _>("a size", ErrorKind::InvalidSize, || backend.create_new(&new, &options));
        no_leak::<S, _>("a size", ErrorKind::InvalidSize, || backend.create_unnamed(&options));
        no_leak::<S, _>("a size", ErrorKind::InvalidSize, || backend.open_or_create(&new, &options));
    }
    for mode in [0, 0o400, 0o200, 0o1600, u32::MAX] {
        let options = page.clone().mode(mode);
        no_leak::<S, _>("a mode", ErrorKind::InvalidOptions, || backend.create_new(&new, &options));
        no_leak::<S, _>("a mode", ErrorKind::InvalidOptions, || backend.create_unnamed(&options));
    }
    for size in [STORE, 64 << 20] {
        for allocation in [Allocation::Reserve, Allocation::Prefault] {
            let options = CreateOptions::new(size).allocation(allocation);
            no_leak::<S, _>("space", ErrorKind::NoSpace, || backend.create_new(&new, &options));
            no_leak::<S, _>("space", ErrorKind::NoSpace, || backend.create_unique("new-", &options));
        }
    }
    let address = page.clone().fixed_address(1 << 30 | 1);
    let kind = match backend.capabilities().fixed_address() {
        true => ErrorKind::InvalidOptions,
        false => ErrorKind::Unsupported,
    };
    no_leak::<S, _>("an address", kind, || backend.create_new(&new, &address));
    no_leak::<S, _>("an address", kind, || backend.create_unnamed(&address));
    no_leak::<S, _>("a prefix", ErrorKind::InvalidName, || backend.create_unique("a/b", &page));
    let larger = CreateOptions::new(5001);
    let mismatch = ErrorKind::SizeMismatch { have: 5000, want: 5001 };
    no_leak::<S, _>("a smaller one", mismatch, || backend.open_or_create(taken, &larger));
}

fn init_fails<S: Sut>() {
    let backend = S::backend();
    let new = RegionName::new("new").unwrap();
    let page = CreateOptions::new(4096);
    no_leak::<S, _>("init", ErrorKind::Busy, || {
        backend.create_with(&new, &page, |region| {
            region.write_at(0, b"half")?;
            Err(Error::new(ErrorKind::Busy))
        })
    });
    no_leak::<S, _>("a panic of init", ErrorKind::Busy, || {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            // Without the noise of a panic that nobody expects.
            let panics = |_: &_| -> Result<(), Error> { resume_unwind(Box::new("expected")) };
            backend.create_with(&new, &page, panics)
        }));
        panicked.map_err(|_| Error::new(ErrorKind::Busy))
    });
}

fn opening_fails<S: Sut>(taken: &RegionName) {
    let backend = S::backend();
    let missing = RegionName::new("missing").unwrap();
    for read_only in [false, true] {
        let open = OpenOptions::new().read_only(read_only);
        no_leak::<S, _>("a missing name", ErrorKind::NotFound, || backend.open(&missing, &open));
        let waiting = open.clone().timeout(Duration::from_millis(5));
        no_leak::<S, _>("a timeout", ErrorKind::NotFound, || backend.open(&missing, &waiting));
        let larger = open.clone().min_size(5001);
        let mismatch = ErrorKind::SizeMismatch { have: 5000, want: 5001 };
        no_leak::<S, _>("a min_size", mismatch, || backend.open(taken, &larger));
        let stranger = open.clone().expect_owner(4711);
        no_leak::<S, _>("an owner", ErrorKind::PermissionDenied, || backend.open(taken, &stranger));
    }
    let wrong = RegionId::named("nobody", *taken);
    no_leak::<S, _>("an id of another backend", ErrorKind::InvalidName, || {
        backend.open_id(&wrong, &OpenOptions::new())
    });
    no_leak::<S, _>("an id of another backend", ErrorKind::InvalidName, || backend.remove_id(&wrong));
    no_leak::<S, _>("a missing name", ErrorKind::NotFound, || backend.remove(&missing));
    let unused = backend.remove_if_unused(&missing).unwrap_err().kind();
    no_leak::<S, _>("a missing name", unused, || backend.remove_if_unused(&missing));
}

fn calls_on_a_region_fail<S: Sut>(taken: &RegionName) {
    let read_only = OpenOptions::new().read_only(true);
    let mut region = S::backend().open(taken, &read_only).unwrap();
    no_leak::<S, _>("a write", ErrorKind::ReadOnly, || region.write_at(0, b"x"));
    no_leak::<S, _>("a mode", ErrorKind::InvalidOptions, || region.set_mode(0o1777));
    let before = Holdings::now::<S>();
    assert!(region.grow(8192).is_err());
    assert_eq!(Holdings::now::<S>(), before);
    let mut region = S::backend().open(taken, &OpenOptions::new()).unwrap();
    let before = Holdings::now::<S>();
    let expected = match region.capabilities().grow() {
        true => ErrorKind::NoSpace,
        false => ErrorKind::Unsupported,
    };
    for size in [2 * STORE, 64 << 20] {
        let error = region.grow(size).unwrap_err();
        assert_eq!(error.kind(), expected, "{error}");
        assert_eq!((region.len(), region.metadata().unwrap().size()), (5000, 5000));
        assert_eq!(Holdings::now::<S>(), before);
    }
}

fn names_fail<S: Sut>() {
    let backend = S::backend();
    let name = RegionName::new("planted").unwrap();
    let open = OpenOptions::new().timeout(Duration::from_millis(5));
    for plant in Plant::FOREIGN {
        let Some(planted) = S::plant(plant, &name) else { continue };
        let foreign = ErrorKind::NotSharedMemory;
        no_leak::<S, _>("a planted entry", foreign, || backend.open(&name, &open));
        no_leak::<S, _>("a planted entry", foreign, || backend.exists(&name));
        no_leak::<S, _>("a planted entry", foreign, || backend.remove(&name));
        no_leak::<S, _>("a planted entry", ErrorKind::AlreadyExists, || {
            backend.create_new(&name, &CreateOptions::new(4096))
        });
        drop(planted);
    }
    if let Some(planted) = S::plant(Plant::Unsized, &name) {
        no_leak::<S, _>("no size", ErrorKind::NotReady, || backend.open(&name, &open));
        drop(planted);
    }
}
