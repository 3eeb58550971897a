//! Looks into every process through `/proc`.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str;

use nix::libc;
use nix::sys::stat::makedev;

use super::raw;
use crate::holders::{HeldMapping, Holder, Holders};
use crate::sys::retry;

/// `CAP_SYS_PTRACE` as a bit of `CapEff`; see capabilities(7).
const MAY_LOOK_INTO_ALL: u64 = 1 << 19;

/// A device and an inode.
type Object = (u64, u64);

pub(crate) fn holders_of(objects: &[Object]) -> io::Result<Vec<Holders>> {
    if objects.is_empty() {
        return Ok(Vec::new());
    }
    let mut found: HashMap<Object, Vec<Holder>> = objects.iter().map(|&object| (object, Vec::new())).collect();
    let look = Look::at(objects)?;
    let unreadable = look.run(&mut |pid, object, held| {
        let Some(holders) = found.get_mut(&object) else { return ControlFlow::Continue(()) };
        if holders.last().is_none_or(|last| last.pid != pid) {
            holders.push(Holder { pid, mappings: Vec::new(), descriptors: Vec::new() });
        }
        match (held, holders.last_mut()) {
            (Held::Mapped(mapping, _), Some(holder)) => holder.mappings.push(mapping),
            (Held::Open(_, descriptor), Some(holder)) => holder.descriptors.push(descriptor),
            (_, None) => {}
        }
        ControlFlow::Continue(())
    })?;
    for holder in found.values_mut().flatten() {
        holder.descriptors.sort_unstable();
        holder.descriptors.dedup(); // threads can have a number each
    }
    let answer =
        |object| Holders { processes: found.get(object).cloned().unwrap_or_default(), unreadable, hidden: look.hidden };
    Ok(objects.iter().map(answer).collect())
}

