//! L1, L2, L4: how long regions and handles live.

use std::fs;

use nix::sys::wait::WaitStatus;
use shared_region::{Backend, CreateOptions, ErrorKind, OpenOptions, Removal, SharedRegion, SharedRegionExt};

use crate::support::child::{NOBODY, forked, hear, is_root, role, say, skip};
use crate::sut::{Fresh, Sut, bytes_of, create, name_in, open, open_read_only};

const ON_DROP: CreateOptions = CreateOptions::new(4096).removal(Removal::OnDrop);

pub fn a_region_outlives_its_handles_and_processes<S: Sut>() {
    for end in ["returns", "exits", "is killed", "is killed with OnDrop"] {
        let name = Fresh::<S>::new();
        let mut creator = role::<S>("creator_that_ends").arg(name.as_str()).arg(end).start();
        assert_eq!(creator.hear(), "created");
        match end {
            "returns" | "exits" => creator.finish(),
            _ => creator.kill(),
        }
        let region = open::<S>(&name);
        assert_eq!((region.len(), &bytes_of(&region)[..12]), (5000, &b"left behind!"[..]), "{end}");
    }
}

pub fn creator_that_ends<S: Sut>(arguments: &[String]) {
    let end = arguments[1].as_str();
    let removal = if end.ends_with("OnDrop") { Removal::OnDrop } else { Removal::Explicit };
    let options = CreateOptions::new(5000).removal(removal);
    let region = S::backend().create_new(&name_in(arguments, 0), &options).unwrap();
    region.write_at(0, b"left behind!").unwrap();
    say("created");
    match end {
        "returns" => {}
        "exits" => std::process::exit(0),
        _ => drop(hear()),
    }
}

pub fn dropping_a_handle_unmaps_and_closes_it_and_removes_nothing<S: Sut>() {
    let name = Fresh::<S>::new();
    role::<S>("drops_handles").arg(name.as_str()).run();
    assert_eq!(bytes_of(&open::<S>(&name))[..5], *b"still");
}

pub fn drops_handles<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let shared_mappings = || {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.split(' ').nth(1).unwrap().ends_with('s')).count()
    };
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = (shared_mappings(), descriptors());
    let region = create::<S>(&name, 10_000);
    region.write_at(0, b"still").unwrap();
    let clone = region.try_clone().unwrap();
    let boxed = region.try_clone_boxed().unwrap();
    let (other, read_only) = (open::<S>(&name), open_read_only::<S>(&name));
    assert_eq!(shared_mappings(), before.0 + 5);
    drop(region);
    assert_eq!(bytes_of(&clone)[..5], *b"still");
    drop(read_only);
    assert_eq!(shared_mappings(), before.0 + 3);
    drop((boxed, clone, other));
    assert_eq!((shared_mappings(), descriptors()), before);
    assert!(S::backend().exists(&name).unwrap());
}

pub fn dropping_a_handle_of_what_others_removed_is_silent<S: Sut>() {
    for removal in [Removal::Explicit, Removal::OnDrop] {
        let name = Fresh::<S>::new();
        let region = S::backend().create_new(&name, &ON_DROP.removal(removal)).unwrap();
        S::backend().remove(&name).unwrap();
        drop(region);
        assert!(!S::backend().exists(&name).unwrap());
    }
}

