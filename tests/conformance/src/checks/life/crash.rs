//! L8: SIGKILL at every system call.

use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use shared_region::{
    Backend, CreateOptions, Error, ErrorKind, ListEntry, OpenOptions, RegionId, RegionName, Removal, SharedRegion,
    SharedRegionExt,
};

use crate::support::child::{Second, hear, role, say, skip};
use crate::support::trace::{self, Fate, Refusal, Seen};
use crate::sut::{Fresh, NativeStat, Sut, bytes_of, create, name_in, open};

const SIZE: usize = 5000;
const MODE: u32 = 0o640;
const PATTERN: u8 = 0xa5;

pub fn create_new_killed_at_any_call_leaves_nothing_or_a_complete_region<S: Sut>() {
    creation::<S>("create_new", None);
}

pub fn open_or_create_killed_at_any_call_leaves_nothing_or_a_complete_region<S: Sut>() {
    creation::<S>("open_or_create", None);
}

pub fn create_with_killed_at_any_call_leaves_nothing_half_done_where_init_is_atomic<S: Sut>() {
    creation::<S>("create_with", None);
}

pub fn the_portable_creation_killed_at_any_call_leaves_at_worst_an_unready_name<S: Sut>() {
    for refusal in trace::portable_ways::<S>().into_iter().take(2) {
        creation::<S>("create_with", Some(refusal));
    }
}

/// Whether what is left can be told without the implementation's help.
fn can_be_seen<S: Sut>() -> bool {
    let seen = S::native_stat(&Fresh::<S>::new()).is_some();
    if !seen {
        skip::<S>("the system itself cannot be asked");
    }
    seen
}

/// Kills a creator at every call; the parent then looks at what is left.
fn creation<S: Sut>(operation: &str, refusal: Option<Refusal>) {
    if !trace::works::<S>() || !can_be_seen::<S>() {
        return;
    }
    let atomic = S::backend().capabilities().atomic_init() && refusal.is_none();
    let (mut nothing, mut complete) = (0, 0);
    at_every_call::<S>(operation, refusal, |&Scene { name, killed, .. }| {
        let Some(Some(stat)) = S::native_stat(name) else {
            assert!(killed, "created, and not there");
            nothing += 1;
            assert!(!S::backend().exists(name).unwrap());
            assert_eq!(bytes_of(&create::<S>(name, SIZE)), [0; SIZE]);
            return;
        };
        if stat.size == 0 {
            assert!(killed && !atomic, "a name of size 0");
            let soon = OpenOptions::new().timeout(Duration::from_millis(5));
            let error = S::backend().open(name, &soon).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotReady, "{error}");
            S::backend().remove(name).unwrap();
            create::<S>(name, SIZE);
            return;
        }
        assert_eq!(stat, NativeStat { size: SIZE as u64, mode: MODE, ..stat });
        let region = open::<S>(name);
        assert_eq!(region.metadata().unwrap().attach_count().unwrap_or(1), 1, "still attached");
        let bytes = bytes_of(&region);
        let (half, rest) = bytes.split_at(SIZE / 2);
        let uniform = |bytes: &[u8]| bytes.iter().all(|&byte| byte == bytes[0]);
        assert!(uniform(half) && uniform(rest), "neither zeros nor what init wrote");
        match (operation, half[0], rest[0]) {
            ("create_with", PATTERN, PATTERN) => complete += 1,
            ("create_with", 0 | PATTERN, 0) => assert!(killed && !atomic, "published half done"),
            (_, 0, 0) => complete += 1,
            other => panic!("{other:?}"),
        }
        S::backend().remove(name).unwrap();
    });
    // The check bites: there were creators killed before and after.
    assert!(nothing > 0 && complete > 1, "{nothing} times nothing, {complete} times complete");
}

pub fn create_unnamed_killed_at_any_call_leaves_at_worst_a_removable_region_of_zeros<S: Sut>() {
    if !trace::works::<S>() {
        return;
    }
    at_every_call::<S>("create_unnamed", None, |scene| {
        sweep::<S>(scene.killed, &scene.left::<S>("unnamed-"));
    });
}

pub fn create_unique_killed_at_any_call_leaves_nothing_or_a_complete_region<S: Sut>() {
    if !trace::works::<S>() {
        return;
    }
    let mut complete = 0;
    at_every_call::<S>("create_unique", None, |scene| {
        let left = scene.left::<S>(&format!("u{}-", scene.pid));
        complete += left.len();
        assert!(scene.killed || left.len() == 1);
        sweep::<S>(true, &left);
    });
    assert!(complete > 1);
}

/// What a second process has done, or been killed at.
struct Scene<'a> {
    name: &'a RegionName,
    killed: bool,
    pid: i32,
    /// What there was before it began: process ids are used again, and others leave things too.
    before: &'a [RegionId],
}

