//! Two frames that the X server reads by turns, in shared memory if it can be had.

use shared_region::{AnyBackend, Backend, CreateOptions, Removal, SharedRegion, SharedRegionExt};
use x11rb::connection::Connection;
use x11rb::errors::ReplyError;
use x11rb::protocol::shm::{self, CompletionEvent, ConnectionExt as _, Seg};
use x11rb::protocol::xproto::{ConnectionExt as _, ImageFormat, ImageOrder};

use super::{Canvas, Outcome};

/// Where the pixels of both frames are, one frame behind the other.
enum Memory {
    /// In a region that the server has attached. It reads from there.
    Shared(Box<dyn SharedRegion>, Seg),
    /// Here alone. They are sent over the connection.
    Private(Vec<u8>),
}

/// Two frames of a window: one is drawn while the server may still read the other.
pub(crate) struct Frames<'c, C: Connection> {
    connection: &'c C,
    memory: Memory,
    /// In pixels; one has 4 bytes.
    size: (u16, u16),
    /// Which of the two the server may be reading.
    busy: [bool; 2],
    /// Which of the two is drawn next.
    next: usize,
}

/// Has the server attach a region, and waits for its answer: by the descriptor, where there is one, else by the id of the
/// System V segment.
pub(crate) fn attach(connection: &impl Connection, region: &impl SharedRegion) -> Outcome<Seg> {
    let segment = connection.generate_id()?;
    let before = region.metadata()?;
    let asked = match region.descriptor() {
        Ok(descriptor) => connection.shm_attach_fd(segment, descriptor.try_clone_to_owned()?, true)?,
        Err(_) => {
            let shmid = before.native_id().ok_or("the region has neither descriptor nor id")?;
            connection.shm_attach(segment, shmid.try_into()?, true)?
        }
    };
    asked.check().map_err(|error| match error {
        ReplyError::X11Error(error) => format!("the server refuses it: Bad{:?}", error.error_kind),
        error => error.to_string(),
    })?;
    // Ids mean something in one IPC namespace only. In another, or on another host, that one may be a stranger's.
    if before.attach_count().is_some() && before.attach_count() == region.metadata()?.attach_count() {
        connection.shm_detach(segment)?;
        return Err("the server sees other segments than this program, and has attached one of the same id".into());
    }
    Ok(segment)
}

/// Makes a region that the server has attached and that nobody can find: it goes with its last user, killed or not.
pub(crate) fn shared<B: Backend>(connection: &impl Connection, backend: &B, len: usize) -> Outcome<(B::Region, Seg)> {
    let options = CreateOptions::new(len);
    if backend.capabilities().attach_after_remove() {
        let region = backend.create_unnamed(&options)?;
        let segment = attach(connection, &region)?;
        return Ok((region, segment));
    }
    // Here a segment that was removed cannot be attached any more, so the server comes first.
    let region = backend.create_unique("x11-", &options.removal(Removal::OnDrop))?;
    let segment = attach(connection, &region)?;
    region.remove()?;
    Ok((region, segment))
}

impl<'c, C: Connection> Frames<'c, C> {
    /// Makes two frames of the first kind of memory that works: of each backend in turn, else of private memory.
    pub(crate) fn new(connection: &'c C, backends: &[AnyBackend], size: (u16, u16)) -> Outcome<Self> {
        let len = 2 * usize::from(size.0) * usize::from(size.1) * 4;
        let tried = backends.iter().find_map(|backend| {
            let shared = shared(connection, backend, len);
            shared.map_err(|error| eprintln!("x11_shm: not by {backend}: {error}")).ok()
        });
        let memory = match tried {
            Some((region, segment)) => Memory::Shared(region, segment),
            None => {
                let mut bytes = Vec::new();
                bytes.try_reserve_exact(len)?;
                bytes.resize(len, 0);
                Memory::Private(bytes)
            }
        };
        Ok(Self { connection, memory, size, busy: [false; 2], next: 0 })
    }

