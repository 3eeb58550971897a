//! O8 and S6: which pages a mapping has, where its bytes go, and what is kept beside it.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use shared_region::{
    Allocation, Backend, CreateOptions, Error, ErrorKind, OpenOptions, RegionName, Removal, Result, SharedRegion,
    SharedRegionExt,
};

use crate::support::child::{eventually, is_root, role, say, skip};
use crate::support::holdings::{Holdings, resident, smaps};
use crate::support::trace::{self, Fate};
use crate::sut::{Fresh, Sut, bytes_of, create, name_in, open};

const PAGE: usize = 4096;
const SIZE: usize = 1 << 20;

fn is_kept_out(region: &impl SharedRegion) -> bool {
    smaps(region, "VmFlags:").split_whitespace().any(|flag| flag == "dd")
}

pub fn what_is_kept_out_of_core_dumps_stays_out_whatever_becomes_of_the_mapping<S: Sut>() {
    if !S::shares_with_processes() {
        return skip::<S>("its regions are no mappings");
    }
    let (name, other) = (Fresh::<S>::new(), Fresh::<S>::new());
    let (options, out) = (CreateOptions::new(5000), OpenOptions::new().core_dump(false));
    let mut created = S::backend().create_new(&name, &options.clone().core_dump(false)).unwrap();
    let unnamed = S::backend().create_unnamed(&options.clone().core_dump(false)).unwrap();
    let init = |region: &_| -> Result<()> {
        assert!(is_kept_out(region));
        Ok(())
    };
    let filled = S::backend().create_with(&other, &options.core_dump(false), init).unwrap();
    let mut opened = S::backend().open(&name, &out).unwrap();
    let read_only = S::backend().open(&name, &out.clone().read_only(true)).unwrap();
    for region in [&created, &unnamed, &filled, &opened, &read_only] {
        assert!(is_kept_out(region));
        let clone = region.try_clone().unwrap();
        assert!(is_kept_out(&clone) && is_kept_out(&clone.try_clone().unwrap()));
    }
    if S::backend().capabilities().grow() {
        created.grow(3 * PAGE).unwrap();
        opened.refresh().unwrap();
        assert_eq!(opened.len(), 3 * PAGE);
        assert!(is_kept_out(&created) && is_kept_out(&opened));
    }
    // Everybody decides for themselves.
    let ordinary = open::<S>(&name);
    assert!(!is_kept_out(&ordinary) && !is_kept_out(&ordinary.try_clone().unwrap()));
}

pub fn a_core_has_the_bytes_of_a_region_unless_it_is_kept_out<S: Sut>() {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.trim_end() != "core" {
        return skip::<S>("cores do not go into the current directory here");
    }
    let [shown, hidden] = [Fresh::<S>::new(), Fresh::<S>::new()];
    let directory = std::env::temp_dir().join(format!("core-of-{}", shown.as_str()));
    fs::create_dir(&directory).unwrap();
    let dies = role::<S>("dies_with_a_core").arg(shown.as_str()).arg(hidden.as_str()).arg(directory.display());
    let end = dies.start().end();
    let core = fs::read_dir(&directory).unwrap().flatten().next().map(|file| fs::read(file.path()).unwrap());
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(end.signal(), Some(Signal::SIGABRT as i32));
    let Some(core) = core else { return skip::<S>("the system writes no core") };
    let has = |letter: u8| core.windows(PAGE).any(|bytes| bytes.iter().all(|byte| *byte == letter));
    assert_eq!((has(0xc3), has(0x3c)), (true, false));
}

pub fn dies_with_a_core<S: Sut>(arguments: &[String]) {
    let [shown, hidden] = [0, 1].map(|index| name_in(arguments, index));
    std::env::set_current_dir(&arguments[2]).unwrap();
    if setrlimit(Resource::RLIMIT_CORE, libc::RLIM_INFINITY, libc::RLIM_INFINITY).is_err() {
        std::process::abort();
    }
    fs::write("/proc/self/coredump_filter", "0x7f").unwrap();
    let options = CreateOptions::new(4 * PAGE);
    let shown = S::backend().create_new(&shown, &options).unwrap();
    shown.fill_at(0, 4 * PAGE, 0xc3).unwrap();
    let hidden = S::backend().create_new(&hidden, &options.core_dump(false)).unwrap();
    hidden.fill_at(0, 4 * PAGE, 0x3c).unwrap();
    std::process::abort();
}

