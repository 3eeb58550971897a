//! C8 and C9: what openers see of a creation, and `create_with`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::wait::WaitStatus;
use shared_region::{
    Access, Backend, CreateOptions, ErrorKind, OpenOptions, RegionId, RegionName, Removal, Result, SharedRegion,
    SharedRegionExt,
};

use crate::support::child::{NOBODY, forked, is_root, role, rounds, say, skip};
use crate::support::race::Race;
use crate::support::trace::{self, Call, Fate};
use crate::sut::{Fresh, Plant, Sut, bytes_of, create, name_in, open};

/// No multiple of a page.
const SIZE: usize = 20_001;

/// Counters of the race.
const OPENED: usize = 0;
const MISSED: usize = 1;

pub fn racing_openers_never_see_a_region_that_is_not_complete<S: Sut>() {
    let (name, place) = (Fresh::<S>::new(), Fresh::<S>::new());
    let control = create::<S>(&place, Race::SIZE);
    let race = Race::of(&control);
    let racers: Vec<_> =
        (0..2).map(|_| role::<S>("opens_all_the_time").arg(name.as_str()).arg(place.as_str()).start()).collect();
    race.meet(3);
    race.run_until(|| {
        let options = CreateOptions::new(SIZE);
        let region = S::backend().create_with(&name, &options, |region| region.fill_at(0, SIZE, 7));
        drop(region.unwrap());
        S::backend().remove(&name).unwrap();
        let enough = rounds(60) as u32;
        [OPENED, MISSED].iter().all(|what| race.count(*what).load(SeqCst) >= enough)
    });
    for racer in racers {
        racer.finish();
    }
}

pub fn opens_all_the_time<S: Sut>(arguments: &[String]) {
    let name = RegionName::new(&arguments[0]).unwrap();
    let control = open::<S>(&RegionName::new(&arguments[1]).unwrap());
    let race = Race::of(&control);
    let whole = S::backend().capabilities().atomic_init();
    let complete = vec![7; SIZE];
    race.meet(3);
    race.run(|| {
        if let Some(stat) = S::native_stat(&name).flatten() {
            assert!(stat.size == SIZE as u64 || (stat.size == 0 && !whole), "{stat:?}");
        }
        let found = match S::backend().open(&name, &OpenOptions::new()) {
            Ok(region) => {
                assert_eq!(region.len(), SIZE);
                let bytes = bytes_of(&region);
                let half = |bytes: &[u8]| bytes.iter().all(|byte| [0, 7].contains(byte));
                assert!(bytes == complete || (!whole && half(&bytes)));
                OPENED
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                MISSED
            }
        };
        race.count(found).fetch_add(1, SeqCst);
    });
}

