//! Whether an object can be made here without a name and linked in later.

use std::ffi::CString;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nix::errno::Errno;
use shared_region_posix::{self as leaf, Object};

use crate::backend::random_suffix;

/// What is known of the store that was asked last: a hash of its identity, and in the two lowest bits one of those below.
/// All in one word, so that nobody mixes up two stores. A process that enters another mount namespace finds another
/// store there, and asks again.
static KNOWN: AtomicU64 = AtomicU64::new(0);

/// A link has been made there.
const LINKS: u64 = 1;
/// A nameless object or its link was refused there.
const REFUSES: u64 = 2;

/// What is known of a store, by the hash of its identity.
fn known(store: u64) -> Option<bool> {
    match KNOWN.load(Relaxed) ^ store {
        LINKS => Some(true),
        REFUSES => Some(false),
        _ => None,
    }
}

/// The identity of the store in 62 bits, the two lowest zero.
fn store() -> io::Result<u64> {
    leaf::store_identity().map(hash)
}

fn hash((device, inode): (u64, u64)) -> u64 {
    (device ^ inode.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) & !3
}

fn remember(store: io::Result<u64>, what: u64) {
    if let Ok(store) = store {
        KNOWN.store(store | what, Relaxed);
    }
}

/// Whether a refusal has been remembered. Asks the system only where there was one.
pub(super) fn was_refused() -> bool {
    KNOWN.load(Relaxed) & 3 == REFUSES && store().is_ok_and(|store| known(store) == Some(false))
}

/// Remembers that nameless objects are refused, or the link of this one. (A link is refused also where another store has
/// taken the place of the object's own meanwhile: that says nothing about the new one.)
pub(super) fn remember_refusal(object: Option<&Object>) {
    let own = object.and_then(|object| object.identity().ok()).map(|(device, _)| device);
    let here = leaf::store_identity();
    if own.is_none_or(|own| here.as_ref().is_ok_and(|(device, _)| *device == own)) {
        remember(here.map(hash), REFUSES);
    }
}

/// Whether an object can be linked in: once for each process and store by doing so, as security modules judge the link
/// itself. An error says nothing about that, and is not remembered.
pub(super) fn is_granted() -> io::Result<bool> {
    let here = store();
    if let Some(known) = here.as_ref().ok().and_then(|store| known(*store)) {
        return Ok(known);
    }
    let object = match Object::create_unlinked(0o600) {
        Ok(object) => object,
        // Not remembered, as nothing may be made there at all for the time being.
        Err(error) if is_refusal(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    match linked(&object) {
        Ok(()) => {
            remember(here, LINKS);
            Ok(true)
        }
        Err(error) if is_refusal(&error) => {
            remember_refusal(Some(&object));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Links an empty object in, and takes its name away at once.
///
/// The name is its owner's, so that what a killed process leaves is one empty file for each user at most, and the next
/// one takes it away. Processes that do this at once take each other's names away, which harms none of them.
fn linked(object: &Object) -> io::Result<()> {
    let owners = format!("/.shared-region-probe-{}", object.stat()?.uid());
    // The last is for where somebody holds the owner's name.
    let names = [owners.clone(), owners.clone(), format!("{owners}-{}", random_suffix())];
    let mut linked = Ok(());
    for name in names {
        let name = CString::new(name)?;
        linked = object.link(&name);
        let taken = matches!(&linked, Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32));
        if taken || linked.is_ok() {
            let _ = leaf::unlink(&name);
        }
        if !taken {
            break;
        }
    }
    linked
}

/// Whether a nameless object or its link was refused as such, and the other way may be open: for any reason but a lack of
/// space, descriptors or memory, a store that is for reading alone, and a taken name.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    use Errno::{EDQUOT, EEXIST, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS};
    // By number: the standard library has one kind for several.
    let errno = error.raw_os_error().map(Errno::from_raw);
    !matches!(errno, Some(ENOSPC | EDQUOT | EMFILE | ENFILE | ENOMEM | EROFS | EEXIST))
}
