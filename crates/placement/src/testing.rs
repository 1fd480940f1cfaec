//! A conformance suite for strategies, and small maps to try things on. For tests only.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{
    Applied, Change, ClusterId, ClusterMap, Command, Decision, DecisionKind, Epoch, Happening,
    Incarnation, KeyDefinition, KeyType, Layout, NewTable, PRIMARY_BACKUP, PartitionId, Refused,
    Registration, Reports, StorageId, Strategies, Strategy, Table, TableDefinition, TableId, check,
    plan,
};

/// A table of `partitions` × `replicas` with one string key.
#[must_use]
pub fn definition(partitions: u32, replicas: u32, min_in_sync: u32) -> TableDefinition {
    TableDefinition {
        partition_key: KeyDefinition {
            name: "id".to_owned(),
            key_type: KeyType::String,
        },
        sort_key: None,
        strategy: PRIMARY_BACKUP.to_owned(),
        replicas,
        min_in_sync,
        partitions,
        layout: Layout::Row,
    }
}

/// The registration of the first start of member `number`, named `n<number>`.
#[must_use]
pub fn registration(number: u64, zone: &str, weight: u32) -> Registration {
    Registration {
        storage: StorageId(number),
        name: format!("n{number}"),
        http_address: format!("127.0.0.1:{}", 7000 + number),
        peer_address: format!("127.0.0.1:{}", 8000 + number),
        zone: zone.to_owned(),
        weight,
        incarnation: Incarnation(1),
        start: 0,
        begun: Vec::new(),
        boot: 1,
        at_ms: 0,
    }
}

/// A founded cluster with one member for each (zone, weight), numbered from 1.
#[must_use]
pub fn cluster(members: &[(&str, u32)]) -> ClusterMap {
    let mut map = ClusterMap::empty();
    let found = Command::Found {
        cluster: ClusterId(1),
        at_ms: 0,
    };
    map.apply(&found).expect("an empty map can be founded");
    for (number, (zone, weight)) in (1..).zip(members) {
        let register = Command::Register(registration(number, zone, *weight));
        map.apply(&register).expect("new members can register");
    }
    map
}

/// Creates a table with the assignments of the built-in planner.
pub fn create_table(
    map: &mut ClusterMap,
    name: &str,
    definition: &TableDefinition,
) -> Result<TableId, Refused> {
    let command = Command::CreateTable {
        name: name.to_owned(),
        definition: definition.clone(),
        assignments: plan::initial(&Strategies::built_in(), map, definition)
            .expect("a built-in strategy"),
        at_ms: 0,
    };
    Ok(map
        .apply(&command)?
        .table
        .expect("a created table has an id"))
}

/// Applies a plan as one change.
pub fn carry_out(map: &mut ClusterMap, plan: plan::Plan) -> Result<Applied, Refused> {
    let decision = Decision::new(DecisionKind::Rebalance, 0);
    map.apply(&Command::Change(plan.into_change(decision)))
}

/// Lets every live replica that is catching up join its in-sync set, as the primaries would ask.
pub fn catch_up(map: &mut ClusterMap) {
    catch_up_where(map, |_| true);
}

/// The same, only in some of the partitions.
pub fn catch_up_where(map: &mut ClusterMap, mut wanted: impl FnMut(PartitionId) -> bool) {
    let partitions: Vec<_> = map
        .partitions()
        .map(|(partition, _, _)| partition)
        .filter(|partition| wanted(*partition))
        .collect();
    for partition in partitions {
        let replicas = map
            .assignment(partition)
            .map(|a| a.replicas.clone())
            .unwrap_or_default();
        for joiner in replicas {
            let Some(assignment) = map.assignment(partition).cloned() else {
                continue;
            };
            let Some(office) = assignment.primary else {
                continue;
            };
            let Some(member) = map.members.get(&joiner) else {
                continue;
            };
            if assignment.in_sync.contains(&joiner) || !map.is_filled(Some(office)) {
                continue;
            }
            let mut in_sync = assignment.in_sync.clone();
            in_sync.push(joiner);
            // A member that is not up is refused, and stays a learner.
            let _ = map.apply(&Command::ProposeInSync {
                partition,
                epoch: assignment.epoch,
                version: assignment.version,
                office,
                in_sync,
                joiner: Some((joiner, member.incarnation)),
                at_ms: 0,
            });
        }
    }
}

