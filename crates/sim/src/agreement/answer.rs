//! What becomes of a proposal, and what is said of it: never that it was discarded unless it is
//! in no log that counts and never will be. Knows nothing of how it came into the log.

use tablestore_placement::Refused;
use tablestore_store::maplog::EntryId;

use super::book::EntryAnswer;
use super::event::AgreementEvent;
use super::node::Leader;
use super::propose::Ticket;
use super::says::{Outcome, Proposal, Says, Slot};
use super::{Agreement, Turn};

/// Comes before every other one.
const LOWEST: EntryId = EntryId {
    term: 0,
    leader: 0,
    index: 0,
};

impl Agreement {
    /// The leader of a term has committed an entry, whoever made it for whom.
    pub(super) fn note_committed(&mut self, id: EntryId, term: u64) {
        if !self.book.commit(id, term) {
            return;
        }
        let (first, last) = ((id.index, LOWEST), (id.index + 1, LOWEST));
        let at_index: Vec<_> = self
            .made
            .range(first..last)
            .map(|(key, of)| (key.1, *of))
            .collect();
        for (other, ticket) in at_index {
            self.judge_decision(other, id, ticket);
            let said = self
                .tickets
                .get(&ticket)
                .and_then(|known| known.said.clone());
            let way = match (said, other == id) {
                (Some(Outcome::Discarded), true) => {
                    self.book
                        .report(|| format!("{id} was called discarded and is committed"));
                    continue;
                }
                (Some(Outcome::Unknown), true) => "unknown, then committed",
                (Some(Outcome::Unknown), false) => "unknown, and never committed",
                _ => continue,
            };
            self.says.push(Says::Way(way));
        }
    }

    /// What the leader of a term decided is committed in that term or not at all.
    fn judge_decision(&mut self, made: EntryId, committed: EntryId, ticket: u64) {
        let decided_in = self.tickets.get(&ticket).and_then(|known| known.decided_in);
        if made == committed && decided_in.is_some_and(|term| term != made.term) {
            self.book.report(|| {
                format!("a decision of the leader of term {decided_in:?} is committed as {made}")
            });
        }
    }

    /// The leader has applied an entry: whoever waits for it is answered.
    pub(super) fn applied(
        &mut self,
        turn: &Turn<'_>,
        slot: Slot,
        id: EntryId,
        answer: EntryAnswer,
    ) {
        let leader = self.nodes.get_mut(&slot).and_then(|node| node.lead_mut());
        let waiting = leader.and_then(|leader| leader.waiting.remove(&id.index));
        let (Some(ticket), Some(answer)) = (waiting, answer) else {
            return;
        };
        let Some(known) = self.tickets.get_mut(&ticket) else {
            return;
        };
        let is_stale = matches!(answer, Err(Refused::StaleDecision { .. }));
        let may_again = matches!(known.proposal, Proposal::Decision { .. }) && !known.is_again;
        if is_stale && may_again && known.said.is_none() {
            known.is_again = true;
            self.says.push(Says::Way("a stale decision was made anew"));
            return self.enqueue(turn, slot, ticket, true);
        }
        let outcome = match answer {
            Ok(applied) => Outcome::Applied(applied),
            Err(refused) => Outcome::Refused(refused),
        };
        let (from, life) = (known.slot, known.life);
        if known.said.is_some()
            || self.goes_wrong(|wrongs| wrongs.answer_lost, "an answer was lost")
            || self.nodes.get(&from).is_none_or(|node| node.life != life)
        {
            return;
        }
        match from == slot {
            true => self.answered(ticket, outcome),
            false => drop(self.send(turn, slot, from, AgreementEvent::Answer { ticket, outcome })),
        }
    }

    pub(super) fn answered(&mut self, ticket: u64, outcome: Outcome) {
        if let Some(known) = self.tickets.get_mut(&ticket)
            && known.said.is_none()
        {
            known.said = Some(outcome.clone());
            let slot = known.slot;
            self.says.push(Says::Proposed {
                slot,
                ticket,
                outcome,
            });
        }
    }

    /// No answer will come: what is certain of it is said.
    pub(super) fn give_up(&mut self, ticket: u64) {
        let Some(known) = self.tickets.get(&ticket) else {
            return;
        };
        let is_dead = known.made.iter().all(|id| self.book.is_dead(*id));
        let outcome = match known.in_flight == 0 && is_dead {
            true => Outcome::Discarded,
            false => Outcome::Unknown,
        };
        self.answered(ticket, outcome);
    }

    /// A leader leads no more: what waits with it is over, or goes on elsewhere.
    pub(super) fn let_go(&mut self, turn: &Turn<'_>, leader: Leader) {
        for (ticket, _) in leader.queue {
            if let Some(known) = self.tickets.get_mut(&ticket) {
                known.in_flight -= 1;
                known.at = None;
                let (from, life) = (known.slot, known.life);
                if self.nodes.get(&from).is_some_and(|node| node.life == life) {
                    self.push(turn.now + 1, from, AgreementEvent::Try { ticket });
                }
            }
        }
        for ticket in leader.waiting.into_values() {
            self.tell_given_up(ticket);
        }
    }

    /// A node's connections end: what waits there is over.
    pub(super) fn break_calls_to(&mut self, slot: Slot) {
        let waits = |known: &Ticket| known.at == Some(slot) && known.said.is_none();
        let tickets = self.tickets.iter().filter(|(_, known)| waits(known));
        let tickets: Vec<u64> = tickets.map(|(ticket, _)| *ticket).collect();
        for ticket in tickets {
            self.tell_given_up(ticket);
        }
    }

    fn tell_given_up(&mut self, ticket: u64) {
        if let Some(known) = self.tickets.get(&ticket)
            && self
                .nodes
                .get(&known.slot)
                .is_some_and(|node| node.life == known.life)
        {
            let (slot, at) = (known.slot, self.now + self.settings.delay_us.1.max(1));
            self.push(at, slot, AgreementEvent::Deadline { ticket });
        }
    }
}
