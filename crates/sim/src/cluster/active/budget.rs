//! What the replicas of an active table can lose and still have all that was acknowledged: one of
//! two or three at a time, while all others are whole. Knows nothing of how it is lost.

use tablestore_placement::{Assignment, PartitionId, StorageId};

use crate::cluster::World;
use crate::cluster::machine::slot_of;

impl World {
    /// Whether a replica is there, has all its rows, and answers.
    fn is_whole(&self, partition: PartitionId, member: StorageId) -> bool {
        let machine = &self.machines[slot_of(member)];
        let process = machine.process.as_ref();
        let status = process.and_then(|process| process.plane.active_status(partition));
        machine.storage == member && status.is_some_and(|status| !status.is_rebuilding)
    }

    /// Whether the rows of one member can be lost: all others that count have theirs, so that
    /// each write to a majority is with one of them, and no change is under way.
    pub(in crate::cluster) fn can_lose_rows(
        &self,
        partition: PartitionId,
        assignment: &Assignment,
        member: StorageId,
    ) -> bool {
        let others = assignment.in_sync.iter().filter(|one| **one != member);
        let mut others = others.peekable();
        let is_at_rest = assignment.joiner().is_none() && others.peek().is_some();
        is_at_rest && others.all(|other| self.is_whole(partition, *other))
    }

    /// Whether all partitions can do without the disks of one member.
    pub(in crate::cluster) fn active_can_lose(&self, member: StorageId) -> bool {
        let map = &self.agreement.map;
        let mut held = map
            .partitions()
            .filter(|(id, _, a)| self.is_active(*id) && a.replicas.contains(&member));
        held.all(|(id, _, a)| self.can_lose_rows(id, a, member))
    }

    /// Whether a partition goes on answering when one member is dead for ever and only those that
    /// work are there: a majority of each of the sets that answer.
    pub(in crate::cluster) fn active_remains(
        &self,
        partition: PartitionId,
        assignment: &Assignment,
        works: impl Fn(&StorageId) -> bool,
    ) -> bool {
        let lives = |one: &&StorageId| works(one) && self.is_whole(partition, **one);
        let is_enough = |set: &[StorageId]| set.iter().filter(lives).count() * 2 > set.len();
        let next = assignment.replicas_after(self.scenario.replicas);
        is_enough(&assignment.in_sync) && next.is_none_or(|next| is_enough(&next))
    }
}
