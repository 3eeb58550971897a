//! Signals that end the program, put off until nothing is half made.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;

use crate::failure::Failure;

/// The signal that came, or 0.
static CAME: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// From here on Ctrl-C and its kin only leave a note, for [`check`] to find.
pub(crate) fn defer() -> Result<(), Failure> {
    let came = CAME.get_or_init(Arc::default);
    for signal in [SIGINT, SIGQUIT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal)) {
        flag::register_usize(signal, Arc::clone(came), signal as usize)
            .map_err(|error| Failure::with("put off signals", &error))?;
    }
    Ok(())
}

/// Stops if a signal came.
pub(crate) fn check() -> Result<(), Failure> {
    match CAME.get().map_or(0, |came| came.load(Relaxed)) {
        0 => Ok(()),
        signal => Err(Failure::Signal(signal as i32)),
    }
}

/// Sleeps, but no longer than until a signal comes.
pub(crate) fn sleep(time: Duration) -> Result<(), Failure> {
    let end = Instant::now() + time;
    loop {
        check()?;
        match end.checked_duration_since(Instant::now()) {
            // std goes on with a sleep that a signal interrupted.
            Some(left) if !left.is_zero() => thread::sleep(left.min(Duration::from_millis(50))),
            _ => return Ok(()),
        }
    }
}

/// Whether whoever started this program (nohup, a shell in the background) has it ignore a signal.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal - 1)) != 0
}
