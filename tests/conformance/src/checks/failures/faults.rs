//! C7, S4, E3: every system call of an operation fails in turn, with every error that makes sense.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::getegid;
use shared_region::{
    Access, Backend, Capabilities, CreateOptions, Error, ErrorKind, HugePages, ListEntry, Metadata, OpenOptions,
    RegionId, RegionName, Result, SharedRegion, SharedRegionExt,
};

use crate::support::child::{Second, hear, is_root, role, say};
use crate::support::trace::{self, Call, Fate, Refusal};
use crate::sut::{Fresh, NativeStat, Sut, bytes_of, create, open};

const SIZE: usize = 5000;
const GROWN: usize = 20_000;
const MODE: u32 = 0o640;
const CHANGED: u32 = 0o600;
const PATTERN: u8 = 0x5a;

const ERRNOS: [Errno; 9] = [
    Errno::EINTR,
    Errno::ENOMEM,
    Errno::EACCES,
    Errno::EPERM,
    Errno::ENOSPC,
    Errno::EMFILE,
    Errno::EIO,
    Errno::ENOSYS,
    Errno::EINVAL,
];

pub fn a_failing_call_of_create_new_leaves_nothing<S: Sut>() {
    each_call_fails::<S>("create_new", None);
    each_call_fails::<S>("create_new", Some(no_empty_path));
    each_call_fails::<S>("create_new trying", None);
}

pub fn a_failing_call_of_create_with_leaves_nothing_and_init_runs_once_at_most<S: Sut>() {
    each_call_fails::<S>("create_with", None);
    each_call_fails::<S>("create_with", Some(no_empty_path));
    each_call_fails::<S>("create_with cold", None);
}

/// As on kernels that let nobody but root link a descriptor without a path.
fn no_empty_path(call: &Call) -> Option<Errno> {
    let asked = call.is(&[libc::SYS_linkat]) && call.arguments[4] & libc::AT_EMPTY_PATH as u64 != 0;
    asked.then_some(Errno::ENOENT)
}

pub fn a_failing_call_of_the_portable_creation_leaves_nothing<S: Sut>() {
    for refusal in trace::portable_ways::<S>().into_iter().take(2) {
        each_call_fails::<S>("create_new", Some(refusal));
        each_call_fails::<S>("create_with", Some(refusal));
    }
}

pub fn a_failing_call_of_create_unnamed_leaves_nothing<S: Sut>() {
    each_call_fails::<S>("create_unnamed", None);
}

pub fn a_failing_call_of_open_or_create_leaves_nothing<S: Sut>() {
    each_call_fails::<S>("open_or_create", None);
}

pub fn a_failing_call_of_open_leaves_the_region_as_it_was<S: Sut>() {
    each_call_fails::<S>("open", None);
}

pub fn a_failing_call_of_exists_never_lies<S: Sut>() {
    each_call_fails::<S>("exists", None);
    each_call_fails::<S>("exists not", None);
}

pub fn a_failing_call_of_try_clone_leaves_the_region_as_it_was<S: Sut>() {
    each_call_fails::<S>("try_clone", None);
}

pub fn a_failing_call_of_grow_leaves_the_region_as_it_was<S: Sut>() {
    each_call_fails::<S>("grow", None);
}

pub fn a_failing_call_of_refresh_leaves_the_mapping_as_it_was<S: Sut>() {
    each_call_fails::<S>("refresh", None);
}

pub fn a_failing_call_of_metadata_leaves_the_region_as_it_was<S: Sut>() {
    each_call_fails::<S>("metadata", None);
    each_call_fails::<S>("metadata by identity", None);
}

pub fn a_failing_call_of_a_change_by_identity_leaves_the_region_as_it_was<S: Sut>() {
    each_call_fails::<S>("set_mode", None);
    each_call_fails::<S>("set_owner", None);
}

pub fn a_failing_call_of_remove_removes_the_region_or_leaves_it_as_it_was<S: Sut>() {
    each_call_fails::<S>("remove", None);
    each_call_fails::<S>("remove by handle", None);
}

