//! L10: `Removal::LastUser`.
//!
//! As in `unused`, all of it happens in second processes.

use std::io::{Read, Write};
use std::sync::atomic::Ordering::SeqCst;

use nix::unistd::{ForkResult, fork, getpid, getppid};
use shared_region::{
    Backend, CreateOptions, ErrorKind, OpenOptions, RegionName, Removal, SharedRegion, SharedRegionExt,
};

use crate::support::child::{Role, Second, eventually, fork_off, hear, role, rounds, say, skip};
use crate::support::race::Race;
use crate::sut::{Fresh, Sut, bytes_of, create, name_in, open};

const CREATE: CreateOptions = CreateOptions::new(4096).removal(Removal::LastUser);
const OPEN: OpenOptions = OpenOptions::new().removal(Removal::LastUser);

/// Runs a role where the last user can be told.
fn run<S: Sut>(name: &str) {
    if !S::backend().capabilities().last_user() {
        return skip::<S>("it cannot be told who is the last user");
    }
    let fresh = Fresh::<S>::new();
    role::<S>(name).arg(fresh.as_str()).run();
}

fn stands<S: Sut>(name: &RegionName) -> bool {
    S::backend().exists(name).unwrap()
}

pub fn where_the_last_user_cannot_be_told_that_is_unsupported<S: Sut>() {
    let (name, other) = (Fresh::<S>::new(), Fresh::<S>::new());
    drop(create::<S>(&other, 4096));
    let can = S::backend().capabilities().last_user();
    let told = [
        S::backend().create_new(&name, &CREATE).map(drop),
        S::backend().open_or_create(&name, &CREATE).map(drop),
        S::backend().open(&other, &OPEN).map(drop),
    ];
    for told in told {
        assert_eq!(told.map_err(|error| error.kind()), if can { Ok(()) } else { Err(ErrorKind::Unsupported) });
    }
    assert!(can || !stands::<S>(&name));
    let on_drop = S::backend().open(&other, &OpenOptions::new().removal(Removal::OnDrop));
    assert_eq!(on_drop.map(drop).unwrap_err().kind(), ErrorKind::InvalidOptions);
}

pub fn the_region_goes_with_the_last_handle_whichever_that_is<S: Sut>() {
    run::<S>("drops_one_handle_after_another");
}

pub fn drops_one_handle_after_another<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let mut backwards = false;
    for keep in [true, false] {
        let options = CREATE.keep_descriptor(keep);
        let created = S::backend().create_new(&name, &options).unwrap();
        let mut handles = vec![
            S::backend().open(&name, &OPEN.read_only(true)).unwrap(),
            S::backend().open(&name, &OPEN.keep_descriptor(keep)).unwrap(),
            S::backend().open_or_create(&name, &options).unwrap().0,
            S::backend().open(&name, &OPEN).unwrap(),
        ];
        handles.push(handles[3].try_clone().unwrap());
        handles.push(handles[4].try_clone().unwrap());
        handles.push(created);
        for backwards_now in [backwards, !backwards] {
            backwards = backwards_now;
            while handles.len() > 1 {
                assert!(stands::<S>(&name));
                drop(if backwards { handles.pop() } else { Some(handles.remove(0)) });
            }
            assert_eq!(bytes_of(&handles[0]), [0; 4096]);
            drop(handles.pop());
            assert!(!stands::<S>(&name));
            let filled = S::backend().create_with(&name, &options, |region| region.fill_at(0, 4096, 0));
            handles = vec![filled.unwrap(), S::backend().open(&name, &OPEN).unwrap()];
        }
        drop(handles);
        assert!(!stands::<S>(&name));
    }
    // By threads at once.
    for _ in 0..rounds(200) {
        let handles = [(); 3].map(|()| S::backend().open_or_create(&name, &CREATE).unwrap());
        assert!(handles[0].1 && !handles[1].1);
        std::thread::scope(|scope| {
            for handle in handles {
                scope.spawn(move || drop(handle));
            }
        });
        assert!(!stands::<S>(&name));
    }
}

pub fn who_does_not_ask_for_it_is_a_user_and_removes_nothing<S: Sut>() {
    run::<S>("leaves_a_plain_user_behind");
}

