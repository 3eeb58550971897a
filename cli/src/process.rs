//! The processes that a segment remembers by their numbers.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::people::command;

/// What became of a process that once did something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    /// It runs, and this is its command.
    Runs(String),
    /// It has ended. If its number is in use, it is another's.
    Ended,
    /// It is of another PID namespace, or out of sight.
    Unknown,
}

impl Process {
    /// Finds the process that had the number `pid` (0 for one of another PID namespace) not after `then`.
    pub(crate) fn of(pid: u32, then: SystemTime) -> Self {
        let Some(number) = i32::try_from(pid).ok().filter(|&pid| pid > 0) else { return Self::Unknown };
        // Signal 0 asks, and is not sent.
        if kill(Pid::from_raw(number), None) == Err(Errno::ESRCH) {
            return Self::Ended;
        }
        let Some((has_ended, start)) = look(pid).filter(|_| shows_own_numbers()) else { return Self::Unknown };
        // The segment's time is in whole seconds, rounded down, the other in hundredths.
        if has_ended || start > then + Duration::from_millis(1100) {
            return Self::Ended;
        }
        command(pid).map_or(Self::Unknown, Self::Runs)
    }

    pub(crate) fn command(self) -> Option<String> {
        match self {
            Self::Runs(command) => Some(command),
            Self::Ended | Self::Unknown => None,
        }
    }
}

/// Whether `/proc` numbers processes as system calls do here: one that another PID namespace left here does not.
fn shows_own_numbers() -> bool {
    static SHOWS: OnceLock<bool> = OnceLock::new();
    *SHOWS.get_or_init(|| {
        let status = fs::read("/proc/self/status").unwrap_or_default();
        let status = String::from_utf8_lossy(&status);
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        numbers.is_some_and(|numbers| numbers.split_whitespace().eq([std::process::id().to_string()]))
    })
}

/// Whether a process only waits for its parent to take note of its end, and when it started. proc_pid_stat(5)
fn look(pid: u32) -> Option<(bool, SystemTime)> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The command stands in parentheses, and can have some of its own.
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace().collect();
    let (state, threads, ticks) = (fields.first()?, fields.get(17)?, fields.get(19)?.parse::<u64>().ok()?);
    // Where the main thread has ended before the others, it is a zombie too.
    let has_ended = matches!(*state, "Z" | "X") && threads.parse::<u32>().ok()? <= 1;
    let rate = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|rate| u64::try_from(rate).ok())?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = ClockId::CLOCK_BOOTTIME;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = ClockId::CLOCK_MONOTONIC;
    let since_boot = Duration::from(clock_gettime(clock).ok()?);
    let age = since_boot.saturating_sub(Duration::from_millis(ticks.saturating_mul(1000) / rate.max(1)));
    Some((has_ended, SystemTime::now().checked_sub(age)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_was_not_there_before_it_began() {
        let own = std::process::id();
        assert!(matches!(Process::of(own, SystemTime::now()), Process::Runs(_)));
        assert_eq!(Process::of(own, SystemTime::now() - Duration::from_secs(1_000_000)), Process::Ended);
        assert_eq!(Process::of(0, SystemTime::now()), Process::Unknown);
    }
}
