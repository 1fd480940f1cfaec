//! How long and how often is measured. Knows nothing about what.

use std::time::Duration;

/// The course of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Windows of either system for each figure; they alternate.
    pub(crate) windows: usize,
    pub(crate) window: Duration,
    /// How long the idle cluster is watched.
    pub(crate) idle: Duration,
    /// Different rows that are written and read.
    pub(crate) keys: u64,
}

impl Plan {
    pub(crate) fn new(quick: bool) -> Self {
        let (windows, seconds) = if quick { (3, 3) } else { (7, 10) };
        Self {
            windows,
            window: Duration::from_secs(seconds),
            idle: Duration::from_secs(10),
            keys: 100_000,
        }
    }
}
