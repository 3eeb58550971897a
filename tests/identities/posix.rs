//! Native names and adopted descriptors.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
#[cfg(target_os = "linux")]
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

#[cfg(target_os = "linux")]
use nix::fcntl::{FallocateFlags, OFlag, fallocate, open};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
#[cfg(target_os = "linux")]
use nix::sys::stat::Mode;
use shared_region::{
    Access, Backend, CreateOptions, Error, ErrorKind, OpenOptions, Posix, PosixName, PosixRegion, RegionId,
    SharedRegion, SharedRegionExt,
};

use super::{Cleanup, fresh, native};

const OPEN: OpenOptions = OpenOptions::new();

#[test]
fn an_object_is_created_opened_listed_and_removed_by_its_native_name() {
    let unique = fresh();
    let mut longest = unique.as_str().as_bytes().to_vec();
    longest.resize(PosixName::MAX_LEN, b'x');
    let odd = [unique.as_str().as_bytes(), b" %\n\xff"].concat();
    for bytes in [unique.as_str().as_bytes(), &longest, &odd] {
        let (name, id) = (native(bytes), RegionId::from(native(bytes)));
        let _cleanup = Cleanup(id.clone());
        let region = PosixRegion::create_native(&name, &CreateOptions::new(100)).unwrap();
        region.write_at(0, b"native").unwrap();
        assert_eq!(region.id(), Some(id.clone()));
        let error = PosixRegion::create_native(&name, &CreateOptions::new(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        let again: RegionId = id.to_string().parse().unwrap();
        let mut bytes = [0; 6];
        for same in [
            Box::new(PosixRegion::open_native(&name, &OPEN).unwrap()) as Box<dyn SharedRegion>,
            again.open(&OPEN).unwrap(),
        ] {
            assert_eq!((same.len(), same.id()), (100, Some(id.clone())));
            same.read_at(0, &mut bytes).unwrap();
            assert_eq!(&bytes, b"native");
        }
        assert!(Posix.list().unwrap().iter().any(|entry| *entry.id() == id));
        again.remove().unwrap();
        let error = PosixRegion::open_native(&name, &OPEN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
}

#[test]
fn an_identity_of_a_native_name_is_created_or_opened() {
    let id = RegionId::from(native(&[fresh().as_str().as_bytes(), b" %"].concat()));
    let _cleanup = Cleanup(id.clone());
    let options = CreateOptions::new(100);
    let region = id.create(&options).unwrap();
    assert_eq!((region.id(), region.len()), (Some(id.clone()), 100));
    assert_eq!(Posix.create_id(&id, &options).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(!id.open_or_create(&options).unwrap().1);
    region.remove().unwrap();
    assert!(Posix.open_or_create_id(&id, &options).unwrap().1);
}

#[test]
fn a_native_name_is_created_and_filled_by_its_identity_or_not_at_all() {
    let id = RegionId::from(native(&[fresh().as_str().as_bytes(), b" \xff"].concat()));
    let _cleanup = Cleanup(id.clone());
    let failed = id.create_with(&CreateOptions::new(100), |region| {
        region.write_at(0, b"half")?;
        Err(Error::new(ErrorKind::Busy))
    });
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(id.open(&OPEN).unwrap_err().kind(), ErrorKind::NotFound);
    let fill = |region: &dyn SharedRegion| region.write_at(0, b"whole");
    let region = id.create_with(&CreateOptions::new(100), fill).unwrap();
    assert_eq!(region.id(), Some(id.clone()));
    let mut bytes = [0; 5];
    Posix.open_id(&id, &OPEN).unwrap().read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"whole");
    let error = id.create_with(&CreateOptions::new(100), fill).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    let init = |_: &PosixRegion| -> Result<(), Error> { unreachable!() };
    let error = Posix.create_id_with(&RegionId::Key(7), &CreateOptions::new(100), init).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
}

/// Puts an empty file into the store, by other means than the crate's.
fn file_in_store(name: &CStr) -> std::path::PathBuf {
    let path = std::path::Path::new("/dev/shm").join(name.to_str().unwrap().trim_start_matches('/'));
    File::create_new(&path).unwrap();
    path
}

#[test]
#[cfg(target_os = "linux")]
fn a_list_leaves_out_the_semaphores_of_glibc() {
    let unique = fresh();
    let name = native(&[b"sem.", unique.as_str().as_bytes()].concat());
    let path = file_in_store(name.as_c_str());
    let listed = Posix.list();
    std::fs::remove_file(path).unwrap();
    let id = RegionId::from(name);
    assert!(listed.unwrap().iter().all(|entry| *entry.id() != id));
}

#[test]
fn an_id_of_system_v_is_refused() {
    for id in [RegionId::named("sysv", fresh()), RegionId::Key(1), RegionId::Segment(1)] {
        for error in [Posix.open_id(&id, &OPEN).unwrap_err(), Posix.remove_id(&id).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
        }
    }
}

#[test]
fn an_adopted_descriptor_is_a_region_without_an_id() {
    let name = fresh();
    let _cleanup = Cleanup(RegionId::named("posix", name));
    let region = Posix.create_new(&name, &CreateOptions::new(5000)).unwrap();
    region.write_at(4994, b"handed").unwrap();
    let number = {
        let descriptor = region.descriptor().unwrap().try_clone_to_owned().unwrap();
        let number = descriptor.as_raw_fd();
        let adopted = PosixRegion::try_from(descriptor).unwrap();
        // Nothing but the descriptor itself: the same number, and no other.
        assert_eq!(adopted.descriptor().unwrap().as_raw_fd(), number);
        assert_eq!((adopted.id(), adopted.len(), adopted.access()), (None, 5000, Access::ReadWrite));
        let mut bytes = [0; 6];
        adopted.read_at(4994, &mut bytes).unwrap();
        assert_eq!(&bytes, b"handed");
        adopted.write_at(0, b"back").unwrap();
        let error = adopted.remove().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        drop(region);
        assert_eq!(adopted.try_clone().unwrap().id(), None);
        number
    };
    assert!(number > 2);
    let mut bytes = [0; 4];
    Posix.open(&name, &OPEN).unwrap().read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"back");
}

#[test]
fn an_adopted_descriptor_that_cannot_be_written_to_is_a_read_only_region() {
    let name = fresh();
    let _cleanup = Cleanup(RegionId::named("posix", name));
    let region = Posix.create_new(&name, &CreateOptions::new(100)).unwrap();
    let reader = Posix.open(&name, &OPEN.read_only(true)).unwrap();
    let adopted = PosixRegion::try_from(reader.descriptor().unwrap().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!(adopted.access(), Access::ReadOnly);
    assert_eq!(adopted.write_at(0, b"!").unwrap_err().kind(), ErrorKind::ReadOnly);
    region.write_at(0, b"seen").unwrap();
    let mut bytes = [0; 4];
    adopted.read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"seen");
}

#[test]
#[cfg(target_os = "linux")]
fn a_descriptor_for_writing_alone_or_without_a_size_is_refused() {
    let name = fresh();
    let path = file_in_store(name.as_c_str());
    let _cleanup = Cleanup(RegionId::named("posix", name));
    let adopt = |file: File| {
        let error = PosixRegion::try_from(OwnedFd::from(file)).unwrap_err();
        error.kind()
    };
    let writer = || File::options().write(true).open(&path).unwrap();
    assert_eq!(adopt(File::open(&path).unwrap()), ErrorKind::NotReady);
    writer().set_len(100).unwrap();
    assert_eq!(adopt(writer()), ErrorKind::PermissionDenied);
    // Larger than can be mapped.
    writer().set_len(i64::MAX as u64 & !4095).unwrap();
    let error = PosixRegion::try_from(OwnedFd::from(File::open(&path).unwrap())).unwrap_err();
    let told = match usize::BITS {
        64 => (ErrorKind::NoSpace, Some(libc::ENOMEM)),
        _ => (ErrorKind::InvalidSize, None),
    };
    assert_eq!((error.kind(), error.raw_os_error()), told);
}

#[test]
fn a_descriptor_is_adopted_as_its_options_ask() {
    let region = Posix.create_unnamed(&CreateOptions::new(100)).unwrap();
    let adopt = |options: &OpenOptions| {
        let descriptor = region.descriptor().unwrap().try_clone_to_owned().unwrap();
        PosixRegion::from_fd(descriptor, options)
    };
    assert_eq!(adopt(&OPEN.read_only(true)).unwrap().access(), Access::ReadOnly);
    assert_eq!(adopt(&OPEN.min_size(100)).unwrap().len(), 100);
    let refused = |options| adopt(&options).unwrap_err().kind();
    assert_eq!(refused(OPEN.min_size(101)), ErrorKind::SizeMismatch { have: 100, want: 101 });
    let owner = region.metadata().unwrap().uid();
    assert_eq!(adopt(&OPEN.expect_owner(owner)).unwrap().access(), Access::ReadWrite);
    assert_eq!(refused(OPEN.expect_owner(owner + 1)), ErrorKind::PermissionDenied);
    assert_eq!(refused(OPEN.fixed_address(1 << 30)), ErrorKind::Unsupported);
}

/// `ftruncate` gives an object of huge pages no such size, and `fallocate` does.
#[test]
#[cfg(target_os = "linux")]
fn an_object_that_ends_within_a_huge_page_is_not_adopted_and_not_refreshed() {
    let object = File::from(memfd_create(c"huge", MFdFlags::MFD_HUGETLB).unwrap());
    let page = object.metadata().unwrap().blksize() as usize;
    let end_at = |len: usize| fallocate(&object, FallocateFlags::empty(), 0, len as libc::off_t);
    if let Err(errno) = end_at(page) {
        return super::skip(&format!("no huge page is free: raise vm.nr_hugepages ({errno})"));
    }
    let adopt = || PosixRegion::try_from(OwnedFd::from(object.try_clone().unwrap()));
    let mut whole = adopt().unwrap();
    assert_eq!(whole.len(), page);
    end_at(page + 5000).unwrap();
    for error in [adopt().unwrap_err(), whole.refresh().unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::InvalidSize, "{error}");
        assert!(error.to_string().contains(&format!("{page}, a huge page's")), "{error}");
    }
    assert_eq!(whole.len(), page);
    whole.write_at(page - 4, b"last").unwrap();
    // It was mapped once, and can be unmapped.
    let maps = || std::fs::read_to_string("/proc/self/maps").unwrap().matches("memfd:huge").count();
    assert_eq!(maps(), 1);
    drop(whole);
    assert_eq!(maps(), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_descriptor_that_gives_no_access_is_refused() {
    let name = fresh();
    let _cleanup = Cleanup(RegionId::named("posix", name));
    let path = file_in_store(name.as_c_str());
    // Not by `std`, which with musl takes O_PATH for an access mode and leaves it out.
    let pointer = open(&path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
    let error = PosixRegion::try_from(pointer).unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::PermissionDenied, Some(libc::EBADF)), "{error}");
}

#[test]
fn a_descriptor_of_something_else_is_not_shared_memory() {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let (socket, _) = UnixStream::pair().unwrap();
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let descriptors: [OwnedFd; 5] = [reader, writer, socket.into(), File::open("/").unwrap().into(), null.into()];
    for descriptor in descriptors {
        let number = descriptor.as_raw_fd();
        let error = PosixRegion::try_from(descriptor).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotSharedMemory, "{number}: {error}");
    }
}

#[test]
fn descriptors_0_1_and_2_are_as_good_as_others() {
    let child = Command::new("/proc/self/exe")
        .args(["--exact", "posix::child_without_standard_descriptors", "--ignored", "--nocapture"])
        .env("IDENTITIES_NAME", fresh().as_str())
        .status()
        .unwrap();
    assert_eq!(child.code(), Some(42));
}

#[test]
#[ignore = "run by another test as its second process"]
fn child_without_standard_descriptors() {
    let Ok(name) = std::env::var("IDENTITIES_NAME") else { return };
    let name = super::name(&name);
    let _cleanup = Cleanup(RegionId::named("posix", name));
    for descriptor in 0..3 {
        // SAFETY: this process says nothing more, and the standard library accepts that these are closed.
        unsafe { libc::close(descriptor) };
    }
    let created = Posix.create_new(&name, &CreateOptions::new(100)).unwrap();
    let opened = Posix.open(&name, &OPEN).unwrap();
    let unnamed = Posix.create_unnamed(&CreateOptions::new(100)).unwrap();
    let regions = [created, opened, unnamed];
    assert_eq!([0, 1, 2], [0, 1, 2].map(|at: usize| regions[at].descriptor().unwrap().as_raw_fd()));
    regions[0].write_at(0, b"zero").unwrap();
    let mut bytes = [0; 4];
    regions[1].try_clone().unwrap().read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"zero");
    drop(regions);
    let file = File::from(memfd_create(c"zero", MFdFlags::empty()).unwrap());
    file.set_len(100).unwrap();
    assert_eq!(file.as_raw_fd(), 0);
    let adopted = PosixRegion::try_from(OwnedFd::from(file)).unwrap();
    assert_eq!((adopted.len(), adopted.descriptor().unwrap().as_raw_fd()), (100, 0));
    drop(adopted);
    Posix.remove(&name).unwrap();
    std::process::exit(42);
}
