//! P: permissions and owners. Root may do anything, so all of it is asked of other users.

use std::time::{Duration, Instant};

use shared_region::{Backend, OpenOptions, RegionId, SharedRegion, SharedRegionExt};

use crate::support::child::{NOBODY, eventually, is_root, skip};
use crate::support::conversation::{Conversation, brief, entry, told};
use crate::sut::{Fresh, NativeStat, Sut, bytes_of, create};

/// Another user that is neither root nor `nobody`.
const SOMEBODY: u32 = 65533;

const DENIED: &str = "PermissionDenied EACCES";
const NOT_THE_OWNER: &str = "PermissionDenied EPERM";

/// Starts a second process of another user, or says why it cannot.
pub fn other<S: Sut>(user: u32) -> Option<Conversation<S>> {
    if is_root() {
        return Some(Conversation::of(Some(user)));
    }
    skip::<S>("only root can become other users");
    None
}

/// Creates a region of this process with these permission bits.
fn with_mode<S: Sut>(name: &Fresh<S>, mode: u32) -> <S::Backend as Backend>::Region {
    let region = create::<S>(name, 5000);
    region.write_at(0, b"own").unwrap();
    region.set_mode(mode).unwrap();
    region
}

/// What the system says itself, or where it cannot be asked, what anybody is told who does not open it.
fn native<S: Sut>(name: &Fresh<S>) -> NativeStat {
    if let Some(stat) = S::native_stat(name) {
        return stat.unwrap();
    }
    let known = S::backend().metadata(name).unwrap();
    NativeStat { size: known.size(), mode: known.mode(), uid: known.uid(), gid: known.gid() }
}

/// Whether the creator keeps rights on what belongs to another user by now.
fn knows_creators(region: &impl SharedRegion) -> bool {
    region.metadata().unwrap().creator_uid().is_some()
}

pub fn open_without_permission_is_permission_denied<S: Sut>() {
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    let name = Fresh::<S>::new();
    let region = with_mode::<S>(&name, 0o600);
    for (mode, read, write) in [
        (0o600, DENIED, DENIED),
        (0o660, DENIED, DENIED),
        (0o640, DENIED, DENIED),
        (0o644, "ok", DENIED),
        (0o602, DENIED, DENIED),
        (0o606, "ok", "ok"),
        (0o000, DENIED, DENIED),
        (0o004, "ok", DENIED),
    ] {
        region.set_mode(mode).unwrap();
        assert_eq!(nobody.ask(format!("open-read {name}")), read, "{mode:o}");
        assert_eq!(nobody.ask(format!("open {name}")), write, "{mode:o}");
        assert_eq!(nobody.ask(format!("exists {name}")), "true", "{mode:o}");
    }
    region.set_mode(0o600).unwrap();
    assert_eq!(bytes_of(&region)[..3], *b"own");
}

pub fn permission_bits_of_the_group_count_for_its_members<S: Sut>() {
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    let name = Fresh::<S>::new();
    let region = with_mode::<S>(&name, 0o600);
    region.set_owner(None, Some(NOBODY)).unwrap();
    for (mode, read, write) in [
        (0o600, DENIED, DENIED),
        (0o640, "ok", DENIED),
        (0o660, "ok", "ok"),
        // Who is in the group has no use of what others may.
        (0o606, DENIED, DENIED),
    ] {
        region.set_mode(mode).unwrap();
        assert_eq!(nobody.ask(format!("open-read {name}")), read, "{mode:o}");
        assert_eq!(nobody.ask(format!("open {name}")), write, "{mode:o}");
    }
}

