//! Waiting for others.

use std::time::{Duration, Instant};

/// Waits between attempts, longer each time, until a deadline.
#[derive(Debug)]
pub(crate) struct Backoff {
    start: Instant,
    patience: Duration,
    pause: Duration,
}

impl Backoff {
    const LONGEST: Duration = Duration::from_millis(5);

    pub(crate) fn new(patience: Duration) -> Self {
        Self { start: Instant::now(), patience, pause: Duration::from_micros(10) }
    }

    /// Sleeps a little; says `false` when the deadline had passed already.
    pub(crate) fn pause(&mut self) -> bool {
        let left = self.patience.saturating_sub(self.start.elapsed());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(self.pause.min(left));
        self.pause = (self.pause * 2).min(Self::LONGEST);
        true
    }
}
