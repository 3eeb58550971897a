//! C11: regions without a name, and with a new one.

use std::collections::HashSet;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use nix::sys::signal::{Signal, raise};
use nix::sys::wait::WaitStatus;
use nix::unistd::getppid;
use shared_region::{
    Backend, CreateOptions, ErrorKind, OpenOptions, RegionName, Removal, SharedRegion, SharedRegionExt,
};

use crate::support::child::{eventually, forked, is_root, role, skip};
use crate::sut::{Sut, bytes_of, open};

pub fn create_unique_finds_a_new_name_that_begins_with_the_prefix<S: Sut>() {
    // 17 bytes, so that 13 are left.
    for prefix in ["conf-unique-", "/conf-unique-", "conf-unique-17-by"] {
        let mut names = HashSet::new();
        let mut regions = Vec::new();
        for number in 0..20_u8 {
            let options = CreateOptions::new(100).removal(Removal::OnDrop);
            let region = S::backend().create_unique(prefix, &options).unwrap();
            let id = region.id().unwrap();
            let name = *id.name().unwrap();
            assert!(name.to_string().starts_with(&format!("/{}", prefix.trim_start_matches('/'))));
            assert!(names.insert(name), "{name} comes twice");
            region.write_at(0, &[number]).unwrap();
            assert_eq!(bytes_of(&open::<S>(&name))[0], number);
            regions.push(region);
        }
        drop(regions);
        for name in names {
            assert!(!S::backend().exists(&name).unwrap());
        }
    }
    let unprefixed = S::backend().create_unique("", &CreateOptions::new(1)).unwrap();
    unprefixed.remove().unwrap();
}

pub fn an_unnamed_region_is_a_region_like_any_other<S: Sut>() {
    let region = S::backend().create_unnamed(&CreateOptions::new(5000)).unwrap();
    assert_eq!((region.len(), bytes_of(&region)), (5000, vec![0; 5000]));
    let facts = region.metadata().unwrap();
    assert_eq!((facts.size(), facts.mode()), (5000, 0o600));
    assert_eq!(region.id().and_then(|id| id.name().copied()), None);
    let clone = region.try_clone().unwrap();
    clone.write_at(4995, b"clone").unwrap();
    assert_eq!(bytes_of(&region)[4995..], *b"clone");
    drop(region);
    assert_eq!(bytes_of(&clone)[4995..], *b"clone");
}

pub fn an_unnamed_region_is_shared_with_forked_children<S: Sut>() {
    let region = S::backend().create_unnamed(&CreateOptions::new(4096)).unwrap();
    let counter = region.atomic_u64(8).unwrap();
    let end = forked(|| {
        counter.fetch_add(41, Ordering::SeqCst);
        0
    });
    assert!(matches!(end, WaitStatus::Exited(_, 0)), "{end:?}");
    assert_eq!(counter.fetch_add(1, Ordering::SeqCst), 41);
}

pub fn an_unnamed_region_is_gone_with_its_last_handle<S: Sut>() {
    let region = S::backend().create_unnamed(&CreateOptions::new(4096)).unwrap();
    assert!(region.metadata().unwrap().is_removed());
    // Removing it is not needed, and says so.
    let expected = if region.id().is_some() { ErrorKind::NotFound } else { ErrorKind::Unsupported };
    let error = region.remove().unwrap_err();
    assert_eq!(error.kind(), expected, "{error}");
    let Some(id) = region.id() else {
        return skip::<S>("nothing but its descriptor leads to it");
    };
    let (other, clone) = {
        let other = S::backend().open_id(&id, &OpenOptions::new()).unwrap();
        let clone = region.try_clone().unwrap();
        drop(region);
        (other, clone)
    };
    drop(clone);
    assert!(S::backend().open_id(&id, &OpenOptions::new()).is_ok());
    drop(other);
    let error = S::backend().open_id(&id, &OpenOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

pub fn an_unnamed_region_is_gone_with_its_last_user_also_by_sigkill<S: Sut>() {
    match S::small_store(1 << 20) {
        Some(store) if is_root() => {
            role::<S>("kills_users_of_unnamed_regions").confined(store).run();
        }
        Some(_) => skip::<S>("a private store takes root"),
        None => skip::<S>("there is no private store"),
    }
}

pub fn kills_users_of_unnamed_regions<S: Sut>(_: &[String]) {
    // Where it counts, the store holds one of them and not two.
    let options = CreateOptions::new(768 << 10);
    for _ in 0..4 {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let creator = forked(|| {
            let region = S::backend().create_unnamed(&options).unwrap();
            region.write_at(0, b"still here").unwrap();
            let parent = nix::unistd::getpid();
            // SAFETY: this process has one thread, and the child does no more than what follows.
            if let nix::unistd::ForkResult::Child = unsafe { nix::unistd::fork() }.unwrap() {
                // Outlives its parent, which has made the region.
                let orphan = eventually(|| getppid() != parent);
                if orphan && bytes_of(&region).starts_with(b"still here") {
                    std::io::Write::write_all(&mut &theirs, b"yes").unwrap();
                }
            }
            // Both die so.
            raise(Signal::SIGKILL).unwrap();
            1
        });
        assert!(matches!(creator, WaitStatus::Signaled(_, Signal::SIGKILL, _)), "{creator:?}");
        drop(theirs);
        let mut answer = String::new();
        // Ends when the last of them has ended.
        ours.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "yes");
        // A moment later, as a process closes its descriptors one after the other.
        assert!(eventually(|| S::backend().create_unnamed(&options).is_ok()), "nothing was freed");
    }
    assert_eq!(S::backend().list().unwrap(), []);
    // As much is free as in the beginning.
    let name = RegionName::new("all-of-it").unwrap();
    S::backend().create_new(&name, &CreateOptions::new(1 << 20)).unwrap();
    S::backend().remove(&name).unwrap();
}
