//! E4, S5: the true cause, and who can change it.

use std::io;

use nix::errno::Errno;
use nix::sys::wait::WaitStatus;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use shared_region::{Backend, CreateOptions, Error, ErrorKind, OpenOptions, RegionId, RegionName, SharedRegion};

use crate::support::child::{NOBODY, forked, is_root, role, say, skip};
use crate::support::trace::{self, Call, Fate};
use crate::sut::{Fresh, Plant, Sut, create, name_in, open};

#[track_caller]
fn assert_says<T>(result: Result<T, Error>, kind: ErrorKind, parts: &[&str]) {
    let error = result.err().expect("it was let through");
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    assert!(parts.iter().all(|part| text.contains(part)), "{parts:?}: {text}");
    assert!(text.len() < 300 && text.lines().count() == 1, "{text}");
}

/// Becomes another user, for good.
fn become_nobody() {
    let group = Gid::from_raw(NOBODY);
    setgroups(&[group]).unwrap();
    setgid(group).unwrap();
    setuid(Uid::from_raw(NOBODY)).unwrap();
}

pub fn a_denial_names_owner_and_mode_of_what_refuses<S: Sut>() {
    if S::store_name().is_none() {
        return skip::<S>("it leaves its errors to the crate");
    }
    if !is_root() {
        return skip::<S>("only root can become other users");
    }
    let (closed, shut, own) = (Fresh::<S>::new(), Fresh::<S>::new(), Fresh::<S>::new());
    create::<S>(&closed, 1);
    create::<S>(&shut, 1).set_mode(0o666).unwrap();
    let names = [&closed, &shut, &own];
    names.iter().fold(role::<S>("is_refused_by_objects"), |role, name| role.arg(***name)).as_user(NOBODY).run();
}

pub fn is_refused_by_objects<S: Sut>(arguments: &[String]) {
    let [closed, shut, own] = [0, 1, 2].map(|index| name_in(arguments, index));
    let backend = S::backend();
    let denied = ErrorKind::PermissionDenied;
    let of_closed = ["permission denied: it belongs to uid 0 and has mode 0600: ask uid 0, or run as it"];
    let of_shut = ["permission denied: it belongs to uid 0 and has mode 0666: ask uid 0, or run as it"];
    for options in [OpenOptions::new(), OpenOptions::new().read_only(true), OpenOptions::new().expect_owner(0)] {
        let opened = backend.open(&closed, &options);
        assert_says(opened, denied, &of_closed);
    }
    assert_says(backend.remove(&closed), denied, &of_closed);
    assert_says(backend.remove(&shut), denied, &of_shut);
    assert_says(backend.set_mode(&closed, 0o666), denied, &of_closed);
    assert_says(backend.set_owner(&closed, Some(NOBODY), None), denied, &of_closed);
    match backend.remove_if_unused(&closed) {
        // Nobody may look whether root holds it.
        Err(error) if error.kind() == ErrorKind::Unsupported => {}
        refused => assert_says(refused, denied, &of_closed),
    }
    let region = open::<S>(&shut);
    assert_says(region.remove(), denied, &of_shut);
    assert_says(region.set_mode(0o600), denied, &of_shut);
    assert_says(region.set_owner(Some(NOBODY), None), denied, &of_shut);

    let mut region = create::<S>(&own, 1);
    if region.metadata().unwrap().creator_uid().is_none() {
        let of_own = ["it belongs to uid 65534 and has mode 0600: run as root"];
        assert_says(region.set_owner(Some(0), None), denied, &of_own);
    }
    region.set_mode(0).unwrap();
    let of_own = ["it belongs to uid 65534 and has mode 0000: set its mode, or run as root"];
    assert_says(backend.open(&own, &OpenOptions::new()), denied, &of_own);
    if region.capabilities().grow() {
        assert_says(region.grow(5000), denied, &of_own);
    } else {
        assert_says(region.try_clone(), denied, &of_own);
    }
    region.remove().unwrap();
}

pub fn a_store_that_refuses_is_named_with_its_mode<S: Sut>() {
    for mode in ["0755", "0700"] {
        let Some(store) = S::store_of_mode(mode).filter(|_| is_root()) else {
            return skip::<S>("no private store with a mode of its own can be made here");
        };
        role::<S>("is_refused_by_the_store").arg(mode).confined(store).run();
    }
}

pub fn is_refused_by_the_store<S: Sut>(arguments: &[String]) {
    let (backend, mode) = (S::backend(), &arguments[0]);
    let (own, new) = (RegionName::new("own").unwrap(), RegionName::new("new").unwrap());
    create::<S>(&own, 1).set_owner(Some(NOBODY), None).unwrap();
    become_nobody();
    let id = RegionId::named(backend.name(), own);
    let store = S::store_name().unwrap();
    let of_store = [&*format!("permission denied: {store} has mode {mode} and belongs to uid 0, and is usually 1777")];
    let refused = |result: Result<(), Error>| {
        assert_says(result, ErrorKind::PermissionDenied, &of_store);
    };
    let options = CreateOptions::new(1);
    refused(backend.create_new(&new, &options).map(drop));
    refused(backend.create_with(&new, &options, |_| Ok::<_, Error>(())).map(drop));
    refused(backend.create_unique("new-", &options).map(drop));
    refused(backend.open_or_create(&new, &options).map(drop));
    refused(backend.probe());
    refused(backend.remove(&own));
    if mode == "0755" {
        // It lets in whoever makes and removes nothing.
        open::<S>(&own).set_mode(0o640).unwrap();
        assert!(backend.exists(&own).unwrap() && !backend.exists(&new).unwrap());
        assert_eq!(backend.list().unwrap().len(), 1);
        refused(open::<S>(&own).remove());
        return;
    }
    refused(backend.open(&own, &OpenOptions::new()).map(drop));
    refused(backend.exists(&own).map(drop));
    refused(backend.list().map(drop));
    refused(backend.metadata_id(&id).map(drop));
    refused(backend.set_mode(&own, 0o600));
}

