//! Objects that a mount keeps, without any process.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The names of those objects of the store that are mounted somewhere, in any mount namespace that can be seen: nobody has
/// such a file open, and so the kernel grants a lease on it.
pub(crate) fn names() -> HashSet<Vec<u8>> {
    let mut names = HashSet::new();
    let Some(device) = device() else { return names };
    let mut seen = HashSet::new();
    let others = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    for process in [PathBuf::from("/proc/self")].into_iter().chain(others) {
        if fs::read_link(process.join("ns/mnt")).is_ok_and(|namespace| seen.insert(namespace)) {
            add(&process, &device, &mut names);
        }
    }
    names
}

/// The device of the store, as Linux writes it.
#[cfg(target_os = "linux")]
fn device() -> Option<String> {
    let (device, _) = shared_region_posix::store_identity().ok()?;
    Some(format!("{}:{}", nix::libc::major(device), nix::libc::minor(device)))
}

/// Mounts are told elsewhere.
#[cfg(not(target_os = "linux"))]
fn device() -> Option<String> {
    None
}

/// Adds those of the mount namespace of a process. proc_pid_mountinfo(5)
fn add(process: &Path, device: &str, names: &mut HashSet<Vec<u8>>) {
    let mounts = fs::read(process.join("mountinfo")).unwrap_or_default();
    for line in mounts.split(|&byte| byte == b'\n') {
        let mut fields = line.split(|&byte| byte == b' ').skip(2);
        let of_store = fields.next() == Some(device.as_bytes());
        if let Some([b'/', name @ ..]) = fields.next().filter(|_| of_store) {
            if !name.is_empty() {
                names.insert(plain(name));
            }
        }
    }
}

/// Takes away the octal escapes of blanks and backslashes.
fn plain(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal.filter(|_| first == b'\\') {
            Some(byte) => {
                plain.push(byte);
                rest = &rest[4..];
            }
            None => {
                plain.push(first);
                rest = after;
            }
        }
    }
    plain
}
