//! L9: `remove_if_unused`.
//!
//! All of it happens in second processes: this one forks for other tests at any time, and each child holds for a moment
//! whatever is mapped here.

use std::io::{Read, Write};

use nix::mount::MsFlags;
use nix::sched::{CloneFlags, unshare};
use shared_region::{Backend, CreateOptions, ErrorKind, RegionName, SharedRegion, SharedRegionExt};

use crate::support::child::{NOBODY, Role, eventually, fork_off, hear, is_root, private_mount, role, say, skip};
use crate::sut::{Fresh, Sut, bytes_of, create, name_in, open, open_read_only};

/// Runs a role where all processes can be looked into; on many a machine not even root may look into the first one.
pub fn run_where_holders_are_known<S: Sut>(name: &str) {
    let fresh = Fresh::<S>::new();
    let known = role::<S>(name).arg(fresh.as_str());
    if S::finds_holders().is_none() {
        skip::<S>("nobody can tell who holds a region");
    } else if S::backend().capabilities().attach_count() {
        known.run();
    } else if is_root() {
        role::<S>("starts_in_its_pid_namespace").arg(name).arg(fresh.as_str()).run();
    } else {
        skip::<S>("a namespace whose processes can all be looked into takes root");
    }
}

pub fn starts_in_its_pid_namespace<S: Sut>(arguments: &[String]) {
    unshare(CloneFlags::CLONE_NEWPID).unwrap(); // for the next child, not for this process
    let proc = private_mount("proc", "/proc", MsFlags::empty(), "");
    role::<S>(&arguments[0]).arg(&arguments[1]).confined(proc).run();
}

fn is_removed<S: Sut>(name: &RegionName) {
    // Who reads a dead process's `/proc/PID/maps` keeps its mappings for that long.
    assert!(eventually(|| S::backend().remove_if_unused(name).unwrap()), "it is held by nobody");
    assert!(!S::backend().exists(name).unwrap());
    let error = S::backend().remove_if_unused(name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn is_kept<S: Sut>(name: &RegionName) {
    assert!(!S::backend().remove_if_unused(name).unwrap(), "somebody holds it");
    assert!(S::backend().exists(name).unwrap());
}

fn holder<S: Sut>(name: &RegionName) -> Role {
    role::<S>("holds_until_told").arg(name.as_str())
}

pub fn holds_until_told<S: Sut>(arguments: &[String]) {
    let region = open_read_only::<S>(&name_in(arguments, 0));
    say("holding");
    hear();
    drop(region);
}

pub fn what_nobody_holds_is_removed_if_unused<S: Sut>() {
    run_where_holders_are_known::<S>("removes_what_nobody_holds");
}

pub fn removes_what_nobody_holds<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let error = S::backend().remove_if_unused(&name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    drop(create::<S>(&name, 4096));
    is_removed::<S>(&name);
    // What a crash left.
    let mut crashing = role::<S>("creator_that_ends").arg(name.as_str()).arg("is killed").start();
    assert_eq!(crashing.hear(), "created");
    is_kept::<S>(&name);
    crashing.kill();
    is_removed::<S>(&name);
}

pub fn what_somebody_holds_is_kept_until_they_go<S: Sut>() {
    run_where_holders_are_known::<S>("keeps_what_somebody_holds");
}

pub fn keeps_what_somebody_holds<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let region = create::<S>(&name, 4096);
    region.write_at(0, b"kept").unwrap();
    is_kept::<S>(&name); // this process holds it
    let clone = region.try_clone().unwrap();
    drop(region);
    is_kept::<S>(&name);
    drop(clone);
    let mut holders = [(); 2].map(|()| holder::<S>(&name).start());
    for holder in &mut holders {
        assert_eq!(holder.hear(), "holding");
    }
    is_kept::<S>(&name);
    let [first, second] = holders;
    first.finish();
    is_kept::<S>(&name);
    assert_eq!(bytes_of(&open::<S>(&name))[..4], *b"kept");
    second.kill();
    is_removed::<S>(&name);
}

pub fn a_forked_child_that_inherited_a_region_holds_it<S: Sut>() {
    run_where_holders_are_known::<S>("forks_a_holder");
}

pub fn forks_a_holder<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let region = create::<S>(&name, 4096);
    let mut child = fork_off(|line| {
        let told = line.write_all(b"!").and_then(|()| line.read(&mut [0]));
        i32::from(told.is_err())
    });
    child.line.read_exact(&mut [0]).unwrap();
    drop(region);
    is_kept::<S>(&name);
    child.kill();
    is_removed::<S>(&name);
}

