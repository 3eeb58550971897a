//! What exists, and who has it.

use std::collections::HashSet;
use std::ffi::CStr;
use std::fs;
use std::io;

use nix::libc::{EACCES, EAGAIN, EINVAL, ENOENT, EOPNOTSUPP, EPERM};
use shared_region::{AnyBackend, Backend, Error, Holders, Posix, PosixName, RegionId};
use shared_region_posix as posix;
use shared_region_sysv as sysv;

use crate::args::Selection;
use crate::beside;
use crate::failure::{Failure, tell};
use crate::huge;
use crate::item::{Id, Item, Status};
use crate::mounted;
use crate::people::People;

/// What was found.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) items: Vec<Item>,
    /// Whether nothing failed. What did has been told.
    pub(crate) complete: bool,
}

/// What has to be known of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Who has it, and what is beside them: `true` for memfds and other files too.
    Everything { all: bool },
    /// Whether it is an orphan; who has it need not be known.
    Orphans,
}

/// Lists what is asked for, by identity. What cannot be listed is told.
pub(crate) fn list(selection: &Selection, wanted: Wanted) -> Result<Listed, Failure> {
    let mut people = People::default();
    let mut found = Listed { items: Vec::new(), complete: true };
    for backend in selection.kind.all() {
        let listed = match backend {
            AnyBackend::Sysv => segments(&mut people),
            _ => objects(wanted, &mut people),
        };
        match listed {
            Ok(listed) if found.items.is_empty() => found.items = listed,
            Ok(mut listed) => found.items.append(&mut listed),
            Err(error) => {
                tell(&error);
                found.complete = false;
            }
        }
    }
    selection.choose(&mut found.items)?;
    found.items.sort_by_cached_key(|item| item.id.to_string());
    Ok(found)
}

/// Of which it could not be seen whether they are orphans, and why: one line, and an exit code of its own.
pub(crate) fn check_sure(items: &[Item]) -> Result<(), Failure> {
    let mut reasons: Vec<(&str, &Item, usize)> = Vec::new();
    for item in items {
        let Some(reason) = item.unsure else { continue };
        match reasons.iter_mut().find(|(known, ..)| *known == reason) {
            Some((.., count)) => *count += 1,
            None => reasons.push((reason, item, 1)),
        }
    }
    if reasons.is_empty() {
        return Ok(());
    }
    let reasons: Vec<String> = reasons
        .into_iter()
        .map(|(reason, item, count)| match count {
            1 => format!("{} ({reason})", item.id),
            _ => format!("{} and {} more ({reason})", item.id, count - 1),
        })
        .collect();
    Err(Failure::Unseen(format!("it could not be seen whether these are orphans: {}", reasons.join("; "))))
}

/// All segments, those that were removed and are still attached among them.
fn segments(people: &mut People) -> Result<Vec<Item>, Error> {
    let segments = sysv::segments().map_err(|error| Error::from_io(&error).operation("list").backend("sysv"))?;
    let mut items: Vec<Item> = segments.iter().map(|stat| Item::segment(stat, people)).collect();
    huge::mark(&segments, &mut items);
    Ok(items)
}

/// Leaves only what a process was seen to have.
pub(crate) fn keep_held_by(pid: u32, items: &mut Vec<Item>) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::with(format_args!("see what process {pid} has"), &error);
    // None of it is told of a process that may not be looked into, which is another answer than "nothing".
    fs::read_link(format!("/proc/{pid}/ns/ipc")).map_err(failed)?;
    let segments = sysv::segments().map_err(failed)?;
    let found = sysv::attachers(&segments).map_err(failed)?;
    let attached: HashSet<u64> = segments
        .iter()
        .zip(&found)
        .filter(|(_, found)| found.processes().iter().any(|process| process.pid() == pid))
        .map(|(stat, _)| stat.segment().id().unsigned_abs().into())
        .collect();
    items.retain(|item| match item.backend {
        "sysv" => item.native_id.is_some_and(|id| attached.contains(&id)),
        _ => item.pids.contains(&pid),
    });
    Ok(())
}

