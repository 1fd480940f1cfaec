//! One reading of a machine's resources. Knows nothing about what is much or little.

use thiserror::Error;

/// Reads this machine's resources.
pub trait Sample {
    /// One reading, now: each resource, or why it could not be read. It may block for as long as
    /// the system does (a hung disk), so it does not belong on a thread that answers heartbeats.
    fn sample(&mut self) -> Reading;
}

/// A resource could not be read. It keeps its level until it can be read again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Unread {
    /// What was tried and how it failed.
    pub reason: String,
}

impl Unread {
    /// A reason in words.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// What a machine has and uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Processors.
    pub cpu: Result<Cpu, Unread>,
    /// Memory that the process may use, whether the machine or a control group limits it.
    pub memory: Result<Space, Unread>,
    /// Bytes of the file system that holds the data directory.
    pub disk: Result<Space, Unread>,
    /// Files of that file system; some have no limit of their own and cannot be read.
    pub files: Result<Space, Unread>,
}

/// A share in percent, from 0 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Share(f64);

impl Share {
    /// A share in percent, cut to 0..=100; what is not a number counts as 0.
    pub fn percent(percent: f64) -> Self {
        Self(if percent.is_nan() {
            0.0
        } else {
            percent.clamp(0.0, 100.0)
        })
    }

    /// The share in percent.
    pub fn as_percent(self) -> f64 {
        self.0
    }
}

/// Load of the processors.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// Time in which they worked, over all of them.
    pub used: Share,
    /// Time in which something waited for one ("pressure"), where the system tells it.
    pub waiting: Option<Share>,
}

/// Something of which there is a countable amount: bytes, files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What could be used right now.
    pub available: u64,
}

impl Space {
    /// What is in use, as a share of all of it.
    pub fn used(self) -> Share {
        let used = self.total.saturating_sub(self.available);
        Share::percent(used as f64 * 100.0 / self.total.max(1) as f64)
    }
}
