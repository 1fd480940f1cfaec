//! Copies that this node receives. Knows nothing of those that it sends.

use std::sync::Arc;

use tablestore_placement::PartitionId;
use tablestore_replication::{Input, SnapshotMeta};
use tablestore_store::Engine;
use tablestore_store::engine::{EngineError, Replacement};

use super::{RECEIVING_MAX, Receiving};
use crate::data::apply::{Pieces, decode_remembered};
use crate::data::copies::{CopyId, store};
use crate::data::event::{Event, Installed};
use crate::data::plane::Plane;
use crate::data::transfer::{Ended, Incoming};
use crate::wire::CopyStep;

impl Plane {
    pub(super) fn receiving(&mut self, copy: CopyId) -> Option<&mut Receiving> {
        let receiving = self.ports.transfers.incoming.get_mut(&copy.partition);
        receiving.filter(|receiving| receiving.id == copy.transfer)
    }

    /// A copy begins to come. One of a newer epoch, or of the same primary, takes the place of
    /// another.
    pub(super) fn receive(&mut self, copy: CopyId, meta: SnapshotMeta) {
        let (id, partition) = (copy.transfer, copy.partition);
        let transfers = &self.ports.transfers;
        let fits = match transfers.incoming.get(&partition) {
            Some(before) => before.id.epoch <= id.epoch,
            None => transfers.incoming.len() < RECEIVING_MAX,
        };
        if !fits || !self.takes_part(partition) {
            return self.end_receiving(copy, Ended::Refused);
        }
        self.drop_incoming(partition);
        let receiving = Receiving {
            id,
            meta,
            transfer: Incoming::new(self.ports.now()),
            replacement: None,
        };
        self.ports.transfers.incoming.insert(partition, receiving);
    }

    /// Stores the next chunk that came.
    pub(super) fn store_on(&mut self, copy: CopyId) {
        let Some(receiving) = self.receiving(copy) else {
            return;
        };
        let Some(pairs) = receiving.transfer.next_to_store() else {
            return;
        };
        let replacement = receiving.replacement.take();
        let (engine, sender) = (Arc::clone(&self.ports.engine), self.ports.sender.clone());
        let begun = self.ports.workers.copy(move || {
            let stored = store(engine.as_ref(), copy.partition, replacement, &pairs);
            sender.send_blocking(Event::CopyStored { copy, stored });
        });
        if !begun {
            self.end_receiving(copy, Ended::Failed);
        }
    }

    pub(in crate::data) fn copy_stored(
        &mut self,
        copy: CopyId,
        stored: Result<Box<dyn Replacement>, EngineError>,
    ) {
        let now = self.ports.now();
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
        let Some(receiving) = self.ports.transfers.incoming.remove(&copy.partition) else {
            return;
        };
        self.ports.transfers.offered = receiving.replacement;
        let offered = Input::SnapshotOffered {
            from: receiving.id.sender,
            epoch: receiving.id.epoch,
            meta: receiving.meta,
        };
        self.feed(copy.partition, offered);
        self.ports.transfers.offered = None;
    }

    pub(in crate::data) fn install_snapshot(&mut self, partition: PartitionId, meta: SnapshotMeta) {
        let Some(replacement) = self.ports.transfers.offered.take() else {
            return;
        };
        let (engine, sender) = (Arc::clone(&self.ports.engine), self.ports.sender.clone());
        // On the lane that also drops partitions: a copy must not come back behind a drop.
        let begun = self.ports.workers.upkeep(move || {
            let installed = finish(replacement, engine.as_ref(), partition, meta);
            sender.send_blocking(Event::SnapshotInstalled {
                partition,
                installed,
            });
        });
        if !begun {
            self.halted(partition, "a copy could not be switched in".to_owned());
        }
    }

    pub(in crate::data) fn snapshot_installed(
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
        self.ports.metrics.snapshots.add(1);
        if let Some(hosted) = self.replicas.get_mut(&partition) {
            hosted.remembered_until = meta.index;
            hosted.pieces = pieces;
        }
        self.feed(partition, Input::SnapshotInstalled { meta, remembered });
    }

    /// Ends a copy that this node receives, and tells the other side.
    pub(super) fn end_receiving(&mut self, copy: CopyId, why: Ended) {
        self.say(copy, copy.transfer.sender.member, CopyStep::End(why));
        self.forget_receiving(copy, why);
    }

    pub(super) fn forget_receiving(&mut self, copy: CopyId, why: Ended) {
        if self.receiving(copy).is_some() {
            self.ports.transfers.incoming.remove(&copy.partition);
            self.ports.metrics.copies_ended.add(1);
            tracing::warn!(partition = %copy.partition, %why, "a copy was not taken in");
        }
    }

    /// Whatever copy of the partition is coming is not wanted any more.
    pub(in crate::data) fn drop_incoming(&mut self, partition: PartitionId) {
        if let Some(receiving) = self.ports.transfers.incoming.get(&partition) {
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

/// Switches a copy in and reads back what it remembers.
fn finish(
    replacement: Box<dyn Replacement>,
    engine: &dyn Engine,
    partition: PartitionId,
    meta: SnapshotMeta,
) -> Result<Installed, String> {
    let records = replacement
        .finish(meta.index)
        .and_then(|()| engine.side_records(partition.to_u64()))
        .map_err(|error| error.to_string())?;
    let remembered = decode_remembered(&records, meta.index);
    Ok(Installed {
        remembered: remembered.map_err(|error| error.to_string())?,
        pieces: Pieces::among(&records),
        meta,
    })
}