pub fn a_mode_can_keep_its_own_owner_out_but_not_from_removing<S: Sut>() {
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    for (mode, read) in [(0o000, DENIED), (0o066, DENIED), (0o200, DENIED), (0o400, "ok")] {
        let name = Fresh::<S>::new();
        nobody.order(format!("create {name} 5000 600"));
        nobody.order(format!("set-mode {mode:o}"));
        // What is mapped goes on working, and is asked about.
        nobody.order("write mapped");
        assert_eq!(nobody.ask("read 6"), "mapped", "{mode:o}");
        assert_eq!(nobody.ask("metadata"), format!("5000 {mode:o} {NOBODY} {NOBODY}"));
        assert_eq!(nobody.ask(format!("exists {name}")), "true", "{mode:o}");
        assert_eq!(nobody.ask(format!("open-read {name}")), read, "{mode:o}");
        assert_eq!(nobody.ask(format!("open {name}")), DENIED, "{mode:o}");
        nobody.order(format!("remove {name}"));
        assert_eq!(nobody.ask(format!("exists {name}")), "false", "{mode:o}");
    }
}

pub fn set_mode_gives_an_owner_the_region_back<S: Sut>() {
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    let name = Fresh::<S>::new();
    nobody.order(format!("create {name} 5000 600"));
    nobody.order("set-mode 0");
    assert_eq!(native::<S>(&name).mode, 0);
    nobody.order("set-mode 600");
    nobody.order(format!("open {name}"));
}

pub fn a_denial_is_not_waited_out<S: Sut>() {
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    let name = Fresh::<S>::new();
    let _region = with_mode::<S>(&name, 0o600);
    let start = Instant::now();
    assert_eq!(nobody.ask(format!("open-waiting {name}")), DENIED);
    assert!(start.elapsed() < Duration::from_secs(30));
}

pub fn removing_somebody_elses_region_is_permission_denied<S: Sut>() {
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    let name = Fresh::<S>::new();
    let region = with_mode::<S>(&name, 0o666);
    let refused = format!("PermissionDenied {:?}", S::REMOVAL_REFUSED);
    assert_eq!(nobody.ask(format!("remove {name}")), refused);
    nobody.order(format!("open {name}"));
    assert_eq!(nobody.ask("remove-own"), refused);
    // Not even with no right at all to look at it.
    region.set_mode(0o600).unwrap();
    assert_eq!(nobody.ask(format!("remove {name}")), refused);
    assert_eq!(nobody.ask(format!("exists {name}")), "true");
    assert_eq!(bytes_of(&region)[..3], *b"own");
    assert!(!region.metadata().unwrap().is_removed());
}

pub fn remove_if_unused_of_somebody_elses_region_removes_nothing<S: Sut>() {
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    let name = Fresh::<S>::new();
    let region = with_mode::<S>(&name, 0o666);
    let counts = region.capabilities().attach_count();
    // Who cannot know whether it is held does not guess.
    let unknown = "Unsupported".to_owned();
    let held = if counts { "false".to_owned() } else { unknown.clone() };
    assert_eq!(nobody.ask(format!("remove-if-unused {name}")), held);
    drop(region);
    let unused = if counts { format!("PermissionDenied {:?}", S::REMOVAL_REFUSED) } else { unknown };
    // Processes that other tests fork meanwhile inherit the mapping until they exec or exit.
    assert!(eventually(|| nobody.ask(format!("remove-if-unused {name}")) == unused));
    assert!(S::backend().exists(&name).unwrap());
}

pub fn another_user_finds_a_taken_name_taken<S: Sut>() {
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    let name = Fresh::<S>::new();
    let region = with_mode::<S>(&name, 0o600);
    for size in [1, 5000, 1 << 20] {
        let taken = nobody.ask(format!("create {name} {size} 600"));
        assert!(taken.starts_with("AlreadyExists"), "{taken}");
    }
    assert_eq!((bytes_of(&region)[..3].to_vec(), region.len()), (b"own".to_vec(), 5000));
}

