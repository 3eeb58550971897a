//! `shm limits`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use nix::unistd::{SysconfVar, sysconf};
use serde::Serialize;

use crate::failure::{Failure, tell};
use crate::size::show;
use crate::table::{self, Table, left, prose, right};

/// Shows what limits shared memory here, how much is in use, and how to raise it.
///
/// The limits of System V are those of the IPC namespace, those of /dev/shm are those of the mount that is seen here.
/// Memory limits are those of the control groups that this process is in, such as a container's.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON: every number exact, in bytes where its name does not say otherwise.
    #[arg(long)]
    json: bool,
}

/// Everything, as JSON has it; `null` where this system does not tell.
#[derive(Debug, Serialize)]
struct Limits {
    page_size: Option<u64>,
    sysv: Option<Sysv>,
    posix: Option<Posix>,
    memory_limits: Vec<MemoryLimit>,
    memlock: Option<Memlock>,
    huge_pages: HugePages,
    shm_rmid_forced: Option<u64>,
    protected_regular: Option<u64>,
    /// Whether logind removes what belongs to a user with their last session; `null` without logind.
    remove_ipc: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Sysv {
    shmmax: u64,
    shmall_pages: u64,
    shmmni: u64,
    segments: u64,
    pages: u64,
    pages_resident: u64,
    pages_swapped: u64,
}

/// A size or a number of 0 is no limit.
#[derive(Debug, Serialize)]
struct Posix {
    size: u64,
    used: u64,
    inodes: u64,
    inodes_used: u64,
    read_only: bool,
}

/// A limit of a control group, with what it has left once the cache of files is taken back and swap is used.
#[derive(Debug, Serialize)]
struct MemoryLimit {
    path: String,
    max: u64,
    used: u64,
    left: u64,
}

/// `null` is no limit.
#[derive(Debug, Serialize)]
struct Memlock {
    soft: Option<u64>,
    hard: Option<u64>,
}

#[derive(Debug, Serialize)]
struct HugePages {
    page_size: Option<u64>,
    total: Option<u64>,
    free: Option<u64>,
    reserved: Option<u64>,
}

pub(crate) fn run(args: Args, out: &mut dyn Write) -> Result<(), Failure> {
    let mut complete = true;
    let mut told = |what: &str, error: std::io::Error| {
        tell(&format_args!("cannot ask for the {what}: {error}"));
        complete = false;
    };
    let sysv = shared_region_sysv::limits().and_then(|limits| Ok((limits, shared_region_sysv::usage()?)));
    let sysv = sysv.map_err(|error| told("limits of System V", error)).ok();
    let posix = shared_region_posix::store().map_err(|error| told("size of /dev/shm", error)).ok();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let limits = Limits {
        page_size: sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| size.try_into().ok()),
        sysv: sysv.map(|(limits, usage)| Sysv {
            shmmax: limits.segment_max_bytes(),
            shmall_pages: limits.pages_max(),
            shmmni: limits.segments_max(),
            segments: usage.segments(),
            pages: usage.pages_total(),
            pages_resident: usage.pages_resident(),
            pages_swapped: usage.pages_swapped(),
        }),
        posix: posix.map(|store| Posix {
            size: store.total(),
            used: store.total().saturating_sub(store.free()),
            inodes: store.inodes_total(),
            // The directory itself is one of them, and no object.
            inodes_used: store.inodes_total().saturating_sub(store.inodes_free()).saturating_sub(1),
            read_only: store.is_read_only(),
        }),
        memory_limits: shared_region::memory_limits()
            .iter()
            .map(|limit| MemoryLimit {
                path: limit.path().display().to_string(),
                max: limit.max(),
                used: limit.current(),
                left: limit.room(),
            })
            .collect(),
        memlock: memlock(),
        huge_pages: HugePages {
            page_size: meminfo(&memory, "Hugepagesize:").map(|kib| kib << 10),
            total: meminfo(&memory, "HugePages_Total:"),
            free: meminfo(&memory, "HugePages_Free:"),
            reserved: meminfo(&memory, "HugePages_Rsvd:"),
        },
        shm_rmid_forced: setting("kernel/shm_rmid_forced"),
        protected_regular: setting("fs/protected_regular"),
        remove_ipc: remove_ipc(),
    };
    if args.json {
        table::write_json(out, &limits)?
    } else {
        limits.table().write(table::terminal_width(), out)?
    }
    if complete { Ok(()) } else { Err(Failure::Told) }
}

