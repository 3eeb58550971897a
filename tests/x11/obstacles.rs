//! What keeps a server from sharing memory, and what still works then.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use shared_region::{Backend, CreateOptions, SharedRegion, Sysv};
use shared_region_sysv::{GetOptions, IPC_PRIVATE};

use crate::server::{NOBODY, Program, Server, eventually, is_a_frame, is_root, look, skip, window};
use crate::x11_shm::frames::attach;

const SIZE: (u16, u16) = (160, 120);
const ARGUMENTS: &str = "--backend sysv --size 160x120";

/// Waits until a program's window shows one of its frames.
fn assert_shown(server: &Server) {
    let onlooker = server.connect();
    let window = window(&onlooker, SIZE);
    eventually(|| is_a_frame(&look(&onlooker, window, SIZE).unwrap(), SIZE));
}

#[test]
fn a_server_without_the_extension_is_sent_the_frames() {
    let Some(server) = Server::start_as(|command| command.args(["-extension", "MIT-SHM"])) else { return };
    let mut program = Program::start(server.display(), ARGUMENTS);
    let (way, tried) = program.hear();
    assert_eq!(way, "connection", "{tried}");
    assert!(tried.contains("not by sysv: ") && tried.contains("not by posix: "), "{tried}");
    assert_shown(&server);
}

#[test]
fn a_server_of_another_user_gets_a_descriptor_or_a_segment_of_its_own() {
    if !is_root() {
        return skip("a server of another user takes root");
    }
    let Some(server) = Server::start_as(|command| command.uid(NOBODY).gid(NOBODY)) else { return };
    let mut program = Program::start(server.display(), ARGUMENTS);
    let (way, tried) = program.hear();
    assert_eq!(way, "posix", "{tried}");
    assert!(tried.contains("not by sysv: the server refuses it: BadAccess"), "{tried}");
    assert_shown(&server);

    let connection = server.connect();
    let region = Sysv.create_unnamed(&CreateOptions::new(100)).unwrap();
    attach(&connection, &region).unwrap_err();
    region.set_owner(Some(NOBODY), None).unwrap();
    attach(&connection, &region).unwrap();
    let facts = region.metadata().unwrap();
    assert!(facts.mode() == 0o600 && facts.is_removed());
}

#[test]
fn a_server_of_root_attaches_the_segments_of_its_clients() {
    if !is_root() {
        return skip("a server of another user takes root");
    }
    let Some(server) = Server::start() else { return };
    let mut program = Program::start_as(server.display(), ARGUMENTS, |command| command.uid(NOBODY).gid(NOBODY));
    let (way, tried) = program.hear();
    assert_eq!(way, "sysv", "{tried}");
    assert_shown(&server);
}

/// Puts a process into an IPC namespace of its own, in which a stranger's segment has the first id.
fn with_a_strangers_segment(command: &mut Command) -> &mut Command {
    let confine = || {
        unshare(CloneFlags::CLONE_NEWIPC)?;
        GetOptions::new().create(true).mode(0o666).get(IPC_PRIVATE, 1 << 20).map(drop)
    };
    // SAFETY: two system calls; nothing is allocated or locked between fork and exec.
    unsafe { command.pre_exec(confine) }
}

/// Puts a process into an empty IPC namespace of its own.
fn apart(command: &mut Command) -> &mut Command {
    // SAFETY: as above.
    unsafe { command.pre_exec(|| Ok(unshare(CloneFlags::CLONE_NEWIPC)?)) }
}

#[test]
fn a_server_in_another_ipc_namespace_is_found_out_and_gets_a_descriptor() {
    if !is_root() {
        return skip("an IPC namespace takes root");
    }
    let Some(server) = Server::start_as(with_a_strangers_segment) else { return };
    let mut program = Program::start_as(server.display(), ARGUMENTS, apart);
    let (way, tried) = program.hear();
    assert_eq!(way, "posix", "{tried}");
    assert!(tried.contains("not by sysv: the server sees other segments"), "{tried}");
    assert_shown(&server);
}

/// Passes one client's bytes on to a server, and no descriptors, as forwarding over a network does.
struct Relay {
    socket: PathBuf,
    display: String,
}

impl Relay {
    fn start(server: &Server) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        // Far above the displays that servers choose.
        let display = 20_000 + (std::process::id() * 2 + COUNTER.fetch_add(1, Relaxed)) % 40_000;
        let socket = PathBuf::from(format!("/tmp/.X11-unix/X{display}"));
        let listener = UnixListener::bind(&socket).unwrap();
        let relay = Self { socket, display: format!(":{display}") };
        let (ours, theirs) = (relay.socket.clone(), server.socket());
        thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            fs::remove_file(ours).unwrap();
            let server = UnixStream::connect(theirs).unwrap();
            thread::scope(|scope| {
                scope.spawn(|| pass_on(&client, &server));
                scope.spawn(|| pass_on(&server, &client));
            });
        });
        relay
    }
}

fn pass_on(mut from: &UnixStream, mut to: &UnixStream) {
    let mut bytes = [0; 4096];
    while let Ok(len @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..len]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

#[test]
fn a_server_in_another_ipc_namespace_without_that_id_refuses_and_gets_a_descriptor() {
    if !is_root() {
        return skip("an IPC namespace takes root");
    }
    let Some(server) = Server::start_as(apart) else { return };
    let mut program = Program::start(server.display(), ARGUMENTS);
    let (way, tried) = program.hear();
    assert_eq!(way, "posix", "{tried}");
    assert!(tried.contains("not by sysv: the server refuses it: BadAccess"), "{tried}");
    assert_shown(&server);
}

#[test]
fn a_server_behind_a_relay_on_this_host_attaches_segments_and_gets_no_descriptors() {
    let Some(server) = Server::start() else { return };
    let relay = Relay::start(&server);
    let mut program = Program::start(&relay.display, "--backend posix --size 160x120");
    let (way, tried) = program.hear();
    assert_eq!(way, "sysv", "{tried}");
    assert!(tried.contains("not by posix: the server refuses it: BadMatch"), "{tried}");
    assert_shown(&server);
}

#[test]
fn a_server_behind_a_relay_on_another_host_is_sent_the_frames() {
    if !is_root() {
        return skip("an IPC namespace takes root");
    }
    let Some(server) = Server::start_as(with_a_strangers_segment) else { return };
    let relay = Relay::start(&server);
    let mut program = Program::start_as(&relay.display, ARGUMENTS, apart);
    let (way, tried) = program.hear();
    assert_eq!(way, "connection", "{tried}");
    assert!(tried.contains("not by sysv: the server sees other segments"), "{tried}");
    assert!(tried.contains("not by posix: the server refuses it: BadMatch"), "{tried}");
    assert_shown(&server);
}
