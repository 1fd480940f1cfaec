//! What a seed makes of the shared storage: which table lies in it, how quick it is and how often
//! it fails, and what goes wrong beside that. Drawn from a stream of its own, so that all other
//! runs stay as they are. Knows nothing of what comes of it.

use super::super::MS;
use super::super::clients::ATTEMPTS_MAX;
use super::super::event::Slot;
use super::super::scenario::{Kind, Scenario};
use super::mutant::OwnerMutant;
use crate::rng::Chance;

/// Runs out of a thousand that have a table in a shared storage.
const SHARED_PER_MILLE: u64 = 300;

/// A machine that does not reach the storage for some time; all of them if none is named.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) slot: Option<Slot>,
    pub(crate) from_us: u64,
    pub(crate) until_us: u64,
}

/// How often a request to the storage goes wrong, each way for itself, out of a thousand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StorageWrongs {
    /// It takes long.
    pub(crate) slow: u64,
    /// It fails, and nothing was done.
    pub(crate) fails: u64,
    /// It is done and nobody is told.
    pub(crate) lost: u64,
    /// It is done very late, when whoever asked has asked again.
    pub(crate) hangs: u64,
}

/// The plan of a run with a table in a shared storage.
#[derive(Clone, Debug)]
pub(crate) struct SharedPlan {
    /// Which of the tables it is.
    pub(crate) table: usize,
    /// What a request usually takes.
    pub(crate) usual_us: u64,
    pub(crate) wrongs: StorageWrongs,
    pub(crate) outages: Vec<Outage>,
    /// The storage keeps with an object who created it, as far as the other storages cannot.
    pub(crate) knows_own: bool,
    /// How often the log is folded into tables behind an object.
    pub(crate) folds_per_mille: u64,
    pub(crate) retries_max: u32,
    pub(crate) look_every_us: u64,
    pub(crate) gather_us: u64,
    pub(crate) group_max: usize,
    pub(crate) queue_max: usize,
    pub(crate) reads_max: usize,
    /// How long a strong read waits for the map before it asks the storage.
    pub(crate) map_within_us: u64,
    /// How often a client asks for one thing.
    pub(crate) attempts_max: u32,
    pub(crate) mutant: Option<OwnerMutant>,
}

impl SharedPlan {
    /// Some runs have such a table.
    pub(crate) fn of(chance: &mut Chance, scenario: &mut Scenario) -> Option<Self> {
        if !chance.happens(SHARED_PER_MILLE) {
            return None;
        }
        let mut wrong = || chance.pick(&[0, 0, 10, 60]).unwrap_or(0);
        let wrongs = StorageWrongs {
            slow: wrong(),
            fails: wrong(),
            lost: wrong(),
            hangs: wrong(),
        };
        let mut pick = |from: &[u64]| chance.pick(from).unwrap_or(0);
        let mut plan = Self {
            table: pick(&[0, 1]) as usize,
            usual_us: pick(&[200, MS, 5 * MS]),
            wrongs,
            outages: Vec::new(),
            knows_own: pick(&[0, 1, 1]) == 1,
            folds_per_mille: pick(&[0, 100, 500]),
            retries_max: pick(&[2, 6, 30]) as u32,
            look_every_us: pick(&[50 * MS, 300 * MS, 1_000 * MS]),
            gather_us: pick(&[0, MS, 5 * MS]),
            group_max: pick(&[1, 3, 1_024]) as usize,
            queue_max: pick(&[2, 4_096, 4_096]) as usize,
            reads_max: pick(&[1, 1_024, 1_024]) as usize,
            map_within_us: pick(&[10 * MS, 100 * MS, 500 * MS]),
            attempts_max: ATTEMPTS_MAX,
            mutant: None,
        };
        match chance.below(10) {
            0..4 => scenario.deafen_owners(chance, &mut plan),
            4..8 => scenario.unsettle(chance),
            8 => scenario.strand(chance, &mut plan),
            _ => {}
        }
        plan.outages.extend(outages(chance, scenario));
        Some(plan)
    }
}

impl Scenario {
    /// Owners hear nobody while their offices are given away, and many ask them all the same.
    fn deafen_owners(&mut self, chance: &mut Chance, plan: &mut SharedPlan) {
        (self.nodes, self.replicas, self.min_in_sync) = (3, 2, 1);
        self.clients = chance.between(12, 24) as usize;
        self.think_us = chance.between(MS, 5 * MS);
        self.keys = chance.pick(&[2, 3]).unwrap_or(2);
        self.writes_per_mille = chance.pick(&[200, 400]).unwrap_or(200);
        self.faults_end_us = 3_000 * MS;
        (plan.queue_max, plan.reads_max) = (4_096, 1_024);
        // Whoever was deposed is not to notice it at once.
        plan.look_every_us = chance.pick(&[300 * MS, 1_000 * MS]).unwrap_or(MS);
        plan.folds_per_mille = chance.pick(&[500, 1_000]).unwrap_or(500);
        // Who asks once tells what came of that alone.
        plan.attempts_max = chance.pick(&[1, ATTEMPTS_MAX]).unwrap_or(1);
        let lasts_us = [200 * MS, 400 * MS, 700 * MS];
        self.plan(chance, &[Kind::Deafen], 12, &lasts_us);
        self.faults.sort_by_key(|fault| fault.at_us);
    }

    /// Offices move and owners stand still, while maps come late.
    fn unsettle(&mut self, chance: &mut Chance) {
        if chance.happens(500) {
            self.agreement.wrongs.burst = self.agreement.wrongs.burst.max(100);
        }
        self.faults_end_us = self.faults_end_us.max(1_500 * MS);
        let kinds = [
            Kind::MoveOffices,
            Kind::MoveOffice,
            Kind::Deafen,
            Kind::Isolate,
            Kind::Pause,
            Kind::HoldDead,
            Kind::KillPrimary,
        ];
        let count = chance.between(2, 8);
        self.plan(chance, &kinds, count, &[100 * MS, 300 * MS, 700 * MS]);
        self.faults.sort_by_key(|fault| fault.at_us);
    }
}

impl Scenario {
    /// What owners store is done and they are not told; then nobody reaches the storage for longer
    /// than clients wait, and owners stop one after the other.
    fn strand(&mut self, chance: &mut Chance, plan: &mut SharedPlan) {
        self.clients = chance.between(6, 12) as usize;
        self.writes_per_mille = 800;
        self.faults_end_us = self.faults_end_us.max(2_500 * MS);
        (plan.retries_max, plan.attempts_max) = (2, 1);
        plan.wrongs.lost = 300;
        for _ in 0..4 {
            let from_us = chance.between(300 * MS, self.faults_end_us);
            let lasts_us = chance.between(400 * MS, 1_200 * MS);
            plan.outages.push(Outage {
                slot: None,
                from_us,
                until_us: from_us + lasts_us,
            });
        }
    }
}

fn outages(chance: &mut Chance, scenario: &Scenario) -> Vec<Outage> {
    let count = chance.pick(&[0, 0, 1, 2, 4]).unwrap_or(0);
    let mut outages = Vec::new();
    for _ in 0..count {
        let from_us = chance.between(150 * MS, scenario.faults_end_us.max(151 * MS));
        let lasts_us = chance.pick(&[50 * MS, 300 * MS, 1_200 * MS]).unwrap_or(MS);
        let slot = chance.below(scenario.nodes as u64) as usize;
        outages.push(Outage {
            slot: (!chance.happens(200)).then_some(slot),
            from_us,
            until_us: from_us + lasts_us,
        });
    }
    outages
}
