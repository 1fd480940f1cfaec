//! Partitions on shared storage: the orders of the planes are carried out by owners of a model, in
//! the place of `crates/owned` and its host in a server, at the times of the run.
//!
//! The planes that order it, the map and whoever decides on it are those of a server. Of the
//! storage the model keeps what owners rely on: the epoch of the writer is claimed as the very next
//! one, objects of the log are created only where there is none, and what was created stays. All
//! else may be slow, fail, come late or be done without an answer.

mod asking;
mod content;
mod database;
mod founding;
mod judging;
mod moving;
mod mutant;
mod opening;
mod owner;
mod plan;
mod reading;
mod writing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tablestore_dataplane::{Answer, Failure, OwnedAsk, OwnedOrder, PlaneEvent};
use tablestore_placement::{ClusterMap, PartitionId};

use self::asking::Underway;
use self::database::{Database, Told};
use self::owner::{Opening, Owner};
use self::reading::Confirming;
use super::World;
use super::event::{ClusterEvent, Life};

pub(crate) use self::asking::Arrival;
pub use self::mutant::OwnerMutant;
pub(crate) use self::plan::SharedPlan;

/// Something that happens to an owner, or to what its process asked.
#[derive(Debug)]
pub(crate) enum OwnerEvent {
    /// The storage has answered a request.
    Told { request: u64, told: Box<Told> },
    /// A try at a request failed, or was waited for long enough.
    Failed { request: u64, tries: u32 },
    /// A request is tried again.
    Again { request: u64 },
    /// Whoever wants to come with a group is there.
    Gathered { owner: u64 },
    /// Time to look whether another one has opened.
    Look { owner: u64 },
    /// Time to look whether a map says that the table is in the storage.
    Founded { owner: u64 },
    /// Time to look whether the whole table is in the storage, and to tell the map.
    Tell { owner: u64, pause_us: u64 },
    /// The map was read for a confirmation; nothing if that failed.
    MapRead {
        confirming: u64,
        map: Option<Arc<ClusterMap>>,
    },
    /// The map was waited for long enough.
    MapLate { confirming: u64 },
    /// A read has come to its end.
    Read {
        ticket: u64,
        result: Box<Result<Answer, Failure>>,
    },
}

/// The storage, and who works with it.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    databases: BTreeMap<PartitionId, Database>,
    owners: BTreeMap<u64, Owner>,
    /// What each process was asked to open last, by number of the opening and of the owner.
    openings: BTreeMap<(Life, PartitionId), (u64, u64)>,
    requests: BTreeMap<u64, Underway>,
    confirming: BTreeMap<u64, Confirming>,
    last_number: u64,
}

impl Shared {
    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// The partition is one of those that lie here.
    pub(super) fn has(&self, partition: PartitionId) -> bool {
        self.databases.contains_key(&partition)
    }

    fn is_founded(&self, partition: PartitionId) -> bool {
        let database = self.databases.get(&partition);
        database.is_some_and(|database| database.epoch() > 0)
    }

    /// A process is gone, with all that it had open; what it has sent is on its way.
    pub(super) fn lose(&mut self, life: Life) {
        self.owners.retain(|_, owner| owner.life != life);
        self.openings.retain(|(of, _), _| *of != life);
        self.requests.retain(|_, one| one.request.life != life);
        let owners = &self.owners;
        self.confirming
            .retain(|_, one| owners.contains_key(&one.owner));
    }

    /// The owner that an opening of a process has open.
    fn open_owner(&self, life: Life, partition: PartitionId, opening: u64) -> Option<u64> {
        let (of, number) = self.openings.get(&(life, partition))?;
        let owner = self.owners.get(number)?;
        (*of == opening && owner.is_open).then_some(*number)
    }

    fn owner_at(&self, life: Life, partition: PartitionId) -> Option<&Owner> {
        let (_, number) = self.openings.get(&(life, partition))?;
        self.owners.get(number)
    }
}

impl World {
    /// A plane wants this of whoever has its partitions open.
    pub(super) fn owner_order(&mut self, life: Life, order: OwnedOrder) {
        self.tell(|| format!("{life:?} {order:?}"));
        match order {
            OwnedOrder::Open {
                partition,
                epoch,
                founded,
                life: opening,
            } => self.open_partition(
                life,
                &Opening {
                    partition,
                    epoch,
                    founded,
                    opening,
                },
            ),
            OwnedOrder::Close {
                partition,
                life: opening,
            } => self.close_partition(life, partition, opening),
            OwnedOrder::Ask {
                ticket,
                partition,
                life: opening,
                ask,
            } => {
                let owner = self.shared.open_owner(life, partition, opening);
                let Some(owner) = owner else {
                    return self.owner_answers(life, ticket, Err(Failure::NotHere));
                };
                match ask {
                    OwnedAsk::Write {
                        request,
                        digest,
                        payload,
                    } => self.owner_writes(owner, ticket, (request, digest, payload)),
                    OwnedAsk::Get { .. } | OwnedAsk::Scan { .. } => {
                        self.owner_reads(owner, ticket, ask);
                    }
                }
            }
        }
    }

    /// A process that stands still learns of nothing before it goes on.
    pub(super) fn owner_event(&mut self, life: Life, event: OwnerEvent) {
        let now = self.now;
        let Some(process) = self.process(life) else {
            return;
        };
        if process.is_paused(now) {
            let until = process.paused_until;
            return self.queue.push(until, ClusterEvent::Owner(life, event));
        }
        match event {
            OwnerEvent::Told { request, told } => self.storage_told(request, *told),
            OwnerEvent::Failed { request, tries } => self.storage_failed(request, tries),
            OwnerEvent::Again { request } => self.try_storage(request),
            OwnerEvent::Gathered { owner } => self.gathered(owner),
            OwnerEvent::Look { owner } => self.owner_looks(owner),
            OwnerEvent::Founded { owner } => self.look_whether_founded(owner),
            OwnerEvent::Tell { owner, pause_us } => self.tell_when_founded(owner, pause_us),
            OwnerEvent::MapRead { confirming, map } => self.office_read(confirming, map.as_deref()),
            OwnerEvent::MapLate { confirming } => self.map_late(confirming),
            OwnerEvent::Read { ticket, result } => self.owner_answers(life, ticket, *result),
        }
    }

    fn owner_answers(&mut self, life: Life, ticket: u64, result: Result<Answer, Failure>) {
        self.give(life, PlaneEvent::OwnedAnswered { ticket, result });
    }

    /// The process of an owner, and how long that runs by its own clock.
    fn clock_of(&self, owner: u64) -> Option<(Life, Duration)> {
        let life = self.shared.owners.get(&owner)?.life;
        let machine = self.machines.get(life.slot)?;
        let process = machine.process.as_ref()?;
        (process.life == life).then(|| (life, process.since_start(self.now)))
    }

    fn has_owner_mutant(&self, mutant: OwnerMutant) -> bool {
        let plan = self.scenario.shared.as_ref();
        plan.is_some_and(|plan| plan.mutant == Some(mutant))
    }
}
