//! Other crates that carry messages between processes.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};

use super::channel::{Channel, Maker, Message, ReceivingEnd, SendingEnd};
use super::scratch;
use super::shared::{depth, poll};

/// A channel of bytes of `ipc-channel`.
pub(crate) struct IpcChannel(IpcBytesSender, IpcBytesReceiver);

impl Channel for IpcChannel {
    type Sender = IpcBytesSender;
    type Receiver = Bytes;

    fn new(_: usize) -> Result<Self> {
        let (sender, receiver) = bytes_channel()?;
        Ok(Self(sender, receiver))
    }

    fn sender(self) -> Result<IpcBytesSender> {
        Ok(self.0)
    }

    fn receiver(self) -> Result<Bytes> {
        Ok(Bytes { receiver: self.1, last: Vec::new() })
    }
}

impl SendingEnd for IpcBytesSender {
    fn send(&mut self, message: &mut Message) -> Result<()> {
        Ok(IpcBytesSender::send(self, message.bytes())?)
    }
}

pub(crate) struct Bytes {
    receiver: IpcBytesReceiver,
    last: Vec<u8>,
}

impl ReceivingEnd for Bytes {
    fn receive<'a>(&'a mut self, _: &'a mut Message) -> Result<&'a [u8]> {
        self.last = self.receiver.recv().map_err(|error| anyhow!("{error:?}"))?;
        Ok(&self.last)
    }
}

/// A publisher and a subscriber of iceoryx2, in a service that loses nothing. Both poll: it has no call that waits for a
/// sample, and events are a service of their own.
pub(crate) struct Iceoryx {
    /// The folder that iceoryx2 keeps its files in; its name is also what the names of its shared memory start with.
    folder: PathBuf,
    size: usize,
    maker: Maker,
}

type Service = iceoryx2::service::ipc::Service;
type Joined = (Node<Service>, PortFactory<Service, [u8], ()>);

impl Iceoryx {
    fn prefix(&self) -> String {
        format!("{}-", self.folder.file_name().unwrap_or_default().to_string_lossy())
    }

    /// Takes part in the service from this process.
    fn join(&self) -> Result<Joined> {
        set_log_level(LogLevel::Fatal);
        let mut config = Config::default();
        config.global.set_root_path(&Path::new(self.folder.as_os_str().as_encoded_bytes())?);
        config.global.prefix = FileName::new(self.prefix().as_bytes())?;
        let node = NodeBuilder::new().config(&config).signal_handling_mode(SignalHandlingMode::Disabled);
        let node = node.create::<Service>()?;
        let service = node.service_builder(&"messages".try_into()?).publish_subscribe::<[u8]>();
        let service =
            service.enable_safe_overflow(false).subscriber_max_buffer_size(depth(self.size)).open_or_create()?;
        Ok((node, service))
    }
}

impl Channel for Iceoryx {
    type Sender = Publishes;
    type Receiver = Subscribes;

    fn new(size: usize) -> Result<Self> {
        let folder = scratch();
        fs::create_dir(&folder)?;
        Ok(Self { folder, size, maker: Maker::this() })
    }

    fn sender(self) -> Result<Publishes> {
        let (_node, service) = self.join()?;
        let publisher = service.publisher_builder().initial_max_slice_len(self.size);
        let publisher = publisher.backpressure_strategy(BackpressureStrategy::RetryUntilDelivered).create()?;
        Ok(Publishes { publisher, _node })
    }

    fn receiver(self) -> Result<Subscribes> {
        let (_node, service) = self.join()?;
        Ok(Subscribes { subscriber: service.subscriber_builder().create()?, _node })
    }
}

impl Drop for Iceoryx {
    fn drop(&mut self) {
        if !self.maker.is_this() {
            return;
        }
        for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&self.prefix()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub(crate) struct Publishes {
    publisher: Publisher<Service, [u8], ()>,
    _node: Node<Service>,
}

impl SendingEnd for Publishes {
    fn send(&mut self, message: &mut Message) -> Result<()> {
        let sample = self.publisher.loan_slice_uninit(message.bytes().len())?;
        let receivers = sample.write_from_slice(message.bytes()).send()?;
        ensure!(receivers == 1, "{receivers} subscribers got the sample");
        Ok(())
    }
}

pub(crate) struct Subscribes {
    subscriber: Subscriber<Service, [u8], ()>,
    _node: Node<Service>,
}

impl ReceivingEnd for Subscribes {
    fn receive<'a>(&'a mut self, message: &'a mut Message) -> Result<&'a [u8]> {
        let sample = poll(|| Ok(self.subscriber.receive()?))?;
        ensure!(sample.len() == message.bytes().len(), "a sample of {} bytes came", sample.len());
        message.bytes_mut().copy_from_slice(&sample);
        Ok(message.bytes())
    }
}
