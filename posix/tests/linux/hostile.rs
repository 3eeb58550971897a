//! What a neighbour can plant under a name. None of it may be followed, waited for, or changed.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use shared_region_posix::{EntryKind, OpenOptions, kind, set_mode, set_owner, unlink};

use crate::support::{Name, code, is_child, own_store, run_as_root};

/// Opens in both ways, and fails if that takes its time; then tries to change it.
fn opening_says(name: &Name, reading: i32, writing: i32) {
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            for write in [false, true] {
                sender.send(code(OpenOptions::new().write(write).open(name))).unwrap();
            }
        });
        for expected in [reading, writing] {
            let Ok(found) = receiver.recv_timeout(Duration::from_secs(20)) else {
                println!("opening {} blocks", name.path());
                std::process::abort(); // the thread would be waited for, for ever
            };
            assert_eq!(found, expected, "{}", name.path());
        }
    });
    let create = OpenOptions::new().write(true).create_new(true);
    assert_eq!(code(create.open(name)), libc::EEXIST);
    is_left_alone(name);
}

/// Neither mode nor owner are changed, of what stands there or of what a link leads to.
fn is_left_alone(name: &Name) {
    let facts = |it: fs::Metadata| (it.mode(), it.uid(), it.ctime(), it.ctime_nsec());
    let found = || [fs::symlink_metadata(name.path()), fs::metadata(name.path())].map(|it| it.map(facts).ok());
    let before = found();
    assert_eq!(code(set_mode(name, 0o777)), libc::ENODEV);
    assert_eq!(code(set_owner(name, Some(1), Some(1))), libc::ENODEV);
    assert_eq!(found(), before);
}

#[test]
fn a_fifo_is_recognised_and_does_not_block() {
    let name = Name::new();
    mkfifo(name.path().as_str(), Mode::S_IRWXU).unwrap();
    assert_eq!(kind(&name).unwrap().0, EntryKind::Fifo);
    opening_says(&name, libc::ENODEV, libc::ENODEV);
}

#[test]
fn a_symbolic_link_is_recognised_and_not_followed() {
    let (name, target) = (Name::new(), Name::new());
    drop(target.create(4096));
    symlink(target.path(), name.path()).unwrap();
    assert_eq!(kind(&name).unwrap().0, EntryKind::SymbolicLink);
    opening_says(&name, libc::ELOOP, libc::ELOOP);
    unlink(&name).unwrap();
    assert_eq!(kind(&target).unwrap().0, EntryKind::SharedMemory);
}

#[test]
fn a_dangling_link_creates_nothing() {
    let (name, target) = (Name::new(), Name::new());
    symlink(target.path(), name.path()).unwrap();
    opening_says(&name, libc::ELOOP, libc::ELOOP);
    assert_eq!(code(kind(&target)), libc::ENOENT);
}

#[test]
fn a_directory_is_recognised() {
    let name = Name::new();
    fs::create_dir(name.path()).unwrap();
    assert_eq!(kind(&name).unwrap().0, EntryKind::Directory);
    let code = code(OpenOptions::new().write(true).open(&name));
    assert!([libc::EINVAL, libc::EISDIR].contains(&code), "{code}");
    opening_says(&name, libc::ENODEV, code);
    assert_eq!(unlink(&name).unwrap_err().raw_os_error(), Some(libc::EISDIR));
}

#[test]
fn a_socket_is_recognised() {
    let name = Name::new();
    let _socket = UnixListener::bind(name.path()).unwrap();
    assert_eq!(kind(&name).unwrap().0, EntryKind::Socket);
    opening_says(&name, libc::ENXIO, libc::ENXIO);
}

#[test]
fn a_device_is_recognised() {
    run_as_root("hostile::child_plants_devices");
}

#[test]
#[ignore = "started by another test"]
fn child_plants_devices() {
    if !is_child() {
        return;
    }
    own_store("tmpfs", MsFlags::empty(), "size=1M");
    let plant = |major, minor| {
        let name = Name::new();
        let mode = Mode::from_bits_truncate(0o666);
        mknod(name.path().as_str(), SFlag::S_IFCHR, mode, makedev(major, minor)).unwrap();
        assert_eq!(kind(&name).unwrap().0, EntryKind::Device);
        name
    };
    // In this thread: the mounts are its own.
    let null = plant(1, 3);
    let says = |name: &Name, write| code(OpenOptions::new().write(write).open(name));
    assert_eq!((says(&null, false), says(&null, true)), (libc::ENODEV, libc::ENODEV));
    is_left_alone(&null);
    let nothing = plant(240, 200);
    assert_eq!((says(&nothing, false), says(&nothing, true)), (libc::ENXIO, libc::ENXIO));
    is_left_alone(&nothing);
}

#[test]
fn a_device_on_a_store_without_devices_is_eacces() {
    run_as_root("hostile::child_plants_devices_where_none_may_be");
}

#[test]
#[ignore = "started by another test"]
fn child_plants_devices_where_none_may_be() {
    if !is_child() {
        return;
    }
    own_store("tmpfs", MsFlags::MS_NODEV, "size=1M");
    let name = Name::new();
    let mode = Mode::from_bits_truncate(0o666);
    mknod(name.path().as_str(), SFlag::S_IFCHR, mode, makedev(1, 3)).unwrap();
    assert_eq!(code(OpenOptions::new().open(&name)), libc::EACCES);
}
