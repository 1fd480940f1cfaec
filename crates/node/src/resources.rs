//! Reading this machine's resources and what follows from it, for heartbeats and status pages.
//!
//! Knows nothing of other machines.

use std::path::Path;
use std::time::{Duration, Instant};

use tablestore_health::{Governor, GovernorSettings, Sample, SysinfoSample};

/// Samples for ever, or until `tell` says that nobody listens. Blocks; has a thread of its own.
pub(crate) fn sample(
    directory: &Path,
    every: Duration,
    mut tell: impl FnMut(serde_json::Value) -> bool,
) {
    let origin = Instant::now();
    let mut sampler = SysinfoSample::new(directory);
    let mut governor = Governor::new(GovernorSettings::default());
    loop {
        let reading = sampler.sample();
        let now = origin.elapsed();
        governor.take(now, &reading);
        let verdict = governor.verdict(now);
        let resources: serde_json::Map<String, serde_json::Value> = verdict
            .resources
            .iter()
            .map(|(resource, state)| {
                let shown = serde_json::json!({
                    "level": state.level.to_string(),
                    "reason": state.reason,
                });
                (resource.to_string(), shown)
            })
            .collect();
        let verdict = serde_json::json!({
            "level": verdict.level.to_string(),
            "resources": resources,
            "advice": {
                "stop_placing": verdict.advice.stop_placing,
                "move_partitions": verdict.advice.move_partitions,
                "move_primaries": verdict.advice.move_primaries,
                "refuse_writes": verdict.advice.refuse_writes,
            },
        });
        if !tell(verdict) {
            return;
        }
        std::thread::sleep(every);
    }
}
