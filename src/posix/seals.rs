//! What peers may not do to an object: asked, demanded and added.

use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::unistd::geteuid;
use shared_region_posix::{self as leaf, Object};

use super::region::PosixRegion;
use super::unsupported;
use crate::access::SharedRegionExt;
use crate::error::{Error, ErrorKind, Result};
use crate::options::OpenOptions;
use crate::region::{Describe, SharedRegion};
use crate::seals::Seals;

/// What it takes that nobody but the mappings that exist can change the object.
const READ_ONLY: Seals = Seals::new().with_shrink(true).with_grow(true).with_future_write(true).with_seal(true);

fn of_leaf(seals: leaf::Seals) -> Seals {
    Seals::new()
        .with_shrink(seals.shrink())
        .with_grow(seals.grow())
        .with_write(seals.write())
        .with_future_write(seals.future_write())
        .with_seal(seals.seal())
        .with_exec(seals.exec())
}

fn to_leaf(seals: Seals) -> leaf::Seals {
    leaf::Seals::new()
        .with_shrink(seals.shrink())
        .with_grow(seals.grow())
        .with_write(seals.write())
        .with_future_write(seals.future_write())
        .with_seal(seals.seal())
        .with_exec(seals.exec())
}

/// Asks for the seals; a file system that has none gives none.
fn seals_of(object: &Object) -> io::Result<Seals> {
    match object.seals() {
        Err(error) if is(&error, Errno::EINVAL) => Ok(Seals::new()),
        seals => seals.map(of_leaf),
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

/// Refuses an object that lacks a seal which the options demand.
pub(super) fn demand(object: &Object, options: &OpenOptions) -> Result<()> {
    let required = options.get_require_seals();
    if required.is_empty() {
        return Ok(());
    }
    let missing = required.missing_in(seals_of(object).map_err(|error| Error::from_io(&error))?);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::PermissionDenied).reason(format!(
        "it is not sealed as required, {missing} is missing: its creator can seal a memfd so before handing it over"
    )))
}

impl PosixRegion {
    /// Asks which seals the object has: what nobody can do to it any more.
    ///
    /// An object with a name answers `F_SEAL_SEAL` alone: nobody can seal it. Of a region of
    /// [`create_unnamed`](crate::Backend::create_unnamed) the answer has `F_SEAL_SHRINK`.
    ///
    /// # Errors
    ///
    /// - [`Unsupported`](ErrorKind::Unsupported): not Linux; or its descriptor was closed
    ///   ([`keep_descriptor`](OpenOptions::keep_descriptor)).
    ///
    /// # References
    ///
    /// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), `F_GET_SEALS`
    #[doc(alias = "F_GET_SEALS")]
    pub fn seals(&self) -> Result<Seals> {
        const ASK: &str = "ask for the seals of";
        let object = self.object(ASK)?;
        seals_of(object).map_err(|error| self.describe(Error::from_io(&error), ASK))
    }

    /// Forbids what these seals forbid, to everybody, for ever. All of them are added, or none.
    ///
    /// Whoever receives a writable descriptor can add seals too, and so take writing or growing away from its creator. Add
    /// [`seal`](Seals::seal) before handing the region over, and nobody can.
    ///
    /// # Errors
    ///
    /// - [`Unsupported`](ErrorKind::Unsupported): the region was made to take no seals, as all that has a name, or its file
    ///   system has none; the kernel does not know one of these; the descriptor was closed; not Linux.
    /// - [`PermissionDenied`](ErrorKind::PermissionDenied): further seals are forbidden, even such as it has; or the
    ///   descriptor is for reading alone.
    /// - [`Busy`](ErrorKind::Busy): [`write`](Seals::write), and somebody has it mapped for writing, as this very region
    ///   may.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use shared_region::{Backend, CreateOptions, ErrorKind, Posix, Seals};
    ///
    /// let region = Posix.create_unnamed(&CreateOptions::new(4096))?;
    /// region.add_seals(Seals::new().with_seal(true))?;
    ///
    /// let refused = region.add_seals(Seals::new().with_grow(true)).unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    /// # }
    /// # Ok::<(), shared_region::Error>(())
    /// ```
    ///
    /// # References
    ///
    /// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), `F_ADD_SEALS`
    #[doc(alias = "F_ADD_SEALS")]
    pub fn add_seals(&self, seals: Seals) -> Result<()> {
        self.seal(self.object(SEAL)?, seals, SEAL)
    }

