//! D: each capability, and that the calls behave accordingly.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::off_t;
use nix::sys::stat::fstat;
use shared_region::{Backend, CreateOptions, Error, ErrorKind, OpenOptions, RegionName, SharedRegion, SharedRegionExt};

use crate::support::child::{is_root, role, say, skip};
use crate::support::trace::{self, Call, Fate};
use crate::sut::{Fresh, Sut, bytes_of, create, name_in, open};

const SIZE: usize = 5000;

/// More than what is reserved by one call.
const LARGE: usize = (40 << 20) + 1;

/// Checks that a call whose capability is missing says so, and of whom.
#[track_caller]
fn assert_unsupported<S: Sut>(error: &Error, operation: &str) {
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!((error.get_operation(), error.raw_os_error()), (operation, None), "{error}");
    assert_eq!(error.get_backend(), Some(S::backend().name()), "{error}");
    assert!(error.to_string().contains(" region "), "{error}");
}

pub fn a_region_can_do_what_its_backend_can<S: Sut>() {
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, SIZE);
    assert_eq!(region.capabilities(), S::backend().capabilities());
    assert_eq!(open::<S>(&name).capabilities(), S::backend().capabilities());
    assert_eq!(region.try_clone().unwrap().capabilities(), S::backend().capabilities());
}

pub fn two_names_with_one_key_are_one_object_unless_names_are_exact<S: Sut>() {
    let [published, colliding] = ["r-24c8de88", "r-baacd91c"].map(|name| RegionName::new(name).unwrap());
    assert_eq!((published.key() as u32, colliding.key() as u32), (0xe5a5_a7ba, 0xe5a5_a7ba));

    let [one, other] = with_one_key::<S>();
    assert_eq!((one.key(), *one == *other), (other.key(), false));
    let backend = S::backend();
    create::<S>(&one, SIZE).write_at(0, b"one").unwrap();
    assert_eq!(backend.exists(&other).unwrap(), !backend.capabilities().exact_names());
    let second = backend.create_new(&other, &CreateOptions::new(SIZE));
    if backend.capabilities().exact_names() {
        second.unwrap().write_at(0, b"two").unwrap();
        assert_eq!(bytes_of(&open::<S>(&one))[..3], *b"one");
        assert_eq!(bytes_of(&open::<S>(&other))[..3], *b"two");
        backend.remove(&other).unwrap();
        assert!(backend.exists(&one).unwrap());
    } else {
        let error = second.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        assert_eq!(bytes_of(&open::<S>(&other))[..3], *b"one");
        let (met, created) = backend.open_or_create(&other, &CreateOptions::new(1)).unwrap();
        assert_eq!((met.len(), created), (SIZE, false));
        backend.remove(&other).unwrap();
        assert!(!backend.exists(&one).unwrap());
    }
}

/// Two names with the same key, which nobody else uses: of 80,000 names two usually meet.
fn with_one_key<S: Sut>() -> [Fresh<S>; 2] {
    let mut met = HashMap::new();
    let prefix = format!("x{}{}", std::process::id(), S::LABEL);
    for count in 0.. {
        let text = format!("{prefix}{count:x}");
        let name = RegionName::new(&text).unwrap();
        if let Some(other) = met.insert(name.key(), name) {
            return [name, other].map(Fresh::named);
        }
    }
    unreachable!()
}

pub fn attachments_are_counted_or_unknown<S: Sut>() {
    role::<S>("counts").run();
}

/// Alone in its process, as forks of others attach too.
pub fn counts<S: Sut>(_: &[String]) {
    let name = Fresh::<S>::new();
    let counted = S::backend().capabilities().attach_count();
    let region = create::<S>(&name, SIZE);
    let count = || region.metadata().unwrap().attach_count();
    assert_eq!(count(), counted.then_some(1));
    let more = (open::<S>(&name), region.try_clone().unwrap());
    assert_eq!(count(), counted.then_some(3));
    drop(more);
    assert_eq!(count(), counted.then_some(1));
    for entry in S::backend().list().unwrap() {
        assert_eq!(entry.metadata().attach_count().is_some(), counted);
    }
}

