//! Carrying out flushes: rows go to files in the background, then the journal gets room.
//!
//! Knows nothing of whose turn it is.

use std::collections::BTreeMap;

use tablestore_placement::PartitionId;
use tablestore_replication::Remembered;
use tablestore_store::engine::EngineError;
use tablestore_store::{Engine, RowWrite};

use crate::flushing::{Candidate, Need};
use crate::job::Work;
use crate::journal::Record;
use crate::plane::Plane;

impl<E: Engine, W> Plane<E, W> {
    /// Flushes what takes too much memory or holds back the journal; everything, if the node ends.
    pub(crate) fn flush_what_is_due(&mut self) {
        let need = if self.leaving.flushing_all {
            Need::Everything
        } else {
            Need::Bounds {
                memory_max: self.settings.unflushed_bytes_max,
            }
        };
        if !self.flushing.may_be_due(need) {
            return;
        }
        let candidates = self.candidates();
        for partition in self.flushing.choose(&candidates, need) {
            self.flush(partition);
        }
        let done = |one: &Candidate| one.checkpointed >= one.applied;
        if self.leaving.flushing_all && candidates.iter().all(done) {
            self.leaving.flushing_all = false;
            self.out.flushed_all = true;
        }
    }

    fn candidates(&self) -> Vec<Candidate> {
        let engine = &self.engine;
        let works = |id: &PartitionId| {
            let hosted = self.replicas.get(id);
            let active = || self.active.hosted.get(id).map(|hosted| &hosted.stopped);
            let stopped = hosted.map(|hosted| &hosted.stopped).or_else(active);
            stopped.is_some_and(Option::is_none)
        };
        let unflushed = self.flushing.unflushed().filter(works);
        unflushed
            .map(|id| {
                let number = id.to_u64();
                Candidate {
                    partition: id,
                    unflushed_bytes: engine.memory_bytes_of(number),
                    applied: engine.applied(number),
                    checkpointed: engine.checkpointed(number),
                    mark: self.flushing.mark(id),
                }
            })
            .collect()
    }

    /// Everything is to be flushed; the effects tell when it is.
    pub(crate) fn flush_all(&mut self) {
        self.leaving.flushing_all = true;
        self.flush_what_is_due();
    }

    fn flush(&mut self, partition: PartitionId) {
        let Some(hosted) = self.replicas.get_mut(&partition) else {
            return self.flush_active(partition);
        };
        let results: Vec<Remembered> = hosted
            .replica
            .remembered_after(hosted.remembered_until)
            .collect();
        let number = partition.to_u64();
        let mut pieces = hosted.pieces.clone();
        let writes = pieces.checkpoint(
            &results,
            hosted.replica.remembered_from(),
            self.settings.results_a_piece,
        );
        let side: Vec<RowWrite<'_>> = writes
            .iter()
            .map(|(key, value)| RowWrite {
                key,
                value: value.as_deref(),
            })
            .collect();
        // Rows and results are sealed together here, where nothing is applied meanwhile; the
        // slow part goes to the housekeeping thread.
        if let Err(error) = self.engine.seal(number, &side) {
            self.flushing.ended(partition);
            return self.met(partition, &error, "rows could not be sealed");
        }
        if let Some(last) = results.last() {
            hosted.remembered_until = last.index;
        }
        hosted.pieces = pieces;
        self.begin(Work::Flush { partition });
    }

    fn flush_active(&mut self, partition: PartitionId) {
        let Some((key, value)) = self.active_side(partition) else {
            return self.flushing.forget(partition);
        };
        let value = Some(value.as_ref());
        let side = [RowWrite { key, value }];
        if let Err(error) = self.engine.seal(partition.to_u64(), &side) {
            self.flushing.ended(partition);
            return self.met(partition, &error, "rows could not be sealed");
        }
        self.begin(Work::Flush { partition });
    }

    pub(crate) fn flushed(&mut self, partition: PartitionId, flushed: Result<(), EngineError>) {
        self.flushing.ended(partition);
        let number = partition.to_u64();
        if self.engine.checkpointed(number) >= self.engine.applied(number) {
            self.flushing.all_flushed(partition);
        } else if self.replicas.contains_key(&partition)
            || self.active.hosted.contains_key(&partition)
        {
            let bytes = self.engine.memory_bytes_of(number);
            self.flushing.applied(partition, bytes);
        }
        if let Err(error) = flushed {
            self.met(partition, &error, "rows could not be flushed");
            return;
        }
        let mut checkpoints = BTreeMap::new();
        for (id, hosted) in &self.replicas {
            let flushed = self.engine.checkpointed(id.to_u64());
            let needed = hosted.replica.log_needed_from();
            let me = self.me.member;
            let assignment = self.map.assignment(*id);
            if hosted.stopped.is_some() && assignment.is_some_and(|a| !a.in_sync.contains(&me)) {
                // Nobody counts on its log: it must not keep the journal from being used again.
                checkpoints.insert(id.to_u64(), u64::MAX);
                continue;
            }
            checkpoints.insert(id.to_u64(), flushed.min(needed.saturating_sub(1)));
        }
        for (id, hosted) in &self.active.hosted {
            // Of one that stopped the others have all that was acknowledged.
            let flushed = match hosted.stopped {
                Some(_) => u64::MAX,
                None => self.engine.checkpointed(id.to_u64()),
            };
            checkpoints.insert(id.to_u64(), flushed);
        }
        self.record(Record::Recycle { checkpoints });
        self.flush_what_is_due();
    }
}