pub fn a_failing_call_of_list_is_an_error_and_never_a_shorter_list<S: Sut>() {
    each_call_fails::<S>("list", None);
    each_call_fails::<S>("list", Some(|call| call.path.starts_with("/proc/").then_some(Errno::EACCES)));
}

pub fn a_failing_call_of_probe_leaves_nothing<S: Sut>() {
    each_call_fails::<S>("probe", None);
}

pub fn a_failing_call_of_capabilities_promises_nothing_more<S: Sut>() {
    each_call_fails::<S>("capabilities", None);
    each_call_fails::<S>("capabilities cold", None);
}

/// Has each system call of an operation fail with each error, one at a time. The second process says what came of it,
/// and has found nothing left behind. A cold one is done by a new process each time, which has to find out what it can do.
fn each_call_fails<S: Sut>(operation: &str, refusal: Option<Refusal>) {
    if !trace::works::<S>() {
        return;
    }
    let start = || {
        let second = role::<S>("suffers").arg(operation);
        // In a store of its own the list tells all that is left behind.
        match S::small_store(1 << 20).filter(|_| is_root()) {
            Some(store) => second.confined(store).arg("private").start(),
            None => second.arg("shared").start(),
        }
    };
    let mut second = start();
    let inflict = |second: &mut Second, victim: Option<usize>, errno: Errno| {
        let (mut count, mut struck) = (0, None);
        let seen = trace::follow(second, operation, |call| {
            if let Some(errno) = refusal.and_then(|refuse| refuse(call)) {
                return Fate::Fail(errno);
            }
            // Nobody can take a name away who may not.
            let tidies = operation.ends_with(" cold") && call.unlinks();
            if may_not_fail(call, errno) || tidies {
                return Fate::Pass;
            }
            count += 1;
            if victim != Some(count - 1) {
                return Fate::Pass;
            }
            struck = Some(call.clone());
            if gives_back(call) { Fate::Spoil(errno) } else { Fate::Fail(errno) }
        });
        let context = format!("{operation}, {errno} of {struck:?}");
        assert_eq!(seen.end, None, "{context}");
        second.tell(&context);
        (struck, second.hear(), context)
    };
    let (_, usual, _) = inflict(&mut second, None, Errno::EIO);
    let answer = match operation {
        "exists" => "Ok true",
        "exists not" => "Ok false",
        "grow" if !S::backend().capabilities().grow() => "Unsupported",
        "metadata by identity" | "set_mode" | "set_owner" if S::reaches_by_identity().is_none() => "Unsupported",
        _ => "Ok",
    };
    assert_eq!(usual, answer);
    let mut failures = 0;
    for errno in ERRNOS {
        for victim in 0.. {
            if operation.ends_with(" cold") {
                second.tell("");
                std::mem::replace(&mut second, start()).finish();
            }
            let (Some(call), outcome, context) = inflict(&mut second, Some(victim), errno) else { break };
            failures += usize::from(outcome != usual);
            if names_nothing(&call) && !operation.ends_with(" cold") {
                // What was refused once is remembered, and another process knows nothing of it.
                second.tell("");
                std::mem::replace(&mut second, start()).finish();
                assert_eq!(inflict(&mut second, None, errno).1, usual);
            }
            // What happens in spite of the error is its business: it goes unnoticed, or is undone.
            if outcome == usual || gives_back(&call) {
                continue;
            }
            assert_ne!(errno, Errno::EINTR, "{context}: {outcome}");
            let (kind, code) = outcome.split_once(" E").unwrap_or((&outcome, ""));
            // shmget(2): there is something with this key that one may not use. Glibc's shm_unlink says EACCES for EPERM.
            if errno == Errno::EACCES && call.is(&[trace::SYS_SHMGET]) && outcome == "Ok true" {
                continue;
            }
            let eacces = errno == Errno::EPERM && code == "ACCES" && call.unlinks();
            assert!(eacces || format!("E{code}") == format!("{errno:?}"), "{context}: {outcome}");
            assert!(fits(kind, errno), "{context}: {outcome}");
        }
    }
    second.tell("");
    second.finish();
    // The check bites: but for what asks the system nothing, or takes every failure for an answer.
    let other_way = operation == "list" && refusal.is_none();
    let asks_nothing = ["refresh", "capabilities", "capabilities cold"].contains(&operation) || usual == "Unsupported";
    let harmless = other_way || asks_nothing;
    assert!(harmless || failures >= ERRNOS.len() - 3, "{operation} failed {failures} times only");
}

