//! Copies that this node receives. Knows nothing of those that it sends.

use tablestore_placement::PartitionId;
use tablestore_replication::{Input, SnapshotMeta};
use tablestore_store::Engine;
use tablestore_store::engine::{EngineError, Replacement};

use super::Receiving;
use crate::copies::CopyId;
use crate::job::{Installed, Work};
use crate::mutant::Mutant;
use crate::plane::Plane;
use crate::transfer::{Ended, Incoming};
use crate::wire::CopyStep;

impl<E: Engine, W> Plane<E, W> {
    pub(super) fn receiving(&mut self, copy: CopyId) -> Option<&mut Receiving> {
        let any = self.settings.has(Mutant::ForeignChunks);
        let receiving = self.transfers.incoming.get_mut(&copy.partition);
        receiving.filter(|receiving| receiving.id == copy.transfer || any)
    }

    /// A copy begins to come. One of a newer epoch, or of the same primary, takes the place of
    /// another.
    pub(crate) fn receive(&mut self, copy: CopyId, meta: SnapshotMeta) {
        let (id, partition) = (copy.transfer, copy.partition);
        let transfers = &self.transfers;
        let fits = match transfers.incoming.get(&partition) {
            Some(before) => before.id.epoch <= id.epoch,
            None => transfers.incoming.len() < self.settings.receiving_max,
        };
        if !fits || !self.takes_part(partition) {
            return self.end_receiving(copy, Ended::Refused);
        }
        self.drop_incoming(partition);
        let receiving = Receiving {
            id,
            meta,
            transfer: Incoming::new(self.now.since_start, &self.settings),
            replacement: None,
        };
        self.transfers.incoming.insert(partition, receiving);
    }

    /// Stores the next chunk that came.
    pub(crate) fn store_on(&mut self, copy: CopyId) {
        let Some(receiving) = self.receiving(copy) else {
            return;
        };
        let Some(pairs) = receiving.transfer.next_to_store() else {
            return;
        };
        let replacement = receiving.replacement.take();
        self.begin(Work::StoreCopy {
            copy,
            replacement,
            pairs,
        });
    }

    pub(crate) fn copy_stored(
        &mut self,
        copy: CopyId,
        stored: Result<Box<dyn Replacement>, EngineError>,
    ) {
        let now = self.now.since_start;
        let Some(receiving) = self.receiving(copy) else {
            return;
        };
        let replacement = match stored {
            Ok(replacement) => replacement,
            Err(error) => {
                tracing::error!(partition = %copy.partition, %error, "a copy cannot be stored");
                return self.end_receiving(copy, Ended::Failed);
            }
        };
        let taken = receiving.transfer.stored(now);
        receiving.replacement = Some(replacement);
        self.say(
            copy,
            copy.transfer.sender.member,
            CopyStep::Ack(taken.number),
        );
        if taken.complete {
            self.offer(copy);
        } else {
            self.store_on(copy);
        }
    }

    /// The copy is complete: its replica says what becomes of it.
    fn offer(&mut self, copy: CopyId) {
        let Some(receiving) = self.transfers.incoming.remove(&copy.partition) else {
            return;
        };
        self.transfers.offered = receiving.replacement;
        let offered = Input::SnapshotOffered {
            from: receiving.id.sender,
            epoch: receiving.id.epoch,
            meta: receiving.meta,
        };
        self.feed(copy.partition, offered);
        self.transfers.offered = None;
    }

    pub(crate) fn install_snapshot(&mut self, partition: PartitionId, meta: SnapshotMeta) {
        let offered = self.transfers.offered.take();
        if let (Some(replacement), Some(life)) = (offered, self.life_of(partition)) {
            self.begin(Work::FinishCopy {
                partition,
                life,
                replacement,
                meta,
            });
        }
    }

    pub(crate) fn copy_installed(
        &mut self,
        partition: PartitionId,
        installed: Result<Installed, String>,
    ) {
        let Installed {
            meta,
            remembered,
            pieces,
        } = match installed {
            Ok(installed) => installed,
            Err(error) => {
                let why = format!("a copy could not be switched in: {error}");
                return self.halted(partition, why);
            }
        };
        self.counts.snapshots += 1;
        self.watched.installed(partition, meta.index);
        if let Some(hosted) = self.replicas.get_mut(&partition) {
            hosted.remembered_until = meta.index;
            hosted.pieces = pieces;
        }
        self.feed(partition, Input::SnapshotInstalled { meta, remembered });
    }

    /// Ends a copy that this node receives, and tells the other side.
    pub(crate) fn end_receiving(&mut self, copy: CopyId, why: Ended) {
        self.say(copy, copy.transfer.sender.member, CopyStep::End(why));
        self.forget_receiving(copy, why);
    }

    pub(crate) fn forget_receiving(&mut self, copy: CopyId, why: Ended) {
        if self.receiving(copy).is_some() {
            self.transfers.incoming.remove(&copy.partition);
            self.counts.copies_ended += 1;
            tracing::warn!(partition = %copy.partition, %why, "a copy was not taken in");
        }
    }

    /// Whatever copy of the partition is coming is not wanted any more.
    pub(crate) fn drop_incoming(&mut self, partition: PartitionId) {
        if let Some(receiving) = self.transfers.incoming.get(&partition) {
            let transfer = receiving.id;
            self.end_receiving(
                CopyId {
                    partition,
                    transfer,
                },
                Ended::GivenUp,
            );
        }
    }
}
