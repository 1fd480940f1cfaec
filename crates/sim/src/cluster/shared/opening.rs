//! How owners open a partition, step by step, and how they end. Knows nothing of reads and writes
//! but that there may be some.

use tablestore_dataplane::{Failure, PlaneEvent};
use tablestore_placement::PartitionId;
use tablestore_replication::RememberedTable;

use super::super::World;
use super::super::event::{ClusterEvent, Life};
use super::OwnerEvent;
use super::asking::{Request, Step};
use super::content::Content;
use super::database::{Ask, Told};
use super::mutant::OwnerMutant;
use super::owner::{Opening, Owner};
use super::reading::{Confirming, For};

/// What is told of an owner whose requests failed too often.
const FAILED: &str = "the storage failed";

impl World {
    pub(super) fn open_partition(&mut self, life: Life, opening: &Opening) {
        let office = self.machines[life.slot].office();
        let number = self.shared.number();
        let key = (life, opening.partition);
        self.shared.openings.insert(key, (opening.opening, number));
        // It lies here from now on, if nothing is there yet.
        self.shared.databases.entry(opening.partition).or_default();
        let owner = Owner::new(life, office, opening);
        self.shared.owners.insert(number, owner);
        self.ask_storage(number, Step::First, Ask::Epoch);
    }

    /// What was begun is finished.
    pub(super) fn close_partition(&mut self, life: Life, partition: PartitionId, opening: u64) {
        let key = (life, partition);
        let of = self.shared.openings.get(&key).copied();
        let Some((_, number)) = of.filter(|(of, _)| *of == opening) else {
            return;
        };
        self.shared.openings.remove(&key);
        let Some(owner) = self.shared.owners.get_mut(&number) else {
            return;
        };
        if !owner.is_open {
            self.took("owner: not wanted while it opened");
            return;
        }
        owner.is_closing = true;
        if !owner.is_idle() {
            self.took("owner: closed with work under way");
        }
        self.end_if_done(number);
    }

    /// An owner that is to be closed has finished.
    pub(super) fn end_if_done(&mut self, number: u64) {
        let owner = self.shared.owners.get(&number);
        if owner.is_some_and(|owner| owner.is_closing && owner.is_idle()) {
            self.owner_ends(number, None);
        }
    }

    /// The storage has answered, for the first time.
    pub(super) fn storage_told(&mut self, number: u64, told: Told) {
        let Some(underway) = self.shared.requests.remove(&number) else {
            return;
        };
        let request = underway.request;
        let owner = request.owner;
        match (request.step, told) {
            (Step::First, Told::Epoch(epoch)) => self.read_epoch(owner, epoch),
            (Step::End, Told::End(next)) => self.read_end(owner, next),
            (Step::Claim, Told::Claimed(epoch)) => self.claimed(owner, epoch),
            (Step::Mark, Told::Created(done)) => self.marked(owner, done),
            (Step::Refresh, Told::Epoch(epoch)) => self.refreshed(owner, epoch),
            (Step::Load, Told::Loaded(content)) => self.loaded(owner, content.map(|found| *found)),
            (Step::Put, Told::Created(done)) => self.stored_group(owner, done),
            (Step::Look, Told::Epoch(epoch)) => self.looked(owner, epoch),
            (Step::Confirm(read), Told::Epoch(epoch)) => {
                self.confirmed_by_storage(owner, read, epoch);
            }
            (step, told) => self.fail("Shared", || format!("{told:?} is no answer in {step:?}")),
        }
    }

    /// A request was tried often enough.
    pub(super) fn storage_gave_up(&mut self, request: &Request) {
        self.took("owner: gave the storage up");
        match request.step {
            Step::Confirm(read) => self.read_unconfirmed(request.owner, read),
            _ => self.owner_ends(request.owner, Some(FAILED)),
        }
    }

    fn read_epoch(&mut self, number: u64, epoch: Option<u64>) {
        let Some(owner) = self.shared.owners.get_mut(&number) else {
            return;
        };
        if epoch.is_none() && owner.founded.is_some() {
            let partition = owner.partition;
            return self.fail("Shared", || {
                format!("{partition} is not there, and its table is founded")
            });
        }
        owner.writer_epoch = epoch.unwrap_or(0);
        if self.has_owner_mutant(OwnerMutant::OwnerOpensLate) {
            return self.ask_storage(number, Step::End, Ask::End);
        }
        self.ask_map(Confirming {
            owner: number,
            of: For::Opening,
        });
    }

    /// The map has said whether the office stands.
    pub(super) fn opening_confirmed(&mut self, number: u64, stands: bool) {
        if stands {
            return self.ask_storage(number, Step::End, Ask::End);
        }
        self.took("owner: office not confirmed");
        self.owner_ends(number, None);
    }

    fn read_end(&mut self, number: u64, next: u64) {
        let is_late = self.has_owner_mutant(OwnerMutant::OwnerOpensLate);
        let Some(owner) = self.shared.owners.get_mut(&number) else {
            return;
        };
        owner.next = next;
        let successor_of = (!is_late).then_some(owner.writer_epoch);
        self.ask_storage(number, Step::Claim, Ask::Claim { successor_of });
    }

