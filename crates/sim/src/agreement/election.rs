//! Who leads: when a node stands for election, who gives it a vote, and what a new leader and a
//! deposed one do. Knows nothing of what is in the log.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tablestore_placement::StorageId;
use tablestore_store::maplog::{Entry, EntryId, EntryKind, Vote};

use super::event::{AgreementEvent, Then};
use super::node::{Leader, Role, next_of};
use super::says::{Says, Slot};
use super::{Agreement, Turn};

/// Later candidates wait no longer than the one after so many others.
const SECOND_CHANCE_STEPS_MAX: u64 = 2;

impl Agreement {
    pub(super) fn election_timeout(&mut self) -> u64 {
        let (low, high) = self.settings.election_us;
        self.elections.between(low, high)
    }

    pub(super) fn timer(&mut self, turn: &Turn<'_>, slot: Slot) {
        self.rest(turn, slot);
        let drawn = self.election_timeout();
        let lease_us = self.settings.lease_us;
        let Some(node) = self.nodes.get_mut(&slot).filter(|node| !node.failed) else {
            return;
        };
        let leads = node.lead().is_some();
        let due = node.heard_at + lease_us + node.timeout_us;
        if leads || turn.now >= due {
            node.timeout_us = drawn;
        }
        if !leads && turn.now >= due {
            self.stand(turn, slot, false);
        }
        let next = if turn.now < due && !leads {
            due
        } else {
            turn.now + drawn
        };
        self.push(next.max(turn.now + 1), slot, AgreementEvent::Timer);
    }

    /// An idle log notes what is durable.
    fn rest(&mut self, turn: &Turn<'_>, slot: Slot) {
        let is_idle = |slot| {
            self.nodes
                .get(&slot)
                .is_some_and(|node| !node.disk.is_unsettled())
        };
        if !is_idle(slot) {
            return;
        }
        let rested = self.on_disk(slot, |node| {
            node.file.rest()?;
            Ok((node.disk.is_unsettled(), node.disk.mark()))
        });
        if let Some((true, mark)) = rested {
            self.settle_later(turn.now, slot, mark, Then::Nothing);
        }
    }

    /// Stands for election if it votes and, as far as can be asked before, a majority would elect
    /// it.
    fn stand(&mut self, turn: &Turn<'_>, slot: Slot, is_fast: bool) {
        let Some(node) = self.nodes.get(&slot) else {
            return;
        };
        let (me, own_term, last, group) = (node.storage, node.term, node.log.last(), node.group());
        if node.votes_held || !group.votes(me) || node.lead().is_some() {
            return;
        }
        if self.goes_wrong(|wrongs| wrongs.nobody_stands, "nobody stood for election") {
            return;
        }
        let reaches = |voter: &Slot| (turn.reach)(slot, *voter) && (turn.reach)(*voter, slot);
        let asked = |id| self.slots.get(&id).copied().filter(reaches);
        // Who refuses says which term it knows.
        let known = group.voters().into_iter().filter_map(asked);
        let known = known.filter_map(|voter| self.nodes.get(&voter).map(|node| node.term));
        let term = known.fold(own_term, u64::max) + 1;
        let what = (last, is_fast);
        let gives = |voter| self.is_willing(turn, voter, me, term, what);
        let wins = group.is_majority(|id| id == me || asked(id).is_some_and(gives));
        let vain = |wrongs: &super::Wrongs| wrongs.vain_election;
        if !wins && !self.goes_wrong(vain, "a node stood that could not win") {
            return;
        }
        if !self.cast(turn, slot, term, me) {
            return;
        }
        if let Some(node) = self.nodes.get_mut(&slot) {
            node.role = Role::Candidate {
                votes: BTreeSet::new(),
            };
        }
        for id in group.voters() {
            if let Some(voter) = self.slots.get(&id).copied().filter(|voter| *voter != slot) {
                let by = me;
                self.send(
                    turn,
                    slot,
                    voter,
                    AgreementEvent::Ask {
                        by,
                        term,
                        last,
                        is_fast,
                    },
                );
            }
        }
    }

    pub(super) fn stand_if_still(&mut self, turn: &Turn<'_>, slot: Slot, seen: u64) {
        if self.nodes.get(&slot).is_some_and(|node| node.term == seen) {
            self.stand(turn, slot, true);
        }
    }

