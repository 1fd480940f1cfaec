//! How the group begins and changes: each step of the world becomes entries of the log. Knows
//! nothing of which step is wanted.

use std::collections::BTreeSet;

use tablestore_controller::{Group, GroupStep, has_caught_up};
use tablestore_placement::StorageId;
use tablestore_store::maplog::{Entry, EntryId, EntryKind};

use super::event::AgreementEvent;
use super::members::Members;
use super::says::Slot;
use super::{Agreement, Turn};

impl Agreement {
    /// A node with an empty log begins a group of its own; it will lead that soon.
    pub(crate) fn found(&mut self, now: u64, slot: Slot, address: &str) -> Result<(), String> {
        self.now = self.now.max(now);
        let node = self.nodes.get(&slot).ok_or("the node does not run")?;
        if node.log.last().is_some() || node.log.vote().is_some() {
            return Err("it has a log already".to_owned());
        }
        let members = Members::alone(node.storage, address.to_owned());
        let id = EntryId {
            term: 0,
            leader: 0,
            index: 0,
        };
        let turn = Turn {
            now: self.now,
            reach: &|_, _| false,
        };
        self.append_here(&turn, slot, entry(id, &members)?);
        self.push(self.now + 1, slot, AgreementEvent::Stand { seen: 0 });
        Ok(())
    }

    /// What the leader knows of its group, to choose the next step by.
    pub(crate) fn group(
        &self,
        slot: Slot,
        long_dead: BTreeSet<StorageId>,
        reach: &dyn Fn(Slot, Slot) -> bool,
    ) -> Option<Group> {
        let node = self
            .nodes
            .get(&slot)
            .filter(|node| node.is_ready() && !node.failed)?;
        let leader = node.lead()?;
        let last = node.last_index().unwrap_or(0);
        let members = node.group();
        let is_near = |id: &StorageId| {
            let matched = leader.matched.get(id).copied().unwrap_or(0);
            let at = self.slots.get(id).copied();
            let hears = |at| self.is_up(at) && reach(slot, at) && reach(at, slot);
            has_caught_up(matched, last) && at.is_some_and(hears)
        };
        Some(Group {
            me: node.storage,
            voters: members.voters(),
            in_change: members.is_in_change(),
            caught_up: members.nodes.keys().copied().filter(is_near).collect(),
            nodes: members.nodes.clone(),
            long_dead,
        })
    }

    /// The leader takes a step. An error says why not; nothing was changed then.
    pub(crate) fn take(
        &mut self,
        now: u64,
        slot: Slot,
        step: &GroupStep,
        reach: &dyn Fn(Slot, Slot) -> bool,
    ) -> Result<(), String> {
        self.now = self.now.max(now);
        let node = self
            .nodes
            .get(&slot)
            .filter(|node| node.is_ready() && !node.failed);
        let node = node.ok_or("the node does not lead")?;
        if *step == GroupStep::HandOver {
            let to = self.best_successor(slot).ok_or("no other voter answers")?;
            self.hand_over(now, slot, to);
            return Ok(());
        }
        let newest = node.members.last_key_value().map(|(index, _)| *index);
        if newest > node.committed {
            return Err("a change is under way".to_owned());
        }
        let members = node.group().after(step)?;
        let id = self.next_id(slot).ok_or("the node does not run")?;
        let turn = Turn {
            now: self.now,
            reach,
        };
        self.append_here(&turn, slot, entry(id, &members)?);
        self.tell_voters(slot);
        Ok(())
    }

    fn best_successor(&self, slot: Slot) -> Option<StorageId> {
        let node = self.nodes.get(&slot)?;
        let leader = node.lead()?;
        let voters = node.group().voters();
        let others = voters.into_iter().filter(|id| *id != node.storage);
        let up = others.filter(|id| self.slots.get(id).is_some_and(|at| self.is_up(*at)));
        up.max_by_key(|id| leader.matched.get(id).copied())
    }

    /// An entry about the group is committed: the second half of a change follows.
    pub(super) fn regrouped(&mut self, turn: &Turn<'_>, slot: Slot) {
        let Some(node) = self.nodes.get(&slot).filter(|node| node.lead().is_some()) else {
            return;
        };
        let group = node.group();
        let newest = node.members.last_key_value().map(|(index, _)| *index);
        if newest > node.committed {
            return;
        }
        if group.is_in_change() {
            let next = self.next_id(slot).map(|id| entry(id, &group.settled()));
            if let Some(Ok(entry)) = next {
                self.append_here(turn, slot, entry);
            }
        } else if !group.votes(node.storage) {
            self.step_down(turn, slot);
        }
    }
}

fn entry(id: EntryId, members: &Members) -> Result<Entry, String> {
    let payload = rmp_serde::to_vec_named(members).map_err(|error| error.to_string())?;
    Ok(Entry::new(id, EntryKind::Membership, &payload))
}
