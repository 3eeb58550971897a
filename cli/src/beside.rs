//! What takes memory of /dev/shm, or as /dev/shm does, beside the objects that have a name there.

use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use shared_region_posix::{self as posix, Holder, Stat, UnnamedObject};

use crate::item::{Id, Item, Status};
use crate::people::People;
use crate::size::show;
use crate::text::escaped;

/// Objects that were removed and are still held; with `all`, memfds too. Where no process can be looked into there are
/// none.
pub(crate) fn unnamed(all: bool, people: &mut People) -> Vec<Item> {
    let Ok(found) = posix::unnamed() else { return Vec::new() };
    let wanted = found.objects().iter().filter(|object| all || !object.is_memfd());
    let item = |object: &UnnamedObject| {
        let (name, inode) = (escaped(object.name().as_bytes()), object.stat().inode());
        let backend = if object.is_memfd() { "memfd" } else { "posix" };
        // No identity of a region reads so: the name may be another object's by now.
        let id = format!("{backend}:#{inode}/{name}");
        let mut item = Item::object(Id::Other(id.into()), backend, object.stat(), people);
        item.held(mappings(object.processes()), found.is_complete());
        if !object.is_memfd() {
            item.status.add(Status::Removed);
        }
        item
    };
    wanted.map(item).collect()
}

fn mappings(holders: &[Holder]) -> impl Iterator<Item = (u32, usize)> {
    holders.iter().map(|holder| (holder.pid(), holder.mappings().len()))
}

/// Named semaphores, and files in subdirectories.
pub(crate) fn files(people: &mut People) -> Vec<Item> {
    let mut found = Vec::new();
    let store = Path::new("/dev/shm");
    collect(store, &mut found);
    found.retain(|(path, _)| path.parent() != Some(store) || is_semaphore(path));
    let objects: Vec<_> = found.iter().map(|(_, stat)| (stat.device(), stat.inode())).collect();
    let held = posix::holders_of(&objects).unwrap_or_default();
    let mut items = Vec::new();
    for (index, (path, stat)) in found.iter().enumerate() {
        let name = path.strip_prefix(store).unwrap_or(path).as_os_str().as_bytes();
        let (backend, id) = match name.strip_prefix(b"sem.").filter(|_| path.parent() == Some(store)) {
            Some(name) => ("semaphore", format!("semaphore:/{}", escaped(name))),
            None => ("file", format!("/dev/shm/{}", escaped(name))),
        };
        let mut item = Item::object(Id::Other(id.into()), backend, stat, people);
        if let Some(holders) = held.get(index) {
            item.held(mappings(holders.processes()), holders.is_complete());
        }
        items.push(item);
    }
    items
}

fn is_semaphore(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"sem."))
}

/// All regular files below a directory, without following links; what cannot be read is not seen.
fn collect(directory: &Path, found: &mut Vec<(PathBuf, Stat)>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => found.push((entry.path(), Stat::from(&metadata))),
            Ok(metadata) if metadata.is_dir() => collect(&entry.path(), found),
            _ => {}
        }
    }
}

/// What is in use of /dev/shm, and by what.
#[derive(Debug)]
pub(crate) struct Sum {
    used: u64,
    objects: u64,
    removed: u64,
    files: u64,
}

impl Sum {
    pub(crate) fn of(items: &[Item]) -> Option<Self> {
        let store = posix::store().ok()?;
        let sum = |wanted: &dyn Fn(&Item) -> bool| {
            items.iter().filter(|item| wanted(item)).filter_map(|item| item.resident).sum()
        };
        Some(Self {
            used: store.total().saturating_sub(store.free()),
            objects: sum(&|item| item.backend == "posix" && !item.is(Status::Removed)),
            removed: sum(&|item| item.backend == "posix" && item.is(Status::Removed)),
            files: sum(&|item| matches!(item.backend, "semaphore" | "file")),
        })
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unseen = self.used.saturating_sub(self.objects + self.removed + self.files);
        write!(
            f,
            "{} of /dev/shm in use: {} by objects, {} by removed ones, {} by semaphores and other files, {} by what could not be seen",
            show(self.used),
            show(self.objects),
            show(self.removed),
            show(self.files),
            show(unseen)
        )
    }
}