    /// Says how the server gets the pixels.
    pub(crate) fn way(&self) -> &'static str {
        match &self.memory {
            Memory::Shared(region, _) => region.backend(),
            Memory::Private(_) => "connection",
        }
    }

    pub(crate) fn size(&self) -> (u16, u16) {
        self.size
    }

    /// Says whether the frame that is drawn next can be written: the server is done with it.
    pub(crate) fn ready(&self) -> bool {
        !self.busy[self.next]
    }

    /// Says whether the server is done with both.
    pub(crate) fn idle(&self) -> bool {
        self.busy == [false; 2]
    }

    /// Learns that the server has read a frame.
    pub(crate) fn completed(&mut self, event: &CompletionEvent) {
        match self.memory {
            // Of another segment: of frames before these, in another size.
            Memory::Shared(_, segment) if segment == event.shmseg => {
                self.busy[event.offset as usize / self.frame_len()] = false;
            }
            _ => {}
        }
    }

    /// Draws the next frame, row by row, and has the server show it. It must be `ready`.
    pub(crate) fn show(&mut self, canvas: &Canvas, mut draw_row: impl FnMut(usize, &mut [u32])) -> Outcome<()> {
        let Canvas { window, gc, depth, .. } = *canvas;
        let (width, height) = self.size;
        let stride = usize::from(width) * 4;
        let start = self.next * self.frame_len();
        let (mut row, mut bytes) = (vec![0; usize::from(width)], vec![0; stride]);
        let to_bytes = match self.connection.setup().image_byte_order {
            ImageOrder::LSB_FIRST => u32::to_le_bytes,
            _ => u32::to_be_bytes,
        };
        for y in 0..usize::from(height) {
            draw_row(y, &mut row);
            for (bytes, pixel) in bytes.chunks_exact_mut(4).zip(&row) {
                bytes.copy_from_slice(&to_bytes(*pixel));
            }
            let at = start + y * stride;
            match &mut self.memory {
                Memory::Shared(region, _) => region.write_at(at, &bytes)?,
                Memory::Private(memory) => memory[at..at + stride].copy_from_slice(&bytes),
            }
        }
        match &self.memory {
            Memory::Shared(_, segment) => {
                self.connection.send_trait_request_without_reply(shm::PutImageRequest {
                    drawable: window,
                    gc,
                    total_width: width,
                    total_height: height,
                    src_x: 0,
                    src_y: 0,
                    src_width: width,
                    src_height: height,
                    dst_x: 0,
                    dst_y: 0,
                    depth,
                    format: ImageFormat::Z_PIXMAP.into(),
                    send_event: true, // once it has read the frame, which until then is not written to
                    shmseg: *segment,
                    offset: start.try_into()?,
                })?;
                self.busy[self.next] = true;
            }
            Memory::Private(memory) => {
                // As many rows at once as a request can hold beside its head.
                let rows = ((self.connection.maximum_request_bytes() - 64) / stride).max(1);
                let frame = &memory[start..start + self.frame_len()];
                for (index, band) in frame.chunks(rows * stride).enumerate() {
                    let (y, height) = ((index * rows).try_into()?, (band.len() / stride) as u16);
                    let format = ImageFormat::Z_PIXMAP;
                    self.connection.put_image(format, window, gc, width, height, 0, y, 0, depth, band)?;
                }
            }
        }
        self.connection.flush()?;
        self.next = 1 - self.next;
        Ok(())
    }

    fn frame_len(&self) -> usize {
        usize::from(self.size.0) * usize::from(self.size.1) * 4
    }
}

impl<C: Connection> Drop for Frames<'_, C> {
    fn drop(&mut self) {
        // Requests are served in order, so the server shows what it was asked to before it lets go.
        if let Memory::Shared(_, segment) = self.memory {
            let _ = self.connection.shm_detach(segment);
        }
    }
}
