//! Objects: modes, owners, descriptors.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, SystemTime};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::libc;
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, umask};
use shared_region_posix::{MapAccess, Mapping, Object, OpenOptions, Seals};

use crate::support::{NOBODY, Name, become_nobody, code, filled, get, is_child, own_store, run, run_as_root, skip};

#[test]
fn what_a_thread_makes_another_may_use() {
    fn both<T: Send + Sync>() {}
    both::<Object>();
    both::<Mapping>();
}

#[test]
fn every_descriptor_is_close_on_exec() {
    let name = Name::new();
    let named = name.create(1);
    let memfd = Object::memfd(c"test", 0o600).unwrap();
    let lock = memfd.lock().unwrap();
    assert!(lock.is_some());
    let opened = OpenOptions::new().open(&name).unwrap().0;
    let clone = opened.try_clone().unwrap();
    for object in [named, Object::create_unlinked(0o600).unwrap(), memfd, opened, clone] {
        let flags = fcntl(object.as_fd(), FcntlArg::F_GETFD).unwrap();
        assert_eq!(FdFlag::from_bits_retain(flags), FdFlag::FD_CLOEXEC);
    }
}

#[test]
fn the_mode_is_the_asked_one_whatever_the_umask() {
    run("objects::child_with_a_strange_umask");
}

#[test]
#[ignore = "started by another test"]
fn child_with_a_strange_umask() {
    if !is_child() {
        return;
    }
    umask(Mode::from_bits_truncate(0o276));
    let name = Name::new();
    for mode in [0o600, 0o666, 0o777, 0o640, 0o400, 0] {
        let mode_of = |object: io::Result<Object>| object.unwrap().stat().unwrap().mode();
        assert_eq!(mode_of(Object::create_unlinked(mode)), mode);
        assert_eq!(mode_of(Object::memfd(c"test", mode)), mode);
    }
    let options = OpenOptions::new().write(true).create_new(true).mode(0o666);
    let (object, stat) = options.open(&name).unwrap();
    assert_eq!(stat.mode(), 0o400);
    object.set_mode(0o664).unwrap();
    assert_eq!(object.stat().unwrap().mode(), 0o664);
}

#[test]
fn a_stat_tells_size_storage_owner_and_times() {
    let before = SystemTime::now() - Duration::from_secs(2);
    let name = Name::new();
    let object = name.create(5000);
    let stat = object.stat().unwrap();
    assert_eq!((stat.len(), stat.allocated(), stat.links(), stat.mode()), (5000, 0, 1, 0o600));
    assert_eq!((stat.uid(), stat.gid()), (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw()));
    for time in [stat.accessed(), stat.modified(), stat.changed()] {
        assert!(time >= before && time <= SystemTime::now());
    }
    drop(filled(&object, 5000, 1));
    assert_eq!(object.stat().unwrap().allocated(), 8192);
    let (_, opened) = OpenOptions::new().open(&name).unwrap();
    assert_eq!((opened.device(), opened.inode()), (stat.device(), stat.inode()));
}

