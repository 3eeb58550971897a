//! Seals: what an object must not let its users do, demanded, added, and handed out for reading alone.

use std::fs::{File, OpenOptions as FileOptions, Permissions, set_permissions};
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, FdFlag, SealFlag, fallocate, fcntl};
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mprotect};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, geteuid};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use shared_region::{
    Access, Backend, CreateOptions, Error, ErrorKind, OpenOptions, Posix, PosixRegion, RegionId, Seals, SharedRegion,
    SharedRegionExt,
};

use super::{Cleanup, fresh, skip};

const NOBODY: u32 = 65534;
const PAGE: usize = 4096;
const SHRINK: Seals = Seals::new().with_shrink(true);
const SEAL: Seals = Seals::new().with_seal(true);

fn unnamed() -> PosixRegion {
    Posix.create_unnamed(&CreateOptions::new(2 * PAGE)).unwrap()
}

fn descriptor_of(region: &PosixRegion) -> OwnedFd {
    region.descriptor().unwrap().try_clone_to_owned().unwrap()
}

fn demanding(seals: Seals) -> OpenOptions {
    OpenOptions::new().require_seals(seals)
}

fn refused<T>(kind: ErrorKind, result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("it was let through"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}");
            error.to_string()
        }
    }
}

#[test]
fn an_object_that_lacks_a_demanded_seal_is_refused_by_the_seals_name() {
    let memfd = memfd_create(c"test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap();
    let file = File::from(memfd);
    let adopt = |seals| PosixRegion::from_fd(file.as_fd().try_clone_to_owned().unwrap(), &demanding(seals));
    // Before its size is looked at: with a size of 0 it would be `NotReady`.
    let denied = ErrorKind::PermissionDenied;
    let text = refused(denied, adopt(SHRINK.with_grow(true)));
    assert!(text.contains("F_SEAL_SHRINK, F_SEAL_GROW is missing") && text.contains("its creator"), "{text}");
    file.set_len(100).unwrap();
    refused(denied, adopt(SHRINK));
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).unwrap();
    assert_eq!(adopt(SHRINK).unwrap().len(), 100);
    let text = refused(denied, adopt(SHRINK.with_grow(true)));
    assert!(text.contains(": it is not sealed as required, F_SEAL_GROW is missing"), "{text}");
    refused(denied, adopt(Seals::new().with_future_write(true)));
    // Who may not write at all will not write in future.
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).unwrap();
    assert_eq!(adopt(SHRINK.with_future_write(true)).unwrap().access(), Access::ReadOnly);
}

#[test]
fn a_demand_that_nobody_can_meet_is_refused_and_never_forgotten() {
    let name = fresh();
    let _cleanup = Cleanup(RegionId::named("posix", name));
    let named = Posix.create_new(&name, &CreateOptions::new(100)).unwrap();
    let text = refused(ErrorKind::Unsupported, Posix.open(&name, &demanding(SHRINK)));
    assert!(text.contains("F_SEAL_SHRINK") && text.contains("memfd"), "{text}");
    let text = refused(ErrorKind::PermissionDenied, PosixRegion::from_fd(descriptor_of(&named), &demanding(SHRINK)));
    assert!(text.contains("F_SEAL_SHRINK"), "{text}");
    // A regular file of a file system that knows no seals, or has none.
    let program = File::open(std::env::current_exe().unwrap()).unwrap();
    refused(ErrorKind::PermissionDenied, PosixRegion::from_fd(program.into(), &demanding(SHRINK)));
}

#[cfg(feature = "sysv")]
#[test]
fn a_segment_can_neither_shrink_nor_grow_and_takes_no_other_seal() {
    use shared_region::Sysv;
    let name = fresh();
    let _cleanup = Cleanup(RegionId::named("sysv", name));
    let _region = Sysv.create_new(&name, &CreateOptions::new(100)).unwrap();
    assert_eq!(Sysv.open(&name, &demanding(SHRINK.with_grow(true))).unwrap().len(), 100);
    for seals in [Seals::new().with_write(true), SHRINK.with_future_write(true), SEAL] {
        let text = refused(ErrorKind::Unsupported, Sysv.open(&name, &demanding(seals)));
        assert!(!text.contains("F_SEAL_SHRINK"), "{text}");
    }
}

