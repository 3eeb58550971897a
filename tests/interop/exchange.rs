//! A writer and a reader, one of them in another language.

use shared_region::{CreateOptions, ErrorKind, OpenOptions, RegionId, Removal, SharedRegion};

use crate::support::{ANSWER, Meeting, Peer, SIZE, eventually, put_at, text_at};

const OPEN: OpenOptions = OpenOptions::new().min_size(SIZE);
const CREATE: CreateOptions = CreateOptions::new(SIZE).mode(0o640);

/// Makes a module of all checks for each peer.
macro_rules! peers {
    ($($name:ident: $peer:expr, $meeting:expr;)*) => {
        $(mod $name {
            use super::*;
            peers! { @checks $peer, $meeting;
                what_it_creates_opens_in_rust
                what_rust_creates_opens_in_it
                what_exists_neither_creates_again
                what_it_removes_rust_keeps_until_it_lets_go
                what_rust_removes_it_keeps_until_it_lets_go
                what_it_leaves_when_it_is_killed_rust_opens_and_removes
                while_it_holds_a_region_there_is_another_user
            }
        })*
    };
    (@checks $peer:expr, $meeting:expr; $($check:ident)*) => {
        $(#[test]
        fn $check() {
            if let Some(peer) = $peer {
                super::$check(&peer, &$meeting);
            }
        })*
    };
}

peers! {
    c_sysv: Peer::c("tests/interop/c/sysv_exchange.c"), Meeting::by_file('R');
    c_sysv_by_name: Peer::c("tests/interop/c/sysv_exchange.c"), Meeting::by_name_of_sysv();
    c_posix: Peer::c("tests/interop/c/posix_exchange.c"), Meeting::by_name();
    python_multiprocessing: Peer::python("multiprocessing.shared_memory"), Meeting::by_name();
    python_posix_ipc: Peer::installed("posix_ipc"), Meeting::by_name();
    python_sysv_ipc: Peer::installed("sysv_ipc"), Meeting::by_file('R');
}

/// Checks what the peer tells of a region against what Rust does.
fn sees_the_same(peer: &Peer, meeting: &Meeting, region: &impl SharedRegion) {
    let mut both = (String::new(), String::new());
    // Other tests' processes are copies of this one when they start, and count.
    let same = eventually(|| {
        let known = region.metadata().unwrap();
        let count = known.attach_count().map_or("-".to_owned(), |count| count.to_string());
        both = (format!("{} {:o} {count}", known.size(), known.mode()), peer.run(&["stat", &meeting.at]).unwrap());
        both.0 == both.1
    });
    assert!(same, "{both:?}");
}

fn is_attached(region: &impl SharedRegion, times: u64) {
    let count = || region.metadata().unwrap().attach_count();
    assert!(eventually(|| count().is_none_or(|count| count == times)), "{:?} and not {times}", count());
}

fn what_it_creates_opens_in_rust(peer: &Peer, meeting: &Meeting) {
    let mut writer = peer.start(&["write", &meeting.at, "from the peer"]);
    assert_eq!(writer.hear(), "ready");
    let region = meeting.id.open(&OPEN).unwrap();
    assert_eq!((region.len(), text_at(&region, 0).as_str()), (SIZE, "from the peer"));
    let known = region.metadata().unwrap();
    assert_eq!(known.creator_pid().unwrap_or(writer.pid()), writer.pid());
    assert_eq!(known.uid(), nix::unistd::geteuid().as_raw());
    is_attached(&region, 2);
    sees_the_same(peer, meeting, &region);

    put_at(&region, ANSWER, "from Rust");
    writer.go_on();
    assert_eq!(writer.hear(), "from Rust");
    writer.finish();
    is_attached(&region, 1);
    assert_eq!(text_at(&region, 0), "from the peer");
}

fn what_rust_creates_opens_in_it(peer: &Peer, meeting: &Meeting) {
    let region = meeting.id.create(&CREATE).unwrap();
    put_at(&region, 0, "from Rust");
    let mut reader = peer.start(&["read", &meeting.at, "from the peer"]);
    assert_eq!(reader.hear(), "from Rust");
    is_attached(&region, 2);
    sees_the_same(peer, meeting, &region);
    reader.go_on();
    reader.finish();
    is_attached(&region, 1);
    assert_eq!(text_at(&region, ANSWER), "from the peer");

    // What Rust changes later, the peer sees.
    region.set_mode(0o600).unwrap();
    assert!(peer.run(&["stat", &meeting.at]).unwrap().starts_with("5000 600 "));
    sees_the_same(peer, meeting, &region);
}