#[test]
fn the_identity_is_what_a_stat_says_wherever_the_object_comes_from() {
    let name = Name::new();
    let named = name.create(1);
    let opened = OpenOptions::new().open(&name).unwrap().0;
    assert_eq!(named.identity().unwrap(), opened.identity().unwrap());
    let memfd = Object::memfd(c"test", 0o600).unwrap();
    let adopted = Object::try_from(memfd.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let clone = adopted.try_clone().unwrap();
    for object in [named, opened, memfd, adopted, clone, Object::create_unlinked(0o600).unwrap()] {
        let stat = object.stat().unwrap();
        for _ in 0..2 {
            assert_eq!(object.identity().unwrap(), (stat.device(), stat.inode()));
        }
    }
}

#[test]
fn owner_and_group_change_alone_and_together() {
    run_as_root("objects::child_changes_owners");
}

#[test]
#[ignore = "started by another test"]
fn child_changes_owners() {
    if !is_child() {
        return;
    }
    own_store("tmpfs", MsFlags::empty(), "size=1M,mode=1777");
    let object = Object::create_unlinked(0o666).unwrap();
    let owners = || object.stat().map(|stat| (stat.uid(), stat.gid())).unwrap();
    object.set_owner(None, Some(NOBODY)).unwrap();
    assert_eq!(owners(), (0, NOBODY));
    object.set_owner(Some(NOBODY), Some(0)).unwrap();
    assert_eq!(owners(), (NOBODY, 0));
    become_nobody();
    object.set_mode(0o640).unwrap();
    object.set_owner(None, Some(NOBODY)).unwrap();
    assert_eq!(code(object.set_owner(Some(1), None)), libc::EPERM);
    assert_eq!(owners(), (NOBODY, NOBODY));
    let (foreign, _) = OpenOptions::new()
        .write(true)
        .open(&{
            let name = Name::new();
            object.link(&name).unwrap();
            name
        })
        .unwrap();
    foreign.set_len(4096).unwrap();
}

#[test]
fn a_clone_is_the_same_object() {
    let name = Name::new();
    let object = name.create(4096);
    let clone = object.try_clone().unwrap();
    assert!(clone.is_writable() && clone.as_raw_fd() != object.as_raw_fd());
    let map = filled(&object, 4096, 9);
    drop(object);
    assert_eq!(get(&clone.map(4096, MapAccess::ReadOnly).unwrap(), 4095), 9);
    drop(map);
}

#[test]
fn a_descriptor_is_adopted_with_the_access_it_has() {
    let name = Name::new();
    drop(name.create(4096));
    for write in [true, false] {
        let (object, _) = OpenOptions::new().write(write).open(&name).unwrap();
        let number = object.as_raw_fd();
        let adopted = Object::try_from(OwnedFd::from(object)).unwrap();
        assert_eq!((adopted.is_writable(), adopted.as_raw_fd()), (write, number));
        assert_eq!(adopted.map(4096, MapAccess::ReadWrite).is_ok(), write);
    }
}

#[test]
fn a_descriptor_that_cannot_be_mapped_is_refused_and_closed() {
    let name = Name::new();
    drop(name.create(1));
    let adopt = |file: OwnedFd| code(Object::try_from(file));
    let path = open(name.path().as_str(), OFlag::O_PATH, Mode::empty()).unwrap();
    assert_eq!(adopt(path), libc::EBADF);
    let write_only = File::options().write(true).open(name.path()).unwrap();
    assert_eq!(adopt(write_only.into()), libc::EACCES);
    assert_eq!(adopt(File::open("/dev/shm").unwrap().into()), libc::ENODEV);
    assert_eq!(adopt(File::open("/dev/null").unwrap().into()), libc::ENODEV);
    let (socket, mut peer) = UnixStream::pair().unwrap();
    assert_eq!(adopt(socket.into()), libc::ENODEV);
    assert_eq!(io::copy(&mut peer, &mut io::sink()).unwrap(), 0, "the other end was closed");
}

#[test]
fn descriptors_zero_to_two_can_be_adopted() {
    run("objects::child_without_standard_streams");
}

#[test]
#[ignore = "started by another test"]
fn child_without_standard_streams() {
    if !is_child() {
        return;
    }
    let input = {
        // SAFETY: nobody else in this process owns or uses standard input.
        unsafe { OwnedFd::from_raw_fd(0) }
    };
    drop(input);
    let object = Object::memfd(c"test", 0o600).unwrap();
    assert_eq!(object.as_raw_fd(), 0);
    assert_eq!(Object::try_from(OwnedFd::from(object)).unwrap().as_raw_fd(), 0);
}

#[test]
fn an_object_of_huge_pages_has_sizes_and_mappings_of_whole_ones() {
    let object = Object::memfd_of_huge_pages(c"test", 0o640).unwrap();
    let page = object.stat().unwrap().block_size();
    assert!(page > Object::memfd(c"test", 0o600).unwrap().stat().unwrap().block_size());
    assert_eq!(object.stat().unwrap().mode(), 0o640);
    assert_eq!(code(object.set_len(5000)), libc::EINVAL);
    object.set_len(2 * page).unwrap();
    object.add_seals(Seals::new().with_shrink(true).with_grow(true)).unwrap();
    assert_eq!(code(object.set_len(3 * page)), libc::EPERM);
    let pages = |map: &Mapping| {
        let all = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let head = format!("{:x}-", map.as_ptr().addr());
        let own = all.lines().skip_while(|line| !line.starts_with(&head));
        own.skip(1).find(|line| line.starts_with("KernelPageSize:")).unwrap().to_owned()
    };
    match object.map(2 * page as usize, MapAccess::ReadWrite) {
        Ok(map) => assert!(pages(&map).contains(&format!(" {} kB", page / 1024))),
        // Nobody has filled the pool.
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
            skip("there are too few huge pages (vm.nr_hugepages) to map any");
        }
    }
}
