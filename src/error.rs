//! What can go wrong: [`Error`], [`ErrorKind`], [`Result`].

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::io;

use nix::errno::Errno;

use crate::name::RegionId;

/// A result whose error is this crate's [`Error`] unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause of an [`Error`], the same on every backend.
///
/// | kind | causes | [`io::ErrorKind`] |
/// |---|---|---|
/// | `InvalidName`, `InvalidSize`, `InvalidOptions`, `OutOfBounds`, `Misaligned` | found before a system call, or a size that cannot be mapped | `InvalidInput` |
/// | `NotFound` | ENOENT; EINVAL or EIDRM on an id that has gone | `NotFound` |
/// | `AlreadyExists` | EEXIST, also behind a failed reservation | `AlreadyExists` |
/// | `PermissionDenied`, `ReadOnly` | EACCES, EPERM; writing to a read-only region | `PermissionDenied` |
/// | `SizeMismatch` | smaller than `min_size` or than asked | `InvalidInput` |
/// | `NoSpace` | tmpfs bytes or inodes, SHMALL, memory, a quota, a container's memory limit | `StorageFull`; `OutOfMemory` for ENOMEM, `QuotaExceeded` for EDQUOT |
/// | `LimitExceeded` | SHMMAX, SHMMNI, NOFILE, FSIZE, AS, MEMLOCK, mappings | `QuotaExceeded`; `FileTooLarge` for EFBIG |
/// | `NotReady`, `Busy` | size 0 past the deadline; a grower's lock, a lease (EAGAIN) or an attach count past the deadline; retries used up | `TimedOut` |
/// | `Deadlock` | waiting for what the caller itself holds | `Deadlock` |
/// | `LayoutMismatch` | the bytes are laid out by another version or another program | `InvalidData` |
/// | `NotSharedMemory` | a link, FIFO, directory, device or socket under the name | `InvalidData` |
/// | `AddressInUse` | the fixed address is occupied | `AddrInUse` |
/// | `Unsupported`, `BackendUnavailable` | the backend lacks the capability; this machine lacks the facility | `Unsupported` |
/// | `Unexpected` | an errno that no clause of the contract foresees; it is kept | that of the errno |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A name breaks the grammar.
    InvalidName,
    /// A size is 0, or more than can be mapped.
    InvalidSize,
    /// Options contradict each other or the system.
    InvalidOptions,
    /// An access reaches past the region's end.
    OutOfBounds {
        /// Where the access starts, in bytes from the region's start.
        offset: usize,
        /// How many bytes it spans.
        len: usize,
        /// How many bytes the region has.
        region_len: usize,
    },
    /// A typed reference is not aligned as its type asks.
    Misaligned,
    /// No object has this name, key or id.
    NotFound,
    /// The name or key is taken.
    AlreadyExists,
    /// The caller may not do this to that object.
    PermissionDenied,
    /// The region was opened read-only.
    ReadOnly,
    /// The object is smaller than the caller needs.
    SizeMismatch {
        /// The object's size in bytes.
        have: usize,
        /// The size that was asked for, in bytes.
        want: usize,
    },
    /// The store or the memory is full, or has no room for this user or container.
    NoSpace,
    /// A limit of the process or the system was hit.
    LimitExceeded {
        /// The limit's usual name, such as `RLIMIT_NOFILE` or `kernel.shmmax`.
        limit: &'static str,
        /// Its current value, in the limit's own unit.
        value: u64,
    },
    /// The object has no size yet; its creator may be at work, or dead.
    NotReady,
    /// Others were in the way until the deadline.
    Busy,
    /// The caller waits for what only the caller can end.
    Deadlock,
    /// The bytes are laid out otherwise than the caller expects.
    LayoutMismatch {
        /// The version that the region has.
        have: u32,
        /// The version that the caller expects.
        want: u32,
    },
    /// What stands under the name is no shared memory.
    NotSharedMemory,
    /// Another mapping occupies the fixed address.
    AddressInUse,
    /// This backend cannot do that.
    Unsupported,
    /// This machine, namespace or sandbox does not offer the backend.
    BackendUnavailable,
    /// The system gave an errno that no clause of the contract foresees.
    Unexpected,
}

