//! Finds what has no name, through those who hold it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::holders::{Held, Look, if_there};
use super::{look, memfd, store_identity};
use crate::holders::Holder;
use crate::stat::Stat;
use crate::unnamed::{UnnamedObject, UnnamedObjects};

/// What the kernel puts behind the path of a file that has none any more.
const DELETED: &[u8] = b" (deleted)";

pub(crate) fn unnamed() -> io::Result<UnnamedObjects> {
    let mut devices: Vec<u64> = store_identity().map(|(device, _)| device).into_iter().collect();
    // Those without and with huge pages lie on a device of their own each.
    for huge_pages in [false, true] {
        devices.extend(memfd(c"", 0o600, huge_pages).and_then(|file| look(&file)).map(|(_, stat)| stat.device()));
    }
    let mut found: HashMap<(u64, u64), Option<UnnamedObject>> = HashMap::new();
    let mut unknown = HashSet::new();
    let look = Look::on(devices)?;
    let unreadable = look.run(&mut |pid, object, held| {
        let path = match &held {
            Held::Mapped(map, path) if !path.ends_with(DELETED) || map.len == 0 => return ControlFlow::Continue(()),
            Held::Mapped(map, _) => format!("/proc/{pid}/map_files/{:x}-{:x}", map.address, map.address + map.len),
            Held::Open(path, _) => path.to_string_lossy().into_owned(),
        };
        if let Entry::Vacant(place) = found.entry(object) {
            match if_there(describe(object, Path::new(&path))) {
                Ok(Some(described)) => drop(place.insert(described)),
                Ok(None) => {}
                // Mappings can be followed by root alone; another process may have a descriptor.
                Err(_) => drop(unknown.insert(object)),
            }
        }
        let Some(Some(known)) = found.get_mut(&object) else { return ControlFlow::Continue(()) };
        if known.processes.last().is_none_or(|last| last.pid != pid) {
            known.processes.push(Holder { pid, mappings: Vec::new(), descriptors: Vec::new() });
        }
        match (held, known.processes.last_mut()) {
            (Held::Mapped(mapping, _), Some(holder)) => holder.mappings.push(mapping),
            (Held::Open(_, descriptor), Some(holder)) => holder.descriptors.push(descriptor),
            (_, None) => {}
        }
        ControlFlow::Continue(())
    })?;
    let complete = unreadable == 0 && unknown.iter().all(|object| found.contains_key(object)) && !look.hides();
    let mut objects: Vec<UnnamedObject> = found.into_values().flatten().collect();
    objects.sort_by_key(|object| (object.stat.device, object.stat.inode));
    for holder in objects.iter_mut().flat_map(|object| &mut object.processes) {
        holder.descriptors.sort_unstable();
        holder.descriptors.dedup(); // threads can have a number each
    }
    Ok(UnnamedObjects { objects, complete })
}

/// Looks at what a link of `/proc` leads to; `None` if it has a name, or is no object.
fn describe(object: (u64, u64), link: &Path) -> io::Result<Option<UnnamedObject>> {
    let stat = Stat::from(&fs::metadata(link)?);
    if (stat.device, stat.inode) != object || stat.links > 0 {
        return Ok(None);
    }
    let target = fs::read_link(link)?;
    let path = target.as_os_str().as_bytes();
    let path = path.strip_suffix(DELETED).unwrap_or(path);
    let (name, is_memfd): (&[u8], bool) = match path.strip_prefix(b"/memfd:") {
        Some(name) => (name, true),
        None if store_identity().is_ok_and(|(device, _)| device == object.0) => {
            (Path::new(OsStr::from_bytes(path)).file_name().unwrap_or_default().as_bytes(), false)
        }
        // A segment of System V, or memory that a process shares with its children alone.
        None => return Ok(None),
    };
    let name = OsStr::from_bytes(name).into();
    Ok(Some(UnnamedObject { name, is_memfd, stat, processes: Vec::new() }))
}
