//! Calls that a sandbox refuses.

use nix::errno::Errno;
use nix::libc::{self, sock_filter};

use crate::support::trace::Number;
use crate::sut::Confinement;

/// Has `open` and `openat` with `flag` answer with an error, also in all processes that come of this one.
pub fn refuse_open_flag(flag: i32, errno: Errno) -> Confinement {
    let mut openat = refuse_flag(libc::SYS_openat, 2, flag as u32, errno);
    cfg_if::cfg_if! {
        if #[cfg(target_arch = "x86_64")] {
            // Which musl takes.
            let mut open = refuse_flag(libc::SYS_open, 1, flag as u32, errno);
            Box::new(move || openat().and_then(|()| open()))
        } else {
            Box::new(move || openat())
        }
    }
}

/// Has a call with one of `flags` in an argument, the first of which is 0, answer with an error, as `refuse_open_flag` does.
pub fn refuse_flag(number: Number, argument: u32, flags: u32, errno: Errno) -> Confinement {
    // In `struct seccomp_data` the arguments, of 64 bits each, begin at 16.
    let low_half = if cfg!(target_endian = "big") { 4 } else { 0 };
    confined([
        load(0),
        test(libc::BPF_JEQ, number as u32, 3),
        load(16 + 8 * argument + low_half),
        test(libc::BPF_JSET, flags, 1),
        answer(libc::SECCOMP_RET_ERRNO | errno as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ])
}

/// Has a call answer with an error, also in all processes that come of this one.
pub fn refuse(number: Number, errno: Errno) -> Confinement {
    confined([
        load(0),
        test(libc::BPF_JEQ, number as u32, 1),
        answer(libc::SECCOMP_RET_ERRNO | errno as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ])
}

fn statement(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

/// Loads a word of `struct seccomp_data`, in which the number of the call is first.
fn load(offset: u32) -> sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

fn test(test: u32, k: u32, otherwise: u8) -> sock_filter {
    statement(libc::BPF_JMP | test | libc::BPF_K, k, 0, otherwise)
}

fn answer(k: u32) -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, k, 0, 0)
}

fn confined<const LEN: usize>(mut filter: [sock_filter; LEN]) -> Confinement {
    Box::new(move || {
        // SAFETY: prctl(2) takes integers here; without new privileges a process may give itself a filter.
        let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        Errno::result(done)?;
        let program = libc::sock_fprog { len: LEN as u16, filter: filter.as_mut_ptr() };
        let mode = libc::SECCOMP_MODE_FILTER;
        // SAFETY: the program and its filter live during the call, which only reads them; seccomp(2).
        let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
        Ok(Errno::result(done).map(drop)?)
    })
}
