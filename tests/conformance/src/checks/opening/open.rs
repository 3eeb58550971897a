//! O: opening.

use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::mman::{ProtFlags, mprotect};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use shared_region::{
    Access, Backend, CreateOptions, ErrorKind, OpenOptions, RegionName, Removal, SharedRegion, SharedRegionExt,
};

use crate::support::child::{NOBODY, forked, hear, is_root, role, say, skip};
use crate::support::conversation::Conversation;
use crate::sut::{Fresh, Plant, Sut, bytes_of, create, load_u64, open};

type Region<S> = <<S as Sut>::Backend as Backend>::Region;

fn read_only<S: Sut>(name: &RegionName) -> Region<S> {
    S::backend().open(name, &OpenOptions::new().read_only(true)).unwrap()
}

/// The shortest that `act` took in a few tries, of which the machine may have delayed some.
fn shortest(mut act: impl FnMut()) -> Duration {
    let tries = (0..5).map(|_| {
        let start = Instant::now();
        act();
        start.elapsed()
    });
    tries.min().unwrap()
}

pub fn a_missing_name_is_not_found_at_once<S: Sut>() {
    let name = Fresh::<S>::new();
    for options in [
        OpenOptions::new(),
        OpenOptions::new().read_only(true),
        OpenOptions::new().min_size(1),
        OpenOptions::new().expect_owner(0),
        OpenOptions::new().timeout(Duration::ZERO),
    ] {
        let took = shortest(|| {
            let error = S::backend().open(&name, &options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert_eq!(error.raw_os_error(), Some(Errno::ENOENT as i32), "{error}");
        });
        assert!(took < Duration::from_millis(200), "{options:?} took {took:?}");
    }
    assert!(!S::backend().exists(&name).unwrap());
}

pub fn the_size_comes_from_the_object<S: Sut>() {
    for size in [1, 7, 4095, 4096, 4097, 5000, 1 << 20] {
        let name = Fresh::<S>::new();
        let created = create::<S>(&name, size);
        created.fill_at(0, size, 0xA5).unwrap();
        for min_size in [0, 1, size / 2, size] {
            for read_only in [false, true] {
                let options = OpenOptions::new().min_size(min_size).read_only(read_only);
                let region = S::backend().open(&name, &options).unwrap();
                assert_eq!(region.len(), size, "{options:?}");
                assert_eq!(bytes_of(&region), vec![0xA5; size]);
            }
        }
    }
}

pub fn a_min_size_above_the_object_is_size_mismatch_to_the_byte<S: Sut>() {
    for have in [1, 4095, 4096, 5000] {
        let name = Fresh::<S>::new();
        let _created = create::<S>(&name, have);
        for want in [have + 1, 8192, isize::MAX as usize, usize::MAX] {
            for read_only in [false, true] {
                // Waiting would not help, so it is not waited.
                let options = OpenOptions::new().min_size(want).read_only(read_only).timeout(Duration::from_secs(600));
                let error = S::backend().open(&name, &options).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::SizeMismatch { have, want }, "{error}");
            }
        }
        assert_eq!(open::<S>(&name).len(), have);
    }
}

pub fn an_object_as_large_as_an_address_space_is_an_error_and_no_panic<S: Sut>() {
    let over = OpenOptions::new().validate_size(isize::MAX as u64 + 1).unwrap_err();
    assert_eq!(over.kind(), ErrorKind::InvalidSize);
    let name = Fresh::<S>::new();
    let Some(planted) = S::plant(Plant::Unsized, &name) else {
        return skip::<S>("its objects never get another size");
    };
    // The largest that there is, as Linux counts file sizes in 63 bits.
    if S::native_resize(&name, i64::MAX as u64).unwrap().is_err() {
        return skip::<S>("its file system has no such files");
    }
    for options in [OpenOptions::new(), OpenOptions::new().read_only(true)] {
        let error = S::backend().open(&name, &options).unwrap_err();
        // A processor of 32 bits cannot even say it.
        let (kind, errno) = match usize::BITS {
            64 => (ErrorKind::NoSpace, Some(Errno::ENOMEM as i32)),
            _ => (ErrorKind::InvalidSize, None),
        };
        assert_eq!((error.kind(), error.raw_os_error()), (kind, errno), "{error}");
        assert!(usize::BITS == 64 || error.to_string().contains("9223372036854775807 bytes"), "{error}");
    }
    drop(planted);
}

