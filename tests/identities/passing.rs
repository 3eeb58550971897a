//! Regions that go to a stranger by their descriptors.

use std::fs::{File, Permissions, set_permissions};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::geteuid;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use shared_region::{
    Access, Backend, CreateOptions, ErrorKind, OpenOptions, Posix, PosixRegion, RegionId, SharedRegion, SharedRegionExt,
};

use super::{Cleanup, fresh};

const NOBODY: u32 = 65534;

/// A listening socket's path, removed when dropped.
struct Path(std::path::PathBuf);

impl Drop for Path {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_stranger_gets_by_descriptors_what_it_may_not_open_by_name() {
    let name = fresh();
    let _cleanup = Cleanup(RegionId::named("posix", name));
    let unnamed = Posix.create_unnamed(&CreateOptions::new(5000)).unwrap();
    let named = Posix.create_new(&name, &CreateOptions::new(100)).unwrap();
    let reader = Posix.open(&name, &OpenOptions::new().read_only(true)).unwrap();
    unnamed.write_at(4994, b"hidden").unwrap();
    named.write_at(0, b"named").unwrap();

    let path = Path(std::env::temp_dir().join(format!("{}.socket", name.as_str())));
    let listener = UnixListener::bind(&path.0).unwrap();
    set_permissions(&path.0, Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", "passing::stranger", "--ignored", "--nocapture"]);
    command.env("IDENTITIES_SOCKET", &path.0);
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY).env("IDENTITIES_NAME", name.as_str());
    }
    let mut stranger = command.spawn().unwrap();
    listener.set_nonblocking(true).unwrap();
    let socket = loop {
        match listener.accept() {
            Ok((socket, _)) => break socket,
            Err(_) => assert_eq!(stranger.try_wait().unwrap(), None, "it ended without a word"),
        }
        std::thread::yield_now();
    };
    let descriptors = [&unnamed, &named, &reader].map(|region| region.descriptor().unwrap());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(&socket, &[IoSlice::new(b"!")], &mut control, SendFlags::empty()).unwrap();
    drop(socket);

    assert_eq!(stranger.wait().unwrap().code(), Some(42));
    let mut bytes = [0; 5];
    for region in [&unnamed, &named] {
        region.read_at(10, &mut bytes).unwrap();
        assert_eq!(&bytes, b"reply");
    }
    assert_eq!(unnamed.metadata().unwrap().size(), 5000);
}

#[test]
#[ignore = "run by another test as its second process"]
fn stranger() {
    let Ok(path) = std::env::var("IDENTITIES_SOCKET") else { return };
    let socket = UnixStream::connect(path).unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(&socket, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let received: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    let regions: Vec<PosixRegion> =
        received.into_iter().map(|descriptor| PosixRegion::try_from(descriptor).unwrap()).collect();
    let [unnamed, named, reader] = &regions[..] else { panic!("{} descriptors came", regions.len()) };
    assert_eq!([unnamed, named, reader].map(SharedRegion::len), [5000, 100, 100]);
    assert_eq!(
        [unnamed, named, reader].map(SharedRegion::access),
        [Access::ReadWrite, Access::ReadWrite, Access::ReadOnly]
    );

    let mut bytes = [0; 6];
    unnamed.read_at(4994, &mut bytes).unwrap();
    assert_eq!(&bytes, b"hidden");
    for region in [named, reader] {
        region.read_at(0, &mut bytes[..5]).unwrap();
        assert_eq!(&bytes[..5], b"named");
    }
    if let Ok(name) = std::env::var("IDENTITIES_NAME") {
        assert_eq!(geteuid().as_raw(), NOBODY);
        let error = Posix.open(&super::name(&name), &OpenOptions::new().read_only(true)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
    // Sealed: what it was given it cannot take away from others.
    let file = File::from(unnamed.descriptor().unwrap().try_clone_to_owned().unwrap());
    assert_eq!(file.set_len(0).unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    unnamed.write_at(10, b"reply").unwrap();
    named.write_at(10, b"reply").unwrap();
    std::process::exit(42);
}
