//! Members whose disks are full: they hold no office, are not waited for where the minimum
//! allows, and get nothing new until they have room again.
//!
//! Knows nothing of when a disk counts as full.

use std::collections::BTreeSet;
use std::sync::Arc;

use tablestore_health::Belief;
use tablestore_placement::{Decision, DecisionKind, Member, MemberState, StorageId};

use crate::{Controller, Job, Planned, SignOfWork};

impl Controller {
    /// Members that say that their disk is full.
    #[must_use]
    pub fn full_members(&self) -> BTreeSet<StorageId> {
        let full = self.answers.iter().filter(|(_, answer)| answer.full);
        full.map(|(node, _)| *node).collect()
    }

    fn answer_of(&self, member: &Member) -> Option<&SignOfWork> {
        let answer = self.answers.get(&member.storage)?;
        (answer.incarnation == member.incarnation).then_some(answer)
    }

    pub(crate) fn act_on_room(&mut self) {
        let map = Arc::clone(&self.map);
        for member in map.live_members() {
            let Some(answer) = self.answer_of(member) else {
                continue;
            };
            let (storage, incarnation) = (member.storage, member.incarnation);
            let full = answer.full;
            let (kind, evidence) = if full {
                (DecisionKind::DiskFull, "its disk is full")
            } else if answer.leaving || member.state != MemberState::Suspect {
                continue;
            } else if matches!(self.belief(storage, incarnation), Belief::Alive) {
                (DecisionKind::DiskRoom, "its disk has room")
            } else {
                continue;
            };
            let decision = Decision::new(kind, self.now.wall_ms)
                .about(storage)
                .on_evidence(evidence);
            let planned = Planned::Room {
                storage,
                incarnation,
                full,
            };
            self.propose(Job::Room(storage), planned, decision);
        }
    }
}
