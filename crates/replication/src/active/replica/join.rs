//! How a replica becomes whole: one that comes into the set, or that was not part of a proof, gets
//! its rows by sweeps with the others, one after the other and without the long pauses of those
//! that only compare. Where one only leaves, those that stay share its rows in the same way. Knows
//! nothing of who decides about the set.

use std::collections::BTreeSet;
use std::time::Duration;

use tablestore_placement::{Epoch, StorageId};

use super::Replica;
use crate::active::message::{Origin, Proof, Refusal};
use crate::active::row::Floor;
use crate::active::view::View;

impl Replica {
    /// Whether the replica comes into the set by the change that is under way.
    #[must_use]
    pub fn is_joining(&self) -> bool {
        self.view.next.contains(&self.me) && !self.view.current.contains(&self.me)
    }

    /// Whether a replica that comes into the set has all that was acknowledged, so that the change
    /// may end: since the change began it has swept with enough of the old ones that every write to
    /// a majority of them is among their rows, and with those that leave, unless they are gone
    /// (then nobody has what they had alone) or have had their time.
    #[must_use]
    pub fn has_caught_up(&self, is_gone: impl Fn(StorageId) -> bool) -> bool {
        if !self.is_joining() || self.meta.is_rebuilding || self.scan.is_some() {
            return false;
        }
        let current = &self.view.current;
        let is_late = self.at.now >= self.view_since + self.settings.join_patience;
        let met = current.iter().filter(|member| self.has_swept(**member));
        let mut leaving = current.iter().filter(|old| !self.view.next.contains(old));
        met.count() * 2 >= current.len()
            && leaving.all(|old| is_late || self.has_swept(*old) || is_gone(*old))
    }

    /// Whether the set becomes smaller by the change that is under way, and the replica stays in
    /// it.
    #[must_use]
    pub fn is_staying(&self) -> bool {
        let View { current, next, .. } = &self.view;
        next.contains(&self.me) && next.len() < current.len() && current.contains(&self.me)
    }

    /// Whether a replica that stays knows that a majority of those that stay have every write that
    /// a majority of the old ones had: since the change began it has swept with so many that all
    /// of it is among its rows, and only then with so many of those that stay that they are a
    /// majority with it. And with the one that leaves before the latter, as in
    /// [`Self::has_caught_up`].
    #[must_use]
    pub fn has_shared(&self, is_gone: impl Fn(StorageId) -> bool) -> bool {
        let is_whole = !self.meta.is_rebuilding && self.scan.is_none();
        let is_late = self.at.now >= self.view_since + self.settings.join_patience;
        let View { current, next, .. } = &self.view;
        let mut leaving = current.iter().filter(|old| !next.contains(old));
        self.is_staying()
            && is_whole
            && self.has_gathered()
            && (self.shared.len() + 1) * 2 > next.len()
            && leaving.all(|old| is_late || self.has_swept(*old) || is_gone(*old))
    }

    /// Whether a write to a majority of the old replicas is among the rows of this one, which is
    /// one of them.
    fn has_gathered(&self) -> bool {
        let current = &self.view.current;
        let met = current.iter().filter(|member| self.has_swept(**member));
        !self.meta.is_rebuilding && (met.count() + 1) * 2 >= current.len()
    }

    /// A sweep is complete: each has what the other had when it began.
    pub(super) fn note_swept(&mut self, peer: StorageId) {
        if self.is_staying() {
            let leaves = !self.view.next.contains(&peer);
            if leaves && !self.has_swept(peer) {
                // Those that were met before have not got what comes from this one.
                self.shared.clear();
            } else if !leaves && self.has_gathered() {
                self.shared.insert(peer);
            }
        }
        self.status.swept.insert(peer, self.view.epoch);
    }

    fn has_swept(&self, member: StorageId) -> bool {
        self.status.swept.get(&member) == Some(&self.view.epoch)
    }

    /// With whom the replica sweeps next: a new one with those that it has not met yet, and one
    /// that stays where another leaves first with that.
    pub(super) fn to_be_swept(&self) -> Vec<StorageId> {
        let mut others = self.others();
        if self.is_staying() {
            others.sort_by_key(|other| self.view.next.contains(other) || self.has_swept(*other));
        }
        if self.is_joining() && !self.meta.is_rebuilding {
            let unmet = |other: &StorageId| !self.has_swept(*other);
            let unmet: Vec<StorageId> = others.iter().copied().filter(unmet).collect();
            if !unmet.is_empty() {
                others = unmet;
            }
        }
        others
    }

    pub(super) fn sweep_pause(&self) -> Duration {
        if self.is_joining() || self.is_staying() || self.meta.is_rebuilding {
            self.settings.join_sweep_every
        } else {
            self.settings.sweep_every
        }
    }

    pub(super) fn first_sweep_after(&self) -> Duration {
        if self.is_joining() || self.is_staying() {
            Duration::ZERO
        } else {
            self.sweep_pause()
        }
    }

    /// One of the set that knows no epoch has no rows either, unless the set has never changed: it
    /// was told of none, or what it had is lost. It is rebuilt in either case.
    pub(super) fn note_loss(&mut self, view: &View) {
        let knows_none = self.meta.epoch == Epoch(0) && view.epoch > Epoch(0).next();
        if knows_none && view.current.contains(&self.me) {
            self.meta.is_rebuilding = true;
        }
    }

    /// One that lost its rows may have lost a fence too: before it has heard of one it takes
    /// nothing from clients, nor what was kept for it.
    pub(super) fn check_met(&self, origin: Origin) -> Result<(), Refusal> {
        let is_from_others = matches!(origin, Origin::Repair | Origin::DurableRepair);
        let counts = self.view.current.contains(&self.me);
        if self.meta.is_rebuilding && counts && self.met.is_empty() && !is_from_others {
            return Err(Refusal::Rebuilding);
        }
        Ok(())
    }

    /// A sweep is complete. Who is rebuilt is whole when it has met one that has all at or below
    /// the floor, and, where it counts already, so many others that each write to a majority, of
    /// which it was one perhaps, is with one of them.
    pub(super) fn note_met(&mut self, peer: StorageId) {
        if !self.meta.is_rebuilding || self.meta.is_purging {
            return;
        }
        self.met.insert(peer);
        let proof = &self.meta.proof;
        let is_of_proof = |member: &StorageId| proof.members.contains(member);
        let has_old = proof.floor == Floor::default() || self.met.iter().any(is_of_proof);
        let current = &self.view.current;
        let others = current.iter().filter(|other| self.met.contains(other));
        let has_new = !current.contains(&self.me) || others.count() * 2 >= current.len();
        if has_old && has_new {
            self.is_rebuilt();
        }
    }

    /// The replica has all that those have that proved the floor: others may be rebuilt from it
    /// too.
    fn is_rebuilt(&mut self) {
        self.meta.is_rebuilding = false;
        self.met.clear();
        let proof = &mut self.meta.proof;
        if proof.floor > Floor::default() && !proof.members.contains(&self.me) {
            proof.members.push(self.me);
            proof.members.sort_unstable();
        }
        self.persist_meta();
    }

    /// Of the same floor: who else has become as good as those that proved it.
    pub(super) fn learn_members(&mut self, proof: &Proof) {
        let known = &self.meta.proof.members;
        let mut all: BTreeSet<StorageId> = known.iter().copied().collect();
        all.extend(&proof.members);
        if all.len() > known.len() {
            self.meta.proof.members = all.into_iter().collect();
            self.persist_meta();
        }
    }
}
