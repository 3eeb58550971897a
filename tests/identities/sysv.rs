//! Keys, ids and `ftok`.

use std::ffi::CString;

use nix::errno::Errno;
use nix::libc;
use shared_region::{
    Backend, CreateOptions, Error, ErrorKind, ListEntry, OpenOptions, RegionId, SharedRegion, SharedRegionExt, Sysv,
    SysvRegion,
};

use super::{Cleanup, c_program, fresh, native};

const OPEN: OpenOptions = OpenOptions::new();

/// The key by which this process's segment is listed. Others' are not touched.
fn key_of(region: &SysvRegion) -> i32 {
    let own = |entry: &ListEntry| entry.metadata().creator_pid() == Some(std::process::id());
    let listed = Sysv.list().unwrap();
    listed
        .iter()
        .filter(|entry| own(entry))
        .find_map(|entry| match entry.id() {
            RegionId::Key(key) => {
                let same = SysvRegion::from_key(*key, &OPEN).ok()?;
                (same.shmid() == region.shmid()).then_some(*key)
            }
            _ => None,
        })
        .unwrap()
}

#[test]
fn a_key_is_created_and_filled_by_its_identity_or_not_at_all() {
    let id = RegionId::Key(fresh().key());
    let _cleanup = Cleanup(id.clone());
    let failed = id.create_with(&CreateOptions::new(100), |_| Err(Error::new(ErrorKind::Busy)));
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(id.open(&OPEN).unwrap_err().kind(), ErrorKind::NotFound);
    let region = id.create_with(&CreateOptions::new(100), |region| region.write_at(0, b"whole")).unwrap();
    assert_eq!(region.id(), Some(id.clone()));
    let mut bytes = [0; 5];
    Sysv.open_id(&id, &OPEN).unwrap().read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"whole");
    // The system chooses segment ids, and key 0 names nothing.
    for id in [RegionId::Segment(7), RegionId::Key(0), RegionId::named("posix", fresh())] {
        let init = |_: &SysvRegion| -> Result<(), Error> { unreachable!() };
        let error = Sysv.create_id_with(&id, &CreateOptions::new(100), init).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
    }
}

#[test]
fn a_segment_is_created_and_opened_by_its_raw_key() {
    for key in [fresh().key() & i32::MAX, fresh().key() | i32::MIN] {
        let _cleanup = Cleanup(RegionId::Key(key));
        let region = SysvRegion::create_key(key, &CreateOptions::new(100)).unwrap();
        region.write_at(0, b"by key").unwrap();
        assert_eq!((region.key(), region.id()), (Some(key), Some(RegionId::Key(key))));
        assert_eq!(key_of(&region), key);
        let same = SysvRegion::from_key(key, &OPEN).unwrap();
        assert_eq!((same.len(), same.shmid(), same.key()), (100, region.shmid(), Some(key)));
        let error = SysvRegion::create_key(key, &CreateOptions::new(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        let text = format!("sysv:{key:#x}");
        let same = text.parse::<RegionId>().unwrap().open(&OPEN).unwrap();
        let mut bytes = [0; 6];
        same.read_at(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"by key");
        Sysv.remove_id(&RegionId::Key(key)).unwrap();
        let error = SysvRegion::from_key(key, &OPEN).unwrap_err();
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::NotFound, Some(Errno::ENOENT as i32)));
    }
}

