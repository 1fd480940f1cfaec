//! Situations that chance alone brings about too seldom: one run in two is made for one of them.
//! Knows nothing of what comes of it.

use std::time::Duration;

use super::MS;
use super::scenario::{Fault, Kind, Scenario};
use crate::rng::Chance;

/// What a run is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    /// Connections end while copies are under way on slow disks, and copies begin anew.
    BrokenCopies,
    /// Some partitions can commit nothing for long, while others fill the journal.
    Outage,
    /// Nodes hear nobody, again and again, and soon give up to ask whether they may answer.
    Deafness,
    /// Nodes start again at once while those they asked are slow to answer.
    QuickStarts,
    /// Leaders stand still or are cut off, and learn late that another one leads.
    Depositions,
    /// Replicas leave slow disks and are back before these are done with them.
    Returns,
    /// More clients and larger rows than connections are made for.
    Crowds,
    /// Rows are lost that the journal has let go of.
    Losses,
    /// Tables and machines come and go under nodes that are behind.
    Strangers,
}

impl Theme {
    /// Some stand twice, because little comes of them.
    const ALL: [Self; 12] = [
        Self::BrokenCopies,
        Self::BrokenCopies,
        Self::Outage,
        Self::Outage,
        Self::Deafness,
        Self::Deafness,
        Self::QuickStarts,
        Self::Depositions,
        Self::Returns,
        Self::Crowds,
        Self::Losses,
        Self::Strangers,
    ];

    /// Half of the runs have one.
    pub(crate) fn of(chance: &mut Chance) -> Option<Self> {
        let themes = chance.happens(500).then_some(&Self::ALL[..]);
        chance.pick(themes.unwrap_or_default())
    }
}

impl Scenario {
    /// Makes the run one for this.
    pub(crate) fn dedicate(&mut self, theme: Theme, chance: &mut Chance) {
        self.faults_end_us = self.faults_end_us.max(1_500 * MS);
        match theme {
            Theme::BrokenCopies => self.break_copies(chance),
            Theme::Outage => self.hold_commits_up(chance),
            Theme::Deafness => self.deafen_often(chance),
            Theme::QuickStarts => self.start_quickly(chance),
            Theme::Depositions => self.depose(chance),
            Theme::Returns => self.come_back(chance),
            Theme::Crowds => self.crowd(chance),
            Theme::Losses => self.lose(chance),
            Theme::Strangers => self.mix_strangers_in(chance),
        }
        self.faults.sort_by_key(|fault| fault.at_us);
    }

    fn plan(&mut self, chance: &mut Chance, kinds: &[Kind], count: u64, lasts_us: &[u64]) {
        for _ in 0..count {
            let at_us = chance.between(200 * MS, self.faults_end_us);
            let (Some(kind), Some(lasts_us)) = (chance.pick(kinds), chance.pick(lasts_us)) else {
                return;
            };
            let whom = chance.below(u64::MAX);
            self.plan_one(at_us, kind, lasts_us, whom);
        }
    }

    fn plan_one(&mut self, at_us: u64, kind: Kind, lasts_us: u64, whom: u64) {
        self.faults.push(Fault {
            at_us,
            kind,
            lasts_us,
            whom,
        });
    }

    fn break_copies(&mut self, chance: &mut Chance) {
        self.resets_per_mille = 400;
        self.keys = 100;
        self.writes_per_mille = 700;
        let plane = &mut self.given.plane;
        plane.chunk_rows = 2;
        plane.window_chunks = chance.between(1, 4);
        plane.replica.pin_entries_max = 10;
        let kinds = [
            Kind::HoldDead,
            Kind::PowerOff,
            Kind::AwayAndBack,
            Kind::Drain,
        ];
        self.plan(chance, &kinds, 5, &[20 * MS, 200 * MS]);
    }

    fn hold_commits_up(&mut self, chance: &mut Chance) {
        // With four nodes a quarter of the partitions is where two of three may be down: as many
        // as there are flushes at a time, which cannot be flushed and hold the journal up.
        (self.nodes, self.replicas, self.min_in_sync) = (4, 3, 2);
        self.many_clients(chance);
        self.keys = 100;
        self.value_bytes = 3_000;
        self.clients *= 2;
        self.given.segments_max = chance.between(3, 5) as usize;
        self.given.plane.unflushed_bytes_max = 1 << 20;
        self.plan(chance, &[Kind::DownTwo], 3, &[500 * MS, 1_200 * MS]);
    }

