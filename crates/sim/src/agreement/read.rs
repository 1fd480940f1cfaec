//! Linearizable reads of the map: the leader confirms that it leads, and whoever asked waits
//! until it has applied what was committed by then. Knows nothing of what is read for.

use std::sync::Arc;

use tablestore_placement::ClusterMap;

use super::event::AgreementEvent;
use super::says::{Says, Slot};
use super::{Agreement, Turn};

/// A read that is under way.
#[derive(Debug)]
pub(super) struct Reading {
    slot: Slot,
    life: u64,
    /// What was committed when it was asked.
    floor: Option<u64>,
}

impl Agreement {
    /// A node asks for the map as it is now. A ticket is never used again.
    pub(crate) fn read_index(&mut self, now: u64, from: Slot, ticket: u64) {
        self.now = self.now.max(now);
        let Some(life) = self.nodes.get(&from).map(|node| node.life) else {
            return;
        };
        let floor = self.book.last().map(|last| last.index);
        let reading = Reading {
            slot: from,
            life,
            floor,
        };
        self.reads.insert(ticket, reading);
        if !self.goes_wrong(|wrongs| wrongs.read_hangs, "a read of the map hung") {
            self.push(self.now, from, AgreementEvent::ReadTry { ticket });
        }
        let at = self.now + self.settings.read_within_us;
        self.push(at, from, AgreementEvent::ReadDeadline { ticket });
    }

    pub(super) fn try_to_read(&mut self, turn: &Turn<'_>, slot: Slot, ticket: u64) {
        let Some(node) = self
            .nodes
            .get(&slot)
            .filter(|_| self.reads.contains_key(&ticket))
        else {
            return;
        };
        let leader = node
            .leader
            .and_then(|leader| self.slots.get(&leader).copied());
        let ask = AgreementEvent::ReadAsk { ticket, from: slot };
        let is_sent = match leader {
            Some(leader) if leader == slot => {
                self.push(turn.now + 1, slot, ask);
                true
            }
            Some(leader) => self.send(turn, slot, leader, ask),
            None => false,
        };
        if !is_sent {
            let at = turn.now + self.settings.pause_us.max(1);
            self.push(at, slot, AgreementEvent::ReadTry { ticket });
        }
    }

    /// Confirms that this node leads: a majority hears it and knows no newer term.
    pub(super) fn read_asked(&mut self, turn: &Turn<'_>, slot: Slot, ticket: u64, from: Slot) {
        let Some(node) = self.nodes.get(&slot) else {
            return;
        };
        let (me, term) = (node.storage, node.term);
        let follows = |at: Slot| {
            let hears = (turn.reach)(slot, at) && (turn.reach)(at, slot);
            let other = self.nodes.get(&at);
            hears
                && other.is_some_and(|other| {
                    other.term <= term && !other.failed && other.paused_until <= turn.now
                })
        };
        let confirms = |id| id == me || self.slots.get(&id).copied().is_some_and(follows);
        let is_confirmed = node.is_ready() && node.group().is_majority(confirms);
        let index = node.committed.filter(|_| is_confirmed);
        let is_mine = |reading: &Reading| {
            self.nodes
                .get(&from)
                .is_some_and(|node| node.life == reading.life)
        };
        if !self.reads.get(&ticket).is_some_and(is_mine) {
            return;
        }
        let reply = match index {
            Some(index) => AgreementEvent::ReadFrom { ticket, index },
            None => AgreementEvent::ReadTry { ticket },
        };
        let late = |wrongs: &super::Wrongs| wrongs.read_late;
        if index.is_some() && self.goes_wrong(late, "a read of the map was answered late") {
            let at = turn.now + self.late();
            self.push(at, from, reply);
        } else if from == slot {
            let wait = if index.is_some() {
                1
            } else {
                self.settings.pause_us.max(1)
            };
            self.push(turn.now + wait, slot, reply);
        } else {
            self.send(turn, slot, from, reply);
        }
    }

    pub(super) fn read_from(&mut self, slot: Slot, ticket: u64, index: u64) {
        let Some(node) = self.nodes.get_mut(&slot) else {
            return;
        };
        node.readers.push((index, ticket));
        self.serve_readers(slot);
    }

    pub(super) fn serve_readers(&mut self, slot: Slot) {
        let Some(node) = self.nodes.get_mut(&slot) else {
            return;
        };
        let applied = node.applied;
        let (ready, waiting) = std::mem::take(&mut node.readers)
            .into_iter()
            .partition(|(index, _)| applied >= Some(*index));
        node.readers = waiting;
        let map = Arc::clone(&node.map);
        let ready: Vec<(u64, u64)> = ready;
        for (_, ticket) in ready {
            if let Some(reading) = self.reads.get(&ticket)
                && reading.floor > applied
            {
                let floor = reading.floor;
                self.book.report(|| {
                    format!("a read was answered at {applied:?}, {floor:?} was committed before")
                });
            }
            self.read_ends(ticket, Some(Arc::clone(&map)));
        }
    }

    pub(super) fn read_ends(&mut self, ticket: u64, map: Option<Arc<ClusterMap>>) {
        if let Some(reading) = self.reads.remove(&ticket) {
            let slot = reading.slot;
            self.says.push(Says::Read { slot, ticket, map });
        }
    }
}
