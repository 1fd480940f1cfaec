//! How long clients had to wait around a kill, from the times of acknowledgements.
//!
//! Pure: times are microseconds since the traffic began. Knows nothing of why clients waited.

use std::collections::BTreeMap;
use std::time::Duration;

/// Pauses that begin within this time after a kill are counted to it.
pub const WINDOW: Duration = Duration::from_secs(1);

/// One acknowledged write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// When the acknowledgement arrived, in microseconds since the traffic began.
    pub at_us: u64,
    /// The partition it was for, if the server said so.
    pub partition: Option<u32>,
    /// The epoch it was written in, if the server said so.
    pub epoch: Option<u64>,
}

/// What the writers saw around one kill.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gap {
    /// The longest any writer went without an acknowledgement, in milliseconds.
    pub max_ms: f64,
    /// The same for the writer in the middle.
    pub p50_ms: f64,
}

/// The longest time after `kill_us` that one writer went without an acknowledgement: over all
/// pauses between two acknowledgements that reach beyond the kill and begin within [`WINDOW`]
/// of it, the part after the kill. `None` while its last pause is still open.
fn pause_us(acks: &[Ack], kill_us: u64) -> Option<u64> {
    let window_end = kill_us + u64::try_from(WINDOW.as_micros()).unwrap_or(u64::MAX);
    let mut begins = kill_us;
    let mut longest = 0;
    for ack in acks.iter().filter(|ack| ack.at_us > kill_us) {
        longest = longest.max(ack.at_us - begins);
        begins = ack.at_us;
        if begins > window_end {
            return Some(longest);
        }
    }
    None
}

/// The pauses of all writers after a kill at `kill_us`; `None` while one of them is still open.
#[must_use]
pub fn gap(writers: &[Vec<Ack>], kill_us: u64) -> Option<Gap> {
    let mut pauses: Vec<u64> = writers
        .iter()
        .map(|acks| pause_us(acks, kill_us))
        .collect::<Option<_>>()?;
    pauses.sort_unstable();
    let max = *pauses.last()?;
    Some(Gap {
        max_ms: ms(max),
        p50_ms: ms(percentile(&pauses, 50)?),
    })
}

/// When a new primary first took a write, in microseconds after the kill: the first acknowledgement
/// under an epoch newer than `before` says for its partition.
#[must_use]
pub fn first_new_epoch_us(
    writers: &[Vec<Ack>],
    kill_us: u64,
    before: &BTreeMap<u32, u64>,
) -> Option<u64> {
    let newer = |ack: &&Ack| {
        let old = ack.partition.and_then(|partition| before.get(&partition));
        ack.at_us > kill_us && old.zip(ack.epoch).is_some_and(|(old, now)| now > *old)
    };
    writers
        .iter()
        .flatten()
        .filter(newer)
        .map(|ack| ack.at_us - kill_us)
        .min()
}

/// The value below or at which `percent` of the sorted values lie.
#[must_use]
pub fn percentile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// Microseconds as milliseconds, to a tenth.
#[expect(
    clippy::cast_precision_loss,
    reason = "traffic lasts far less than 2^53 microseconds"
)]
#[must_use]
pub fn ms(us: u64) -> f64 {
    (us as f64 / 100.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acks(times_ms: &[u64]) -> Vec<Ack> {
        let ack = |at: &u64| Ack {
            at_us: at * 1000,
            partition: None,
            epoch: None,
        };
        times_ms.iter().map(ack).collect()
    }

    #[test]
    fn a_pause_is_counted_from_the_kill_and_only_the_longest_in_the_window() {
        // Killed at 100: 60 ms to the first acknowledgement, then 80 ms, then a long pause.
        let seen = acks(&[90, 160, 240, 1000, 1050, 1101, 5000]);
        assert_eq!(pause_us(&seen, 100_000), Some(760_000));
        let seen = acks(&[
            90, 160, 240, 300, 400, 500, 600, 700, 800, 900, 1000, 1101, 5000,
        ]);
        assert_eq!(pause_us(&seen, 100_000), Some(101_000));
    }

    #[test]
    fn a_pause_that_begins_in_the_window_counts_whole() {
        assert_eq!(pause_us(&acks(&[90, 3100]), 100_000), Some(3_000_000));
    }

    #[test]
    fn an_open_pause_is_no_result() {
        assert_eq!(pause_us(&acks(&[90, 160]), 100_000), None);
        assert_eq!(gap(&[acks(&[90, 1200]), acks(&[50])], 100_000), None);
        assert_eq!(gap(&[], 0), None);
    }

    #[test]
    fn the_gap_is_that_of_the_worst_writer() {
        let writers = [acks(&[0, 1500]), acks(&[0, 1600]), acks(&[0, 2100])];
        let gap = gap(&writers, 100_000);
        assert_eq!(
            gap,
            Some(Gap {
                max_ms: 2000.0,
                p50_ms: 1500.0
            })
        );
    }

    #[test]
    fn the_first_write_of_a_new_primary_is_told_by_its_epoch() {
        let ack = |at_us, partition, epoch| Ack {
            at_us,
            partition: Some(partition),
            epoch: Some(epoch),
        };
        let writers = [vec![
            ack(90, 0, 4),
            ack(110, 0, 4),
            ack(130, 1, 9),
            ack(150, 0, 5),
        ]];
        let before = BTreeMap::from([(0, 4)]);
        assert_eq!(first_new_epoch_us(&writers, 100, &before), Some(50));
        assert_eq!(first_new_epoch_us(&writers, 200, &before), None);
    }

    #[test]
    fn percentiles_are_of_the_values_themselves() {
        assert_eq!(percentile::<u64>(&[], 50), None);
        assert_eq!(percentile(&[7], 90), Some(7));
        assert_eq!(percentile(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 90), Some(9));
        assert_eq!(percentile(&[1, 2, 3, 4], 50), Some(2));
    }
}
