//! E: errors; H3: sandboxes.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::c_int;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::Pid;
use shared_region::{
    Backend, CreateOptions, Error, ErrorKind, OpenOptions, RegionId, RegionName, SharedRegion, SharedRegionExt,
};

use crate::support::child::{NOBODY, hear, is_root, role, rounds, say, skip};
use crate::support::trace::{self, Fate};
use crate::sut::{Fresh, Plant, Sut, create, name_in, open, open_read_only};

/// Checks all that an error tells: its cause, what was tried, on what, the errno if there was one; all in one line.
#[track_caller]
fn assert_told<S: Sut>(error: &Error, kind: ErrorKind, operation: &str, name: Option<&RegionName>, errnos: &[Errno]) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    assert_eq!(error.get_operation(), operation, "{text}");
    assert_eq!(error.get_backend(), Some(S::backend().name()), "{text}");
    let head = format!("cannot {operation} ");
    assert!(text.starts_with(&head) && text.contains(" region "), "{text}");
    if let Some(name) = name {
        assert!(text.contains(&format!(" \"{name}\"")), "{text}");
    }
    match error.raw_os_error().map(Errno::from_raw) {
        None => assert_eq!(errnos, [], "{text}"),
        Some(errno) => {
            assert!(errnos.contains(&errno), "{text}");
            assert!(text.ends_with(&format!(" ({errno:?})")), "{text}");
        }
    }
    // One line, of which the last part says why and what to do.
    let (_, why) = text.split_once(": ").unwrap();
    assert!(why.split(' ').count() >= 4 && !text.contains(['\n', '\r', '\t']), "{text}");
    assert!(text.len() < 300 && !text.contains("  "), "{text}");
}

pub fn the_same_cause_is_told_alike_by_every_implementation<S: Sut>() {
    let backend = S::backend();
    let (name, missing) = (Fresh::<S>::new(), Fresh::<S>::new());
    let region = create::<S>(&name, 4096);
    let reader = open_read_only::<S>(&name);
    let told = |error: Error, kind, operation, errnos: &[Errno]| {
        assert_told::<S>(&error, kind, operation, Some(&name), errnos);
    };
    let create = |options| backend.create_new(&name, &options).unwrap_err();
    let small = backend.open(&name, &OpenOptions::new().min_size(4097)).unwrap_err();
    let (have, want) = (4096, 4097);

    told(create(CreateOptions::new(1)), ErrorKind::AlreadyExists, "create", &[Errno::EEXIST]);
    told(create(CreateOptions::new(0)), ErrorKind::InvalidSize, "create", &[]);
    told(create(CreateOptions::new(usize::MAX)), ErrorKind::InvalidSize, "create", &[]);
    told(create(CreateOptions::new(1).mode(0o1600)), ErrorKind::InvalidOptions, "create", &[]);
    told(create(CreateOptions::new(1).mode(0o400)), ErrorKind::InvalidOptions, "create", &[]);
    told(small, ErrorKind::SizeMismatch { have, want }, "open", &[]);
    told(reader.write_at(0, b"x").unwrap_err(), ErrorKind::ReadOnly, "write to", &[]);
    told(reader.atomic_u64(0).unwrap_err(), ErrorKind::ReadOnly, "borrow from", &[]);
    told(region.atomic_u64(4).unwrap_err(), ErrorKind::Misaligned, "borrow from", &[]);
    let past = ErrorKind::OutOfBounds { offset: 4095, len: 2, region_len: 4096 };
    told(region.read_at(4095, &mut [0; 2]).unwrap_err(), past, "read from", &[]);
    told(region.write_at(4095, &[0; 2]).unwrap_err(), past, "write to", &[]);
    let mode = region.set_mode(0o1000).unwrap_err();
    told(mode, ErrorKind::InvalidOptions, "set the mode of", &[]);

    let missing_told = |error: Error, operation| {
        let enoent = [Errno::ENOENT];
        assert_told::<S>(&error, ErrorKind::NotFound, operation, Some(&missing), &enoent);
    };
    missing_told(backend.open(&missing, &OpenOptions::new()).unwrap_err(), "open");
    let soon = OpenOptions::new().timeout(Duration::from_millis(2));
    missing_told(backend.open(&missing, &soon).unwrap_err(), "open");
    missing_told(backend.remove(&missing).unwrap_err(), "remove");

    let removed = (region.remove(), region.remove().unwrap_err());
    assert!(removed.0.is_ok());
    assert_told::<S>(&removed.1, ErrorKind::NotFound, "remove", Some(&name), &[]);
}

