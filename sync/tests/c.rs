//! A program in C reads a value, waits for an event, and notifies; the header's layouts are those of the crate.

use std::path::Path;
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
    takes_part("native", &["cc"]);
}

#[test]
fn a_program_of_32_bits_takes_part() {
    takes_part("32", &["cc", "-m32"]);
}

#[test]
fn a_program_of_another_c_library_takes_part() {
    takes_part(
        "musl",
        &["musl-gcc", "-static", "-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu"],
    );
}

/// Runs the program beside this one, as this compiler makes it.
fn takes_part(name: &str, compiler: &[&str]) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let compile = |source: &Path, program: &Path| {
        let [command, arguments @ ..] = compiler else { unreachable!("a command") };
        let arguments = arguments.iter().copied().chain(["-O2", "-Wall", "-Werror", "-o"]);
        Command::new(command).args(arguments).arg(program).arg(source).output()
    };
    let program = folder.join(format!("reader-{name}-{}", std::process::id()));
    // Whether there is such a compiler is asked by a program that needs nothing of ours.
    let empty = folder.join(format!("empty-{name}-{}.c", std::process::id()));
    std::fs::write(&empty, "#include <stdio.h>\nint main(void) { return puts(\"\") < 0; }\n").unwrap();
    let makes = compile(&empty, &program).is_ok_and(|output| output.status.success());
    std::fs::remove_file(empty).unwrap();
    if !makes {
        return println!("skipped: {compiler:?} makes no programs here");
    }
    let compiled = compile(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader.c"), &program).unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));

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
