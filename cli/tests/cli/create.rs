//! `shm create`.

use crate::support::{BACKENDS, Region, alone, fails, name, namespaces, ok, ok_with, shm};

#[test]
fn what_is_made_is_as_large_and_as_open_as_asked_and_full_of_zeros() {
    for backend in BACKENDS {
        let region = Region::made(backend, "create", &["5000", "--mode", "640"]);
        let metadata = region.id().metadata().unwrap();
        assert_eq!((metadata.size(), metadata.mode()), (5000, 0o640));
        assert_eq!(region.bytes(), [0; 5000]);
    }
}

#[test]
fn a_mode_that_keeps_its_maker_out_is_set_once_all_is_done() {
    for backend in BACKENDS {
        let region = Region::made(backend, "closed", &["4096", "--mode", "0444"]);
        assert_eq!(region.id().metadata().unwrap().mode(), 0o444);
        let written = Region::new(format!("{backend}:{}", name("written")));
        ok_with(&mut shm(["write", "--create", "--mode=0", &written.0]), b"bytes");
        assert_eq!(written.id().metadata().unwrap().mode(), 0);
    }
}

#[test]
fn what_exists_is_left_alone() {
    for backend in BACKENDS {
        let region = Region::made(backend, "twice", &["4096"]);
        let told = fails(&mut shm(["create", &region.0, "8K"]), 1);
        assert!(told.contains("exists already"), "{told}");
        assert_eq!(region.id().metadata().unwrap().size(), 4096);
    }
}

#[test]
fn a_name_without_a_backend_needs_one() {
    let bare = name("bare");
    let told = fails(&mut shm(["create", &bare, "4K"]), 2);
    assert!(told.contains(&format!("posix:{bare}")) && told.contains("--backend"), "{told}");
    let region = Region::new(format!("sysv:{bare}"));
    assert_eq!(ok(&mut shm(["create", &bare, "4K", "--backend", "sysv"])), "");
    assert!(region.exists());
    let told = fails(&mut shm(["create", &region.0, "4K", "--backend=posix"]), 2);
    assert!(told.contains("does not belong to --backend posix"), "{told}");
}

#[test]
fn keys_and_native_names_can_be_made_and_segment_ids_cannot() {
    let native = Region::new(format!("posix:{}%20with%20blanks", name("native")));
    let key = Region::new(format!("sysv:{:#x}", 0x5a00_0000 | std::process::id()));
    for region in [&native, &key] {
        assert_eq!(ok(&mut shm(["create", &region.0, "4K"])), "");
        assert_eq!(region.id().metadata().unwrap().size(), 4096);
    }
    let told = fails(&mut shm(["create", "sysv:#7", "4K"]), 1);
    assert!(told.contains("a new segment is named by a key"), "{told}");
}

#[test]
fn memory_is_set_aside_unless_it_is_to_come_later() {
    for backend in BACKENDS {
        let size = |option: &[&str]| {
            let region = Region::made(backend, "lazy", &[&["1M"], option].concat());
            let metadata = region.id().metadata().unwrap();
            metadata.allocated().or(metadata.resident()).unwrap()
        };
        assert_eq!(size(&["--prefault"]), 1 << 20);
        assert_eq!(size(&["--lazy"]), 0);
    }
}

#[test]
fn huge_pages_are_tried_for_or_required() {
    let region = Region::made("sysv", "huge", &["4K", "--huge=try"]);
    assert!(region.exists());
    // A named POSIX object cannot have them, wherever this runs.
    let region = Region::new(format!("posix:{}", name("huge")));
    let told = fails(&mut shm(["create", &region.0, "2M", "--huge"]), 1);
    assert!(told.contains("huge pages"), "{told}");
    assert!(!region.exists());
}

#[test]
fn bad_sizes_and_modes_are_refused() {
    let region = Region::new(format!("posix:{}", name("bad")));
    for arguments in [["12Q", "--mode=600"], ["-1", "--mode=600"], ["4K", "--mode=999"], ["4K", "--mode=1600"]] {
        let output = shm(["create", &region.0]).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    let lazy_and_not = shm(["create", &region.0, "4K", "--lazy", "--prefault"]).output().unwrap();
    assert_eq!(lazy_and_not.status.code(), Some(2));
    for (size, mode, why) in [("0", "600", "a size of 0"), ("15E", "600", "more than an address space holds")] {
        let told = fails(&mut shm(["create", &region.0, size, "--mode", mode]), 1);
        assert!(told.contains(why), "{told}");
    }
    assert!(!region.exists());
}

#[test]
fn no_segment_is_made_where_the_kernel_would_remove_it_at_once() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"echo 1 > /proc/sys/kernel/shm_rmid_forced; "$SHM" create posix:/a 4K
        for command in "create sysv:/x 4K" "copy posix:/a sysv:0x77" "copy posix:/a /b --backend sysv" \
            "write --create sysv:/x /nowhere"; do
            "$SHM" $command 2>&1 && echo made || echo "code $?"
        done
        awk 'END { print NR - 1 }' /proc/sysvipc/shm
        echo 0 > /proc/sys/kernel/shm_rmid_forced; "$SHM" create sysv:/x 4K; awk 'END { print NR - 1 }' /proc/sysvipc/shm"#,
    );
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 10, "{said}");
    for pair in lines[..8].chunks(2) {
        assert!(pair[0].contains("kernel.shm_rmid_forced is 1") && pair[0].contains("root"), "{said}");
        assert_eq!(pair[1], "code 1");
    }
    assert_eq!(lines[8..], ["0", "1"], "{said}");
}
