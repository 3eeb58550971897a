//! The memory limits of the control groups that this process is in, such as a container's.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// Smaller requests are not compared: the comparison would take as long as they do.
const COMPARED_FROM: usize = 16 << 20;

/// A memory limit of a control group that this process is in, or of one above that; see [`memory_limits`].
///
/// # Platform-specific behavior
///
/// Linux has them, in both versions of its control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias("memory.max", "memory.limit_in_bytes"))]
pub struct MemoryLimit {
    path: PathBuf,
    max: u64,
    current: u64,
    room: u64,
}

impl MemoryLimit {
    /// Returns the file that holds the limit, such as `/sys/fs/cgroup/memory.max`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the limit, in bytes.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Returns how many bytes the group and those below it use, the cache of files included.
    pub fn current(&self) -> u64 {
        self.current
    }

    /// Returns how many bytes more can be had before the kernel kills a process of the group: up to the limit, and what
    /// it can take back of the cache of files or move to swap.
    pub fn room(&self) -> u64 {
        self.room
    }
}

/// Returns the memory limits that hold for this process, its own group's first and then those above it.
///
/// Shared memory counts as memory of the group of whoever touches it first. Past a limit the kernel kills, so creating
/// and growing compare from 16 MiB on, unless the allocation is [`Lazy`](crate::Allocation::Lazy).
///
/// Groups without a limit are left out, and so is all that cannot be read: an empty list may mean both.
///
/// # Platform-specific behavior
///
/// - Linux: `memory.max` or, in the older version, `memory.limit_in_bytes` of the groups in `/proc/self/cgroup`, as far
///   as they are mounted here. In a container those above its own are usually out of sight.
/// - Elsewhere the list is empty.
///
/// # Examples
///
/// ```
/// for limit in shared_region::memory_limits() {
///     println!("{}: {} bytes, {} left", limit.path().display(), limit.max(), limit.room());
///     assert!(limit.max() > 0);
/// }
/// ```
///
/// # References
///
/// [cgroups(7)](https://man7.org/linux/man-pages/man7/cgroups.7.html), and the kernel's documentation of
/// [version 2](https://docs.kernel.org/admin-guide/cgroup-v2.html) and of
/// [version 1](https://docs.kernel.org/admin-guide/cgroup-v1/memory.html)
pub fn memory_limits() -> Vec<MemoryLimit> {
    limits_below(Path::new("/"))
}

/// Refuses what a memory limit has no room for: the kernel would kill whoever touches it.
pub(crate) fn check_memory_limits(size: usize) -> Result<()> {
    check(size, Path::new("/"))
}

fn check(size: usize, root: &Path) -> Result<()> {
    if size < COMPARED_FROM {
        return Ok(());
    }
    let tightest = limits_below(root).into_iter().min_by_key(MemoryLimit::room);
    match tightest {
        Some(limit) if limit.room < size as u64 => Err(Error::new(ErrorKind::NoSpace).reason(format!(
            "{size} bytes do not fit into the memory limit of this container: {} is {} bytes, {} left: raise it, or ask \
             for less",
            limit.path.display(),
            limit.max,
            limit.room
        ))),
        _ => Ok(()),
    }
}

/// Finds the limits by what is mounted and told below `root`.
fn limits_below(root: &Path) -> Vec<MemoryLimit> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    // Asked for where a limit is. Where that is not told, swap may be endless.
    let free_swap = || field(&read("proc/meminfo"), "SwapFree:").map_or(u64::MAX, |kib| kib.saturating_mul(1024));
    let mut found = Vec::new();
    for version in [Version::Two, Version::One] {
        let own = groups.lines().find_map(|line| version.own_group(line));
        let folders = own.and_then(|own| mounts.lines().find_map(|line| version.folder(line, own)));
        let Some((top, below)) = folders else { continue };
        let top = root.join(top.strip_prefix("/").unwrap_or(&top));
        let own = top.join(below);
        found.extend(own.ancestors().take_while(|group| group.starts_with(&top)).filter_map(|group| match version {
            Version::Two => version_two(group, free_swap),
            Version::One => version_one(group, free_swap),
        }));
    }
    found
}

#[derive(Clone, Copy)]
enum Version {
    One,
    Two,
}

impl Version {
    /// This process's group, of a line of `/proc/self/cgroup`: number, controllers, path.
    fn own_group(self, line: &str) -> Option<&Path> {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let ours = match self {
            Self::Two => number == "0" && controllers.is_empty(),
            Self::One => controllers.split(',').any(|controller| controller == "memory"),
        };
        ours.then_some(Path::new(path))
    }

    /// Where a group is, of a line of `/proc/self/mountinfo` that shows it: the mount, and the path below that.
    fn folder(self, line: &str, group: &Path) -> Option<(PathBuf, PathBuf)> {
        let (mount, kind) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (unescaped(mount.next()?), unescaped(mount.next()?));
        let mut kind = kind.split(' ');
        let ours = match (self, kind.next()?) {
            (Self::Two, "cgroup2") => true,
            (Self::One, "cgroup") => kind.nth(1)?.split(',').any(|option| option == "memory"),
            _ => false,
        };
        // A group outside of this namespace's begins with `/..`, and is mounted nowhere.
        let below = group.strip_prefix(root).ok()?;
        let visible = below.components().all(|part| matches!(part, Component::Normal(_)));
        (ours && visible).then(|| (point.into(), below.to_owned()))
    }
}

