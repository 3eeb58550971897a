//! A second process that does its share of something at the same time.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::libc;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};

/// Does something so many times.
pub(super) type Share = Box<dyn FnMut(u64) -> Result<()>>;

pub(super) struct Mate {
    /// A number sent has it do its share; a byte comes back.
    line: UnixStream,
    process: Pid,
}

impl Mate {
    /// Forks a process onto a processor, which makes itself its share. Call it while this one has no second thread.
    pub(super) fn start(processor: usize, make: impl FnOnce() -> Result<Share>) -> Result<Self> {
        let (line, mut theirs) = UnixStream::pair()?;
        // SAFETY: fork(2): this process has one thread, so the new one may do what it likes.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self { line, process: child }),
            ForkResult::Child => {
                drop(line);
                let served = pin(processor).and_then(|()| serve(make, &mut theirs));
                // SAFETY: _exit(2) runs nothing more of this program, whose other destructors are its parent's.
                unsafe { libc::_exit(i32::from(served.is_err())) }
            }
        }
    }

    /// Has both do `count` at the same time, and says how long that took.
    pub(super) fn together(&self, count: u64, mine: impl FnOnce(u64) -> Result<()>) -> Result<Duration> {
        (&self.line).write_all(&count.to_le_bytes())?;
        (&self.line).read_exact(&mut [0])?;
        let start = Instant::now();
        mine(count)?;
        (&self.line).read_exact(&mut [0])?;
        Ok(start.elapsed())
    }
}

fn pin(processor: usize) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    let mut one = CpuSet::new();
    one.set(processor)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &one)?)
}

/// Until the line is closed.
fn serve(make: impl FnOnce() -> Result<Share>, line: &mut UnixStream) -> Result<()> {
    let mut share = make()?;
    let mut count = [0; 8];
    while line.read_exact(&mut count).is_ok() {
        line.write_all(&[1])?;
        share(u64::from_le_bytes(count))?;
        line.write_all(&[1])?;
    }
    ensure!(count != [0; 8], "nothing was asked");
    Ok(())
}

impl Drop for Mate {
    fn drop(&mut self) {
        let _ = kill(self.process, Signal::SIGKILL);
        let _ = waitpid(self.process, None);
    }
}
