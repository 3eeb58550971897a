//! Shows a moving picture in an X11 window, out of memory that it shares with the X server.
//!
//! ```console
//! $ cargo run --release --example x11_shm -- [--backend posix|sysv] [--frames N] [--size WIDTHxHEIGHT]
//! ```
//!
//! The server's extension MIT-SHM takes a System V segment by its id and, since version 1.2, POSIX shared memory by its
//! descriptor. The same code draws into both. What the server refuses is tried by the other backend, and in the end the
//! pixels go over the connection: so it works in a container, beside a server of another user, and through `ssh -X`.
//! `--backend` says what is tried first.

use std::env;
use std::error::Error;
use std::num::NonZero;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use shared_region::AnyBackend;
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    AtomEnum, ConnectionExt as _, CreateGCAux, CreateWindowAux, EventMask, Gcontext, PropMode, Window, WindowClass,
};
use x11rb::wrapper::ConnectionExt as _;

#[path = "x11_shm/frames.rs"]
pub(crate) mod frames;
#[path = "x11_shm/plasma.rs"]
pub(crate) mod plasma;

use frames::Frames;
use plasma::Plasma;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: x11_shm [--backend posix|sysv] [--frames N] [--size WIDTHxHEIGHT]";
const FRAME_TIME: Duration = Duration::from_micros(16_667);

/// The backends of this build, in the order in which they are tried.
const BACKENDS: &[AnyBackend] = &[
    #[cfg(feature = "posix")]
    AnyBackend::Posix,
    #[cfg(feature = "sysv")]
    AnyBackend::Sysv,
];

fn main() -> ExitCode {
    match run(env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("x11_shm: {error}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn run(mut arguments: impl Iterator<Item = String>) -> Outcome<()> {
    let mut backends = BACKENDS.to_vec();
    let (mut frames, mut size) = (u64::MAX, (640, 480));
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(USAGE);
        match argument.as_str() {
            "--backend" => {
                let first = value()?.parse()?;
                backends.retain(|backend| *backend != first);
                backends.insert(0, first);
            }
            "--frames" => frames = value()?.parse().map_err(|_| USAGE)?,
            "--size" => {
                let sides = value()?;
                let (width, height) = sides.split_once('x').ok_or(USAGE)?;
                let side = |text: &str| text.parse().map(NonZero::get).map_err(|_| USAGE);
                size = (side(width)?, side(height)?);
            }
            "-h" | "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            _ => return Err(USAGE.into()),
        }
    }
    let (connection, screen) = x11rb::connect(None).map_err(|error| format!("no X server: {error}"))?;
    let canvas = Canvas::new(&connection, screen, size)?;
    animate(&connection, &canvas, &backends, size, frames)
}

/// What is drawn on.
pub(crate) struct Canvas {
    pub(crate) window: Window,
    pub(crate) gc: Gcontext,
    pub(crate) depth: u8,
    /// What a window manager sends when the window is to close.
    delete: u32,
}

impl Canvas {
    /// Opens a window.
    pub(crate) fn new(connection: &impl Connection, screen: usize, (width, height): (u16, u16)) -> Outcome<Self> {
        let setup = connection.setup();
        let screen = &setup.roots[screen];
        let depth = screen.root_depth;
        let visuals = screen.allowed_depths.iter().flat_map(|depth| &depth.visuals);
        let masks = visuals.filter(|visual| visual.visual_id == screen.root_visual);
        let rgb = masks.map(|visual| (visual.red_mask, visual.green_mask, visual.blue_mask)).next();
        let bits = setup.pixmap_formats.iter().find(|format| format.depth == depth).map(|format| format.bits_per_pixel);
        if (rgb, bits) != (Some((0xff_0000, 0xff00, 0xff)), Some(32)) {
            return Err("this screen's pixels are not 0xRRGGBB in 32 bits: use one of depth 24".into());
        }
        let (window, gc) = (connection.generate_id()?, connection.generate_id()?);
        let events = CreateWindowAux::new().event_mask(EventMask::STRUCTURE_NOTIFY);
        let class = WindowClass::INPUT_OUTPUT;
        connection.create_window(depth, window, screen.root, 0, 0, width, height, 0, class, 0, &events)?.check()?;
        connection.create_gc(gc, window, &CreateGCAux::new().graphics_exposures(0))?;
        let protocols = connection.intern_atom(false, b"WM_PROTOCOLS")?.reply()?.atom;
        let delete = connection.intern_atom(false, b"WM_DELETE_WINDOW")?.reply()?.atom;
        connection.change_property32(PropMode::REPLACE, window, protocols, AtomEnum::ATOM, &[delete])?;
        connection.change_property8(PropMode::REPLACE, window, AtomEnum::WM_NAME, AtomEnum::STRING, b"x11_shm")?;
        connection.map_window(window)?;
        Ok(Self { window, gc, depth, delete })
    }
}

/// Draws frame after frame, sixty in a second, until there are enough of them or the window is closed.
fn animate(
    connection: &impl Connection,
    canvas: &Canvas,
    backends: &[AnyBackend],
    size: (u16, u16),
    wanted: u64,
) -> Outcome<()> {
    let plasma = Plasma::new();
    let mut frames = Frames::new(connection, backends, size)?;
    println!("x11_shm: {}x{} by {}", size.0, size.1, frames.way());
    let start = Instant::now();
    let (mut drawing, mut due, mut shown) = (Duration::ZERO, start, 0);
    while shown < wanted || !frames.idle() {
        // While the server may still read the frame that is drawn next, there is nothing to do but wait for it.
        let free = shown < wanted && frames.ready();
        let event = if free { connection.poll_for_event()? } else { Some(connection.wait_for_event()?) };
        match event {
            Some(Event::ShmCompletion(event)) => frames.completed(&event),
            Some(Event::ConfigureNotify(event)) if (event.width, event.height) != frames.size() => {
                frames = Frames::new(connection, backends, (event.width, event.height))?;
            }
            Some(Event::ClientMessage(event)) if event.data.as_data32()[0] == canvas.delete => break,
            Some(Event::DestroyNotify(_)) => break,
            Some(Event::Error(error)) => return Err(format!("the server reports {error:?}").into()),
            Some(_) => {}
            None => {
                let before = Instant::now();
                frames.show(canvas, |y, row| plasma.row(shown, y, row))?;
                drawing += before.elapsed();
                shown += 1;
                due += FRAME_TIME;
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
    }
    let (time, each) = (start.elapsed(), drawing.div_f64(shown.max(1) as f64));
    println!("x11_shm: {shown} frames in {time:.1?}, {each:.1?} to draw one");
    Ok(())
}