impl Scene<'_> {
    /// What the process left in the store, as far as that tells who made it.
    fn left<S: Sut>(&self, prefix: &str) -> Vec<ListEntry> {
        let mut entries = S::backend().list().unwrap();
        entries.retain(|entry| {
            let ours = entry.metadata().creator_pid() == Some(self.pid as u32)
                || entry.id().name().is_some_and(|name| name.as_str().starts_with(prefix));
            ours && !self.before.contains(entry.id())
        });
        entries
    }
}

fn listed<S: Sut>() -> Vec<RegionId> {
    S::backend().list().unwrap().iter().map(|entry| entry.id().clone()).collect()
}

/// Removes what a killed process left, which is one complete region of zeros at most.
fn sweep<S: Sut>(killed: bool, left: &[ListEntry]) {
    assert!(left.len() <= usize::from(killed), "{left:?}");
    for entry in left {
        assert_eq!(entry.metadata().attach_count().unwrap_or(0), 0);
        let region = S::backend().open_id(entry.id(), &OpenOptions::new()).unwrap();
        assert_eq!(bytes_of(&region), [0; SIZE]);
        S::backend().remove_id(entry.id()).unwrap();
    }
}

pub fn grow_killed_at_any_call_leaves_the_old_size_or_the_new_and_no_lock<S: Sut>() {
    if !S::backend().capabilities().grow() {
        return skip::<S>("nothing grows");
    }
    if !trace::works::<S>() {
        return;
    }
    let (mut old, mut new) = (0, 0);
    at_every_call::<S>("grow", None, |&Scene { name, killed, .. }| {
        let mut peer = open::<S>(name);
        assert_eq!(bytes_of(&peer)[..SIZE], [PATTERN; SIZE]);
        match peer.len() {
            SIZE => old += usize::from(killed),
            len => {
                new += 1;
                assert_eq!(len, 4 * SIZE);
                assert_eq!(bytes_of(&peer)[SIZE..], [0; 3 * SIZE]);
            }
        }
        scribble(&peer);
        peer.grow(5 * SIZE).unwrap();
        assert_eq!(bytes_of(&peer)[..SIZE], [PATTERN; SIZE]);
        assert_eq!(bytes_of(&peer)[SIZE..], [0; 4 * SIZE]);
        assert!(peer.metadata().unwrap().is_reserved().unwrap_or(true));
        S::backend().remove(name).unwrap();
    });
    assert!(old > 0 && new > 1, "{old} times the old size, {new} times the new");
}

pub fn remove_killed_at_any_call_leaves_the_whole_region_or_nothing<S: Sut>() {
    if !trace::works::<S>() || !can_be_seen::<S>() {
        return;
    }
    let (mut there, mut gone) = (0, 0);
    at_every_call::<S>("remove", None, |&Scene { name, killed, .. }| {
        let mut removed = S::backend().remove(name).map_err(|error| error.kind());
        if S::native_stat(name).is_some() && removed.is_ok() {
            there += 1;
            assert!(killed, "removed, and still there");
            removed = S::backend().remove(name).map_err(|error| error.kind());
        } else {
            gone += 1;
        }
        assert_eq!(removed, Err(ErrorKind::NotFound));
        create::<S>(name, SIZE);
        S::backend().remove(name).unwrap();
    });
    assert!(there > 0 && gone > 1, "{there} times still there, {gone} times gone");
}

