//! Strong reads: a round asks every other in-sync member, after the reads arrived, whether it
//! adopted a newer epoch. Knows nothing of what is read.

use std::collections::{BTreeSet, VecDeque};

use tablestore_placement::{Epoch, StorageId};

use crate::message::Message;
use crate::mutant::Mutant;
use crate::output::{Output, ReadRefused};
use crate::replica::core::Core;
use crate::types::{Now, Ticket};

/// A read and the commit mark that its answer must show.
#[derive(Clone, Copy, Debug)]
struct WaitingRead {
    ticket: Ticket,
    commit: u64,
}

/// The round in flight.
#[derive(Debug)]
struct Round {
    number: u64,
    missing: BTreeSet<StorageId>,
    began: Now,
    asked_map: bool,
    reads: Vec<WaitingRead>,
}

/// All reads of a primary that wait.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// Arrived since the round in flight began: they need the next one.
    next: Vec<WaitingRead>,
    round: Option<Round>,
    rounds: u64,
    /// Confirmed, but the state machine is not there yet.
    confirmed: VecDeque<WaitingRead>,
}

impl Reads {
    pub(crate) fn len(&self) -> usize {
        let in_round = self.round.as_ref().map_or(0, |round| round.reads.len());
        self.next.len() + in_round + self.confirmed.len()
    }

    /// A read arrived.
    pub(crate) fn push(&mut self, core: &Core, ticket: Ticket) {
        self.next.push(WaitingRead {
            ticket,
            commit: core.commit,
        });
    }

    /// Begins a round if reads wait and none is in flight, and answers what can be answered.
    pub(crate) fn advance(&mut self, core: &mut Core, members: &[StorageId]) {
        if self.round.is_none() && !self.next.is_empty() {
            self.begin(core, members);
        }
        if let Some(round) = &mut self.round {
            round.missing.retain(|member| members.contains(member));
            if round.missing.is_empty() {
                self.confirm();
                if !self.next.is_empty() {
                    self.begin(core, members);
                }
            } else {
                ask_map_if_needed(core, round);
            }
        }
        while let Some(read) = self.confirmed.front().copied() {
            if read.commit > core.applied {
                break;
            }
            self.confirmed.pop_front();
            let (ticket, epoch) = (read.ticket, core.adopted);
            core.output(Output::ReadReady { ticket, epoch });
        }
    }

    fn begin(&mut self, core: &mut Core, members: &[StorageId]) {
        self.rounds += 1;
        let (epoch, round) = (core.adopted, self.rounds);
        let missing: BTreeSet<_> = members
            .iter()
            .copied()
            .filter(|member| *member != core.me.member)
            .collect();
        for member in &missing {
            core.send(*member, Message::Confirm { epoch, round });
        }
        self.round = Some(Round {
            number: round,
            missing,
            began: core.now,
            asked_map: false,
            reads: std::mem::take(&mut self.next),
        });
        let alone = self.round.as_ref().is_some_and(|r| r.missing.is_empty());
        if alone {
            self.confirm();
        } else if let Some(round) = &mut self.round {
            ask_map_if_needed(core, round);
        }
    }

    fn confirm(&mut self) {
        if let Some(round) = self.round.take() {
            self.confirmed.extend(round.reads);
        }
    }

    /// A member has adopted no newer epoch.
    pub(crate) fn on_confirmed(&mut self, core: &Core, from: StorageId, number: u64) {
        let any = core.settings.has(Mutant::StaleRoundConfirms);
        if let Some(round) = self.round.as_mut().filter(|r| r.number == number || any) {
            round.missing.remove(&from);
        }
    }

    /// The map, read after the round began, shows this epoch.
    pub(crate) fn on_map_confirmed(&mut self, core: &Core, number: u64, epoch: Epoch) {
        let same = self.round.as_ref().is_some_and(|r| r.number == number);
        if same && epoch == core.adopted {
            self.confirm();
        }
    }

    /// Neither all members nor the map: the reads of the round are refused.
    pub(crate) fn on_map_unavailable(&mut self, core: &mut Core, number: u64, why: ReadRefused) {
        if let Some(round) = self.round.take_if(|round| round.number == number) {
            refuse(core, round.reads, why);
        }
    }

    /// The office is lost.
    pub(crate) fn refuse_all(&mut self, core: &mut Core, why: ReadRefused) {
        if let Some(round) = self.round.take() {
            refuse(core, round.reads, why);
        }
        refuse(core, self.confirmed.drain(..), why);
        refuse(core, self.next.drain(..), why);
    }

    pub(crate) fn deadline(&self, core: &Core) -> Option<Now> {
        let round = self.round.as_ref()?;
        let after = if round.asked_map {
            core.settings.confirm_give_up_after
        } else {
            core.settings.confirm_after
        };
        Some(round.began + after)
    }

    pub(crate) fn tick(&mut self, core: &mut Core) {
        let give_up = core.settings.confirm_give_up_after;
        if let Some(round) = self.round.take_if(|r| r.began + give_up <= core.now) {
            refuse(core, round.reads, ReadRefused::Unconfirmed);
        }
    }
}

/// The map is asked when a member cannot answer, or did not in time.
fn ask_map_if_needed(core: &mut Core, round: &mut Round) {
    if round.asked_map {
        return;
    }
    let late = round.began + core.settings.confirm_after <= core.now;
    let unreachable = |member: &StorageId| {
        let in_map = |view: &crate::View| view.unreachable.contains(member);
        core.down.contains_key(member) || core.view.as_ref().is_some_and(in_map)
    };
    if late || round.missing.iter().any(unreachable) {
        round.asked_map = true;
        let round = round.number;
        core.output(Output::ConfirmByMap { round });
    }
}

fn refuse(core: &mut Core, reads: impl IntoIterator<Item = WaitingRead>, why: ReadRefused) {
    for read in reads {
        let ticket = read.ticket;
        core.output(Output::ReadRefused { ticket, why });
    }
}