pub fn growing_works_or_is_unsupported_and_changes_nothing<S: Sut>() {
    let name = Fresh::<S>::new();
    let mut region = create::<S>(&name, SIZE);
    region.fill_at(0, SIZE, 7).unwrap();
    let start = region.as_ptr();
    let grown = region.grow(4 * SIZE);
    if S::backend().capabilities().grow() {
        grown.unwrap();
        assert_eq!((region.len(), open::<S>(&name).len()), (4 * SIZE, 4 * SIZE));
        assert_eq!(bytes_of(&region)[SIZE..], [0; 3 * SIZE]);
    } else {
        assert_unsupported::<S>(&grown.unwrap_err(), "grow");
        assert_eq!((region.as_ptr(), region.len()), (start, SIZE));
        assert_eq!(open::<S>(&name).len(), SIZE);
    }
    assert_eq!(bytes_of(&region)[..SIZE], [7; SIZE]);
}

pub fn refreshing_is_truthfully_fine_everywhere<S: Sut>() {
    let name = Fresh::<S>::new();
    let mut region = create::<S>(&name, SIZE);
    let start = region.as_ptr();
    region.refresh().unwrap();
    assert_eq!((region.as_ptr(), region.len()), (start, SIZE));
    region.remove().unwrap();
    region.refresh().unwrap();
    assert_eq!((region.as_ptr(), region.len()), (start, SIZE));
}

pub fn init_runs_before_anybody_can_open_the_region_where_it_is_atomic<S: Sut>() {
    let name = Fresh::<S>::new();
    let backend = S::backend();
    let mut runs = 0;
    let region = backend.create_with(&name, &CreateOptions::new(SIZE), |region| {
        runs += 1;
        region.write_at(0, b"half")?;
        let seen = backend.open(&name, &OpenOptions::new());
        if backend.capabilities().atomic_init() {
            assert_eq!(seen.unwrap_err().kind(), ErrorKind::NotFound);
            assert!(!backend.exists(&name)?);
        } else if let Ok(seen) = seen {
            // There is something already, and it shows what init has done so far.
            assert_eq!((seen.len(), &bytes_of(&seen)[..4]), (SIZE, &b"half"[..]));
        }
        region.write_at(4, b" and whole")
    });
    assert_eq!((&bytes_of(&region.unwrap())[..14], runs), (&b"half and whole"[..], 1));
}

pub fn init_is_not_atomic_where_no_file_can_be_made_without_a_name<S: Sut>() {
    for refusal in trace::portable_ways::<S>() {
        let name = Fresh::<S>::new();
        let mut second = role::<S>("creates_the_portable_way").arg(name.as_str()).start();
        let refuse = |call: &Call| refusal(call).map_or(Fate::Pass, Fate::Fail);
        assert_eq!(trace::follow(&mut second, "capabilities", refuse).end, None);
        assert_eq!(second.hear(), "not atomic");
        let mut sizes = Vec::new();
        let seen = trace::follow(&mut second, "create", |call| {
            // Everybody else sees nothing, a region that is not ready, or all of it, at any time.
            let size = S::native_stat(&name).map(|stat| stat.map(|stat| stat.size));
            if sizes.last() != Some(&size) {
                sizes.push(size);
            }
            refuse(call)
        });
        assert_eq!(seen.end, None);
        assert_eq!(second.hear(), "init ran once");
        assert_eq!(sizes, [Some(None), Some(Some(0)), Some(Some(LARGE as u64))]);
        second.finish();
        assert_eq!(bytes_of(&open::<S>(&name))[LARGE - SIZE..], [7; SIZE]);
    }
}

pub fn creates_the_portable_way<S: Sut>(arguments: &[String]) {
    let (backend, name) = (S::backend(), name_in(arguments, 0));
    let can = trace::act(|_| backend.capabilities()).unwrap();
    say(if can.atomic_init() { "atomic" } else { "not atomic" });
    let mut runs = 0;
    let options = CreateOptions::new(LARGE);
    let created = trace::act(|_| {
        backend.create_with(&name, &options, |region| {
            runs += 1;
            region.fill_at(LARGE - SIZE, SIZE, 7)
        })
    });
    let region = created.unwrap().unwrap();
    assert_eq!((runs, region.len()), (1, LARGE));
    assert_eq!(region.metadata().unwrap().mode(), 0o600);
    say("init ran once");
}

pub fn the_portable_creation_needs_no_room_for_two<S: Sut>() {
    for refusal in trace::portable_ways::<S>().into_iter().take(2) {
        let Some(store) = S::small_store(1 << 16).filter(|_| is_root()) else {
            return skip::<S>("takes root to make a small store");
        };
        let mut second = role::<S>("creates_a_large_one").confined(store).start();
        let refuse = |call: &Call| refusal(call).map_or(Fate::Pass, Fate::Fail);
        assert_eq!(trace::follow(&mut second, "go", refuse).end, None);
        second.finish();
    }
}