#[test]
fn seals_are_told_as_they_were_added() {
    let region = unnamed();
    let before = region.seals().unwrap();
    assert_eq!(before.with_exec(false), SHRINK);
    region.add_seals(Seals::new().with_grow(true)).unwrap();
    assert_eq!(region.seals().unwrap(), before.with_grow(true));
    assert_eq!(region.try_clone().unwrap().seals().unwrap(), before.with_grow(true));
    let text = refused(ErrorKind::Busy, region.add_seals(Seals::new().with_write(true)));
    assert!(text.contains("mapped for writing") && text.contains("EBUSY"), "{text}");
    assert_eq!(region.seals().unwrap(), before.with_grow(true));

    let name = fresh();
    let _cleanup = Cleanup(RegionId::named("posix", name));
    let named = Posix.create_new(&name, &CreateOptions::new(100)).unwrap();
    assert_eq!(named.seals().unwrap(), SEAL);
    let text = refused(ErrorKind::Unsupported, named.add_seals(SHRINK));
    assert!(text.contains("it was made to take no seals, as all that has a name"), "{text}");
    let adopted = PosixRegion::try_from(descriptor_of(&named)).unwrap();
    refused(ErrorKind::Unsupported, adopted.add_seals(SHRINK));
    refused(ErrorKind::Unsupported, adopted.share_read_only());
    let closed = Posix.create_unnamed(&CreateOptions::new(100).keep_descriptor(false)).unwrap();
    refused(ErrorKind::Unsupported, closed.seals());
    refused(ErrorKind::Unsupported, closed.add_seals(SHRINK));
    refused(ErrorKind::Unsupported, closed.share_read_only());
}

#[test]
fn a_receiver_takes_growing_and_writing_away_unless_further_seals_are_forbidden() {
    let taking = Seals::new().with_grow(true).with_future_write(true);
    let mut robbed = unnamed();
    PosixRegion::try_from(descriptor_of(&robbed)).unwrap().add_seals(taking).unwrap();
    for (operation, refusal) in [("grow", robbed.grow(4 * PAGE).err()), ("clone", robbed.try_clone().err())] {
        let error = refusal.unwrap();
        assert_eq!((error.kind(), error.get_operation()), (ErrorKind::PermissionDenied, operation));
        assert!(error.to_string().contains("sealed against that for good (F_SEAL_"), "{error}");
    }
    assert_eq!(robbed.len(), 2 * PAGE);
    robbed.write_at(0, b"still").unwrap();

    let mut kept = unnamed();
    kept.add_seals(SEAL).unwrap();
    let received = PosixRegion::try_from(descriptor_of(&kept)).unwrap();
    let text = refused(ErrorKind::PermissionDenied, received.add_seals(taking));
    assert!(text.contains("F_SEAL_SEAL") && text.contains("EPERM"), "{text}");
    kept.grow(4 * PAGE).unwrap();
    kept.try_clone().unwrap().write_at(3 * PAGE, b"mine").unwrap();
    refused(ErrorKind::PermissionDenied, kept.share_read_only());
}

#[test]
fn what_is_shared_for_reading_can_be_shared_again_and_by_its_readers() {
    let region = unnamed();
    let first = region.share_read_only().unwrap();
    let flags = fcntl(&first, FcntlArg::F_GETFD).map(FdFlag::from_bits_retain).unwrap();
    assert!(flags.contains(FdFlag::FD_CLOEXEC));
    let required = SHRINK.with_grow(true).with_future_write(true).with_seal(true);
    let reader = PosixRegion::from_fd(first, &demanding(required)).unwrap();
    let again = PosixRegion::try_from(reader.share_read_only().unwrap()).unwrap();
    let other = PosixRegion::try_from(region.share_read_only().unwrap()).unwrap();
    region.write_at(0, b"later").unwrap();
    let mut bytes = [0; 5];
    for reader in [&reader, &again, &other, &reader.try_clone().unwrap()] {
        assert_eq!(reader.access(), Access::ReadOnly);
        reader.read_at(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"later");
    }
    // From the writing descriptor, too, as no new mapping can write.
    assert_eq!(PosixRegion::try_from(descriptor_of(&region)).unwrap().access(), Access::ReadOnly);
    let name = fresh();
    let _cleanup = Cleanup(RegionId::named("posix", name));
    let named = Posix.create_new(&name, &CreateOptions::new(100)).unwrap();
    let text = refused(ErrorKind::Unsupported, named.share_read_only());
    assert!(text.contains("0640"), "{text}");
}