pub fn leaves_a_plain_user_behind<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let asks = S::backend().create_new(&name, &CREATE).unwrap();
    let plain = open::<S>(&name);
    plain.write_at(0, b"used").unwrap();
    drop(asks);
    assert!(stands::<S>(&name));
    let (asks, created) = S::backend().open_or_create(&name, &CREATE).unwrap();
    assert_eq!((created, &bytes_of(&asks)[..4]), (false, &b"used"[..]));
    drop(asks);
    drop(plain);
    assert!(stands::<S>(&name));
    // Who asks for nothing finds a leftover as it is; who asks for this, a new region.
    let (plain, created) = S::backend().open_or_create(&name, &CreateOptions::new(4096)).unwrap();
    assert_eq!((created, &bytes_of(&plain)[..4]), (false, &b"used"[..]));
    drop(plain);
    let (asks, created) = S::backend().open_or_create(&name, &CREATE).unwrap();
    assert_eq!((created, bytes_of(&asks)), (true, vec![0; 4096]));
    asks.remove().unwrap();
    // What has the name by then is another's.
    let other = create::<S>(&name, 8192);
    drop(asks);
    assert!(stands::<S>(&name));
    drop(other);
}

/// A second process that has the region, and ends as it is told.
fn user<S: Sut>(name: &RegionName) -> (Second, String) {
    let mut user = role::<S>("is_a_user").arg(name.as_str()).start();
    let said = user.hear();
    (user, said)
}

pub fn is_a_user<S: Sut>(arguments: &[String]) {
    let (region, created) = S::backend().open_or_create(&name_in(arguments, 0), &CREATE).unwrap();
    region.atomic_u32(0).unwrap().fetch_add(1, SeqCst);
    say(if created { "created" } else { "opened" });
    if hear() == "exit" {
        std::process::exit(0);
    }
    drop(region);
}

pub fn the_last_of_several_processes_removes_it_and_what_a_killed_one_left_is_replaced<S: Sut>() {
    run::<S>("starts_and_kills_users");
}

pub fn starts_and_kills_users<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let count = || open::<S>(&name).load_u32(0, SeqCst).unwrap();
    for last in ["drop", "exit", "kill"] {
        let (first, said) = user::<S>(&name);
        assert_eq!((said.as_str(), count()), ("created", 1), "{last}");
        let (second, said) = user::<S>(&name);
        assert_eq!((said.as_str(), count()), ("opened", 2), "{last}");
        first.kill();
        assert!(stands::<S>(&name), "{last}");
        let (mut third, said) = user::<S>(&name);
        assert_eq!((said.as_str(), count()), ("opened", 3), "{last}");
        second.finish();
        assert!(stands::<S>(&name), "{last}");
        match last {
            "kill" => third.kill(),
            how => {
                third.tell(how);
                third.finish();
            }
        }
        assert_eq!(stands::<S>(&name), last != "drop", "{last}");
    }
    let (last, said) = user::<S>(&name);
    assert_eq!((said.as_str(), count()), ("created", 1));
    last.finish();
    assert!(!stands::<S>(&name));
}

pub fn a_forked_child_is_a_user_and_so_is_a_daemon_of_two_forks<S: Sut>() {
    run::<S>("forks_users");
}

pub fn forks_users<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    // The child is the last.
    let mut region = Some(S::backend().create_new(&name, &CREATE).unwrap());
    let mut child = fork_off(|line| {
        line.read_exact(&mut [0]).unwrap();
        drop(region.take());
        0
    });
    drop(region.take());
    assert!(stands::<S>(&name));
    child.line.write_all(b"!").unwrap();
    child.wait();
    assert!(!stands::<S>(&name));

    // The parent is.
    let mut region = Some(S::backend().create_new(&name, &CREATE).unwrap());
    fork_off(|_| {
        drop(region.take());
        0
    })
    .wait();
    assert!(stands::<S>(&name));
    drop(region.take());
    assert!(!stands::<S>(&name));

    // A daemon: whoever started it is gone, and so is the one in between.
    let mut daemon = fork_off(|line| {
        let region = S::backend().create_new(&name, &CREATE).unwrap();
        let between = getpid();
        // SAFETY: this process has one thread, and the child goes on as it would.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { .. } => std::process::exit(0),
            ForkResult::Child => {}
        }
        // Which is a user as long as it is there.
        assert!(eventually(|| getppid() != between));
        line.write_all(b"!").unwrap();
        line.read_exact(&mut [0]).unwrap();
        drop(region);
        line.write_all(b"!").unwrap();
        0
    });
    daemon.line.read_exact(&mut [0]).unwrap();
    assert!(stands::<S>(&name));
    daemon.line.write_all(b"!").unwrap();
    daemon.line.read_exact(&mut [0]).unwrap();
    assert!(!stands::<S>(&name));
    daemon.wait();
}

