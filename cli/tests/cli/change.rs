//! `shm chmod`, `shm chown`.

use std::process::Command;

use crate::support::{BACKENDS, NOBODY, Region, Scratch, fails, name, ok, root, shm};

fn mode(region: &Region) -> u32 {
    region.id().metadata().unwrap().mode()
}

#[test]
fn modes_change_as_chmod_changes_those_of_files() {
    for backend in BACKENDS {
        let region = Region::made(backend, "mode", &["64"]);
        let file = Scratch::with("mode", b"");
        Command::new("chmod").args(["600", file.path()]).status().unwrap();
        for change in ["0644", "u+x,go-r", "g=u", "a-x", "o=g", "=", "u=rw", "ug+w-r"] {
            ok(&mut shm(["chmod", change, &region.0]));
            // Our modes know no umask: all are meant where nobody is.
            let change = if change == "=" { "a=" } else { change };
            assert!(Command::new("chmod").args([change, file.path()]).status().unwrap().success());
            let theirs = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file.0).unwrap()) & 0o777;
            assert_eq!(mode(&region), theirs, "{change}");
        }
        ok(&mut shm(["chmod", "-w", &region.0]));
        assert_eq!(mode(&region), 0);
    }
}

#[test]
fn a_failure_does_not_keep_the_others_from_their_change() {
    let (one, two) = (Region::made("posix", "one", &["64"]), Region::made("sysv", "two", &["64"]));
    for command in [["chmod", "0640"], ["chown", "0:0"]] {
        if command[0] == "chown" && !root() {
            return;
        }
        let told = fails(shm(command).args([&one.0, &format!("posix:{}", name("none")), &two.0]), 1);
        assert!(told.contains("nothing has that name"), "{told}");
    }
    assert_eq!((mode(&one), mode(&two)), (0o640, 0o640));
}

#[test]
fn owner_and_group_change_by_name_and_by_number() {
    if !root() {
        return;
    }
    for backend in BACKENDS {
        let region = Region::made(backend, "owner", &["64"]);
        let owner = || {
            let metadata = region.id().metadata().unwrap();
            (metadata.uid(), metadata.gid())
        };
        for (change, uid, gid) in [
            ("65534", NOBODY, 0),
            (":12345", NOBODY, 12345),
            ("root", 0, 12345),
            ("nobody:root", NOBODY, 0),
            ("root:", 0, 0),
        ] {
            ok(&mut shm(["chown", change, &region.0]));
            assert_eq!(owner(), (uid, gid), "{change}");
        }
        assert_eq!(mode(&region), 0o600);
    }
}

#[test]
fn nobody_and_nothing_are_refused() {
    let region = Region::made("posix", "owner", &["64"]);
    for (owner, code, why) in [
        ("no-such-user", 1, "there is no user \"no-such-user\""),
        ("root:no\u{1b}group", 1, "there is no group"),
        ("4294967295", 1, "there is no user"),
        ("123456:", 1, "write OWNER:GROUP"),
        ("", 2, "no owner and no group"),
        (":", 2, "no owner and no group"),
    ] {
        let told = fails(&mut shm(["chown", owner, &region.0]), code);
        assert!(told.contains(why), "{told}");
    }
    for mode in ["1777", "u+q", "8", ""] {
        assert_eq!(shm(["chmod", mode, &region.0]).output().unwrap().status.code(), Some(2), "{mode}");
    }
}
