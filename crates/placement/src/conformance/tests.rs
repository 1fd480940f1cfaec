//! The built-in strategy passes; bad ones are refused by the name of what they break.

use std::sync::Arc;

use super::{Requirement, strategy};
use crate::{
    Active, ClusterMap, DataPath, Happening, NewTable, NextAssignment, Partition, PartitionId,
    PrimaryBackup, Reaction, Rule, Strategies, Strategy, Table,
};

#[test]
fn the_built_in_strategy_passes() {
    let passed = strategy(&Arc::new(PrimaryBackup)).expect("it keeps all requirements");
    assert!(passed.clusters >= 200 && passed.happenings > 2_000);
    assert_eq!(PrimaryBackup.data_path(), DataPath::PrimaryBackup);
    let built_in = Strategies::built_in();
    let names: Vec<_> = built_in.names().collect();
    assert_eq!(names, ["active", "partition", "primary-backup"]);
}

#[test]
fn the_active_strategy_passes_with_offices_nowhere_and_replicas_that_stay() {
    let passed = strategy(&Arc::new(Active)).expect("it keeps all requirements");
    assert!(passed.clusters >= 200 && passed.happenings > 2_000);
    assert_eq!(Active.data_path(), DataPath::Active);
}

#[test]
fn the_strategy_of_single_owners_passes_and_chooses_successors_from_all_members() {
    let passed = strategy(&Arc::new(Partition)).expect("it keeps all requirements");
    assert!(passed.clusters >= 200 && passed.happenings > 2_000);
    assert_eq!(Partition.data_path(), DataPath::SingleOwner);
}

/// Owners with a second replica.
#[derive(Debug)]
struct OwnerInCompany;

impl Strategy for OwnerInCompany {
    fn data_path(&self) -> DataPath {
        DataPath::SingleOwner
    }

    fn assign(&self, map: &ClusterMap, table: &NewTable<'_>) -> Vec<NextAssignment> {
        let mut all = Partition.assign(map, table);
        for next in &mut all {
            next.replicas.extend(map.members.keys().copied());
            next.replicas.sort_unstable();
            next.replicas.dedup();
            next.replicas.truncate(2);
            next.in_sync = next.replicas.clone();
            next.primary = next.in_sync.first().copied();
        }
        all
    }

    fn react(&self, map: &ClusterMap, table: &Table, happening: &Happening<'_>) -> Vec<Reaction> {
        Partition.react(map, table, happening)
    }
}

#[test]
fn an_owner_in_company_is_refused() {
    let broken = strategy(&Arc::new(OwnerInCompany)).expect_err("it has a second replica");
    let expected = [Rule::OwnerAlone, Rule::ReplicaCount].map(Requirement::Framework);
    assert!(expected.contains(&broken.requirement), "{broken}");
}

/// The active strategy with a primary of its own.
#[derive(Debug)]
struct WithOffice;

impl Strategy for WithOffice {
    fn data_path(&self) -> DataPath {
        DataPath::Active
    }

    fn assign(&self, map: &ClusterMap, table: &NewTable<'_>) -> Vec<NextAssignment> {
        PrimaryBackup.assign(map, table)
    }

    fn react(&self, _: &ClusterMap, _: &Table, _: &Happening<'_>) -> Vec<Reaction> {
        Vec::new()
    }
}

#[test]
fn an_office_in_an_active_table_is_refused_by_name() {
    let broken = strategy(&Arc::new(WithOffice)).expect_err("it is bad");
    assert_eq!(broken.requirement, Requirement::Framework(Rule::NoOffice));
}

type Spoil = fn(&ClusterMap, &Table, Vec<Reaction>) -> Vec<Reaction>;

/// The built-in strategy with one mistake.
#[derive(Debug)]
struct Bad {
    assign: fn(Vec<NextAssignment>) -> Vec<NextAssignment>,
    react: Spoil,
}

impl Default for Bad {
    fn default() -> Self {
        Self {
            assign: |all| all,
            react: |_, _, reactions| reactions,
        }
    }
}

impl Strategy for Bad {
    fn data_path(&self) -> DataPath {
        DataPath::PrimaryBackup
    }

    fn assign(&self, map: &ClusterMap, table: &NewTable<'_>) -> Vec<NextAssignment> {
        (self.assign)(PrimaryBackup.assign(map, table))
    }

