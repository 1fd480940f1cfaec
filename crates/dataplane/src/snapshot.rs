//! Copies between this node and others: when they begin, go on and end.
//!
//! The order of chunks and the proof that a copy is complete are in `transfer`, its rows in
//! `copies`; a copy is built aside and switched in only when the replica says so. Knows nothing
//! of when one is needed.

mod receiving;
mod sending;

use std::collections::BTreeMap;
use std::time::Duration;

use tablestore_placement::{Office, PartitionId, StorageId};
use tablestore_replication::SnapshotMeta;
use tablestore_store::Engine;
use tablestore_store::engine::Replacement;

use crate::copies::{CopyId, Source};
use crate::plane::Plane;
use crate::transfer::{Ended, Incoming, Outgoing, TransferId};
use crate::wire::{CopyStep, DataMessage};

#[derive(Debug)]
struct Sending {
    to: StorageId,
    index: u64,
    transfer: Outgoing,
    /// Away while a page is being read.
    source: Option<Source>,
}

#[derive(Debug)]
struct Receiving {
    id: TransferId,
    meta: SnapshotMeta,
    transfer: Incoming,
    /// Not there before the first chunk, and away while one is being stored.
    replacement: Option<Box<dyn Replacement>>,
}

/// All copies under way on this node.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    next: u64,
    outgoing: BTreeMap<CopyId, Sending>,
    /// One a partition.
    incoming: BTreeMap<PartitionId, Receiving>,
    /// Complete, while its replica is asked what to do with it.
    offered: Option<Box<dyn Replacement>>,
}

impl Transfers {
    pub(crate) fn drop_offered(&mut self) {
        self.offered = None;
    }
}

impl<E: Engine, W> Plane<E, W> {
    fn say(&mut self, copy: CopyId, to: StorageId, step: CopyStep) {
        let CopyId {
            partition,
            transfer,
        } = copy;
        let message = DataMessage::Copy {
            partition,
            transfer,
            step,
        };
        self.links.tell(to, &message);
    }

    /// What the other side says about a copy.
    pub(crate) fn copy_step(
        &mut self,
        from: Office,
        partition: PartitionId,
        transfer: TransferId,
        step: CopyStep,
    ) {
        let copy = CopyId {
            partition,
            transfer,
        };
        let sent_by_me = transfer.sender == self.me;
        match step {
            CopyStep::Begin(meta) if transfer.sender == from => self.receive(copy, meta),
            CopyStep::Chunk(chunk) if transfer.sender == from => {
                let now = self.now.since_start;
                let taken = match self.receiving(copy) {
                    Some(receiving) => receiving.transfer.came(now, chunk),
                    None => Err(Ended::GivenUp),
                };
                match taken {
                    Ok(()) => self.store_on(copy),
                    Err(why) => self.end_receiving(copy, why),
                }
            }
            CopyStep::Ack(number) if sent_by_me => self.copy_acked(from.member, copy, number),
            CopyStep::End(why) => {
                let sending = self.transfers.outgoing.get(&copy);
                if sending.is_some_and(|sending| sending.to == from.member) {
                    self.forget_sending(copy, why);
                } else if transfer.sender == from && self.receiving(copy).is_some() {
                    self.forget_receiving(copy, why);
                }
            }
            CopyStep::Begin(_) | CopyStep::Chunk(_) | CopyStep::Ack(_) => {
                self.counts.foreign_answers += 1;
            }
        }
    }

    /// A connection with the node was lost, and what was on it.
    pub(crate) fn end_copies_with(&mut self, node: StorageId) {
        self.end_copies(
            Ended::GivenUp,
            |_, sending| sending.to == node,
            |receiving| receiving.id.sender.member == node,
        );
    }

    /// Gives up nodes that are silent for too long.
    pub(crate) fn end_late_copies(&mut self, now: Duration) {
        self.end_copies(
            Ended::Silent,
            |_, sending| sending.transfer.is_late(now),
            |receiving| receiving.transfer.is_late(now),
        );
    }

    fn end_copies(
        &mut self,
        why: Ended,
        sent: impl Fn(&CopyId, &Sending) -> bool,
        received: impl Fn(&Receiving) -> bool,
    ) {
        let transfers = &self.transfers;
        let outgoing = transfers.outgoing.iter().filter(|(id, one)| sent(id, one));
        let outgoing: Vec<CopyId> = outgoing.map(|(id, _)| *id).collect();
        let incoming = transfers.incoming.iter().filter(|(_, one)| received(one));
        let incoming: Vec<CopyId> = incoming
            .map(|(partition, one)| CopyId {
                partition: *partition,
                transfer: one.id,
            })
            .collect();
        for copy in outgoing {
            self.end_sending(copy, why);
        }
        for copy in incoming {
            self.end_receiving(copy, why);
        }
    }
}