fn what_exists_neither_creates_again(peer: &Peer, meeting: &Meeting) {
    let region = meeting.id.create(&CREATE).unwrap();
    put_at(&region, 0, "first");
    let complaint = peer.run(&["write", &meeting.at, "second"]).unwrap_err();
    assert!(complaint.to_lowercase().contains("exist"), "{complaint}");
    assert_eq!(text_at(&region, 0), "first");
    region.remove().unwrap();
    drop(region);

    let mut writer = peer.start(&["write", &meeting.at, "second"]);
    assert_eq!(writer.hear(), "ready");
    assert_eq!(meeting.id.create(&CREATE).unwrap_err().kind(), ErrorKind::AlreadyExists);
    let (region, created) = meeting.id.open_or_create(&CREATE).unwrap();
    assert_eq!((created, text_at(&region, 0).as_str()), (false, "second"));
}

fn what_it_removes_rust_keeps_until_it_lets_go(peer: &Peer, meeting: &Meeting) {
    let region = meeting.id.create(&CREATE).unwrap();
    put_at(&region, 0, "from Rust");
    peer.run(&["remove", &meeting.at]).unwrap();
    assert!(region.metadata().unwrap().is_removed());
    assert_eq!(region.remove().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(meeting.id.open(&OPEN).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(text_at(&region, 0), "from Rust");
    // The name is free at once, for another object.
    let other = meeting.id.create(&CREATE).unwrap();
    assert_eq!((text_at(&other, 0).as_str(), text_at(&region, 0).as_str()), ("", "from Rust"));
}

fn what_rust_removes_it_keeps_until_it_lets_go(peer: &Peer, meeting: &Meeting) {
    let mut writer = peer.start(&["write", &meeting.at, "from the peer"]);
    assert_eq!(writer.hear(), "ready");
    let region = meeting.id.open(&OPEN).unwrap();
    meeting.id.remove().unwrap();
    let complaint = peer.run(&["stat", &meeting.at]).unwrap_err();
    let complaints = ["No such file or directory", "No shared memory exists"];
    assert!(complaints.iter().any(|known| complaint.contains(known)), "{complaint}");
    put_at(&region, ANSWER, "still there");
    writer.go_on();
    assert_eq!(writer.hear(), "still there");
    writer.finish();
    assert_eq!(meeting.id.remove().unwrap_err().kind(), ErrorKind::NotFound);
}

fn what_it_leaves_when_it_is_killed_rust_opens_and_removes(peer: &Peer, meeting: &Meeting) {
    let mut writer = peer.start(&["write", &meeting.at, "from the peer"]);
    assert_eq!(writer.hear(), "ready");
    writer.kill();
    let region = meeting.id.open(&OPEN).unwrap();
    assert_eq!(text_at(&region, 0), "from the peer");
    is_attached(&region, 1);
    if let RegionId::Named { backend, name } = &meeting.id {
        // Somebody has it: this test.
        let backend: shared_region::AnyBackend = backend.parse().unwrap();
        assert!(!shared_region::Backend::remove_if_unused(&backend, name).unwrap());
    }
    region.remove().unwrap();
    assert!(peer.run(&["stat", &meeting.at]).is_err());
}

fn while_it_holds_a_region_there_is_another_user(peer: &Peer, meeting: &Meeting) {
    let options = CREATE.removal(Removal::LastUser);
    let region = meeting.id.create(&options).unwrap();
    put_at(&region, 0, "from Rust");
    let mut reader = peer.start(&["read", &meeting.at, "from the peer"]);
    assert_eq!(reader.hear(), "from Rust");
    assert!(!meeting.id.remove_if_unused().unwrap());
    drop(region);
    let (region, created) = meeting.id.open_or_create(&options).unwrap();
    assert_eq!((created, text_at(&region, 0).as_str()), (false, "from Rust"));
    reader.go_on();
    reader.finish();
    drop(region);
    // This process is copied by other tests at any time, and the copy counts for a moment: then it is a leftover.
    assert!(
        eventually(|| meeting.id.remove_if_unused().is_ok_and(|removed| removed) || meeting.id.metadata().is_err())
    );
}

/// `shm_open` takes the umask's bits away from the mode, `shmget` does not.
#[test]
fn the_umask_of_a_c_program_counts_for_posix_only() {
    for (source, meeting, mode) in [
        ("tests/interop/c/sysv_exchange.c", Meeting::by_file('R'), 0o640),
        ("tests/interop/c/posix_exchange.c", Meeting::by_name(), 0o600),
    ] {
        let Some(c) = Peer::c(source) else { return };
        let mut writer = c.under("sh", &["-c", "umask 077; exec \"$@\"", "sh"]).start(&["write", &meeting.at, "text"]);
        assert_eq!(writer.hear(), "ready");
        assert_eq!(meeting.id.open(&OPEN).unwrap().metadata().unwrap().mode(), mode);
    }
}
