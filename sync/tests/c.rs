//! A program in C reads a value, waits for an event, and notifies; the header's layouts are those of the crate.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use shared_region::{Backend, CreateOptions, Posix, SharedRegion, SharedRegionExt, shared_layout};
use shared_region_sync::{Event, Members, Mutex, Once, Versioned};

const LONG: Duration = Duration::from_secs(30);

shared_layout! {
    struct Board {
        changed: Event,
        heard: AtomicU32,
        value: Versioned<[u64; 8]>,
    }
}

#[test]
fn a_program_in_c_takes_part() {
    let program = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("reader-{}", std::process::id()));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reader.c");
    let compiled = Command::new("cc").args(["-O2", "-Wall", "-Werror", "-o"]).arg(&program).arg(source).status();
    match compiled {
        Ok(status) => assert!(status.success()),
        Err(error) => return println!("skipped: no cc: {error}"),
    }
    let region = Posix.create_unnamed(&CreateOptions::new(4096)).unwrap();
    let board: &Board = region.view(0).unwrap();
    let input = region.descriptor().unwrap().try_clone_to_owned().unwrap();
    let mut child = Command::new(&program).stdin(Stdio::from(input)).spawn().unwrap();
    for round in 1..=500 {
        board.value.store(&[round; 8]);
        board.changed.notify_all();
        board.changed.wait_while(LONG, || u64::from(board.heard.load(SeqCst)) != round).unwrap();
    }
    assert!(child.wait().unwrap().success());
    std::fs::remove_file(program).unwrap();
}

#[test]
fn the_layouts_are_as_documented() {
    assert_eq!((size_of::<Event>(), align_of::<Event>()), (4, 4));
    assert_eq!((size_of::<Mutex>(), align_of::<Mutex>()), (16, 4));
    assert_eq!((size_of::<Once>(), align_of::<Once>()), (36, 4));
    assert_eq!((size_of::<Members<3>>(), align_of::<Members<3>>()), (64, 4));
    assert_eq!((size_of::<Versioned<[u8; 5]>>(), align_of::<Versioned<[u8; 5]>>()), (24 + 2 * 8, 8));
    assert_eq!(size_of::<Versioned<[u64; 8]>>(), 24 + 2 * 64);
}
