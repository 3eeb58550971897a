//! What each of the two backends is said to do, by its name. The contract's checks never ask for that.

/// How an error names its backend, and how it ends.
#[cfg(any(feature = "posix", feature = "sysv"))]
fn unknown_name(backend: impl shared_region::Backend) -> String {
    let name = shared_region::RegionName::new("native-nobody-has-this").unwrap();
    backend.open(&name, &shared_region::OpenOptions::new()).unwrap_err().to_string()
}

/// `u32::MAX` is -1 in C: one call takes it for "unchanged", the other for an error.
#[cfg(any(feature = "posix", feature = "sysv"))]
fn no_owner_is_minus_1(backend: impl shared_region::Backend) {
    use shared_region::{CreateOptions, ErrorKind, SharedRegion};
    let region = backend.create_unnamed(&CreateOptions::new(1)).unwrap();
    for (uid, gid) in [(Some(u32::MAX), None), (None, Some(u32::MAX))] {
        let error = region.set_owner(uid, gid).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidOptions, "{error}");
    }
    region.set_owner(None, None).unwrap();
}

/// Creates a region in a process with pid 1, and drops the copy of it that a forked child has, with pid 1 too.
/// Says on the terminal, past the test runner's capture, that a check cannot run here.
#[cfg(all(target_os = "linux", any(feature = "posix", feature = "sysv")))]
fn skip(reason: &str) {
    use std::io::Write;
    let thread = std::thread::current();
    let _ = writeln!(std::io::stderr(), "skipped: {}: {reason}", thread.name().unwrap_or("?"));
}

#[cfg(all(target_os = "linux", any(feature = "posix", feature = "sysv")))]
fn removal_on_drop_tells_processes_with_the_same_pid_apart(backend: impl shared_region::Backend) {
    use nix::sched::{CloneFlags, unshare};
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork, geteuid};
    use shared_region::{CreateOptions, RegionName, Removal};

    /// Runs `act` as pid 1 of a new PID namespace; it returns its exit code, or 100 if there can be no such namespace.
    fn as_pid_1(act: impl FnOnce() -> i32) -> i32 {
        // SAFETY: the child runs what the parent's other threads do not touch, and leaves by `_exit`; fork(2).
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let code = match unshare(CloneFlags::CLONE_NEWPID) {
                    // SAFETY: as above; this process has one thread.
                    Ok(()) => match unsafe { fork() } {
                        Ok(ForkResult::Child) => act(),
                        Ok(ForkResult::Parent { child }) => exit_code(waitpid(child, None)),
                        Err(_) => 100,
                    },
                    Err(_) => 100,
                };
                // SAFETY: nothing of this program runs after it; _exit(2).
                unsafe { nix::libc::_exit(code) }
            }
            ForkResult::Parent { child } => exit_code(waitpid(child, None)),
        }
    }

    fn exit_code(end: nix::Result<WaitStatus>) -> i32 {
        if let Ok(WaitStatus::Exited(_, code)) = end { code } else { 101 }
    }

    if !geteuid().is_root() {
        skip("a PID namespace takes root");
        return;
    }
    let name = RegionName::new(&format!("pid-1-{}-{}", backend.name(), std::process::id())).unwrap();
    let code = as_pid_1(|| {
        let options = CreateOptions::new(1).removal(Removal::OnDrop);
        let Ok(region) = backend.create_new(&name, &options) else { return 1 };
        let mut copy = Some(region);
        let forked = as_pid_1(|| {
            let same_pid = std::process::id() == 1;
            drop(copy.take());
            if same_pid { 0 } else { 2 }
        });
        let kept = backend.exists(&name).is_ok_and(|exists| exists);
        drop(copy);
        let removed = backend.exists(&name).is_ok_and(|exists| !exists);
        match (forked, std::process::id(), kept, removed) {
            (0, 1, true, true) => 0,
            (0, 1, false, _) => 3,
            (0, 1, true, false) => 4,
            _ => 5,
        }
    });
    let _ = backend.remove(&name);
    assert_eq!(code, 0, "3: the forked child removed it; 4: its creator did not");
}

/// Maps a region over and over in a child, until Linux lets it have no more mappings.
#[cfg(all(target_os = "linux", any(feature = "posix", feature = "sysv")))]
fn too_many_mappings_are_told_as_such(backend: impl shared_region::Backend) {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};
    use shared_region::{CreateOptions, ErrorKind, SharedRegion};

    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse().unwrap();
    if limit > 100_000 {
        skip(&format!("{limit} mappings take too long to make"));
        return;
    }
    let region = backend.create_unnamed(&CreateOptions::new(1)).unwrap();
    // SAFETY: the child runs what the parent's other threads do not touch, and leaves by `_exit`; fork(2).
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            // Room first, as an allocation may need a mapping too.
            let mut clones = Vec::with_capacity(100_000);
            let error = loop {
                match region.try_clone() {
                    Ok(clone) => clones.push(clone),
                    Err(error) => break error.kind(),
                }
            };
            let told = error == ErrorKind::LimitExceeded { limit: "vm.max_map_count", value: limit };
            // SAFETY: nothing of this program runs after it; _exit(2).
            unsafe { nix::libc::_exit(if told { 0 } else { 1 }) }
        }
        ForkResult::Parent { child } => assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0))),
    }
}

