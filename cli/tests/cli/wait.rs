//! `shm wait`.

use std::process::Stdio;

use crate::support::{BACKENDS, Region, fails, name, ok, shm};

#[test]
fn what_exists_is_not_waited_for() {
    for backend in BACKENDS {
        let region = Region::made(backend, "there", &["64"]);
        assert_eq!(ok(&mut shm(["wait", &region.0])), "");
        let bare = region.0.split_once(':').unwrap().1;
        assert_eq!(ok(&mut shm(["wait", bare])), "");
        let gone = Region::new(format!("{backend}:{}", name("gone")));
        assert_eq!(ok(&mut shm(["wait", "--gone", &gone.0])), "");
    }
}

#[test]
fn it_ends_when_the_region_appears_or_goes() {
    for backend in BACKENDS {
        let region = Region::new(format!("{backend}:{}", name("later")));
        let bare = region.0.split_once(':').unwrap().1;
        for id in [&region.0, bare] {
            let mut waiting = shm(["wait", id, "--timeout", "60s"]).spawn().unwrap();
            let mut patient = shm(["wait", id]).spawn().unwrap();
            assert!(waiting.try_wait().unwrap().is_none());
            ok(&mut shm(["create", &region.0, "64"]));
            assert!(waiting.wait().unwrap().success() && patient.wait().unwrap().success());
            let mut waiting = shm(["wait", "--gone", id, "--timeout", "1min"]).spawn().unwrap();
            assert!(waiting.try_wait().unwrap().is_none());
            ok(&mut shm(["rm", &region.0]));
            assert!(waiting.wait().unwrap().success());
        }
    }
}

#[test]
fn a_timeout_is_a_failure() {
    for backend in BACKENDS {
        let region = Region::made(backend, "stays", &["64"]);
        let told = fails(&mut shm(["wait", "--gone", &region.0, "--timeout=30ms"]), 1);
        assert!(told.contains("still exists"), "{told}");
        let none = format!("{backend}:{}", name("never"));
        let told = fails(&mut shm(["wait", &none, "--timeout", "0s"]), 1);
        assert!(told.contains("still does not exist") && told.contains(&none), "{told}");
    }
    let output = shm(["wait", "posix:/x", "--timeout", "soon"]).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn an_object_without_a_size_is_neither_there_nor_gone() {
    let region = Region::new(format!("posix:{}", name("empty")));
    let path = region.0.replace("posix:", "/dev/shm");
    std::fs::write(&path, b"").unwrap();
    let told = fails(&mut shm(["wait", &region.0, "--timeout=0s"]), 1);
    assert!(told.contains("size of 0"), "{told}");
    let told = fails(&mut shm(["wait", "--gone", &region.0, "--timeout=0s"]), 1);
    assert!(told.contains("still exists"), "{told}");
    std::fs::write(&path, b"now").unwrap();
    ok(&mut shm(["wait", &region.0, "--timeout=1s"]));
}

#[test]
fn a_segment_that_was_removed_is_gone_whoever_has_it_attached() {
    let region = Region::made("sysv", "removed", &["64"]);
    let attached = region.id().open(&shared_region::OpenOptions::new()).unwrap();
    let by_id = format!("sysv:#{}", region.id().metadata().unwrap().native_id().unwrap());
    ok(&mut shm(["rm", &region.0]));
    ok(&mut shm(["wait", "--gone", &by_id, "--timeout=1s"]));
    fails(&mut shm(["wait", &by_id, "--timeout=0s"]), 1);
    drop(attached);
}