    /// Writes a vote for a candidate, which counts once it is durable.
    fn cast(&mut self, turn: &Turn<'_>, slot: Slot, term: u64, candidate: StorageId) -> bool {
        self.step_down(turn, slot);
        let vote = Vote {
            term,
            leader: candidate.0,
            committed: false,
        };
        let Some(mark) = self.on_disk_synced(slot, |node| {
            node.leader = None;
            node.vote(vote)
        }) else {
            return false;
        };
        if let Some(mark) = mark {
            self.settle_later(turn.now, slot, mark, Then::Voted(vote));
        }
        true
    }

    /// Whether a voter would give its vote.
    fn is_willing(
        &self,
        turn: &Turn<'_>,
        slot: Slot,
        candidate: StorageId,
        term: u64,
        (last, is_fast): (Option<EntryId>, bool),
    ) -> bool {
        let Some(node) = self.nodes.get(&slot) else {
            return false;
        };
        let is_free = node.term < term || node.term == term && node.voted == Some(candidate);
        let works = !node.failed && !node.votes_held && node.paused_until <= turn.now;
        let has_lease = turn.now < node.heard_at + self.settings.lease_us;
        let follows = node.leader.filter(|leader| *leader != candidate);
        let is_let_go = follows.is_none_or(|leader| {
            !has_lease
                || is_fast && self.is_gone(turn, slot, leader)
                || node.hand_over == Some((node.term, candidate))
        });
        works && is_free && is_let_go && last >= node.log.last()
    }

    /// Whether a node itself finds that its leader is gone or silent.
    fn is_gone(&self, turn: &Turn<'_>, slot: Slot, leader: StorageId) -> bool {
        let Some(leader) = self
            .slots
            .get(&leader)
            .copied()
            .filter(|at| self.is_up(*at))
        else {
            return true;
        };
        let hears = (turn.reach)(leader, slot) && (turn.reach)(slot, leader);
        let heard_at = self.nodes.get(&slot).map_or(0, |node| node.heard_at);
        leader != slot && !hears && turn.now > heard_at + 2 * self.settings.heartbeat_us
    }

    pub(super) fn asked(
        &mut self,
        turn: &Turn<'_>,
        slot: Slot,
        by: StorageId,
        term: u64,
        what: (Option<EntryId>, bool),
    ) {
        if self.is_willing(turn, slot, by, term, what) {
            self.cast(turn, slot, term, by);
        } else if let Some(known) = self.nodes.get(&slot).map(|node| node.term)
            && known > term
            && let Some(candidate) = self.slots.get(&by).copied()
        {
            self.send(
                turn,
                slot,
                candidate,
                AgreementEvent::Higher { term: known },
            );
        }
    }

    pub(super) fn vote_settled(&mut self, turn: &Turn<'_>, slot: Slot, vote: Vote) {
        let Some(node) = self.nodes.get_mut(&slot) else {
            return;
        };
        node.votes_pending -= 1;
        node.log.voted(vote);
        if vote.committed {
            return;
        }
        let (by, term, candidate) = (node.storage, vote.term, StorageId(vote.leader));
        if candidate == by {
            self.granted(turn, slot, by, term);
        } else if let Some(candidate) = self.slots.get(&candidate).copied() {
            self.send(turn, slot, candidate, AgreementEvent::Granted { by, term });
        }
    }

    pub(super) fn granted(&mut self, turn: &Turn<'_>, slot: Slot, by: StorageId, term: u64) {
        let Some(node) = self.nodes.get_mut(&slot).filter(|node| node.term == term) else {
            return;
        };
        let group = node.group();
        let Role::Candidate { votes } = &mut node.role else {
            return;
        };
        votes.insert(by);
        if group.is_majority(|id| votes.contains(&id)) && votes.contains(&node.storage) {
            self.lead(turn, slot, term);
        }
    }

    fn lead(&mut self, turn: &Turn<'_>, slot: Slot, term: u64) {
        let Some(node) = self.nodes.get_mut(&slot) else {
            return;
        };
        let me = node.storage;
        self.book.lead(term, me, |index| node.id_at(index));
        let index = next_of(node.last_index());
        let blank = EntryId {
            term,
            leader: me.0,
            index,
        };
        node.leader = Some(me);
        node.heard_at = turn.now;
        node.role = Role::Leader(Leader {
            blank,
            matched: BTreeMap::new(),
            heard: BTreeMap::new(),
            waiting: BTreeMap::new(),
            queue: VecDeque::new(),
            is_alone: false,
        });
        let vote = Vote {
            term,
            leader: me.0,
            committed: true,
        };
        // It rides on the sync of the first entry: the vote for itself is durable.
        if self
            .on_disk(slot, |node| node.vote(vote).map(drop))
            .is_none()
        {
            return;
        }
        self.append_here(turn, slot, Entry::new(blank, EntryKind::Blank, &[]));
        let at = turn.now + self.settings.heartbeat_us;
        self.push(at, slot, AgreementEvent::Beat { term });
    }

