//! What databases ask of the storage while nobody asks anything of them. Knows nothing of prices.

use std::time::Duration;

use crate::settings::OwnedSettings;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl OwnedSettings {
    /// About how many requests a day the database of one partition makes that is open and idle:
    /// looks at its manifest, and those of its upkeep. Writes add about one for each flush.
    #[must_use]
    pub fn requests_per_idle_day(&self) -> u64 {
        let rounds = |every: Duration| DAY.as_secs_f64() / every.as_secs_f64().max(0.001);
        let looks = rounds(self.look_every) * LOOK_REQUESTS;
        let merges = rounds(self.merge_every) * MERGE_REQUESTS;
        let work = rounds(self.work_every()) * WORK_REQUESTS;
        let collections = rounds(self.collect_every) * COLLECT_REQUESTS;
        (looks + merges + work + collections).round() as u64
    }

    /// How often whoever merges tables looks for work.
    pub(crate) fn work_every(&self) -> Duration {
        self.merge_every.max(WORK_EVERY)
    }
}

/// Of one look at whether it was deposed: two for a manifest, here and below.
const LOOK_REQUESTS: f64 = 2.0;
/// Of one look at whether tables are to be merged: at the manifest and at the list of merges.
const MERGE_REQUESTS: f64 = 4.0;
/// Whoever merges looks for work no more often than that.
const WORK_EVERY: Duration = Duration::from_secs(5);
const WORK_REQUESTS: f64 = 2.0;
/// Of one round that deletes what is not used any more.
const COLLECT_REQUESTS: f64 = 23.0;
