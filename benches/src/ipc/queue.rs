//! Message queues, of POSIX and of System V.

use std::ffi::{c_int, c_long};
use std::fs;
use std::io;
use std::ptr;

use anyhow::{Context, Result, anyhow, ensure};
use nix::libc;
use nix::mqueue::{MQ_OFlag, MqAttr, MqdT, mq_open, mq_receive, mq_send, mq_unlink};
use nix::sys::stat::Mode;

use super::channel::{Channel, Maker, Message, ReceivingEnd, SendingEnd};

/// A number that the kernel tells in a file.
fn limit(file: &str) -> Result<usize> {
    let text = fs::read_to_string(file).with_context(|| file.to_owned())?;
    Ok(text.trim().parse()?)
}

/// A POSIX message queue, as deep as the system allows without privilege.
pub(crate) struct PosixQueue(MqdT);

impl Channel for PosixQueue {
    type Sender = MqdT;
    type Receiver = MqdT;

    fn new(size: usize) -> Result<Self> {
        const LONGEST: &str = "/proc/sys/fs/mqueue/msgsize_max";
        let name = format!("/shared-region-benches-{}", std::process::id());
        let attributes = MqAttr::new(0, limit("/proc/sys/fs/mqueue/msg_max")? as i64, size as i64, 0);
        let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDWR | MQ_OFlag::O_CLOEXEC;
        let queue = mq_open(name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR, Some(&attributes));
        let queue = queue.map_err(|error| match limit(LONGEST) {
            Ok(longest) if size > longest => anyhow!("a message has at most {longest} bytes ({LONGEST})"),
            _ => anyhow!("mq_open: {error}"),
        })?;
        mq_unlink(name.as_str())?;
        Ok(Self(queue))
    }

    fn sender(self) -> Result<MqdT> {
        Ok(self.0)
    }

    fn receiver(self) -> Result<MqdT> {
        Ok(self.0)
    }
}

impl SendingEnd for MqdT {
    fn send(&mut self, message: &mut Message) -> Result<()> {
        Ok(mq_send(self, message.bytes(), 0)?)
    }
}

impl ReceivingEnd for MqdT {
    fn receive<'a>(&'a mut self, message: &'a mut Message) -> Result<&'a [u8]> {
        let len = mq_receive(self, message.bytes_mut(), &mut 0)?;
        Ok(&message.bytes()[..len])
    }
}

/// A System V message queue, with the system's default limits.
pub(crate) struct SysvQueue(c_int, Maker);

impl Channel for SysvQueue {
    type Sender = Self;
    type Receiver = Self;

    fn new(size: usize) -> Result<Self> {
        const LONGEST: &str = "/proc/sys/kernel/msgmax";
        let longest = limit(LONGEST)?;
        ensure!(size <= longest, "a message has at most {longest} bytes ({LONGEST})");
        // SAFETY: msgget(2) touches no memory of ours.
        let id = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
        ensure!(id >= 0, "msgget: {}", io::Error::last_os_error());
        Ok(Self(id, Maker::this()))
    }

    fn sender(self) -> Result<Self> {
        Ok(self)
    }

    fn receiver(self) -> Result<Self> {
        Ok(self)
    }
}

impl Drop for SysvQueue {
    fn drop(&mut self) {
        if self.1.is_this() {
            // SAFETY: msgctl(2) does not look at its last argument for IPC_RMID.
            unsafe { libc::msgctl(self.0, libc::IPC_RMID, ptr::null_mut()) };
        }
    }
}

impl SendingEnd for SysvQueue {
    fn send(&mut self, message: &mut Message) -> Result<()> {
        let framed = message.framed();
        framed[..TYPE].copy_from_slice(&1_i64.to_ne_bytes());
        // SAFETY: msgsnd(2) reads the type, a positive `long`, then as many bytes as it is told: the rest of the buffer.
        let sent = unsafe { libc::msgsnd(self.0, framed.as_ptr().cast(), framed.len() - TYPE, 0) };
        ensure!(sent == 0, "msgsnd: {}", io::Error::last_os_error());
        Ok(())
    }
}

impl ReceivingEnd for SysvQueue {
    fn receive<'a>(&'a mut self, message: &'a mut Message) -> Result<&'a [u8]> {
        let framed = message.framed();
        // SAFETY: msgrcv(2) writes the type, a `long`, then as many bytes as it is told at most: the rest of the buffer.
        let len = unsafe { libc::msgrcv(self.0, framed.as_mut_ptr().cast(), framed.len() - TYPE, 0, 0) };
        let len = usize::try_from(len).map_err(|_| anyhow!("msgrcv: {}", io::Error::last_os_error()))?;
        Ok(&message.bytes()[..len])
    }
}

/// What stands in front of a message: its type, a `long`, at the buffer's start, which the allocator aligns to 16 bytes.
const TYPE: usize = size_of::<i64>();
const _: () = assert!(TYPE == size_of::<c_long>());
