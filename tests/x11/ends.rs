//! How a program ends, and that nothing stays behind.

use shared_region::{AnyBackend, Backend};
use shared_region_sysv::{SegmentStat, segments};
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{ClientMessageEvent, ConnectionExt as _, EventMask};

use crate::BACKENDS;
use crate::server::{Program, Server, eventually, window};

/// The segments that a process made and that still exist, removed or not.
fn segments_of(pid: u32) -> Vec<SegmentStat> {
    segments().unwrap().into_iter().filter(|segment| segment.creator_pid() == pid).collect()
}

/// The part of a process's maps, or a server's, that says that a region without a name is there.
const UNNAMED: &str = "/memfd:shared-region (deleted)";

/// Checks that a running program shares memory with the server, and that nobody can find that memory.
fn assert_shared_without_a_name(server: &Server, program: &Program, backend: AnyBackend) {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", program.pid())).unwrap();
    assert!(!maps.contains("/dev/shm/"), "{maps}");
    let segments = segments_of(program.pid());
    if backend == AnyBackend::Posix {
        assert!(maps.contains(UNNAMED) && server.maps().contains(UNNAMED) && segments.is_empty());
    } else {
        assert!(!maps.contains(UNNAMED) && !server.maps().contains(UNNAMED) && segments.len() == 1);
        assert!(segments[0].is_removed() && segments[0].attach_count() == 2);
    }
}

/// Waits until nothing is left of it, here or in the server.
fn assert_gone(server: &Server, pid: u32) {
    eventually(|| segments_of(pid).is_empty() && !server.maps().contains(UNNAMED));
}

#[test]
fn a_program_that_is_killed_leaves_nothing_behind() {
    let Some(server) = Server::start() else { return };
    let onlooker = server.connect();
    for backend in BACKENDS {
        let mut program = Program::start(server.display(), &format!("--backend {backend} --size 160x120"));
        assert_eq!(program.hear().0, backend.name());
        window(&onlooker, (160, 120));
        assert_shared_without_a_name(&server, &program, backend);
        let pid = program.pid();
        program.kill();
        assert_gone(&server, pid);
    }
}

#[test]
fn a_program_ends_well_when_its_window_is_closed() {
    let Some(server) = Server::start() else { return };
    let onlooker = server.connect();
    let atom = |name: &[u8]| onlooker.intern_atom(false, name).unwrap().reply().unwrap().atom;
    let (protocols, delete) = (atom(b"WM_PROTOCOLS"), atom(b"WM_DELETE_WINDOW"));
    for backend in BACKENDS {
        let mut program = Program::start(server.display(), &format!("--backend {backend} --size 160x120"));
        assert_eq!(program.hear().0, backend.name());
        let window = window(&onlooker, (160, 120));
        assert_shared_without_a_name(&server, &program, backend);
        // What a window manager sends.
        let close = ClientMessageEvent::new(32, window, protocols, [delete, 0, 0, 0, 0]);
        onlooker.send_event(false, window, EventMask::NO_EVENT, close).unwrap();
        onlooker.flush().unwrap();
        let pid = program.pid();
        let (status, said) = program.end();
        assert!(status.success() && said.contains(" frames in "), "{status}: {said}");
        assert_gone(&server, pid);
    }
}

#[test]
fn a_program_ends_well_after_as_many_frames_as_were_asked_for() {
    let Some(server) = Server::start() else { return };
    for backend in BACKENDS {
        let program = Program::start(server.display(), &format!("--backend {backend} --frames 7"));
        let pid = program.pid();
        let (status, said) = program.end();
        assert!(status.success() && said.contains("7 frames in "), "{status}: {said}");
        assert_gone(&server, pid);
    }
}

#[test]
fn a_program_ends_with_an_error_when_its_server_goes() {
    for backend in BACKENDS {
        let Some(server) = Server::start() else { return };
        let mut program = Program::start(server.display(), &format!("--backend {backend}"));
        assert_eq!(program.hear().0, backend.name());
        let pid = program.pid();
        drop(server);
        let (status, said) = program.end();
        assert!(!status.success() && said.contains("x11_shm: ") && !said.contains(" frames in "), "{said}");
        eventually(|| segments_of(pid).is_empty());
    }
}