/// Checks a strategy against what the framework expects of one. It panics with what was broken.
///
/// - `assign` answers for every partition, and every assignment may be the first of a partition.
/// - `react` never asks for what the framework refuses, and only about its own table.
/// - After members fail, every partition with a live in-sync member has a live primary.
/// - The same question has the same answer.
pub fn strategy_suite(strategy: &Arc<dyn Strategy>) {
    let clusters: [&[(&str, u32)]; 4] = [
        &[("", 1)],
        &[("", 1), ("", 1), ("", 1)],
        &[
            ("eu/1", 1),
            ("eu/2", 1),
            ("eu/3", 2),
            ("eu/1", 1),
            ("eu/2", 3),
        ],
        &[("eu/1", 1), ("eu/1", 1), ("eu/1", 1), ("eu/2", 1)],
    ];
    let definitions = [
        definition(1, 1, 1),
        definition(8, 2, 1),
        definition(16, 3, 2),
    ];
    for members in clusters {
        for definition in &definitions {
            let map = with_table(strategy, members, definition);
            for first in map.members.keys() {
                fails(strategy, &map, &[*first]);
                for second in map.members.keys().filter(|second| *second > first) {
                    fails(strategy, &map, &[*first, *second]);
                }
                for leaves in [false, true] {
                    let off = Happening::OfficesOff {
                        member: *first,
                        leaves,
                    };
                    let _ = reacts(strategy, &map, &off);
                }
                restarts(strategy, &map, *first);
            }
        }
    }
}

fn strategies(strategy: &Arc<dyn Strategy>) -> Strategies {
    let mut strategies = Strategies::default();
    strategies.register(PRIMARY_BACKUP, Arc::clone(strategy));
    strategies
}

fn with_table(
    strategy: &Arc<dyn Strategy>,
    members: &[(&str, u32)],
    definition: &TableDefinition,
) -> ClusterMap {
    let mut map = cluster(members);
    let new = NewTable {
        id: TableId(map.next_table),
        definition,
    };
    let choice = strategy.assign(&map, &new);
    assert_eq!(
        choice,
        strategy.assign(&map, &new),
        "assign must give the same answer again"
    );
    assert_eq!(
        choice.len(),
        definition.partitions as usize,
        "assign must answer for all"
    );
    let assignments =
        plan::initial(&strategies(strategy), &map, definition).expect("the strategy is registered");
    for assignment in &assignments {
        let checked = check::creation(&map, definition, assignment);
        assert_eq!(checked, Ok(()), "assign broke a rule: {assignment:?}");
    }
    let table = Table {
        id: new.id,
        name: "suite".to_owned(),
        definition: definition.clone(),
        partitions: assignments,
    };
    map.next_table += 1;
    map.tables.insert(table.id, table);
    map
}

/// The map after the reaction.
fn reacts(strategy: &Arc<dyn Strategy>, map: &ClusterMap, happening: &Happening<'_>) -> ClusterMap {
    let strategies = strategies(strategy);
    for table in map.tables.values() {
        for reaction in strategy.react(map, table, happening) {
            assert_eq!(
                reaction.partition.table, table.id,
                "react must keep to its table"
            );
        }
    }
    let plan = plan::react_with(&strategies, map, happening);
    let again = plan::react_with(&strategies, map, happening);
    assert_eq!(plan, again, "react must give the same answer again");
    assert_eq!(plan.refused, [], "react broke a rule after {happening:?}");
    let mut then = map.clone();
    let change = plan.into_change(Decision::new(DecisionKind::Failover, 0));
    if !Change::is_empty(&change) {
        let applied = then
            .apply(&Command::Change(change))
            .expect("a plan can be applied");
        assert_eq!(
            applied.skipped,
            [],
            "a plan from the current map applies as a whole"
        );
    }
    then
}

fn fails(strategy: &Arc<dyn Strategy>, map: &ClusterMap, dead: &[StorageId]) {
    let then = reacts(strategy, map, &Happening::MembersDown(dead));
    for (partition, _, assignment) in then.partitions() {
        let survivor = assignment.in_sync.iter().any(|s| then.is_live(*s));
        let filled = then.is_filled(assignment.primary);
        assert_eq!(
            filled, survivor,
            "{partition} after {dead:?} failed: {assignment:?}"
        );
    }
    // Everybody left says that it has the same: the vacant offices are filled where possible.
    let mut back = then.clone();
    for storage in dead {
        let Some(member) = back.members.get_mut(storage) else {
            continue;
        };
        member.incarnation = Incarnation(member.incarnation.0 + 1);
        member.state = crate::MemberState::Up;
    }
    let report: Vec<_> = back
        .partitions()
        .map(|(p, _, _)| (p, Epoch(1), 0))
        .collect();
    let reports: Reports = back.members.keys().map(|s| (*s, report.clone())).collect();
    let cold = reacts(strategy, &back, &Happening::ColdStart(&reports));
    for (partition, _, assignment) in cold.partitions() {
        assert!(
            cold.is_filled(assignment.primary),
            "{partition} after a cold start"
        );
    }
    let nobody: Reports = BTreeMap::new();
    let _ = reacts(strategy, &back, &Happening::ColdStart(&nobody));
}

fn restarts(strategy: &Arc<dyn Strategy>, map: &ClusterMap, storage: StorageId) {
    let mut map = map.clone();
    if let Some(member) = map.members.get_mut(&storage) {
        member.incarnation = Incarnation(member.incarnation.0 + 1);
    }
    let then = reacts(strategy, &map, &Happening::Restarted(storage));
    for (partition, _, assignment) in then.partitions() {
        assert!(
            then.is_filled(assignment.primary),
            "{partition} after {storage} restarted"
        );
    }
}
