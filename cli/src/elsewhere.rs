//! Memory that has no name in any list: removed objects, memfds, and what else lies in the store.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use shared_region::{Error, Metadata};
use shared_region_posix::{self as posix, NamelessKind};

use crate::inventory::{HeldBy, Item, Status};
use crate::people::People;

/// Objects that were removed and are held; with `memfds` those, too. Says `true` if there can be no more.
pub(crate) fn nameless(memfds: bool, people: &mut People) -> Result<(Vec<Item>, bool), Error> {
    let (found, complete) = posix::nameless().map_err(|error| {
        Error::from_io(&error)
            .operation("look for removed")
            .backend("posix")
            .reason("there is no /proc to look through")
    })?;
    let items = found.iter().filter_map(|found| {
        let (kind, status) = match found.kind() {
            NamelessKind::Memfd if memfds => ("memfd:", None),
            NamelessKind::Removed => ("removed:/", Some(Status::Removed)),
            _ => return None,
        };
        let stat = found.stat();
        let metadata = Metadata::new(
            found.len(),
            stat.map_or(0, posix::Stat::mode),
            stat.map_or(u32::MAX, posix::Stat::uid),
            stat.map_or(u32::MAX, posix::Stat::gid),
        )
        .with_native_id(found.identity().1);
        let metadata = match stat {
            Some(stat) => metadata.with_allocated(stat.allocated()).with_changed(stat.changed()),
            None => metadata,
        };
        let mut item = Item::object(format!("{kind}{}", escaped(found.name())), None, &metadata, people);
        item.status.extend(status);
        let holders = found.holders().processes();
        item.attached = Some(holders.iter().map(|holder| holder.mappings().len().max(1) as u64).sum());
        item.attached_exact = complete;
        item.held_by = Some(holders.iter().map(|holder| HeldBy::of(holder.pid())).collect());
        Some(item)
    });
    Ok((items.collect(), complete))
}

/// What lies in the store and is no region: named semaphores, and files in directories.
pub(crate) fn others(people: &mut People) -> Vec<Item> {
    let mut items = Vec::new();
    // What goes meanwhile, or may not be read, is left to the sum.
    let _ = look(Path::new("/dev/shm"), 0, &mut |path, metadata| {
        let below = path.strip_prefix("/dev/shm").unwrap_or(path);
        let known = Metadata::from(metadata).with_allocated(metadata.blocks() * 512);
        items.push(Item::object(format!("file:/{}", escaped(below.as_os_str())), None, &known, people));
    });
    items
}

/// How deep directories are looked into: a stranger can make them as deep as they like.
const DEEPEST: usize = 32;

fn look(directory: &Path, depth: usize, found: &mut dyn FnMut(&Path, &fs::Metadata)) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() && depth < DEEPEST {
            let _ = look(&path, depth + 1, found);
        } else if metadata.is_file() && (depth > 0 || is_semaphore(&path)) {
            found(&path, &metadata);
        }
    }
    Ok(())
}

/// glibc keeps named semaphores there; sem_overview(7).
fn is_semaphore(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"sem."))
}

/// Bytes that could be mistaken for more than a name, in the form that identities have.
fn escaped(name: &OsStr) -> String {
    let mut text = String::new();
    for &byte in name.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
