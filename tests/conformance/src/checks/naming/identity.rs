//! P3, H1: what is asked and changed by identity, without opening anything.

use std::time::{Duration, Instant};

use shared_region::{AnyBackend, Backend, CreateOptions, Error, ErrorKind, Metadata, RegionId, Result, SharedRegion};

use crate::checks::permissions::other;
use crate::support::child::{NOBODY, role, skip};
use crate::support::conversation::{Conversation, entry, told};
use crate::sut::{Fresh, NativeStat, Plant, Sut, create, name_in};

const NOT_THE_OWNER: &str = "PermissionDenied EPERM";

/// Whether the implementation does what these checks are about; else says that the check is skipped.
pub fn works<S: Sut>() -> bool {
    if S::reaches_by_identity().is_none() {
        skip::<S>("it must be opened to be asked or changed");
        return false;
    }
    true
}

fn id<S: Sut>(name: &Fresh<S>) -> RegionId {
    RegionId::named(S::backend().name(), **name)
}

pub fn metadata_of_an_identity_is_that_of_the_list_and_of_the_open_region<S: Sut>() {
    if works::<S>() {
        // In a second process, as this one forks for other tests, whose children attach for a moment what is mapped here.
        role::<S>("compares_metadata").arg(*Fresh::<S>::new()).run();
    }
}

pub fn compares_metadata<S: Sut>(arguments: &[String]) {
    let name = Fresh::<S>::named(name_in(arguments, 0));
    let backend = S::backend();
    let region = backend.create_new(&name, &CreateOptions::new(5000).mode(0o640)).unwrap();
    let of_identity = backend.metadata_id(&id(&name)).unwrap();
    assert_eq!(backend.metadata(&name).unwrap(), of_identity);
    let list = backend.list().unwrap();
    let listed = entry(&list, &id(&name)).unwrap();
    assert_eq!(*listed.metadata(), of_identity);
    assert_eq!(backend.metadata_id(listed.id()).unwrap(), of_identity);
    // The list may know more.
    let mut of_region = region.metadata().unwrap();
    if let (Some(resident), Some(swapped)) = (of_identity.resident(), of_identity.swapped()) {
        of_region = of_region.with_resident(resident).with_swapped(swapped);
    }
    assert_eq!(of_region, of_identity);
    assert!(of_identity.native_id().is_some());
    assert_eq!(of_identity.key().is_some(), !backend.capabilities().exact_names());
    if let Some(key) = of_identity.key() {
        assert_eq!(key, name.key());
    }

    // What is touched is resident, where the system tells that.
    let held = |metadata: &Metadata| metadata.resident().or(metadata.allocated()).unwrap();
    let lazy = Fresh::<S>::named(format!("{}-", name.as_str()).parse().unwrap());
    let options = CreateOptions::new(1 << 20).allocation(shared_region::Allocation::Lazy);
    let region = backend.create_new(&lazy, &options).unwrap();
    assert_eq!(held(&backend.metadata(&lazy).unwrap()), 0);
    shared_region::SharedRegionExt::fill_at(&region, 0, 8192, 1).unwrap();
    assert_eq!(held(&backend.metadata(&lazy).unwrap()), 8192);
}

pub fn metadata_needs_neither_permission_nor_a_size<S: Sut>() {
    if !works::<S>() {
        return;
    }
    let name = Fresh::<S>::new();
    if let Some(_unsized) = S::plant(Plant::Unsized, &name) {
        let start = Instant::now();
        assert_eq!(S::backend().metadata(&name).unwrap().size(), 0);
        assert!(start.elapsed() < Duration::from_secs(30));
    }
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 5000);
    for mode in [0o600, 0] {
        region.set_mode(mode).unwrap();
        let here = told(&S::backend().metadata(&name).unwrap());
        assert_eq!(here, told(&region.metadata().unwrap()));
        assert_eq!(nobody.ask(format!("metadata-id {name}")), here);
    }
}

pub fn an_owner_takes_back_what_the_mode_keeps_them_out_of<S: Sut>() {
    if !works::<S>() {
        return;
    }
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    let name = Fresh::<S>::new();
    nobody.order(format!("create {name} 5000 600"));
    nobody.order("drop");
    for mode in [0, 0o200, 0o066, 0o777] {
        nobody.order(format!("set-mode-id {name} {mode:o}"));
        let stat = NativeStat { size: 5000, mode, uid: NOBODY, gid: NOBODY };
        assert_eq!(S::native_stat(&name), Some(Some(stat)));
    }
    nobody.order(format!("set-mode-id {name} 0"));
    assert_eq!(nobody.ask(format!("open {name}")), "PermissionDenied EACCES");
    nobody.order(format!("set-mode-id {name} 600"));
    nobody.order(format!("open {name}"));
    // Giving it away asks for no access to it either.
    nobody.order(format!("set-mode-id {name} 0"));
    S::backend().set_owner(&name, Some(NOBODY - 1), Some(NOBODY - 2)).unwrap();
    let given = NativeStat { size: 5000, mode: 0, uid: NOBODY - 1, gid: NOBODY - 2 };
    assert_eq!(S::native_stat(&name), Some(Some(given)));
    let mut heir = Conversation::<S>::of(Some(NOBODY - 1));
    heir.order(format!("set-mode-id {name} 600"));
    heir.order(format!("open {name}"));
}