pub fn an_identity_of_another_backend_is_told_alike_by_every_implementation<S: Sut>() {
    let name = Fresh::<S>::new();
    let id = RegionId::named("elsewhere", *name);
    let opened = S::backend().open_id(&id, &OpenOptions::new()).unwrap_err();
    let removed = S::backend().remove_id(&id).unwrap_err();
    for (error, operation) in [(opened, "open"), (removed, "remove")] {
        assert_told::<S>(&error, ErrorKind::InvalidName, operation, None, &[]);
        assert!(error.to_string().contains(&format!("{name}\"")), "{error}");
    }
}

pub fn what_is_no_shared_memory_is_told_alike_by_every_call<S: Sut>() {
    for plant in [Plant::DanglingLink, Plant::Fifo, Plant::Directory, Plant::Socket] {
        let name = Fresh::<S>::new();
        let Some(planted) = S::plant(plant, &name) else {
            return skip::<S>("nothing foreign can have a name");
        };
        let told = |error: Error, operation| {
            // What opening says of it depends on what it is.
            let errnos = [Errno::ELOOP, Errno::EISDIR, Errno::EINVAL, Errno::ENXIO, Errno::ENODEV];
            let kind = ErrorKind::NotSharedMemory;
            assert_told::<S>(&error, kind, operation, Some(&name), &errnos[..]);
        };
        let options = OpenOptions::new();
        let opened = S::backend().open(&name, &options).unwrap_err();
        match opened.raw_os_error() {
            Some(_) => told(opened, "open"),
            None => assert_told::<S>(&opened, ErrorKind::NotSharedMemory, "open", Some(&name), &[]),
        }
        for (error, operation) in
            [(S::backend().exists(&name).unwrap_err(), "look for"), (S::backend().remove(&name).unwrap_err(), "remove")]
        {
            assert_told::<S>(&error, ErrorKind::NotSharedMemory, operation, Some(&name), &[]);
        }
        assert!((planted.untouched)());
    }
    let name = Fresh::<S>::new();
    let _planted = S::plant(Plant::Unsized, &name);
    let soon = OpenOptions::new().timeout(Duration::from_millis(2));
    let error = S::backend().open(&name, &soon).unwrap_err();
    assert_told::<S>(&error, ErrorKind::NotReady, "open", Some(&name), &[]);
}

pub fn a_lack_of_permission_is_told_alike_by_every_implementation<S: Sut>() {
    if !is_root() {
        return skip::<S>("takes root to become somebody else");
    }
    let (closed, shut) = (Fresh::<S>::new(), Fresh::<S>::new());
    create::<S>(&closed, 1);
    create::<S>(&shut, 1).set_mode(0o666).unwrap();
    role::<S>("lacks_permission").arg(closed.as_str()).arg(shut.as_str()).as_user(NOBODY).run();
}

pub fn lacks_permission<S: Sut>(arguments: &[String]) {
    let (closed, shut) = (name_in(arguments, 0), name_in(arguments, 1));
    let backend = S::backend();
    let told = |error: Error, operation, name, errnos: &[Errno]| {
        assert_told::<S>(&error, ErrorKind::PermissionDenied, operation, Some(name), errnos);
    };
    let opened = backend.open(&closed, &OpenOptions::new()).unwrap_err();
    told(opened, "open", &closed, &[Errno::EACCES]);
    let stranger = OpenOptions::new().expect_owner(NOBODY);
    told(backend.open(&shut, &stranger).unwrap_err(), "open", &shut, &[]);
    // The C library and the backend choose between the two.
    let either = [Errno::EACCES, Errno::EPERM];
    told(backend.remove(&closed).unwrap_err(), "remove", &closed, &either);
    let region = open::<S>(&shut);
    told(region.remove().unwrap_err(), "remove", &shut, &either);
    told(region.set_mode(0o600).unwrap_err(), "set the mode of", &shut, &[Errno::EPERM]);
    let given = region.set_owner(Some(NOBODY), None).unwrap_err();
    told(given, "set the owner of", &shut, &[Errno::EPERM]);
}

pub fn a_full_store_is_told_alike_by_every_implementation<S: Sut>() {
    let Some(store) = S::small_store(1 << 16).filter(|_| is_root()) else {
        return skip::<S>("takes root, and a store that a test can make small");
    };
    role::<S>("lacks_space").confined(store).run();
}

pub fn lacks_space<S: Sut>(_: &[String]) {
    let name = Fresh::<S>::new();
    let create = |size| S::backend().create_new(&name, &CreateOptions::new(size)).unwrap_err();
    for size in [(1 << 16) + 1, 1 << 20, 1 << 30] {
        let error = create(size);
        let enospc = [Errno::ENOSPC];
        assert_told::<S>(&error, ErrorKind::NoSpace, "create", Some(&name), &enospc);
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::StorageFull);
    }
}

