//! How a floor is proved. One replica asks all to fence off what is at or below it: from then on
//! they take that from each other alone, so that what there is of it no longer grows. Then it
//! sweeps with each other one twice: after the first round it has all there is, after the second
//! so has everybody. Knows nothing of how a sweep works.

use std::collections::BTreeSet;

use tablestore_placement::StorageId;

use super::Replica;
use crate::active::clock::check_drift;
use crate::active::message::{Message, Proof, RequestNumber, SweepHead};
use crate::active::row::Floor;
use crate::active::settings::whole_ms;
use crate::types::Now;

#[derive(Debug)]
pub(super) struct Attempt {
    floor: Floor,
    request: RequestNumber,
    /// Who has not put up the fence yet.
    unfenced: BTreeSet<StorageId>,
    give_up_at: Now,
}

impl Attempt {
    /// The end of waiting for fences; the sweeps have deadlines of their own.
    pub(super) fn deadline(&self) -> Option<Now> {
        (!self.unfenced.is_empty()).then_some(self.give_up_at)
    }
}

impl Replica {
    pub(super) fn head(&mut self) -> SweepHead {
        self.number += 1;
        SweepHead {
            request: RequestNumber {
                incarnation: self.incarnation,
                number: self.number,
            },
            epoch: self.view.epoch,
            proof: self.meta.proof.clone(),
        }
    }

    /// The first of the replicas proposes floors, and not while they change.
    pub(super) fn proposes_floors(&self) -> bool {
        let is_whole = !self.meta.is_rebuilding && self.scan.is_none();
        is_whole && self.view.next.is_empty() && self.view.current.first() == Some(&self.me)
    }

    pub(super) fn begin_attempt(&mut self) {
        let age_ms = whole_ms(self.settings.floor_age);
        let floor = Floor(self.at.wall_ms.saturating_sub(age_ms));
        let step_ms = whole_ms(self.settings.floor_step);
        if floor.0 < self.meta.proof.floor.0.saturating_add(step_ms) {
            return;
        }
        let head = self.head();
        let others = self.others();
        self.attempt = Some(Attempt {
            floor,
            request: head.request,
            unfenced: others.iter().copied().collect(),
            give_up_at: self.at.now + 2 * self.settings.resend_after,
        });
        if others.is_empty() {
            self.raise_fence(floor);
            self.finish_attempt();
        }
        for to in others {
            let head = head.clone();
            self.send_durable(to, Message::Fence { head, floor });
        }
    }

    pub(super) fn others(&self) -> Vec<StorageId> {
        let mut others = self.view.members();
        others.remove(&self.me);
        others.into_iter().collect()
    }

    pub(super) fn on_fence(&mut self, from: StorageId, head: SweepHead, floor: Floor) {
        let drift_max_ms = self.settings.drift_max_ms();
        let is_ahead = check_drift(floor.0, self.at.wall_ms, drift_max_ms).is_err();
        if is_ahead || self.meta.is_rebuilding {
            self.not_now(from, head.request);
            return;
        }
        self.raise_fence(floor);
        let request = head.request;
        self.send_durable(from, Message::Fenced { request });
    }

    pub(super) fn on_fenced(&mut self, from: StorageId, request: RequestNumber) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let is_mine = attempt.request == request && attempt.unfenced.remove(&from);
        if is_mine && attempt.unfenced.is_empty() {
            // Last: where this node's clock has leapt ahead, the others refuse the floor, and a
            // fence there would shut clients out until the time of day gets there.
            let floor = attempt.floor;
            self.raise_fence(floor);
            let others = self.others();
            self.planned = others.iter().chain(&others).copied().collect();
        }
    }

    pub(super) fn go_on_attempting(&mut self) {
        let is_late = |attempt: &Attempt| attempt.deadline() <= Some(self.at.now);
        if self
            .attempt
            .as_ref()
            .is_some_and(|a| a.deadline().is_some() && is_late(a))
        {
            self.attempt = None;
            self.planned = self.others().into();
        }
    }

    /// All planned sweeps of an attempt are complete.
    pub(super) fn finish_attempt(&mut self) {
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        let proof = Proof {
            floor: attempt.floor,
            members: self.view.current.clone(),
        };
        self.adopt(proof.clone());
        let epoch = self.view.epoch;
        for to in self.others() {
            let proof = proof.clone();
            self.send_durable(to, Message::Proved { epoch, proof });
        }
    }

    /// Another replica knows this floor. Who was part of the proof has all that there was at or
    /// below it; who was not may have what the others deleted and forgot, and gets it anew.
    pub(super) fn adopt(&mut self, proof: Proof) {
        if proof.floor == self.meta.proof.floor {
            self.learn_members(&proof);
        }
        if proof.floor <= self.meta.proof.floor {
            return;
        }
        // Whoever was part put up the fence first: without it the rows are not those of then.
        let was_part = proof.members.contains(&self.me) && self.meta.fence >= proof.floor;
        if !was_part {
            self.meta.is_purging = true;
            self.meta.is_rebuilding = true;
            self.met.clear();
        }
        self.meta.fence = self.meta.fence.max(proof.floor);
        self.meta.proof = proof;
        self.attempt = None;
        self.planned.clear();
        self.persist_meta();
        self.begin_scan();
        if self.meta.is_rebuilding {
            self.next_sweep_at = self.at.now;
        }
    }

    fn raise_fence(&mut self, floor: Floor) {
        if floor > self.meta.fence {
            self.meta.fence = floor;
            self.persist_meta();
        }
    }
}
