//! Names and identities: [`RegionName`], [`PosixName`], [`RegionId`].

use std::borrow::Cow;
use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// A name that every backend accepts.
///
/// The grammar is the same everywhere and checked before any system call: one optional leading `/`, then 1 to 30
/// bytes of `A-Z a-z 0-9 . _ -`; not `.` or `..`, and not starting with `sem.`, where glibc keeps named semaphores.
/// `frames` and `/frames` are the same name.
///
/// # Platform-specific behavior
///
/// - **POSIX** uses the name as it is. The limit of 30 bytes is what macOS grants.
/// - **System V** has keys of 32 bits and no names: [`key`](Self::key) hashes the name. Two names, or a name and the key
///   of another program, can meet. `create_new` then says [`AlreadyExists`](ErrorKind::AlreadyExists), and `open` opens
///   the other object: this cannot be told apart from the outside.
///
/// # Collisions on System V
///
/// Among *n* names about *n*²/2³³ pairs share a key: with 100 names one chance in 860,000, with 10,000 names one in 86.
/// Where that matters, keep strangers out with [`OpenOptions::expect_owner`](crate::OpenOptions::expect_owner) and
/// [`min_size`](crate::OpenOptions::min_size), and begin the region with a magic number of your own.
/// [`Capabilities::exact_names`](crate::Capabilities::exact_names) says whether a backend can mistake names at all.
///
/// # Examples
///
/// ```
/// use shared_region::RegionName;
///
/// let name = RegionName::new("/frames")?;
/// assert_eq!(name, RegionName::new("frames")?);
/// assert_eq!(name.to_string(), "/frames");
/// assert!(RegionName::new("/a/b").is_err());
/// # Ok::<(), shared_region::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionName {
    /// `/`, the name, and zeros to the end: a C string whatever the length.
    bytes: [u8; Self::MAX_LEN + 2],
    len: u8,
}

impl RegionName {
    /// The most bytes that a name has, without its slash.
    pub const MAX_LEN: usize = 30;

    /// Checks `name` against the grammar.
    ///
    /// # Errors
    ///
    /// - [`InvalidName`](ErrorKind::InvalidName): the message says which rule broke.
    pub fn new(name: &str) -> Result<Self> {
        let bare = name.strip_prefix('/').unwrap_or(name);
        let broken = |rule: &str| {
            Err(Error::new(ErrorKind::InvalidName)
                .operation("name a region")
                .subject(format_args!("{name:?}"))
                .reason(rule.to_owned()))
        };
        if bare.is_empty() {
            return broken("it is empty: give 1 to 30 characters of A-Z a-z 0-9 . _ -");
        }
        if bare == "." || bare == ".." {
            return broken("`.` and `..` are directories: choose another name");
        }
        if bare.starts_with("sem.") {
            return broken("names that start with `sem.` are semaphores in glibc: choose another prefix");
        }
        if bare.contains('/') {
            return broken("a slash may stand at the start only: replace the others");
        }
        if let Some(bad) = bare.chars().find(|c| !(c.is_ascii() && is_portable(*c as u8))) {
            return broken(&format!("{bad:?} is not portable: use A-Z a-z 0-9 . _ - only"));
        }
        if bare.len() > Self::MAX_LEN {
            return broken(&format!("it is {} bytes long: at most 30 are portable", bare.len()));
        }
        let mut bytes = [0; Self::MAX_LEN + 2];
        bytes[0] = b'/';
        bytes[1..=bare.len()].copy_from_slice(bare.as_bytes());
        Ok(Self { bytes, len: bare.len() as u8 })
    }

    /// Returns the name without its slash.
    pub fn as_str(&self) -> &str {
        // The constructor let ASCII in only, so this is always the name.
        std::str::from_utf8(&self.bytes[1..=usize::from(self.len)]).unwrap_or_default()
    }

    /// Returns the name with its slash, as `shm_open` takes it.
    pub fn as_c_str(&self) -> &CStr {
        // SAFETY: a slash and `len` bytes that the constructor let in, none of them NUL, and one byte that it left zero.
        unsafe { CStr::from_bytes_with_nul_unchecked(&self.bytes[..usize::from(self.len) + 2]) }
    }

