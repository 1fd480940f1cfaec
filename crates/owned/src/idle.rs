//! What databases ask of the storage while nobody asks anything of them. Knows nothing of prices.

use std::time::Duration;

use crate::settings::OwnedSettings;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl OwnedSettings {
    /// About how many requests a day the database of one partition makes that is open and idle:
    /// looks at its manifest, and those that delete what is not used. Writes add about one for each
    /// flush, and tables that are merged a few each.
    #[must_use]
    pub fn requests_per_idle_day(&self) -> u64 {
        let rounds = |every: Duration| DAY.as_secs_f64() / every.as_secs_f64().max(0.001);
        let looks = rounds(self.look_every) * LOOK_REQUESTS;
        let collections = rounds(self.collect_every) * COLLECT_REQUESTS;
        (looks + collections).round() as u64
    }
}

/// Of one look at whether it was deposed: at the list of manifests and the last of them.
const LOOK_REQUESTS: f64 = 2.0;
/// Of one round that deletes what is not used any more.
const COLLECT_REQUESTS: f64 = 23.0;
