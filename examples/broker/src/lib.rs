//! Named regions for programs that have no store of names in common: a server on a Unix socket keeps the names, and hands out
//! descriptors of memfds, behind the contract of [`shared_region`]. Sandboxed programs share so: all that they need of the
//! outside is the socket.
//!
//! ```
//! use shared_region::{Backend, CreateOptions, OpenOptions, RegionName, SharedRegion, SharedRegionExt};
//! use shared_region_broker::{Broker, Server};
//!
//! # let socket = std::env::temp_dir().join(format!("broker-{}", std::process::id()));
//! let server = Server::bind(&socket)?; // in a process of its own, usually: `shared-region-broker PATH`
//! std::thread::spawn(move || server.serve());
//!
//! let broker = Broker::new(&socket);
//! let name = RegionName::new("/greeting")?;
//! let region = broker.create_new(&name, &CreateOptions::new(4096))?;
//! region.write_at(0, b"hello")?;
//!
//! let reader = broker.open(&name, &OpenOptions::new().read_only(true))?; // any process that reaches the socket
//! let mut bytes = [0; 5];
//! reader.read_at(0, &mut bytes)?;
//! assert_eq!(&bytes, b"hello");
//! region.remove()?;
//! # std::fs::remove_file(&socket)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Who may open an object is told by its owner and mode, as in `/dev/shm`; its owner and root may remove it. The server lets in
//! only what is sealed against shrinking, so that no peer has to trust another. The names go with the server, the regions do
//! not: whoever has one goes on.

mod region;
mod server;
mod wire;

