//! One cluster in which one thing after another happens, and what must hold after each.
//! Knows nothing about the controller, except in which order it asks.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::dice::Dice;
use super::{Broken, Requirement};
use crate::testing::{catch_up_where, cluster, definition};
use crate::{
    Assignment, ClusterMap, Command, DataPath, Decision, DecisionKind, Epoch, Happening,
    Incarnation, MemberState, NewTable, PartitionId, Reports, StorageId, Strategies, Strategy,
    Table, TableDefinition, TableId, check, plan,
};

/// One answer to what happened, one to what follows from it, and as many again for strategies that
/// go step by step.
const STEPS_MAX: usize = 4;
const ZONES: [&str; 5] = ["", "eu/1", "eu/2", "us/1", "us/2"];

/// A cluster under a strategy.
#[derive(Debug)]
pub(super) struct Trial {
    strategy: Arc<dyn Strategy>,
    strategies: Strategies,
    map: ClusterMap,
    dice: Dice,
    cluster: u64,
    after: String,
}

impl Trial {
    /// A cluster with two tables that the strategy has assigned.
    pub(super) fn new(strategy: Arc<dyn Strategy>, cluster_number: u64) -> Result<Self, Broken> {
        let mut dice = Dice(cluster_number);
        let zones = 1 + dice.below(ZONES.len());
        let members: Vec<(&str, u32)> = (0..1 + dice.below(7))
            .map(|_| (ZONES[dice.below(zones)], 1 + dice.below(3) as u32))
            .collect();
        let mut strategies = Strategies::default();
        let name = match strategy.data_path() {
            DataPath::Active => crate::ACTIVE,
            DataPath::SingleOwner => crate::PARTITION,
            _ => crate::PRIMARY_BACKUP,
        };
        strategies.register(name, Arc::clone(&strategy));
        let mut definitions = Vec::new();
        for _ in 0..2 {
            let replicas = 1 + dice.below(4) as u32;
            let min_in_sync = 1 + dice.below(replicas as usize) as u32;
            let (replicas, min_in_sync) = match strategy.data_path().has_copies() {
                true => (replicas, min_in_sync),
                false => (1, 1),
            };
            definitions.push(TableDefinition {
                strategy: name.to_owned(),
                ..definition(1 << dice.below(5), replicas, min_in_sync)
            });
        }
        let mut trial = Self {
            strategy,
            strategies,
            map: cluster(&members),
            dice,
            cluster: cluster_number,
            after: String::new(),
        };
        for definition in definitions {
            trial.after = format!(
                "for {} partitions of {} replicas on {members:?}",
                definition.partitions, definition.replicas
            );
            trial.create(definition)?;
        }
        Ok(trial)
    }

    fn broken(&self, requirement: Requirement, what: impl std::fmt::Debug) -> Broken {
        Broken {
            requirement,
            cluster: self.cluster,
            after: self.after.clone(),
            what: format!("{what:?}"),
        }
    }

    fn create(&mut self, definition: TableDefinition) -> Result<(), Broken> {
        let new = NewTable {
            id: TableId(self.map.next_table),
            definition: &definition,
        };
        let choice = self.strategy.assign(&self.map, &new);
        if choice != self.strategy.assign(&self.map, &new) {
            return Err(self.broken(Requirement::SameAnswer, choice));
        }
        if choice.len() != definition.partitions as usize {
            return Err(self.broken(Requirement::EveryPartition, choice));
        }
        let first = |next| Assignment {
            epoch: Epoch(0).next(),
            ..check::resolve(&self.map, &Assignment::default(), next)
        };
        let partitions: Vec<Assignment> = choice.iter().map(first).collect();
        let needed = (definition.min_in_sync as usize).min(self.map.members.len());
        for assignment in &partitions {
            check::creation(&self.map, &definition, assignment)
                .map_err(|rule| self.broken(Requirement::Framework(rule), assignment))?;
            if assignment.replicas.len() < needed {
                return Err(self.broken(Requirement::EnoughReplicas, assignment));
            }
        }
        let id = new.id;
        let name = format!("table{}", id.0);
        let table = Table {
            id,
            name,
            definition,
            partitions,
            founded: None,
        };
        self.map.next_table += 1;
        self.map.tables.insert(id, table);
        Ok(())
    }

    /// One thing happens; the strategy answers until it has nothing to add; what must hold does.
    pub(super) fn something_happens(&mut self) -> Result<(), Broken> {
        let live: Vec<StorageId> = self.map.live_members().map(|m| m.storage).collect();
        let one = self.dice.one_of(&live);
        match (self.dice.below(8), one) {
            (0 | 1, Some(one)) => {
                let other = self.dice.one_of(&live).filter(|_| live.len() > 3);
                let dead: BTreeSet<StorageId> = other.into_iter().chain([one]).collect();
                self.die(&dead.into_iter().collect::<Vec<_>>())?;
            }
            (2, Some(one)) => self.restart(one)?,
            (3, Some(one)) => self.offices_off(one, false)?,
            (4, Some(one)) => self.offices_off(one, true)?,
            (5, Some(one)) => self.replica_stops(one)?,
            (6, _) => self.everything_starts_anew(&live)?,
            _ => self.the_dead_return()?,
        }
        self.offices_are_filled()?;
        let Self { map, dice, .. } = self;
        catch_up_where(map, |_| dice.below(2) == 0);
        Ok(())
    }

