//! How a table comes into the storage. While no map says that it is there, owners make what is not
//! there, and serve when a map says so: then nobody can have been served by a partition that is
//! made anew. Knows nothing of requests.

use tablestore_placement::{Command, Epoch, PartitionId};

use super::super::event::ClusterEvent;
use super::super::{MS, World};
use super::OwnerEvent;

/// The number of the storage.
const STORAGE: u64 = 7;
/// The owner of this partition tells the map when the table is in the storage.
const TELLS: u32 = 0;
/// How often the map of a process is looked at.
const LOOK_EVERY_US: u64 = MS;
/// As in a server: the pause before the storage is looked at again, which doubles up to the
/// longest.
const TELL_MIN_US: u64 = 10 * MS;
const TELL_MAX_US: u64 = 1_000 * MS;

impl World {
    /// An owner has a partition of a table that no map has in the storage.
    pub(super) fn wait_until_founded(&mut self, number: u64) {
        let Some(owner) = self.shared.owners.get(&number) else {
            return;
        };
        let (tells, is_successor) = (
            owner.partition.partition == TELLS,
            owner.epoch > Epoch(1) && owner.writer_epoch == 1,
        );
        if is_successor {
            self.took("owner: founded in the place of its predecessor");
        }
        self.look_whether_founded(number);
        if tells {
            self.tell_when_founded(number, TELL_MIN_US);
        }
    }

    /// The partition serves when the map of its process says that the table is in the storage.
    pub(super) fn look_whether_founded(&mut self, number: u64) {
        let Some(owner) = self.shared.owners.get(&number) else {
            return;
        };
        let life = owner.life;
        let process = self.machines[life.slot].process.as_ref();
        let Some(process) = process.filter(|process| process.life == life) else {
            return;
        };
        if !owner.holds(&process.map) {
            self.took("owner: lost its office before the table was founded");
            return self.owner_ends(number, None);
        }
        if owner.is_as_ordered(&process.map) {
            let event = ClusterEvent::Owner(life, OwnerEvent::Founded { owner: number });
            return self.queue.push(self.now + LOOK_EVERY_US, event);
        }
        self.took("owner: learnt that its table is founded");
        self.opened(number);
    }

    /// Tells the map when all partitions are in the storage, as long as the owner waits for that.
    pub(super) fn tell_when_founded(&mut self, number: u64, pause_us: u64) {
        let Some(owner) = self.shared.owners.get(&number).filter(|one| !one.is_open) else {
            return;
        };
        let (life, table) = (owner.life, owner.partition.table);
        let process = self.machines[life.slot].process.as_ref();
        let known = process.and_then(|process| process.map.tables.get(&table));
        let Some(partitions) = known.map(|table| table.definition.partitions) else {
            return;
        };
        let mut all = (0..partitions).map(|at| PartitionId::new(table, at));
        if all.all(|partition| self.shared.is_founded(partition)) {
            self.took("owner: told the map that its table is founded");
            let command = Command::FoundTable {
                table,
                storage: STORAGE,
                at_ms: 1,
            };
            self.command_of(life.slot, command);
        }
        let again = OwnerEvent::Tell {
            owner: number,
            pause_us: (pause_us * 2).min(TELL_MAX_US),
        };
        let event = ClusterEvent::Owner(life, again);
        self.queue.push(self.now + pause_us, event);
    }
}