/// Whether a call makes a file without a name, or gives it one.
fn names_nothing(call: &Call) -> bool {
    call.is(&[libc::SYS_linkat]) || call.opens_with(libc::O_TMPFILE)
}

/// Whether a kind of error tells of an errno truthfully.
fn fits(kind: &str, errno: Errno) -> bool {
    let kinds: &[&str] = match errno {
        Errno::ENOMEM => &["NoSpace", "LimitExceeded"],
        Errno::EACCES => &["PermissionDenied"],
        Errno::EPERM => &["PermissionDenied", "BackendUnavailable", "LimitExceeded"],
        Errno::ENOSPC => &["NoSpace", "LimitExceeded"],
        Errno::EMFILE => &["LimitExceeded"],
        Errno::ENOSYS => &["BackendUnavailable", "Unsupported"],
        // With an id that has gone; of a size that the system does not grant; by a flag that it does not know.
        Errno::EINVAL => &["Unexpected", "NotFound", "LimitExceeded", "Unsupported"],
        _ => &["Unexpected"],
    };
    kinds.contains(&kind)
}

/// Whether a call is no business of the crate, but of the allocator and the runtime: those end the process when they
/// get no memory, which is Rust's way. And some calls cannot fail.
fn may_not_fail(call: &Call, errno: Errno) -> bool {
    let anonymous = libc::MAP_ANONYMOUS as u64;
    let [_, _, third, fourth, ..] = call.arguments;
    match call.number {
        trace::SYS_MMAP => fourth & anonymous != 0,
        // The runtime takes anything else for a bug of its own.
        libc::SYS_close => errno != Errno::EINTR,
        libc::SYS_madvise => third == libc::MADV_DONTNEED as u64,
        _ => call.is(&[
            libc::SYS_brk,
            libc::SYS_mremap,
            libc::SYS_mprotect,
            libc::SYS_futex,
            libc::SYS_rt_sigprocmask,
            // No call at all where the kernel's own page answers it; the runtime takes an error for a bug of its own.
            libc::SYS_clock_gettime,
            libc::SYS_clock_nanosleep,
            libc::SYS_sched_yield,
            libc::SYS_getrandom,
            libc::SYS_getpid,
            libc::SYS_gettid,
        ]),
    }
}

/// Whether a call gives something back: the system does so whatever it answers.
fn gives_back(call: &Call) -> bool {
    call.is(&[libc::SYS_close, libc::SYS_munmap, trace::SYS_SHMDT])
}

/// In the second process: does the operation again and again, and looks after each time what is left of it.
pub fn suffers<S: Sut>(arguments: &[String]) {
    while round::<S>(&arguments[0], arguments[1] == "private") {}
}

/// What came of an operation.
enum Done<R> {
    Region(R),
    Bool(bool),
    List(Vec<ListEntry>),
    Capabilities(Capabilities),
    Metadata(Metadata),
    Nothing,
}