    fn die(&mut self, dead: &[StorageId]) -> Result<(), Broken> {
        self.react(&Happening::MembersDown(dead))
    }

    fn restart(&mut self, one: StorageId) -> Result<(), Broken> {
        if let Some(member) = self.map.members.get_mut(&one) {
            member.incarnation = Incarnation(member.incarnation.0 + 1);
            member.state = MemberState::Up;
        }
        self.react(&Happening::Restarted(one))
    }

    fn offices_off(&mut self, member: StorageId, leaves: bool) -> Result<(), Broken> {
        if !leaves && let Some(draining) = self.map.members.get_mut(&member) {
            draining.state = MemberState::Draining;
        }
        self.react(&Happening::OfficesOff { member, leaves })?;
        let up = |s: &StorageId| {
            let state = self.map.members.get(s).map(|m| m.state);
            *s != member && state == Some(MemberState::Up)
        };
        for (_, _, assignment) in self.map.partitions() {
            let holds = assignment.primary_member() == Some(member);
            if holds && assignment.in_sync.iter().any(up) {
                return Err(self.broken(Requirement::OfficesGivenBack, assignment));
            }
        }
        Ok(())
    }

    fn replica_stops(&mut self, one: StorageId) -> Result<(), Broken> {
        let held = self.map.partitions();
        let held = held.filter(|(_, _, a)| a.in_sync.contains(&one));
        let held: Vec<(PartitionId, StorageId)> = held.map(|(p, _, _)| (p, one)).collect();
        match self.dice.one_of(&held) {
            Some(stopped) => self.react(&Happening::ReplicasStopped(&[stopped])),
            None => Ok(()),
        }
    }

    /// All die, and most of them return before anybody is asked.
    fn everything_starts_anew(&mut self, live: &[StorageId]) -> Result<(), Broken> {
        self.die(live)?;
        for one in live {
            if self.dice.below(4) > 0 {
                self.restart(*one)?;
            }
        }
        // Nobody has reported yet, so nobody can be chosen.
        self.react(&Happening::ColdStart(&Reports::new()))
    }

    fn the_dead_return(&mut self) -> Result<(), Broken> {
        let away = self.map.members.values();
        let away = away.filter(|m| m.state != MemberState::Up);
        for one in away.map(|m| m.storage).collect::<Vec<_>>() {
            self.restart(one)?;
        }
        Ok(())
    }

    /// The controller asks about the dead and about vacant offices for as long as there are any.
    fn offices_are_filled(&mut self) -> Result<(), Broken> {
        let down = self.map.members.values().filter(|m| !m.is_live());
        let down: Vec<StorageId> = down.map(|m| m.storage).collect();
        self.react(&Happening::MembersDown(&down))?;
        let end = |(partition, _, a): (PartitionId, &Table, &Assignment)| (partition, a.epoch, 7);
        let ends: Vec<_> = self.map.partitions().map(end).collect();
        let live = self.map.live_members();
        let reports: Reports = live.map(|m| (m.storage, ends.clone())).collect();
        self.react(&Happening::ColdStart(&reports))?;
        // Where there are no offices, every replica that lives serves.
        if !self.strategy.data_path().has_offices() {
            return Ok(());
        }
        for (_, _, assignment) in self.map.partitions() {
            let survives = assignment.in_sync.iter().any(|s| self.map.is_live(*s));
            if survives && !self.map.is_filled(assignment.primary) {
                return Err(self.broken(Requirement::OfficesFilled, assignment));
            }
        }
        Ok(())
    }

    /// Asks, and carries out what is answered, until nothing more is.
    fn react(&mut self, happening: &Happening<'_>) -> Result<(), Broken> {
        let told = match happening {
            Happening::ColdStart(reports) => format!("a cold start with {} reports", reports.len()),
            other => format!("{other:?}"),
        };
        self.after = format!("after {told}");
        for _ in 0..=STEPS_MAX {
            if !self.step(happening)? {
                return Ok(());
            }
        }
        let reason = format!("it still asked for changes after {STEPS_MAX} answers");
        Err(self.broken(Requirement::Settles, reason))
    }

    /// One answer; whether it changed anything.
    fn step(&mut self, happening: &Happening<'_>) -> Result<bool, Broken> {
        for table in self.map.tables.values() {
            let reactions = self.strategy.react(&self.map, table, happening);
            if reactions != self.strategy.react(&self.map, table, happening) {
                return Err(self.broken(Requirement::SameAnswer, reactions));
            }
            let count = table.partitions.len();
            let own = |p: PartitionId| p.table == table.id && (p.partition as usize) < count;
            if let Some(foreign) = reactions.iter().find(|r| !own(r.partition)) {
                return Err(self.broken(Requirement::OwnTable, foreign));
            }
        }
        let plan = plan::react_with(&self.strategies, &self.map, happening);
        if let Some((partition, rule)) = plan.refused.first() {
            let current = self.map.assignment(*partition);
            return Err(self.broken(Requirement::Framework(*rule), (partition, current)));
        }
        if plan.is_empty() {
            return Ok(false);
        }
        let change = plan.into_change(Decision::new(DecisionKind::Failover, 0));
        let applied = self.map.apply(&Command::Change(change));
        let applied = applied.expect("a plan from the current map can be applied");
        match applied.skipped.first() {
            Some((_, refused)) => Err(self.broken(Requirement::SameAnswer, refused)),
            None => Ok(true),
        }
    }
}
