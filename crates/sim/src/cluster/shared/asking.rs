//! Requests of owners to the storage: how long they take, and what goes wrong with them on the way.
//! What is on its way arrives also when whoever sent it is gone. Knows nothing of why it was sent.

use std::sync::Arc;

use tablestore_placement::PartitionId;

use super::super::event::{ClusterEvent, Life};
use super::super::{MS, World};
use super::OwnerEvent;
use super::database::Ask;
use super::mutant::OwnerMutant;
use super::plan::SharedPlan;

/// As in a server: the pause before the first retry, which doubles up to the longest.
const PAUSE_MIN_US: u64 = 100 * MS;
const PAUSE_MAX_US: u64 = 1_000 * MS;

/// What an owner is about when it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It reads who opened last.
    First,
    /// It looks for the end of the log.
    End,
    Claim,
    /// It keeps former owners out.
    Mark,
    /// Its mark found the place taken.
    Refresh,
    Load,
    /// It makes a group durable.
    Put,
    /// It looks whether it was deposed.
    Look,
    /// It has its office confirmed for a read.
    Confirm(u64),
}

/// What an owner asks the storage.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) number: u64,
    pub(crate) owner: u64,
    pub(crate) life: Life,
    pub(crate) partition: PartitionId,
    pub(crate) step: Step,
    pub(crate) ask: Ask,
}

/// A request that was not answered yet.
#[derive(Debug)]
pub(crate) struct Underway {
    pub(crate) request: Arc<Request>,
    tries: u32,
}

/// A try at a request that reaches the storage.
#[derive(Debug)]
pub(crate) struct Arrival {
    request: Arc<Request>,
    /// How long the answer takes; nothing if none ever comes.
    answered_in_us: Option<u64>,
}

/// What becomes of a try.
enum Fate {
    /// It is done after this time, and answered after that.
    Done(u64, u64),
    /// It fails after this time.
    Fails(u64),
    /// It is done after this time and given up after that.
    GivenUp(u64, u64),
}

impl World {
    /// An owner asks the storage. What it is told comes to it by the step.
    pub(super) fn ask_storage(&mut self, owner: u64, step: Step, ask: Ask) {
        let number = self.shared.number();
        let Some(asks) = self.shared.owners.get(&owner) else {
            return;
        };
        let request = Arc::new(Request {
            number,
            owner,
            life: asks.life,
            partition: asks.partition,
            step,
            ask,
        });
        let underway = Underway { request, tries: 0 };
        self.shared.requests.insert(number, underway);
        self.try_storage(number);
    }

    pub(super) fn try_storage(&mut self, number: u64) {
        let Some(plan) = self.scenario.shared.clone() else {
            return;
        };
        let Some(underway) = self.shared.requests.get_mut(&number) else {
            return;
        };
        underway.tries += 1;
        let (request, tries) = (Arc::clone(&underway.request), underway.tries);
        let life = request.life;
        let (arrives, fails) = match self.fate(&plan, life) {
            Fate::Done(done, answered) => (Some((done, Some(answered))), None),
            Fate::Fails(failed) => (None, Some(failed)),
            Fate::GivenUp(done, given_up) => (Some((done, None)), Some(given_up)),
        };
        if let Some((done, answered_in_us)) = arrives {
            let arrival = Arrival {
                request,
                answered_in_us,
            };
            let event = ClusterEvent::Stored(Box::new(arrival));
            self.queue.push(self.now + done, event);
        }
        if let Some(failed) = fails {
            let event = OwnerEvent::Failed {
                request: number,
                tries,
            };
            let at = self.now + failed;
            self.queue.push(at, ClusterEvent::Owner(life, event));
        }
    }

    fn fate(&mut self, plan: &SharedPlan, life: Life) -> Fate {
        let now = self.now;
        let is_out = |outage: &super::plan::Outage| {
            let hits = outage.slot.is_none_or(|slot| slot == life.slot);
            hits && (outage.from_us..outage.until_us).contains(&now)
        };
        let is_out = !self.healed && plan.outages.iter().any(is_out);
        let chance = &mut self.chance.shared;
        let usual = |chance: &mut crate::rng::Chance| chance.between(20, plan.usual_us.max(20));
        let (there, back) = (usual(chance), usual(chance));
        if is_out {
            self.took("storage: out of reach");
            return Fate::Fails(there);
        }
        if self.healed {
            return Fate::Done(there, back);
        }
        let wrongs = plan.wrongs;
        if chance.happens(wrongs.fails) {
            self.took("storage: failed once");
            return Fate::Fails(there + back);
        }
        if chance.happens(wrongs.lost) {
            let waited = chance.between(100 * MS, 600 * MS);
            self.took("storage: answer lost");
            return Fate::GivenUp(there, there + waited);
        }
        if chance.happens(wrongs.hangs) {
            let done = chance.between(200 * MS, 2_500 * MS);
            let given_up = chance.between(100 * MS, 800 * MS);
            self.took("storage: hung");
            return Fate::GivenUp(done, given_up);
        }
        if chance.happens(wrongs.slow) {
            let (more, later) = (chance.below(400 * MS), chance.below(400 * MS));
            self.took("storage: slow");
            return Fate::Done(there + more, back + later);
        }
        Fate::Done(there, back)
    }

    /// A try reaches the storage, which carries it out at this moment.
    pub(in crate::cluster) fn stored(&mut self, arrival: &Arrival) {
        let Some(plan) = &self.scenario.shared else {
            return;
        };
        let (knows_own, folds) = (plan.knows_own, plan.folds_per_mille);
        let request = &arrival.request;
        let partition = request.partition;
        let marks_too = self.has_owner_mutant(OwnerMutant::MarksCollected);
        let database = self.shared.databases.entry(partition).or_default();
        let (told, added) = database.carry_out(request.number, &request.ask, knows_own);
        if let Some(batch) = &added {
            if self.chance.shared.happens(folds) || marks_too {
                database.fold(marks_too);
            }
            self.judge_batch(request, batch);
        }
        let is_put = request.step == Step::Put;
        if is_put && !self.shared.owners.contains_key(&request.owner) {
            self.took(match added {
                Some(_) => "storage: took a write of an owner that was gone",
                None => "storage: refused a write of an owner that was gone",
            });
        }
        if let Some(later) = arrival.answered_in_us {
            let event = OwnerEvent::Told {
                request: request.number,
                told: Box::new(told),
            };
            let event = ClusterEvent::Owner(request.life, event);
            self.queue.push(self.now + later, event);
        }
    }

    /// A try has failed: the request is tried again, or given up.
    pub(super) fn storage_failed(&mut self, number: u64, tries: u32) {
        let Some(plan) = &self.scenario.shared else {
            return;
        };
        let retries_max = plan.retries_max;
        let Some(underway) = self.shared.requests.get(&number) else {
            return;
        };
        if underway.tries != tries {
            return;
        }
        let life = underway.request.life;
        if tries > retries_max {
            let request = Arc::clone(&underway.request);
            self.shared.requests.remove(&number);
            return self.storage_gave_up(&request);
        }
        let pause = PAUSE_MIN_US << (tries - 1).min(4);
        let pause = pause.min(PAUSE_MAX_US);
        let pause = self.chance.shared.between(pause / 2, pause);
        let event = OwnerEvent::Again { request: number };
        self.queue
            .push(self.now + pause, ClusterEvent::Owner(life, event));
    }
}
