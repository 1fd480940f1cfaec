//! Situations that chance alone brings about too seldom: six runs in ten are made for one of them.
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
    /// Machines get disks from before a start that the cluster knows.
    OlderDisks,
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

    /// Those of runs that were given none of them: what is drawn for the others stays as it is.
    const OTHERS: [Self; 5] = [
        Self::OlderDisks,
        Self::OlderDisks,
        Self::Deafness,
        Self::Outage,
        Self::Outage,
    ];

    /// Half of the runs have one.
    pub(crate) fn of(chance: &mut Chance) -> Option<Self> {
        let themes = chance.happens(500).then_some(&Self::ALL[..]);
        chance.pick(themes.unwrap_or_default())
    }

    /// One in five of the runs that were given none has one of these.
    pub(crate) fn of_others(chance: &mut Chance) -> Option<Self> {
        let themes = chance.happens(200).then_some(&Self::OTHERS[..]);
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
            Theme::OlderDisks => self.age_disks(chance),
            Theme::Strangers => self.mix_strangers_in(chance),
        }
        self.faults.sort_by_key(|fault| fault.at_us);
    }

    pub(super) fn plan(
        &mut self,
        chance: &mut Chance,
        kinds: &[Kind],
        count: u64,
        lasts_us: &[u64],
    ) {
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

    /// One run in ten has disks that do not hold what was written.
    pub(crate) fn let_decay(&mut self, chance: &mut Chance) {
        if chance.happens(100) {
            self.plan(chance, &[Kind::Rot, Kind::Misdirect], 4, &[5 * MS, 60 * MS]);
            self.faults.sort_by_key(|fault| fault.at_us);
        }
    }

    /// In one run in ten tables become others.
    pub(crate) fn let_alter(&mut self, chance: &mut Chance) {
        if chance.happens(100) {
            self.plan(chance, &[Kind::AlterTable], 4, &[MS]);
            self.faults.sort_by_key(|fault| fault.at_us);
        }
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
        // What waits to be committed cannot be flushed: where that is as much as there are flushes
        // at a time, it holds the journal up. With four nodes a quarter of the partitions is where
        // two of three may be down; where the disks of all others are slow, all wait.
        (self.nodes, self.replicas, self.min_in_sync) = (4, 3, 2);
        self.many_clients(chance);
        self.keys = 100;
        self.value_bytes = 3_000;
        self.writes_per_mille = 700;
        self.clients *= 2;
        // A flush is over long before a commit.
        self.quick_lanes = true;
        self.sync_us = self.sync_us.max(MS);
        self.faults_end_us = 2_500 * MS;
        self.given.segments_max = 3;
        self.given.controller.rereplicate_after = Duration::from_millis(3_000);
        let plane = &mut self.given.plane;
        plane.unflushed_bytes_max = 1 << 20;
        // Whoever is slow is waited for.
        plane.replica.lag_timeout = Duration::from_millis(400);
        let kinds = [Kind::SlowOthers, Kind::SlowOthers, Kind::DownTwo];
        self.plan(chance, &kinds, 6, &[500 * MS, 1_200 * MS]);
    }

    fn deafen_often(&mut self, chance: &mut Chance) {
        self.many_clients(chance);
        // A write at the deaf one holds its client up: most read, so that some still ask it.
        self.clients *= 6;
        self.writes_per_mille = 150;
        (self.nodes, self.replicas, self.min_in_sync) = (3, 2, 1);
        self.keys = 2;
        self.faults_end_us = 3_000 * MS;
        // Some adopt an epoch late: until then they answer as before. Their successors do not.
        self.agreement.wrongs.burst = 50;
        let replica = &mut self.given.plane.replica;
        replica.confirm_after = Duration::from_millis(chance.between(5, 15));
        replica.confirm_give_up_after = Duration::from_millis(chance.between(20, 60));
        // A successor commits when the deaf one is out, which is before connections break.
        replica.lag_timeout = Duration::from_millis(110);
        let lasts_us = [200 * MS, 260 * MS, 290 * MS];
        self.plan(chance, &[Kind::Deafen], 16, &lasts_us);
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
        self.agreement.wrongs.told_late = 900;
        self.given.controller.rereplicate_after = Duration::from_millis(300);
        self.faults_end_us = 4_000 * MS;
        for _ in 0..5 {
            let whom = chance.below(u64::MAX);
            let at_us = chance.between(200 * MS, self.faults_end_us - 700 * MS);
            let kind = chance.pick(&[Kind::PauseLeader, Kind::IsolateLeader]);
            // So long that another one is elected.
            let kind = kind.unwrap_or(Kind::PauseLeader);
            self.plan_one(at_us, kind, 600 * MS, whom);
            // Whoever is back and takes itself for the leader has something to decide.
            for _ in 0..2 {
                let whom = chance.below(u64::MAX);
                let kind = chance.pick(&[Kind::Kill, Kind::PowerOff]);
                let at_us = at_us + chance.between(600 * MS, 750 * MS);
                self.plan_one(at_us, kind.unwrap_or(Kind::Kill), 150 * MS, whom);
            }
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

    fn age_disks(&mut self, chance: &mut Chance) {
        self.many_clients(chance);
        // Disks are restored only where everything works and two others have all that counts.
        self.faults.clear();
        self.nodes = self.nodes.max(5);
        (self.replicas, self.min_in_sync) = (3, 2);
        self.faults_end_us = 2_500 * MS;
        let lasts_us = [150 * MS, 300 * MS, 500 * MS];
        self.plan(chance, &[Kind::OlderDisk], 5, &lasts_us);
    }

    fn many_clients(&mut self, chance: &mut Chance) {
        self.clients = chance.between(8, 16) as usize;
        self.think_us = chance.between(MS, 5 * MS);
    }
}