pub fn what_gets_no_size_is_not_ready_after_a_second_or_the_timeout<S: Sut>() {
    let name = Fresh::<S>::new();
    // Whose creator has died.
    let mut second = role::<S>("leaves_an_object_without_a_size").arg(name.as_str()).start();
    if second.hear() == "none" {
        return skip::<S>("every object has its size from the start");
    }
    second.finish();
    let fresh: RegionName = *name;
    let not_ready = move |options: &OpenOptions| {
        let start = Instant::now();
        let error = S::backend().open(&fresh, options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotReady, "{error}");
        start.elapsed()
    };
    std::thread::scope(|scope| {
        for options in [OpenOptions::new(), OpenOptions::new().read_only(true).min_size(1)] {
            scope.spawn(move || {
                let waited = not_ready(&options);
                assert!(waited >= Duration::from_secs(1), "{waited:?}");
                assert!(waited < Duration::from_secs(10), "{waited:?}");
            });
        }
        for timeout in [Duration::ZERO, Duration::from_millis(150)] {
            let waited = not_ready(&OpenOptions::new().timeout(timeout));
            assert!(waited >= timeout && waited < Duration::from_millis(900), "{waited:?}");
        }
        let error = S::backend().open_or_create(&fresh, &CreateOptions::new(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotReady, "{error}");
    });
    // It can be removed, and then created.
    assert!(S::backend().exists(&name).unwrap());
    S::backend().remove(&name).unwrap();
    create::<S>(&name, SIZE);
}

pub fn leaves_an_object_without_a_size<S: Sut>(arguments: &[String]) {
    let name = RegionName::new(&arguments[0]).unwrap();
    let planted = S::plant(Plant::Unsized, &name);
    say(if planted.is_some() { "planted" } else { "none" });
    std::mem::forget(planted);
}

pub fn what_gets_its_size_later_is_ready_then<S: Sut>() {
    let name = Fresh::<S>::new();
    let Some(_planted) = S::plant(Plant::Unsized, &name) else {
        return skip::<S>("every object has its size from the start");
    };
    let mut second = role::<S>("waits_for_a_size").arg(name.as_str()).start();
    assert_eq!(second.hear(), "opening");
    // Right whenever it comes; late enough to be waited for.
    std::thread::sleep(Duration::from_millis(50));
    match S::native_resize(&name, SIZE as u64) {
        Some(resized) => resized.unwrap(),
        None => return skip::<S>("sizes cannot be set by other means"),
    }
    second.finish();
    assert_eq!(bytes_of(&open::<S>(&name))[..5], *b"ready");
}

pub fn waits_for_a_size<S: Sut>(arguments: &[String]) {
    let name = RegionName::new(&arguments[0]).unwrap();
    say("opening");
    let options = OpenOptions::new().timeout(Duration::from_secs(20));
    let region = S::backend().open(&name, &options).unwrap();
    assert_eq!(bytes_of(&region), vec![0; SIZE]);
    region.write_at(0, b"ready").unwrap();
}

pub fn init_gets_the_region_itself_full_of_zeros<S: Sut>() {
    let name = Fresh::<S>::new();
    let options = CreateOptions::new(SIZE).mode(0o640);
    let mut runs = 0;
    let region = S::backend().create_with(&name, &options, |region| -> Result<()> {
        runs += 1;
        assert_eq!((region.len(), region.access()), (SIZE, Access::ReadWrite));
        assert_eq!(bytes_of(region), vec![0; SIZE]);
        assert_eq!(region.metadata()?.size(), SIZE as u64);
        region.write_at(SIZE - 5, b"ended")?;
        region.atomic_u64(0)?.store(42, Relaxed);
        let past = ErrorKind::OutOfBounds { offset: SIZE, len: 1, region_len: SIZE };
        assert_eq!(region.write_at(SIZE, b"!").unwrap_err().kind(), past);
        Ok(())
    });
    let region = region.unwrap();
    assert_eq!(runs, 1);
    for region in [region, open::<S>(&name)] {
        assert_eq!(region.load_u64(0, Relaxed).unwrap(), 42);
        assert_eq!(bytes_of(&region)[SIZE - 5..], *b"ended");
        assert!(!region.metadata().unwrap().is_removed());
    }
}

pub fn init_runs_before_the_name_is_visible_where_the_backend_promises_it<S: Sut>() {
    let name = Fresh::<S>::new();
    let visible = !S::backend().capabilities().atomic_init();
    let options = CreateOptions::new(SIZE);
    let region = S::backend().create_with(&name, &options, |region| -> Result<()> {
        region.write_at(0, b"half")?;
        assert_eq!(S::backend().exists(&name)?, visible);
        let found = S::backend().open(&name, &OpenOptions::new().timeout(Duration::ZERO));
        match found {
            Ok(half) => {
                assert!(visible);
                assert_eq!((half.len(), &bytes_of(&half)[..4]), (SIZE, &b"half"[..]));
            }
            Err(error) => {
                assert!(!visible);
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            }
        }
        let mut second = role::<S>("says_whether_it_exists").arg(name.as_str()).start();
        assert_eq!(second.hear(), visible.to_string());
        second.finish();
        Ok(())
    });
    drop(region.unwrap());
    assert!(S::backend().exists(&name).unwrap());
}

pub fn says_whether_it_exists<S: Sut>(arguments: &[String]) {
    let name = RegionName::new(&arguments[0]).unwrap();
    say(&S::backend().exists(&name).unwrap().to_string());
}

pub fn an_init_that_fails_or_panics_leaves_nothing<S: Sut>() {
    for removal in [Removal::Explicit, Removal::OnDrop] {
        let name = Fresh::<S>::new();
        let options = CreateOptions::new(SIZE).removal(removal);
        let failed = S::backend().create_with(&name, &options, |region| {
            region.fill_at(0, SIZE, 0xa5)?;
            Err::<(), Box<dyn std::error::Error>>("changed my mind".into())
        });
        assert_eq!(failed.unwrap_err().to_string(), "changed my mind");
        assert!(!S::backend().exists(&name).unwrap());
        assert_eq!(S::native_stat(&name).flatten(), None);

        let panicked = catch_unwind(AssertUnwindSafe(|| {
            S::backend().create_with(&name, &options, |region| -> Result<()> {
                region.fill_at(0, SIZE, 0xa5)?;
                // Not by `panic!`, which would print.
                std::panic::resume_unwind(Box::new("out of luck"))
            })
        }));
        let payload = panicked.map(|result| result.map(drop)).unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"out of luck"));
        assert!(!S::backend().exists(&name).unwrap());
        assert_eq!(S::native_stat(&name).flatten(), None);
        assert_eq!(bytes_of(&create::<S>(&name, SIZE)), vec![0; SIZE]);
    }
}