pub fn a_read_only_open_needs_read_permission_alone<S: Sut>() {
    if !is_root() {
        return skip::<S>("only root can become other users");
    }
    let mut nobody = Conversation::<S>::of(Some(NOBODY));
    // Somebody else's region that others may read, one that its group may read, and one's own.
    for (mode, user, group) in [(0o604, 0, 0), (0o640, 0, NOBODY), (0o400, NOBODY, 0)] {
        let name = Fresh::<S>::new();
        let region = create::<S>(&name, 5000);
        region.write_at(0, b"text").unwrap();
        region.set_owner(Some(user), Some(group)).unwrap();
        region.set_mode(mode).unwrap();
        nobody.order(format!("open-read {name}"));
        assert_eq!(nobody.ask("read 4"), "text");
        assert_eq!(nobody.ask("write other"), "ReadOnly");
        assert_eq!(nobody.ask(format!("open {name}")), "PermissionDenied EACCES");
        assert_eq!(bytes_of(&region)[..5], *b"text\0");
    }
}

pub fn writing_to_a_read_only_region_is_read_only<S: Sut>() {
    let name = Fresh::<S>::new();
    let created = create::<S>(&name, 4096);
    created.fill_at(0, 4096, 0x5A).unwrap();
    let mut region = read_only::<S>(&name);
    assert_eq!((region.access(), created.access()), (Access::ReadOnly, Access::ReadWrite));
    let clone = region.try_clone().unwrap();
    for region in [&region, &clone] {
        let refused = [
            region.write_at(0, b"x").err(),
            region.write_at(0, &[]).err(),
            region.write_at(0, &[0; 4096]).err(),
            region.fill_at(0, 1, 0).err(),
            region.atomic_u8(0).err(),
            region.atomic_u16(0).err(),
            region.atomic_u32(0).err(),
            region.atomic_u64(0).err(),
            region.view::<[std::sync::atomic::AtomicU32; 4]>(0).err(),
            region.slice_view::<std::sync::atomic::AtomicU64>(0, 2).err(),
            region.as_mut_ptr().err(),
        ];
        for (index, error) in refused.into_iter().enumerate() {
            let error = error.unwrap_or_else(|| panic!("call {index} was let through"));
            assert_eq!(error.kind(), ErrorKind::ReadOnly, "call {index}: {error}");
        }
        for order in [Ordering::Relaxed, Ordering::Acquire, Ordering::SeqCst] {
            assert_eq!(load_u64(region, 8, order), 0x5A5A_5A5A_5A5A_5A5A);
        }
    }
    // SAFETY: the slice is not used, as there is none.
    assert_eq!(unsafe { region.as_mut_slice() }.unwrap_err().kind(), ErrorKind::ReadOnly);
    let unknown = if region.capabilities().grow() { ErrorKind::ReadOnly } else { ErrorKind::Unsupported };
    assert_eq!(region.grow(8192).unwrap_err().kind(), unknown);
    assert_eq!(bytes_of(&created), vec![0x5A; 4096]);
}

