//! Finds objects without a name, by who holds them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use nix::libc;

use super::holders::{Found, Held, Look, Object};
use super::{memfd, raw, told};
use crate::holders::Holders;
use crate::nameless::{Nameless, NamelessKind};
use crate::stat::Stat;
use crate::sys::retry;

/// What the kernel adds to the path of a file that has no name any more; proc_pid_maps(5).
const DELETED: &[u8] = b" (deleted)";

pub(crate) fn nameless() -> io::Result<(Vec<Nameless>, bool)> {
    let (store, _) = super::store_identity()?;
    // Where memfds are; System V segments and anonymous shared memory are there, too.
    let elsewhere = memfd(c"", 0o600, false).and_then(|file| Ok(raw::fstat(file.as_fd())?.st_dev));
    let devices = [Some(store), elsewhere.ok()].into_iter().flatten().collect();
    let look = Look::on(&[], devices)?;
    let mut objects: BTreeMap<Object, Option<Nameless>> = BTreeMap::new();
    let mut found = Found::default();
    let unreadable = look.run(&mut |pid, object, held| {
        // Whoever else has it may let it be looked at where the first did not.
        let known = objects.entry(object).or_default();
        if known.as_ref().is_none_or(|known| known.stat.is_none()) {
            if let Some(seen) = recognised(pid, object, &held, store) {
                *known = Some(seen);
            }
        }
        if let Some(known) = known {
            if let (None, Held::Mapped(mapping, _)) = (&known.stat, &held) {
                known.len = known.len.max(mapping.offset + mapping.len);
            }
            found.add(pid, object, held);
        }
        ControlFlow::Continue(())
    })?;
    let complete = unreadable == 0 && !look.hidden;
    let objects = objects.into_iter().filter_map(|(object, nameless)| {
        let holders = Holders { processes: found.of(object), unreadable, hidden: look.hidden };
        nameless.map(|nameless| Nameless { holders, ..nameless })
    });
    Ok((objects.collect(), complete))
}

/// What a process holds there, if that has no name.
fn recognised(pid: u32, identity: Object, held: &Held<'_>, store: u64) -> Option<Nameless> {
    let (path, link) = match held {
        Held::Open(descriptor) => {
            let link = format!("/proc/{pid}/fd/{descriptor}");
            (fs::read_link(&link).ok()?.into_os_string().as_bytes().to_vec(), link)
        }
        Held::Mapped(mapping, path) => {
            let end = mapping.address + mapping.len;
            (path.to_vec(), format!("/proc/{pid}/map_files/{:x}-{end:x}", mapping.address))
        }
    };
    let path = path.strip_suffix(DELETED)?;
    let (kind, name) = match (identity.0 == store, path.strip_prefix(b"/memfd:")) {
        (true, _) => (NamelessKind::Removed, path.rsplit(|&byte| byte == b'/').next()?),
        (false, Some(name)) => (NamelessKind::Memfd, name),
        (false, None) => return None,
    };
    let stat = looked_at(&link).filter(|stat| (stat.device(), stat.inode()) == identity);
    // A file can be called so, and have a name.
    if stat.as_ref().is_some_and(|stat| stat.links() > 0) {
        return None;
    }
    let len = stat.as_ref().map_or(0, Stat::len);
    let holders = Holders { processes: Vec::new(), unreadable: 0, hidden: false };
    Some(Nameless { kind, name: OsStr::from_bytes(name).to_owned(), identity, len, stat, holders })
}

/// Looks at what one of `/proc`'s links leads to.
fn looked_at(link: &str) -> Option<Stat> {
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    let mut options = fs::File::options();
    std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true), flags);
    let file = retry(|| options.open(link)).ok()?;
    Some(told(&raw::fstat(file.as_fd()).ok()?).1)
}
