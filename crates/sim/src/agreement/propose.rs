//! The way of a proposal: from whoever makes it to the leader, and into the log. Knows nothing of
//! how the log is replicated and of the answer.

use std::fmt;

use tablestore_placement::{Change, Command, MadeUnder};
use tablestore_store::maplog::{Entry, EntryId, EntryKind};

use super::event::AgreementEvent;
use super::says::{Outcome, Proposal, Says, Slot};
use super::{Agreement, Turn};

/// A retried command comes at the earliest and at the latest so many pauses after the first one.
const RETRY_PAUSES: (u64, u64) = (1, 40);

/// A proposal and what is known of it.
pub(super) struct Ticket {
    pub(super) slot: Slot,
    pub(super) life: u64,
    pub(super) proposal: Proposal,
    /// The term of the leader whose decision it is.
    pub(super) decided_in: Option<u64>,
    /// The entries that were made of it.
    pub(super) made: Vec<EntryId>,
    /// How many messages with it may still lead to an entry.
    pub(super) in_flight: u32,
    /// With which leader it is.
    pub(super) at: Option<Slot>,
    /// It was refused as stale once, and is decided alone now.
    pub(super) is_again: bool,
    pub(super) said: Option<Outcome>,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Ticket");
        text.field("slot", &self.slot)
            .field("said", &self.said)
            .finish_non_exhaustive()
    }
}

impl Agreement {
    /// A node proposes something; it is told what became of it. A ticket is never used again.
    pub(crate) fn propose(&mut self, now: u64, from: Slot, ticket: u64, proposal: Proposal) {
        self.now = self.now.max(now);
        let Some(life) = self.nodes.get(&from).map(|node| node.life) else {
            return;
        };
        let within = match &proposal {
            Proposal::Command(_) => self.settings.propose_within_us,
            Proposal::Decision { .. } => self.settings.decide_within_us,
        };
        let decided_in = match &proposal {
            Proposal::Command(_) => None,
            Proposal::Decision { term, .. } => Some(*term),
        };
        let proposal = self.disguised(from, proposal);
        let known = Ticket {
            slot: from,
            life,
            proposal,
            decided_in,
            made: Vec::new(),
            in_flight: 0,
            at: None,
            is_again: false,
            said: None,
        };
        self.tickets.insert(ticket, known);
        self.push(self.now, from, AgreementEvent::Try { ticket });
        self.push(self.now + within, from, AgreementEvent::Deadline { ticket });
    }

    /// With the deliberate bug, what a node decides looks like anyone's command.
    fn disguised(&self, from: Slot, proposal: Proposal) -> Proposal {
        match &proposal {
            Proposal::Decision { decide, .. }
                if self.settings.commits_decision_of_deposed_controller =>
            {
                let map = self.nodes.get(&from).map(|node| &node.map);
                match map.and_then(|map| decide(map)) {
                    Some(change) => Proposal::Command(Command::Change(change)),
                    None => proposal,
                }
            }
            _ => proposal,
        }
    }

    pub(super) fn try_to_propose(&mut self, turn: &Turn<'_>, slot: Slot, ticket: u64) {
        let open = self
            .tickets
            .get(&ticket)
            .filter(|known| known.said.is_none());
        let (Some(known), Some(node)) = (open, self.nodes.get(&slot)) else {
            return;
        };
        if let Proposal::Decision { term, .. } = known.proposal {
            let may = node.is_ready() && node.term == term;
            return match may {
                true => self.enqueue(turn, slot, ticket, false),
                false => self.answered(ticket, Outcome::Discarded),
            };
        }
        let leader = node
            .leader
            .and_then(|leader| self.slots.get(&leader).copied());
        if leader == Some(slot) && node.is_ready() {
            return self.enqueue(turn, slot, ticket, false);
        }
        let arrive = AgreementEvent::Arrive {
            ticket,
            is_repeated: false,
        };
        let is_sent =
            leader.is_some_and(|leader| leader != slot && self.send(turn, slot, leader, arrive));
        if is_sent && let Some(known) = self.tickets.get_mut(&ticket) {
            known.in_flight += 1;
            known.at = leader;
        } else {
            let at = turn.now + self.settings.pause_us.max(1);
            self.push(at, slot, AgreementEvent::Try { ticket });
        }
    }

    /// A forwarded command is there; it may be over for whoever sent it.
    pub(super) fn arrived(&mut self, turn: &Turn<'_>, slot: Slot, ticket: u64, is_repeated: bool) {
        let Some(node) = self.nodes.get(&slot) else {
            return;
        };
        let leads = node.lead().is_some();
        if leads && node.is_ready() {
            if let Some(known) = self.tickets.get_mut(&ticket) {
                known.in_flight -= 1;
            }
            if is_repeated {
                self.says.push(Says::Way("a command was put in twice"));
            }
            self.enqueue(turn, slot, ticket, false);
        } else if leads {
            let at = turn.now + self.settings.pause_us.max(1);
            self.push(
                at,
                slot,
                AgreementEvent::Arrive {
                    ticket,
                    is_repeated,
                },
            );
        } else if let Some(known) = self.tickets.get(&ticket) {
            let (from, life) = (known.slot, known.life);
            if is_repeated {
                return;
            }
            if self.nodes.get(&from).is_some_and(|node| node.life == life) {
                self.send(turn, slot, from, AgreementEvent::Returned { ticket });
            }
        }
    }

