//! What a seed makes of the active table of a run: limits, times, clients and faults of its own.
//! Drawn from a source of its own, so that runs without one stay as they are. Knows nothing of how
//! it comes about.

use std::time::Duration;

use tablestore_replication::active::Settings;

use crate::cluster::MS;
use crate::cluster::scenario::{Fault, Kind, Scenario};
use crate::rng::Chance;

/// So many runs of a thousand have an active table.
const SHARE_PER_MILLE: u64 = 300;

/// What is special about a run with an active table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ActivePlan {
    /// It is created before the other table, which is the one that is dropped then.
    pub(crate) is_first: bool,
    pub(crate) clients: usize,
    pub(crate) keys: u64,
    /// Characters of a value beside the number of its write.
    pub(crate) filler: usize,
    pub(crate) writes_per_mille: u64,
    pub(crate) think_us: u64,
    /// A machine whose clock leaps is right again when the fault ends, in other runs it stays.
    pub(crate) clocks_come_back: bool,
}

impl Scenario {
    /// Makes one of the tables an active one, in some runs.
    pub(crate) fn plan_active(&mut self, chance: &mut Chance) {
        // One table of two is of a kind of its own.
        if !chance.happens(SHARE_PER_MILLE) || self.shared.is_some() {
            return;
        }
        self.active = Some(ActivePlan {
            is_first: chance.happens(500),
            clients: chance.between(2, 6) as usize,
            keys: chance.pick(&[3, 12, 60]).unwrap_or(12),
            filler: chance.pick(&[0, 0, 200]).unwrap_or(0),
            writes_per_mille: chance.between(300, 800),
            think_us: chance.between(MS, 20 * MS),
            clocks_come_back: chance.happens(700),
        });
        let message_bytes = self.given.plane.message_bytes_max;
        self.given.plane.active = settings(chance, message_bytes);
        self.plan_faults_for_active(chance);
    }

    fn plan_faults_for_active(&mut self, chance: &mut Chance) {
        self.faults_end_us = self.faults_end_us.max(1_200 * MS);
        let kinds = [
            Kind::ClockSlip,
            Kind::ClockSlip,
            Kind::ClockStep,
            Kind::Kill,
            Kind::Restart,
            Kind::PowerOff,
            Kind::PowerOffAll,
            Kind::Isolate,
            Kind::CutOneWay,
            Kind::LoseRows,
            Kind::Wipe,
            Kind::Drain,
            Kind::Pause,
        ];
        for _ in 0..chance.between(0, 6) {
            let kind = chance.pick(&kinds).unwrap_or(Kind::Kill);
            self.faults.push(Fault {
                at_us: chance.between(150 * MS, self.faults_end_us),
                kind,
                lasts_us: chance.pick(&[20 * MS, 200 * MS, 600 * MS]).unwrap_or(MS),
                whom: chance.below(u64::MAX),
            });
        }
        self.faults.sort_by_key(|fault| fault.at_us);
    }
}

/// Limits and times that make the rare ways common: floors rise within a run, hints are late.
fn settings(chance: &mut Chance, message_bytes: usize) -> Settings {
    let ms = Duration::from_millis;
    let usual = Settings::default();
    let few = |chance: &mut Chance, tiny: usize, odd: usize, usual: usize| {
        chance.pick(&[tiny, odd, usual]).unwrap_or(usual)
    };
    let request_timeout = chance.between(150, 800);
    let drift_max = chance.pick(&[300, 500, 1_000]).unwrap_or(500);
    let entropy_bytes = few(chance, 1, 1_000, usual.entropy_bytes_max);
    let compare_nodes = few(chance, 2, 16, usual.compare_nodes_max);
    let drawn = Settings {
        drift_max: ms(drift_max),
        bound_reserve: ms(chance.pick(&[5, 50, 200]).unwrap_or(200)),
        request_timeout: ms(request_timeout),
        resend_after: ms(chance.between(20, request_timeout / 2)),
        hint_bytes_max: few(chance, 500, 5_000, usual.hint_bytes_max),
        hints_in_flight_max: few(chance, 1, 4, usual.hints_in_flight_max),
        hint_replay_every: ms(chance.pick(&[20, 100, 700]).unwrap_or(50)),
        unsynced_max: few(chance, 3, 30, usual.unsynced_max),
        // Half a message at most, with a row beyond it.
        entropy_bytes_max: entropy_bytes.min(message_bytes / 4),
        entropy_rows_max: few(chance, 1, 5, usual.entropy_rows_max),
        compare_nodes_max: compare_nodes.min(message_bytes / 64),
        scan_every: ms(chance.between(1, 10)),
        sweep_every: ms(chance.between(60, 600)),
        join_sweep_every: ms(chance.between(20, 200)),
        join_patience: ms(chance.between(500, 4_000)),
        floor_age: ms(request_timeout.max(drift_max) + chance.between(1, 800)),
        floor_step: ms(chance.between(20, 400)),
        ..usual
    };
    drawn
        .validated()
        .expect("limits are drawn so that they fit each other")
}
