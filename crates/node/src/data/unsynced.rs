//! Jobs on their way to the disk, and which replica waits for each: a plain queue.
//!
//! Knows nothing of the journal nor of what a replica makes of it.

use std::collections::{BTreeMap, VecDeque};

use tablestore_placement::PartitionId;

/// A job on its way to disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    /// Its place in the journal's queue.
    pub(super) position: u64,
    pub(super) partition: PartitionId,
    /// The replica that waits for it: each that this process hosts has another life.
    pub(super) life: u64,
    pub(super) token: u64,
}

/// All that the journal has not made durable yet, in order of their positions.
#[derive(Debug, Default)]
pub(super) struct Unsynced(VecDeque<Job>);

impl Unsynced {
    pub(super) fn push(&mut self, job: Job) {
        self.0.push_back(job);
    }

    /// Everything up to a position is durable: the newest token of each replica that still waits.
    /// The tokens of one that was closed say nothing to its successor.
    pub(super) fn reached(
        &mut self,
        position: u64,
        life_of: impl Fn(PartitionId) -> Option<u64>,
    ) -> BTreeMap<PartitionId, u64> {
        let mut newest = BTreeMap::new();
        while let Some(job) = self.0.pop_front_if(|job| job.position <= position) {
            if life_of(job.partition) == Some(job.life) {
                newest.insert(job.partition, job.token);
            }
        }
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tablestore_placement::TableId;

    fn job(position: u64, partition: u32, life: u64, token: u64) -> Job {
        Job {
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