pub fn an_identity_is_created_with_its_content_in_its_own_backend_only<S: Sut>() {
    let name = Fresh::<S>::new();
    let (backend, options) = (S::backend(), CreateOptions::new(SIZE));
    let id = RegionId::named(backend.name(), *name);
    let region = backend.create_id_with(&id, &options, |region| region.write_at(0, b"content")).unwrap();
    assert_eq!((region.id(), region.len()), (Some(id.clone()), SIZE));
    assert!(bytes_of(&open::<S>(&name)).starts_with(b"content"));
    let init = |_: &_| -> Result<()> { unreachable!("nothing can be made") };
    let error = backend.create_id_with(&id, &options, init).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    let error = backend.create_id_with(&RegionId::named("elsewhere", *name), &options, init).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
}

pub fn a_name_that_is_taken_while_init_runs_stays_with_who_took_it<S: Sut>() {
    let name = Fresh::<S>::new();
    let early = S::backend().capabilities().atomic_init();
    let options = CreateOptions::new(SIZE).removal(Removal::OnDrop);
    let outer = S::backend().create_with(&name, &options, |region| -> Result<()> {
        region.write_at(0, b"outer")?;
        let inner = S::backend().create_new(&name, &CreateOptions::new(100));
        match inner {
            Ok(inner) => inner.write_at(0, b"inner")?,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
                assert!(!early);
                return Ok(());
            }
        }
        assert!(early);
        Ok(())
    });
    if early {
        let error = outer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        let inner = open::<S>(&name);
        assert_eq!((inner.len(), &bytes_of(&inner)[..5]), (100, &b"inner"[..]));
    } else {
        assert_eq!(bytes_of(&outer.unwrap())[..5], *b"outer");
    }
}

pub fn a_publication_that_fails_after_init_is_an_error_and_no_second_try<S: Sut>() {
    match S::small_store(1 << 20) {
        Some(store) if is_root() => {
            role::<S>("loses_the_store_while_init_runs").confined(store).run();
        }
        Some(_) => skip::<S>("a private store takes root"),
        None => skip::<S>("there is no private store"),
    }
}

pub fn loses_the_store_while_init_runs<S: Sut>(_: &[String]) {
    if !S::backend().capabilities().atomic_init() {
        return skip::<S>("the name is there before init runs");
    }
    let name = Fresh::<S>::new();
    let mut replaced = false;
    let result = S::backend().create_with(&name, &CreateOptions::new(SIZE), |_| -> Result<()> {
        replaced = S::replace_store().transpose().unwrap().is_some();
        Ok(())
    });
    if !replaced {
        return skip::<S>("the store cannot be replaced");
    }
    // EXDEV, which no clause foresees.
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected, "{error}");
    assert!(!S::backend().exists(&name).unwrap());
    assert_eq!(S::native_stat(&name).flatten(), None);
    assert_eq!(S::backend().list().unwrap(), []);
    // A name that is not there yet is no reason to give up.
    create::<S>(&name, SIZE);
}

/// The checks of this file and of its neighbours, where an object is seen before it has its size.
pub fn all_that_holds_of_creation_holds_where_objects_cannot_be_published_whole<S: Sut>() {
    let places = S::without_atomic_init();
    if places.is_empty() {
        skip::<S>("it is so everywhere, or nowhere");
    }
    for place in places {
        role::<S>("creates_in_the_open").confined(place).run();
    }
}