#[cfg(feature = "zerocopy")]
pub fn writing_a_value_to_a_read_only_region_is_read_only<S: Sut>() {
    let name = Fresh::<S>::new();
    let created = create::<S>(&name, 4096);
    created.write_value(1, &7_u64).unwrap();
    let region = read_only::<S>(&name);
    assert_eq!(region.write_value(1, &8_u64).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(region.read_value::<u64>(1).unwrap(), 7);
}

#[cfg(not(feature = "zerocopy"))]
pub fn writing_a_value_to_a_read_only_region_is_read_only<S: Sut>() {
    skip::<S>("the feature zerocopy is off");
}

pub fn a_raw_write_to_a_read_only_region_dies_of_sigsegv<S: Sut>() {
    let name = Fresh::<S>::new();
    let created = create::<S>(&name, 4096);
    let region = read_only::<S>(&name);
    let clone = region.try_clone().unwrap();
    for start in [region.as_ptr(), clone.as_ptr()] {
        let end = forked(|| {
            // SAFETY: the byte is mapped; that the write is a fault and ends this child is what is being checked.
            unsafe { start.cast_mut().write_volatile(1) };
            0
        });
        assert!(matches!(end, WaitStatus::Signaled(_, Signal::SIGSEGV, _)), "{end:?}");
    }
    assert_eq!(bytes_of(&created), vec![0; 4096]);
}

pub fn mprotect_does_not_make_a_read_only_region_writable<S: Sut>() {
    let protect = |region: &Region<S>| {
        let start = NonNull::new(region.as_ptr().cast_mut().cast()).unwrap();
        let end = forked(|| {
            let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
            // SAFETY: no reference to the page exists in this child, which ends with this call; mprotect(2).
            let result = unsafe { mprotect(start, 4096, protection) };
            result.err().map_or(0, |errno| errno as i32)
        });
        match end {
            WaitStatus::Exited(_, code) => Errno::from_raw(code),
            other => panic!("{other:?}"),
        }
    };
    let name = Fresh::<S>::new();
    let created = create::<S>(&name, 4096);
    assert_eq!(protect(&read_only::<S>(&name)), Errno::EACCES);
    assert_eq!(protect(&created), Errno::UnknownErrno, "the premise: 0, no error");
}

pub fn the_same_object_opened_twice_gives_two_coherent_mappings<S: Sut>() {
    let name = Fresh::<S>::new();
    let first = create::<S>(&name, 5000);
    let second = open::<S>(&name);
    let third = read_only::<S>(&name);
    let starts = [first.as_ptr(), second.as_ptr(), third.as_ptr()];
    let apart = starts[0] != starts[1] && starts[1] != starts[2] && starts[0] != starts[2];
    assert!(apart || !S::shares_with_processes());
    first.write_at(4990, b"from first").unwrap();
    assert_eq!(bytes_of(&second)[4990..], *b"from first");
    second.write_at(0, b"from second").unwrap();
    assert_eq!(bytes_of(&first), bytes_of(&third));
    first.atomic_u64(64).unwrap().store(1, Ordering::Relaxed);
    assert_eq!(second.atomic_u64(64).unwrap().fetch_add(1, Ordering::Relaxed), 1);
    assert_eq!(load_u64(&third, 64, Ordering::Relaxed), 2);
    // They do not depend on each other.
    drop(first);
    assert_eq!(bytes_of(&second)[..11], *b"from second");
    drop(second);
    assert_eq!(bytes_of(&third)[4990..], *b"from first");
}

pub fn two_mappings_in_a_process_are_counted_twice<S: Sut>() {
    if !S::backend().capabilities().attach_count() {
        return skip::<S>("it does not count");
    }
    let name = Fresh::<S>::new();
    role::<S>("counts_mappings").arg(name.as_str()).run();
}

pub fn counts_mappings<S: Sut>(arguments: &[String]) {
    let name = RegionName::new(&arguments[0]).unwrap();
    let first = create::<S>(&name, 4096);
    let count = || first.metadata().unwrap().attach_count();
    assert_eq!(count(), Some(1));
    let second = open::<S>(&name);
    assert_eq!(count(), Some(2));
    let third = second.try_clone().unwrap();
    assert_eq!(count(), Some(3));
    drop((second, third));
    assert_eq!(count(), Some(1));
}

pub fn descriptors_are_close_on_exec<S: Sut>() {
    if !S::backend().capabilities().file_descriptor() {
        return skip::<S>("it has no descriptors");
    }
    let backend = S::backend();
    let name = Fresh::<S>::new();
    let created = create::<S>(&name, 4096);
    let on_drop = CreateOptions::new(4096).removal(Removal::OnDrop);
    let regions = [
        open::<S>(&name),
        read_only::<S>(&name),
        created.try_clone().unwrap(),
        created,
        backend.create_unnamed(&CreateOptions::new(4096)).unwrap(),
        backend.create_unique("conf-", &on_drop).unwrap(),
    ];
    for (index, region) in regions.iter().enumerate() {
        let flags = fcntl(region.descriptor().unwrap(), FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, FdFlag::FD_CLOEXEC.bits(), "region {index}");
    }
}

pub fn a_spawned_program_inherits_neither_descriptors_nor_mappings<S: Sut>() {
    let name = Fresh::<S>::new();
    role::<S>("spawns_with_regions_open").arg(name.as_str()).run();
}

pub fn spawns_with_regions_open<S: Sut>(arguments: &[String]) {
    let name = RegionName::new(&arguments[0]).unwrap();
    let inherited = || {
        let mut program = role::<S>("says_what_it_holds").start();
        (program.hear(), program)
    };
    let (before, program) = inherited();
    program.finish();

    let created = create::<S>(&name, 4096);
    let regions = [
        open::<S>(&name),
        read_only::<S>(&name),
        created.try_clone().unwrap(),
        S::backend().create_unnamed(&CreateOptions::new(4096)).unwrap(),
    ];
    let (during, program) = inherited();
    assert_eq!(before, during);
    if let Some(count) = created.metadata().unwrap().attach_count() {
        assert_eq!(count, 4, "the program is still running");
    }
    program.finish();
    drop(regions);
}

pub fn says_what_it_holds<S: Sut>(_: &[String]) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let shared = maps.lines().filter(|line| line.split(' ').nth(1).unwrap().ends_with('s')).count();
    say(&format!("{descriptors} descriptors, {shared} shared mappings"));
    hear();
}