fn round<S: Sut>(operation: &str, private: bool) -> bool {
    let backend = S::backend();
    let operation = operation.strip_suffix(" cold").unwrap_or(operation);
    let (operation, pages) = match operation.strip_suffix(" trying") {
        Some(operation) => (operation, HugePages::Try),
        None => (operation, HugePages::No),
    };
    let (name, options) = (Fresh::<S>::new(), CreateOptions::new(SIZE).mode(MODE).huge_pages(pages));
    let creates = ["create_new", "create_with", "open_or_create"].contains(&operation);
    let exists = !creates && operation != "exists not";
    let neighbour = Fresh::<S>::new();
    let beside = create::<S>(&neighbour, 1);
    let mut handle = exists.then(|| {
        let region = backend.create_new(&name, &options).unwrap();
        region.fill_at(0, SIZE, PATTERN).unwrap();
        region
    });
    // Not asked for where it would be known by then whether a link is granted, which is part of creation.
    let can_grow = exists && operation != "capabilities" && backend.capabilities().grow();
    let held = |region: &<S::Backend as Backend>::Region| region.metadata().unwrap().allocated();
    let held_before = handle.as_ref().and_then(held);
    if operation == "refresh" && can_grow {
        open::<S>(&name).grow(GROWN).unwrap();
    }
    let group = getegid().as_raw();
    let before = Inventory::take::<S>(&name, private);
    let runs = Cell::new(0);
    let init = |region: &<S::Backend as Backend>::Region| -> Result<()> {
        runs.set(runs.get() + 1);
        region.fill_at(0, SIZE, PATTERN)
    };
    let outcome = trace::act(|_| {
        catch_unwind(AssertUnwindSafe(|| match (operation, &mut handle) {
            ("create_new", _) => backend.create_new(&name, &options).map(Done::Region),
            ("create_with", _) => backend.create_with(&name, &options, init).map(Done::Region),
            ("create_unnamed", _) => backend.create_unnamed(&options).map(Done::Region),
            ("open_or_create", _) => backend.open_or_create(&name, &options).map(|(region, _)| Done::Region(region)),
            ("open", _) => backend.open(&name, &OpenOptions::new()).map(Done::Region),
            ("exists" | "exists not", _) => backend.exists(&name).map(Done::Bool),
            ("try_clone", Some(handle)) => handle.try_clone().map(Done::Region),
            ("grow", Some(handle)) => handle.grow(GROWN).map(|()| Done::Nothing),
            ("refresh", Some(handle)) => handle.refresh().map(|()| Done::Nothing),
            ("metadata", Some(handle)) => handle.metadata().map(Done::Metadata),
            ("metadata by identity", _) => backend.metadata(&name).map(Done::Metadata),
            ("set_mode", _) => backend.set_mode(&name, CHANGED).map(|()| Done::Nothing),
            ("set_owner", _) => backend.set_owner(&name, None, Some(group)).map(|()| Done::Nothing),
            ("remove", _) => backend.remove(&name).map(|()| Done::Nothing),
            ("remove by handle", Some(handle)) => handle.remove().map(|()| Done::Nothing),
            ("list", _) => backend.list().map(Done::List),
            ("probe", _) => backend.probe().map(|()| Done::Nothing),
            ("capabilities", _) => Ok(Done::Capabilities(backend.capabilities())),
            _ => panic!("{operation}"),
        }))
    });
    let Some(outcome) = outcome else { return false };
    let context = hear();
    let outcome = outcome.unwrap_or_else(|_| panic!("{context}: a panic"));
    let said = match &outcome {
        Ok(Done::Bool(answer)) => format!("Ok {answer}"),
        Ok(_) => "Ok".to_owned(),
        Err(error) => told(error),
    };
    // What there was is as it was, unless it went well.
    let stat = S::native_stat(&name).map(|stat| stat.map(|NativeStat { size, mode, .. }| (size, mode)));
    let expected = match (operation, &outcome) {
        ("remove" | "remove by handle", Ok(_)) | ("exists not", _) => None,
        ("create_new" | "create_with" | "open_or_create", Err(_)) => None,
        ("grow", Ok(_)) => Some((GROWN as u64, MODE)),
        ("set_mode", Ok(_)) => Some((SIZE as u64, CHANGED)),
        ("refresh", _) if can_grow => Some((GROWN as u64, MODE)),
        _ => Some((SIZE as u64, MODE)),
    };
    if let Some(stat) = stat {
        assert_eq!(stat, expected, "{context}: {said}");
    }
    if let Some(handle) = &mut handle {
        let len = match (operation, &outcome) {
            ("grow", Ok(_)) => GROWN,
            ("refresh", Ok(_)) if can_grow => GROWN,
            _ => SIZE,
        };
        assert_eq!(handle.len(), len, "{context}: {said}");
        let bytes = bytes_of(handle);
        assert_eq!((&bytes[..SIZE], &bytes[SIZE..]), (&[PATTERN; SIZE][..], &vec![0; len - SIZE][..]));
        if operation == "grow" && outcome.is_err() {
            assert_eq!(held(handle), held_before, "{context}: {said}");
        }
        if operation == "grow" && can_grow {
            // No lock is left, and no byte of what was given up.
            handle.grow(GROWN).unwrap();
            assert_eq!(bytes_of(handle)[SIZE..], [0; GROWN - SIZE], "{context}: {said}");
        }
    }
    match outcome {
        Ok(Done::Region(region)) => {
            let byte = if creates && operation != "create_with" || operation == "create_unnamed" { 0 } else { PATTERN };
            assert_eq!((bytes_of(&region), region.access()), (vec![byte; SIZE], Access::ReadWrite));
            assert_eq!(region.metadata().unwrap().mode(), MODE);
            assert_eq!(runs.get(), i32::from(operation == "create_with"));
        }
        Ok(Done::List(entries)) => {
            let ids = entries.iter().map(|entry| entry.id().to_string()).collect();
            assert!(before.ids.is_subset(&ids), "{context}: {:?} {ids:?}", before.ids);
        }
        Ok(Done::Capabilities(now)) => {
            let promised = backend.capabilities();
            let less = promised.with_atomic_init(false);
            assert!(now == promised || now == less, "{now:?}");
        }
        Ok(Done::Metadata(metadata)) => {
            assert_eq!((metadata.size(), metadata.mode()), (SIZE as u64, MODE), "{context}");
        }
        Ok(Done::Bool(_) | Done::Nothing) => {}
        Err(_) => assert!(runs.get() <= 1, "init ran {} times", runs.get()),
    }
    assert_eq!(Inventory::take::<S>(&name, private), before, "{context}: {said}");
    drop((handle, beside));
    say(&said);
    true
}