pub fn creates_in_the_open<S: Sut>(_: &[String]) {
    assert!(!S::backend().capabilities().atomic_init());
    for check in [
        racing_openers_never_see_a_region_that_is_not_complete::<S>,
        init_gets_the_region_itself_full_of_zeros::<S>,
        init_runs_before_the_name_is_visible_where_the_backend_promises_it::<S>,
        an_init_that_fails_or_panics_leaves_nothing::<S>,
        a_name_that_is_taken_while_init_runs_stays_with_who_took_it::<S>,
        crate::checks::create::create_new_twice_fails_with_already_exists::<S>,
        crate::checks::create::a_taken_name_is_told_before_a_lack_of_space::<S>,
        crate::checks::create::a_taken_name_is_told_to_those_who_may_not_open_it::<S>,
        crate::checks::create::a_name_taken_by_something_foreign_is_already_exists::<S>,
        crate::checks::create::a_new_region_reads_as_zeros::<S>,
        crate::checks::create::the_length_is_exactly_what_was_asked::<S>,
        crate::checks::create::the_asked_mode_is_the_resulting_mode_whatever_the_umask::<S>,
        crate::checks::create::a_failed_creation_leaves_nothing::<S>,
        crate::checks::open_or_create::open_or_create_says_whether_it_created::<S>,
        crate::checks::open_or_create::of_racing_creators_exactly_one_creates_each_object_and_no_write_is_lost::<S>,
        crate::checks::open_or_create::racing_creators_meet_in_a_store_that_holds_one_such_object_and_not_two::<S>,
        crate::checks::open_or_create::open_or_create_never_fails_though_another_removes_all_the_time::<S>,
    ] {
        check();
    }
}

/// Whether a call creates a file under its name, where nobody else has it.
fn makes_a_name(call: &Call) -> bool {
    call.opens_with(libc::O_CREAT | libc::O_EXCL)
}

/// The ways to create.
const WAYS: [&str; 4] = ["create_new", "create_with", "open_or_create", "create_unique"];

pub fn every_way_to_create_goes_on_where_a_nameless_file_or_its_link_is_refused<S: Sut>() {
    for refusal in trace::portable_ways::<S>() {
        for way in WAYS {
            let name = Fresh::<S>::new();
            let mut second = role::<S>("creates_in_spite").arg(name.as_str()).start();
            let (mut sizes, mut refused) = (Vec::new(), 0);
            let seen = trace::follow(&mut second, way, |call| {
                let size = S::native_stat(&name).map(|stat| stat.map(|stat| stat.size));
                if sizes.last() != Some(&size) {
                    sizes.push(size);
                }
                let errno = refusal(call);
                refused += usize::from(errno.is_some());
                errno.map_or(Fate::Pass, Fate::Fail)
            });
            assert_eq!(seen.end, None);
            assert_eq!(second.hear(), "created", "{way}");
            assert!(refused > 0, "{way} asked for nothing that was refused");
            // Openers see nothing, no size, or the final one.
            let (nothing, unsized_, whole) = (Some(None), Some(Some(0)), Some(Some(SIZE as u64)));
            match way {
                "create_unique" => assert_eq!(sizes, [nothing]),
                _ => assert_eq!(sizes, [nothing, unsized_, whole], "{way}"),
            }
            // Refused once, it is not asked for again, and what was learned holds for all ways.
            for again in WAYS {
                let mut refused = 0;
                trace::follow(&mut second, again, |call| {
                    refused += usize::from(refusal(call).is_some());
                    refusal(call).map_or(Fate::Pass, Fate::Fail)
                });
                assert_eq!((second.hear().as_str(), refused), ("created", 0), "{again} after {way}");
            }
            trace::follow(&mut second, "capabilities", |_| Fate::Pass);
            assert_eq!(second.hear(), "not atomic");
            second.tell("");
            second.finish();
        }
    }
}

pub fn creates_in_spite<S: Sut>(arguments: &[String]) {
    let (backend, name) = (S::backend(), name_in(arguments, 0));
    let options = CreateOptions::new(SIZE).mode(0o640);
    loop {
        let (mut way, mut runs) = (String::new(), 0);
        let made = trace::act(|what| {
            way = what.to_owned();
            match what {
                "create_new" => backend.create_new(&name, &options).map(Some),
                "create_with" => backend
                    .create_with(&name, &options, |region| {
                        runs += 1;
                        region.fill_at(0, SIZE, 7)
                    })
                    .map(Some),
                "open_or_create" => backend.open_or_create(&name, &options).map(|(region, created)| {
                    assert!(created);
                    Some(region)
                }),
                "create_unique" => backend.create_unique("spite-", &options).map(Some),
                "replace" => {
                    S::replace_store().transpose().unwrap();
                    Ok(None)
                }
                _ => Ok(None),
            }
        });
        let Some(made) = made else { return };
        let region = match made {
            Ok(Some(region)) => region,
            Ok(None) => {
                say(if backend.capabilities().atomic_init() { "atomic" } else { "not atomic" });
                continue;
            }
            Err(error) => {
                say(&format!("{:?}", error.raw_os_error().map(Errno::from_raw)));
                continue;
            }
        };
        let with = i32::from(way == "create_with");
        assert_eq!((runs, bytes_of(&region)), (with, vec![7 * with as u8; SIZE]));
        let metadata = region.metadata().unwrap();
        assert_eq!((metadata.size(), metadata.mode()), (SIZE as u64, 0o640));
        region.remove().unwrap();
        say("created");
    }
}