#[test]
fn a_seal_and_no_lack_of_permission_is_told_for_execute_bits() {
    let region = unnamed();
    if !region.seals().unwrap().exec() {
        return skip("the kernel is older than 6.3");
    }
    region.set_mode(0o644).unwrap();
    let text = refused(ErrorKind::PermissionDenied, region.set_mode(0o755));
    assert!(text.contains("F_SEAL_EXEC"), "{text}");
    let executable = Posix.create_unnamed(&CreateOptions::new(100).mode(0o700)).unwrap();
    executable.set_mode(0o755).unwrap();
}

#[test]
fn a_seal_against_shrinking_keeps_no_page_and_one_against_writing_keeps_all() {
    let region = unnamed();
    region.fill_at(0, 2 * PAGE, 7).unwrap();
    let file = File::from(descriptor_of(&region));
    let free = || {
        let start = NonNull::new(region.as_mut_ptr().unwrap()).unwrap();
        // SAFETY: a page of a shared mapping that no reference covers; madvise(2).
        let removed = unsafe { madvise(start.cast(), PAGE, MmapAdvise::MADV_REMOVE) };
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        (removed, fallocate(&file, punch, PAGE as libc::off_t, PAGE as libc::off_t))
    };
    assert_eq!(free(), (Ok(()), Ok(())));
    assert_eq!(region.metadata().unwrap().allocated(), Some(0));
    region.fill_at(0, 2 * PAGE, 7).unwrap();
    let _reader = region.share_read_only().unwrap();
    assert_eq!(free(), (Err(Errno::EPERM), Err(Errno::EPERM)));
    assert_eq!(region.metadata().unwrap().allocated(), Some(2 * PAGE as u64));
}

#[test]
fn an_unnamed_region_is_made_whatever_the_sysctl_memfd_noexec_says() {
    if !geteuid().is_root() {
        return skip("only root makes PID namespaces");
    }
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", "seals::child_under_memfd_noexec", "--ignored", "--nocapture"]);
    assert_eq!(command.env("IDENTITIES_NOEXEC", "2").status().unwrap().code(), Some(42));
}

#[test]
#[ignore = "run by another test as its second process"]
fn child_under_memfd_noexec() {
    let Ok(value) = std::env::var("IDENTITIES_NOEXEC") else { return };
    // The sysctl belongs to the PID namespace, and only children of this process are in the new one.
    unshare(CloneFlags::CLONE_NEWPID).unwrap();
    // SAFETY: the other threads of this process wait for this one, and hold no lock that the child needs.
    if let ForkResult::Parent { child } = unsafe { fork() }.unwrap() {
        assert!(matches!(waitpid(child, None).unwrap(), WaitStatus::Exited(_, 0)));
        std::process::exit(42);
    }
    let outcome = std::panic::catch_unwind(|| {
        if let Err(error) = std::fs::write("/proc/sys/vm/memfd_noexec", &value) {
            return skip(&format!("the kernel is older than 6.3, or gives no leave: {error}"));
        }
        unnamed().write_at(0, b"made").unwrap();
        let text = refused(ErrorKind::PermissionDenied, Posix.create_unnamed(&CreateOptions::new(100).mode(0o700)));
        assert!(text.contains("vm.memfd_noexec") && text.ends_with("(EACCES)"), "{text}");
    });
    // SAFETY: ends this process without running what belongs to its parent; _exit(2).
    unsafe { libc::_exit(i32::from(outcome.is_err())) }
}

/// A listening socket's path, removed when dropped.
struct Path(std::path::PathBuf);