pub fn mode_and_owner_are_changed_by_identity_as_by_the_open_region<S: Sut>() {
    if !works::<S>() {
        return;
    }
    let Some(mut member) = other::<S>(0) else { return };
    let Some(mut stranger) = other::<S>(NOBODY - 1) else { return };
    member.order(format!("become {NOBODY} {NOBODY} 1234"));
    let name = Fresh::<S>::new();
    member.order(format!("create {name} 5000 666"));
    let created = S::native_stat(&name).unwrap().unwrap();
    for request in ["set-mode-id NAME 777", "set-owner-id NAME 65533 -", "set-owner-id NAME - 65533"] {
        assert_eq!(stranger.ask(request.replace("NAME", &name.to_string())), NOT_THE_OWNER, "{request}");
    }
    let nobodys = u32::MAX;
    for request in
        ["set-mode-id NAME 1777", &format!("set-owner-id NAME {nobodys} -"), "set-owner-id NAME - 4294967295"]
    {
        assert_eq!(member.ask(request.replace("NAME", &name.to_string())), "InvalidOptions", "{request}");
    }
    member.order(format!("set-owner-id {name} - -"));
    assert_eq!(S::native_stat(&name).unwrap().unwrap(), created);
    member.order(format!("set-owner-id {name} - 1234"));
    assert_eq!(S::native_stat(&name).unwrap().unwrap(), NativeStat { gid: 1234, ..created });
    member.order(format!("set-mode-id {name} 640"));
    // What is mapped keeps its access.
    member.order("write mapped");
    let mut reader = Conversation::<S>::of(Some(1234));
    reader.order(format!("open-read {name}"));
    assert_eq!(reader.ask("read 6"), "mapped");
    // A creator that the system remembers may give it to anybody, others to their groups.
    let knows_creators = S::backend().metadata(&name).unwrap().creator_uid().is_some();
    let given = if knows_creators { "ok" } else { NOT_THE_OWNER };
    assert_eq!(member.ask(format!("set-owner-id {name} 65533 -")), given);
}

/// Everything that can be asked about or done to an identity, but for removing it whatever it is.
fn each_call<S: Sut>(id: &RegionId) -> [(&'static str, Result<()>); 5] {
    let backend = S::backend();
    [
        ("look at", backend.metadata_id(id).map(drop)),
        ("set the mode of", backend.set_mode_id(id, 0o600)),
        ("set the owner of", backend.set_owner_id(id, None, None)),
        ("find the holders of", backend.holders_id(id).map(drop)),
        ("remove if unused", backend.remove_id_if_unused(id).map(drop)),
    ]
}

/// Checks that each of these calls fails in one of these ways.
pub fn each_call_says<S: Sut>(id: &RegionId, kinds: &[ErrorKind]) {
    for (operation, result) in each_call::<S>(id) {
        let error: Error = result.unwrap_err();
        let cannot = match operation {
            "find the holders of" => S::finds_holders().is_none(),
            "remove if unused" => !S::backend().capabilities().last_user(),
            _ => false,
        };
        let expected = kinds.contains(&error.kind()) || cannot && error.kind() == ErrorKind::Unsupported;
        assert!(expected && error.get_operation() == operation, "{error}");
        assert_eq!(error.get_backend(), Some(S::backend().name()), "{error}");
        let text = error.to_string();
        let named = [id.to_string(), id.name().unwrap().to_string()].map(|name| format!("\"{name}\""));
        assert!(text.starts_with(&format!("cannot {operation} ")), "{text}");
        assert!(named.iter().any(|name| text.contains(name)) && !text.contains('\n'), "{text}");
    }
}

pub fn a_missing_identity_is_not_found_and_a_foreign_one_invalid<S: Sut>() {
    let name = Fresh::<S>::new();
    if !works::<S>() {
        // It may have some of them.
        return each_call_says::<S>(&id(&name), &[ErrorKind::Unsupported, ErrorKind::NotFound]);
    }
    each_call_says::<S>(&id(&name), &[ErrorKind::NotFound]);
    // What is wrong whatever stands there is told first, as everywhere.
    let wrong = [S::backend().set_mode(&name, 0o1777), S::backend().set_owner(&name, Some(u32::MAX), None)];
    assert_eq!(wrong.map(|wrong| wrong.unwrap_err().kind()), [ErrorKind::InvalidOptions; 2]);
    let region = create::<S>(&name, 100);
    let before = S::native_stat(&name);
    each_call_says::<S>(&RegionId::named("elsewhere", *name), &[ErrorKind::InvalidName]);
    assert_eq!(S::native_stat(&name), before);
    assert!(!region.metadata().unwrap().is_removed());
    drop(region);
}

pub fn an_identity_finds_its_own_backend<S: Sut>() {
    let name = Fresh::<S>::new();
    drop(create::<S>(&name, 5000));
    let id = id(&name);
    if S::backend().name().parse::<AnyBackend>().is_err() {
        let unavailable = ErrorKind::BackendUnavailable;
        assert_eq!(id.metadata().unwrap_err().kind(), unavailable);
        assert_eq!(id.set_mode(0o640).unwrap_err().kind(), unavailable);
        assert_eq!(id.set_owner(None, None).unwrap_err().kind(), unavailable);
        assert_eq!(id.holders().unwrap_err().kind(), unavailable);
        assert_eq!(id.remove_if_unused().unwrap_err().kind(), unavailable);
        return;
    }
    id.set_mode(0o640).unwrap();
    id.set_owner(None, None).unwrap();
    let metadata = id.metadata().unwrap();
    assert_eq!((metadata.size(), metadata.mode()), (5000, 0o640));
    let region = id.open(&shared_region::OpenOptions::new()).unwrap();
    let holders = id.holders().unwrap();
    assert!(holders.processes().iter().any(|holder| holder.pid() == std::process::id()), "{holders:?}");
    assert!(!id.remove_if_unused().unwrap());
    drop(region);
}