pub fn removal_on_drop_removes_with_the_handle_that_created<S: Sut>() {
    let name = Fresh::<S>::new();
    let backend = S::backend();
    let created = backend.create_new(&name, &ON_DROP).unwrap();
    let other = open::<S>(&name);
    drop(created);
    assert!(!backend.exists(&name).unwrap());
    other.write_at(0, b"goes on").unwrap();
    assert_eq!(bytes_of(&other)[..7], *b"goes on");
    assert!(other.metadata().unwrap().is_removed());

    let (created, new) = backend.open_or_create(&name, &ON_DROP).unwrap();
    assert!(new && backend.exists(&name).unwrap());
    drop(created);
    assert!(!backend.exists(&name).unwrap());

    let init = |region: &<S::Backend as Backend>::Region| region.write_at(0, b"x");
    drop(backend.create_with(&name, &ON_DROP, init).unwrap());
    assert!(!backend.exists(&name).unwrap());

    let unique = backend.create_unique("conf-drop-", &ON_DROP).unwrap();
    let id = unique.id().unwrap();
    drop(backend.open_id(&id, &OpenOptions::new()).unwrap());
    drop(unique);
    let error = backend.open_id(&id, &OpenOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

pub fn removal_on_drop_is_the_creating_handles_alone<S: Sut>() {
    let name = Fresh::<S>::new();
    let created = S::backend().create_new(&name, &ON_DROP).unwrap();
    drop(created.try_clone().unwrap());
    drop(created.try_clone_boxed().unwrap());
    drop(open::<S>(&name));
    let (opened, new) = S::backend().open_or_create(&name, &ON_DROP).unwrap();
    assert!(!new);
    drop(opened);
    role::<S>("opens_for_removal_on_drop").arg(name.as_str()).run();
    assert!(S::backend().exists(&name).unwrap());
    // The clone of a clone, when the creating handle has gone before.
    let clone = created.try_clone().unwrap();
    drop(created);
    let newer = create::<S>(&name, 1);
    drop(clone);
    assert_eq!(open::<S>(&name).len(), newer.len());
}

pub fn opens_for_removal_on_drop<S: Sut>(arguments: &[String]) {
    let (_, new) = S::backend().open_or_create(&name_in(arguments, 0), &ON_DROP).unwrap();
    assert!(!new);
}

pub fn removal_on_drop_never_happens_in_a_forked_child<S: Sut>() {
    let name = Fresh::<S>::new();
    let mut created = Some(S::backend().create_new(&name, &ON_DROP).unwrap());
    created.as_ref().unwrap().write_at(0, b"kept").unwrap();
    let ended = forked(|| {
        drop(created.take());
        0
    });
    assert!(matches!(ended, WaitStatus::Exited(_, 0)), "{ended:?}");
    assert!(S::backend().exists(&name).unwrap());
    assert_eq!(bytes_of(&open::<S>(&name))[..4], *b"kept");
    drop(created);
    assert!(!S::backend().exists(&name).unwrap());
}

pub fn removal_on_drop_leaves_a_newer_object_of_the_same_name_alone<S: Sut>() {
    let name = Fresh::<S>::new();
    for by_another_process in [false, true] {
        let old = S::backend().create_new(&name, &ON_DROP).unwrap();
        S::backend().remove(&name).unwrap();
        if by_another_process {
            let mut creator = role::<S>("creator_that_ends").arg(name.as_str()).arg("returns").start();
            assert_eq!(creator.hear(), "created");
            creator.finish();
        } else {
            create::<S>(&name, 5000).write_at(0, b"left behind!").unwrap();
        }
        drop(old);
        assert_eq!(bytes_of(&open::<S>(&name))[..12], *b"left behind!");
        S::backend().remove(&name).unwrap();
    }
}

pub fn a_clone_is_a_second_mapping_of_the_same_object<S: Sut>() {
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 5000);
    for region in [region, open_read_only::<S>(&name)] {
        let (clone, boxed) = (region.try_clone().unwrap(), region.try_clone_boxed().unwrap());
        if S::shares_with_processes() {
            assert_ne!(clone.as_ptr(), region.as_ptr());
            assert_ne!(boxed.as_ptr(), region.as_ptr());
        }
        let facts = |region: &dyn SharedRegion| (region.len(), region.access(), region.id());
        assert_eq!(facts(&clone), facts(&region));
        assert_eq!(facts(&*boxed), facts(&region));
        drop(region);
        let other = open::<S>(&name);
        other.write_at(4990, b"coherent").unwrap();
        assert_eq!(bytes_of(&clone)[4990..4998], *b"coherent");
        assert_eq!(bytes_of(&*boxed)[4990..4998], *b"coherent");
        match clone.access() {
            shared_region::Access::ReadWrite => clone.write_at(4990, b"forth").unwrap(),
            shared_region::Access::ReadOnly => {
                assert_eq!(clone.write_at(0, b"x").unwrap_err().kind(), ErrorKind::ReadOnly);
                assert_eq!(boxed.atomic_u8(0).unwrap_err().kind(), ErrorKind::ReadOnly);
                other.write_at(4990, b"forth").unwrap();
            }
        }
        assert_eq!(bytes_of(&other)[4990..4998], *b"forthent");
        other.fill_at(4990, 8, 0).unwrap();
    }
}

pub fn a_clone_can_be_made_after_removal_where_the_capability_says_so<S: Sut>() {
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 4096);
    region.write_at(0, b"alive").unwrap();
    S::backend().remove(&name).unwrap();
    drop(create::<S>(&name, 4096)); // which must not be mistaken for it
    if S::backend().capabilities().attach_after_remove() {
        let (clone, boxed) = (region.try_clone().unwrap(), region.try_clone_boxed().unwrap());
        assert_eq!(bytes_of(&clone)[..5], *b"alive");
        clone.write_at(0, b"after").unwrap();
        assert_eq!(bytes_of(&*boxed)[..5], *b"after");
        drop(region);
        assert_eq!(bytes_of(&clone.try_clone().unwrap())[..5], *b"after");
    } else {
        assert_eq!(region.try_clone().unwrap_err().kind(), ErrorKind::NotFound);
    }
}

/// A descriptor carries the access that was granted when it was opened; without one, the system asks the mode anew.
pub fn a_clone_after_a_stricter_mode_is_checked_again_where_the_system_does<S: Sut>() {
    if !is_root() {
        return skip::<S>("it takes a second user");
    }
    let name = Fresh::<S>::new();
    let options = CreateOptions::new(4096).mode(0o666);
    let region = S::backend().create_new(&name, &options).unwrap();
    for access in ["read-write", "read-only"] {
        region.set_mode(0o666).unwrap();
        let mut other = role::<S>("clones_under_a_stricter_mode");
        other = other.arg(name.as_str()).arg(access).as_user(NOBODY);
        let mut other = other.start();
        assert_eq!(other.hear(), "opened");
        region.set_mode(0o600).unwrap();
        region.write_at(0, b"stricter").unwrap();
        other.tell("stricter");
        other.finish();
    }
}

pub fn clones_under_a_stricter_mode<S: Sut>(arguments: &[String]) {
    let (name, read_only) = (name_in(arguments, 0), arguments[1] == "read-only");
    let options = OpenOptions::new().read_only(read_only);
    let region = S::backend().open(&name, &options).unwrap();
    drop(region.try_clone().unwrap());
    say("opened");
    assert_eq!(hear(), "stricter");
    if region.capabilities().file_descriptor() {
        assert_eq!(bytes_of(&region.try_clone().unwrap())[..8], *b"stricter");
    } else {
        let error = region.try_clone().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert_eq!(error.raw_os_error(), Some(nix::libc::EACCES));
    }
    let error = S::backend().open(&name, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert_eq!(bytes_of(&region)[..8], *b"stricter"); // what is mapped stays
}
