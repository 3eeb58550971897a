//! Sockets of the Unix domain.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, setsockopt, socketpair, sockopt};

use super::channel::{Channel, Message, ReceivingEnd, SendingEnd};
use super::pipe::Stream;

/// A connected pair of stream sockets, with the system's default buffers.
pub(crate) struct StreamSocket(UnixStream, UnixStream);

impl Channel for StreamSocket {
    type Sender = Stream<UnixStream>;
    type Receiver = Stream<UnixStream>;

    fn new(_: usize) -> Result<Self> {
        let (one, other) = UnixStream::pair()?;
        Ok(Self(one, other))
    }

    fn sender(self) -> Result<Self::Sender> {
        Ok(Stream(self.0))
    }

    fn receiver(self) -> Result<Self::Receiver> {
        Ok(Stream(self.1))
    }
}

/// A connected pair of sockets that keep messages apart. The sending buffer is enlarged where a message needs it.
pub(crate) struct PacketSocket(OwnedFd, OwnedFd);

impl Channel for PacketSocket {
    type Sender = Packets;
    type Receiver = Packets;

    fn new(size: usize) -> Result<Self> {
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        // The kernel counts its own overhead towards the buffer, and doubles what is asked for; unix(7) leaves it there.
        const DEFAULT: usize = 64 * 1024;
        if size > DEFAULT {
            setsockopt(&one, sockopt::SndBuf, &(2 * size)).context("enlarge the sending buffer")?;
        }
        Ok(Self(one, other))
    }

    fn sender(self) -> Result<Packets> {
        Ok(Packets(self.0))
    }

    fn receiver(self) -> Result<Packets> {
        Ok(Packets(self.1))
    }
}

pub(crate) struct Packets(OwnedFd);

impl SendingEnd for Packets {
    fn send(&mut self, message: &mut Message) -> Result<()> {
        let sent = send(self.0.as_raw_fd(), message.bytes(), MsgFlags::empty())?;
        ensure!(sent == message.bytes().len(), "a packet was cut");
        Ok(())
    }
}

impl ReceivingEnd for Packets {
    fn receive<'a>(&'a mut self, message: &'a mut Message) -> Result<&'a [u8]> {
        let len = recv(self.0.as_raw_fd(), message.bytes_mut(), MsgFlags::empty())?;
        Ok(&message.bytes()[..len])
    }
}
