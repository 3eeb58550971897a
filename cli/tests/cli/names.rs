//! How regions are named.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use shared_region::SysvRegion;

use crate::support::{BACKENDS, Region, Scratch, fails, name, ok, ok_with, shm};

#[test]
fn a_bare_name_means_the_one_that_exists() {
    for backend in BACKENDS {
        let region = Region::made(backend, "bare", &["10"]);
        let bare = region.0.split_once(':').unwrap().1;
        assert_eq!(ok_with(&mut shm(["write", bare]), b"here"), "");
        assert_eq!(ok(&mut shm(["read", bare, "--length", "4"])), "here");
    }
}

#[test]
fn a_bare_name_that_both_have_asks_for_the_prefix() {
    let posix = Region::made("posix", "both", &["10"]);
    let bare = posix.0.strip_prefix("posix:").unwrap();
    let sysv = Region::new(format!("sysv:{bare}"));
    ok(&mut shm(["create", &sysv.0, "10"]));
    for command in ["read", "stat", "rm"] {
        let told = fails(&mut shm([command, bare]), 1);
        assert!(told.contains(&posix.0) && told.contains(&sysv.0), "{told}");
    }
    assert!(posix.exists() && sysv.exists());
}

#[test]
fn a_bare_name_that_nobody_has_is_told_with_both_meanings() {
    let bare = name("none");
    let told = fails(&mut shm(["read", &bare]), 1);
    assert!(told.contains(&format!("posix:{bare}")) && told.contains(&format!("sysv:{bare}")), "{told}");
}

#[test]
fn ftok_names_what_a_c_program_would_find() {
    let file = Scratch::with("ftok", b"");
    let region = Region::new(format!("sysv:{:#x}", SysvRegion::ftok(&file.0, i32::from(b'R')).unwrap()));
    let id = format!("sysv:ftok:{},R", file.path());
    ok(&mut shm(["create", &id, "4K"]));
    assert!(region.exists());
    for same in [id.clone(), format!("sysv:ftok:{},82", file.path()), format!("sysv:ftok:{},0x52", file.path())] {
        assert!(ok(&mut shm(["stat", &same])).starts_with(&region.0), "{same}");
    }
    ok(&mut shm(["rm", &id]));
    assert!(!region.exists());
    let told = fails(&mut shm(["read", "sysv:ftok:/no/such/file,1"]), 1);
    assert!(told.contains("/no/such/file") && told.contains("create it first"), "{told}");
}

#[test]
fn a_path_in_dev_shm_is_the_object_there() {
    let name = name("path");
    let native = format!("{name} \u{1b}[31m\u{ff}");
    let region = Region::new(format!("posix:{name}%20%1B%5B31m%C3%BF"));
    ok(&mut shm(["create", &region.0, "4K"]));
    let path = [b"/dev/shm".as_slice(), native.as_bytes()].concat();
    let said = ok(shm(["stat"]).arg(OsStr::from_bytes(&path)));
    assert!(said.starts_with(&region.0) && !said.contains('\u{1b}'), "{said}");
}

#[test]
fn what_is_no_identity_is_refused_with_the_forms() {
    for text in ["frames", "98304", "0x5a01", "", "posix:frames", "sysv:0x0", "/a/b", "nowhere:/x/y"] {
        let output = shm(["stat", text]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
    }
    let output = shm(["rm", "frames"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("posix:/NAME") && told.contains("sysv:#ID"), "{told}");
}

#[test]
fn a_backend_that_this_tool_does_not_have_is_told() {
    let told = fails(&mut shm(["read", "file:/x"]), 1);
    assert!(told.contains("posix and sysv"), "{told}");
}

#[test]
fn what_a_message_names_can_be_typed_again() {
    for (id, command) in [("sysv:#2147483646", "stat"), ("sysv:0x7f0f0f0f", "rm"), ("sysv:0x7f0f0f0f", "read")] {
        let told = fails(&mut shm([command, id]), 1);
        assert!(told.contains(&format!("region \"{id}\": ")) && told.contains("see `shm ls`"), "{told}");
    }
    let told = String::from_utf8(shm(["rm", "5"]).output().unwrap().stderr).unwrap();
    assert!(told.contains("sysv:#5") && told.contains("sysv:0x5"), "{told}");
}
