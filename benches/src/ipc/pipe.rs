//! Pipes, with and without a name.

use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::path::PathBuf;

use anyhow::Result;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::channel::{Channel, Maker, Message, ReceivingEnd, SendingEnd};
use super::scratch;

/// A pipe with the system's default capacity.
pub(crate) struct Pipe(PipeReader, PipeWriter);

impl Channel for Pipe {
    type Sender = Stream<PipeWriter>;
    type Receiver = Stream<PipeReader>;

    fn new(_: usize) -> Result<Self> {
        let (reader, writer) = std::io::pipe()?;
        Ok(Self(reader, writer))
    }

    fn sender(self) -> Result<Self::Sender> {
        Ok(Stream(self.1))
    }

    fn receiver(self) -> Result<Self::Receiver> {
        Ok(Stream(self.0))
    }
}

/// A pipe with a name in the file system.
pub(crate) struct Fifo(PathBuf, Maker);

impl Channel for Fifo {
    type Sender = Stream<File>;
    type Receiver = Stream<File>;

    fn new(_: usize) -> Result<Self> {
        let path = scratch();
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        Ok(Self(path, Maker::this()))
    }

    fn sender(self) -> Result<Self::Sender> {
        Ok(Stream(File::options().write(true).open(&self.0)?))
    }

    fn receiver(self) -> Result<Self::Receiver> {
        Ok(Stream(File::open(&self.0)?))
    }

    fn unlink(&self) -> Result<()> {
        Ok(fs::remove_file(&self.0)?)
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        if self.1.is_this() {
            let _ = fs::remove_file(&self.0); // unless `unlink` did
        }
    }
}

/// Whatever carries bytes without boundaries between messages: both sides know how long they are.
pub(crate) struct Stream<T>(pub(crate) T);

impl<T: Write> SendingEnd for Stream<T> {
    fn send(&mut self, message: &mut Message) -> Result<()> {
        Ok(self.0.write_all(message.bytes())?)
    }
}

impl<T: Read> ReceivingEnd for Stream<T> {
    fn receive<'a>(&'a mut self, message: &'a mut Message) -> Result<&'a [u8]> {
        self.0.read_exact(message.bytes_mut())?;
        Ok(message.bytes())
    }
}