pub fn metadata_works_for_whoever_may_read<S: Sut>() {
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    let name = Fresh::<S>::new();
    let region = with_mode::<S>(&name, 0o644);
    nobody.order(format!("open-read {name}"));
    let here = told(&region.metadata().unwrap());
    assert_eq!(nobody.ask("metadata"), here);
    let stat = native::<S>(&name);
    assert_eq!(here, format!("{} {:o} {} {}", stat.size, stat.mode, stat.uid, stat.gid));
    assert_eq!((stat.size, stat.mode, stat.uid), (5000, 0o644, 0));
    // The answer stays the system's own when the mode becomes stricter.
    region.set_mode(0o600).unwrap();
    assert_eq!(nobody.ask("metadata"), here.replace("644", "600"));
}

pub fn set_mode_is_for_the_owner<S: Sut>() {
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    let Some(mut somebody) = other::<S>(SOMEBODY) else { return };
    let name = Fresh::<S>::new();
    nobody.order(format!("create {name} 5000 666"));
    for mode in [0o600, 0o640, 0o777, 0o666] {
        nobody.order(format!("set-mode {mode:o}"));
        assert_eq!(native::<S>(&name).mode, mode);
    }
    somebody.order(format!("open {name}"));
    assert_eq!(somebody.ask("set-mode 777"), NOT_THE_OWNER);
    assert_eq!(somebody.ask("set-owner 65533 -"), NOT_THE_OWNER);
    assert_eq!(somebody.ask("set-owner - 65533"), NOT_THE_OWNER);
    assert_eq!(nobody.ask("set-mode 1777"), "InvalidOptions");
    let as_before = NativeStat { size: 5000, mode: 0o666, uid: NOBODY, gid: NOBODY };
    assert_eq!(native::<S>(&name), as_before);
}

pub fn set_owner_gives_a_group_of_ones_own<S: Sut>() {
    let Some(mut member) = other::<S>(0) else { return };
    member.order(format!("become {NOBODY} {NOBODY} 1234"));
    let name = Fresh::<S>::new();
    member.order(format!("create {name} 5000 640"));
    member.order("set-owner - 1234");
    let given = NativeStat { size: 5000, mode: 0o640, uid: NOBODY, gid: 1234 };
    assert_eq!(native::<S>(&name), given);
    // The other group can use it now, and the owner takes it back.
    let mut reader = Conversation::<S>::of(Some(1234));
    reader.order(format!("open-read {name}"));
    member.order(format!("set-owner {NOBODY} {NOBODY}"));
    assert_eq!(native::<S>(&name), NativeStat { gid: NOBODY, ..given });
}

pub fn set_owner_beyond_ones_own_groups_depends_on_creators<S: Sut>() {
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    let name = Fresh::<S>::new();
    let knows_creators = knows_creators(&with_mode::<S>(&Fresh::new(), 0o600));
    nobody.order(format!("create {name} 5000 600"));
    let created = NativeStat { size: 5000, mode: 0o600, uid: NOBODY, gid: NOBODY };
    if knows_creators {
        nobody.order("set-owner - 1234");
        nobody.order(format!("set-owner {SOMEBODY} -"));
        assert_eq!(native::<S>(&name), NativeStat { uid: SOMEBODY, gid: 1234, ..created });
        // Both the new owner and the creator may do with it what an owner may.
        let mut somebody = Conversation::<S>::of(Some(SOMEBODY));
        somebody.order(format!("open {name}"));
        somebody.order("set-mode 640");
        nobody.order("set-mode 600");
        nobody.order(format!("open {name}"));
        nobody.order(format!("set-owner {NOBODY} {NOBODY}"));
        nobody.order(format!("remove {name}"));
    } else {
        assert_eq!(nobody.ask("set-owner - 1234"), NOT_THE_OWNER);
        assert_eq!(nobody.ask(format!("set-owner {SOMEBODY} -")), NOT_THE_OWNER);
        assert_eq!(native::<S>(&name), created);
    }
}