pub fn an_error_becomes_an_io_error_that_keeps_it<S: Sut>() {
    let name = Fresh::<S>::new();
    let error = S::backend().open(&name, &OpenOptions::new()).unwrap_err();
    let text = error.to_string();
    let error: io::Error = error.into();
    assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::NotFound, text));
    let inner = error.get_ref().unwrap().downcast_ref::<Error>().unwrap();
    assert_eq!(inner.kind(), ErrorKind::NotFound);
    assert_eq!(inner.raw_os_error(), Some(Errno::ENOENT as i32));
    assert_eq!(inner.get_backend(), Some(S::backend().name()));
    let owned = error.into_inner().unwrap().downcast::<Error>().unwrap();
    assert_eq!(owned.get_operation(), "open");
    // By `?`, as users do.
    let caught = || -> io::Result<()> { Ok(S::backend().remove(&name)?) };
    assert_eq!(caught().unwrap_err().kind(), io::ErrorKind::NotFound);
}

pub fn every_kind_of_error_has_the_io_kind_of_the_table<S: Sut>() {
    use io::ErrorKind as Io;
    let bounds = ErrorKind::OutOfBounds { offset: 1, len: 2, region_len: 2 };
    let limit = ErrorKind::LimitExceeded { limit: "RLIMIT_NOFILE", value: 3 };
    for (kind, errno, io_kind) in [
        (ErrorKind::InvalidName, None, Io::InvalidInput),
        (ErrorKind::InvalidSize, None, Io::InvalidInput),
        (ErrorKind::InvalidOptions, None, Io::InvalidInput),
        (bounds, None, Io::InvalidInput),
        (ErrorKind::Misaligned, None, Io::InvalidInput),
        (ErrorKind::NotFound, Some(Errno::EIDRM), Io::NotFound),
        (ErrorKind::AlreadyExists, Some(Errno::EEXIST), Io::AlreadyExists),
        (ErrorKind::PermissionDenied, Some(Errno::EPERM), Io::PermissionDenied),
        (ErrorKind::ReadOnly, None, Io::PermissionDenied),
        (ErrorKind::SizeMismatch { have: 1, want: 2 }, None, Io::InvalidInput),
        (ErrorKind::NoSpace, Some(Errno::ENOSPC), Io::StorageFull),
        (ErrorKind::NoSpace, Some(Errno::ENOMEM), Io::OutOfMemory),
        (ErrorKind::NoSpace, Some(Errno::EDQUOT), Io::QuotaExceeded),
        (limit, Some(Errno::EMFILE), Io::QuotaExceeded),
        (limit, Some(Errno::EFBIG), Io::FileTooLarge),
        (ErrorKind::NotReady, None, Io::TimedOut),
        (ErrorKind::Busy, Some(Errno::EWOULDBLOCK), Io::TimedOut),
        (ErrorKind::NotSharedMemory, Some(Errno::ELOOP), Io::InvalidData),
        (ErrorKind::AddressInUse, Some(Errno::EINVAL), Io::AddrInUse),
        (ErrorKind::Unsupported, None, Io::Unsupported),
        (ErrorKind::BackendUnavailable, Some(Errno::ENOSYS), Io::Unsupported),
        (ErrorKind::Unexpected, Some(Errno::EPIPE), Io::BrokenPipe),
        (ErrorKind::Unexpected, None, Io::Other),
    ] {
        let mut error = Error::new(kind).operation("try").backend(S::backend().name());
        if let Some(errno) = errno {
            error = error.errno(errno as i32);
        }
        let text = error.to_string();
        assert_eq!(text.lines().count(), 1);
        let converted = io::Error::from(error);
        assert_eq!(converted.kind(), io_kind, "{text}");
        let kept = converted.get_ref().unwrap().downcast_ref::<Error>().unwrap();
        assert_eq!((kept.kind(), kept.raw_os_error()), (kind, errno.map(|errno| errno as i32)));
    }
}

pub fn no_caller_sees_a_signal<S: Sut>() {
    let mut second = role::<S>("is_interrupted").start();
    let pid = Pid::from_raw(second.pid());
    assert_eq!(second.hear(), "listening");
    second.tell("go");
    let calm = AtomicBool::new(false);
    let heard = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !calm.load(Relaxed) {
                kill(pid, Signal::SIGUSR1).unwrap();
            }
        });
        let heard = catch_unwind(AssertUnwindSafe(|| second.hear()));
        calm.store(true, Relaxed);
        heard
    });
    second.finish();
    let interruptions: usize = heard.unwrap().parse().unwrap();
    assert!(interruptions > 200, "only {interruptions} signals came through");
}

