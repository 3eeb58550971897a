//! `shm copy`.

use crate::support::{BACKENDS, Region, fails, name, ok, ok_with, shm};

#[test]
fn a_copy_has_the_bytes_the_size_and_the_mode_in_either_backend() {
    let bytes: Vec<u8> = (0..(1 << 20) + 777).map(|index| (index / 5) as u8).collect();
    for source in BACKENDS {
        let original = Region::made(source, "original", &[&bytes.len().to_string()]);
        ok_with(&mut shm(["write", &original.0]), &bytes);
        for (target, mode) in BACKENDS.into_iter().flat_map(|target| [(target, 0o640), (target, 0o440)]) {
            ok(&mut shm(["chmod", &format!("{mode:o}"), &original.0]));
            let copy = Region::new(format!("{target}:{}", name("copy")));
            // Also to somebody whom the mode keeps from writing: its maker holds it open.
            ok(&mut shm(["copy", &original.0, &copy.0]));
            let metadata = copy.id().metadata().unwrap();
            assert_eq!((metadata.size(), metadata.mode()), (bytes.len() as u64, mode));
            assert!(copy.bytes() == bytes);
        }
    }
}

#[test]
fn a_copy_can_have_a_key_or_a_native_name() {
    let original = Region::made("posix", "original", &["16"]);
    ok_with(&mut shm(["write", &original.0]), b"sixteen letters!");
    let bare = original.0.strip_prefix("posix:").unwrap();
    for target in [format!("sysv:{:#x}", 0x6a00_0000 | std::process::id()), format!("posix:{}%2A", name("copy"))] {
        let copy = Region::new(target);
        ok(&mut shm(["copy", bare, &copy.0]));
        assert_eq!(copy.bytes(), b"sixteen letters!");
    }
}

#[test]
fn what_exists_is_not_overwritten() {
    for backend in BACKENDS {
        let original = Region::made(backend, "from", &["16"]);
        let other = Region::made(backend, "onto", &["16"]);
        ok_with(&mut shm(["write", &original.0]), b"sixteen letters!");
        for target in [&other, &original] {
            let told = fails(&mut shm(["copy", &original.0, &target.0]), 1);
            assert!(told.contains("exists already"), "{told}");
        }
        assert_eq!(other.bytes(), [0; 16]);
    }
}

#[test]
fn what_does_not_exist_is_not_copied() {
    let copy = Region::new(format!("sysv:{}", name("copy")));
    let told = fails(&mut shm(["copy", &name("none"), &copy.0]), 1);
    assert!(told.contains("nothing is named"), "{told}");
    assert!(!copy.exists());
    let original = Region::made("posix", "original", &["16"]);
    let told = fails(&mut shm(["copy", &original.0, &name("bare")]), 2);
    assert!(told.contains("--backend"), "{told}");
}

#[test]
fn what_nobody_has_touched_takes_no_memory_in_the_copy() {
    let source = Region::made("posix", "holes", &["3M", "--lazy"]);
    // Across a piece's end, and in the last page alone.
    for (offset, bytes) in [((1 << 20) - 3, &b"across"[..]), ((3 << 20) - 1, b"x")] {
        ok_with(&mut shm(["write", &source.0, "--offset", &offset.to_string()]), bytes);
    }
    for backend in BACKENDS {
        let copy = Region::new(format!("{backend}:{}", name("copy")));
        ok(&mut shm(["copy", &source.0, &copy.0]));
        assert_eq!(copy.bytes(), source.bytes());
        let target = Region::new(format!("posix:{}", name("target")));
        ok(&mut shm(["copy", &source.0, &target.0]));
        let taken = |region: &Region| region.id().metadata().unwrap().allocated();
        assert_eq!((taken(&source), taken(&target)), (Some(3 * 4096), Some(3 * 4096)));
    }
    // What is whole is set aside as a whole.
    let whole = Region::made("posix", "whole", &["1M"]);
    let copy = Region::new(format!("posix:{}", name("copy")));
    ok(&mut shm(["copy", &whole.0, &copy.0]));
    assert_eq!(copy.id().metadata().unwrap().allocated(), Some(1 << 20));
}
