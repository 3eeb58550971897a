//! L11: regions that are replaced.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use shared_region::{Backend, CreateOptions, ErrorKind, OpenOptions, SharedRegion, SharedRegionExt};

use crate::support::child::{NOBODY, Second, is_root, role, rounds, skip};
use crate::support::race::Race;
use crate::sut::{Fresh, Plant, Sut, bytes_of, create, name_in, open};

const fn replacing(size: usize) -> CreateOptions {
    CreateOptions::new(size).replace(true)
}

pub fn what_is_too_small_is_replaced_if_that_is_asked_for<S: Sut>() {
    let name = Fresh::<S>::new();
    let old = create::<S>(&name, 5000);
    old.write_at(0, b"old").unwrap();
    for size in [1, 5000] {
        let (region, created) = S::backend().open_or_create(&name, &replacing(size)).unwrap();
        assert_eq!((created, region.len(), &bytes_of(&region)[..3]), (false, 5000, &b"old"[..]));
    }
    let refused = S::backend().open_or_create(&name, &CreateOptions::new(5001)).map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::SizeMismatch { have: 5000, want: 5001 });
    assert!(refused.to_string().contains("CreateOptions::replace"), "{refused}");
    assert!(!old.metadata().unwrap().is_removed());

    let (new, created) = S::backend().open_or_create(&name, &replacing(5001)).unwrap();
    assert_eq!((created, bytes_of(&new)), (true, vec![0; 5001]));
    assert!(old.metadata().unwrap().is_removed());
    assert_eq!((old.len(), &bytes_of(&old)[..3]), (5000, &b"old"[..]));
    assert_eq!(open::<S>(&name).len(), 5001);
}

pub fn what_another_user_made_is_refused_or_replaced<S: Sut>() {
    if !is_root() {
        return skip::<S>("another user takes root");
    }
    let name = Fresh::<S>::new();
    role::<S>("makes_a_region_for_all").arg(name.as_str()).as_user(NOBODY).run();
    let refused = S::backend().open_or_create(&name, &CreateOptions::new(4096).expect_owner(0)).map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    let text = refused.to_string();
    assert!(text.contains(&format!("uid {NOBODY}")) && text.contains("uid 0"), "{text}");
    let (_, created) = S::backend().open_or_create(&name, &replacing(4096).expect_owner(NOBODY)).unwrap();
    assert!(!created);

    let (new, created) = S::backend().open_or_create(&name, &replacing(4096).expect_owner(0)).unwrap();
    assert_eq!((created, new.metadata().unwrap().uid(), bytes_of(&new)), (true, 0, vec![0; 4096]));
    // And who may not remove what is in the way is told so.
    role::<S>("may_not_replace").arg(name.as_str()).as_user(NOBODY).run();
    assert!(!new.metadata().unwrap().is_removed());
}

pub fn may_not_replace<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    for options in [replacing(8192), replacing(4096).expect_owner(NOBODY), replacing(4096)] {
        let refused = S::backend().open_or_create(&name, &options).map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
    }
}

pub fn what_never_got_a_size_is_replaced_once_nobody_holds_it<S: Sut>() {
    let name = Fresh::<S>::new();
    role::<S>("replaces_what_has_no_size").arg(name.as_str()).run();
}

pub fn replaces_what_has_no_size<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let Some(_planted) = S::plant(Plant::Unsized, &name) else { return };
    let start = Instant::now();
    let answer = S::backend().open_or_create(&name, &replacing(4096));
    // Its creator may have been slow: it is waited for as ever.
    assert!(start.elapsed() >= OpenOptions::READY_TIMEOUT, "{:?}", start.elapsed());
    if S::finds_holders().is_none() {
        assert_eq!(answer.map(drop).unwrap_err().kind(), ErrorKind::NotReady);
        return;
    }
    let (region, created) = answer.unwrap();
    assert_eq!((created, bytes_of(&region)), (true, vec![0; 4096]));
}

/// Who goes on without its turn could take away what another has just made, so replacing does not.
pub fn who_keeps_the_lock_makes_replacing_busy_and_delays_removal<S: Sut>() {
    let name = Fresh::<S>::new();
    let old = create::<S>(&name, 5000);
    let Ok(descriptor) = old.descriptor() else { return skip::<S>("there is nothing to lock") };
    let descriptor = descriptor.try_clone_to_owned().unwrap();
    if S::takes_turns_by_a_lock().is_none() {
        return skip::<S>("it takes no lock");
    }
    let lock = Flock::lock(descriptor, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    let start = Instant::now();
    let error = S::backend().open_or_create(&name, &replacing(8192)).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(!old.metadata().unwrap().is_removed());
    let start = Instant::now();
    old.remove().unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(old.metadata().unwrap().is_removed());
    drop(lock);
}

/// The options that are about this process' mapping count for what exists, too.
pub fn options_about_the_mapping_count_for_what_exists<S: Sut>() {
    let name = Fresh::<S>::new();
    drop(create::<S>(&name, 4096));
    let options = CreateOptions::new(4096).keep_descriptor(false).lock_memory(true).core_dump(false);
    let (region, created) = S::backend().open_or_create(&name, &options).unwrap();
    assert!(!created);
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let start = format!("{:08x}-", region.as_ptr() as usize);
    let mapping = smaps.lines().skip_while(|line| !line.starts_with(&start));
    let flags = mapping.skip(1).find(|line| line.starts_with("VmFlags:")).unwrap();
    let flags: Vec<_> = flags.split_whitespace().collect();
    assert!(flags.contains(&"dd"), "{flags:?}");
    assert!(flags.contains(&"lo"), "{flags:?}");
    if S::maps_by_descriptor().is_some() {
        assert_eq!(region.descriptor().map(drop).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}

/// How many peers start again with another size, how often, and the step from one size to the next.
const PEERS: u32 = 4;
const STEP: usize = 4096;
const SMALL: usize = 16;

fn starts() -> usize {
    rounds(2500)
}

/// Counters of the race.
const CREATIONS: usize = 0;

pub fn all_who_replace_at_once_end_on_one_region<S: Sut>() {
    let (name, place) = (Fresh::<S>::new(), Fresh::<S>::new());
    let control = create::<S>(&place, Race::SIZE);
    let peers: Vec<_> = (0..PEERS)
        .map(|_| role::<S>("starts_with_another_size").arg(name.as_str()).arg(place.as_str()).start())
        .collect();
    peers.into_iter().for_each(Second::finish);
    let creations = Race::of(&control).count(CREATIONS).load(SeqCst) as usize;
    assert!(creations >= starts(), "{creations} creations in {} rounds", starts());
}

pub fn starts_with_another_size<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let control = open::<S>(&name_in(arguments, 1));
    let race = Race::of(&control);
    for round in 0..starts() {
        if round % SMALL == 0 {
            race.meet(PEERS);
            let _ = S::backend().remove(&name);
        }
        race.meet(PEERS);
        let size = (round % SMALL + 1) * STEP;
        let (region, created) = S::backend().open_or_create(&name, &replacing(size)).unwrap();
        race.count(CREATIONS).fetch_add(u32::from(created), SeqCst);
        race.meet(PEERS);
        assert_eq!(region.len(), size, "round {round}");
        assert!(!region.metadata().unwrap().is_removed(), "round {round}");
        let named = S::backend().metadata(&name).map(|metadata| metadata.native_id());
        if let Ok(named) = named {
            assert_eq!(region.metadata().unwrap().native_id(), named, "round {round}");
        }
    }
}