pub fn a_lock_of_somebody_is_busy_and_no_limit<S: Sut>() {
    let error = Error::from_io(&Errno::EAGAIN.into()).operation("open").backend(S::backend().name());
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Busy, Some(Errno::EAGAIN as i32)));
    let text = error.to_string();
    assert!(text.contains("lease") && text.contains("try again") && !text.contains("limit"), "{text}");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::TimedOut);
}

pub fn a_quota_on_the_store_is_no_space_and_named<S: Sut>() {
    let Some(store) = S::store_with_quotas().filter(|_| is_root()) else {
        return skip::<S>("no private store with quotas can be made here");
    };
    let mut tried = S::store_with_quotas().unwrap();
    if !matches!(forked(move || i32::from(tried().is_err())), WaitStatus::Exited(_, 0)) {
        return skip::<S>("this kernel has no quotas on tmpfs");
    }
    role::<S>("is_over_quota").confined(store).run();
}

pub fn is_over_quota<S: Sut>(_: &[String]) {
    become_nobody();
    let name = RegionName::new("over-quota").unwrap();
    let error = S::backend().create_new(&name, &CreateOptions::new(65537)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::EDQUOT as i32), "{error}");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::QuotaExceeded);
    let parts = ["65537 bytes", "quota of uid 65534", "usrquota_block_hardlimit=65536"];
    assert_says(S::backend().create_new(&name, &CreateOptions::new(65537)), ErrorKind::NoSpace, &parts);
    let mut region = create::<S>(&name, 65536);
    assert_says(region.grow(65537), ErrorKind::NoSpace, &parts[1..]);
    let more = RegionName::new("one-more").unwrap();
    assert_says(S::backend().create_new(&more, &CreateOptions::new(1)), ErrorKind::NoSpace, &parts[1..]);
    region.remove().unwrap();
}

/// Whether a call takes something of a store.
type Takes = fn(&Call) -> bool;

/// Calls that take something of a store, each with what a message about it says.
const TAKING: [(Takes, &str); 2] = [
    (|call| call.opens_with(0), "a new object is over the quota"),
    (|call| call.is(&[nix::libc::SYS_fallocate]), "5000 bytes are over"),
];

pub fn a_quota_that_a_call_hits_is_no_space_and_named<S: Sut>() {
    if S::store_with_quotas().is_none() {
        return skip::<S>("there are no quotas");
    }
    if !trace::works::<S>() {
        return;
    }
    let name = Fresh::<S>::new();
    for (takes, told) in TAKING {
        let mut second = role::<S>("takes_of_the_store").arg(*name).start();
        let mut first = true;
        trace::follow(&mut second, "create", |call| {
            let ours = takes(call) && (call.path.starts_with("/dev/shm") || call.path.is_empty());
            if ours && std::mem::take(&mut first) { Fate::Fail(Errno::EDQUOT) } else { Fate::Pass }
        });
        let text = second.hear();
        assert!(text.starts_with("NoSpace QuotaExceeded ") && text.contains(told), "{text}");
        assert!(text.contains(&format!("of uid {}", nix::unistd::geteuid())) && text.contains("EDQUOT"), "{text}");
        second.tell("");
        second.finish();
    }
}

pub fn takes_of_the_store<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    while let Some(made) = trace::act(|_| S::backend().create_new(&name, &CreateOptions::new(5000))) {
        let error = made.expect_err("it was let through");
        let (kind, text) = (error.kind(), error.to_string());
        say(&format!("{kind:?} {:?} {text}", io::Error::from(error).kind()));
    }
}

pub fn no_message_advises_what_parts_those_who_share<S: Sut>() {
    let name = Fresh::<S>::new();
    create::<S>(&name, 10);
    let small = S::backend().open(&name, &OpenOptions::new().min_size(11)).unwrap_err().to_string();
    assert!(small.contains("grow it, ask for less, or have open_or_create replace it"), "{small}");
    let taken = S::backend().create_new(&name, &CreateOptions::new(1)).unwrap_err().to_string();
    let mut told = vec![small, taken];
    let unready = Fresh::<S>::new();
    if let Some(_planted) = S::plant(Plant::Unsized, &unready) {
        let soon = OpenOptions::new().timeout(std::time::Duration::from_millis(2));
        let text = S::backend().open(&unready, &soon).unwrap_err().to_string();
        assert!(text.contains("timeout") && text.contains("remove_if_unused"), "{text}");
        told.push(text);
    }
    for text in told {
        assert!(!text.replace("remove_if_unused", "").contains("remove"), "{text}");
    }
}
