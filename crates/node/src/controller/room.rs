//! Members whose disks are full: they hold no office, are not waited for where the minimum
//! allows, and get nothing new until they have room again.
//!
//! Knows nothing of when a disk counts as full.

use std::collections::BTreeSet;
use std::sync::Arc;

use tablestore_health::Belief;
use tablestore_placement::{
    ClusterMap, Decision, DecisionKind, Member, MemberState, StorageId, plan,
};

use super::{Controller, Job};
use crate::control::HeartbeatAnswer;
use crate::node::wall_ms;

impl Controller {
    /// Members that say that their disk is full.
    pub(super) fn full(&self) -> BTreeSet<StorageId> {
        let full = self.log_ends.iter().filter(|(_, answer)| answer.full);
        full.map(|(node, _)| *node).collect()
    }

    fn answer_of(&self, member: &Member) -> Option<&HeartbeatAnswer> {
        let answer = self.log_ends.get(&member.storage)?;
        (answer.incarnation == member.incarnation).then_some(answer)
    }

    pub(super) fn act_on_room(&mut self, map: &Arc<ClusterMap>) {
        for member in map.live_members() {
            let Some(answer) = self.answer_of(member) else {
                continue;
            };
            let (storage, state) = (member.storage, member.state);
            let (full, incarnation) = (answer.full, member.incarnation);
            let (evidence, next) = if full {
                ("its disk is full", MemberState::Suspect)
            } else if answer.leaving || state != MemberState::Suspect {
                continue;
            } else {
                let works = matches!(self.belief(storage, member.incarnation), Belief::Alive);
                if !works {
                    continue;
                }
                ("its disk has room", MemberState::Up)
            };
            let decision = Decision::new(DecisionKind::Stall, wall_ms())
                .about(storage)
                .on_evidence(evidence);
            self.propose(Job::Room(storage), decision, move |map| {
                let mut plan = if full {
                    plan::on_stall(map, storage)
                } else {
                    plan::Plan::default()
                };
                let state = map.members.get(&storage).map(|member| member.state);
                // A member that drains is given nothing in any case, and its drain goes on.
                if state.is_some_and(|state| state != next && state != MemberState::Draining) {
                    plan.members.push((storage, incarnation, next));
                }
                plan
            });
        }
    }
}
