//! What the server shows is what was drawn.

use shared_region::{Backend, CreateOptions, OpenOptions, PosixRegion, SharedRegion, SharedRegionExt};
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::shm::{ConnectionExt as _, Seg};
use x11rb::protocol::xproto::ImageFormat;
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::{ConnectionExt as _, GrabServer};

use crate::BACKENDS;
use crate::server::{Program, Server, eventually, is_a_frame, look, picture, window};
use crate::x11_shm::frames::{Frames, attach};
use crate::x11_shm::{Canvas, plasma::Plasma};

/// Shows a frame once the server is done with the one before the last.
fn show(frames: &mut Frames<'_, RustConnection>, connection: &RustConnection, canvas: &Canvas, frame: u64) {
    while !frames.ready() {
        heed(frames, connection);
    }
    let plasma = Plasma::new();
    frames.show(canvas, |y, row| plasma.row(frame, y, row)).unwrap();
}

/// Waits for the server's next event.
fn heed(frames: &mut Frames<'_, RustConnection>, connection: &RustConnection) {
    match connection.wait_for_event().unwrap() {
        Event::ShmCompletion(event) => frames.completed(&event),
        Event::Error(error) => panic!("{error:?}"),
        _ => {}
    }
}

#[test]
fn a_window_shows_each_frame_that_was_drawn_on_every_backend_and_in_every_size() {
    let Some(server) = Server::start() else { return };
    let (connection, onlooker) = (server.connect(), server.connect());
    for backend in BACKENDS {
        for size in [(1, 1), (33, 17), (160, 120), (399, 300)] {
            let canvas = Canvas::new(&connection, 0, size).unwrap();
            let mut frames = Frames::new(&connection, &[backend], size).unwrap();
            assert_eq!(frames.way(), backend.name());
            for frame in 0..5 {
                show(&mut frames, &connection, &canvas, frame);
                connection.sync().unwrap();
                let shown = look(&onlooker, canvas.window, size).unwrap();
                assert!(shown == picture(frame, size), "{backend}: frame {frame} in {size:?}");
            }
        }
    }
}

#[test]
fn a_frame_is_drawn_again_only_after_the_server_has_read_it() {
    let Some(server) = Server::start() else { return };
    let (connection, onlooker) = (server.connect(), server.connect());
    for backend in BACKENDS {
        let size = (64, 48);
        let canvas = Canvas::new(&connection, 0, size).unwrap();
        let mut frames = Frames::new(&connection, &[backend], size).unwrap();
        connection.sync().unwrap();
        // As long as it is grabbed, the server serves nobody else.
        let grab = GrabServer::grab(&onlooker).unwrap();
        onlooker.sync().unwrap();
        let before = look(&onlooker, canvas.window, size).unwrap();
        show(&mut frames, &connection, &canvas, 10);
        assert!(frames.ready() && !frames.idle());
        show(&mut frames, &connection, &canvas, 11);
        assert!(!frames.ready());
        assert!(look(&onlooker, canvas.window, size).unwrap() == before);
        drop(grab);
        onlooker.flush().unwrap();
        show(&mut frames, &connection, &canvas, 12);
        while !frames.idle() {
            heed(&mut frames, &connection);
        }
        assert!(frames.ready());
        assert!(look(&onlooker, canvas.window, size).unwrap() == picture(12, size), "{backend}");
    }
}

#[test]
fn frames_in_a_new_size_take_over_while_the_server_still_reads_the_old_ones() {
    let Some(server) = Server::start() else { return };
    let (connection, onlooker) = (server.connect(), server.connect());
    for backend in BACKENDS {
        let canvas = Canvas::new(&connection, 0, (200, 100)).unwrap();
        let mut frames = Frames::new(&connection, &[backend], (200, 100)).unwrap();
        show(&mut frames, &connection, &canvas, 1);
        show(&mut frames, &connection, &canvas, 2);
        frames = Frames::new(&connection, &[backend], (50, 100)).unwrap();
        for frame in 3..7 {
            show(&mut frames, &connection, &canvas, frame);
        }
        connection.sync().unwrap();
        let shown = look(&onlooker, canvas.window, (200, 100)).unwrap();
        let (old, new) = (picture(2, (200, 100)), picture(6, (50, 100)));
        for ((shown, old), new) in shown.chunks(200).zip(old.chunks(200)).zip(new.chunks(50)) {
            assert!(shown[..50] == *new && shown[50..] == old[50..], "{backend}");
        }
    }
}