static INTERRUPTIONS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn interrupt(_: c_int) {
    INTERRUPTIONS.fetch_add(1, Relaxed);
}

/// Uses every call while signals come, whose handler has system calls fail with EINTR.
pub fn is_interrupted<S: Sut>(_: &[String]) {
    let action = SigAction::new(SigHandler::Handler(interrupt), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing but one atomic addition, which is safe at any point of the program.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    say("listening");
    hear();
    let (backend, name) = (S::backend(), Fresh::<S>::new());
    let options = CreateOptions::new(8 << 20);
    for round in 0.. {
        if round >= rounds(5) && INTERRUPTIONS.load(Relaxed) > 200 {
            break;
        }
        let mut region = backend.create_new(&name, &options).unwrap();
        assert_eq!(open::<S>(&name).len(), 8 << 20);
        let small = OpenOptions::new().timeout(Duration::from_millis(3));
        let missing = Fresh::<S>::new();
        let error = backend.open(&missing, &small).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        if backend.capabilities().grow() {
            region.grow(9 << 20).unwrap();
        }
        region.refresh().unwrap();
        let _ = region.try_clone().unwrap().metadata().unwrap();
        backend.create_unnamed(&options).unwrap();
        backend.probe().unwrap();
        assert!(backend.exists(&name).unwrap());
        if S::reaches_by_identity().is_some() {
            backend.set_mode(&name, 0o640).unwrap();
            assert_eq!(backend.metadata(&name).unwrap().mode(), 0o640);
        }
        backend.list().unwrap();
        backend.remove(&name).unwrap();
    }
    say(&INTERRUPTIONS.load(Relaxed).to_string());
}

pub fn a_sandbox_is_told_apart_from_a_missing_name<S: Sut>() {
    let Some(own_call) = S::own_call() else {
        return skip::<S>("nobody can forbid its calls alone");
    };
    if !trace::works::<S>() {
        return;
    }
    let name = Fresh::<S>::new();
    create::<S>(&name, 1);
    for errno in [Errno::EPERM, Errno::ENOSYS] {
        let mut second = role::<S>("is_forbidden").arg(name.as_str()).start();
        for operation in FORBIDDEN {
            let mut refused = 0;
            let seen = trace::follow(&mut second, operation, |call| {
                if own_call(call) {
                    refused += 1;
                    Fate::Fail(errno)
                } else {
                    Fate::Pass
                }
            });
            assert_eq!(seen.end, None);
            let outcome = second.hear();
            match (operation, refused) {
                // The list can come from elsewhere.
                ("list", 0) => assert_eq!(outcome, "Ok"),
                ("metadata" | "set_mode", 0) if S::reaches_by_identity().is_none() => {
                    assert!(outcome.starts_with("Unsupported"), "{outcome}");
                }
                _ => assert_eq!(outcome, format!("BackendUnavailable {errno:?}"), "{operation}"),
            }
        }
        second.tell("");
        second.finish();
    }
    assert!(S::backend().exists(&name).unwrap());
}

const FORBIDDEN: [&str; 11] = [
    "probe",
    "create_new",
    "create_with",
    "create_unnamed",
    "open_or_create",
    "open",
    "open missing",
    "exists",
    "list",
    "metadata",
    "set_mode",
];

/// Does what it is told while the backend's own calls are forbidden.
pub fn is_forbidden<S: Sut>(arguments: &[String]) {
    let (backend, taken, free) = (S::backend(), name_in(arguments, 0), Fresh::<S>::new());
    let (options, open) = (CreateOptions::new(1), OpenOptions::new());
    loop {
        let outcome = trace::act(|operation| match operation {
            "probe" => backend.probe(),
            "create_new" => backend.create_new(&free, &options).map(drop),
            "create_with" => backend.create_with(&free, &options, |_| Ok(())).map(drop),
            "create_unnamed" => backend.create_unnamed(&options).map(drop),
            "open_or_create" => backend.open_or_create(&free, &options).map(drop),
            "open" => backend.open(&taken, &open).map(drop),
            "open missing" => backend.open(&free, &open).map(drop),
            "exists" => backend.exists(&free).map(drop),
            "list" => backend.list().map(drop),
            "metadata" => backend.metadata(&taken).map(drop),
            "set_mode" => backend.set_mode(&taken, 0o640),
            _ => panic!("{operation}"),
        });
        match outcome {
            None => return,
            Some(Ok(())) => say("Ok"),
            Some(Err(error)) => {
                let errno = error.raw_os_error().map(Errno::from_raw);
                say(&format!("{:?} {:?}", error.kind(), errno.unwrap_or(Errno::UnknownErrno)));
                assert_eq!(error.get_backend(), Some(backend.name()), "{error}");
            }
        }
    }
}
