//! The second opinion on a whole run: the answers about each row are explained without the log,
//! which is the system's own witness. Knows nothing of how an explanation is searched.

use std::collections::BTreeSet;

use bytes::Bytes;
use tablestore_placement::PartitionId;

use super::rule::Rule;
use super::{Check, SearchOutcome};

impl Check {
    /// Asks for a second opinion on every row; says how many opinions there were, and how many
    /// searches were given up.
    pub(crate) fn second_opinion(&mut self, now: u64) -> (u64, u64) {
        let asked = self.operations.iter().map(|operation| &operation.asked);
        let rows: BTreeSet<(PartitionId, Bytes)> = asked
            .filter_map(|asked| Some((asked.partition(), asked.key()?.clone())))
            .collect();
        let (mut opinions, mut given_up) = (0, 0);
        for (partition, key) in rows {
            match self.search(partition, &key) {
                SearchOutcome::Linearizable => opinions += 1,
                SearchOutcome::Unknown => given_up += 1,
                SearchOutcome::NotLinearizable => {
                    let words = "though the log explains them, no order does".to_owned();
                    self.violate(now, partition, Some(key), None, (Rule::Opinion, words));
                    break;
                }
            }
        }
        (opinions, given_up)
    }
}
