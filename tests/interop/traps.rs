//! What PORTING.md says of the calls of C.

use crate::support::{Peer, skip};

#[test]
fn the_kernel_does_what_the_guide_says_of_the_c_calls() {
    let Some(c) = Peer::c("tests/interop/c/traps.c") else { return };
    let output = c.command().arg(env!("CARGO_TARGET_TMPDIR")).output().unwrap();
    if output.status.code() == Some(77) {
        return skip("an IPC namespace of one's own takes root");
    }
    assert!(output.status.success(), "{output:?}");
}