#[test]
fn any_identity_that_can_be_chosen_is_created_or_opened() {
    let id = RegionId::Key(fresh().key());
    let _cleanup = Cleanup(id.clone());
    let options = CreateOptions::new(100);
    let region = id.create(&options).unwrap();
    assert_eq!((region.id(), region.len()), (Some(id.clone()), 100));
    assert_eq!(id.create(&options).unwrap_err().kind(), ErrorKind::AlreadyExists);
    let (same, created) = id.open_or_create(&options).unwrap();
    assert!(!created && same.id() == Some(id.clone()));
    region.remove().unwrap();
    let (other, created) = Sysv.open_or_create_id(&id, &options).unwrap();
    assert!(created && other.id() == Some(id));

    // The kernel chooses segment ids; one that exists is opened.
    let segment = RegionId::Segment(other.shmid());
    let error = segment.create(&options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
    let (same, created) = Sysv.open_or_create_id(&segment, &options).unwrap();
    assert!(!created && same.shmid() == other.shmid());
    other.remove().unwrap();
    drop((other, same));
    let error = segment.open_or_create(&options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
}

#[test]
fn a_named_region_is_the_segment_of_its_key() {
    let name = fresh();
    let _cleanup = Cleanup(RegionId::named("sysv", name));
    let region = Sysv.create_new(&name, &CreateOptions::new(100)).unwrap();
    assert_eq!(region.key(), Some(name.key()));
    assert_eq!(key_of(&region), name.key());
    assert_eq!(SysvRegion::from_key(name.key(), &OPEN).unwrap().shmid(), region.shmid());
}

#[test]
fn key_0_names_nothing() {
    let id = RegionId::Key(0);
    for error in [
        SysvRegion::create_key(0, &CreateOptions::new(1)).unwrap_err(),
        SysvRegion::from_key(0, &OPEN).unwrap_err(),
        Sysv.open_id(&id, &OPEN).unwrap_err(),
        Sysv.remove_id(&id).unwrap_err(),
        id.open(&OPEN).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
        assert_eq!(error.raw_os_error(), None, "{error}");
    }
}

#[test]
fn ftok_gives_what_libc_gives() {
    let exe = std::env::current_exe().unwrap();
    for path in [exe.as_path(), "/".as_ref(), "/proc/self/exe".as_ref(), "src".as_ref()] {
        let c_path = CString::new(path.to_str().unwrap()).unwrap();
        for project in [1, 2, 65, 127, 128, 255, 256, 257, 0, -1, i32::MAX, i32::MIN] {
            // SAFETY: the path is a C string that lives during the call; ftok(3).
            let expected = unsafe { libc::ftok(c_path.as_ptr(), project) };
            assert_eq!(SysvRegion::ftok(path, project).unwrap(), expected, "{path:?} {project}");
        }
    }
    assert_eq!(SysvRegion::ftok("/", 257).unwrap(), SysvRegion::ftok("/", 1).unwrap());
    assert_ne!(SysvRegion::ftok("/", 2).unwrap(), SysvRegion::ftok("/", 1).unwrap());
    let error = SysvRegion::ftok("/no/such/file", 1).unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::NotFound, Some(Errno::ENOENT as i32)));
    assert!(error.to_string().contains("/no/such/file"), "{error}");
}

#[test]
fn a_segment_is_opened_by_its_id_while_it_is_there() {
    let name = fresh();
    let _cleanup = Cleanup(RegionId::named("sysv", name));
    let region = Sysv.create_new(&name, &CreateOptions::new(100)).unwrap();
    let id = RegionId::Segment(region.shmid());
    let same = SysvRegion::from_id(region.shmid(), &OPEN).unwrap();
    assert_eq!((same.key(), same.id(), same.len()), (None, Some(id.clone()), 100));
    // Also when it has been removed and is attached still, where the system allows that.
    region.remove().unwrap();
    if Sysv.capabilities().attach_after_remove() {
        assert_eq!(id.open(&OPEN).unwrap().len(), 100);
    }
    drop((region, same));
    for gone in [id, RegionId::Segment(-1), RegionId::Segment(i32::MAX)] {
        let errors = [Sysv.open_id(&gone, &OPEN).unwrap_err(), Sysv.remove_id(&gone).unwrap_err()];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert_eq!(error.raw_os_error(), Some(Errno::EINVAL as i32), "{error}");
        }
    }
}

#[test]
fn a_private_segment_is_listed_by_its_id() {
    // SAFETY: shmget(2) takes three integers.
    let shmid = unsafe { libc::shmget(libc::IPC_PRIVATE, 100, libc::IPC_CREAT | 0o600) };
    let id = RegionId::Segment(shmid);
    let _cleanup = Cleanup(id.clone());
    assert_eq!(id.to_string(), format!("sysv:#{shmid}"));
    let listed = || Sysv.list().unwrap().into_iter().find(|entry| *entry.id() == id);
    assert_eq!(listed().unwrap().metadata().size(), 100);
    assert_eq!(Sysv.open_id(&id, &OPEN).unwrap().shmid(), shmid);
    Sysv.remove_id(&id).unwrap();
    assert_eq!(listed(), None);
}

#[test]
fn an_id_of_posix_is_refused() {
    for id in [RegionId::named("posix", fresh()), native(b"a b").into()] {
        for error in [Sysv.open_id(&id, &OPEN).unwrap_err(), Sysv.remove_id(&id).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
        }
    }
}

#[test]
fn a_c_program_finds_a_named_region_by_its_key() {
    let Some(program) = c_program("attach") else { return };
    let name = fresh();
    let _cleanup = Cleanup(RegionId::named("sysv", name));
    let region = Sysv.create_new(&name, &CreateOptions::new(100)).unwrap();
    region.write_at(0, b"from Rust\0").unwrap();
    let output = program.command().args(["--attach", name.as_str(), "from C"]).output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"from Rust\n"[..]));
    let mut bytes = [0; 7];
    region.read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"from C\0");
}