    fn claimed(&mut self, number: u64, epoch: Option<u64>) {
        let Some(epoch) = epoch else {
            self.took("owner: another one opened meanwhile");
            return self.owner_ends(number, None);
        };
        if let Some(owner) = self.shared.owners.get_mut(&number) {
            owner.writer_epoch = epoch;
        }
        self.mark(number);
    }

    fn mark(&mut self, number: u64) {
        if let Some(owner) = self.shared.owners.get(&number) {
            let (number_of_mark, batch) = (owner.next, None);
            let ask = Ask::Create {
                number: number_of_mark,
                batch,
            };
            self.ask_storage(number, Step::Mark, ask);
        }
    }

    fn marked(&mut self, number: u64, done: bool) {
        let Some(owner) = self.shared.owners.get_mut(&number) else {
            return;
        };
        if !done {
            self.took("owner: the place of its mark was taken");
            return self.ask_storage(number, Step::Refresh, Ask::Epoch);
        }
        let until = owner.next;
        owner.next += 1;
        self.ask_storage(number, Step::Load, Ask::Load { until });
    }

    /// Whoever had written there was the former owner, or is the next one.
    fn refreshed(&mut self, number: u64, epoch: Option<u64>) {
        let Some(owner) = self.shared.owners.get_mut(&number) else {
            return;
        };
        if epoch != Some(owner.writer_epoch) {
            self.took("owner: fenced while it opened");
            return self.owner_ends(number, None);
        }
        owner.next += 1;
        self.mark(number);
    }

    fn loaded(&mut self, number: u64, content: Option<Content>) {
        let forgets = self.has_owner_mutant(OwnerMutant::InheritedResultsLost);
        let replica = &self.given.plane.replica;
        let table = RememberedTable::new(replica.remember_for, replica.remember_min);
        let Some(content) = content else {
            self.took("owner: fenced while it opened");
            return self.owner_ends(number, None);
        };
        let Some((life, since_start)) = self.clock_of(number) else {
            return;
        };
        let Some(owner) = self.shared.owners.get_mut(&number) else {
            return;
        };
        owner.begin(content, table, since_start);
        if !forgets {
            owner.remember_inherited();
        }
        let is_founded = owner.founded.is_some();
        self.plan_look(number, life);
        match is_founded {
            true => self.opened(number),
            false => self.wait_until_founded(number),
        }
    }

    /// A partition serves from now on, if its process still wants it.
    pub(super) fn opened(&mut self, number: u64) {
        let Some(owner) = self.shared.owners.get_mut(&number) else {
            return;
        };
        let (life, partition, opening) = (owner.life, owner.partition, owner.opening);
        let (epoch, head) = (owner.writer_epoch, owner.content.head);
        let of = self.shared.openings.get(&(life, partition));
        if of != Some(&(opening, number)) {
            self.took("owner: opened in vain");
            return self.owner_ends(number, None);
        }
        owner.is_open = true;
        self.tell(|| format!("{life:?} has {partition} open as writer {epoch} at {head:?}"));
        self.took("owner: opened");
        let opened = PlaneEvent::OwnedOpened {
            partition,
            life: opening,
        };
        self.give(life, opened);
    }

    fn plan_look(&mut self, owner: u64, life: Life) {
        let every = self.scenario.shared.as_ref();
        let every = every.map_or(0, |plan| plan.look_every_us);
        let event = ClusterEvent::Owner(life, OwnerEvent::Look { owner });
        self.queue.push(self.now + every.max(1), event);
    }

    pub(super) fn owner_looks(&mut self, number: u64) {
        if self.shared.owners.contains_key(&number) {
            self.ask_storage(number, Step::Look, Ask::Epoch);
        }
    }

    fn looked(&mut self, number: u64, epoch: Option<u64>) {
        let Some(owner) = self.shared.owners.get(&number) else {
            return;
        };
        let life = owner.life;
        if epoch != Some(owner.writer_epoch) {
            self.took("owner: saw that it was deposed");
            return self.owner_ends(number, None);
        }
        self.plan_look(number, life);
    }

    /// An owner ends, by its own fault or that of its storage if one is named.
    pub(super) fn owner_ends(&mut self, number: u64, fault: Option<&str>) {
        let Some(owner) = self.shared.owners.remove(&number) else {
            return;
        };
        let (life, partition) = (owner.life, owner.partition);
        self.tell(|| format!("{life:?} has {partition} open no more: {fault:?}"));
        let ended = PlaneEvent::OwnedEnded {
            partition,
            life: owner.opening,
            fault: fault.map(str::to_owned),
        };
        // Which of them the plane learns first is open.
        let ended_first = self.chance.shared.happens(500);
        let ended = if ended_first {
            self.give(life, ended);
            None
        } else {
            Some(ended)
        };
        for (ticket, answer) in owner.group.into_iter().flat_map(|group| group.answers) {
            let unknown = answer.and(Err(Failure::Unknown));
            self.owner_answers(life, ticket, unknown);
        }
        for write in owner.queue {
            self.owner_answers(life, write.ticket, Err(Failure::NotHere));
        }
        if let Some(ended) = ended {
            self.give(life, ended);
        }
        self.end_reads_of(number, life);
    }
}