pub fn thousands_of_regions_fit_into_a_few_descriptors<S: Sut>() {
    if S::maps_by_descriptor().is_none() {
        return skip::<S>("its regions have no descriptors, or keep them");
    }
    let role = role::<S>("has_thousands");
    match S::small_store(64 << 20).filter(|_| is_root()) {
        Some(store) => role.confined(store).run(),
        None => role.run(),
    }
}

pub fn has_thousands<S: Sut>(_: &[String]) {
    const MANY: usize = 5000;
    setrlimit(Resource::RLIMIT_NOFILE, 256, 256).unwrap();
    let backend = S::backend();
    let names: Vec<Fresh<S>> = (0..MANY).map(|_| Fresh::new()).collect();
    let before = Holdings::but_names();
    let lazy = CreateOptions::new(PAGE).allocation(Allocation::Lazy).keep_descriptor(false);
    let create = |(index, name): (usize, &Fresh<S>)| {
        let region = match index % 3 {
            0 => backend.create_new(name, &lazy),
            1 => backend.create_new(name, &lazy.clone().removal(Removal::OnDrop)),
            _ => backend.create_with(name, &lazy, |region| region.write_at(100, b"init")),
        };
        let region = region.unwrap();
        region.atomic_u64(0).unwrap().store(index as u64, std::sync::atomic::Ordering::Relaxed);
        region
    };
    let created: Vec<_> = names.iter().enumerate().map(create).collect();
    let opening = OpenOptions::new().keep_descriptor(false);
    let opened: Vec<_> = names.iter().map(|name| backend.open(name, &opening).unwrap()).collect();
    for (index, region) in opened.iter().enumerate() {
        assert_eq!(region.load_u64(0, std::sync::atomic::Ordering::Relaxed).unwrap(), index as u64);
    }
    for (index, region) in created.into_iter().enumerate() {
        if index % 3 != 1 {
            region.remove().unwrap();
        }
        drop(region);
        assert!(!backend.exists(&names[index]).unwrap());
    }
    drop(opened);
    assert_eq!(Holdings::but_names(), before);
}

#[track_caller]
fn is_unsupported<T>(result: Result<T, Error>) {
    let error = result.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("keep_descriptor(false)"), "{error}");
}

pub fn without_its_descriptor_a_region_says_what_it_cannot_do<S: Sut>() {
    role::<S>("has_no_descriptors").run();
}

