//! Copies that this node sends. Knows nothing of those that it receives.

use tablestore_placement::{Epoch, PartitionId, StorageId};
use tablestore_replication::{Input, Role};
use tablestore_store::Engine;
use tablestore_store::engine::EngineError;

use super::Sending;
use crate::apply::remembered_pieces;
use crate::copies::{CopyId, CopyPage, Source};
use crate::job::Work;
use crate::mutant::Mutant;
use crate::plane::Plane;
use crate::transfer::{Acked, Ended, Outgoing, Pairs, TransferId};
use crate::wire::CopyStep;

impl<E: Engine, W> Plane<E, W> {
    pub(crate) fn send_snapshot(&mut self, partition: PartitionId, to: StorageId, epoch: Epoch) {
        let Some(hosted) = self.replicas.get(&partition) else {
            return;
        };
        let others = self.transfers.outgoing.iter();
        let others = others.filter(|(id, one)| id.partition != partition || one.to != to);
        let fits = others.count() < self.settings.sending_max;
        // Nothing is applied meanwhile: rows, results, index and history are of one moment.
        let snapshot = fits.then(|| self.engine.snapshot(partition.to_u64()));
        let snapshot = match snapshot {
            Some(Ok(snapshot)) => snapshot,
            refused => {
                if let Some(Err(error)) = refused {
                    tracing::error!(%partition, %error, "rows cannot be read for a copy");
                }
                return self.put_off(partition, to);
            }
        };
        let meta = hosted.replica.snapshot_meta();
        let results: Vec<_> = hosted
            .replica
            .remembered_after(hosted.remembered_until)
            .collect();
        let unflushed: Pairs = remembered_pieces(&results, self.settings.results_a_piece)
            .into_iter()
            .map(|(_, name, value)| (name.into(), value.into()))
            .collect();
        self.transfers.next += 1;
        let transfer = TransferId {
            sender: self.me,
            epoch,
            number: self.transfers.next,
        };
        let copy = CopyId {
            partition,
            transfer,
        };
        let sending = Sending {
            to,
            index: meta.index,
            transfer: Outgoing::new(self.now.since_start, &self.settings),
            source: Some(Source::new(snapshot, unflushed, &self.settings)),
        };
        // The receiver gives the one before up by itself. Heard here, that would be taken for the
        // end of this one, and the next be begun, without end.
        let transfers = &mut self.transfers.outgoing;
        transfers.retain(|before, sending| before.partition != partition || sending.to != to);
        transfers.insert(copy, sending);
        self.say(copy, to, CopyStep::Begin(meta));
        self.read_on(copy);
    }

    /// The replica asks again after a while.
    fn put_off(&mut self, partition: PartitionId, to: StorageId) {
        self.later.push((partition, Input::SnapshotFailed { to }));
    }

    /// Reads the next page if there is room for it on the way.
    fn read_on(&mut self, copy: CopyId) {
        let Some(sending) = self.transfers.outgoing.get_mut(&copy) else {
            return;
        };
        if !sending.transfer.has_room() {
            return;
        }
        if let Some(source) = sending.source.take() {
            self.begin(Work::CopyPage { copy, source });
        }
    }

    pub(crate) fn copy_read(
        &mut self,
        copy: CopyId,
        source: Source,
        page: Result<CopyPage, EngineError>,
    ) {
        let now = self.now.since_start;
        let Some(sending) = self.transfers.outgoing.get_mut(&copy) else {
            return;
        };
        match page {
            Ok(page) => {
                let page_is_last = page.last;
                let chunk = sending.transfer.chunk(now, page.pairs, page.last);
                sending.source = Some(source);
                let to = sending.to;
                let is_lost = chunk.number % 3 == 2 && !page_is_last;
                if !(is_lost && self.settings.has(Mutant::ChunkLostUnnoticed)) {
                    self.say(copy, to, CopyStep::Chunk(chunk));
                }
                self.read_on(copy);
            }
            Err(error) => {
                let partition = copy.partition;
                self.end_sending(copy, Ended::Failed);
                self.met(partition, &error, "rows cannot be read for a copy");
            }
        }
    }

    pub(crate) fn copy_acked(&mut self, from: StorageId, copy: CopyId, number: u64) {
        let now = self.now.since_start;
        let sending = self.transfers.outgoing.get_mut(&copy);
        let Some(sending) = sending.filter(|sending| sending.to == from) else {
            return;
        };
        let (to, index) = (sending.to, sending.index);
        match sending.transfer.acked(now, number) {
            Ok(Acked::GoesOn) => self.read_on(copy),
            Ok(Acked::Complete) => {
                self.transfers.outgoing.remove(&copy);
                self.feed(copy.partition, Input::SnapshotDelivered { to, index });
            }
            Err(why) => self.end_sending(copy, why),
        }
    }

    /// Ends a copy that this node sends, and tells the other side.
    pub(crate) fn end_sending(&mut self, copy: CopyId, why: Ended) {
        if let Some(sending) = self.transfers.outgoing.get(&copy) {
            let to = sending.to;
            self.say(copy, to, CopyStep::End(why));
            self.forget_sending(copy, why);
        }
    }

    pub(crate) fn forget_sending(&mut self, copy: CopyId, why: Ended) {
        let Some(sending) = self.transfers.outgoing.remove(&copy) else {
            return;
        };
        let (partition, to) = (copy.partition, sending.to);
        if why != Ended::Refused {
            self.counts.copies_ended += 1;
            tracing::warn!(%partition, %to, %why, "a copy was not sent");
        }
        self.feed(partition, Input::SnapshotFailed { to });
    }

    /// The replica has another role now: only a primary sends copies.
    pub(crate) fn end_copies_of(&mut self, partition: PartitionId, role: Role) {
        if role == Role::Primary {
            return;
        }
        let sent = self.transfers.outgoing.keys();
        let ended: Vec<_> = sent.filter(|c| c.partition == partition).copied().collect();
        for copy in ended {
            self.end_sending(copy, Ended::GivenUp);
        }
    }
}