pub(crate) fn is_held(device: u64, inode: u64) -> io::Result<Option<bool>> {
    let wanted = [(device, inode)];
    let look = Look::at(&wanted)?;
    let mut held = false;
    let unreadable = look.run(&mut |_, object, _| {
        held |= object == wanted[0];
        if held { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok((held || (unreadable == 0 && !look.hidden)).then_some(held))
}

/// What was found of an object in a process.
pub(super) enum Held<'a> {
    /// With the path that `maps` shows.
    Mapped(HeldMapping, &'a [u8]),
    /// With the link that leads to it.
    Open(&'a Path, i32),
}

/// Is told of what a process holds on the devices of the wanted objects, and says whether to look on.
type Seen<'a> = dyn FnMut(u32, Object, Held<'_>) -> ControlFlow<()> + 'a;

/// Why the look into a process ended early.
enum End {
    Unreadable,
    Enough,
}

impl End {
    fn unless(told: ControlFlow<()>) -> Result<(), Self> {
        if told.is_continue() { Ok(()) } else { Err(Self::Enough) }
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Unreadable
    }
}

/// One look through `/proc`.
pub(super) struct Look<'a> {
    objects: &'a [Object],
    /// Where those are: most that processes hold is elsewhere.
    devices: Vec<u64>,
    /// Whether there may be processes that `/proc` does not show.
    hidden: bool,
    /// Whether `/proc` has the numbers for processes that system calls take here.
    own_numbers: bool,
}

impl<'a> Look<'a> {
    fn at(objects: &'a [Object]) -> io::Result<Self> {
        let mut devices: Vec<_> = objects.iter().map(|&(device, _)| device).collect();
        devices.sort_unstable();
        devices.dedup();
        Ok(Self { objects, ..Self::on(devices)? })
    }

    /// One that is told of all objects on these devices.
    pub(super) fn on(devices: Vec<u64>) -> io::Result<Self> {
        // Fails where this thread is not in `/proc`, because there is none or it is another namespace's: else such a
        // directory would read as "nobody". Not `self`, which is empty once the main thread has ended.
        let status = text("/proc/thread-self/status")?;
        // One number for each namespace from that of `/proc` on down; proc_pid_status(5).
        let own_numbers = field(&status, "NSpid:").is_some_and(|ids| ids.split_ascii_whitespace().count() == 1);
        let hidden =
            hides_processes(&status)? || !in_initial_namespace() || !devices.iter().all(|&device| agrees(device));
        Ok(Self { objects: &[], devices, hidden, own_numbers })
    }

    /// Whether there may be processes that it does not see.
    pub(super) fn hides(&self) -> bool {
        self.hidden
    }

    /// Looks into every process, until `seen` has had enough; returns how many could not be looked into.
    pub(super) fn run(&self, seen: &mut Seen<'_>) -> io::Result<usize> {
        let mut pids = Vec::new();
        for entry in retry(|| fs::read_dir("/proc"))? {
            pids.extend(number(&entry?.file_name()));
        }
        pids.sort_unstable();
        let (mut maps, mut unreadable) = (Vec::new(), 0);
        for pid in pids {
            match self.look_into(pid, &mut maps, seen) {
                Ok(()) => {}
                Err(End::Unreadable) => unreadable += 1,
                Err(End::Enough) => break,
            }
        }
        Ok(unreadable)
    }

    /// Looks into one process, thread by thread: a main thread that has ended hides what the others have mapped, and
    /// each can have descriptors of its own.
    fn look_into(&self, pid: u32, maps: &mut Vec<u8>, seen: &mut Seen<'_>) -> Result<(), End> {
        let (mut mappings_seen, mut looked_at, mut unreadable) = (false, None, false);
        for task in entries(&PathBuf::from(format!("/proc/{pid}/task")))? {
            if !mappings_seen {
                maps.clear();
                // Who may not read these may not follow the descriptors either: proc(5), PTRACE_MODE_READ_FSCREDS.
                if_there(retry(|| File::open(task.join("maps"))?.read_to_end(maps)))?;
                for (object, mapping, path) in maps.split(|&byte| byte == b'\n').filter_map(|line| self.mapping(line)) {
                    End::unless(seen(pid, object, Held::Mapped(mapping, path)))?;
                }
                // All threads of a process share one address space.
                mappings_seen = !maps.is_empty();
            }
            let thread = task.file_name().and_then(number);
            if self.share_descriptors(looked_at, thread) {
                continue;
            }
            match self.descriptors(&task, &mut |object, link, number| seen(pid, object, Held::Open(link, number))) {
                Ok(()) => looked_at = thread,
                Err(End::Unreadable) => unreadable = true,
                Err(End::Enough) => return Err(End::Enough),
            }
        }
        if unreadable { Err(End::Unreadable) } else { Ok(()) }
    }

    /// Reads a line of `maps`, "start-end perms offset major:minor inode path", if it is of one of the devices.
    fn mapping<'l>(&self, line: &'l [u8]) -> Option<(Object, HeldMapping, &'l [u8])> {
        let mut parts = line.splitn(6, |&byte| byte == b' ');
        let mut fields = parts.by_ref().map(|field| str::from_utf8(field).unwrap_or_default());
        let (range, permissions, offset) = (fields.next()?, fields.next()?, fields.next()?);
        let (major, minor) = fields.next()?.split_once(':')?;
        let device = makedev(hexadecimal(major)?, hexadecimal(minor)?);
        if !self.devices.contains(&device) {
            return None;
        }
        let inode = fields.next()?.parse().ok()?;
        let (start, end) = range.split_once('-')?;
        let address = hexadecimal(start)?;
        let mapping = HeldMapping {
            address,
            len: hexadecimal(end)?.saturating_sub(address),
            offset: hexadecimal(offset)?,
            writable: permissions.contains('w'),
            shared: permissions.ends_with('s'),
        };
        Some(((device, inode), mapping, parts.next().unwrap_or_default().trim_ascii_start()))
    }

    /// Whether a thread has the same descriptors as one that was looked at before.
    fn share_descriptors(&self, looked_at: Option<u32>, thread: Option<u32>) -> bool {
        self.own_numbers
            && matches!((looked_at, thread), (Some(one), Some(other)) if raw::share_descriptors(one, other))
    }

    /// Looks at the descriptors of a thread.
    fn descriptors(&self, task: &Path, seen: &mut dyn FnMut(Object, &Path, i32) -> ControlFlow<()>) -> Result<(), End> {
        let mut unreadable = false;
        for fd in entries(&task.join("fd"))? {
            let Some(descriptor) = fd.file_name().and_then(number) else { continue };
            match if_there(identity(&fd)) {
                Ok(None) => {}
                Ok(Some((device, _))) if !self.devices.contains(&device) => {}
                Ok(Some((device, Some(inode)))) => End::unless(seen((device, inode), &fd, descriptor as i32))?,
                // Not even root may ask some file systems, such as another user's FUSE mount.
                Ok(Some((_, None))) | Err(_) => unreadable |= self.may_be_wanted(task, &fd),
            }
        }
        if unreadable { Err(End::Unreadable) } else { Ok(()) }
    }

    /// Whether `fdinfo`, which does not ask the file system, leaves it open that a descriptor is of a wanted object.
    fn may_be_wanted(&self, task: &Path, fd: &Path) -> bool {
        let Some(number) = fd.file_name() else { return true };
        let Ok(info) = text(task.join("fdinfo").join(number)) else { return true };
        let inode = field(&info, "ino:").and_then(|inode| inode.parse().ok());
        inode.is_none_or(|inode: u64| self.objects.iter().any(|&(_, wanted)| wanted == inode))
    }
}

/// The device of an open file, and its inode where that is known without asking a file system, which can hang.
fn identity(fd: &Path) -> io::Result<(u64, Option<u64>)> {
    let path = CString::new(fd.as_os_str().as_bytes())?;
    match retry(|| Ok(raw::cached_identity(&path)?)) {
        // Before Linux 4.11, and in sandboxes that do not know the call.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            retry(|| fs::metadata(fd)).map(|metadata| (metadata.dev(), Some(metadata.ino())))
        }
        known => known,
    }
}

