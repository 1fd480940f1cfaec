//! What the judge is told of the shared storage, and what must hold of it when a run ends: its log
//! tells the order of writes, and at rest it is what the model has. Decides nothing.

use tablestore_placement::{Assignment, PartitionId};
use tablestore_replication::Entry;

use super::super::World;
use super::super::machine::slot_of;
use super::asking::Request;
use super::content::Batch;
use super::owner::Owner;
use crate::check::{ProcessId, Rest};

impl World {
    /// Writes are in the log of the storage from now on.
    pub(super) fn judge_batch(&mut self, request: &Request, batch: &Batch) {
        let (now, partition) = (self.now, request.partition);
        let entries: Vec<Entry> = batch
            .writes
            .iter()
            .map(|(entry, _)| entry.clone())
            .collect();
        let outcomes = batch.writes.iter();
        let outcomes: Vec<_> = outcomes.map(|(entry, what)| (entry.index, *what)).collect();
        self.judge_time(partition, &entries);
        let (life, head) = (request.life, batch.head);
        let count = entries.len();
        self.tell(|| format!("{life:?} {partition} stores {count} up to {head:?}"));
        let process = ProcessId::STORAGE;
        self.check
            .applied(now, process, partition, &entries, &outcomes);
        self.heed();
    }

    /// The owner that the map names, if it has the partition open.
    fn owner_of(&self, partition: PartitionId, assignment: &Assignment) -> Option<&Owner> {
        let primary = assignment.primary?;
        let machine = &self.machines[slot_of(primary.member)];
        let process = machine.process.as_ref();
        let process = process.filter(|_| machine.office() == primary)?;
        let owner = self.shared.owner_at(process.life, partition);
        owner.filter(|owner| owner.is_open && owner.epoch == assignment.epoch)
    }

    /// What keeps a partition on shared storage from being served.
    pub(in crate::cluster) fn unwell_shared(
        &self,
        partition: PartitionId,
        assignment: &Assignment,
    ) -> Option<String> {
        let database = self.shared.databases.get(&partition);
        let epoch = database.map_or(0, super::database::Database::epoch);
        let owner = self.owner_of(partition, assignment);
        let serves = owner.is_some_and(|owner| owner.is_idle() && owner.writer_epoch == epoch);
        (!serves).then(|| {
            let owner = owner.map(|owner| (owner.writer_epoch, owner.content.head));
            format!("{partition} is not served: {assignment:?}, {owner:?} of writer {epoch}")
        })
    }

    /// A partition on shared storage is at rest: the storage has what the model has, and so has
    /// the memory of its owner.
    pub(in crate::cluster) fn judge_shared_rest(
        &mut self,
        partition: PartitionId,
        assignment: &Assignment,
    ) {
        let database = self.shared.databases.get(&partition);
        let content = database.map(super::database::Database::content);
        let content = content.unwrap_or_default();
        let owner = self.owner_of(partition, assignment);
        if owner.is_some_and(|owner| owner.content != content) {
            return self.fail("copies", || {
                format!("the owner of {partition} has something else than the storage")
            });
        }
        let rest = Rest {
            applied: content.head.index,
            rows: content.rows.into_iter().collect(),
            remembered: Some(content.remembered),
        };
        self.check
            .final_state(self.now, ProcessId::STORAGE, partition, &rest);
        self.heed();
    }
}