pub fn a_timeout_that_passes_is_not_found_and_not_early<S: Sut>() {
    let name = Fresh::<S>::new();
    for millis in [1, 20, 150] {
        let timeout = Duration::from_millis(millis);
        let options = OpenOptions::new().timeout(timeout);
        let took = shortest(|| {
            let error = S::backend().open(&name, &options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        });
        assert!(took >= timeout, "{timeout:?} was asked for, it took {took:?}");
        assert!(took < timeout + Duration::from_millis(100), "{timeout:?}: it took {took:?}");
    }
}

pub fn an_open_with_a_timeout_meets_the_creator<S: Sut>() {
    let name = Fresh::<S>::new();
    let mut waiting = Conversation::<S>::of(None);
    let region = thread::scope(|scope| {
        let opened = scope.spawn(|| waiting.ask(format!("open-waiting {name}")));
        // Usually it is waiting by then; if not the answer is the same.
        thread::sleep(Duration::from_millis(20));
        let region = create::<S>(&name, 5000);
        assert_eq!(opened.join().unwrap(), "ok");
        region
    });
    region.write_at(0, b"met").unwrap();
    assert_eq!(waiting.ask("read 3"), "met");
}

pub fn a_timeout_delays_nothing_that_exists<S: Sut>() {
    let name = Fresh::<S>::new();
    let _region = create::<S>(&name, 4096);
    let options = OpenOptions::new().timeout(Duration::from_secs(600));
    let took = shortest(|| drop(S::backend().open(&name, &options).unwrap()));
    assert!(took < Duration::from_millis(200), "{took:?}");
}

pub fn a_timeout_is_one_deadline_for_a_missing_name_and_a_size_of_zero<S: Sut>() {
    let name = Fresh::<S>::new();
    if S::plant(Plant::Unsized, &name).is_none() {
        return skip::<S>("its objects are never without a size");
    }
    let timeout = Duration::from_millis(300);
    let options = OpenOptions::new().timeout(timeout);
    let once = || {
        thread::scope(|scope| {
            let opened = scope.spawn(|| {
                let start = Instant::now();
                let error = S::backend().open(&name, &options).unwrap_err();
                (error.kind(), start.elapsed())
            });
            thread::sleep(Duration::from_millis(200));
            let _planted = S::plant(Plant::Unsized, &name);
            let (kind, took) = opened.join().unwrap();
            assert!(took >= timeout, "{took:?}");
            (kind, took)
        })
    };
    // A second deadline would make it 500 ms. The machine may delay one side or the other in some tries.
    let as_expected =
        (0..10).map(|_| once()).any(|(kind, took)| kind == ErrorKind::NotReady && took < Duration::from_millis(480));
    assert!(as_expected);
}

pub fn an_open_with_a_timeout_waits_for_the_size<S: Sut>() {
    let name = Fresh::<S>::new();
    let Some(_planted) = S::plant(Plant::Unsized, &name) else {
        return skip::<S>("its objects are never without a size");
    };
    for read_only in [false, true] {
        let options = OpenOptions::new().read_only(read_only).timeout(Duration::from_millis(30));
        let start = Instant::now();
        let error = S::backend().open(&name, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotReady, "{error}");
        assert!(start.elapsed() >= Duration::from_millis(30));
        let at_once = options.clone().timeout(Duration::ZERO);
        let error = S::backend().open(&name, &at_once).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotReady, "{error}");
    }
    let options = OpenOptions::new().timeout(Duration::from_secs(600));
    thread::scope(|scope| {
        let opened = scope.spawn(|| S::backend().open(&name, &options).unwrap().len());
        thread::sleep(Duration::from_millis(20));
        S::native_resize(&name, 5000).unwrap().unwrap();
        assert_eq!(opened.join().unwrap(), 5000);
    });
}