/// Whether `/proc` is mounted so that it may hide processes from this one.
fn hides_processes(status: &str) -> io::Result<bool> {
    let mounts = text("/proc/thread-self/mountinfo")?;
    if !mounts.lines().any(hides) {
        return Ok(false);
    }
    let capabilities = field(status, "CapEff:").and_then(|set| u64::from_str_radix(set, 16).ok());
    let users = text("/proc/thread-self/uid_map")?;
    // The capability reaches beyond a user namespace only from the first one, which maps all ids.
    let first = users.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    Ok(!first || capabilities.is_none_or(|set| set & MAY_LOOK_INTO_ALL == 0))
}

/// Whether this is the PID namespace in which all processes are.
fn in_initial_namespace() -> bool {
    /// `PROC_PID_INIT_INO` in the kernel's include/linux/proc_ns.h.
    const INITIAL: &str = "pid:[4026531836]";
    fs::read_link("/proc/thread-self/ns/pid").is_ok_and(|name| name.as_os_str() == INITIAL)
}

/// Whether mappings on a device are known to be told by its number: not where the store is no tmpfs or the like.
fn agrees(device: u64) -> bool {
    let in_store = fs::metadata(super::directory()).is_ok_and(|store| store.dev() == device);
    !in_store || super::unused::is_exact(super::DIRECTORY)
}

/// Whether a line of `mountinfo` is a mount on `/proc` with the option `hidepid`.
fn hides(mount: &str) -> bool {
    let Some((place, kind)) = mount.split_once(" - ") else { return false };
    let options = kind.rsplit(' ').next().unwrap_or_default();
    place.split(' ').nth(4) == Some("/proc")
        && options
            .split(',')
            .any(|option| option.strip_prefix("hidepid=").is_some_and(|value| value != "0" && value != "off"))
}

/// Reads a file of `/proc`. A thread's name and a mount's place can be any bytes, and are not what is looked for.
fn text(path: impl AsRef<Path>) -> io::Result<String> {
    retry(|| fs::read(&path)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The value after `name` at the start of a line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(entries) = if_there(retry(|| fs::read_dir(directory)))? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        if let Some(entry) = if_there(entry)? {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// `None` for what has ended meanwhile.
pub(super) fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn number(name: &OsStr) -> Option<u32> {
    name.to_str()?.parse().ok()
}

fn hexadecimal(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_recognised_by_device_and_inode_and_not_by_path() {
        let disk = makedev(0x103, 2);
        let look = Look { objects: &[], devices: vec![0x1a, disk], hidden: false, own_numbers: true };
        let object = |line: &[u8]| look.mapping(line).map(|(object, ..)| object);
        assert_eq!(object(b"7f00-7f01 rw-s 00000000 00:1a 27    /dev/shm/a (deleted)"), Some((0x1a, 27)));
        assert_eq!(object(b"7f02-7f03 r--p 00001000 103:02 28    /bin/00:1a 29"), Some((disk, 28)));
        assert_eq!(object(b"7f02-7f03 r--p 00001000 00:02 27    /bin/00:1a 29"), None);
        assert_eq!(object(b"7f02-7f03 rw-p 00000000 00:00 0 "), None);
        assert_eq!(object(b""), None);
    }

    #[test]
    fn a_line_says_where_how_long_and_how_it_is_mapped() {
        let look = Look { objects: &[], devices: vec![0x1a], hidden: false, own_numbers: true };
        let (_, mapping, path) = look.mapping(b"7f00000000-7f00003000 rw-s 00002000 00:1a 27    /a \xff").unwrap();
        assert_eq!((mapping.address, mapping.len, mapping.offset), (0x7f_0000_0000, 0x3000, 0x2000));
        assert!(mapping.writable && mapping.shared && path == b"/a \xff");
        let (_, mapping, _) = look.mapping(b"7f00000000-7f00001000 r--p 00000000 00:1a 27").unwrap();
        assert!(!mapping.writable && !mapping.shared);
    }

    #[test]
    fn only_a_hidepid_on_proc_hides() {
        let mount = |place: &str, options: &str| {
            hides(&format!("23 28 0:21 / {place} rw,nosuid shared:12 - proc proc rw,{options}"))
        };
        assert!(mount("/proc", "hidepid=invisible") && mount("/proc", "gid=5,hidepid=2"));
        assert!(!mount("/proc", "gid=5") && !mount("/proc", "hidepid=off"));
        assert!(!mount("/jail/proc", "hidepid=2"));
    }
}
