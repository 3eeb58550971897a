//! The server: a map from names to descriptors.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::Metadata as Stat;
use std::io;
use std::ops::Bound;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, SealFlags, fcntl_get_seals, fcntl_getfl, open};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{SocketFlags, UCred, accept_with, bind, listen};
use shared_region::RegionName;

use crate::wire::{self, Identity, PATIENCE, Page, Request};

/// How many callers may wait for their turn.
const BACKLOG: i32 = 128;

/// Serves the names of one socket.
#[derive(Debug)]
pub struct Server {
    socket: OwnedFd,
    names: Names,
}

impl Server {
    /// Listens at `address`: a path, or a name of Linux' own after an `@`. Who may connect is told by the mode of the file at
    /// the path and of its directories.
    ///
    /// # Errors
    ///
    /// Those of `bind`: another server is there (`EADDRINUSE`; a file that one left behind has to be removed), the directory is
    /// missing or not the caller's.
    pub fn bind(address: impl AsRef<Path>) -> io::Result<Self> {
        let socket = wire::new_socket(SocketFlags::NONBLOCK)?;
        bind(&socket, &wire::address(address.as_ref())?)?;
        listen(&socket, BACKLOG)?;
        Ok(Self { socket, names: Names::default() })
    }

    /// Serves until the process ends.
    ///
    /// One thread does, in the order in which callers came: whatever a caller has asked is done before the question of
    /// anybody who comes later, also if it was killed meanwhile. It waits for none of them.
    pub fn serve(mut self) -> ! {
        let mut callers: Vec<(OwnedFd, Instant)> = Vec::new();
        loop {
            wait_for(&self.socket, &callers);
            loop {
                match accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                    Ok(caller) => callers.push((caller, Instant::now())),
                    Err(Errno::AGAIN) => break,
                    Err(Errno::INTR | Errno::CONNABORTED) => {}
                    // No descriptor is left: some come back as callers end.
                    Err(_) => {
                        thread::sleep(Duration::from_millis(1));
                        break;
                    }
                }
            }
            callers.retain(|(caller, since)| match wire::receive(caller) {
                Err(Errno::AGAIN) => since.elapsed() < PATIENCE,
                Ok((bytes, descriptors)) => {
                    // Who went away, or says what no client says, gets no answer.
                    let _ = self.names.answer(caller, &bytes, descriptors);
                    false
                }
                Err(_) => false,
            });
        }
    }
}

/// Waits until somebody comes or speaks, but no longer than a second.
fn wait_for(socket: &OwnedFd, callers: &[(OwnedFd, Instant)]) {
    let all = std::iter::once(socket).chain(callers.iter().map(|(caller, _)| caller));
    let mut all: Vec<_> = all.map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
    let second = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
    // If it fails, callers are looked at the earlier.
    let _ = poll(&mut all, Some(&second));
}

/// An object that has a name.
#[derive(Debug)]
struct Object {
    both: OwnedFd,
    reader: OwnedFd,
}

#[derive(Debug, Default)]
struct Names(BTreeMap<RegionName, Object>);

impl Names {
    fn answer(&mut self, caller: &OwnedFd, bytes: &[u8], descriptors: Vec<OwnedFd>) -> rustix::io::Result<()> {
        let request = Request::from_bytes(bytes).ok_or(Errno::PROTO)?;
        let (code, descriptor) = match self.serve(request, descriptors, socket_peercred(caller)?) {
            Ok(descriptor) => (0, descriptor),
            Err(errno) => (errno.raw_os_error(), None),
        };
        let page = match request {
            Request::List { after } => Page(self.after(after)),
            _ => Page::default(),
        };
        let descriptors = descriptor.as_ref().map(AsFd::as_fd);
        wire::send(caller, &page.to_bytes(code), descriptors.as_slice())
    }

    fn after(&self, name: Option<RegionName>) -> Vec<RegionName> {
        let start = name.map_or(Bound::Unbounded, Bound::Excluded);
        self.0.range((start, Bound::Unbounded)).take(Page::LEN).map(|(name, _)| *name).collect()
    }

    fn find(&self, name: RegionName) -> rustix::io::Result<&Object> {
        self.0.get(&name).ok_or(Errno::NOENT)
    }

    fn serve(
        &mut self,
        request: Request,
        descriptors: Vec<OwnedFd>,
        who: UCred,
    ) -> rustix::io::Result<Option<OwnedFd>> {
        match request {
            Request::Look { name } => {
                let path = format!("/proc/self/fd/{}", self.find(name)?.both.as_raw_fd());
                open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map(Some)
            }
            Request::Open { name, write } => {
                let object = self.find(name)?;
                if !may_open(&wire::stat(&object.both)?, who, write) {
                    return Err(Errno::ACCESS);
                }
                let descriptor = if write { &object.both } else { &object.reader };
                descriptor.try_clone().map(Some).map_err(|error| wire::errno(&error))
            }
            Request::Publish { name } => {
                let [both, reader] = <[_; 2]>::try_from(descriptors).map_err(|_| Errno::INVAL)?;
                if !is_sound(&both, &reader)? {
                    return Err(Errno::INVAL);
                }
                match self.0.entry(name) {
                    Entry::Occupied(_) => Err(Errno::EXIST),
                    Entry::Vacant(entry) => {
                        entry.insert(Object { both, reader });
                        Ok(None)
                    }
                }
            }
            Request::Remove { name, only } => {
                let stat = wire::stat(&self.find(name)?.both)?;
                if only.is_some_and(|only| only != Identity::of(&stat)) {
                    return Err(Errno::NOENT);
                }
                if !who.uid.is_root() && who.uid.as_raw() != stat.uid() {
                    return Err(Errno::PERM);
                }
                self.0.remove(&name);
                Ok(None)
            }
            Request::List { .. } => Ok(None),
        }
    }
}

/// Whether a caller's user and first group may open an object of such an owner and mode.
fn may_open(stat: &Stat, who: UCred, write: bool) -> bool {
    let wanted = if write { 0o6 } else { 0o4 };
    let granted = match () {
        () if who.uid.is_root() => return true,
        () if who.uid.as_raw() == stat.uid() => stat.mode() >> 6,
        () if who.gid.as_raw() == stat.gid() => stat.mode() >> 3,
        () => stat.mode(),
    };
    granted & wanted == wanted
}

/// Whether these two are one object that nobody can shrink or seal further, and whose readers cannot change it.
fn is_sound(both: &OwnedFd, reader: &OwnedFd) -> rustix::io::Result<bool> {
    let sealed = fcntl_get_seals(both)?.contains(SealFlags::SHRINK | SealFlags::SEAL);
    let same = Identity::of(&wire::stat(both)?) == Identity::of(&wire::stat(reader)?);
    let modes = [both, reader].map(|descriptor| fcntl_getfl(descriptor).map(|flags| flags & OFlags::ACCMODE));
    Ok(sealed && same && modes == [Ok(OFlags::RDWR), Ok(OFlags::RDONLY)])
}
