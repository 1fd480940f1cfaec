//! When a resource is short, and why the marks lie where they lie.

use std::time::Duration;

use thiserror::Error;

use super::{Share, Space};

/// One value each for the levels above ok.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks<T> {
    /// From here on: warn.
    pub warn: T,
    /// From here on: high.
    pub high: T,
    /// From here on: critical.
    pub critical: T,
}

/// The free space below which a level begins: a share of the whole, within bounds in units.
///
/// A share alone fails at both ends: 10 % of a 100 TB disk is plenty, 10 % of a 1 GB disk is
/// gone within a second. The lower bound never exceeds twice the share, so that a tiny disk
/// is not short for being tiny.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpaceMark {
    /// Free share of the whole.
    pub free: Share,
    /// At least so many units.
    pub units_min: u64,
    /// At most so many units.
    pub units_max: u64,
}

impl SpaceMark {
    /// A mark.
    pub fn new(free_percent: f64, units_min: u64, units_max: u64) -> Self {
        Self {
            free: Share::percent(free_percent),
            units_min,
            units_max,
        }
    }

    /// The free units below which the level begins, for a whole of `total`.
    pub fn free_below(&self, total: u64) -> u64 {
        let share = (total as f64 * self.free.as_percent() / 100.0) as u64;
        share
            .max(self.units_min.min(share.saturating_mul(2)))
            .min(self.units_max)
    }

    /// Whether `space` is below the mark, which is raised by `band` percent to leave the level.
    pub(crate) fn is_below(&self, space: Space, band: Band) -> bool {
        let mark = self.free_below(space.total) as f64 * (1.0 + band.percent / 100.0);
        (space.available as f64) < mark
    }
}

/// How much better than its mark a resource must become before the level falls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// Percent of the free space; percentage points of the load.
    pub percent: f64,
}

impl Band {
    pub(crate) const NONE: Self = Self { percent: 0.0 };
}

/// When resources are short.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GovernorSettings {
    /// Load of the processors. Default 85, 95 and 99 %.
    pub cpu: Marks<Share>,
    /// Free memory. Default 15, 8 and 4 %, within 64 MiB to 16, 8 and 4 GiB.
    pub memory: Marks<SpaceMark>,
    /// Free bytes on disk. Default 20, 10 and 4 %, within 4, 2 and 1 to 200, 100 and 40 GiB.
    pub disk: Marks<SpaceMark>,
    /// Free files on disk. Default 15, 8 and 3 %.
    pub files: Marks<SpaceMark>,
    /// The band of space. Default 20 %: a level entered at 10 % free is left at 12 %.
    pub space_band: Band,
    /// The band of load. Default 8 points.
    pub load_band: Band,
    /// For how long load must lie above a mark. Default 10 s: a burst is what it is for.
    pub load_dwell: Duration,
    /// For how long memory must lie below a mark. Default 2 s.
    pub memory_dwell: Duration,
    /// For how long a level must be better before it falls. Default 30 s.
    pub recovery_dwell: Duration,
    /// When the last reading of a resource is older, the verdict says so. Default 10 s.
    pub stale_after: Duration,
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Default for GovernorSettings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            cpu: Marks {
                warn: Share::percent(85.0),
                high: Share::percent(95.0),
                critical: Share::percent(99.0),
            },
            memory: Marks {
                warn: SpaceMark::new(15.0, 64 * MIB, 16 * GIB),
                high: SpaceMark::new(8.0, 64 * MIB, 8 * GIB),
                critical: SpaceMark::new(4.0, 64 * MIB, 4 * GIB),
            },
            disk: Marks {
                warn: SpaceMark::new(20.0, 4 * GIB, 200 * GIB),
                high: SpaceMark::new(10.0, 2 * GIB, 100 * GIB),
                critical: SpaceMark::new(4.0, GIB, 40 * GIB),
            },
            files: Marks {
                warn: SpaceMark::new(15.0, 0, u64::MAX),
                high: SpaceMark::new(8.0, 0, u64::MAX),
                critical: SpaceMark::new(3.0, 0, u64::MAX),
            },
            space_band: Band { percent: 20.0 },
            load_band: Band { percent: 8.0 },
            load_dwell: seconds(10),
            memory_dwell: seconds(2),
            recovery_dwell: seconds(30),
            stale_after: seconds(10),
        }
    }
}

impl GovernorSettings {
    /// The settings, if they make sense together.
    pub fn validated(self) -> Result<Self, GovernorSettingsInvalid> {
        let load = |m: &Marks<Share>| m.warn <= m.high && m.high <= m.critical;
        let falls = |a: &SpaceMark, b: &SpaceMark| {
            a.free >= b.free && a.units_min >= b.units_min && a.units_max >= b.units_max
        };
        let space = |m: &Marks<SpaceMark>| {
            let all = [&m.warn, &m.high, &m.critical];
            let bounded = all.into_iter().all(|mark| mark.units_min <= mark.units_max);
            bounded && falls(&m.warn, &m.high) && falls(&m.high, &m.critical)
        };
        let band = |b: Band| b.percent.is_finite() && b.percent >= 0.0;
        let rules = [
            (
                load(&self.cpu),
                "the marks of cpu must rise from warn to critical",
            ),
            (
                space(&self.memory),
                "the marks of memory must fall from warn to critical",
            ),
            (
                space(&self.disk),
                "the marks of disk must fall from warn to critical",
            ),
            (
                space(&self.files),
                "the marks of files must fall from warn to critical",
            ),
            (
                band(self.space_band) && band(self.load_band),
                "a band must not be negative",
            ),
        ];
        match rules.into_iter().find(|(kept, _)| !kept) {
            None => Ok(self),
            Some((_, rule)) => Err(GovernorSettingsInvalid { rule }),
        }
    }
}

/// The settings contradict each other; nothing was made. Change the one that is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{rule}")]
pub struct GovernorSettingsInvalid {
    /// The rule that is broken.
    pub rule: &'static str,
}