pub fn where_no_way_to_create_is_left_the_error_is_the_last_ones<S: Sut>() {
    for refusal in trace::portable_ways::<S>() {
        for way in WAYS {
            let name = Fresh::<S>::new();
            let mut second = role::<S>("creates_in_spite").arg(name.as_str()).start();
            let fails = |call: &Call| makes_a_name(call).then_some(Errno::EIO).or_else(|| refusal(call));
            trace::follow(&mut second, way, |call| fails(call).map_or(Fate::Pass, Fate::Fail));
            assert_eq!(second.hear(), "Some(EIO)", "{way}");
            assert_eq!(S::native_stat(&name).flatten(), None);
            second.tell("");
            second.finish();
        }
    }
}

pub fn a_lack_of_space_or_descriptors_is_told_and_never_a_reason_for_another_way<S: Sut>() {
    let ways = trace::portable_ways::<S>();
    for errno in [Errno::ENOSPC, Errno::EDQUOT, Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::EROFS] {
        for refusal in ways.iter().take(2) {
            let name = Fresh::<S>::new();
            let mut second = role::<S>("creates_in_spite").arg(name.as_str()).start();
            let mut named = 0;
            trace::follow(&mut second, "create_with", |call| {
                named += usize::from(makes_a_name(call));
                if refusal(call).is_some() { Fate::Fail(errno) } else { Fate::Pass }
            });
            assert_eq!((second.hear(), named), (format!("Some({errno:?})"), 0));
            // It has passed, and nothing is remembered.
            trace::follow(&mut second, "create_with", |_| Fate::Pass);
            assert_eq!(second.hear(), "created");
            trace::follow(&mut second, "capabilities", |_| Fate::Pass);
            assert_eq!(second.hear(), "atomic");
            second.tell("");
            second.finish();
        }
    }
}

pub fn what_a_store_refused_is_not_held_against_another_in_its_place<S: Sut>() {
    for refusal in trace::portable_ways::<S>().into_iter().take(2) {
        let Some(store) = S::small_store(1 << 20).filter(|_| is_root()) else {
            return skip::<S>("takes root to make a small store");
        };
        let name = Fresh::<S>::new();
        let mut second = role::<S>("creates_in_spite").arg(name.as_str()).confined(store).start();
        trace::follow(&mut second, "create_new", |call| refusal(call).map_or(Fate::Pass, Fate::Fail));
        assert_eq!(second.hear(), "created");
        for (what, answer) in [("capabilities", "not atomic"), ("replace", "atomic"), ("create_with", "created")] {
            trace::follow(&mut second, what, |_| Fate::Pass);
            assert_eq!(second.hear(), answer, "{what}");
        }
        second.tell("");
        second.finish();
    }
}

pub fn what_a_killed_process_or_a_neighbour_left_is_no_obstacle<S: Sut>() {
    match S::small_store(1 << 20).filter(|_| is_root() && S::leave_litter(0).is_some()) {
        Some(store) => role::<S>("finds_litter").confined(store).run(),
        None => skip::<S>("nothing is left by anybody, or it takes root to see it"),
    }
    S::sweep();
}

pub fn finds_litter<S: Sut>(_: &[String]) {
    let can = || S::backend().capabilities().atomic_init();
    // Left by an earlier process: taken away.
    S::leave_litter(0).unwrap();
    assert!(can());
    assert_eq!((S::backend().list().unwrap(), S::sweep()), (vec![], None));
    // Held by another user: left alone. The store is another, so that it is asked anew.
    S::replace_store().transpose().unwrap();
    S::leave_litter(NOBODY).unwrap();
    let asked = forked(|| {
        let nobody = nix::unistd::Uid::from_raw(NOBODY);
        nix::unistd::setresuid(nobody, nobody, nobody).unwrap();
        i32::from(!can())
    });
    assert!(matches!(asked, WaitStatus::Exited(_, 0)), "{asked:?}");
    assert_eq!(S::backend().list().unwrap().len(), 1);
}
