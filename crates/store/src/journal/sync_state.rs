//! Since when a commit has been waiting for the disk, for other threads to see: a disk that
//! hangs must show in the heartbeats. Knows nothing of what is written.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// No commit is waiting.
const IDLE: u64 = u64::MAX;

/// The oldest write that is not yet durable. Reading it never waits.
#[derive(Debug)]
pub struct SyncState {
    base: Instant,
    /// Nanoseconds after `base`, or [`IDLE`].
    started: AtomicU64,
}

impl Default for SyncState {
    fn default() -> Self {
        Self {
            base: Instant::now(),
            started: AtomicU64::new(IDLE),
        }
    }
}

impl SyncState {
    /// When the oldest unfinished write began; `None` if all are durable. After a failed write
    /// it stays as it is: that write never finishes.
    #[must_use]
    pub fn started(&self) -> Option<Instant> {
        match self.started.load(Ordering::Acquire) {
            IDLE => None,
            nanos => Some(self.base + Duration::from_nanos(nanos)),
        }
    }

    /// How long the oldest unfinished write has been waiting.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.started().map(|started| started.elapsed())
    }

    pub(super) fn begin(&self) {
        let nanos = u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(IDLE - 1);
        self.started.store(nanos, Ordering::Release);
    }

    pub(super) fn end(&self) {
        self.started.store(IDLE, Ordering::Release);
    }
}