    /// Returns the System V key that stands for this name.
    ///
    /// The rule is part of the crate's promise and will not change: 32-bit FNV-1a over the bytes of the name without
    /// its slash (start at `0x811c9dc5`; for each byte, exclusive-or it in and multiply by `0x01000193`, modulo 2³²).
    /// The two results that are no keys, `0` (`IPC_PRIVATE`) and `0xffffffff` (−1, C's error value), become
    /// `0x9e3779b9` and `0x7f4a7c15`.
    ///
    /// | name | key |
    /// |---|---|
    /// | `a` | `0xe40c292c` |
    /// | `frames` | `0x7b71324f` |
    /// | `shared-region` | `0x18cf7753` |
    /// | `akhnp9x`, whose hash is 0 | `0x9e3779b9` |
    /// | `kdmw2hi`, whose hash is −1 | `0x7f4a7c15` |
    ///
    /// # Examples
    ///
    /// ```
    /// # use shared_region::RegionName;
    /// assert_eq!(RegionName::new("/a")?.key() as u32, 0xe40c_292c);
    /// # Ok::<(), shared_region::Error>(())
    /// ```
    ///
    /// # References
    ///
    /// [RFC 9923: the FNV hash](https://www.rfc-editor.org/rfc/rfc9923)
    pub fn key(&self) -> i32 {
        let hash = self.bytes[1..=usize::from(self.len)]
            .iter()
            .fold(0x811c_9dc5_u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let key = match hash {
            0 => 0x9e37_79b9,
            u32::MAX => 0x7f4a_7c15,
            key => key,
        };
        key as i32
    }
}

fn is_portable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

impl fmt::Display for RegionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.as_str())
    }
}

impl fmt::Debug for RegionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegionName({self})")
    }
}

impl FromStr for RegionName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

impl TryFrom<&str> for RegionName {
    type Error = Error;

    fn try_from(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

/// A name that only POSIX accepts: whatever `shm_open` takes, up to 255 bytes, of any value but `/` and NUL.
///
/// For objects that other programs named. One leading slash is optional.
///
/// # Examples
///
/// ```
/// use shared_region::{PosixName, RegionId};
///
/// let name = PosixName::new("/of another program")?;
/// assert_eq!(RegionId::from(name).to_string(), "posix:/of%20another%20program");
/// # Ok::<(), shared_region::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PosixName(CString);

impl PosixName {
    /// The most bytes that a name has, without its slash (`NAME_MAX` on Linux).
    pub const MAX_LEN: usize = 255;

    /// Checks `name`: 1 to 255 bytes after one optional slash, without another slash or a NUL, not `.` or `..`.
    ///
    /// # Errors
    ///
    /// - [`InvalidName`](ErrorKind::InvalidName): the message says which rule broke.
    pub fn new(name: impl AsRef<OsStr>) -> Result<Self> {
        let bytes = name.as_ref().as_bytes();
        let bare = bytes.strip_prefix(b"/").unwrap_or(bytes);
        let broken = |rule: &str| {
            Err(Error::new(ErrorKind::InvalidName)
                .operation("name a POSIX object")
                .subject(format_args!("{:?}", name.as_ref()))
                .reason(rule.to_owned()))
        };
        if bare.is_empty() {
            return broken("it is empty: give 1 to 255 bytes");
        }
        if bare == b"." || bare == b".." {
            return broken("`.` and `..` are directories: choose another name");
        }
        if bare.contains(&b'/') {
            return broken("a slash may stand at the start only");
        }
        if bare.len() > Self::MAX_LEN {
            return broken(&format!("it is {} bytes long: at most 255 fit", bare.len()));
        }
        match CString::new([b"/", bare].concat()) {
            Ok(name) => Ok(Self(name)),
            Err(_) => broken("it contains a NUL byte"),
        }
    }

    /// Returns the name with its slash, as `shm_open` takes it.
    pub fn as_c_str(&self) -> &CStr {
        &self.0
    }
}

impl fmt::Debug for PosixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PosixName({:?})", self.0)
    }
}

/// What identifies a region across processes, with a text form to pass it on: on a command line, in a file, to a child.
///
/// | text | means |
/// |---|---|
/// | `posix:/frames`, `sysv:/frames` | a [`RegionName`] with its backend |
/// | `posix:/a%20b` | a native POSIX name; bytes outside `A-Z a-z 0-9 . _ -` stand as `%XX` |
/// | `sysv:0x5a01` | a System V key |
/// | `sysv:#98304` | a System V segment id (shmid) |
///
/// What was parsed, and what regions and lists give, prints as text that parses to the same. An identity put together
/// by hand does so if it can mean something: a key that is not 0, a segment id that is not negative, a backend's name
/// of `A-Z a-z 0-9 . _ -`. A backend of somebody else's has names too: `file:/frames`.
///
/// # Examples
///
/// ```
/// use shared_region::{RegionId, RegionName};
///
/// let id: RegionId = "posix:/frames".parse()?;
/// assert_eq!(id, RegionId::named("posix", RegionName::new("frames")?));
/// assert_eq!("sysv:0x5a01".parse::<RegionId>()?, RegionId::Key(0x5a01));
/// # Ok::<(), shared_region::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RegionId {
    /// A portable name, with the name of the backend that it is meant for.
    Named {
        /// What [`Backend::name`](crate::Backend::name) returns: `posix`, `sysv`, or somebody else's.
        backend: Cow<'static, str>,
        /// The name.
        name: RegionName,
    },
    /// A System V key: one's own choice, or made by `ftok`.
    Key(i32),
    /// A System V segment id, valid until the segment is destroyed.
    Segment(i32),
    /// A native POSIX name that is no [`RegionName`]. Convert a [`PosixName`] by `From`, so that a name that is
    /// portable becomes [`Named`](Self::Named) and compares equal to it.
    Posix(PosixName),
}

