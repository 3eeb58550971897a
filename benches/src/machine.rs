//! On what was measured.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::str::FromStr;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc;
use nix::sys::utsname::uname;
use nix::unistd::linkat;
use serde::Serialize;

use crate::isolation::Isolation;

/// The facts that figures depend on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) virtualized: bool,
    pub(crate) memory_mib: u64,
    /// How many processes wanted a processor in the last minute before the run.
    pub(crate) load: f64,
    pub(crate) kernel: String,
    pub(crate) libc: String,
    pub(crate) compiler: String,
    /// Whether `/dev/shm` and the System V namespace were private to the run.
    pub(crate) private_namespaces: bool,
    /// Whether the kernel lets this process link a file by its descriptor alone (`AT_EMPTY_PATH`).
    pub(crate) empty_path: bool,
    pub(crate) shmem_enabled: String,
    pub(crate) huge_page_pool: u64,
}

impl Machine {
    pub(crate) fn look(isolation: Isolation, processors: usize) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let system = uname().ok();
        let of = |part: fn(&nix::sys::utsname::UtsName) -> &std::ffi::OsStr| {
            system.as_ref().map_or_else(String::new, |system| part(system).to_string_lossy().into_owned())
        };
        Self {
            date: output("date", &["-u", "+%Y-%m-%d"]),
            processor: field(&cpuinfo, "model name").unwrap_or_else(|| of(|system| system.machine())),
            processors,
            virtualized: field(&cpuinfo, "flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            memory_mib: memory("MemTotal") >> 20,
            load: first_number("/proc/loadavg").unwrap_or(0.0),
            kernel: format!("{} {}", of(|system| system.sysname()), of(|system| system.release())),
            libc: output("getconf", &["GNU_LIBC_VERSION"]),
            compiler: output("rustc", &["--version"]),
            private_namespaces: isolation == Isolation::Private,
            empty_path: empty_path(),
            shmem_enabled: shmem_enabled(),
            huge_page_pool: first_number("/proc/sys/vm/nr_hugepages").unwrap_or(0),
        }
    }
}

/// What the kernel thinks can be had without swapping, in bytes.
pub(crate) fn available_memory() -> u64 {
    memory("MemAvailable")
}

/// What `/proc/meminfo` says of something, in bytes.
fn memory(of: &str) -> u64 {
    let kibibytes = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|info| field(&info, of)?.split(' ').next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}

fn output(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output().map(|output| output.stdout).unwrap_or_default();
    match String::from_utf8_lossy(&output).trim() {
        "" => "unknown".into(),
        text => text.into(),
    }
}

/// What a file of the kernel's begins with.
fn first_number<T: FromStr>(path: &str) -> Option<T> {
    fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The word in brackets in the kernel's list of choices.
fn shmem_enabled() -> String {
    let text = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/shmem_enabled").unwrap_or_default();
    text.split(['[', ']']).nth(1).unwrap_or("unknown").to_owned()
}

fn empty_path() -> bool {
    let file = File::options().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open("/dev/shm");
    // The target exists, so nothing is linked; the source is looked up first.
    file.is_ok_and(|file| {
        linkat(&file, "", AT_FDCWD, "/dev/shm", AtFlags::AT_EMPTY_PATH) == Err(nix::errno::Errno::EEXIST)
    })
}
