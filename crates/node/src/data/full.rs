//! What a replica does while a disk is full: no new rows where a copy that counts has no room,
//! and no following where the copy does not count.
//!
//! Knows nothing of how much room there is.

use std::time::Duration;

use tablestore_placement::PartitionId;
use tablestore_store::mutation;

use super::plane::Plane;
use super::request::{Failure, Operation, Reply};

/// How long a write waits for its office to move where there is room.
const ROOM_COMES_WITHIN: Duration = Duration::from_secs(2);

impl Plane {
    /// Whether this write would need room that an in-sync copy does not have. Deletes go on, at
    /// the cost of the reserve, because they are the way out.
    pub(super) fn lacks_room(&self, partition: PartitionId, operation: &Operation) -> bool {
        let Operation::Write { payload, .. } = operation else {
            return false;
        };
        let room = &self.ports.progress.room;
        let in_sync = self.ports.map.assignment(partition).map(|a| &a.in_sync);
        let full = room.is_full() || in_sync.is_some_and(|in_sync| room.is_any_full(in_sync));
        full && !mutation::is_delete(payload)
    }

    /// Whether a write that finds no room here should wait: enough other copies have room, so that
    /// the controller is about to move the office, or to leave the full one out.
    pub(super) fn room_may_come(&self, partition: PartitionId) -> bool {
        let lacking_since = self.ports.lacking_since.unwrap_or_else(|| self.ports.now());
        if self.ports.now() > lacking_since + ROOM_COMES_WITHIN {
            return false;
        }
        let map = &self.ports.map;
        let (Some(assignment), Some(table)) =
            (map.assignment(partition), map.tables.get(&partition.table))
        else {
            return false;
        };
        let room = &self.ports.progress.room;
        let (me, i_am_full) = (self.ports.me.member, room.is_full());
        let others = assignment.in_sync.iter();
        let others = others.filter(|m| map.is_live(**m) && !(i_am_full && **m == me));
        room.with_room(others) >= table.definition.min_in_sync as usize
    }

    /// Notes since when somebody's disk is full.
    pub(super) fn note_room(&mut self) {
        let room = &self.ports.progress.room;
        if room.is_full() || room.is_any_member_full() {
            let now = self.ports.now();
            self.ports.lacking_since.get_or_insert(now);
        } else {
            self.ports.lacking_since = None;
        }
    }

    /// Whether messages of other replicas are taken in. A full node ignores what it is not
    /// counted on for; it catches up when it has room.
    pub(super) fn follows(&self, partition: PartitionId) -> bool {
        let me = self.ports.me.member;
        let counts = || {
            let assignment = self.ports.map.assignment(partition);
            assignment.is_some_and(|a| a.in_sync.contains(&me))
        };
        !self.ports.progress.room.is_full() || counts()
    }

    /// Answers a request with a failure, in the epoch that is known here.
    pub(super) fn fail(&mut self, ticket: u64, failure: Failure) {
        let Some(request) = self.ports.requests.get(&ticket) else {
            return;
        };
        let epoch = self.epoch_of(request.partition);
        let result = Err(failure);
        self.answer(ticket, Reply { epoch, result });
    }
}
