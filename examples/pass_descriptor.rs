//! Hands a region to a process that knows no name for it: its descriptor goes over a Unix socket.
//!
//! ```console
//! $ cargo run --release --example pass_descriptor
//! ```
//!
//! Nobody else can find the region, as it has no name at any time, and it goes with its last user. Whoever has the
//! descriptor may use it, also as another user and in another container. On Linux it is sealed, and neither side has to
//! trust the other: the receiver demands that nobody can shrink the region under it, which would be SIGBUS, and the sender
//! forbids further seals, by which the receiver could take writing or growing away.

use std::env;
use std::error::Error;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage};
use rustix::net::{SendFlags, recvmsg, sendmsg};
use shared_region::{Backend, CreateOptions, OpenOptions, Posix, PosixRegion, Seals, SharedRegion, SharedRegionExt};

type Outcome<T> = Result<T, Box<dyn Error>>;

const QUESTION: usize = 0;
const ANSWER: usize = 64;
/// Whether this system has seals.
const SEALED: bool = cfg!(target_os = "linux");

fn main() -> ExitCode {
    let outcome = if env::args().nth(1).as_deref() == Some("receive") { receive() } else { send() };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pass_descriptor: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The first process: makes the region and hands it over.
fn send() -> Outcome<()> {
    let region = Posix.create_unnamed(&CreateOptions::new(4096))?;
    region.write_at(QUESTION, b"What is six by nine?")?;
    if SEALED {
        region.add_seals(Seals::new().with_seal(true))?;
    }

    let (ours, theirs) = UnixStream::pair()?;
    let mut second = Command::new(env::current_exe()?).arg("receive").stdin(OwnedFd::from(theirs)).spawn()?;
    let sent = send_descriptor(&ours, &region);
    let status = second.wait()?;
    sent?;
    if !status.success() {
        return Err(format!("the second process failed: {status}").into());
    }
    let mut answer = [0; 9];
    region.read_at(ANSWER, &mut answer)?;
    println!("answered: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

fn send_descriptor(socket: &UnixStream, region: &impl SharedRegion) -> Outcome<()> {
    let descriptors = [region.descriptor()?];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(socket, &[IoSlice::new(b"!")], &mut control, SendFlags::empty())?; // a message has a byte at least
    Ok(())
}

/// The second process: adopts the region that comes over its standard input, and answers.
fn receive() -> Outcome<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let options = OpenOptions::new().min_size(4096).require_seals(Seals::new().with_shrink(SEALED));
    let region = PosixRegion::from_fd(receive_descriptor(&socket)?, &options)?;
    let mut question = [0; 20];
    region.read_at(QUESTION, &mut question)?;
    println!("asked: {}", String::from_utf8_lossy(&question));
    region.write_at(ANSWER, b"Forty-two")?;
    Ok(())
}

fn receive_descriptor(socket: &UnixStream) -> Outcome<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::empty())?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let descriptor = received.ok_or("no descriptor came over the socket")?;
    fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
    Ok(descriptor)
}