impl Limits {
    fn table(&self) -> Table {
        let mut table = Table::new(&[left("LIMIT", 0), right("VALUE", 0), right("IN USE", 0), prose("TO CHANGE IT")]);
        let mut row = |name: &str, value: String, used: String, how: &str| {
            table.row([name.to_owned(), value, used, how.to_owned()]);
        };
        let number = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
        if let Some(sysv) = &self.sysv {
            // In the unit that the command takes.
            let page = self.page_size.map_or("PAGES".into(), |page| format!("PAGES of {page} bytes"));
            row("SHMMAX, one segment", endless(sysv.shmmax, size), String::new(), "sysctl kernel.shmmax=BYTES");
            let how = format!("sysctl kernel.shmall={page}");
            row(
                "SHMALL, pages of all",
                endless(sysv.shmall_pages, |pages| pages.to_string()),
                sysv.pages.to_string(),
                &how,
            );
            row("SHMMNI, segments", sysv.shmmni.to_string(), sysv.segments.to_string(), "sysctl kernel.shmmni=NUMBER");
        }
        if let Some(posix) = &self.posix {
            let limit = |value: u64, show: fn(u64) -> String| if value == 0 { "none".into() } else { show(value) };
            let used = |of: u64, used: u64, show: fn(u64) -> String| if of == 0 { String::new() } else { show(used) };
            let mount = if posix.read_only {
                "mount -o remount,rw /dev/shm (it is read-only)"
            } else {
                "mount -o remount,size=SIZE /dev/shm; docker run --shm-size=SIZE; shm_size: SIZE in compose; Kubernetes: an \
                emptyDir of medium Memory with sizeLimit: SIZE, mounted on /dev/shm"
            };
            row("/dev/shm, bytes", limit(posix.size, size), used(posix.size, posix.used, size), mount);
            row(
                "/dev/shm, objects",
                limit(posix.inodes, |value| value.to_string()),
                used(posix.inodes, posix.inodes_used, |value| value.to_string()),
                "mount -o remount,nr_inodes=NUMBER /dev/shm (the directory takes one)",
            );
        }
        for limit in &self.memory_limits {
            let how = format!(
                "{}; docker run --memory=SIZE; mem_limit: SIZE in compose; resources.limits.memory in Kubernetes; \
                MemoryMax= of a systemd unit",
                limit.path
            );
            row("memory of the container", size(limit.max), size(limit.used), &how);
        }
        if let Some(memlock) = &self.memlock {
            let soft = memlock.soft.map_or("none".into(), size);
            row("locked memory", soft, String::new(), "ulimit -l KIB; LimitMEMLOCK= of a systemd unit; limits.conf(5)");
        }
        let huge = &self.huge_pages;
        let name = huge.page_size.map_or("huge pages".into(), |bytes| format!("huge pages of {}", show(bytes)));
        // What is reserved is free only for who reserved it.
        let used = huge.total.zip(huge.free);
        let used = used.map(|(total, free)| total.saturating_sub(free) + huge.reserved.unwrap_or(0));
        row(&name, number(huge.total), number(used), "sysctl vm.nr_hugepages=NUMBER");
        let forced = "sysctl kernel.shm_rmid_forced=0; 1 removes each segment that nobody has attached";
        row("shm_rmid_forced", number(self.shm_rmid_forced), String::new(), forced);
        let protected =
            "sysctl fs.protected_regular=0; else O_CREAT does not open another user's object, not even for root";
        row("protected_regular", number(self.protected_regular), String::new(), protected);
        if let Some(removes) = self.remove_ipc {
            let how = "RemoveIPC=no in logind.conf(5), else with a user's last session all goes that is theirs, but not of \
                system users; a unit has a RemoveIPC= of its own, off by default";
            row("RemoveIPC of logind", if removes { "yes" } else { "no" }.into(), String::new(), how);
        }
        table
    }
}

/// A size for whoever reads it: a person or a program.
fn size(bytes: u64) -> String {
    if table::is_terminal() { show(bytes) } else { bytes.to_string() }
}

/// Linux's defaults for these are the largest number less 2^24: no limit.
fn endless(value: u64, show: impl Fn(u64) -> String) -> String {
    if value >= u64::MAX - (1 << 24) { "none".into() } else { show(value) }
}

/// The value of a sysctl, where it can be read.
pub(crate) fn setting(path: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/{path}")).ok()?.trim().parse().ok()
}

/// What logind is told, the later file over the earlier: where it runs, and unless told otherwise, it removes. logind.conf(5)
fn remove_ipc() -> Option<bool> {
    if !Path::new("/run/systemd/users").exists() {
        return None;
    }
    let places = ["/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"];
    let main = places.iter().map(|place| format!("{place}/logind.conf")).find_map(|file| fs::read_to_string(file).ok());
    // Of files of the same name the one in the first place counts.
    let mut more = BTreeMap::new();
    for place in places.iter().rev() {
        for entry in fs::read_dir(format!("{place}/logind.conf.d")).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "conf") {
                more.insert(entry.file_name(), entry.path());
            }
        }
    }
    let texts = main.into_iter().chain(more.into_values().filter_map(|file| fs::read_to_string(file).ok()));
    let mut told = texts.filter_map(|text| {
        let values =
            text.lines().filter_map(|line| line.split_once('=').filter(|(name, _)| name.trim() == "RemoveIPC"));
        values
            .map(|(_, value)| matches!(value.trim().to_lowercase().as_str(), "yes" | "true" | "on" | "1" | "y" | "t"))
            .next_back()
    });
    Some(told.next_back().unwrap_or(true))
}

fn meminfo(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// This process's limit, which it has from whoever started it.
fn memlock() -> Option<Memlock> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let mut values = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?.split_whitespace();
    // "unlimited" is no number.
    let mut next = || values.next().map(|value| value.parse().ok());
    Some(Memlock { soft: next()?, hard: next()? })
}
