//! What a replica does while a disk is full: no new rows where a copy that counts has no room,
//! and no following where the copy does not count.
//!
//! Knows nothing of how much room there is.

use std::collections::BTreeSet;
use std::time::Duration;

use tablestore_placement::{PartitionId, StorageId};
use tablestore_store::{Engine, mutation};

use crate::plane::Plane;
use crate::request::Operation;

/// Whether there is room on the disks, as far as is known here.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// This node's disk is full.
    full: bool,
    /// Members whose disks are full, as the controller last told.
    full_members: BTreeSet<StorageId>,
    /// Since when somebody's disk is full.
    lacking_since: Option<Duration>,
}

impl Room {
    pub(crate) fn set(&mut self, full: bool, members: BTreeSet<StorageId>, now: Duration) {
        (self.full, self.full_members) = (full, members);
        if self.full || !self.full_members.is_empty() {
            self.lacking_since.get_or_insert(now);
        } else {
            self.lacking_since = None;
        }
    }

    /// How many of these have room.
    fn with_room<'a>(&self, members: impl Iterator<Item = &'a StorageId>) -> usize {
        members
            .filter(|member| !self.full_members.contains(member))
            .count()
    }

    /// Whether the disk of one of these is full.
    fn is_any_full(&self, members: &[StorageId]) -> bool {
        !self.full_members.is_empty() && members.iter().any(|m| self.full_members.contains(m))
    }
}

impl<E: Engine, W> Plane<E, W> {
    /// Whether this write would need room that an in-sync copy does not have. Deletes go on, at
    /// the cost of the reserve, because they are the way out.
    pub(crate) fn lacks_room(&self, partition: PartitionId, operation: &Operation) -> bool {
        let Operation::Write { payload, .. } = operation else {
            return false;
        };
        let room = &self.room;
        let in_sync = self.map.assignment(partition).map(|a| &a.in_sync);
        let full = room.full || in_sync.is_some_and(|in_sync| room.is_any_full(in_sync));
        full && !mutation::is_delete(payload)
    }

    /// Whether a write that finds no room here should wait: enough other copies have room, so that
    /// the controller is about to move the office, or to leave the full one out.
    pub(crate) fn room_may_come(&self, partition: PartitionId) -> bool {
        let now = self.now.since_start;
        let lacking_since = self.room.lacking_since.unwrap_or(now);
        if now > lacking_since + self.settings.room_comes_within {
            return false;
        }
        let map = &self.map;
        let (Some(assignment), Some(table)) =
            (map.assignment(partition), map.tables.get(&partition.table))
        else {
            return false;
        };
        let room = &self.room;
        let (me, i_am_full) = (self.me.member, room.full);
        let others = assignment.in_sync.iter();
        let others = others.filter(|m| map.is_live(**m) && !(i_am_full && **m == me));
        room.with_room(others) >= table.definition.min_in_sync as usize
    }

    /// Whether this node's own disk is full.
    pub(crate) fn is_disk_full(&self) -> bool {
        self.room.full
    }

    /// Whether messages of other replicas are taken in. A full node ignores what it is not
    /// counted on for; it catches up when it has room.
    pub(crate) fn follows(&self, partition: PartitionId) -> bool {
        let me = self.me.member;
        let counts = || {
            let assignment = self.map.assignment(partition);
            assignment.is_some_and(|a| a.in_sync.contains(&me))
        };
        !self.room.full || counts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_full_concerns_only_those_that_list_it() {
        let mut room = Room::default();
        assert!(!room.is_any_full(&[StorageId(1)]));
        room.set(false, [StorageId(2)].into(), Duration::from_secs(1));
        assert!(!room.is_any_full(&[StorageId(1)]));
        assert!(room.is_any_full(&[StorageId(1), StorageId(2)]));
        assert_eq!(room.with_room([StorageId(1), StorageId(2)].iter()), 1);
        room.set(true, [StorageId(2)].into(), Duration::from_secs(2));
        assert_eq!(room.lacking_since, Some(Duration::from_secs(1)));
        room.set(false, BTreeSet::new(), Duration::from_secs(3));
        assert_eq!(room.lacking_since, None);
    }
}