/// Alone in its process, so that descriptors can be counted.
pub fn has_no_descriptors<S: Sut>(_: &[String]) {
    let (backend, name, other) = (S::backend(), Fresh::<S>::new(), Fresh::<S>::new());
    let before = Holdings::but_names();
    let (options, opening) =
        (CreateOptions::new(5000).keep_descriptor(false), OpenOptions::new().keep_descriptor(false));
    let region = backend.create_new(&name, &options).unwrap();
    let unnamed = backend.create_unnamed(&options).unwrap();
    let filled = backend.create_with(&other, &options, |region| region.write_at(0, b"filled")).unwrap();
    let opened = backend.open(&name, &opening.clone().read_only(true)).unwrap();
    region.write_at(4990, b"over there").unwrap();
    assert_eq!((&bytes_of(&opened)[4990..], &bytes_of(&filled)[..6]), (&b"over there"[..], &b"filled"[..]));
    let closes = S::maps_by_descriptor().is_some();
    if closes {
        let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
        let now = descriptors();
        drop(open::<S>(&name));
        assert_eq!(now, descriptors());
        let none = |mut region: <S::Backend as Backend>::Region| {
            let can = region.capabilities();
            assert!(!can.file_descriptor() && !can.grow() && !can.attach_after_remove());
            is_unsupported(region.descriptor());
            is_unsupported(region.try_clone());
            is_unsupported(region.refresh());
            if region.access() == shared_region::Access::ReadWrite {
                is_unsupported(region.grow(10_000));
            }
            (region.len() == 5000).then_some(region).unwrap()
        };
        let [region, unnamed, filled, opened] = [region, unnamed, filled, opened].map(none);
        is_unsupported(unnamed.metadata());
        is_unsupported(unnamed.set_mode(0o600));
        assert_eq!(opened.metadata().unwrap().size(), 5000);
        region.set_mode(0o640).unwrap();
        region.set_owner(None, Some(nix::unistd::getegid().as_raw())).unwrap();
        assert_eq!(opened.metadata().unwrap().mode(), 0o640);
        // Another object of the name is left alone.
        region.remove().unwrap();
        let error = opened.remove().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        is_unsupported(opened.metadata());
        let newer = create::<S>(&name, 100);
        let error = opened.remove().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        is_unsupported(opened.metadata());
        is_unsupported(opened.set_mode(0));
        is_unsupported(opened.set_owner(None, None));
        assert_eq!((newer.metadata().unwrap().mode(), bytes_of(&opened)[4990]), (0o600, b'o'));
        drop((region, unnamed, filled, opened, newer));
    } else {
        assert_eq!(region.try_clone().unwrap().len(), 5000);
        drop((region, unnamed, filled, opened));
    }
    assert_eq!(Holdings::but_names(), before);
}

pub fn opening_maps_in_every_page_if_asked<S: Sut>() {
    if !S::shares_with_processes() {
        return skip::<S>("its regions are no mappings");
    }
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, SIZE);
    region.fill_at(0, SIZE, 0x5a).unwrap();
    for options in [OpenOptions::new(), OpenOptions::new().read_only(true)] {
        let before = resident(&S::backend().open(&name, &options).unwrap()).0;
        assert_eq!(before, 0, "the check would see nothing");
        let region = S::backend().open(&name, &options.prefault(true)).unwrap();
        assert_eq!(resident(&region).0, SIZE);
        assert_eq!(bytes_of(&region), vec![0x5a; SIZE]);
    }
}

pub fn several_threads_map_in_every_page_and_none_of_them_is_left<S: Sut>() {
    role::<S>("prefaults_by_threads").arg(Fresh::<S>::new()).run();
    // Each of them meets the full store.
    match S::small_store(LARGE as u64 / 2).filter(|_| is_root()) {
        Some(store) => role::<S>("prefaults_by_threads").arg("/large").confined(store).run(),
        None => skip::<S>("no private store can be made here"),
    }
}

/// Enough for several.
const LARGE: usize = 80 << 20;

pub fn prefaults_by_threads<S: Sut>(arguments: &[String]) {
    let name = Fresh::<S>::named(name_in(arguments, 0));
    // The C library keeps stacks of threads that ended, so mappings do not tell.
    let held = || ["task", "fd"].map(|kind| fs::read_dir(format!("/proc/self/{kind}")).unwrap().count());
    let lazy = S::backend().create_new(&name, &CreateOptions::new(LARGE).allocation(Allocation::Lazy));
    let fits = arguments[0] != "/large";
    let Ok(lazy) = lazy else {
        assert!(!fits);
        return; // nothing larger than the store can be made
    };
    let before = held();
    for count in [3, 0, 1] {
        for options in [OpenOptions::new(), OpenOptions::new().read_only(true)] {
            match S::backend().open(&name, &options.prefault(true).prefault_threads(count)) {
                Ok(region) => {
                    assert!(fits);
                    assert_eq!(resident(&region).0, LARGE);
                }
                Err(error) => assert!(!fits && error.kind() == ErrorKind::NoSpace, "{error}"),
            }
            // A thread that was joined may stand in /proc for a moment more.
            assert!(eventually(|| held() == before), "{:?}", held());
        }
        if fits {
            let options = CreateOptions::new(LARGE).allocation(Allocation::Prefault).prefault_threads(count);
            let region = S::backend().create_unnamed(&options).unwrap();
            assert_eq!(resident(&region).0, LARGE);
            assert_ne!(region.metadata().unwrap().is_reserved(), Some(false));
        }
    }
    drop(lazy);
}