use std::fs::{self, Metadata as Stat, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use shared_region::{
    Access, Backend, Capabilities, CreateOptions, Error, ErrorKind, ListEntry, Metadata, OpenOptions, Posix,
    PosixRegion, RegionId, RegionName, Removal, Result, Seals, SharedRegion,
};

pub use region::BrokerRegion;
pub use server::Server;
use wire::{Answer, Request};

const NAME: &str = "broker";
const PERM: i32 = Errno::PERM.raw_os_error();

/// The names of one server.
#[derive(Clone, Debug)]
pub struct Broker {
    address: PathBuf,
}

impl Broker {
    /// Uses the server at `address`: a path, or a name of Linux' own after an `@`.
    #[must_use]
    pub fn new(address: impl Into<PathBuf>) -> Self {
        Self { address: address.into() }
    }

    /// Asks the server, and says what its refusal means.
    fn ask(&self, request: Request, descriptors: &[BorrowedFd<'_>]) -> Result<Answer> {
        let answer = wire::ask(&self.address, request, descriptors).map_err(|errno| match errno {
            Errno::NOENT | Errno::CONNREFUSED | Errno::CONNRESET => {
                let reason = format!("no server answers at {}: start one there", self.address.display());
                Error::new(ErrorKind::BackendUnavailable).reason(reason).errno(errno.raw_os_error())
            }
            _ => told(errno),
        })?;
        match answer.refusal {
            None => Ok(answer),
            Some(errno @ Errno::NOENT) => Err(Error::new(ErrorKind::NotFound).errno(errno.raw_os_error())),
            Some(errno @ Errno::EXIST) => Err(Error::new(ErrorKind::AlreadyExists).errno(errno.raw_os_error())),
            Some(errno) => Err(told(errno)),
        }
    }

    /// What stands under a name, without opening it: an `O_PATH` descriptor comes.
    fn find(&self, name: &RegionName) -> Result<OwnedFd> {
        self.ask(Request::Look { name: *name }, wire::NONE)?.into_descriptor()
    }

    fn look(&self, name: &RegionName) -> Result<Stat> {
        wire::stat(self.find(name)?).map_err(told)
    }

    /// Makes a memfd that its own creator cannot take away again.
    fn create(options: &CreateOptions) -> Result<PosixRegion> {
        let region = Posix.create_unnamed(&options.clone().removal(Removal::Explicit).keep_descriptor(true))?;
        region.add_seals(Seals::new().with_seal(true)).map_err(|error| {
            // What can be sealed no further is no memfd: there are none here.
            let other = error.kind() == ErrorKind::Unsupported && error.raw_os_error() == Some(PERM);
            let unavailable = Error::new(ErrorKind::BackendUnavailable).errno(Errno::NOSYS.raw_os_error());
            if other { unavailable.reason("it takes memfds, which this kernel or sandbox refuses") } else { error }
        })?;
        Ok(region)
    }

    /// Makes a memfd, and the descriptor that readers get.
    fn create_with_reader(options: &CreateOptions) -> Result<(PosixRegion, OwnedFd)> {
        // A memfd that cannot be executed when it is made can never be given such a mode; and its owner has to be able to
        // read it here, whatever the mode.
        let region = Self::create(&options.clone().mode(0o700))?;
        let path = path_of(&region.descriptor()?);
        let reader = wire::retried(|| open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())).map_err(told)?;
        region.set_mode(options.get_mode())?;
        Ok((region, reader))
    }

    /// Changes what a name stands for, without opening it.
    fn change(&self, id: &RegionId, operation: &'static str, call: impl Fn(&str) -> io::Result<()>) -> Result<()> {
        let changed = id.name_in(NAME).and_then(|name| {
            let object = self.find(name)?;
            wire::retried(|| call(&path_of(&object)).map_err(|error| wire::errno(&error))).map_err(told)
        });
        changed.map_err(|error| error.context(operation, NAME, Some(id)))
    }
}

/// Where a descriptor can be reached by those calls that take a path.
fn path_of(descriptor: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// Says what an errno means that can come of any call.
fn told(errno: Errno) -> Error {
    Error::from_io(&errno.into())
}

impl Backend for Broker {
    type Region = BrokerRegion;

    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Posix
            .capabilities()
            .with_exact_names(true)
            .with_atomic_init(true)
            .with_attach_after_remove(true)
            .with_last_user(false)
    }

    fn probe(&self) -> Result<()> {
        let answered = self.ask(Request::List { after: None }, wire::NONE).and_then(|_| Posix.probe());
        answered.map_err(|error| error.context("use", NAME, None))
    }

    fn create_with<E: From<Error>>(
        &self,
        name: &RegionName,
        options: &CreateOptions,
        init: impl FnOnce(&BrokerRegion) -> Result<(), E>,
    ) -> Result<BrokerRegion, E> {
        let id = RegionId::named(NAME, *name);
        let told = |error: Error| error.context("create", NAME, Some(&id));
        options.validate_for(self.capabilities()).map_err(told)?;
        if self.exists(name).map_err(told)? {
            return Err(told(Error::new(ErrorKind::AlreadyExists).errno(Errno::EXIST.raw_os_error())).into());
        }
        let (region, reader) = Self::create_with_reader(options).map_err(told)?;
        let mut region = BrokerRegion::new(region, Some(id.clone()), self.clone());
        init(&region)?;
        let both = region.descriptor()?;
        self.ask(Request::Publish { name: *name }, &[both, reader.as_fd()]).map_err(told)?;
        region.remove_on_drop(options.get_removal() == Removal::OnDrop);
        Ok(region)
    }

    fn create_unnamed(&self, options: &CreateOptions) -> Result<BrokerRegion> {
        let made = options.validate_for(self.capabilities()).and_then(|()| Self::create(options));
        let made = made.map_err(|error| error.context("create", NAME, None))?;
        Ok(BrokerRegion::new(made, None, self.clone()))
    }

    fn open_id(&self, id: &RegionId, options: &OpenOptions) -> Result<BrokerRegion> {
        let told = |error: Error| error.context("open", NAME, Some(id));
        let name = id.name_in(NAME).map_err(told)?;
        options.validate_for(self.capabilities()).map_err(told)?;
        let write = options.get_access() == Access::ReadWrite;
        let open = || {
            let descriptor = self.ask(Request::Open { name: *name, write }, wire::NONE)?.into_descriptor()?;
            let region = PosixRegion::from_fd(descriptor, options)?;
            if region.access() != options.get_access() {
                let denied = Error::new(ErrorKind::PermissionDenied).errno(PERM);
                return Err(denied.reason("nobody can write it any more (a seal): open it read-only"));
            }
            Ok(BrokerRegion::new(region, Some(id.clone()), self.clone()))
        };
        options.poll(open).map_err(told)
    }

    fn exists(&self, name: &RegionName) -> Result<bool> {
        match self.look(name) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.context("look for", NAME, Some(&RegionId::named(NAME, *name)))),
        }
    }

    fn remove_id(&self, id: &RegionId) -> Result<()> {
        let removed =
            id.name_in(NAME).and_then(|name| self.ask(Request::Remove { name: *name, only: None }, wire::NONE));
        removed.map(drop).map_err(|error| error.context("remove", NAME, Some(id)))
    }

    fn metadata_id(&self, id: &RegionId) -> Result<Metadata> {
        let stat = id.name_in(NAME).and_then(|name| self.look(name));
        stat.map(|stat| named(&stat)).map_err(|error| error.context("look at", NAME, Some(id)))
    }

    fn set_mode_id(&self, id: &RegionId, mode: u32) -> Result<()> {
        const SET: &str = "set the mode of";
        if mode & !0o777 != 0 {
            let invalid =
                Error::new(ErrorKind::InvalidOptions).reason("a mode has permission bits only: at most 0o777");
            return Err(invalid.context(SET, NAME, Some(id)));
        }
        self.change(id, SET, |path| fs::set_permissions(path, Permissions::from_mode(mode)))
    }

    fn set_owner_id(&self, id: &RegionId, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        const SET: &str = "set the owner of";
        if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
            let invalid = Error::new(ErrorKind::InvalidOptions).reason("4294967295 is nobody's id: leave it out");
            return Err(invalid.context(SET, NAME, Some(id)));
        }
        self.change(id, SET, |path| chown(path, uid, gid))
    }

    fn list(&self) -> Result<Vec<ListEntry>> {
        let told = |error: Error| error.operation("list").backend(NAME);
        let (mut entries, mut after) = (Vec::new(), None);
        loop {
            let page = self.ask(Request::List { after }, wire::NONE).map_err(told)?.names;
            let Some(last) = page.last() else { return Ok(entries) };
            after = Some(*last);
            for name in page {
                match self.look(&name) {
                    Ok(stat) => entries.push(ListEntry::new(RegionId::named(NAME, name), named(&stat))),
                    // Removed meanwhile.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(told(error)),
                }
            }
        }
    }
}

/// What is known of a memfd that has a name, of which the system knows nothing.
fn named(stat: &Stat) -> Metadata {
    Metadata::from(stat).with_removed(false)
}
