//! `ftok`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use shared_region_sysv::ftok;

use crate::interop::c_program;
use crate::support::{assert_errno, quiet};

#[test]
fn ftok_gives_the_key_that_a_c_program_gets() {
    let quiet = quiet();
    let Some(c) = c_program(&quiet) else { return };
    for path in ["/", "/proc/version", "Cargo.toml", "src"] {
        for proj_id in [0, 1, 65, 255, 256, 257, -1, i32::MAX, i32::MIN] {
            let key: i32 = c.run(&quiet, &["ftok", path, &proj_id.to_string()]).parse().unwrap();
            assert_eq!(ftok(path, proj_id).unwrap(), key, "{path} {proj_id}");
        }
    }
}

#[test]
fn only_the_low_eight_bits_of_proj_id_count() {
    assert_eq!(ftok("/", 257).unwrap(), ftok("/", 1).unwrap());
    assert_eq!(ftok("/", 256).unwrap(), ftok("/", 0).unwrap());
    assert_eq!(ftok("/", -1).unwrap(), ftok("/", 255).unwrap());
    assert_ne!(ftok("/", 2).unwrap(), ftok("/", 1).unwrap());
}

#[test]
fn a_key_is_made_of_proj_id_device_and_inode() {
    let root = fs::metadata("/").unwrap();
    let expected = 0x42 << 24 | (root.dev() & 0xff) << 16 | root.ino() & 0xffff;
    assert_eq!(ftok("/", 0x42).unwrap() as u64, expected);
}

#[test]
fn ftok_of_a_path_that_leads_nowhere_keeps_the_code_of_stat() {
    assert_errno(ftok("/no/such/file", 1), Errno::ENOENT as i32);
    assert_errno(ftok("/proc/version/x", 1), Errno::ENOTDIR as i32);
    assert_errno(ftok("", 1), Errno::ENOENT as i32);
}

#[test]
fn ftok_of_a_path_with_a_nul_byte_is_refused() {
    let path = Path::new(OsStr::from_bytes(b"/\0x"));
    let error = ftok(path, 1).unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (std::io::ErrorKind::InvalidInput, None));
}