    /// Hands the region out for reading alone: seals it against all writing but by the mappings that exist, and returns a
    /// new descriptor without write access, close-on-exec.
    ///
    /// Who receives the descriptor reads what is written later, and can neither write to the object, nor free its pages,
    /// nor change its size: not by opening it anew through `/proc`, and not as the same user or as root. (Whoever may debug
    /// a process that writes can write there.) This region's mapping, and every other writable one that exists, goes on
    /// writing: call it before others have the region, or after they are known.
    ///
    /// It is for ever. The creator cannot make another writable mapping either: [`try_clone`](SharedRegion::try_clone) and
    /// [`grow`](SharedRegion::grow) are [`PermissionDenied`](ErrorKind::PermissionDenied) afterwards, and
    /// [`from_fd`](Self::from_fd) gives a read-only region. Dropping the last writable region ends all writing. The
    /// seals are `F_SEAL_SHRINK`, `F_SEAL_GROW`, `F_SEAL_FUTURE_WRITE` and `F_SEAL_SEAL`; with them in place it can be
    /// called again and again.
    ///
    /// # Errors
    ///
    /// Nothing is sealed on error.
    ///
    /// - [`Unsupported`](ErrorKind::Unsupported): the region has a name, and its mode is what keeps others from writing;
    ///   Linux before 5.1, or not Linux; there is no `/proc`; the descriptor was closed.
    /// - [`PermissionDenied`](ErrorKind::PermissionDenied): further seals were forbidden before, or the descriptor is for
    ///   reading alone; or the object's mode does not let this process open it.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use shared_region::{Access, Backend, CreateOptions, Posix, PosixRegion, SharedRegion, SharedRegionExt};
    ///
    /// let writer = Posix.create_unnamed(&CreateOptions::new(4096))?;
    /// let descriptor = writer.share_read_only()?; // over a socket, usually
    ///
    /// let reader = PosixRegion::try_from(descriptor)?;
    /// assert_eq!(reader.access(), Access::ReadOnly);
    /// writer.write_at(0, b"later")?;
    /// let mut bytes = [0; 5];
    /// reader.read_at(0, &mut bytes)?;
    /// assert_eq!(&bytes, b"later");
    /// # }
    /// # Ok::<(), shared_region::Error>(())
    /// ```
    ///
    /// # References
    ///
    /// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), `F_SEAL_FUTURE_WRITE`
    #[doc(alias = "F_SEAL_FUTURE_WRITE")]
    pub fn share_read_only(&self) -> Result<OwnedFd> {
        let object = self.object(SHARE)?;
        if self.id().is_some() {
            return Err(self.error(ErrorKind::Unsupported, SHARE).reason(
                "what has a name takes no seals: give its readers a mode that lets them read alone, such as 0640",
            ));
        }
        let reader = object.reopen_read_only().map_err(|error| self.describe(Error::from_io(&error), SHARE))?;
        let seals = seals_of(object).map_err(|error| self.describe(Error::from_io(&error), SHARE))?;
        let missing = READ_ONLY.missing_in(seals);
        if !missing.is_empty() {
            self.seal(object, missing, SHARE)?;
        }
        Ok(reader.into())
    }

    fn seal(&self, object: &Object, seals: Seals, operation: &'static str) -> Result<()> {
        let error = match object.add_seals(to_leaf(seals)) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let (kind, reason) = match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM) if seals_of(object).is_ok_and(|seals| seals == Seals::new().with_seal(true)) => (
                ErrorKind::Unsupported,
                "it was made to take no seals, as all that has a name: use a region of create_unnamed",
            ),
            Some(Errno::EPERM) if !object.is_writable() => {
                (ErrorKind::PermissionDenied, "its descriptor is for reading alone, and sealing takes one for writing")
            }
            Some(Errno::EPERM) => (
                ErrorKind::PermissionDenied,
                "further seals are forbidden (F_SEAL_SEAL): its creator can choose others for a new one",
            ),
            Some(Errno::EBUSY) => (
                ErrorKind::Busy,
                "it is mapped for writing, perhaps by this very region: drop those, or forbid future_write alone",
            ),
            Some(Errno::EINVAL) => {
                (ErrorKind::Unsupported, "its file system has no seals, or this kernel does not know one of these")
            }
            _ if unsupported(&error) => (ErrorKind::Unsupported, "this system has no seals"),
            _ => return Err(self.describe(Error::from_io(&error), operation)),
        };
        let told = self.error(kind, operation).reason(reason);
        Err(match error.raw_os_error() {
            Some(errno) => told.errno(errno),
            None => told,
        })
    }

    /// Says so where a seal, and nobody's lack of permission, made a call fail.
    pub(super) fn refused_by_seal(&self, error: &io::Error, operation: &'static str) -> Option<Error> {
        if !is(error, Errno::EPERM) {
            return None;
        }
        let object = self.object.get()?;
        let all = seals_of(object).ok()?;
        let writing = Seals::new().with_write(all.write()).with_future_write(all.future_write());
        let refusing = match operation {
            "grow" => writing.with_grow(all.grow()),
            "clone" | "refresh" => writing,
            // To others the mode says no before any seal does.
            "set the mode of" => {
                let own = object.stat().is_ok_and(|stat| geteuid().is_root() || stat.uid() == geteuid().as_raw());
                Seals::new().with_exec(all.exec() && own)
            }
            _ => Seals::new(),
        };
        (!refusing.is_empty()).then(|| {
            let reason = format!("it has been sealed against that for good ({refusing}): create another");
            Error::new(ErrorKind::PermissionDenied).reason(reason).errno(Errno::EPERM as i32)
        })
    }
}

const SEAL: &str = "seal";
const SHARE: &str = "share for reading";
