//! A new replica of an active table asks the map to count it once it is whole, one that stays asks
//! it to let another go, and operators are told of one that is rebuilt. Knows nothing of how it
//! became so.

use std::time::Duration;

use tablestore_placement::{Command, PartitionId};
use tablestore_store::Engine;

use crate::effects::Proposal;
use crate::plane::Plane;

/// An answer may be lost, and a member be in the map's way that dies later: it asks again.
const ASK_EVERY: Duration = Duration::from_secs(1);

impl<E: Engine, W> Plane<E, W> {
    /// Tells operators that a replica has begun to be rebuilt, or has all its rows again.
    pub(super) fn note_rebuilding(&mut self, partition: PartitionId) {
        let Some(hosted) = self.active.hosted.get_mut(&partition) else {
            return;
        };
        let is_rebuilding = hosted.replica.meta().is_rebuilding;
        let was_rebuilding = std::mem::replace(&mut hosted.was_rebuilding, is_rebuilding);
        match (was_rebuilding, is_rebuilding) {
            (false, true) => tracing::info!(%partition, "an active replica gets its rows anew"),
            (true, false) => tracing::info!(%partition, "an active replica has all its rows again"),
            _ => {}
        }
    }

    /// Asks for the end of the change that is under way, if this replica is the one that comes and
    /// has all that the others have; or, where one only leaves, if this one stays and knows that
    /// enough of those that stay have it. The map refuses what is about another change than its
    /// own.
    pub(super) fn ask_to_join(&mut self, partition: PartitionId) {
        let Some(hosted) = self.active.hosted.get_mut(&partition) else {
            return;
        };
        let now = self.now.since_start;
        let is_soon = hosted.asked_at.is_some_and(|at| now < at + ASK_EVERY);
        let (joins, stays) = (hosted.replica.is_joining(), hosted.replica.is_staying());
        if hosted.stopped.is_some() || !(joins || stays) || is_soon {
            return;
        }
        let map = &self.map;
        let Some(table) = map.tables.get(&partition.table) else {
            return;
        };
        let assignment = map.assignment(partition);
        let epoch = hosted.replica.meta().epoch;
        let Some(assignment) = assignment.filter(|current| current.epoch == epoch) else {
            return;
        };
        let then = assignment.replicas_after(table.definition.replicas);
        let is_gone = |old| !map.is_live(old);
        let is_done = hosted.replica.has_caught_up(is_gone) || hosted.replica.has_shared(is_gone);
        let Some(in_sync) = then.filter(|_| is_done) else {
            return;
        };
        hosted.asked_at = Some(now);
        if joins {
            tracing::info!(%partition, "a new replica of an active table has all rows");
        } else {
            tracing::info!(%partition, "others have all rows of a replica that leaves");
        }
        let command = Command::ProposeInSync {
            partition,
            epoch,
            version: assignment.version,
            office: self.me,
            in_sync,
            joiner: joins.then_some((self.me.member, self.me.incarnation)),
            at_ms: self.now.wall_ms,
        };
        self.out.proposals.push(Proposal {
            partition,
            version: assignment.version,
            command,
        });
    }
}