/// Most of the store is one region.
pub fn creates_a_large_one<S: Sut>(_: &[String]) {
    let name = Fresh::<S>::new();
    let created = trace::act(|_| S::backend().create_new(&name, &CreateOptions::new(50_000)));
    assert_eq!(created.unwrap().unwrap().metadata().unwrap().is_reserved(), Some(true));
}

pub fn a_clone_can_or_cannot_be_made_after_removal<S: Sut>() {
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, SIZE);
    region.remove().unwrap();
    let clone = region.try_clone();
    if S::backend().capabilities().attach_after_remove() {
        let clone = clone.unwrap();
        clone.write_at(0, b"both").unwrap();
        assert_eq!(bytes_of(&region)[..4], *b"both");
    } else {
        assert_eq!(clone.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

pub fn a_fixed_address_is_used_or_unsupported<S: Sut>() {
    role::<S>("fixes_addresses").run();
}

/// Alone in its process, so that nobody else maps anything where it wants to.
pub fn fixes_addresses<S: Sut>(_: &[String]) {
    let (backend, name, fixed) = (S::backend(), Fresh::<S>::new(), Fresh::<S>::new());
    let occupied = create::<S>(&name, SIZE);
    let free = create::<S>(&fixed, SIZE).as_ptr() as usize;
    backend.remove(&fixed).unwrap();
    let at = |address| {
        let created = backend.create_new(&fixed, &CreateOptions::new(SIZE).fixed_address(address));
        let opened = backend.open(&name, &OpenOptions::new().fixed_address(address));
        (created, opened)
    };
    if backend.capabilities().fixed_address() {
        let opened = backend.open(&name, &OpenOptions::new().fixed_address(free)).unwrap();
        assert_eq!(opened.as_ptr() as usize, free);
        drop(opened);
        let options = CreateOptions::new(SIZE).fixed_address(free);
        assert_eq!(backend.create_new(&fixed, &options).unwrap().as_ptr() as usize, free);
        backend.remove(&fixed).unwrap();
        let (created, opened) = at(occupied.as_ptr() as usize);
        assert_eq!(created.unwrap_err().kind(), ErrorKind::AddressInUse);
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::AddressInUse);
    } else {
        let (created, opened) = at(free);
        assert_unsupported::<S>(&created.unwrap_err(), "create");
        assert_unsupported::<S>(&opened.unwrap_err(), "open");
    }
    assert!(!backend.exists(&fixed).unwrap());
}

pub fn a_descriptor_is_lent_or_unsupported<S: Sut>() {
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, SIZE);
    let descriptor = region.descriptor().map(|lent| lent.as_fd().try_clone_to_owned().unwrap());
    let size = |descriptor: &OwnedFd| fstat(descriptor).unwrap().st_size;
    if S::backend().capabilities().file_descriptor() {
        assert_eq!(size(&descriptor.unwrap()), SIZE as off_t);
    } else {
        assert_unsupported::<S>(&descriptor.unwrap_err(), "lend the descriptor of");
    }
}

pub fn regions_belong_to_one_kind_of_namespace<S: Sut>() {
    let Some([own, unrelated]) = S::namespaces().filter(|_| is_root()) else {
        return skip::<S>("takes root to make namespaces");
    };
    let name = Fresh::<S>::new();
    create::<S>(&name, SIZE).write_at(0, b"outside").unwrap();
    role::<S>("looks_around").arg(name.as_str()).arg("elsewhere").confined(own).run();
    role::<S>("looks_around").arg(name.as_str()).arg("here").confined(unrelated).run();
    // What was made elsewhere under the same name is another object.
    assert_eq!(bytes_of(&open::<S>(&name))[..7], *b"outside");
}

pub fn looks_around<S: Sut>(arguments: &[String]) {
    let (backend, name) = (S::backend(), name_in(arguments, 0));
    if arguments[1] == "here" {
        assert_eq!(bytes_of(&open::<S>(&name))[..7], *b"outside");
        return;
    }
    assert!(!backend.exists(&name).unwrap());
    let error = backend.open(&name, &OpenOptions::new()).unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::NotFound, Some(Errno::ENOENT as i32)));
    assert_eq!(backend.list().unwrap(), []);
    create::<S>(&name, 1).write_at(0, b"x").unwrap();
    assert_eq!(backend.list().unwrap().len(), 1);
}
