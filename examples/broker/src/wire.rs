//! What goes over the socket: one packet asks, one answers; each call has a connection of its own.

use std::fs::{File, Metadata as Stat};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recvmsg, sendmsg, socket_with,
};
use shared_region::{Error, RegionName, Result};

/// For requests that bring no descriptors.
pub(crate) const NONE: &[BorrowedFd<'static>] = &[];

/// How long either side waits for the other: both answer at once, unless they hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Which object it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self { device: stat.dev(), inode: stat.ino() }
    }
}

/// Asks the system about an open object.
pub(crate) fn stat(descriptor: impl AsFd) -> rustix::io::Result<Stat> {
    let file = File::from(retried(|| fcntl_dupfd_cloexec(&descriptor, 0))?);
    retried(|| file.metadata().map_err(|error| errno(&error)))
}

pub(crate) fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// To know whether the name stands for something, and for what: an `O_PATH` descriptor comes.
    Look { name: RegionName },
    /// A descriptor to read with, or to write, too.
    Open { name: RegionName, write: bool },
    /// A name for the object that comes by two descriptors: one for both, one for reading.
    Publish { name: RegionName },
    /// The name to be taken away, if it stands for this object.
    Remove { name: RegionName, only: Option<Identity> },
    /// The names behind this one, a page of them.
    List { after: Option<RegionName> },
}

/// What stands before the name in a request: the letter, device and inode.
const HEAD: usize = 17;

impl Request {
    fn to_bytes(self) -> Vec<u8> {
        let (letter, name, only) = match self {
            Self::Look { name } => (b'?', Some(name), None),
            Self::Open { name, write: false } => (b'r', Some(name), None),
            Self::Open { name, write: true } => (b'w', Some(name), None),
            Self::Publish { name } => (b'+', Some(name), None),
            Self::Remove { name, only: None } => (b'-', Some(name), None),
            Self::Remove { name, only } => (b'=', Some(name), only),
            Self::List { after } => (b'*', after, None),
        };
        let Identity { device, inode } = only.unwrap_or(Identity { device: 0, inode: 0 });
        let mut bytes = vec![letter];
        bytes.extend(device.to_ne_bytes());
        bytes.extend(inode.to_ne_bytes());
        bytes.extend(name.iter().flat_map(|name| name.as_str().bytes()));
        bytes
    }

    /// `None` for what no client of ours sends.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, name) = bytes.split_at_checked(HEAD)?;
        let word = |at: usize| Some(u64::from_ne_bytes(head.get(at..at + 8)?.try_into().ok()?));
        let only = Identity { device: word(1)?, inode: word(9)? };
        if head[0] == b'*' && name.is_empty() {
            return Some(Self::List { after: None });
        }
        let name = RegionName::new(std::str::from_utf8(name).ok()?).ok()?;
        Some(match head[0] {
            b'?' => Self::Look { name },
            b'r' => Self::Open { name, write: false },
            b'w' => Self::Open { name, write: true },
            b'+' => Self::Publish { name },
            b'-' => Self::Remove { name, only: None },
            b'=' => Self::Remove { name, only: Some(only) },
            b'*' => Self::List { after: Some(name) },
            _ => return None,
        })
    }
}

/// Some names, in their order.
#[derive(Debug, Default)]
pub(crate) struct Page(pub(crate) Vec<RegionName>);

impl Page {
    /// How many fit into a packet.
    pub(crate) const LEN: usize = 500;
    const BYTES: usize = size_of::<i32>() + Self::LEN * (RegionName::MAX_LEN + 2);

    /// As they follow an errno, or 0.
    pub(crate) fn to_bytes(&self, code: i32) -> Vec<u8> {
        let names: Vec<_> = self.0.iter().map(RegionName::as_str).collect();
        [&code.to_ne_bytes(), names.join("\n").as_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<(i32, Self)> {
        let (code, names) = bytes.split_first_chunk()?;
        let names = std::str::from_utf8(names).ok()?.lines().map(|name| RegionName::new(name).ok());
        Some((i32::from_ne_bytes(*code), Self(names.collect::<Option<_>>()?)))
    }
}

/// What the server said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) refusal: Option<Errno>,
    descriptor: Option<OwnedFd>,
    pub(crate) names: Vec<RegionName>,
}

impl Answer {
    pub(crate) fn into_descriptor(self) -> Result<OwnedFd> {
        // The kernel drops descriptors on the way to a process that has no number left for them.
        let lost = || Error::from_io(&Errno::MFILE.into());
        self.descriptor.ok_or_else(lost)
    }
}

/// The address that a text stands for; after an `@` it is a name of Linux' own, without a file.
pub(crate) fn address(text: &Path) -> rustix::io::Result<SocketAddrUnix> {
    match text.as_os_str().as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
        _ => SocketAddrUnix::new(text),
    }
}

pub(crate) fn new_socket(flags: SocketFlags) -> rustix::io::Result<OwnedFd> {
    retried(|| socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags | SocketFlags::CLOEXEC, None))
}

/// Asks the server at `path`.
pub(crate) fn ask(path: &Path, request: Request, descriptors: &[BorrowedFd<'_>]) -> rustix::io::Result<Answer> {
    let socket = new_socket(SocketFlags::empty())?;
    for wait in [Timeout::Recv, Timeout::Send] {
        retried(|| set_socket_timeout(&socket, wait, Some(PATIENCE)))?;
    }
    let address = address(path)?;
    retried(|| connect(&socket, &address))?;
    send(&socket, &request.to_bytes(), descriptors)?;
    // What fails here is not lost: the answer waits in the socket, and what was asked for may have been done.
    let (bytes, descriptors) = receive(&socket).or_else(|_| receive(&socket))?;
    // It ended before it answered.
    if bytes.is_empty() {
        return Err(Errno::CONNRESET);
    }
    let (code, Page(names)) = Page::from_bytes(&bytes).ok_or(Errno::PROTO)?;
    let refusal = (code != 0).then(|| Errno::from_raw_os_error(code));
    Ok(Answer { refusal, descriptor: descriptors.into_iter().next(), names })
}

pub(crate) fn retried<T>(call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    rustix::io::retry_on_intr(call)
}

/// Sends a packet.
pub(crate) fn send(socket: &OwnedFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    retried(|| sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)).map(drop)
}

/// Receives a packet; an empty one where the other side has ended.
pub(crate) fn receive(socket: &OwnedFd) -> rustix::io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = [0; Page::BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        retried(|| recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC))?;
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE);
    }
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok((bytes[..received.bytes].to_vec(), descriptors.flatten().collect()))
}