pub fn prefaulting_more_than_there_is_is_no_space_and_no_signal<S: Sut>() {
    let Some(store) = S::small_store(1 << 18).filter(|_| is_root()) else {
        return skip::<S>("no private store can be made here");
    };
    if !trace::works::<S>() {
        return;
    }
    let mut second = role::<S>("prefaults_too_much").confined(store).start();
    if second.hear() == "none" {
        return skip::<S>("nothing larger than the store can be made");
    }
    for access in ["read-write", "read-only", "read-write fits", "read-only fits"] {
        for knows in [true, false] {
            let (mut advised, advices) = (0, [libc::MADV_POPULATE_READ as u64, libc::MADV_POPULATE_WRITE as u64]);
            let seen = trace::follow(&mut second, access, |call| {
                let advice = call.is(&[libc::SYS_madvise]) && advices.contains(&call.arguments[2]);
                advised += usize::from(advice);
                // As kernels before 5.14 do.
                if advice && !knows { Fate::Fail(Errno::EINVAL) } else { Fate::Pass }
            });
            assert_eq!((seen.end, advised), (None, 1), "{access}");
            let answer = if access.ends_with("fits") { "mapped in" } else { "NoSpace Some(28)" };
            assert_eq!(second.hear(), answer, "{access}");
        }
    }
    second.tell("");
    second.finish();
}

pub fn prefaults_too_much<S: Sut>(_: &[String]) {
    let name = RegionName::new("large").unwrap();
    let lazy = CreateOptions::new(SIZE).allocation(Allocation::Lazy);
    if S::backend().create_new(&name, &lazy).is_err() {
        return say("none");
    }
    say("made");
    let options = OpenOptions::new().prefault(true);
    let fits = RegionName::new("fits").unwrap();
    while let Some(opened) = trace::act(|how| {
        if let Some(access) = how.strip_suffix(" fits") {
            // Without what the failures took of the store.
            let _ = S::backend().remove(&name);
            let _ = S::backend().remove(&fits);
            let made = S::backend().create_new(&fits, &CreateOptions::new(16 * PAGE).allocation(Allocation::Lazy))?;
            let opened = S::backend().open(&fits, &options.clone().read_only(access == "read-only"));
            drop(made);
            return opened;
        }
        S::backend().open(&name, &options.clone().read_only(how == "read-only"))
    }) {
        match opened {
            Ok(region) if resident(&region).0 == 16 * PAGE => say("mapped in"),
            Ok(region) => say(&format!("{} bytes are mapped in", resident(&region).0)),
            Err(error) => say(&format!("{:?} {:?}", error.kind(), error.raw_os_error())),
        }
    }
}

pub fn a_few_pages_that_are_there_are_mapped_in_unasked_and_nothing_is_taken<S: Sut>() {
    if !S::shares_with_processes() {
        return skip::<S>("its regions are no mappings");
    }
    for size in [1, PAGE, 4 * PAGE, 4 * PAGE + 1] {
        for access in [OpenOptions::new(), OpenOptions::new().read_only(true)] {
            let (there, lazy) = (Fresh::<S>::new(), Fresh::<S>::new());
            let reserved = create::<S>(&there, size);
            if S::maps_by_descriptor().is_some() && reserved.metadata().unwrap().is_reserved() == Some(true) {
                let few = size <= 4 * PAGE;
                let expected = if few { size.next_multiple_of(PAGE) } else { 0 };
                let opened = S::backend().open(&there, &access).unwrap();
                assert_eq!(resident(&opened).0, expected, "{size} bytes");
            }
            let made = CreateOptions::new(size).allocation(Allocation::Lazy);
            let made = S::backend().create_new(&lazy, &made).unwrap();
            let taken = || made.metadata().unwrap().allocated();
            let before = taken();
            let opened = S::backend().open(&lazy, &access).unwrap();
            assert_eq!((resident(&opened).0, taken()), (0, before), "{size} bytes");
        }
    }
}
