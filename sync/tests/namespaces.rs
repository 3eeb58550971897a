//! Members of different PID namespaces in one table: clause M4.
//!
//! The keepers of two of them have the same thread id there, so the words in the table are the same, too.

use std::sync::atomic::Ordering::SeqCst;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use shared_region_sync::MemberId;

mod common;
use common::{Any, LONG, board, join, on_each, until};

/// A process whose only child is the first of a PID namespace, and its place in the table.
struct Elsewhere(Pid);

impl Elsewhere {
    /// Starts one that joins, locks the mutex if it is free, and stays.
    fn start(region: &Any, counter: usize) -> Result<Self, Errno> {
        // SAFETY: the child makes system calls, joins, and ends by a signal or `_exit`.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => {
                until(|| board(region).counters[counter].load(SeqCst) != 0);
                match board(region).counters[counter].load(SeqCst) {
                    u64::MAX => waitpid(child, None).and(Err(Errno::EPERM)),
                    _ => Ok(Self(child)),
                }
            }
            ForkResult::Child => {
                let place = &board(region).counters[counter];
                if unshare(CloneFlags::CLONE_NEWPID).is_err() {
                    place.store(u64::MAX, SeqCst);
                    exit();
                }
                // SAFETY: as above.
                match unsafe { fork() }.unwrap() {
                    ForkResult::Child => {
                        // With its parent dies the first of the namespace.
                        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
                        let me = join(region);
                        std::mem::forget(me.lock(&board(region).mutex, common::TRY));
                        place.store(me.id().to_bits(), SeqCst);
                        loop {
                            std::thread::park();
                        }
                    }
                    ForkResult::Parent { child } => {
                        let _ = waitpid(child, None);
                        exit()
                    }
                }
            }
        }
    }

    fn kill(self) {
        drop(self);
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

fn exit() -> ! {
    // SAFETY: _exit(2) takes any number.
    unsafe { nix::libc::_exit(0) }
}

#[test]
fn namesakes_of_two_pid_namespaces_are_two_members() {
    on_each(|region| {
        let started = Elsewhere::start(region, 0).and_then(|one| Ok((one, Elsewhere::start(region, 1)?)));
        let (one, other) = match started {
            Ok(both) => both,
            Err(errno) => return println!("skipped: no PID namespace can be made: {errno}"),
        };
        let board = board(region);
        let id = |at: usize| MemberId::from_bits(board.counters[at].load(SeqCst)).unwrap();
        let word = |slot: usize| {
            shared_region::SharedRegionExt::load_u32(region, 16 * (slot + 1), SeqCst).unwrap() & 0x3FFF_FFFF
        };
        assert_eq!(word(0), word(1), "the keepers are no namesakes");
        let me = join(region);
        one.kill();
        board.members.wait_for_death(id(0), LONG).unwrap();
        assert!(!board.members.alive(id(0)) && board.members.alive(id(1)) && board.members.alive(me.id()));
        // The first had the lock.
        assert!(me.lock(&board.mutex, LONG).unwrap().recovered());
        other.kill();
        board.members.wait_for_death(id(1), LONG).unwrap();
        assert!(board.members.alive(me.id()));
    });
}