impl ErrorKind {
    /// What is wrong and what to do, where the place of the error knows nothing better.
    fn default_reason(self) -> Cow<'static, str> {
        match self {
            Self::InvalidName => "the name is invalid".into(),
            Self::InvalidSize => "the size is invalid".into(),
            Self::InvalidOptions => "the options are invalid".into(),
            Self::OutOfBounds { offset, len, region_len } => {
                format!("{len} bytes at offset {offset} reach past the end: the region has {region_len} bytes").into()
            }
            Self::Misaligned => "the offset is not a multiple of the type's alignment: copy instead, or move it".into(),
            Self::NotFound => "nothing has that name, key or id: create it first, or wait for it".into(),
            Self::AlreadyExists => "it exists already: open it, or choose another name".into(),
            Self::PermissionDenied => "permission denied: run as another user, or ask root".into(),
            Self::ReadOnly => "it is mapped read-only: open it for writing, or adopt a writable descriptor".into(),
            Self::SizeMismatch { have, want } => {
                format!(
                    "it has {have} bytes, and {want} are needed: grow it, ask for less, or have open_or_create replace it (CreateOptions::replace)"
                )
                .into()
            }
            Self::NoSpace => "there is not enough memory or address space: free some, or ask for less".into(),
            Self::LimitExceeded { limit, value } => {
                format!("the limit {limit} is {value}: raise it, or ask for less").into()
            }
            Self::NotReady => {
                "its size is 0: its creator is at work, or died: wait longer (timeout), or call remove_if_unused".into()
            }
            Self::Busy => "others kept it busy, by a lock or a lease: try again".into(),
            Self::Deadlock => "this thread holds it already: release it first".into(),
            Self::LayoutMismatch { have, want } => {
                format!("its layout is of version {have}, and this program's of version {want}: run the same one")
                    .into()
            }
            Self::NotSharedMemory => "what stands there is no shared memory: remove it by other means".into(),
            Self::AddressInUse => "another mapping is at that address: choose another or none".into(),
            Self::Unsupported => "the backend cannot do that".into(),
            Self::BackendUnavailable => "the facility is not available here".into(),
            Self::Unexpected => "the system refused".into(),
        }
    }
}

/// Why a call failed: which operation, on what, why, and what to do about it.
///
/// Its text is one line, and names the errno at its end where the system gave one:
///
/// ```text
/// cannot create POSIX region "/frames": 268435456 bytes do not fit into /dev/shm (67108864 free): enlarge it or ask for less (ENOSPC)
/// ```
///
/// Match on [`kind`](Self::kind); the set of kinds can grow. Converting into [`io::Error`] keeps the matching
/// [`io::ErrorKind`], and this error inside, where [`raw_os_error`](Self::raw_os_error) is found by a downcast.
///
/// Backends of one's own make errors by [`new`](Self::new) and the setters that follow it.
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    operation: Cow<'static, str>,
    backend: Option<Cow<'static, str>>,
    subject: Option<String>,
    reason: Option<Cow<'static, str>>,
    errno: Option<i32>,
}

