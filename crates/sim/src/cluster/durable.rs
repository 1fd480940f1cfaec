//! What each machine has on its disk of each log, and the rule about it: what a primary takes for
//! committed is durable with everybody who is in sync. Knows nothing of what entries say.

use std::collections::BTreeMap;

use tablestore_dataplane::Record;
use tablestore_placement::PartitionId;
use tablestore_replication::Role;
use tablestore_store::{JournalReader, ReadRows as _};

use super::World;
use super::event::{Life, Slot};
use super::machine::slot_of;

/// The last index of each log by number of its partition; none where a log was given up.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogEnds(BTreeMap<u64, Option<u64>>);

impl LogEnds {
    /// As a start finds them.
    pub(crate) fn found(reader: &JournalReader) -> Self {
        let partitions = reader.partitions().into_iter();
        Self(
            partitions
                .map(|number| (number, reader.meta(number).map(|meta| meta.end)))
                .collect(),
        )
    }

    /// A record is written behind the others. An entry takes the place of those from its index on.
    pub(crate) fn write(&mut self, record: &Record) {
        let (number, end) = match record {
            Record::Entry {
                partition, index, ..
            } => (*partition, Some(*index)),
            Record::Meta { partition, meta } | Record::Restart { partition, meta } => {
                (*partition, Some(meta.end))
            }
            Record::Forget { partition } => (*partition, None),
            Record::Recycle { .. } => return,
        };
        self.0.insert(number, end);
    }

    /// What was written is durable.
    pub(crate) fn take_in(&mut self, written: Self) {
        self.0.extend(written.0);
    }

    /// Whether there is no log.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How far each log goes here and there.
    pub(crate) fn common(&self, other: &Self) -> Self {
        let both = |(number, end): (&u64, &Option<u64>)| {
            let there = other.0.get(number).copied().flatten();
            (*number, end.zip(there).map(|(here, there)| here.min(there)))
        };
        Self(self.0.iter().map(both).collect())
    }

    /// The last index of a log; none if there is no log.
    pub(crate) fn end(&self, partition: PartitionId) -> Option<u64> {
        self.0.get(&partition.to_u64()).copied().flatten()
    }
}

impl LogEnds {
    /// The logs that there are, and where each ends.
    pub(super) fn all(&self) -> impl Iterator<Item = (PartitionId, u64)> {
        let ends = self.0.iter();
        ends.filter_map(|(number, end)| Some((PartitionId::from_u64(*number), (*end)?)))
    }
}

impl World {
    /// A replica has applied an entry. If it is the primary that the newest map names, all who are
    /// in sync by that map have the entry on their disks.
    pub(super) fn judge_durable(&mut self, life: Life, partition: PartitionId, index: u64) {
        let map = &self.agreement.map;
        let Some(assignment) = map.assignment(partition) else {
            return;
        };
        let Some(process) = self.machines[life.slot].process.as_ref() else {
            return;
        };
        let status = process.plane.status(partition);
        let leads = status
            .is_some_and(|status| status.role == Role::Primary && status.epoch == assignment.epoch);
        if !leads || assignment.primary != Some(process.office) {
            return;
        }
        let mut members = assignment.in_sync.iter().map(|member| slot_of(*member));
        let lacks = |slot: &Slot| {
            let machine = &self.machines[*slot];
            let counts = assignment.in_sync.contains(&machine.storage)
                && !machine.lost_rows.contains(&partition);
            let end = machine.durable.end(partition).filter(|_| counts);
            end.is_some_and(|end| end < index)
        };
        let Some(slot) = members.find(lacks) else {
            return;
        };
        let end = self.machines[slot].durable.end(partition);
        self.fail("Durable", || {
            format!(
                "{life:?} holds entry {index} of {partition} for committed, and n{slot}, \
                 which is in sync, has only {end:?} on its disk"
            )
        });
    }

    /// The journal has told a plane what is durable: no replica takes more for durable than the
    /// machine has, in the journal or in files of rows.
    pub(super) fn judge_claims(&mut self, life: Life) {
        let machine = &self.machines[life.slot];
        let Some(process) = machine.process.as_ref() else {
            return;
        };
        let numbers = machine.engine.partitions().into_iter();
        let mut claims = numbers.filter_map(|number| {
            let partition = PartitionId::from_u64(number);
            let claimed = process.plane.status(partition)?.durable;
            let end = machine.durable.end(partition).unwrap_or(0);
            let has = end.max(machine.engine.checkpointed(number));
            (claimed > has).then_some((partition, claimed, has))
        });
        let Some((partition, claimed, has)) = claims.next() else {
            return;
        };
        self.fail("Durable", || {
            format!(
                "{life:?} holds {partition} for durable up to {claimed}, and has {has} on its disk"
            )
        });
    }
}
