//! L3, L5 to L7: removal.

use std::sync::atomic::Ordering::SeqCst;

use shared_region::{
    Backend, CreateOptions, Error, ErrorKind, OpenOptions, RegionName, Removal, Result, SharedRegion, SharedRegionExt,
};

use crate::support::child::{hear, role, rounds, say, skip};
use crate::support::race::Race;
use crate::sut::{Fresh, Sut, bytes_of, create, name_in, open, open_read_only};

/// Both ways to remove a region, and the answer of each.
fn remove<S: Sut>(by: &str, name: &RegionName, region: &impl SharedRegion) -> Result<()> {
    if by == "name" { S::backend().remove(name) } else { region.remove() }
}

fn is_not_found<S: Sut>(name: &RegionName) {
    for options in [OpenOptions::new(), OpenOptions::new().read_only(true)] {
        let error = S::backend().open(name, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    assert!(!S::backend().exists(name).unwrap());
}

pub fn a_removed_region_goes_on_working_in_every_process<S: Sut>() {
    for by in ["name", "region"] {
        let name = Fresh::<S>::new();
        let region = create::<S>(&name, 4096);
        let mut other = role::<S>("goes_on_working").arg(name.as_str()).start();
        assert_eq!(other.hear(), "opened");
        remove::<S>(by, &name, &region).unwrap();
        is_not_found::<S>(&name);
        region.write_at(0, b"question").unwrap();
        other.tell("removed");
        assert_eq!(other.hear(), "answered");
        assert_eq!(bytes_of(&region)[4088..], *b"answered");
        drop(region); // the other process is the last user now
        other.tell("alone");
        other.finish();
    }
}

pub fn goes_on_working<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let region = open::<S>(&name);
    say("opened");
    assert_eq!(hear(), "removed");
    assert_eq!(bytes_of(&region)[..8], *b"question");
    is_not_found::<S>(&name);
    region.write_at(4088, b"answered").unwrap();
    say("answered");
    assert_eq!(hear(), "alone");
    assert_eq!(bytes_of(&region)[..8], *b"question");
    region.write_at(0, b"goes on").unwrap();
}

pub fn a_removed_name_can_be_created_at_once_and_is_another_zeroed_object<S: Sut>() {
    for by in ["name", "region"] {
        let name = Fresh::<S>::new();
        let old = create::<S>(&name, 5000);
        old.fill_at(0, 5000, 0xff).unwrap();
        remove::<S>(by, &name, &old).unwrap();
        let new = create::<S>(&name, 5000);
        assert_eq!(bytes_of(&new), vec![0; 5000]);
        new.write_at(0, b"new").unwrap();
        assert_eq!(bytes_of(&old), vec![0xff; 5000]);
        old.fill_at(0, 5000, 0xaa).unwrap();
        assert_eq!(bytes_of(&new)[..4], *b"new\0");
        assert_eq!(bytes_of(&open::<S>(&name))[..4], *b"new\0");
    }
}

pub fn removing_an_old_handles_region_leaves_a_newer_one_of_its_name_alone<S: Sut>() {
    let name = Fresh::<S>::new();
    let old = create::<S>(&name, 4096);
    S::backend().remove(&name).unwrap();
    let new = create::<S>(&name, 4096);
    assert_eq!(old.remove().unwrap_err().kind(), ErrorKind::NotFound);
    assert!(S::backend().exists(&name).unwrap());
    assert!(!new.metadata().unwrap().is_removed());
    new.remove().unwrap();
}

pub fn what_bears_the_name_of_an_object_that_was_renamed_is_left_alone<S: Sut>() {
    for removal in [Removal::Explicit, Removal::OnDrop] {
        let (name, elsewhere) = (Fresh::<S>::new(), Fresh::<S>::new());
        let options = CreateOptions::new(4096).removal(removal);
        let old = S::backend().create_new(&name, &options).unwrap();
        let Some(renamed) = S::native_rename(&name, &elsewhere) else {
            return skip::<S>("names cannot be changed");
        };
        renamed.unwrap();
        create::<S>(&name, 4096).write_at(0, b"stranger").unwrap();
        if removal == Removal::Explicit {
            assert_eq!(old.remove().unwrap_err().kind(), ErrorKind::NotFound);
        }
        drop(old);
        assert_eq!(bytes_of(&open::<S>(&name))[..8], *b"stranger");
        assert!(S::backend().exists(&elsewhere).unwrap());
    }
}

pub fn removing_an_unnamed_region_is_unsupported_or_not_found<S: Sut>() {
    let region = S::backend().create_unnamed(&CreateOptions::new(4096)).unwrap();
    assert!(region.metadata().unwrap().is_removed());
    // Without an identity there is nothing to remove; with one, it was removed when it was made.
    let expected = if region.id().is_none() { ErrorKind::Unsupported } else { ErrorKind::NotFound };
    for _ in 0..2 {
        assert_eq!(region.remove().unwrap_err().kind(), expected);
    }
    region.write_at(0, b"works").unwrap();
}

pub fn removing_twice_is_not_found_whichever_way_and_whoever_has_it_mapped<S: Sut>() {
    for (first, second) in [("name", "name"), ("name", "region"), ("region", "name"), ("region", "region")] {
        let name = Fresh::<S>::new();
        let region = create::<S>(&name, 4096);
        let (other, read_only) = (open::<S>(&name), open_read_only::<S>(&name));
        remove::<S>(first, &name, &region).unwrap();
        for region in [&region, &other, &read_only] {
            let error = remove::<S>(second, &name, region).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{first}, {second}: {error}");
        }
        let error = role_removes::<S>(&name);
        assert_eq!(error, "NotFound");
        drop((region, other, read_only));
        let error = S::backend().remove(&name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    // And where nobody ever mapped it twice, or has it mapped at all.
    let name = Fresh::<S>::new();
    drop(create::<S>(&name, 4096));
    S::backend().remove(&name).unwrap();
    assert_eq!(S::backend().remove(&name).unwrap_err().kind(), ErrorKind::NotFound);
}

fn role_removes<S: Sut>(name: &RegionName) -> String {
    let mut other = role::<S>("says_how_removal_goes").arg(name.as_str()).start();
    let said = other.hear();
    other.finish();
    said
}

pub fn says_how_removal_goes<S: Sut>(arguments: &[String]) {
    match S::backend().remove(&name_in(arguments, 0)) {
        Ok(()) => say("removed"),
        Err(error) => say(&format!("{:?}", error.kind())),
    }
}

pub fn any_handle_of_the_owner_removes_a_read_only_one_too<S: Sut>() {
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 4096);
    open_read_only::<S>(&name).remove().unwrap();
    is_not_found::<S>(&name);
    assert_eq!(region.remove().unwrap_err().kind(), ErrorKind::NotFound);
    let region = create::<S>(&name, 4096);
    region.try_clone().unwrap().remove().unwrap();
    is_not_found::<S>(&name);
}

pub fn metadata_says_of_every_handle_that_a_region_was_removed<S: Sut>() {
    for by in ["name", "region"] {
        let name = Fresh::<S>::new();
        let region = create::<S>(&name, 4096);
        let (other, read_only) = (open::<S>(&name), open_read_only::<S>(&name));
        let handles = [&region, &region.try_clone().unwrap(), &other, &read_only];
        for region in handles {
            assert!(!region.metadata().unwrap().is_removed());
        }
        remove::<S>(by, &name, &region).unwrap();
        for region in handles {
            let metadata = region.metadata().unwrap();
            assert!(metadata.is_removed());
            assert_eq!((metadata.size(), metadata.mode()), (4096, 0o600));
        }
        assert!(!create::<S>(&name, 4096).metadata().unwrap().is_removed());
        assert!(region.metadata().unwrap().is_removed());
    }
}

/// What a racing process counts, beside its creations.
const OPENED: usize = 0;
const MISSED: usize = 1;
const REMOVED: usize = 2;
const PEERS: usize = 3;

pub fn removal_races_with_open_stat_map_and_removal_and_all_are_found_or_not<S: Sut>() {
    let (control, name) = (Fresh::<S>::new(), Fresh::<S>::new());
    let region = create::<S>(&control, 4096);
    let race = Race::of(&region);
    let peers = [(); PEERS].map(|()| role::<S>("races_with_removal").arg(control.as_str()).arg(name.as_str()).start());
    let (enough, mut rounds_done) = (rounds(300) as u32, 0);
    race.run_until(|| {
        match S::backend().create_new(&name, &CreateOptions::new(8192)) {
            // Removed before its creator had it mapped.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}"),
            Ok(region) => {
                assert_eq!(region.metadata().unwrap().size(), 8192);
                rounds_done += 1;
                if rounds_done % 4 == 0 && found(region.remove()).is_none() {
                    assert!(region.metadata().unwrap().is_removed());
                }
            }
        }
        [OPENED, MISSED, REMOVED].iter().all(|what| race.count(*what).load(SeqCst) >= enough)
    });
    for peer in peers {
        peer.finish();
    }
}

/// Lets a success and a missing object pass, and nothing else.
fn found<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            None
        }
    }
}

pub fn races_with_removal<S: Sut>(arguments: &[String]) {
    let (control, name) = (open::<S>(&name_in(arguments, 0)), name_in(arguments, 1));
    let (race, backend, mut round) = (Race::of(&control), S::backend(), 0_u32);
    let count = |what: usize| race.count(what).fetch_add(1, SeqCst);
    let uid = nix::unistd::geteuid().as_raw();
    race.run(|| {
        round += 1;
        let options = OpenOptions::new().read_only(round % 2 == 0).expect_owner(uid);
        match found(backend.open(&name, &options.min_size(8192))) {
            None => count(MISSED),
            Some(region) => {
                count(OPENED);
                assert_eq!(bytes_of(&region).len(), 8192);
                assert_eq!(region.metadata().unwrap().size(), 8192);
                if S::backend().capabilities().attach_after_remove() {
                    assert_eq!(region.try_clone().unwrap().len(), 8192);
                }
                let removed = if round % 3 == 0 { region.remove() } else { backend.remove(&name) };
                count(if found(removed).is_some() { REMOVED } else { MISSED })
            }
        };
        backend.exists(&name).unwrap();
        if round % 16 == 0 {
            backend.list().unwrap();
        }
    });
}
