//! What a replica does while a disk is full: no new rows where a copy that counts has no room,
//! and no following where the copy does not count.
//!
//! Knows nothing of how much room there is.

use tablestore_placement::PartitionId;
use tablestore_store::mutation;

use super::plane::Plane;
use super::request::{Failure, Operation, Reply};

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