pub fn who_has_only_a_descriptor_holds_a_region<S: Sut>() {
    if !S::backend().capabilities().file_descriptor() {
        let region = S::backend().create_unnamed(&CreateOptions::new(8)).unwrap();
        assert_eq!(region.descriptor().unwrap_err().kind(), ErrorKind::Unsupported);
        return skip::<S>("a region has no descriptor");
    }
    run_where_holders_are_known::<S>("keeps_a_descriptor");
}

pub fn keeps_a_descriptor<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let region = create::<S>(&name, 4096);
    let descriptor = region.descriptor().unwrap().try_clone_to_owned().unwrap();
    drop(region);
    is_kept::<S>(&name);
    drop(descriptor);
    is_removed::<S>(&name);
}

pub fn who_has_it_mapped_alone_holds_a_region<S: Sut>() {
    run_where_holders_are_known::<S>("keeps_a_mapping");
}

pub fn keeps_a_mapping<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let region = std::mem::ManuallyDrop::new(create::<S>(&name, 4096));
    if let Ok(descriptor) = region.descriptor() {
        // Closed behind the region's back, which therefore must never be dropped.
        let number = std::os::fd::AsRawFd::as_raw_fd(&descriptor);
        nix::unistd::close(number).unwrap();
    }
    is_kept::<S>(&name);
}

/// As another user, who may look into nobody else's processes.
pub fn an_ordinary_user_removes_what_they_left_behind<S: Sut>() {
    if !is_root() {
        return skip::<S>("it takes a second user");
    }
    let name = Fresh::<S>::new();
    role::<S>("removes_as_another_user").arg(name.as_str()).as_user(NOBODY).run();
}

pub fn removes_as_another_user<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let region = create::<S>(&name, 4096);
    if S::finds_holders().is_none() {
        is_unknown::<S>(&name);
        return;
    }
    is_kept::<S>(&name);
    let mut other = holder::<S>(&name).start();
    assert_eq!(other.hear(), "holding");
    drop(region);
    is_kept::<S>(&name);
    other.finish();
    is_removed::<S>(&name);
}

fn is_unknown<S: Sut>(name: &RegionName) {
    let error = S::backend().remove_if_unused(name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(error.get_backend(), Some(S::backend().name()));
    let text = error.to_string();
    assert!(text.contains(name.as_str()) && text.contains("ask those who use it"), "{text}");
    assert!(S::backend().exists(name).unwrap());
}

pub fn another_users_region_is_never_removed_if_unused<S: Sut>() {
    if !is_root() {
        return skip::<S>("it takes a second user");
    }
    let name = Fresh::<S>::new();
    // Made by a second process, so that no fork of this one ever holds it.
    let mut creator = role::<S>("creator_that_ends").arg(name.as_str()).arg("returns").start();
    assert_eq!(creator.hear(), "created");
    creator.finish();
    role::<S>("may_not_remove").arg(name.as_str()).as_user(NOBODY).run();
    assert_eq!(bytes_of(&open::<S>(&name))[..4], *b"left");
}

pub fn may_not_remove<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    if S::backend().capabilities().attach_count() {
        let error = S::backend().remove_if_unused(&name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    } else {
        is_unknown::<S>(&name);
    }
}