pub fn set_owner_by_privilege_gives_all_rights_away<S: Sut>() {
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    let name = Fresh::<S>::new();
    let region = with_mode::<S>(&name, 0o600);
    assert_eq!(nobody.ask(format!("open {name}")), DENIED);
    region.set_owner(Some(NOBODY), Some(SOMEBODY)).unwrap();
    let given = NativeStat { size: 5000, mode: 0o600, uid: NOBODY, gid: SOMEBODY };
    assert_eq!(native::<S>(&name), given);
    let metadata = region.metadata().unwrap();
    assert_eq!(told(&metadata), format!("5000 600 {NOBODY} {SOMEBODY}"));
    region.set_owner(None, None).unwrap();
    assert_eq!(native::<S>(&name), given);
    nobody.order(format!("open {name}"));
    nobody.order("set-mode 400");
    nobody.order(format!("remove {name}"));
}

pub fn list_shows_regions_that_one_may_not_open<S: Sut>() {
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    let name = Fresh::<S>::new();
    let region = with_mode::<S>(&name, 0o600);
    for mode in [0o600, 0o000] {
        region.set_mode(mode).unwrap();
        assert_eq!(nobody.ask(format!("open-read {name}")), DENIED);
        let gid = native::<S>(&name).gid;
        assert_eq!(nobody.ask(format!("list {name}")), format!("5000 {mode:o} 0 {gid}"));
    }
    let list = S::backend().list().unwrap();
    let id = RegionId::named(S::backend().name(), *name);
    assert_eq!(told(entry(&list, &id).unwrap().metadata()), told(&region.metadata().unwrap()));
    region.remove().unwrap();
    assert_eq!(nobody.ask(format!("list {name}")), "absent");
}

pub fn expect_owner_refuses_the_object_of_another_user<S: Sut>() {
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    let mut root = Conversation::<S>::of(None);
    let name = Fresh::<S>::new();
    let region = with_mode::<S>(&name, 0o644);
    for user in [&mut root, &mut nobody] {
        user.order(format!("open-owned {name} 0"));
        assert_eq!(user.ask(format!("open-owned {name} {NOBODY}")), "PermissionDenied");
        assert_eq!(user.ask(format!("open-owned {name} {SOMEBODY}")), "PermissionDenied");
    }
    // By root given away: its new owner is who it is, whoever made it.
    region.set_owner(Some(NOBODY), None).unwrap();
    for user in [&mut root, &mut nobody] {
        user.order(format!("open-owned {name} {NOBODY}"));
        assert_eq!(user.ask(format!("open-owned {name} 0")), "PermissionDenied");
    }
}

pub fn expect_owner_tells_whose_it_is_and_maps_nothing<S: Sut>() {
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    let name = Fresh::<S>::new();
    nobody.order(format!("create {name} 5000 666"));
    let region = S::backend().open(&name, &OpenOptions::new()).unwrap();
    drop(nobody);
    let before = region.metadata().unwrap();
    let open = OpenOptions::new().expect_owner(SOMEBODY);
    let error = S::backend().open(&name, &open).unwrap_err();
    assert_eq!(brief(&error), "PermissionDenied");
    let text = error.to_string();
    assert!(text.contains("65534") && text.contains("65533"), "{text}");
    // Where the system notes who attaches and when, nothing was.
    let after = region.metadata().unwrap();
    assert_eq!((after.attached(), after.last_pid()), (before.attached(), before.last_pid()));
}

pub fn expect_owner_does_not_trust_a_creator_who_keeps_rights<S: Sut>() {
    let Some(mut nobody) = other::<S>(NOBODY) else { return };
    let name = Fresh::<S>::new();
    nobody.order(format!("create {name} 5000 666"));
    let created = S::backend().open(&name, &OpenOptions::new()).unwrap();
    if !knows_creators(&created) {
        assert_eq!(nobody.ask("set-owner 0 -"), NOT_THE_OWNER);
        return;
    }
    nobody.order("set-owner 0 -");
    assert_eq!(native::<S>(&name).uid, 0);
    let mut root = Conversation::<S>::of(None);
    assert_eq!(root.ask(format!("open-owned {name} 0")), "PermissionDenied");
    assert_eq!(root.ask(format!("open-owned {name} {NOBODY}")), "PermissionDenied");
    root.order(format!("open-read {name}"));
}
