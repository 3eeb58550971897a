//! Calls that a sandbox refuses.

use nix::errno::Errno;
use nix::libc;

use crate::sut::Confinement;

/// Has `openat` with `flag` answer with an error, also in all processes that come of this one.
pub fn refuse_open_flag(flag: i32, errno: Errno) -> Confinement {
    let statement = |code: u32, k, jt, jf| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    let test = |test, k, otherwise| statement(libc::BPF_JMP | test | libc::BPF_K, k, 0, otherwise);
    let answer = |k| statement(libc::BPF_RET | libc::BPF_K, k, 0, 0);
    // In `struct seccomp_data` the number is first, and the third argument, of 64 bits, is at 32.
    let low_half = if cfg!(target_endian = "big") { 4 } else { 0 };
    let mut filter = [
        load(0),
        test(libc::BPF_JEQ, libc::SYS_openat as u32, 3),
        load(32 + low_half),
        test(libc::BPF_JSET, flag as u32, 1),
        answer(libc::SECCOMP_RET_ERRNO | errno as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    Box::new(move || {
        // SAFETY: prctl(2) takes integers here; without new privileges a process may give itself a filter.
        let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        Errno::result(done)?;
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        let mode = libc::SECCOMP_MODE_FILTER;
        // SAFETY: the program and its filter live during the call, which only reads them; seccomp(2).
        let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
        Ok(Errno::result(done).map(drop)?)
    })
}
