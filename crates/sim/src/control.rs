//! The control plane in a run: the controller's rounds, proposals, reads of the map.

use std::collections::BTreeSet;

use tablestore_placement::StorageId;

use crate::authority::{InSyncProposal, slot_of};
use crate::event::{Event, Process};
use crate::world::{MS, World};

impl World {
    /// One round of the controller: who answers, and what follows from it.
    pub(crate) fn controller(&mut self) {
        if self.control_plane_up {
            let before = self.authority.version;
            self.observe();
            for partition in 0..self.scenario.partitions {
                if self.chance.happens(900) {
                    self.authority.reconcile(partition, &mut self.chance);
                }
            }
            if self.authority.version != before || self.chance.happens(100) {
                self.tell_assignments();
                self.spread_map();
            }
        }
        let at = self.now + self.chance.between(5 * MS, 30 * MS);
        self.queue.push(at, Event::Controller);
    }

    fn tell_assignments(&mut self) {
        self.tell(|world| {
            let assignments: Vec<_> = world
                .authority
                .assignments
                .iter()
                .map(|a| {
                    (
                        a.epoch.0,
                        a.version.0,
                        a.primary_member(),
                        a.in_sync.clone(),
                    )
                })
                .collect();
            format!("map {} {assignments:?}", world.authority.version)
        });
    }

    fn observe(&mut self) {
        for slot in 0..self.nodes.len() {
            let office = self.nodes[slot].office();
            if self.is_reachable(slot) && !self.wrong_guesses[slot] {
                self.silent_since[slot] = None;
                let known = self.authority.members.get(&office.member).copied();
                match known {
                    Some(record) if record.incarnation == office.incarnation => {
                        self.authority.set_up(office.member, true);
                    }
                    _ => self.authority.register(office.member, office.incarnation),
                }
            } else {
                let since = *self.silent_since[slot].get_or_insert(self.now);
                let patience = self.scenario.detect_us;
                if self.wrong_guesses[slot] || self.now - since >= patience {
                    self.authority.set_up(office.member, false);
                }
            }
        }
    }

    pub(crate) fn propose(&mut self, process: Process, proposal: &InSyncProposal) {
        if !self.control_plane_up {
            return;
        }
        let accepted = self.authority.propose(proposal);
        self.tell(|_| format!("proposal {accepted}: {proposal:?}"));
        if accepted {
            self.spread_map();
            if let Some((joiner, _)) = proposal.joiner
                && !self.healing
                && self
                    .chance
                    .happens(self.scenario.join_then_promote_per_mille)
            {
                self.promote_joiner_soon(proposal, joiner);
            }
        } else if self.network.reaches_control(process.slot) && self.chance.happens(700) {
            let at = self.now + self.chance.between(300, 5 * MS);
            let refused = Event::ProposalRefused {
                process,
                partition: proposal.partition,
                version: proposal.version,
            };
            self.queue.push(at, refused);
        }
    }

    /// The worst moment for a new member: its primary may not know yet that it is one.
    fn promote_joiner_soon(&mut self, proposal: &InSyncProposal, joiner: StorageId) {
        let (from, to) = (slot_of(proposal.office.member), slot_of(joiner));
        if self.chance.happens(700) {
            let control = if self.chance.happens(500) {
                BTreeSet::from([from])
            } else {
                BTreeSet::new()
            };
            let cut = self.network.cut(BTreeSet::from([(from, to)]), control);
            let at = self.now + self.chance.between(50 * MS, 300 * MS);
            self.queue.push(at, Event::Heal { cut });
        }
        let promote = Event::Promote {
            partition: proposal.partition,
            to: Some(joiner),
        };
        let at = self.now + self.chance.between(MS, 120 * MS);
        self.queue.push(at, promote);
    }

    pub(crate) fn read_map(&mut self, process: Process, partition: usize, round: u64) {
        let reaches = self.control_plane_up && self.network.reaches_control(process.slot);
        let shown = reaches.then(|| {
            let assignment = &self.authority.assignments[partition];
            (assignment.epoch, assignment.version)
        });
        let at = self.now + self.chance.between(300, 5 * MS);
        let read = Event::MapRead {
            process,
            partition,
            round,
            shown,
        };
        self.queue.push(at, read);
    }

    /// A wrong guess of the controller: the office moves although nobody failed.
    pub(crate) fn promote(&mut self, partition: usize, to: Option<StorageId>) {
        if !self.control_plane_up || self.healing {
            return;
        }
        let to = to.or_else(|| {
            let in_sync = self.authority.assignments[partition].in_sync.clone();
            self.chance.pick(&in_sync)
        });
        if let Some(to) = to {
            self.authority.fail_over(partition, to, &mut self.chance);
            self.tell_assignments();
            self.spread_map();
        }
    }
}