impl Drop for Path {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn who_was_given_a_region_for_reading_cannot_write_to_it_by_any_way() {
    reading_process(None, 0o600);
    if !geteuid().is_root() {
        return skip("only root can become other users");
    }
    reading_process(Some(NOBODY), 0o600);
    // With a mode that lets them open it for writing.
    reading_process(Some(NOBODY), 0o666);
}

fn reading_process(user: Option<u32>, mode: u32) {
    let region = Posix.create_unnamed(&CreateOptions::new(2 * PAGE).mode(mode)).unwrap();
    region.write_at(0, b"first").unwrap();
    let descriptor = region.share_read_only().unwrap();
    let path = Path(std::env::temp_dir().join(format!("{}.socket", fresh().as_str())));
    let listener = UnixListener::bind(&path.0).unwrap();
    set_permissions(&path.0, Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", "seals::reader", "--ignored", "--nocapture"]).env("IDENTITIES_SOCKET", &path.0);
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let mut reader = command.spawn().unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut socket = loop {
        match listener.accept() {
            Ok((socket, _)) => break socket,
            Err(_) => assert_eq!(reader.try_wait().unwrap(), None, "it ended without a word"),
        }
        std::thread::yield_now();
    };
    let descriptors = [descriptor.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(&socket, &[IoSlice::new(b"!")], &mut control, SendFlags::empty()).unwrap();
    socket.read_exact(&mut [0]).unwrap(); // it has tried
    region.write_at(0, b"later").unwrap();
    region.write_at(PAGE, b"untouched").unwrap();
    socket.write_all(b"!").unwrap();
    assert_eq!(reader.wait().unwrap().code(), Some(42), "{user:?}");
    assert_eq!(region.metadata().unwrap().size(), 2 * PAGE as u64);
    let mut bytes = [0; 9];
    region.read_at(PAGE, &mut bytes).unwrap();
    assert_eq!(&bytes, b"untouched");
}

#[test]
#[ignore = "run by another test as its second process"]
fn reader() {
    let Ok(path) = std::env::var("IDENTITIES_SOCKET") else { return };
    let mut socket = UnixStream::connect(path).unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(&socket, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let file = File::from(received.unwrap());
    let region = PosixRegion::try_from(file.as_fd().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!((region.len(), region.access()), (2 * PAGE, Access::ReadOnly));
    assert_eq!(region.write_at(0, b"mine").unwrap_err().kind(), ErrorKind::ReadOnly);
    cannot_change(&file, true);
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    match FileOptions::new().read(true).write(true).open(&own) {
        Ok(anew) => cannot_change(&anew, false),
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(Errno::EACCES as i32));
            assert!(!geteuid().is_root());
        }
    }
    assert!(FileOptions::new().write(true).truncate(true).open(&own).is_err());

    socket.write_all(b"!").unwrap();
    socket.read_exact(&mut [0]).unwrap();
    let mut bytes = [0; 9];
    region.read_at(0, &mut bytes[..5]).unwrap();
    assert_eq!(&bytes[..5], b"later");
    region.read_at(PAGE, &mut bytes).unwrap();
    assert_eq!(&bytes, b"untouched");
    std::process::exit(42);
}

/// Tries every way to write by a descriptor. `read_only`: it is not open for writing, else the seals alone refuse.
fn cannot_change(file: &File, read_only: bool) {
    let number = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap());
    let (not_open, not_writable) = if read_only { (Errno::EBADF, Errno::EACCES) } else { (Errno::EPERM, Errno::EPERM) };
    assert_eq!(file.write_at(b"mine", 0).map_err(number), Err(not_open));
    for len in [0, PAGE as u64, 4 * PAGE as u64] {
        assert_eq!(file.set_len(len).map_err(number), Err(if read_only { Errno::EINVAL } else { Errno::EPERM }));
    }
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    assert_eq!(fallocate(file, punch, 0, PAGE as libc::off_t), Err(not_open));
    assert_eq!(fallocate(file, FallocateFlags::empty(), 0, 4 * PAGE as libc::off_t), Err(not_open));
    let page = NonZeroUsize::new(PAGE).unwrap();
    let map = |protection| {
        // SAFETY: without MAP_FIXED nothing that is mapped is replaced; mmap(2).
        unsafe { mmap(None, page, protection, MapFlags::MAP_SHARED, file, 0) }
    };
    assert_eq!(map(ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).map(drop), Err(not_writable));
    let reading = map(ProtFlags::PROT_READ).unwrap();
    // SAFETY: a page that was mapped here, to which nothing refers; mprotect(2).
    let widened = unsafe { mprotect(reading, PAGE, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE) };
    assert_eq!(widened, Err(Errno::EACCES));
    // SAFETY: as above; madvise(2).
    let removed = unsafe { madvise(reading, PAGE, MmapAdvise::MADV_REMOVE) };
    assert_eq!(removed, Err(Errno::EACCES));
    for seal in [SealFlag::F_SEAL_WRITE, SealFlag::F_SEAL_SHRINK] {
        assert_eq!(fcntl(file, FcntlArg::F_ADD_SEALS(seal)), Err(Errno::EPERM));
    }
}
