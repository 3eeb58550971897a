//! The same segments, seen by a C program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use shared_region_sysv::{Segment, SegmentStat};

use crate::support::{Guard, Quiet, quiet, skip, unique_key};

/// A compiled `view.c`.
pub(crate) struct C {
    program: PathBuf,
}

/// Compiles the program once; `None` where there is no C compiler.
pub(crate) fn c_program(_quiet: &Quiet) -> Option<&'static C> {
    static PROGRAM: OnceLock<Option<C>> = OnceLock::new();
    let compiled = PROGRAM.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("view");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sysv/view.c");
        let status = Command::new("cc").arg("-o").arg(&program).arg(source).status().ok()?;
        assert!(status.success(), "view.c does not compile");
        Some(C { program })
    });
    if compiled.is_none() {
        skip("there is no C compiler `cc`");
    }
    compiled.as_ref()
}

impl C {
    /// Runs the program and returns what it prints.
    pub(crate) fn run(&self, _quiet: &Quiet, arguments: &[&str]) -> String {
        let output = Command::new(&self.program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn seconds(time: Option<SystemTime>) -> u64 {
    time.map_or(Duration::ZERO, |time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap()).as_secs()
}

/// Prints a stat in the way of `view.c`.
fn as_c_prints_it(stat: &SegmentStat) -> String {
    let mode = stat.mode() | if stat.is_removed() { 0o1000 } else { 0 } | if stat.is_locked() { 0o2000 } else { 0 };
    format!(
        "{} {} {mode:o} {} {} {} {} {} {} {} {} {} {} {}",
        stat.key(),
        stat.size(),
        stat.uid(),
        stat.gid(),
        stat.creator_uid(),
        stat.creator_gid(),
        stat.creator_pid(),
        stat.last_pid(),
        stat.attach_count(),
        seconds(stat.attach_time()),
        seconds(stat.detach_time()),
        seconds(Some(stat.change_time())),
        stat.sequence().unwrap(),
    )
}

#[test]
fn every_field_of_shmid_ds_is_what_a_c_program_sees() {
    let quiet = quiet();
    let Some(c) = c_program(&quiet) else { return };
    let segment = Guard::keyed(unique_key(), 5000, 0o751);
    let id = segment.id().to_string();
    assert_eq!(as_c_prints_it(&segment.stat().unwrap()), c.run(&quiet, &["stat", &id]));

    // All numbers different from each other. The owner can be given away by root only.
    segment.attached().detach().unwrap();
    let stat = segment.stat().unwrap();
    let _ = segment.set(stat.uid() + 1000, stat.gid() + 2000, 0o640);
    let _ = segment.lock();
    assert_eq!(as_c_prints_it(&segment.stat().unwrap()), c.run(&quiet, &["stat", &id]));
}

#[test]
fn flags_and_counts_of_an_attached_removed_segment_are_what_a_c_program_sees() {
    let quiet = quiet();
    let Some(c) = c_program(&quiet) else { return };
    let segment = Guard::keyed(unique_key(), 4096, 0o600);
    let _attachments = (segment.attached(), segment.attached());
    segment.remove().unwrap();
    let stat = segment.stat().unwrap();
    assert!(stat.is_removed());
    assert_eq!((stat.key(), stat.attach_count()), (0, 2));
    assert_eq!(as_c_prints_it(&stat), c.run(&quiet, &["stat", &segment.id().to_string()]));
}

#[test]
fn bytes_go_both_ways_between_rust_and_c() {
    let quiet = quiet();
    let Some(c) = c_program(&quiet) else { return };
    let key = unique_key();
    let segment = Guard::keyed(key, 4096, 0o600);
    let attachment = segment.attached();
    // SAFETY: the attachment has 4096 bytes, and the C program does not run yet. ptr::copy
    unsafe { attachment.as_mut_ptr().copy_from(c"from Rust".as_ptr().cast(), 10) };
    assert_eq!(c.run(&quiet, &["exchange", &key.to_string(), "from Rust", "from C..."]), "same");
    // SAFETY: as above; the C program has ended.
    let text = unsafe { std::slice::from_raw_parts(attachment.as_ptr(), 9) };
    assert_eq!(text, b"from C...");
}

#[test]
fn a_segment_that_c_created_opens_by_its_key() {
    let quiet = quiet();
    let Some(c) = c_program(&quiet) else { return };
    let key = unique_key();
    let id: i32 = c.run(&quiet, &["create", &key.to_string(), "hello"]).parse().unwrap();
    let segment = Guard(Segment::from_id(id));
    assert_eq!(Segment::open(key).unwrap(), *segment);
    let stat = segment.stat().unwrap();
    assert_eq!((stat.size(), stat.mode()), (100, 0o640));
    let attachment = segment.attached();
    assert_eq!(attachment.len(), 100);
    // SAFETY: the attachment has 100 bytes, and the C program has ended.
    let text = unsafe { std::slice::from_raw_parts(attachment.as_ptr(), 6) };
    assert_eq!(text, b"hello\0");
}