    pub(super) fn returned(&mut self, turn: &Turn<'_>, slot: Slot, ticket: u64) {
        if let Some(known) = self.tickets.get_mut(&ticket) {
            known.in_flight -= 1;
            known.at = None;
        }
        let at = turn.now + self.settings.pause_us.max(1);
        self.push(at, slot, AgreementEvent::Try { ticket });
    }

    /// It waits for its turn with the leader.
    pub(super) fn enqueue(&mut self, turn: &Turn<'_>, slot: Slot, ticket: u64, is_alone: bool) {
        let leader = self.nodes.get_mut(&slot).and_then(|node| node.lead_mut());
        if let (Some(leader), Some(known)) = (leader, self.tickets.get_mut(&ticket)) {
            known.in_flight += 1;
            known.at = Some(slot);
            leader.queue.push_back((ticket, is_alone));
        }
        self.pump(turn, slot);
    }

    /// Takes into the log what has its turn: one that wants to be alone waits until nothing else
    /// is under way, and those behind it wait for it.
    pub(super) fn pump(&mut self, turn: &Turn<'_>, slot: Slot) {
        loop {
            let node = self
                .nodes
                .get_mut(&slot)
                .filter(|node| node.is_ready() && !node.failed);
            let Some(leader) = node.and_then(|node| node.lead_mut()) else {
                return;
            };
            if leader.waiting.is_empty() {
                leader.is_alone = false;
            }
            let Some((ticket, is_alone)) = leader.queue.front().copied() else {
                return;
            };
            if leader.is_alone || is_alone && !leader.waiting.is_empty() {
                return;
            }
            leader.queue.pop_front();
            leader.is_alone = is_alone;
            self.put_in(turn, slot, ticket);
        }
    }

    fn put_in(&mut self, turn: &Turn<'_>, slot: Slot, ticket: u64) {
        let (Some(node), Some(known)) = (self.nodes.get(&slot), self.tickets.get_mut(&ticket))
        else {
            return;
        };
        known.in_flight -= 1;
        let command = match &known.proposal {
            Proposal::Command(command) => Some(command.clone()),
            Proposal::Decision { term, .. } if node.term != *term => {
                return self.answered(ticket, Outcome::Discarded);
            }
            Proposal::Decision { term, decide } => decide(&node.map).map(|change| {
                let (term, map_version) = (*term, node.map.version);
                let made_under = Some(MadeUnder { term, map_version });
                Command::Change(Change {
                    made_under,
                    ..change
                })
            }),
        };
        let Some(command) = command else {
            return self.answered(ticket, Outcome::Nothing);
        };
        let payload = rmp_serde::to_vec_named(&command);
        let (Some(id), Ok(payload)) = (self.next_id(slot), payload) else {
            return;
        };
        self.note_made(turn, slot, ticket, id);
        self.append_here(turn, slot, Entry::new(id, EntryKind::Normal, &payload));
    }

    fn note_made(&mut self, turn: &Turn<'_>, slot: Slot, ticket: u64, id: EntryId) {
        let newest_term = self.book.newest_term();
        let Some(known) = self.tickets.get_mut(&ticket) else {
            return;
        };
        known.made.push(id);
        let is_command = matches!(known.proposal, Proposal::Command(_));
        let is_first = known.made.len() == 1;
        self.made.insert((id.index, id), ticket);
        if let Some(leader) = self.nodes.get_mut(&slot).and_then(|node| node.lead_mut()) {
            leader.waiting.insert(id.index, ticket);
        }
        if id.term < newest_term {
            self.says.push(Says::Way("a stale leader took a proposal"));
        }
        let twice = |wrongs: &super::Wrongs| wrongs.put_twice;
        if is_command && is_first && self.goes_wrong(twice, "a command will be retried") {
            let (low, high) = RETRY_PAUSES;
            let wait = self.timing.between(low, high) * self.settings.pause_us.max(1);
            if let Some(known) = self.tickets.get_mut(&ticket) {
                known.in_flight += 1;
            }
            self.push(
                turn.now + wait,
                slot,
                AgreementEvent::Arrive {
                    ticket,
                    is_repeated: true,
                },
            );
        }
        if self.goes_wrong(
            |wrongs| wrongs.unknown_early,
            "unknown before it was committed",
        ) {
            self.answered(ticket, Outcome::Unknown);
        }
    }
}