fn objects(wanted: Wanted, people: &mut People) -> Result<Vec<Item>, Error> {
    // Not by the crate, which would keep as much again for each.
    let listed = match posix::list() {
        Ok(listed) => listed,
        Err(error) => return Err(Posix.list().err().unwrap_or_else(|| Error::from_io(&error))),
    };
    let mut items = Vec::with_capacity(listed.len());
    for (name, stat) in listed {
        items.push(Item::object(Id::Region(PosixName::new(name)?.into()), "posix", &stat, people));
    }
    let mounted = mounted::names();
    // The kernel knows best whether anybody has an object, and of what nobody has no process need be looked at.
    let names: Vec<&CStr> = items.iter().map(|item| item.id.region().map_or(c"", native)).collect();
    let mut asked = posix::are_unused(&names);
    for (name, asked) in names.into_iter().zip(&mut asked) {
        if is_mounted(name, &mounted) {
            *asked = Ok(false);
        }
    }
    let open = |index: &usize| match &asked[*index] {
        Ok(unused) => !unused && wanted != Wanted::Orphans,
        Err(_) => true,
    };
    let open: Vec<usize> = (0..items.len()).filter(open).collect();
    let ids: Vec<RegionId> = open.iter().filter_map(|&index| items[index].id.region().cloned()).collect();
    // Where nobody can tell who has them, they are shown without.
    if let Ok(holders) = Posix.holders_ids(&ids) {
        for (index, holders) in open.into_iter().zip(holders) {
            if let Ok(holders) = holders {
                held(&mut items[index], &holders);
            }
        }
    }
    for (item, asked) in items.iter_mut().zip(&asked) {
        conclude(item, asked);
    }
    let mut gone = asked.iter().map(|asked| matches!(asked, Err(error) if error.raw_os_error() == Some(ENOENT)));
    items.retain(|_| gone.next() != Some(true));
    if let Wanted::Everything { all } = wanted {
        items.append(&mut beside::unnamed(all, people));
        if all {
            items.append(&mut beside::files(people));
        }
    }
    Ok(items)
}

fn held(item: &mut Item, holders: &Holders) {
    item.held(holders.processes().iter().map(|holder| (holder.pid(), holder.mappings().len())), holders.is_complete());
}

/// Says who has an object, as `shm ls` does.
pub(crate) fn examine(item: &mut Item, holders: Option<&Holders>, mounted: &HashSet<Vec<u8>>) {
    let asked = item.id.region().map_or(Ok(false), |id| ask(id, mounted));
    if let Some(holders) = holders {
        held(item, holders);
    }
    conclude(item, &asked);
}

/// Asks the kernel whether nobody has an object, nor any mount.
fn ask(id: &RegionId, mounted: &HashSet<Vec<u8>>) -> io::Result<bool> {
    let name = native(id);
    if is_mounted(name, mounted) { Ok(false) } else { posix::is_unused(name) }
}

fn is_mounted(name: &CStr, mounted: &HashSet<Vec<u8>>) -> bool {
    mounted.contains(name.to_bytes().strip_prefix(b"/").unwrap_or_default())
}

/// Brings together what the kernel said and what was seen in the processes.
fn conclude(item: &mut Item, asked: &io::Result<bool>) {
    let nobody = item.attached.unwrap_or(0) == 0;
    match asked {
        Ok(true) => {
            (item.attached, item.attached_exact) = (Some(0), true);
            item.status.add(Status::Orphan);
        }
        // Somebody out of sight has it.
        Ok(false) if nobody => (item.attached, item.attached_exact) = (Some(1), false),
        Err(_) if nobody && item.attached_exact => item.status.add(Status::Orphan),
        Err(error) if nobody => item.unsure = Some(reason(error)),
        Ok(false) | Err(_) => {}
    }
}

/// Why the kernel did not say whether anybody has an object.
fn reason(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(EACCES | EPERM) => {
            "the kernel tells only its owner and root, and not every process that may have it can be looked into"
        }
        Some(EOPNOTSUPP) => "the file system of /dev/shm does not tell for certain who has a file",
        Some(EINVAL) => "fs.leases-enable is 0, and not every process that may have it can be looked into",
        Some(EAGAIN) => "somebody holds a lease on it",
        _ => "the kernel does not tell, and not every process that may have it can be looked into",
    }
}

/// The name of a POSIX object as the system takes it.
pub(crate) fn native(id: &RegionId) -> &CStr {
    match id {
        RegionId::Named { name, .. } => name.as_c_str(),
        RegionId::Posix(name) => name.as_c_str(),
        _ => c"",
    }
}
