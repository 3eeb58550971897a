//! As another user.

use crate::support::{BACKENDS, NOBODY, Region, Scratch, fails, name, ok, refused, root, shm, shm_as_nobody};

#[test]
fn another_user_sees_what_they_may_not_open() {
    if !root() {
        return;
    }
    for backend in BACKENDS {
        let region = Region::made(backend, "root", &["64"]);
        let number = region.id().metadata().unwrap().native_id().unwrap();
        let (mut command, _binary) = shm_as_nobody(["ls", "--backend", backend]);
        let listed = ok(&mut command);
        let line = listed.lines().find(|line| line.split_whitespace().nth(1) == Some(&number.to_string()));
        assert!(line.is_some_and(|line| line.contains(" root ")), "{listed}");
        let (mut command, _binary) = shm_as_nobody(["ls", "--mine"]);
        assert!(!ok(&mut command).contains(&format!(" {number} ")));
        let (mut command, _binary) = shm_as_nobody(["stat", &region.0]);
        assert!(ok(&mut command).contains("0600"));
        for arguments in [
            &["read", &region.0][..],
            &["write", &region.0, "/proc/version"],
            &["chmod", "666", &region.0],
            &["chown", "65534", &region.0],
            &["rm", &region.0],
        ] {
            let (mut command, _binary) = shm_as_nobody(arguments.iter().copied());
            let told = fails(&mut command, 1);
            assert!(told.contains("permission denied"), "{arguments:?}: {told}");
        }
        assert!(region.exists());
        assert_eq!(region.id().metadata().unwrap().mode(), 0o600);
    }
}

#[test]
fn where_others_could_not_be_looked_into_counts_are_at_least() {
    if !root() {
        return;
    }
    let region = Region::made("posix", "held", &["64", "--mode=666"]);
    let held = region.id().open(&shared_region::OpenOptions::new()).unwrap();
    // This process is root's: it cannot be seen to have it.
    let (mut command, _binary) = shm_as_nobody(["ls", "--backend=posix"]);
    let listed = ok(&mut command);
    let line: Vec<&str> = listed.lines().find(|line| line.starts_with(&region.0)).unwrap().split_whitespace().collect();
    assert_eq!((line[7], line[8]), ("≥0", "-"));
    let (mut command, _binary) = shm_as_nobody(["stat", "--json", &region.0]);
    let said: serde_json::Value = serde_json::from_str(&ok(&mut command)).unwrap();
    assert_eq!((&said[0]["attached_exact"], &said[0]["holders_complete"]), (&false.into(), &false.into()));
    let (mut command, _binary) = shm_as_nobody(["ls", "--orphans", "--backend=posix"]);
    let output = command.output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stdout).contains(&region.0));
    let told = refused(output, 3);
    assert!(told.contains("could not be seen whether these are orphans"), "{told}");
    drop(held);
}

#[test]
fn another_user_does_all_this_with_regions_of_their_own() {
    if !root() {
        return;
    }
    let file = Scratch::with("input", b"by nobody");
    for backend in BACKENDS {
        let region = Region::new(format!("{backend}:{}", name("nobody")));
        let copy = Region::new(format!("{backend}:{}", name("copy")));
        for arguments in [
            &["write", "--create", &region.0, file.path()][..],
            &["copy", &region.0, &copy.0],
            &["chmod", "0444", &region.0],
            // Their own although the mode forbids it.
            &["chmod", "0", &copy.0],
            &["chmod", "u+rw", &copy.0],
            &["wait", &copy.0],
            &["rm", &copy.0],
        ] {
            let (mut command, _binary) = shm_as_nobody(arguments.iter().copied());
            ok(&mut command);
        }
        let metadata = region.id().metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.mode()), (NOBODY, 0o444));
        assert_eq!(ok(&mut shm(["read", &region.0])), "by nobody");
        assert!(!copy.exists());
        let (mut command, _binary) = shm_as_nobody(["ls", "--mine", "--backend", backend]);
        let number = metadata.native_id().unwrap();
        assert!(ok(&mut command).contains(&format!(" {number} ")));
    }
}
