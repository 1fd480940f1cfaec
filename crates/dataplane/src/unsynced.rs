//! Records on their way to the disk, and which replica waits for each: a plain queue.
//!
//! Knows nothing of the journal nor of what a replica makes of it.

use std::collections::{BTreeMap, VecDeque};

use tablestore_placement::PartitionId;

use crate::mutant::{Mutant, Sabotage};
use crate::settings::Settings;

/// A record on its way to the disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    /// Its place in the journal's queue.
    pub(crate) position: u64,
    pub(crate) partition: PartitionId,
    /// The replica that waits for it: each that this process hosts has another life.
    pub(crate) life: u64,
    pub(crate) token: u64,
}

/// All that the journal has not made durable yet, in order of their positions.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    waiting: VecDeque<Waiting>,
    /// The place of the last record in the journal's queue.
    last: u64,
    /// Replicas hosted so far.
    lives: u64,
    sabotage: Sabotage,
}

impl Unsynced {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            sabotage: settings.sabotage(),
            ..Self::default()
        }
    }

    /// The life of a replica that is hosted from now on.
    pub(crate) fn next_life(&mut self) -> u64 {
        self.lives += 1;
        self.lives
    }

    /// The place of the record that is queued now.
    pub(crate) fn next_position(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn push(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
    }

    /// Everything up to a position is durable: the newest token of each replica that still waits.
    /// The tokens of one that was closed say nothing to its successor.
    pub(crate) fn reached(
        &mut self,
        position: u64,
        life_of: impl Fn(PartitionId) -> Option<u64>,
    ) -> BTreeMap<PartitionId, u64> {
        let mut newest = BTreeMap::new();
        let any = self.sabotage.has(Mutant::OldLifeSync);
        while let Some(one) = self.waiting.pop_front_if(|one| one.position <= position) {
            if life_of(one.partition) == Some(one.life) || any {
                newest.insert(one.partition, one.token);
            }
        }
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tablestore_placement::TableId;

    fn job(position: u64, partition: u32, life: u64, token: u64) -> Waiting {
        Waiting {
            position,
            partition: PartitionId::new(TableId(1), partition),
            life,
            token,
        }
    }

    #[test]
    fn a_sync_for_a_replica_that_was_closed_says_nothing_to_its_successor() {
        let mut unsynced = Unsynced::default();
        // Partition 1 was closed and opened again while three of its records were on the way, and
        // counts its tokens anew.
        let jobs = [
            job(1, 1, 1, 1),
            job(2, 1, 1, 2),
            job(3, 2, 2, 1),
            job(4, 1, 1, 3),
            job(5, 1, 3, 1),
        ];
        jobs.into_iter().for_each(|job| unsynced.push(job));
        let life_of = |partition: PartitionId| match partition.partition {
            1 => Some(3),
            2 => Some(2),
            _ => None,
        };
        let second = job(0, 2, 0, 0).partition;
        assert_eq!(unsynced.reached(4, life_of), BTreeMap::from([(second, 1)]));
        let first = job(0, 1, 0, 0).partition;
        assert_eq!(unsynced.reached(5, life_of), BTreeMap::from([(first, 1)]));
        assert!(unsynced.reached(9, life_of).is_empty());
    }
}
