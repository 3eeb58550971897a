//! What a user types to say which region.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use shared_region::{AnyBackend, Backend, ErrorKind, PosixName, RegionId, RegionName, SysvRegion};

use crate::failure::Failure;
use crate::inside;

/// The forms of an identity, for `--help` and for errors.
pub(crate) const FORMS: &str = "ID is one of posix:/NAME, sysv:/NAME, sysv:0xKEY, sysv:#ID, sysv:ftok:PATH,PROJ, /dev/shm/NAME, /proc/PID/root/dev/shm/NAME (stat, rm), and /NAME for the one that exists";

/// A region as it was typed.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// One region, whether or not it exists.
    Exact(RegionId),
    /// A System V key that is made of a file, which has to exist.
    Ftok(PathBuf, i32),
    /// A name without a backend.
    Bare(RegionName),
    /// An object in the `/dev/shm` of a process, as a path in `/proc`.
    Elsewhere(u32, RegionId),
}

impl Identity {
    /// Reads what was typed.
    pub(crate) fn new(text: &OsStr) -> Result<Self, String> {
        let bytes = text.as_bytes();
        if let Some(file) = bytes.strip_prefix(b"sysv:ftok:") {
            return ftok(file);
        }
        if let Some(name) = bytes.strip_prefix(b"/dev/shm/") {
            // What the shell's completion gives. No name in there has a backend's colon, and none is escaped.
            return PosixName::new(OsStr::from_bytes(&[b"/", name].concat()))
                .map(|name| Self::Exact(name.into()))
                .map_err(|error| error.to_string());
        }
        if let Some((pid, name)) = elsewhere(bytes) {
            let name = PosixName::new(OsStr::from_bytes(&[b"/", name].concat()));
            return name.map(|name| Self::Elsewhere(pid, name.into())).map_err(|error| error.to_string());
        }
        let forms = || FORMS.to_owned();
        let text = text.to_str().ok_or_else(forms)?;
        if text.starts_with('/') {
            // One that System V could not have is POSIX's.
            return match RegionName::new(text) {
                Ok(name) => Ok(Self::Bare(name)),
                Err(_) => format!("posix:{text}").parse().map(Self::Exact).map_err(|error| error.to_string()),
            };
        }
        if !text.contains(':') {
            return Err(number(text).unwrap_or_else(forms));
        }
        text.parse().map(Self::Exact).map_err(|error: shared_region::Error| error.to_string())
    }

    /// How clap reads one.
    pub(crate) fn parser() -> impl TypedValueParser<Value = Self> {
        OsStringValueParser::new().try_map(|text: OsString| Self::new(&text))
    }

    /// All regions that are meant: two, for a name without a backend.
    pub(crate) fn candidates(&self) -> Result<Vec<RegionId>, Failure> {
        Ok(match self {
            Self::Exact(id) => vec![id.clone()],
            Self::Ftok(path, project) => vec![RegionId::Key(SysvRegion::ftok(path, *project)?)],
            Self::Elsewhere(_, id) if inside::has_entered() => vec![id.clone()],
            Self::Elsewhere(pid, id) => {
                return Err(Failure::Usage(format!(
                    "{id} of process {pid} can be reached by `shm stat` and `shm rm`, and only those of one process at a time"
                )));
            }
            Self::Bare(name) => ["posix", "sysv"].map(|backend| RegionId::named(backend, *name)).to_vec(),
        })
    }

    /// The region that is meant; of a name without a backend, the one that exists.
    pub(crate) fn existing(&self) -> Result<RegionId, Failure> {
        let Self::Bare(name) = self else { return Ok(self.candidates()?.remove(0)) };
        let (mut found, mut failure) = (Vec::new(), None);
        for backend in [AnyBackend::Posix, AnyBackend::Sysv] {
            match backend.exists(name) {
                Ok(true) => found.push(backend),
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::BackendUnavailable => {}
                Err(error) => failure = Some(error),
            }
        }
        match (&found[..], failure) {
            ([backend], _) => Ok(RegionId::named(backend.name(), *name)),
            ([], Some(error)) => Err(error.into()),
            ([], None) => Err(Failure::Failed(format!(
                "nothing is named {name}, neither posix:{name} nor sysv:{name} (key {:#x}): see `shm ls`",
                name.key() as u32
            ))),
            _ => Err(Failure::Failed(format!("both posix:{name} and sysv:{name} exist: write which one is meant"))),
        }
    }

    /// The region that is to be made.
    pub(crate) fn new_one(&self, backend: Option<AnyBackend>) -> Result<RegionId, Failure> {
        match (self, backend) {
            (Self::Bare(name), Some(backend)) => Ok(RegionId::named(backend.name(), *name)),
            (Self::Bare(name), None) => Err(Failure::Usage(format!(
                "{name} could become either kind: write posix:{name} or sysv:{name}, or add --backend"
            ))),
            (Self::Exact(id), Some(backend)) if id.backend() != backend.name() => {
                Err(Failure::Usage(format!("{id} does not belong to --backend {backend}: leave one of them out")))
            }
            _ => Ok(self.candidates()?.remove(0)),
        }
    }
}