    /// A newer term is known: whoever leads an older one leads no more.
    pub(super) fn see_term(&mut self, turn: &Turn<'_>, slot: Slot, term: u64) {
        if self.nodes.get(&slot).is_some_and(|node| node.term < term) {
            self.step_down(turn, slot);
            if let Some(node) = self.nodes.get_mut(&slot) {
                node.term = term;
                node.voted = None;
                node.leader = None;
            }
        }
    }

    /// Leads no more, if it did.
    pub(super) fn step_down(&mut self, turn: &Turn<'_>, slot: Slot) {
        let Some(node) = self.nodes.get_mut(&slot) else {
            return;
        };
        let before = std::mem::replace(&mut node.role, Role::Follower);
        let term = node.term;
        if let Role::Leader(leader) = before {
            node.leader = None;
            let told_late = |wrongs: &super::Wrongs| wrongs.told_late;
            let is_late = self.goes_wrong(told_late, "a deposed leader was told late");
            let wait = if is_late { self.late() } else { 1 };
            self.push(turn.now + wait, slot, AgreementEvent::Deposed { term });
            self.let_go(turn, leader);
        }
    }

    pub(super) fn tell_deposed(&mut self, slot: Slot, term: u64) {
        if let Some(node) = self.nodes.get_mut(&slot)
            && node.told_term == Some(term)
        {
            node.told_term = None;
            self.says.push(Says::Leadership { slot, term: None });
        }
    }

    /// Acts once against a leader that is gone: the survivor with the greatest log at once, the
    /// others later if there is no leader by then.
    pub(super) fn hinted(&mut self, turn: &Turn<'_>, slot: Slot, of: StorageId, is_own: bool) {
        let Some(node) = self.nodes.get(&slot) else {
            return;
        };
        let (term, group, me) = (node.term, node.group(), node.storage);
        let is_new = node.leader == Some(of) && of != me && node.acted_on != Some(term);
        if !is_new || !is_own && !self.is_gone(turn, slot, of) {
            return;
        }
        if let Some(node) = self.nodes.get_mut(&slot) {
            node.acted_on = Some(term);
        }
        let mut order: Vec<_> = group.voters().into_iter().filter(|id| *id != of).collect();
        for id in &order {
            if let Some(voter) = self.slots.get(id).copied().filter(|voter| *voter != slot) {
                self.send(
                    turn,
                    slot,
                    voter,
                    AgreementEvent::Hint { of, is_own: false },
                );
            }
        }
        if !group.votes(me) || !group.is_majority(|id| id != of) {
            return;
        }
        let end = |id: &StorageId| {
            let node = self.slots.get(id).and_then(|at| self.nodes.get(at));
            node.and_then(|node| node.log.last())
        };
        order.sort_by_key(|id| (Reverse(end(id)), *id));
        let place = order.iter().position(|id| *id == me).unwrap_or(0) as u64;
        let (first, step) = self.settings.second_chance_us;
        let wait = match place.checked_sub(1) {
            None => 1,
            Some(others) => first + step * others.min(SECOND_CHANCE_STEPS_MAX),
        };
        self.push(turn.now + wait, slot, AgreementEvent::Stand { seen: term });
    }

    pub(super) fn hand_over_now(&mut self, turn: &Turn<'_>, slot: Slot, to: StorageId) {
        let Some(node) = self.nodes.get(&slot).filter(|node| node.lead().is_some()) else {
            return;
        };
        let (term, group) = (node.term, node.group());
        let Some(successor) = self.slots.get(&to).copied().filter(|at| *at != slot) else {
            return;
        };
        if !group.votes(to) {
            return;
        }
        for id in group.voters() {
            let Some(voter) = self.slots.get(&id).copied() else {
                continue;
            };
            if (voter == slot || (turn.reach)(slot, voter))
                && let Some(node) = self.nodes.get_mut(&voter)
            {
                node.hand_over = Some((term, to));
            }
        }
        self.send(turn, slot, successor, AgreementEvent::Stand { seen: term });
    }
}
