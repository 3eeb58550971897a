//! What all tests share: a board, regions of each kind, and second processes.
#![allow(dead_code, reason = "each test uses some of it")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use shared_region::{
    AnyBackend, Backend, CreateOptions, OpenOptions, RegionId, RegionName, Removal, SharedRegion, SharedRegionExt,
    shared_layout,
};
use shared_region_sync::{Event, Member, Members, Mutex, Once, Versioned};

pub(crate) type Any = Box<dyn SharedRegion>;

/// More than a test ever takes.
pub(crate) const LONG: Duration = Duration::from_secs(30);
pub(crate) const TRY: Duration = Duration::ZERO;

pub(crate) const SLOTS: usize = 8;

/// 64 bytes that are a whole value if they are all the same.
pub(crate) type Block = [u64; 8];

shared_layout! {
    #[derive(Debug)]
    pub(crate) struct Board {
        pub(crate) members: Members<SLOTS>,
        pub(crate) mutex: Mutex,
        pub(crate) event: Event,
        pub(crate) padding: AtomicU32,
        pub(crate) value: Versioned<Block>,
        pub(crate) once: Once,
        pub(crate) padding_too: AtomicU32,
        pub(crate) counters: [AtomicU64; 4],
    }
}

/// Runs a check on a POSIX, a System V and an unnamed region.
pub(crate) fn on_each(check: impl Fn(&Any)) {
    for backend in [AnyBackend::Posix, AnyBackend::Sysv] {
        check(&named(backend));
    }
    check(&AnyBackend::Posix.create_unnamed(&CreateOptions::new(1 << 16)).unwrap());
}

/// Runs a check on regions that another process can open by their id.
pub(crate) fn on_each_named(check: impl Fn(&Any)) {
    for backend in [AnyBackend::Posix, AnyBackend::Sysv] {
        check(&named(backend));
    }
}

fn named(backend: AnyBackend) -> Any {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("sync-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
    let options = CreateOptions::new(1 << 16).removal(Removal::OnDrop);
    backend.create_new(&RegionName::new(&name).unwrap(), &options).unwrap()
}

pub(crate) fn board(region: &Any) -> &Board {
    region.view(0).unwrap()
}

pub(crate) fn join(region: &Any) -> Member {
    Member::join(region, 0, |board: &Board| &board.members).unwrap()
}

/// Another process that plays a role: an ignored test of the same program, or of one that was built of the same source for
/// another width or C library and lies in the folder `SYNC_ROLES`.
pub(crate) struct Role(pub(crate) Child);

impl Role {
    pub(crate) fn start(name: &str, region: &Any) -> Self {
        let child = Command::new(foreign().unwrap_or_else(|| "/proc/self/exe".into()))
            .args(["--exact", name, "--ignored", "--nocapture"])
            .env("SYNC_REGION", region.id().unwrap().to_string())
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn ends_well(mut self) {
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The other build of this test program, if there is to be one.
fn foreign() -> Option<PathBuf> {
    let folder = std::env::var_os("SYNC_ROLES")?;
    let own = std::env::current_exe().unwrap();
    let test = own.file_name().unwrap().to_str().unwrap().rsplit_once('-').unwrap().0;
    let programs = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let newest = programs
        .filter(|path| path.extension().is_none())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().rsplit_once('-').is_some_and(|it| it.0 == test))
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap());
    Some(newest.expect("SYNC_ROLES has no build of this test"))
}

/// The region that the process was started for, in a role; `None` if somebody runs ignored tests.
pub(crate) fn region_of_role() -> Option<Any> {
    let id: RegionId = std::env::var("SYNC_REGION").ok()?.parse().unwrap();
    Some(id.open(&OpenOptions::new()).unwrap())
}

/// Waits for a word that another process sets. Nothing but the test's own limit ends it.
pub(crate) fn until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Runs `act` in a forked child and returns its exit code. The child does nothing else.
pub(crate) fn in_fork(act: impl FnOnce() -> i32) -> i32 {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    // SAFETY: the child runs `act` and ends by `_exit`; the C library makes its allocator usable there.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).unwrap_or(99);
            // SAFETY: _exit(2) takes any number.
            unsafe { nix::libc::_exit(code) }
        }
        ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
            WaitStatus::Exited(_, code) => code,
            other => panic!("the child ended by {other:?}"),
        },
    }
}

/// A region to remove by hand.
pub(crate) fn removable() -> Any {
    let name = format!("sync-removable-{}", std::process::id());
    AnyBackend::Posix.create_new(&RegionName::new(&name).unwrap(), &CreateOptions::new(1 << 16)).unwrap()
}

/// So many rounds, or `CONFORMANCE_ROUNDS` times as many.
pub(crate) fn rounds(usual: u64) -> u64 {
    usual * std::env::var("CONFORMANCE_ROUNDS").map_or(1, |times| times.parse().unwrap())
}
