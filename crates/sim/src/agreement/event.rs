//! What waits for its time at a node, and who does it then. Knows nothing of how it is done.

use tablestore_placement::StorageId;
use tablestore_store::maplog::{EntryId, Vote};
use tablestore_store::testing::SimMark;

use super::image::Image;
use super::says::{Outcome, Slot};
use super::{Agreement, Turn};

/// Something for one life of a node.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) slot: Slot,
    pub(super) life: u64,
    pub(super) event: AgreementEvent,
}

/// What a node does once something is durable.
#[derive(Clone, Debug)]
pub(super) enum Then {
    Nothing,
    /// Its log counts up to here, for the leader of this term.
    Entries(EntryId, u64),
    /// Its vote counts.
    Voted(Vote),
    /// Its log may be purged.
    Imaged(Box<Image>),
    /// The snapshot of another replaces its map.
    Installed(Box<Image>),
}

/// What can happen at a node.
#[derive(Debug)]
pub(super) enum AgreementEvent {
    /// To look whether the leader is silent.
    Timer,
    /// A leader shows itself.
    Beat {
        term: u64,
    },
    /// The leader's log arrives.
    Copy {
        from: Slot,
        life: u64,
        term: u64,
    },
    /// A node has the leader's log up to there, durably.
    Acked {
        by: StorageId,
        term: u64,
        upto: Option<u64>,
    },
    /// Someone knows a newer term.
    Higher {
        term: u64,
    },
    Settled {
        mark: SimMark,
        then: Then,
    },
    /// To stand for election if the term is still the same.
    Stand {
        seen: u64,
    },
    /// A candidate asks for a vote.
    Ask {
        by: StorageId,
        term: u64,
        last: Option<EntryId>,
        is_fast: bool,
    },
    Granted {
        by: StorageId,
        term: u64,
    },
    /// A node is said to be gone; by this node itself, or by another.
    Hint {
        of: StorageId,
        is_own: bool,
    },
    HandOver {
        to: StorageId,
    },
    Apply,
    /// To tell the world that this node leads no more.
    Deposed {
        term: u64,
    },
    /// To take a proposal to whoever leads.
    Try {
        ticket: u64,
    },
    /// A proposal arrives at whoever leads.
    Arrive {
        ticket: u64,
        is_repeated: bool,
    },
    /// The one asked leads not.
    Returned {
        ticket: u64,
    },
    Answer {
        ticket: u64,
        outcome: Outcome,
    },
    Deadline {
        ticket: u64,
    },
    /// To have a read of the map confirmed.
    ReadTry {
        ticket: u64,
    },
    /// A read of the map arrives at whoever leads.
    ReadAsk {
        ticket: u64,
        from: Slot,
    },
    /// A read may be answered once this is applied.
    ReadFrom {
        ticket: u64,
        index: u64,
    },
    ReadDeadline {
        ticket: u64,
    },
}

impl Agreement {
    pub(super) fn run(&mut self, turn: &Turn<'_>, queued: Queued) {
        let Queued { slot, life, event } = queued;
        let Some(node) = self.nodes.get(&slot).filter(|node| node.life == life) else {
            return;
        };
        if let AgreementEvent::Settled { mark, .. } = &event {
            // The disk does not pause with the process.
            node.disk.settle_to(*mark);
        }
        if node.failed {
            return;
        }
        if node.paused_until > turn.now {
            let at = node.paused_until;
            return self.push(at, slot, event);
        }
        match event {
            AgreementEvent::Timer => self.timer(turn, slot),
            AgreementEvent::Beat { term } => self.beat(turn, slot, term),
            AgreementEvent::Copy { from, life, term } => {
                self.copied(turn, slot, (from, life), term)
            }
            AgreementEvent::Acked { by, term, upto } => self.acked(turn, slot, by, term, upto),
            AgreementEvent::Higher { term } => self.see_term(turn, slot, term),
            AgreementEvent::Settled { then, .. } => self.settled(turn, slot, then),
            AgreementEvent::Stand { seen } => self.stand_if_still(turn, slot, seen),
            AgreementEvent::Ask {
                by,
                term,
                last,
                is_fast,
            } => {
                self.asked(turn, slot, by, term, (last, is_fast));
            }
            AgreementEvent::Granted { by, term } => self.granted(turn, slot, by, term),
            AgreementEvent::Hint { of, is_own } => self.hinted(turn, slot, of, is_own),
            AgreementEvent::HandOver { to } => self.hand_over_now(turn, slot, to),
            AgreementEvent::Apply => self.apply(turn, slot),
            AgreementEvent::Deposed { term } => self.tell_deposed(slot, term),
            AgreementEvent::Try { ticket } => self.try_to_propose(turn, slot, ticket),
            AgreementEvent::Arrive {
                ticket,
                is_repeated,
            } => {
                self.arrived(turn, slot, ticket, is_repeated);
            }
            AgreementEvent::Returned { ticket } => self.returned(turn, slot, ticket),
            AgreementEvent::Answer { ticket, outcome } => self.answered(ticket, outcome),
            AgreementEvent::Deadline { ticket } => self.give_up(ticket),
            AgreementEvent::ReadTry { ticket } => self.try_to_read(turn, slot, ticket),
            AgreementEvent::ReadAsk { ticket, from } => self.read_asked(turn, slot, ticket, from),
            AgreementEvent::ReadFrom { ticket, index } => self.read_from(slot, ticket, index),
            AgreementEvent::ReadDeadline { ticket } => self.read_ends(ticket, None),
        }
        self.tell_voters(slot);
    }

    fn settled(&mut self, turn: &Turn<'_>, slot: Slot, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Entries(upto, term) => self.entries_settled(turn, slot, upto, term),
            Then::Voted(vote) => self.vote_settled(turn, slot, vote),
            Then::Imaged(image) => self.imaged(slot, *image),
            Then::Installed(image) => self.installed(turn, slot, *image),
        }
    }
}