#[cfg(feature = "posix")]
mod posix {
    use std::thread;

    use shared_region::{AnyBackend, Backend, Capabilities, CreateOptions, Posix, SharedRegion};

    #[test]
    fn no_owner_is_minus_1() {
        super::no_owner_is_minus_1(Posix);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn too_many_mappings_are_told_as_such() {
        super::too_many_mappings_are_told_as_such(Posix);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn removal_on_drop_tells_processes_with_the_same_pid_apart() {
        super::removal_on_drop_tells_processes_with_the_same_pid_apart(Posix);
    }

    /// A C program that grows the object without asking for the lock never loses what it grew.
    #[test]
    #[cfg(target_os = "linux")]
    fn growing_never_cuts_off_what_others_grew_meanwhile() {
        for _ in 0..2000 {
            let mut region = Posix.create_unnamed(&CreateOptions::new(4096)).unwrap();
            let other = std::fs::File::from(region.descriptor().unwrap().try_clone_to_owned().unwrap());
            thread::scope(|scope| {
                scope.spawn(|| other.set_len(1 << 20).unwrap());
                region.grow(8192).unwrap();
            });
            assert_eq!(other.metadata().unwrap().len(), 1 << 20);
            assert!(region.len() >= 8192);
        }
    }

    #[test]
    fn its_native_id_is_the_inode_that_ls_shows() {
        use std::os::unix::fs::MetadataExt;
        let region = Posix.create_unique("native-", &CreateOptions::new(1)).unwrap();
        let id = region.id().unwrap();
        let shown = std::fs::metadata(format!("/dev/shm{}", id.name().unwrap())).map(|file| file.ino());
        let known = [id.metadata(), region.metadata()].map(|metadata| metadata.unwrap().native_id());
        region.remove().unwrap();
        assert_eq!(known, [Some(shown.unwrap()); 2]);
    }

    #[test]
    fn its_capabilities_are_those_of_the_table() {
        let linux = cfg!(target_os = "linux");
        let table = Capabilities::new()
            .with_exact_names(true)
            .with_grow(linux)
            .with_atomic_init(linux)
            .with_attach_after_remove(true)
            .with_file_descriptor(true)
            .with_last_user(linux);
        assert_eq!(Posix.capabilities(), table);
        assert_eq!("posix".parse::<AnyBackend>().unwrap().capabilities(), table);
    }

    #[test]
    fn an_error_names_it_as_people_do() {
        let text = super::unknown_name(Posix);
        let head = "cannot open POSIX region \"/native-nobody-has-this\": ";
        assert!(text.starts_with(head) && text.ends_with(" (ENOENT)"), "{text}");
    }

    #[test]
    fn it_is_what_any_backend_of_its_name_is() {
        assert_eq!(Posix.name(), "posix");
        assert_eq!("posix".parse::<AnyBackend>().unwrap().to_string(), "posix");
    }
}

#[cfg(feature = "sysv")]
mod sysv {
    use shared_region::{AnyBackend, Backend, Capabilities, RegionName, Sysv};

    #[test]
    fn no_owner_is_minus_1() {
        super::no_owner_is_minus_1(Sysv);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn too_many_mappings_are_told_as_such() {
        super::too_many_mappings_are_told_as_such(Sysv);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn removal_on_drop_tells_processes_with_the_same_pid_apart() {
        super::removal_on_drop_tells_processes_with_the_same_pid_apart(Sysv);
    }

    #[test]
    fn its_native_id_is_the_segment_id_by_which_it_is_found() {
        use shared_region::{CreateOptions, RegionId, SharedRegion};
        let region = Sysv.create_unique("native-", &CreateOptions::new(1)).unwrap();
        let (id, segment) = (region.id().unwrap(), RegionId::Segment(region.shmid()));
        let known = [id.metadata(), segment.metadata(), region.metadata()];
        region.remove().unwrap();
        for metadata in known {
            let metadata = metadata.unwrap();
            assert_eq!((metadata.native_id(), metadata.key()), (Some(region.shmid() as u64), region.key()));
        }
        // A removed segment has no key any more.
        assert_eq!(segment.metadata().unwrap().key(), None);
    }

    #[test]
    fn its_capabilities_are_those_of_the_table() {
        let linux = cfg!(target_os = "linux");
        let table = Capabilities::new()
            .with_attach_count(true)
            .with_attach_after_remove(linux)
            .with_fixed_address(linux)
            .with_huge_pages(linux)
            .with_last_user(true)
            .with_fixed_size(true);
        assert_eq!(Sysv.capabilities(), table);
        assert_eq!("sysv".parse::<AnyBackend>().unwrap().capabilities(), table);
    }

    #[test]
    fn an_error_names_it_and_the_key_as_people_do() {
        let text = super::unknown_name(Sysv);
        let key = RegionName::new("native-nobody-has-this").unwrap().key() as u32;
        let head = format!("cannot open System V region \"/native-nobody-has-this\" (key {key:#x}): ");
        assert!(text.starts_with(&head) && text.ends_with(" (ENOENT)"), "{text}");
    }

    #[test]
    fn it_is_what_any_backend_of_its_name_is() {
        assert_eq!(Sysv.name(), "sysv");
        assert_eq!("sysv".parse::<AnyBackend>().unwrap().to_string(), "sysv");
    }
}
