//! What a cluster costs that nobody uses. Knows nothing about how it is loaded.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::system::System;

/// Clock ticks a second in `/proc/<pid>/stat`, on every Linux there is.
const TICKS_PER_SECOND: f64 = 100.0;

/// One idle process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Idle {
    /// Percent of one core.
    pub(crate) cpu: f64,
    /// Resident, in MiB.
    pub(crate) resident: f64,
}

/// Watches every process of the system for so long.
pub(crate) async fn watch(system: &System, length: Duration) -> Result<Vec<Idle>> {
    let pids = system.process_ids();
    let before: Vec<u64> = pids.iter().map(|pid| ticks(*pid)).collect::<Result<_>>()?;
    tokio::time::sleep(length).await;
    pids.iter()
        .zip(before)
        .map(|(pid, before)| {
            let spent = ticks(*pid)?.saturating_sub(before);
            #[expect(clippy::cast_precision_loss, reason = "a few ticks")]
            let seconds = spent as f64 / TICKS_PER_SECOND;
            Ok(Idle {
                cpu: 100.0 * seconds / length.as_secs_f64(),
                resident: resident(*pid)?,
            })
        })
        .collect()
}

/// User and system time of a process.
fn ticks(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    ticks_in(&text).context("/proc/<pid>/stat is not as expected")
}

fn ticks_in(stat: &str) -> Option<u64> {
    // The name, in brackets, may have spaces and brackets itself.
    let rest = stat.get(stat.rfind(')')? + 1..)?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = text.lines().find_map(|line| {
        let kib = line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?;
        kib.trim().parse::<f64>().ok()
    });
    Ok(kib.context("/proc/<pid>/status has no VmRSS")? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_whatever_the_process_is_called() {
        let stat = "12 (a) b) S 1 12 12 0 -1 4194560 1 2 3 4 50 7 0 0 20 0 8 0 100 1 2";
        assert_eq!(ticks_in(stat), Some(57));
        assert_eq!(ticks_in("12 (a"), None);
    }
}
