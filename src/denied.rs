//! Who refuses, where permission is lacking, and who can change that.

use std::fmt::Write;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::unistd::geteuid;

use crate::error::Error;

/// An object that refuses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusing {
    pub(crate) uid: u32,
    /// Who made it, where that keeps rights.
    pub(crate) creator: Option<u32>,
    pub(crate) mode: u32,
}

impl From<&Metadata> for Refusing {
    fn from(metadata: &Metadata) -> Self {
        Self { uid: metadata.uid(), creator: None, mode: metadata.mode() & 0o7777 }
    }
}

impl Refusing {
    /// Names owner and mode, and who can change that, as seen by a user.
    fn reason(self, caller: u32) -> String {
        let Self { uid, creator, mode } = self;
        let mut reason = format!("permission denied: it belongs to uid {uid}");
        let creator = creator.filter(|&creator| creator != uid);
        if let Some(creator) = creator {
            let _ = write!(reason, ", was made by uid {creator}");
        }
        let _ = write!(reason, " and has mode {mode:04o}: ");
        // Writing to a `String` does not fail.
        let _ = if caller == 0 {
            write!(reason, "this root lacks a capability, or a sandbox refuses")
        } else if caller != uid && creator != Some(caller) {
            write!(reason, "ask uid {uid}, or run as it")
        } else if mode & 0o600 == 0o600 {
            write!(reason, "run as root")
        } else {
            write!(reason, "set its mode, or run as root")
        };
        reason
    }
}

/// Whether an errno says that permission is lacking.
pub(crate) fn lacks_permission(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EACCES | Errno::EPERM))
}

/// Translates an errno as [`Error::from_io`] does; where permission is lacking, says what refuses, if `look` can tell.
pub(crate) fn translated(error: &io::Error, look: impl FnOnce() -> Option<Refusing>) -> Error {
    let refusing = if lacks_permission(error) { look() } else { None };
    let told = Error::from_io(error);
    match refusing {
        Some(refusing) => told.reason(refusing.reason(geteuid().as_raw())),
        None => told,
    }
}

#[cfg(test)]
mod tests {
    use super::Refusing;

    #[test]
    fn a_reason_names_owner_and_mode_and_who_can_change_that() {
        let refusing = |uid, creator, mode| Refusing { uid, creator, mode };
        let stranger = refusing(0, None, 0o600).reason(5);
        assert_eq!(stranger, "permission denied: it belongs to uid 0 and has mode 0600: ask uid 0, or run as it");
        let made = refusing(7, Some(8), 0o640).reason(5);
        assert_eq!(
            made,
            "permission denied: it belongs to uid 7, was made by uid 8 and has mode 0640: ask uid 7, or run as it"
        );
        for (refusing, caller, end) in [
            (refusing(7, Some(7), 0), 7, "belongs to uid 7 and has mode 0000: set its mode, or run as root"),
            (refusing(7, Some(8), 0o200), 8, "has mode 0200: set its mode, or run as root"),
            (refusing(7, None, 0o644), 7, "has mode 0644: run as root"),
            (refusing(7, None, 0o644), 0, "has mode 0644: this root lacks a capability, or a sandbox refuses"),
        ] {
            let reason = refusing.reason(caller);
            assert!(reason.ends_with(end), "{reason}");
        }
    }
}