/// Takes `/proc/PID/root/dev/shm/NAME` apart.
fn elsewhere(path: &[u8]) -> Option<(u32, &[u8])> {
    let rest = path.strip_prefix(b"/proc/")?;
    let slash = rest.iter().position(|&byte| byte == b'/')?;
    let pid = std::str::from_utf8(&rest[..slash]).ok()?.parse().ok()?;
    Some((pid, rest[slash..].strip_prefix(b"/root/dev/shm/")?))
}

/// Says what a number may be meant for: an id as ipcs(1) shows it, or a key, which some programs show in decimal.
fn number(text: &str) -> Option<String> {
    if let Some(key) = text.strip_prefix("0x").filter(|digits| u32::from_str_radix(digits, 16).is_ok()) {
        return Some(format!("for a System V key write sysv:0x{key}"));
    }
    let number: i64 = text.strip_prefix('#').unwrap_or(text).parse().ok()?;
    let key = i32::try_from(number).map(|key| key as u32).or(u32::try_from(number)).ok()?;
    let id = format!("for a System V id (shmid) write sysv:#{number}");
    let key = format!("for a key sysv:{key:#x}");
    Some(match i32::try_from(number) {
        Ok(0) => id,
        Ok(1..) if text.starts_with('#') => id,
        Ok(1..) => format!("{id}, {key}"),
        _ => key.replace("key", "System V key write"),
    })
}

/// Reads `PATH,PROJ`, where the project is a number or, as C programs have it, one character.
fn ftok(text: &[u8]) -> Result<Identity, String> {
    let form = || "write sysv:ftok:PATH,PROJ, where PROJ is a number or one character, as in ftok(\"PATH\", 'R')";
    let comma = text.iter().rposition(|&byte| byte == b',').ok_or_else(form)?;
    let (path, project) = (&text[..comma], &text[comma + 1..]);
    let number = std::str::from_utf8(project).ok().and_then(|digits| match digits.strip_prefix("0x") {
        Some(hex) => i32::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    });
    let project = match (number, project) {
        (Some(number), _) => number,
        (None, [character]) => i32::from(*character),
        _ => return Err(form().into()),
    };
    if path.is_empty() {
        return Err(form().into());
    }
    Ok(Identity::Ftok(OsString::from_vec(path.to_vec()).into(), project))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(text: &[u8]) -> String {
        match Identity::new(OsStr::from_bytes(text)) {
            Ok(Identity::Exact(id)) => id.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_form_is_read() {
        for text in ["posix:/frames", "sysv:/frames", "sysv:0x5a01", "sysv:#98304", "posix:/a%20b"] {
            assert_eq!(exact(text.as_bytes()), text);
        }
        assert!(matches!(Identity::new("/frames".as_ref()), Ok(Identity::Bare(name)) if name.as_str() == "frames"));
        assert!(
            matches!(Identity::new("sysv:ftok:/a,b,7".as_ref()), Ok(Identity::Ftok(path, 7)) if path.as_path() == std::path::Path::new("/a,b"))
        );
        assert!(matches!(Identity::new("sysv:ftok:/a,R".as_ref()), Ok(Identity::Ftok(_, 82))));
        assert!(matches!(Identity::new("sysv:ftok:/a,0x10".as_ref()), Ok(Identity::Ftok(_, 16))));
    }

    #[test]
    fn a_name_that_system_v_cannot_have_is_posix() {
        assert_eq!(exact(b"/a%20b"), "posix:/a%20b");
        assert_eq!(exact(b"/sem.x"), "posix:/sem.x");
    }

    #[test]
    fn a_path_below_dev_shm_is_a_posix_name_as_it_stands() {
        assert_eq!(exact(b"/dev/shm/frames"), "posix:/frames");
        assert_eq!(exact(b"/dev/shm/a%20\xff"), "posix:/a%2520%FF");
    }

    #[test]
    fn a_bare_number_is_answered_with_what_it_can_be() {
        for (text, hint) in [
            ("5", "for a System V id (shmid) write sysv:#5, for a key sysv:0x5"),
            // As PostgreSQL says it.
            ("10264597", "for a System V id (shmid) write sysv:#10264597, for a key sysv:0x9ca015"),
            ("-1", "for a System V key write sysv:0xffffffff"),
            ("4294967295", "for a System V key write sysv:0xffffffff"),
            ("0", "for a System V id (shmid) write sysv:#0"),
            ("#7", "for a System V id (shmid) write sysv:#7"),
            ("0x5a01", "for a System V key write sysv:0x5a01"),
        ] {
            assert_eq!(Identity::new(text.as_ref()).unwrap_err(), hint, "{text}");
        }
        assert_eq!(Identity::new("99999999999".as_ref()).unwrap_err(), FORMS);
    }

    #[test]
    fn anything_else_is_refused_with_the_forms() {
        for text in [
            "",
            "frames",
            "98304",
            "0x5a01",
            "#98304",
            "/",
            "/a/b",
            "sysv:0",
            "sysv:ftok:/a",
            "sysv:ftok:,1",
            "sysv:ftok:/a,12x",
            "posix:frames",
            "/dev/shm/a/b",
            "/dev/shm/..",
        ] {
            assert!(Identity::new(text.as_ref()).is_err(), "{text}");
        }
    }
}