    fn react(&self, map: &ClusterMap, table: &Table, happening: &Happening<'_>) -> Vec<Reaction> {
        (self.react)(map, table, PrimaryBackup.react(map, table, happening))
    }
}

fn broken(bad: Bad) -> Requirement {
    let broken = strategy(&Arc::new(bad)).expect_err("it is bad");
    assert!(broken.to_string().starts_with(broken.requirement.name()));
    broken.requirement
}

#[test]
fn a_primary_outside_the_in_sync_set_is_refused_by_name() {
    let react: Spoil = |map, table, mut reactions| {
        for reaction in &mut reactions {
            let current = &table.partitions[reaction.partition.partition as usize];
            let behind = |s: &&crate::StorageId| !current.in_sync.contains(s);
            let live = map.members.keys().filter(|s| map.is_live(**s));
            if let Some(outsider) = live.filter(|s| !current.replicas.contains(s)).find(behind) {
                reaction.next.primary = Some(*outsider);
                reaction.next.replicas.push(*outsider);
                reaction.next.in_sync.push(*outsider);
            }
        }
        reactions
    };
    let bad = Bad {
        react,
        ..Bad::default()
    };
    assert_eq!(broken(bad).name(), "primary_from_in_sync");
}

#[test]
fn all_replicas_on_one_node_are_refused_by_name() {
    let listed_again: fn(Vec<NextAssignment>) -> Vec<NextAssignment> = |mut all| {
        for next in &mut all {
            let first = next.replicas[0];
            next.replicas.fill(first);
            next.in_sync.fill(first);
            next.primary = Some(first);
        }
        all
    };
    let bad = Bad {
        assign: listed_again,
        ..Bad::default()
    };
    assert_eq!(
        broken(bad),
        Requirement::Framework(Rule::NoDuplicateReplicas)
    );
    let alone: fn(Vec<NextAssignment>) -> Vec<NextAssignment> = |mut all| {
        for next in &mut all {
            next.primary = next.replicas.first().copied();
            next.replicas.truncate(1);
            next.in_sync.truncate(1);
        }
        all
    };
    let bad = Bad {
        assign: alone,
        ..Bad::default()
    };
    assert_eq!(broken(bad).name(), "enough_replicas");
}

#[test]
fn a_plan_that_never_settles_is_refused_by_name() {
    // Each time the next in-sync member is to serve: no rule of the framework forbids it.
    let react: Spoil = |map, table, reactions| {
        let rotated = (0u32..).zip(&table.partitions).filter_map(|(number, a)| {
            let holder = a.primary_member().filter(|_| map.is_filled(a.primary))?;
            let place = a.in_sync.iter().position(|s| *s == holder)?;
            let next = *a.in_sync.iter().cycle().nth(place + 1)?;
            let next = NextAssignment {
                primary: Some(next).filter(|s| *s != holder && map.is_live(*s)),
                ..NextAssignment::keep(a)
            };
            next.primary?;
            Some(Reaction {
                partition: PartitionId::new(table.id, number),
                next,
                reason: "it is somebody else's turn".to_owned(),
            })
        });
        reactions.into_iter().chain(rotated).collect()
    };
    let bad = Bad {
        react,
        ..Bad::default()
    };
    assert_eq!(broken(bad).name(), "settles");
}

#[test]
fn who_answers_for_others_keeps_its_office_or_leaves_it_empty_is_refused_by_name() {
    let foreign: Spoil = |_, _, mut reactions| {
        for reaction in &mut reactions {
            reaction.partition.table.0 += 7;
        }
        reactions
    };
    let react = foreign;
    assert_eq!(
        broken(Bad {
            react,
            ..Bad::default()
        })
        .name(),
        "own_table"
    );
    let silent: Spoil = |_, _, _| Vec::new();
    let react = silent;
    let name = broken(Bad {
        react,
        ..Bad::default()
    })
    .name();
    assert!(
        ["offices_filled", "offices_given_back"].contains(&name),
        "{name}"
    );
    let assign: fn(Vec<NextAssignment>) -> Vec<NextAssignment> = |_| Vec::new();
    assert_eq!(
        broken(Bad {
            assign,
            ..Bad::default()
        })
        .name(),
        "every_partition"
    );
}