/// Spaces and the like stand as `\040` in the table of mounts.
fn unescaped(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (code, character)| path.replace(code, character))
}

/// A file that holds one number; without one it says "max".
fn number(group: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(group.join(file)).ok()?.trim().parse().ok()
}

/// A number behind its name in a file of many lines.
fn field(text: &str, name: &str) -> Option<u64> {
    let words = text.lines().map(|line| line.split_ascii_whitespace());
    words.filter_map(|mut words| (words.next()? == name).then(|| words.next()?.parse().ok())?).next()
}

/// What the kernel takes back when memory is short.
fn reclaimable(group: &Path, names: &[&str]) -> u64 {
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    names.iter().filter_map(|name| field(&stat, name)).fold(0, u64::saturating_add)
}

fn version_two(group: &Path, free_swap: impl Fn() -> u64) -> Option<MemoryLimit> {
    let path = group.join("memory.max");
    let (max, current) = (number(group, "memory.max")?, number(group, "memory.current")?);
    let cache = reclaimable(group, &["inactive_file", "active_file", "slab_reclaimable"]);
    let swap_max = number(group, "memory.swap.max").unwrap_or(u64::MAX);
    let swap = swap_max.saturating_sub(number(group, "memory.swap.current").unwrap_or(0)).min(free_swap());
    let room = max.saturating_sub(current).saturating_add(cache).saturating_add(swap);
    Some(MemoryLimit { path, max, current, room })
}