/// Has a second process do `operation`, and killed at the entry and after the exit of each system call in turn. Calls
/// `look` after each, and sees that a peer goes on.
fn at_every_call<S: Sut>(operation: &str, refusal: Option<Refusal>, mut look: impl FnMut(&Scene<'_>)) {
    for fate in [Fate::KillBefore, Fate::KillAfter] {
        for victim in 0.. {
            let name = Fresh::<S>::new();
            let peer = matches!(operation, "grow" | "remove").then(|| create::<S>(&name, SIZE));
            if let Some(peer) = &peer {
                peer.fill_at(0, SIZE, PATTERN).unwrap();
                scribble(peer);
            }
            let before = listed::<S>();
            let mut second = role::<S>("dies").arg(operation).arg(name.as_str()).start();
            let seen = killed_at(&mut second, victim, fate, refusal);
            let pid = second.pid();
            match seen.end {
                None => second.finish(),
                Some(end) => {
                    assert!(
                        matches!(end, WaitStatus::Signaled(_, Signal::SIGKILL, _)),
                        "{operation} with {refusal:?}, {victim}: {end:?}"
                    );
                    second.end();
                }
            }
            if let Some(peer) = &peer {
                assert_eq!(bytes_of(peer), [PATTERN; SIZE]);
                peer.write_at(0, &[PATTERN]).unwrap();
            }
            look(&Scene { name: &name, killed: seen.end.is_some(), pid, before: &before });
            // A process that found out whether it can link leaves an empty file at most.
            assert_eq!(S::sweep().unwrap_or(0), 0);
            if seen.end.is_none() {
                assert!(victim > 1, "{operation} makes no system call: {:?}", seen.calls);
                break;
            }
        }
    }
}

/// Writes past the end, where safe calls never reach: the rest of the last page shows up when the object grows.
fn scribble(region: &impl SharedRegion) {
    let end = region.as_mut_ptr().unwrap().wrapping_add(region.len());
    let rest = region.len().next_multiple_of(4096) - region.len();
    // SAFETY: a mapping goes on to the end of its last page, pages have 4096 bytes or a multiple, and nothing else is
    // there; mmap(2). So `rest` bytes can be written.
    unsafe { end.write_bytes(PATTERN, rest) };
}

fn killed_at(second: &mut Second, victim: usize, fate: Fate, refusal: Option<Refusal>) -> Seen {
    let mut count = 0;
    trace::follow(second, "go", |call| {
        count += 1;
        match refusal.and_then(|refuse| refuse(call)) {
            _ if count == victim + 1 => fate,
            Some(errno) => Fate::Fail(errno),
            None => Fate::Pass,
        }
    })
}

pub fn dies<S: Sut>(arguments: &[String]) {
    let (operation, name) = (arguments[0].as_str(), name_in(arguments, 1));
    let backend = S::backend();
    let options = CreateOptions::new(SIZE).mode(MODE);
    let unique = format!("u{}-", std::process::id());
    let mut handle = (operation == "grow").then(|| open::<S>(&name));
    let done = trace::act(|_| match (operation, &mut handle) {
        ("create_new", _) => backend.create_new(&name, &options).map(drop),
        ("open_or_create", _) => backend.open_or_create(&name, &options).map(drop),
        ("create_with", _) => backend.create_with(&name, &options, in_two_halves).map(drop),
        ("create_unnamed", _) => backend.create_unnamed(&options).map(drop),
        ("create_unique", _) => backend.create_unique(&unique, &options).map(drop),
        ("grow", Some(handle)) => handle.grow(4 * SIZE),
        ("remove", _) => backend.remove(&name),
        _ => panic!("{operation}"),
    });
    done.unwrap().unwrap();
}

/// Writes a pattern, with a system call in the middle, at which the process can be killed.
fn in_two_halves<R: SharedRegion>(region: &R) -> Result<(), Error> {
    region.fill_at(0, SIZE / 2, PATTERN)?;
    let _ = nix::unistd::getppid();
    region.fill_at(SIZE / 2, SIZE - SIZE / 2, PATTERN)
}

pub fn a_region_stays_when_all_its_users_are_killed<S: Sut>() {
    let name = Fresh::<S>::new();
    let mut users: Vec<Second> = (0..3).map(|_| role::<S>("holds").arg(name.as_str()).start()).collect();
    for user in &mut users {
        assert_eq!(user.hear(), "held");
    }
    users.into_iter().for_each(Second::kill);
    let entries = S::backend().list().unwrap();
    let ours = [RegionId::named(S::backend().name(), *name), RegionId::Key(name.key())];
    let entry = entries.iter().find(|entry| ours.contains(entry.id())).unwrap();
    let counted = S::backend().capabilities().attach_count();
    assert_eq!(entry.metadata().attach_count(), counted.then_some(0));
    assert_eq!(bytes_of(&open::<S>(&name)), [PATTERN; SIZE]);
    // Not even the one whose handle removes it when dropped did so.
    assert!(S::backend().exists(&name).unwrap());
}

pub fn an_unnamed_region_goes_when_its_last_user_is_killed<S: Sut>() {
    let before = listed::<S>();
    let mut user = role::<S>("holds").start();
    assert_eq!(user.hear(), "held");
    let pid = user.pid();
    user.kill();
    let name = &Fresh::<S>::new();
    let left = Scene { name, killed: true, pid, before: &before }.left::<S>("unnamed-");
    assert!(left.is_empty(), "{left:?}");
}

/// Holds a region, a named one if it is given a name, until it is killed.
pub fn holds<S: Sut>(arguments: &[String]) {
    let options = CreateOptions::new(SIZE).removal(Removal::OnDrop);
    let region = match arguments {
        [] => S::backend().create_unnamed(&options).unwrap(),
        _ => S::backend().open_or_create(&name_in(arguments, 0), &options).unwrap().0,
    };
    region.fill_at(0, SIZE, PATTERN).unwrap();
    say("held");
    hear();
}