impl RegionId {
    /// Names a region of `backend`.
    pub fn named(backend: impl Into<Cow<'static, str>>, name: RegionName) -> Self {
        Self::Named { backend: backend.into(), name }
    }

    /// Returns the name of the backend that this identity belongs to.
    pub fn backend(&self) -> &str {
        match self {
            Self::Named { backend, .. } => backend,
            Self::Key(_) | Self::Segment(_) => "sysv",
            Self::Posix(_) => "posix",
        }
    }

    /// Returns the portable name, where this identity is one.
    pub fn name(&self) -> Option<&RegionName> {
        match self {
            Self::Named { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Returns the portable name, if this identity belongs to `backend` and is one. For backends that know no others.
    ///
    /// # Errors
    ///
    /// - [`InvalidName`](ErrorKind::InvalidName): it belongs to another backend, or is no [`RegionName`].
    pub fn name_in(&self, backend: &'static str) -> Result<&RegionName> {
        self.name().filter(|_| self.backend() == backend).ok_or_else(|| self.foreign_to(backend))
    }

    /// Refuses an identity of another backend.
    pub(crate) fn foreign_to(&self, backend: &'static str) -> Error {
        Error::new(ErrorKind::InvalidName).backend(backend).subject(format_args!("\"{self}\"")).reason(format!(
            "that identity belongs to another backend than {backend}: parse it and call RegionId::open"
        ))
    }

    /// Writes what stands behind the backend's colon.
    pub(crate) fn write_local(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        match self {
            Self::Named { name, .. } => write!(f, "{name}"),
            Self::Key(key) => write!(f, "{:#x}", *key as u32),
            Self::Segment(id) => write!(f, "#{id}"),
            Self::Posix(name) => {
                f.write_char('/')?;
                name.0.as_bytes()[1..].iter().try_for_each(|&byte| {
                    if is_portable(byte) { f.write_char(byte.into()) } else { write!(f, "%{byte:02X}") }
                })
            }
        }
    }
}

impl From<PosixName> for RegionId {
    fn from(name: PosixName) -> Self {
        match name.0.to_str().ok().and_then(|name| RegionName::new(name).ok()) {
            Some(portable) => Self::named("posix", portable),
            None => Self::Posix(name),
        }
    }
}

impl fmt::Display for RegionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.backend())?;
        self.write_local(f)
    }
}

impl FromStr for RegionId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let broken = |rule: &str| {
            Err(Error::new(ErrorKind::InvalidName)
                .operation("read a region's identity from")
                .subject(format_args!("{text:?}"))
                .reason(rule.to_owned()))
        };
        let Some((backend, local)) = text.split_once(':') else {
            return broken("no backend stands before a colon: write posix:/NAME, sysv:/NAME, sysv:0xKEY or sysv:#ID");
        };
        if backend.is_empty() || !backend.bytes().all(is_portable) {
            return broken("what stands before the colon is no backend's name");
        }
        if let Some(digits) = local.strip_prefix("0x").filter(|_| backend == "sysv") {
            return match u32::from_str_radix(digits, 16) {
                Ok(key) if key != 0 && !digits.starts_with('+') => Ok(Self::Key(key as i32)),
                _ => broken("a key is a hexadecimal number of 32 bits and not 0 (IPC_PRIVATE names nothing)"),
            };
        }
        if let Some(digits) = local.strip_prefix('#').filter(|_| backend == "sysv") {
            return match digits.parse::<i32>() {
                Ok(id) if digits.bytes().all(|digit| digit.is_ascii_digit()) => Ok(Self::Segment(id)),
                _ => broken("a segment id is a decimal number from 0 to 2147483647"),
            };
        }
        let Some(escaped) = local.strip_prefix('/') else {
            return broken("a name starts with a slash: write posix:/NAME, sysv:/NAME, sysv:0xKEY or sysv:#ID");
        };
        let Some(bytes) = unescape(escaped) else {
            return broken("a % is followed by two hexadecimal digits");
        };
        if backend == "posix" {
            // With its slash, so that no second one is taken for it.
            return PosixName::new(OsStr::from_bytes(&[b"/", &*bytes].concat())).map(Self::from);
        }
        let name = String::from_utf8_lossy(&bytes);
        Ok(Self::named(backend.to_owned(), RegionName::new(&format!("/{name}"))?))
    }
}

/// Turns each `%XX` into its byte.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(bytes)
}