fn version_one(group: &Path, free_swap: impl Fn() -> u64) -> Option<MemoryLimit> {
    /// Without a limit it is the largest number of whole pages.
    const NONE: u64 = i64::MAX as u64 - (1 << 20);
    let max = number(group, "memory.limit_in_bytes").filter(|&max| max < NONE)?;
    let current = number(group, "memory.usage_in_bytes")?;
    let cache = reclaimable(group, &["total_inactive_file", "total_active_file"]);
    let mut room = max.saturating_sub(current).saturating_add(cache).saturating_add(free_swap());
    // Memory and swap together have a limit of their own.
    let both = number(group, "memory.memsw.limit_in_bytes").zip(number(group, "memory.memsw.usage_in_bytes"));
    if let Some((max, current)) = both {
        room = room.min(max.saturating_sub(current).saturating_add(cache));
    }
    Some(MemoryLimit { path: group.join("memory.limit_in_bytes"), max, current, room })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A folder of made-up files, removed when dropped.
    struct Machine(PathBuf);

    impl Machine {
        fn new(files: &[(&str, &str)]) -> Self {
            static COUNTER: AtomicU32 = AtomicU32::new(0);
            let count = COUNTER.fetch_add(1, Ordering::Relaxed);
            let machine =
                Self(std::env::temp_dir().join(format!("shared-region-groups-{}-{count}", std::process::id())));
            for (path, text) in files {
                let path = machine.0.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            machine
        }

        /// What is found: the file below the mount, the limit, what is used, the room.
        fn told(&self) -> Vec<(String, u64, u64, u64)> {
            let path = |limit: &MemoryLimit| limit.path().strip_prefix(&self.0).unwrap().display().to_string();
            limits_below(&self.0)
                .iter()
                .map(|limit| (path(limit), limit.max(), limit.current(), limit.room()))
                .collect()
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const TWO: &str = "24 1 0:22 / /proc rw - proc proc rw\n30 23 0:26 / /cg rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
    const ONE: &str =
        "36 32 0:33 / /cg/cpu rw - cgroup cgroup rw,cpu\n37 32 0:34 / /cg/memory rw - cgroup cgroup rw,memory\n";
    const NO_SWAP: &str = "MemTotal: 1 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n";
    const MIB: u64 = 1 << 20;

    #[test]
    fn every_limit_from_the_own_group_up_is_found() {
        let machine = Machine::new(&[
            ("proc/self/cgroup", "12:cpu:/other\n0::/a/b\n"),
            ("proc/self/mountinfo", TWO),
            ("proc/meminfo", NO_SWAP),
            ("cg/a/b/memory.max", "1000\n"),
            ("cg/a/b/memory.current", "300\n"),
            ("cg/a/b/memory.stat", "anon 200\ninactive_file 30\nactive_file 20\nslab_reclaimable 5\nfile 60\n"),
            ("cg/a/memory.max", "max\n"),
            ("cg/a/memory.current", "400\n"),
            ("cg/memory.max", "900\n"),
            ("cg/memory.current", "850\n"),
        ]);
        let expected = [("cg/a/b/memory.max", 1000, 300, 755), ("cg/memory.max", 900, 850, 50)];
        assert_eq!(machine.told(), expected.map(|(path, max, current, room)| (path.to_owned(), max, current, room)));
    }

    #[test]
    fn swap_counts_as_far_as_the_group_may_have_it_and_the_machine_has_it() {
        for (limit, used, free, room) in [
            ("5000", "100", 1, 1024 + 700),
            ("500", "100", 0, 700),
            ("500", "100", 9, 400 + 700),
            ("max", "0", 2, 2748),
        ] {
            let machine = Machine::new(&[
                ("proc/self/cgroup", "0::/\n"),
                ("proc/self/mountinfo", TWO),
                ("proc/meminfo", &format!("SwapFree: {free} kB\n")),
                ("cg/memory.max", "1000"),
                ("cg/memory.current", "300"),
                ("cg/memory.swap.max", limit),
                ("cg/memory.swap.current", used),
            ]);
            assert_eq!(machine.told()[0].3, room, "{limit} {used} {free}");
        }
    }

    #[test]
    fn what_cannot_be_read_refuses_nothing() {
        let groups = ("proc/self/cgroup", "0::/a\n");
        let max = ("cg/a/memory.max", "1000\n");
        for files in [
            vec![],
            vec![groups],
            vec![groups, ("proc/self/mountinfo", TWO)],
            vec![groups, ("proc/self/mountinfo", TWO), max],
            vec![groups, ("proc/self/mountinfo", TWO), ("cg/a/memory.max", "?"), ("cg/a/memory.current", "1")],
            // Nobody tells how much swap there is.
            vec![groups, ("proc/self/mountinfo", TWO), max, ("cg/a/memory.current", "1")],
            // The group is out of sight.
            vec![("proc/self/cgroup", "0::/../b\n"), ("proc/self/mountinfo", TWO), ("cg/memory.max", "max")],
        ] {
            assert!(check(1 << 30, &Machine::new(&files).0).is_ok(), "{files:?}");
        }
    }

    #[test]
    fn a_mount_can_show_a_part_of_the_groups() {
        let machine = Machine::new(&[
            ("proc/self/cgroup", "0::/pod/c/d\n"),
            ("proc/self/mountinfo", "30 23 0:26 /pod/c /cg\\040x rw - cgroup2 cgroup2 rw\n"),
            ("proc/meminfo", NO_SWAP),
            ("cg x/memory.max", "1000\n"),
            ("cg x/memory.current", "300\n"),
        ]);
        assert_eq!(machine.told(), [("cg x/memory.max".to_owned(), 1000, 300, 700)]);
    }

    #[test]
    fn the_older_version_limits_memory_and_memory_with_swap() {
        let files = |limit: &'static str, memsw: Option<(&'static str, &'static str)>| {
            let mut files = vec![
                ("proc/self/cgroup", "4:cpu:/x\n3:memory:/a\n0::/y\n"),
                ("proc/self/mountinfo", ONE),
                ("proc/meminfo", "SwapFree: 1 kB\n"),
                ("cg/memory/a/memory.limit_in_bytes", limit),
                ("cg/memory/a/memory.usage_in_bytes", "3000"),
                ("cg/memory/a/memory.stat", "inactive_file 7\ntotal_inactive_file 10\ntotal_active_file 1\n"),
            ];
            if let Some((max, used)) = memsw {
                files.push(("cg/memory/a/memory.memsw.limit_in_bytes", max));
                files.push(("cg/memory/a/memory.memsw.usage_in_bytes", used));
            }
            Machine::new(&files).told()
        };
        let path = || "cg/memory/a/memory.limit_in_bytes".to_owned();
        assert_eq!(files("5000", None), [(path(), 5000, 3000, 2000 + 11 + 1024)]);
        assert_eq!(files("5000", Some(("5000", "3000"))), [(path(), 5000, 3000, 2000 + 11)]);
        assert_eq!(files("9223372036854771712", None), []);
    }

    #[test]
    fn the_tightest_limit_is_named_with_its_value_and_what_is_left() {
        let (max, used) = ((64 * MIB).to_string(), (4 * MIB).to_string());
        let machine = Machine::new(&[
            ("proc/self/cgroup", "0::/a\n"),
            ("proc/self/mountinfo", TWO),
            ("proc/meminfo", NO_SWAP),
            ("cg/a/memory.max", "1000000000"),
            ("cg/a/memory.current", "0"),
            ("cg/memory.max", &max),
            ("cg/memory.current", &used),
        ]);
        let text = check(60 * MIB as usize + 1, &machine.0).unwrap_err().to_string();
        for part in ["cg/memory.max is 67108864 bytes", "62914560 left", "62914561 bytes do not fit"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(check(60 * MIB as usize, &machine.0).is_ok());
    }

    #[test]
    fn small_requests_are_not_compared() {
        let machine = Machine::new(&[
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", TWO),
            ("proc/meminfo", NO_SWAP),
            ("cg/memory.max", "4096"),
            ("cg/memory.current", "4096"),
        ]);
        assert!(check(COMPARED_FROM - 1, &machine.0).is_ok());
        assert!(check(COMPARED_FROM, &machine.0).is_err());
    }
}
