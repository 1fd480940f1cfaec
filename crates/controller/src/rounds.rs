//! How often the office of a partition on shared storage goes on because its owner has stopped. The
//! first time at once; if the next owner stops as well, the storage is at fault rather than the
//! member, and offices that went round and round would help nobody and push out all other
//! decisions.
//!
//! Knows nothing of why an owner stops.

use std::collections::BTreeMap;
use std::time::Duration;

use tablestore_placement::PartitionId;

/// How long an office rests after it was moved; doubled with every move.
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(60);
/// Who has worked for so long after the rest has not stopped for the reason of those before.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Round {
    moves: u32,
    rests_until: Duration,
}

/// The moves of a leadership; one entry for each partition that was moved not long ago.
#[derive(Debug, Default)]
pub(crate) struct Rounds(BTreeMap<PartitionId, Round>);

impl Rounds {
    /// Whether an owner that has stopped may be replaced.
    pub(crate) fn may_move(&self, partition: PartitionId, now: Duration) -> bool {
        let round = self.0.get(&partition);
        round.is_none_or(|round| now >= round.rests_until)
    }

    /// Owners that have stopped are replaced now.
    pub(crate) fn moved(&mut self, partitions: impl Iterator<Item = PartitionId>, now: Duration) {
        self.0
            .retain(|_, round| now < round.rests_until + FORGOTTEN_AFTER);
        for partition in partitions {
            let round = self.0.entry(partition).or_insert(Round {
                moves: 0,
                rests_until: now,
            });
            let rest = REST_MIN * 2_u32.saturating_pow(round.moves.min(16));
            round.moves = round.moves.saturating_add(1);
            round.rests_until = now + rest.min(REST_MAX);
        }
    }
}