/// Has the server show what is at the start of a segment.
fn show_segment(connection: &RustConnection, canvas: &Canvas, segment: Seg, (width, height): (u16, u16)) {
    let Canvas { window, gc, depth, .. } = *canvas;
    let format = ImageFormat::Z_PIXMAP.into();
    connection
        .shm_put_image(window, gc, width, height, 0, 0, width, height, 0, 0, depth, format, false, segment, 0)
        .unwrap()
        .check()
        .unwrap();
}

/// A frame, and the bytes that it is in memory.
fn frame_and_bytes(frame: u64, size: (u16, u16)) -> (Vec<u32>, Vec<u8>) {
    let pixels = picture(frame, size);
    let bytes = pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
    (pixels, bytes)
}

/// For systems where nothing can be attached once it has been removed: the server first, then the removal.
#[test]
fn a_region_that_is_removed_once_the_server_has_it_goes_on_working() {
    let Some(server) = Server::start() else { return };
    let connection = server.connect();
    let size = (40, 30);
    let (expected, bytes) = frame_and_bytes(3, size);
    for backend in BACKENDS {
        let canvas = Canvas::new(&connection, 0, size).unwrap();
        let region = backend.create_unique("x11-test-", &CreateOptions::new(bytes.len())).unwrap();
        let id = region.id().unwrap();
        let segment = attach(&connection, &region);
        region.remove().unwrap();
        let segment = segment.unwrap();
        assert!(!backend.exists(id.name().unwrap()).unwrap());
        region.write_at(0, &bytes).unwrap();
        drop(region); // the server's attachment keeps it
        show_segment(&connection, &canvas, segment, size);
        assert!(look(&connection, canvas.window, size).unwrap() == expected, "{backend}");
        connection.shm_detach(segment).unwrap().check().unwrap();
    }
}

#[test]
fn memory_that_the_server_made_is_adopted_by_its_descriptor() {
    let Some(server) = Server::start() else { return };
    let connection = server.connect();
    let version = connection.shm_query_version().unwrap().reply().unwrap();
    assert!((version.major_version, version.minor_version) >= (1, 2));
    let size = (40, 30);
    let (expected, bytes) = frame_and_bytes(4, size);
    let canvas = Canvas::new(&connection, 0, size).unwrap();
    let segment = connection.generate_id().unwrap();
    let made = connection.shm_create_segment(segment, bytes.len() as u32, false).unwrap().reply().unwrap();
    let region = PosixRegion::from_fd(made.shm_fd, &OpenOptions::new().min_size(bytes.len())).unwrap();
    assert_eq!((region.len(), region.id()), (bytes.len(), None));
    region.write_at(0, &bytes).unwrap();
    show_segment(&connection, &canvas, segment, size);
    assert!(look(&connection, canvas.window, size).unwrap() == expected);
    // And the other way: the server writes what the window shows.
    region.fill_at(0, bytes.len(), 0).unwrap();
    let format = ImageFormat::Z_PIXMAP.into();
    let get = connection.shm_get_image(canvas.window, 0, 0, size.0, size.1, !0, format, segment, 0);
    assert_eq!(get.unwrap().reply().unwrap().size as usize, bytes.len());
    let mut taken = vec![0; bytes.len()];
    region.read_at(0, &mut taken).unwrap();
    assert!(taken == bytes);
}

#[test]
fn a_program_follows_the_size_of_its_window() {
    use x11rb::protocol::xproto::{ConfigureWindowAux, ConnectionExt as _};
    let Some(server) = Server::start() else { return };
    let onlooker = server.connect();
    let mut program = Program::start(server.display(), "--size 100x50");
    assert_eq!(program.hear().0, "posix");
    let window = window(&onlooker, (100, 50));
    onlooker.configure_window(window, &ConfigureWindowAux::new().width(120).height(70)).unwrap();
    eventually(|| is_a_frame(&look(&onlooker, window, (120, 70)).unwrap(), (120, 70)));
}