const STARTERS: u32 = 4;

/// Counters of a race.
const CREATIONS: usize = 0;
const HERE: usize = 1;

pub fn of_those_who_start_at_once_after_a_crash_exactly_one_creates<S: Sut>() {
    at_once::<S>("starts_after_a_crash", |control, round| {
        assert_eq!(control.count(CREATIONS).load(SeqCst) as usize, round + 1, "creations by round {round}");
    });
}

/// Has four processes do something in rounds, each after a crash, and looks at what came of it.
fn at_once<S: Sut>(name: &str, look: impl Fn(&Race, usize)) {
    if !S::backend().capabilities().last_user() {
        return skip::<S>("it cannot be told who is the last user");
    }
    let (fresh, place) = (Fresh::<S>::new(), Fresh::<S>::new());
    let control = create::<S>(&place, Race::SIZE);
    let starter = || role::<S>(name).arg(fresh.as_str()).arg(place.as_str());
    let starters: Vec<_> = (0..STARTERS).map(|_| Role::start(starter())).collect();
    let race = Race::of(&control);
    for round in 0..rounds(300) {
        race.meet(STARTERS + 1);
        race.meet(STARTERS + 1);
        look(race, round);
        race.meet(STARTERS + 1);
    }
    starters.into_iter().for_each(Second::finish);
}

pub fn starts_after_a_crash<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let control = open::<S>(&name_in(arguments, 1));
    let race = Race::of(&control);
    for round in 0..rounds(300) {
        // One of them leaves something that nobody holds, as a crash does.
        if race.count(HERE).fetch_add(1, SeqCst) % STARTERS == 0 && round > 0 {
            fork_off(|_| {
                let left = S::backend().create_new(&name, &CREATE).unwrap();
                left.fill_at(0, 4096, 0x77).unwrap();
                std::mem::forget(left);
                0
            })
            .wait();
        }
        race.meet(STARTERS + 1);
        let (region, created) = S::backend().open_or_create(&name, &CREATE).unwrap();
        race.count(CREATIONS).fetch_add(u32::from(created), SeqCst);
        region.atomic_u32(0).unwrap().fetch_add(1, SeqCst);
        race.meet(STARTERS + 1);
        assert_eq!(region.load_u32(0, SeqCst).unwrap(), STARTERS, "round {round}");
        assert_eq!(region.load_u32(4, SeqCst).unwrap(), 0, "round {round}");
        drop(region);
        race.meet(STARTERS + 1);
    }
}

/// Whoever has the region has the one that the name means: nobody removes what another has just opened.
pub fn last_users_racing_with_openers_never_split<S: Sut>() {
    if !S::backend().capabilities().last_user() {
        return skip::<S>("it cannot be told who is the last user");
    }
    let name = Fresh::<S>::new();
    let racers = [(); 3].map(|()| role::<S>("races_as_last_user").arg(name.as_str()).start());
    racers.into_iter().for_each(Second::finish);
    assert!(eventually(|| !stands::<S>(&name)));
}

pub fn races_as_last_user<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let mut creations = 0;
    for round in 0..rounds(8500) {
        let region = if round % 2 == 0 {
            let (region, created) = S::backend().open_or_create(&name, &CREATE).unwrap();
            creations += u32::from(created);
            region
        } else {
            match S::backend().open(&name, &OPEN) {
                Ok(region) => region,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => panic!("{error}"),
            }
        };
        let own = region.metadata().unwrap();
        let named = S::backend().metadata(&name).unwrap();
        assert_eq!((named.native_id(), own.is_removed()), (own.native_id(), false), "round {round}");
    }
    assert!(creations > 10, "{creations} creations are no race");
}
