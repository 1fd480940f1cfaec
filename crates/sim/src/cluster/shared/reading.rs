//! Reads of owners, and how an office is confirmed: by the map, or for a read while the map cannot
//! be asked by the storage. Knows nothing of writes.

use tablestore_dataplane::{Answer, Failure, OwnedAsk};
use tablestore_placement::ClusterMap;

use super::super::event::{ClusterEvent, Life};
use super::super::{MS, World};
use super::OwnerEvent;
use super::asking::Step;
use super::database::Ask;
use super::mutant::OwnerMutant;

/// What a confirmation is for.
#[derive(Debug)]
pub(crate) enum For {
    Opening,
    Read { ticket: u64, ask: OwnedAsk },
}

/// An office that is being confirmed.
#[derive(Debug)]
pub(crate) struct Confirming {
    pub(crate) owner: u64,
    pub(crate) of: For,
}

impl World {
    pub(super) fn owner_reads(&mut self, number: u64, ticket: u64, ask: OwnedAsk) {
        let reads_max = self.scenario.shared.as_ref().map(|plan| plan.reads_max);
        let is_unconfirmed = self.has_owner_mutant(OwnerMutant::OwnerReadUnconfirmed);
        let Some(owner) = self.shared.owners.get_mut(&number) else {
            return;
        };
        let life = owner.life;
        if owner.reads >= reads_max.unwrap_or(0) {
            self.took("owner: too many reads waited");
            return self.owner_answers(life, ticket, Err(Failure::Busy));
        }
        let (OwnedAsk::Get { strong, .. } | OwnedAsk::Scan { strong, .. }) = ask else {
            return;
        };
        if !strong || is_unconfirmed {
            return self.serve_read(number, life, ticket, &ask);
        }
        owner.reads += 1;
        self.ask_map(Confirming {
            owner: number,
            of: For::Read { ticket, ask },
        });
    }

    /// Asks the map anew whether an office stands; a read waits for it within a limit.
    pub(super) fn ask_map(&mut self, confirming: Confirming) {
        let Some(life) = self
            .shared
            .owners
            .get(&confirming.owner)
            .map(|one| one.life)
        else {
            return;
        };
        let is_read = matches!(confirming.of, For::Read { .. });
        let number = self.shared.number();
        self.shared.confirming.insert(number, confirming);
        self.read_map_for_owner(life, number);
        let within = self.scenario.shared.as_ref();
        if let Some(within) = within.map(|plan| plan.map_within_us).filter(|_| is_read) {
            let event = OwnerEvent::MapLate { confirming: number };
            let at = self.now + within;
            self.queue.push(at, ClusterEvent::Owner(life, event));
        }
    }

    /// The map was read, or could not be.
    pub(super) fn office_read(&mut self, confirming: u64, map: Option<&ClusterMap>) {
        let Some(waiting) = self.shared.confirming.get(&confirming) else {
            return;
        };
        let number = waiting.owner;
        let Some(owner) = self.shared.owners.get(&number) else {
            return;
        };
        let is_opening = matches!(waiting.of, For::Opening);
        // What no map had when it began, no map may have by now.
        let is_as_ordered = |map: &ClusterMap| !is_opening || owner.is_as_ordered(map);
        let stands = map.map(|map| owner.holds(map) && is_as_ordered(map));
        if stands.is_none() && matches!(waiting.of, For::Read { .. }) {
            return self.ask_storage(number, Step::Confirm(confirming), Ask::Epoch);
        }
        let life = owner.life;
        let Some(waiting) = self.shared.confirming.remove(&confirming) else {
            return;
        };
        let stands = stands.unwrap_or(false);
        match waiting.of {
            For::Opening => self.opening_confirmed(number, stands),
            For::Read { ticket, ask } => {
                self.took(if stands {
                    "strong read: confirmed by the map"
                } else {
                    "strong read: refused by the map"
                });
                self.end_read(number, life, ticket, stands.then_some(&ask));
            }
        }
    }

    /// The map has not said in time what a read waits for.
    pub(super) fn map_late(&mut self, confirming: u64) {
        let waiting = self.shared.confirming.get(&confirming);
        if let Some(owner) = waiting.map(|waiting| waiting.owner) {
            self.ask_storage(owner, Step::Confirm(confirming), Ask::Epoch);
        }
    }

    /// The storage has said who opened last.
    pub(super) fn confirmed_by_storage(&mut self, number: u64, read: u64, epoch: Option<u64>) {
        let Some(owner) = self.shared.owners.get(&number) else {
            return;
        };
        if epoch == Some(owner.writer_epoch) {
            let life = owner.life;
            if let Some(waiting) = self.shared.confirming.remove(&read)
                && let For::Read { ticket, ask } = waiting.of
            {
                self.took("strong read: confirmed by the storage");
                self.end_read(number, life, ticket, Some(&ask));
            }
            return;
        }
        self.took("strong read: refused by the storage");
        self.owner_ends(number, None);
    }

    /// Neither the map nor the storage could be asked.
    pub(super) fn read_unconfirmed(&mut self, number: u64, read: u64) {
        let Some(life) = self.shared.owners.get(&number).map(|owner| owner.life) else {
            return;
        };
        if let Some(waiting) = self.shared.confirming.remove(&read)
            && let For::Read { ticket, .. } = waiting.of
        {
            self.end_read(number, life, ticket, None);
        }
    }

    /// A read waits no longer: it is served, or not.
    fn end_read(&mut self, number: u64, life: Life, ticket: u64, ask: Option<&OwnedAsk>) {
        if let Some(owner) = self.shared.owners.get_mut(&number) {
            owner.reads = owner.reads.saturating_sub(1);
        }
        match ask {
            Some(ask) => self.serve_read(number, life, ticket, ask),
            None => self.owner_answers(life, ticket, Err(Failure::NotHere)),
        }
        self.end_if_done(number);
    }

    /// All reads of an owner that has ended.
    pub(super) fn end_reads_of(&mut self, number: u64, life: Life) {
        let waiting = std::mem::take(&mut self.shared.confirming);
        let (ended, others) = waiting
            .into_iter()
            .partition(|(_, one)| one.owner == number);
        self.shared.confirming = others;
        for confirming in std::collections::BTreeMap::into_values(ended) {
            if let For::Read { ticket, .. } = confirming.of {
                self.owner_answers(life, ticket, Err(Failure::NotHere));
            }
        }
    }

    /// Reads what is durable at this moment; it takes a while until that is known.
    fn serve_read(&mut self, number: u64, life: Life, ticket: u64, ask: &OwnedAsk) {
        let Some(owner) = self.shared.owners.get(&number) else {
            return;
        };
        let result = match ask {
            OwnedAsk::Get { key, .. } => Answer::Row(owner.content.rows.get(key).cloned()),
            OwnedAsk::Scan { scan, .. } => {
                let page = owner.content.page(scan);
                Answer::Page {
                    rows: page.rows,
                    more: page.more,
                }
            }
            OwnedAsk::Write { .. } => return,
        };
        let slow = self.scenario.shared.as_ref().map(|plan| plan.wrongs.slow);
        let is_slow = !self.healed && self.chance.shared.happens(slow.unwrap_or(0));
        let longest = if is_slow { 300 * MS } else { 300 };
        let took = self.chance.shared.between(10, longest);
        let event = OwnerEvent::Read {
            ticket,
            result: Box::new(Ok(result)),
        };
        self.queue
            .push(self.now + took, ClusterEvent::Owner(life, event));
    }
}
