//! Carrying out flushes: rows go to files in the background, then the journal gets room.
//!
//! Knows nothing of whose turn it is.

use std::collections::HashMap;
use std::sync::Arc;

use tablestore_placement::PartitionId;
use tablestore_replication::Remembered;
use tablestore_store::RowWrite;
use tablestore_store::engine::EngineError;

use super::event::Event;
use super::flushing::{Candidate, Need};
use super::journal::Job;
use super::plane::Plane;

impl Plane {
    /// Flushes what takes too much memory or holds back the journal; everything, if the node ends.
    pub(super) fn flush_what_is_due(&mut self) {
        let need = match &self.ports.flushing_all {
            Some(_) => Need::Everything,
            None => Need::Bounds {
                memory_max: self.ports.settings.unflushed_bytes_max,
            },
        };
        let candidates = self.candidates();
        for partition in self.ports.flushing.choose(&candidates, need) {
            self.flush(partition);
        }
        let done = |one: &Candidate| one.checkpointed >= one.applied;
        if candidates.iter().all(done)
            && let Some(asker) = self.ports.flushing_all.take()
        {
            // Who asked may have stopped waiting.
            let _ = asker.send(());
        }
    }

    fn candidates(&self) -> Vec<Candidate> {
        let held = self.ports.journal.state.held();
        let engine = &self.ports.engine;
        let working = self.replicas.iter().filter(|(_, h)| h.stopped.is_none());
        working
            .map(|(id, _)| {
                let number = id.to_u64();
                Candidate {
                    partition: *id,
                    unflushed_bytes: engine.memory_bytes_of(number),
                    applied: engine.applied(number),
                    checkpointed: engine.checkpointed(number),
                    mark: held.get(&number).copied(),
                }
            })
            .collect()
    }

    /// Everything is to be flushed; `done` is told when it is.
    pub(super) fn flush_all(&mut self, done: tokio::sync::oneshot::Sender<()>) {
        self.ports.flushing_all = Some(done);
        self.flush_what_is_due();
    }

    fn flush(&mut self, partition: PartitionId) {
        let Some(hosted) = self.replicas.get_mut(&partition) else {
            return self.ports.flushing.forget(partition);
        };
        let results: Vec<Remembered> = hosted
            .replica
            .remembered_after(hosted.remembered_until)
            .collect();
        let number = partition.to_u64();
        let mut pieces = hosted.pieces.clone();
        let writes = pieces.checkpoint(&results, hosted.replica.remembered_from());
        let side: Vec<RowWrite<'_>> = writes
            .iter()
            .map(|(key, value)| RowWrite {
                key,
                value: value.as_deref(),
            })
            .collect();
        // Rows and results are sealed together here, where nothing is applied meanwhile; the
        // slow part goes to the housekeeping thread.
        if let Err(error) = self.ports.engine.seal(number, &side) {
            self.ports.flushing.ended(partition);
            return self.met(partition, &error, "rows could not be sealed");
        }
        if let Some(last) = results.last() {
            hosted.remembered_until = last.index;
        }
        hosted.pieces = pieces;
        let (engine, sender) = (Arc::clone(&self.ports.engine), self.ports.sender.clone());
        let begun = self.ports.workers.upkeep(move || {
            let flushed = engine.flush(number);
            let flushed = flushed.and_then(|_| {
                while engine.maintain(number)? {}
                Ok(())
            });
            sender.send_blocking(Event::Flushed { partition, flushed });
        });
        if !begun {
            // It is still below its mark, and gets its turn again.
            self.ports.flushing.ended(partition);
        }
    }

    pub(super) fn flushed(&mut self, partition: PartitionId, flushed: Result<(), EngineError>) {
        self.ports.flushing.ended(partition);
        if let Err(error) = flushed {
            self.met(partition, &error, "rows could not be flushed");
            return;
        }
        let mut checkpoints = HashMap::new();
        for (id, hosted) in &self.replicas {
            let flushed = self.ports.engine.checkpointed(id.to_u64());
            let needed = hosted.replica.log_needed_from();
            let me = self.ports.me.member;
            let assignment = self.ports.map.assignment(*id);
            if hosted.stopped.is_some() && assignment.is_some_and(|a| !a.in_sync.contains(&me)) {
                // Nobody counts on its log: it must not keep the journal from being used again.
                checkpoints.insert(id.to_u64(), u64::MAX);
                continue;
            }
            checkpoints.insert(id.to_u64(), flushed.min(needed.saturating_sub(1)));
        }
        self.ports.journal.push(Job::Recycle { checkpoints });
        self.flush_what_is_due();
    }
}
