//! Looks into every process through `/proc`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::stat::{major, minor};

use crate::holders::Holders;
use crate::sys::retry;

/// `CAP_SYS_PTRACE` as a bit of `CapEff`; see capabilities(7).
const MAY_LOOK_INTO_ALL: u64 = 1 << 19;

pub(crate) fn holders(device: u64, inode: u64) -> io::Result<Holders> {
    let mut found = Holders { pids: Vec::new(), unreadable: 0, hidden: hides_processes()? };
    for process in retry(|| fs::read_dir("/proc"))? {
        let process = process?;
        let Some(pid) = number(&process.file_name()) else { continue };
        match holds(&process.path(), device, inode) {
            Ok(true) => found.pids.push(pid),
            Ok(false) => {}
            Err(_) => found.unreadable += 1,
        }
    }
    found.pids.sort_unstable();
    Ok(found)
}

/// Whether any thread of a process has the object mapped or open.
///
/// Every thread has to be asked: a main thread that has ended hides what the others have mapped, and
/// each can have descriptors of its own.
fn holds(process: &Path, device: u64, inode: u64) -> io::Result<bool> {
    let (mut mappings_seen, mut failure) = (false, None);
    for task in entries(&process.join("task"))? {
        if !mappings_seen {
            // Who may not read these may not follow the descriptors either: proc(5), PTRACE_MODE_READ_FSCREDS.
            let maps = if_there(retry(|| fs::read(task.join("maps"))))?.unwrap_or_default();
            if mentions(&maps, device, inode) {
                return Ok(true);
            }
            // All threads of a process share one address space.
            mappings_seen = !maps.is_empty();
        }
        match opened(&task, device, inode) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(false), Err)
}

/// Whether `maps` has a line of the object: "start-end perms offset major:minor inode path".
fn mentions(maps: &[u8], device: u64, inode: u64) -> bool {
    let device = format!("{:02x}:{:02x}", major(device), minor(device));
    let inode = inode.to_string();
    maps.split(|&byte| byte == b'\n').any(|line| {
        let mut fields = line.split(|&byte| byte == b' ').skip(3);
        fields.next() == Some(device.as_bytes()) && fields.next() == Some(inode.as_bytes())
    })
}

/// Whether a thread has a descriptor of the object.
fn opened(task: &Path, device: u64, inode: u64) -> io::Result<bool> {
    let mut failure = None;
    for fd in entries(&task.join("fd"))? {
        match if_there(retry(|| fs::metadata(&fd))) {
            Ok(Some(metadata)) if (metadata.dev(), metadata.ino()) == (device, inode) => {
                return Ok(true);
            }
            Ok(_) => {}
            // Not even root may ask some file systems, such as another user's FUSE mount.
            Err(error) => {
                if !has_other_inode(task, &fd, inode) {
                    failure = Some(error);
                }
            }
        }
    }
    failure.map_or(Ok(false), Err)
}

/// Whether `fdinfo`, which does not ask the file system, says that a descriptor is of another inode.
fn has_other_inode(task: &Path, fd: &Path, inode: u64) -> bool {
    let Some(number) = fd.file_name() else { return false };
    let Ok(info) = retry(|| fs::read_to_string(task.join("fdinfo").join(number))) else {
        return false;
    };
    field(&info, "ino:").is_some_and(|found| found != inode.to_string())
}

/// Whether `/proc` is mounted so that it may hide processes from this one.
fn hides_processes() -> io::Result<bool> {
    // Fails where this process is not in `/proc`, because there is none or it is another namespace's:
    // else such a directory would read as "nobody".
    let mounts = retry(|| fs::read_to_string("/proc/self/mountinfo"))?;
    if !mounts.lines().any(hides) {
        return Ok(false);
    }
    let status = retry(|| fs::read_to_string("/proc/self/status"))?;
    let capabilities = field(&status, "CapEff:").and_then(|set| u64::from_str_radix(set, 16).ok());
    let users = retry(|| fs::read_to_string("/proc/self/uid_map"))?;
    // The capability reaches beyond a user namespace only from the first one, which maps all ids.
    let first = users.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    Ok(!first || capabilities.is_none_or(|set| set & MAY_LOOK_INTO_ALL == 0))
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
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn number(name: &OsStr) -> Option<u32> {
    name.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_recognised_by_device_and_inode_and_not_by_path() {
        let maps = b"7f00-7f01 rw-s 00000000 00:1a 27    /dev/shm/a (deleted)\n\
            7f02-7f03 r--p 00001000 103:02 28    /bin/00:1a 29\n";
        assert!(mentions(maps, 0x1a, 27));
        assert!(mentions(maps, nix::sys::stat::makedev(0x103, 2), 28));
        assert!(!mentions(maps, 0x1a, 28) && !mentions(maps, 0x1a, 2) && !mentions(maps, 0x1a, 29));
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