/// The kind of an error without its fields, and its errno.
fn told(error: &Error) -> String {
    let kind = match error.kind() {
        ErrorKind::LimitExceeded { limit, value } => {
            assert!(value > 0, "{limit} is 0: {error}");
            "LimitExceeded".to_owned()
        }
        kind => format!("{kind:?}"),
    };
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno) => format!("{kind} {errno:?}"),
        None => kind,
    }
}

/// What this process has, and what it left in the store.
#[derive(Debug, PartialEq, Eq)]
struct Inventory {
    descriptors: BTreeSet<String>,
    /// How many mappings are shared; here only regions are.
    mappings: usize,
    ids: BTreeSet<String>,
}

impl Inventory {
    /// Looks at everything but what has that name.
    fn take<S: Sut>(name: &RegionName, private: bool) -> Self {
        let descriptors = fs::read_dir("/proc/self/fd").unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let shared = |line: &&str| line.split(' ').nth(1).is_some_and(|flags| flags.ends_with('s'));
        let pid = std::process::id();
        let mut entries = S::backend().list().unwrap();
        entries.retain(|entry| {
            let id = entry.id().to_string();
            let ours = id.contains(&format!("-{pid}-"));
            let own = [RegionId::named(S::backend().name(), *name), RegionId::Key(name.key())];
            !own.contains(entry.id()) && (private || ours || entry.metadata().creator_pid() == Some(pid))
        });
        Self {
            descriptors: descriptors.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect(),
            mappings: maps.lines().filter(shared).count(),
            ids: entries.iter().map(|entry| entry.id().to_string()).collect(),
        }
    }
}