impl Error {
    /// Makes an error that tells its kind alone.
    #[cold]
    pub fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner { kind, operation: "use".into(), backend: None, subject: None, reason: None, errno: None }))
    }

    /// Says what was tried, as a verb: `create`, `open`.
    pub fn operation(mut self, verb: impl Into<Cow<'static, str>>) -> Self {
        self.0.operation = verb.into();
        self
    }

    /// Says which backend was at work, by its [`name`](crate::Backend::name).
    pub fn backend(mut self, backend: impl Into<Cow<'static, str>>) -> Self {
        self.0.backend = Some(backend.into());
        self
    }

    /// Says what it was tried on. Printed as it is: quote and escape what a stranger may have chosen.
    pub fn subject(mut self, subject: impl fmt::Display) -> Self {
        self.0.subject = Some(subject.to_string());
        self
    }

    /// Says which region it was tried on, and so which backend. If another backend was named before, the text gives the
    /// whole identity.
    pub fn region(mut self, id: &RegionId) -> Self {
        let mut subject = String::from("\"");
        // With its backend, where another one was at work.
        let _ = match self.0.backend.as_deref() {
            Some(backend) if backend != id.backend() => write!(subject, "{id}"),
            // A number alone is not what one could type.
            _ if matches!(id, RegionId::Key(_) | RegionId::Segment(_)) => write!(subject, "{id}"),
            _ => id.write_local(&mut subject),
        };
        subject.push('"');
        if let RegionId::Named { backend, name } = id {
            if backend == "sysv" {
                subject = format!("{subject} (key {:#x})", name.key() as u32);
            }
        }
        self.0.backend.get_or_insert_with(|| id.backend().to_owned().into());
        self.subject(subject)
    }

    /// Says all three at once: what was tried, by which backend, on which region; `None` for one without a name. What
    /// was said before is replaced, so a backend can do this in one place, on its calls' way out.
    pub fn context(
        self,
        operation: impl Into<Cow<'static, str>>,
        backend: impl Into<Cow<'static, str>>,
        id: Option<&RegionId>,
    ) -> Self {
        let error = self.operation(operation).backend(backend);
        match id {
            Some(id) => error.region(id),
            None => error.subject("without a name"),
        }
    }

    /// Says why, and what to do, in place of the kind's general words.
    pub fn reason(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.0.reason = Some(reason.into());
        self
    }

    /// Keeps the errno of the system call that failed.
    pub fn errno(mut self, errno: i32) -> Self {
        self.0.errno = Some(errno);
        self
    }

    /// Returns the cause, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the errno of the system call that failed, where one did.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.0.errno
    }

    /// Returns what was tried, as a verb.
    pub fn get_operation(&self) -> &str {
        &self.0.operation
    }

    /// Returns the name of the backend that was at work, where one was.
    pub fn get_backend(&self) -> Option<&str> {
        self.0.backend.as_deref()
    }

    /// Returns the text that names what it was tried on, where there was something.
    pub fn get_subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    fn io_kind(&self) -> io::ErrorKind {
        let errno = self.0.errno.map(Errno::from_raw);
        match self.0.kind {
            ErrorKind::InvalidName
            | ErrorKind::InvalidSize
            | ErrorKind::InvalidOptions
            | ErrorKind::OutOfBounds { .. }
            | ErrorKind::Misaligned
            | ErrorKind::SizeMismatch { .. } => io::ErrorKind::InvalidInput,
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::AlreadyExists => io::ErrorKind::AlreadyExists,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnly => io::ErrorKind::PermissionDenied,
            ErrorKind::NoSpace if errno == Some(Errno::ENOMEM) => io::ErrorKind::OutOfMemory,
            ErrorKind::NoSpace if errno == Some(Errno::EDQUOT) => io::ErrorKind::QuotaExceeded,
            ErrorKind::NoSpace => io::ErrorKind::StorageFull,
            ErrorKind::LimitExceeded { .. } if errno == Some(Errno::EFBIG) => io::ErrorKind::FileTooLarge,
            ErrorKind::LimitExceeded { .. } => io::ErrorKind::QuotaExceeded,
            ErrorKind::NotReady | ErrorKind::Busy => io::ErrorKind::TimedOut,
            ErrorKind::Deadlock => io::ErrorKind::Deadlock,
            ErrorKind::LayoutMismatch { .. } | ErrorKind::NotSharedMemory => io::ErrorKind::InvalidData,
            ErrorKind::AddressInUse => io::ErrorKind::AddrInUse,
            ErrorKind::Unsupported | ErrorKind::BackendUnavailable => io::ErrorKind::Unsupported,
            ErrorKind::Unexpected => {
                self.0.errno.map_or(io::ErrorKind::Other, |errno| io::Error::from_raw_os_error(errno).kind())
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        write!(f, "cannot {}", inner.operation)?;
        match inner.backend.as_deref() {
            Some("posix") => f.write_str(" POSIX region")?,
            Some("sysv") => f.write_str(" System V region")?,
            Some(other) => write!(f, " {other} region")?,
            None => {}
        }
        if let Some(subject) = &inner.subject {
            write!(f, " {subject}")?;
        }
        match &inner.reason {
            Some(reason) => write!(f, ": {reason}")?,
            None => write!(f, ": {}", inner.kind.default_reason())?,
        }
        match inner.errno.map(Errno::from_raw) {
            Some(errno) => write!(f, " ({errno:?})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.0.kind)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(error.io_kind(), error)
    }
}
