//! A parent and its child, with memory that nobody else can find.

use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Command;

use shared_region::{Backend, CreateOptions, OpenOptions, Posix, PosixRegion, SharedRegion, Sysv, SysvRegion};

use crate::support::{ANSWER, Peer, put_at, role, text_at};

const SYSV: &str = "tests/interop/c/sysv_family.c";
const POSIX: &str = "tests/interop/c/posix_family.c";

#[test]
fn parent_and_child_in_c_share_what_has_no_name() {
    for source in [SYSV, POSIX] {
        let Some(c) = Peer::c(source) else { return };
        assert_eq!(c.run(&["parent"]).unwrap(), "from a child in C");
    }
}

#[test]
fn a_parent_in_c_passes_what_has_no_name_to_a_child_in_rust() {
    for (source, backend) in [(SYSV, "sysv"), (POSIX, "posix")] {
        let Some(c) = Peer::c(source) else { return };
        let child = role("family", &[backend]);
        let mut parent = c.command();
        parent.arg("parent").arg(child.get_program()).args(child.get_args());
        for (name, value) in child.get_envs() {
            parent.env(name, value.unwrap());
        }
        let output = parent.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(output.stdout.ends_with(b"from a child in Rust\n"), "{output:?}");
    }
}

/// The child in Rust: gets a segment id or a descriptor as the last of its arguments, which the test runner takes for
/// the name of a test that it does not have.
pub(crate) fn child(arguments: &[String]) {
    let number: i32 = std::env::args().next_back().unwrap().parse().unwrap();
    let region: Box<dyn SharedRegion> = match arguments[0].as_str() {
        "sysv" => Box::new(SysvRegion::from_id(number, &OpenOptions::new()).unwrap()),
        _ => {
            // SAFETY: the parent opened it for this process, in which nobody else knows of it. `std::io`, I/O Safety
            let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
            Box::new(PosixRegion::try_from(descriptor).unwrap())
        }
    };
    assert!(region.metadata().unwrap().is_removed());
    assert_eq!((region.len(), text_at(&region, 0).as_str()), (4096, "from the parent"));
    put_at(&region, ANSWER, "from a child in Rust");
}

#[test]
fn a_parent_in_rust_passes_what_has_no_name_to_a_child_in_c() {
    let options = CreateOptions::new(4096);
    if let Some(c) = Peer::c(SYSV) {
        let region = Sysv.create_unnamed(&options).unwrap();
        let mut child = c.command();
        is_answered(&region, child.args(["child", &region.shmid().to_string()]));
    }
    if let Some(c) = Peer::c(POSIX) {
        let region = Posix.create_unnamed(&options).unwrap();
        let mut child = c.command();
        // Its standard input is the descriptor.
        is_answered(
            &region,
            child.args(["child", "0"]).stdin(region.descriptor().unwrap().try_clone_to_owned().unwrap()),
        );
    }
}

fn is_answered(region: &impl SharedRegion, child: &mut Command) {
    put_at(region, 0, "from the parent");
    let output = child.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text_at(region, ANSWER), "from a child in C");
}