    fn deafen_often(&mut self, chance: &mut Chance) {
        self.many_clients(chance);
        // A write at the deaf one holds its client up: most read, so that some still ask it.
        self.clients *= 4;
        self.writes_per_mille = 150;
        (self.nodes, self.replicas, self.min_in_sync) = (3, 2, 1);
        self.keys = 3;
        self.faults_end_us = 3_000 * MS;
        // Some adopt an epoch late: until then they answer as before.
        self.agreement.wrongs.burst = 200;
        let replica = &mut self.given.plane.replica;
        replica.confirm_after = Duration::from_millis(chance.between(5, 15));
        replica.confirm_give_up_after = Duration::from_millis(chance.between(20, 60));
        // A successor commits when the deaf one is out, which is before connections break.
        replica.lag_timeout = Duration::from_millis(110);
        self.plan(chance, &[Kind::Deafen], 12, &[200 * MS, 260 * MS, 290 * MS]);
    }

    fn start_quickly(&mut self, chance: &mut Chance) {
        self.many_clients(chance);
        self.sync_us = self.sync_us.max(MS);
        for _ in 0..3 {
            let whom = chance.below(u64::MAX);
            let at_us = chance.between(200 * MS, self.faults_end_us - 400 * MS);
            self.plan_one(at_us, Kind::SlowOthers, 350 * MS, whom);
            for nth in 0..3 {
                let at_us = at_us + nth * 90 * MS + chance.below(60 * MS);
                self.plan_one(at_us, Kind::Restart, MS, whom);
            }
        }
    }

    fn depose(&mut self, chance: &mut Chance) {
        self.agreement.wrongs.told_late = 700;
        self.given.controller.rereplicate_after = Duration::from_millis(300);
        for _ in 0..3 {
            let whom = chance.below(u64::MAX);
            let at_us = chance.between(200 * MS, self.faults_end_us);
            let kind = chance.pick(&[Kind::PauseLeader, Kind::IsolateLeader]);
            let kind = kind.unwrap_or(Kind::PauseLeader);
            self.plan_one(at_us, kind, 500 * MS, whom);
            let kind = chance.pick(&[Kind::Kill, Kind::PowerOff]);
            let at_us = at_us + chance.between(300 * MS, 600 * MS);
            self.plan_one(at_us, kind.unwrap_or(Kind::Kill), 900 * MS, whom);
        }
    }

    fn come_back(&mut self, chance: &mut Chance) {
        self.many_clients(chance);
        (self.replicas, self.min_in_sync) = (3, 2);
        self.keys = 8;
        self.writes_per_mille = 800;
        self.sync_us = self.sync_us.max(MS);
        self.quick_lanes = true;
        self.plan(chance, &[Kind::AwayAndBack], 8, &[200 * MS, 400 * MS]);
    }

    fn crowd(&mut self, chance: &mut Chance) {
        self.many_clients(chance);
        self.clients *= 2;
        self.keys = 3;
        self.value_bytes = 3_000;
        self.think_us = MS;
        self.turn_us = chance.pick(&[200, 2 * MS, 5 * MS]).unwrap_or(MS);
        let plane = &mut self.given.plane;
        (plane.frame_bytes, plane.message_bytes_max) = (2 << 10, 8 << 10);
        plane.page_bytes_max = 4 << 10;
        plane.chunk_bytes = plane.chunk_bytes.min(1 << 10);
        (plane.sending_max, plane.window_chunks) = (1, 1);
        plane.crowded_bytes = chance.pick(&[4 << 10, 16 << 10]).unwrap_or(4 << 10);
        // As little as it may be: what clients send is not held back as entries are.
        plane.link_bytes_max = 0;
        let replica = &mut plane.replica;
        replica.append_bytes_max = replica.append_bytes_max.min(4 << 10);
        replica.read_log_bytes_max = replica.read_log_bytes_max.min(4 << 10);
        replica.window_bytes_max = replica.window_bytes_max.clamp(4 << 10, 12 << 10);
        self.socket_bytes = chance.pick(&[2 << 10, 64 << 10]).unwrap_or(64 << 10);
        self.narrow = chance.happens(700);
        self.plan(
            chance,
            &[Kind::CutOneWay, Kind::Pause],
            3,
            &[100 * MS, 250 * MS],
        );
    }

    fn lose(&mut self, chance: &mut Chance) {
        (self.replicas, self.min_in_sync) = (3, 2);
        self.value_bytes = 3_000;
        self.many_clients(chance);
        self.given.segments_max = 3;
        self.plan(chance, &[Kind::LoseRows], 5, &[20 * MS]);
    }

    fn mix_strangers_in(&mut self, chance: &mut Chance) {
        self.agreement.wrongs.burst = 300;
        let kinds = [Kind::DropTable, Kind::Restart, Kind::Isolate, Kind::Drain];
        self.plan(chance, &kinds, 8, &[20 * MS, 400 * MS]);
    }

    fn many_clients(&mut self, chance: &mut Chance) {
        self.clients = chance.between(8, 16) as usize;
        self.think_us = chance.between(MS, 5 * MS);
    }
}
