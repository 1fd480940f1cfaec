//! Whatever happens in whatever order, no rule is ever broken.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::Strategy;

use crate::plan::*;
use crate::testing::{cluster, create_table, definition, registration};
use crate::*;

/// Something that happens; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Start {
        node: u64,
        new_disk: bool,
    },
    State {
        node: u64,
        state: MemberState,
    },
    Fails {
        nodes: Vec<u64>,
    },
    Restarted {
        node: u64,
    },
    Stalls {
        node: u64,
    },
    OfficesOff {
        node: u64,
    },
    ColdStart {
        answers: Vec<u64>,
    },
    RemoveDead,
    Balance {
        moves_max: usize,
    },
    BalanceReplicas,
    Rereplicate {
        nodes: Vec<u64>,
    },
    Drain {
        node: u64,
    },
    Fill,
    DropSurplus,
    Remove {
        node: u64,
    },
    Join {
        partition: usize,
        node: u64,
        incarnation: u64,
    },
    LeaveInSync {
        partition: usize,
        node: u64,
    },
    Create {
        bits: u32,
        replicas: u32,
        min_in_sync: u32,
    },
    Drop {
        table: usize,
    },
    Alter {
        table: usize,
        replicas: Option<u32>,
        min_in_sync: Option<u32>,
    },
    /// Any change at all, from a controller that has lost its mind.
    Garbage {
        partition: usize,
        primary: u64,
        replicas: Vec<u64>,
        in_sync: Vec<u64>,
    },
    /// An earlier command comes again, or late.
    Replay {
        command: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    use Step::{
        Alter, Balance, BalanceReplicas, ColdStart, Create, Drain, Drop, DropSurplus, Fails, Fill,
        Garbage, Join, LeaveInSync, OfficesOff, Remove, RemoveDead, Replay, Rereplicate, Restarted,
        Stalls, Start, State,
    };
    let node = || 0u64..9;
    let nodes = || proptest::collection::vec(0u64..9, 0..4);
    let state = proptest::sample::select(vec![
        MemberState::Up,
        MemberState::Suspect,
        MemberState::Down,
        MemberState::Draining,
        MemberState::Left,
    ]);
    prop_oneof![
        4 => (node(), any::<bool>()).prop_map(|(node, new_disk)| Start { node, new_disk }),
        2 => (node(), state).prop_map(|(node, state)| State { node, state }),
        2 => nodes().prop_map(|nodes| Fails { nodes }),
        3 => node().prop_map(|node| Restarted { node }),
        1 => node().prop_map(|node| Stalls { node }),
        1 => node().prop_map(|node| OfficesOff { node }),
        2 => nodes().prop_map(|answers| ColdStart { answers }),
        2 => Just(RemoveDead),
        2 => (1usize..5).prop_map(|moves_max| Balance { moves_max }),
        2 => Just(BalanceReplicas),
        2 => nodes().prop_map(|nodes| Rereplicate { nodes }),
        1 => node().prop_map(|node| Drain { node }),
        2 => Just(Fill),
        3 => Just(DropSurplus),
        1 => node().prop_map(|node| Remove { node }),
        6 => (0usize..40, node(), 0u64..3)
            .prop_map(|(partition, node, incarnation)| Join { partition, node, incarnation }),
        3 => (0usize..40, node()).prop_map(|(partition, node)| LeaveInSync { partition, node }),
        1 => (0u32..4, 1u32..5, 1u32..4)
            .prop_map(|(bits, replicas, min_in_sync)| Create { bits, replicas, min_in_sync }),
        1 => (0usize..4).prop_map(|table| Drop { table }),
        3 => (0usize..4, proptest::option::of(0u32..6), proptest::option::of(0u32..4)).prop_map(
            |(table, replicas, min_in_sync)| Alter { table, replicas, min_in_sync }),
        3 => (0usize..40, node(), nodes(), nodes()).prop_map(
            |(partition, primary, replicas, in_sync)| Garbage {
                partition, primary, replicas, in_sync
            }),
        3 => (0usize..100).prop_map(|command| Replay { command }),
    ]
}

/// A member by number; numbers beyond the members stay strangers.
fn id(map: &ClusterMap, number: u64) -> StorageId {
    map.members
        .keys()
        .nth(number as usize)
        .copied()
        .unwrap_or(StorageId(1000 + number))
}

fn ids(map: &ClusterMap, numbers: &[u64]) -> Vec<StorageId> {
    numbers.iter().map(|number| id(map, *number)).collect()
}

fn nth_partition(map: &ClusterMap, number: usize) -> Option<PartitionId> {
    let count = map.partitions().count();
    map.partitions()
        .nth(number.checked_rem(count)?)
        .map(|(partition, _, _)| partition)
}

fn planned(map: &ClusterMap, step: &Step) -> Option<Plan> {
    let caps = CopyCaps { copies_max: 6 };
    Some(match step {
        Step::Fails { nodes } => {
            let dead = ids(map, nodes);
            let dead: Vec<_> = dead
                .into_iter()
                .filter_map(|s| Some((s, map.members.get(&s)?.incarnation)))
                .collect();
            on_members_down(&Strategies::built_in(), map, &dead)
        }
        Step::Restarted { node } => on_restart(&Strategies::built_in(), map, id(map, *node)),
        Step::Stalls { node } => on_stall(&Strategies::built_in(), map, id(map, *node)),
        Step::OfficesOff { node } => move_offices_off(&Strategies::built_in(), map, id(map, *node)),
        Step::ColdStart { answers } => {
            let report = |s: StorageId| {
                let ends = map
                    .partitions()
                    .map(|(p, _, a)| (p, a.epoch, s.0 % 3))
                    .collect();
                (s, ends)
            };
            cold_start(
                &Strategies::built_in(),
                map,
                &ids(map, answers).into_iter().map(report).collect(),
            )
        }
        Step::RemoveDead => remove_dead(&Strategies::built_in(), map),
        Step::Balance { moves_max } => {
            let caps = OfficeCaps {
                moves_max: *moves_max,
                ..OfficeCaps::default()
            };
            balance_primaries(map, &caps)
        }
        Step::BalanceReplicas => balance_replicas(map, caps),
        Step::Rereplicate { nodes } => rereplicate(map, &ids(map, nodes), caps),
        Step::Drain { node } => drain(&Strategies::built_in(), map, id(map, *node), caps),
        Step::Fill => fill(map, caps),
        Step::DropSurplus => drop_surplus(map),
        Step::Remove { node } => remove(map, id(map, *node)).ok()?,
        _ => return None,
    })
}

fn command(map: &ClusterMap, step: &Step, earlier: &[Command]) -> Option<Command> {
    let change =
        |plan: Plan| Command::Change(plan.into_change(Decision::new(DecisionKind::Failover, 0)));
    Some(match step {
        Step::Start { node, new_disk } => {
            let known = map.members.get(&id(map, *node));
            let mut new = registration(
                node + 1,
                ["", "a", "b"][*node as usize % 3],
                1 + *node as u32 % 2,
            );
            if let Some(member) = known {
                new.name = member.name.clone();
                new.storage = member.storage;
                new.incarnation = Incarnation(member.incarnation.0 + 1);
            }
            if *new_disk {
                new.storage = StorageId(100 + map.version.0);
                new.incarnation = Incarnation(1);
            }
            Command::Register(new)
        }
        Step::State { node, state } => {
            let storage = id(map, *node);
            let incarnation = map
                .members
                .get(&storage)
                .map_or(Incarnation(1), |m| m.incarnation);
            change(Plan {
                members: vec![(storage, incarnation, *state)],
                ..Plan::default()
            })
        }
        Step::Join {
            partition,
            node,
            incarnation,
        } => {
            let (storage, partition) = (id(map, *node), nth_partition(map, *partition)?);
            let current = map.assignment(partition)?;
            let given = map
                .members
                .get(&storage)?
                .incarnation
                .0
                .saturating_sub(*incarnation / 2);
            let mut in_sync = current.in_sync.clone();
            in_sync.push(storage);
            let wanted = map.tables.get(&partition.table)?.definition.replicas;
            let office = match current.primary {
                Some(office) => office,
                // The new replica of an active table speaks for itself.
                None => {
                    in_sync = current.replicas_after(wanted)?;
                    let stays = in_sync.first().copied();
                    Office {
                        member: current.joiner().or(stays)?,
                        incarnation: Incarnation(given),
                    }
                }
            };
            Command::ProposeInSync {
                partition,
                epoch: current.epoch,
                version: current.version,
                office,
                in_sync,
                joiner: Some((storage, Incarnation(given))),
                at_ms: 0,
            }
        }
        Step::LeaveInSync { partition, node } => {
            let (storage, partition) = (id(map, *node), nth_partition(map, *partition)?);
            let current = map.assignment(partition)?;
            let in_sync = current
                .in_sync
                .iter()
                .copied()
                .filter(|s| *s != storage)
                .collect();
            Command::ProposeInSync {
                partition,
                epoch: current.epoch,
                version: current.version,
                office: current.primary?,
                in_sync,
                joiner: None,
                at_ms: 0,
            }
        }
        Step::Create {
            bits,
            replicas,
            min_in_sync,
        } => {
            let definition = definition(1 << bits, *replicas, *min_in_sync);
            Command::CreateTable {
                name: format!("table{}", map.next_table),
                assignments: initial(&Strategies::built_in(), map, &definition).unwrap(),
                definition,
                at_ms: 0,
            }
        }
        Step::Drop { table } => {
            let name = map.tables.values().nth(*table)?.name.clone();
            Command::DropTable { name, at_ms: 0 }
        }
        Step::Alter {
            table,
            replicas,
            min_in_sync,
        } => {
            let table = map.tables.values().nth(*table)?;
            Command::AlterTable {
                name: table.name.clone(),
                alteration: Alteration {
                    replicas: *replicas,
                    min_in_sync: *min_in_sync,
                },
                leaving: order_of_leaving(map, table, replicas.unwrap_or(1)),
                at_ms: 0,
            }
        }
        Step::Garbage {
            partition,
            primary,
            replicas,
            in_sync,
        } => {
            let partition = nth_partition(map, *partition)?;
            let current = map.assignment(partition)?;
            let next = NextAssignment {
                primary: Some(id(map, *primary)).filter(|_| primary % 5 != 4),
                replicas: ids(map, replicas),
                in_sync: ids(map, in_sync),
            };
            let expected = (current.epoch, current.version);
            Command::Change(Change {
                decision: Decision::new(DecisionKind::Rebalance, 0),
                made_under: None,
                members: Vec::new(),
                assignments: vec![AssignmentChange {
                    partition,
                    expected,
                    next,
                    stopped: Vec::new(),
                }],
            })
        }
        Step::Replay { command } => earlier.get(command.checked_rem(earlier.len())?)?.clone(),
        planned_step => change(planned(map, planned_step)?),
    })
}

fn check_assignment(
    map: &ClusterMap,
    partition: PartitionId,
    a: &Assignment,
) -> Result<(), TestCaseError> {
    prop_assert!(
        a.in_sync.iter().all(|s| a.replicas.contains(s)),
        "{partition} {a:?}"
    );
    prop_assert!(
        a.primary_member().is_none_or(|p| a.in_sync.contains(&p)),
        "{partition} {a:?}"
    );
    prop_assert!(!a.replicas.is_empty() && a.epoch > Epoch(0));
    let mut distinct = a.replicas.clone();
    distinct.sort();
    distinct.dedup();
    prop_assert_eq!(distinct.len(), a.replicas.len());
    for storage in &a.replicas {
        prop_assert!(
            map.members.contains_key(storage),
            "{partition} names a stranger"
        );
        prop_assert!(!map.retired.contains(storage));
    }
    if let Some(office) = a.primary {
        prop_assert!(map.members[&office.member].incarnation >= office.incarnation);
    }
    Ok(())
}

/// Old and new sets overlap in all but one member, and one comes into them, or goes out of them,
/// only by the word of a member.
fn check_active(
    old: &Assignment,
    new: &Assignment,
    wanted: usize,
    command: &Command,
) -> Result<(), TestCaseError> {
    let set = |all: &[StorageId]| all.iter().copied().collect::<BTreeSet<_>>();
    prop_assert_eq!(new.epoch, old.epoch.next());
    prop_assert!(new.replicas.len() <= new.in_sync.len() + 1, "{new:?}");
    let stay = |s: &&StorageId| new.in_sync.contains(s);
    let stay = old.in_sync.iter().filter(stay).count();
    if let Command::ProposeInSync { office, .. } = command {
        let joiner = old.joiner();
        prop_assert!(joiner.is_none_or(|joiner| joiner == office.member));
        prop_assert!(old.replicas.contains(&office.member));
        prop_assert_eq!(&new.in_sync, &new.replicas);
        prop_assert!(stay + 1 >= old.in_sync.len());
        if new.in_sync.len() < old.in_sync.len() {
            prop_assert!(joiner.is_none() && new.in_sync.len() >= wanted, "{old:?}");
        }
        return Ok(());
    }
    prop_assert_eq!(&new.in_sync, &old.in_sync, "nobody joins by a plan");
    let (joins, joined) = (new.joiner(), old.joiner());
    let leaves = set(&new.replicas) == set(&new.in_sync);
    match command {
        Command::AlterTable { .. } => prop_assert!(leaves, "what was under way is given up"),
        _ if joins.is_none() && joined.is_none() => {
            prop_assert!(leaves && new.replicas.len() > wanted, "{old:?} {new:?}");
        }
        _ => prop_assert!(joins.is_some() != joined.is_some(), "{old:?} {new:?}"),
    }
    Ok(())
}

fn check_step(
    before: &ClusterMap,
    after: &ClusterMap,
    command: &Command,
) -> Result<(), TestCaseError> {
    prop_assert!(after.version >= before.version);
    prop_assert!(after.version.0 <= before.version.0 + 1);
    prop_assert!(after.retired.is_superset(&before.retired));
    prop_assert!(after.decisions.len() <= DECISIONS_KEPT);
    for (partition, table, new) in after.partitions() {
        check_assignment(after, partition, new)?;
        let Some(old) = before.assignment(partition) else {
            continue;
        };
        if old == new {
            continue;
        }
        prop_assert_eq!(new.version, old.version.next());
        if !table.definition.data_path().has_offices() {
            let wanted = table.definition.replicas as usize;
            check_active(old, new, wanted, command)?;
            continue;
        }
        let moved = old.primary != new.primary;
        let before = &before.tables[&table.id].definition;
        let rises = table.definition.min_in_sync > before.min_in_sync;
        prop_assert_eq!(new.epoch.0, old.epoch.0 + u64::from(moved || rises));
        if let Some(office) = new.primary.filter(|_| moved) {
            prop_assert!(
                old.in_sync.contains(&office.member),
                "no acknowledged write is lost"
            );
            prop_assert!(after.is_filled(Some(office)));
        }
        let grown: Vec<_> = new
            .in_sync
            .iter()
            .filter(|s| !old.in_sync.contains(s))
            .collect();
        match command {
            Command::ProposeInSync { joiner, office, .. } => {
                prop_assert_eq!(Some(*office), old.primary);
                prop_assert_eq!(grown, joiner.iter().map(|(s, _)| s).collect::<Vec<_>>());
            }
            _ => prop_assert!(grown.is_empty(), "only a primary lets members in"),
        }
        let min = old.in_sync.len().min(table.definition.min_in_sync as usize);
        let mut leaving = old.in_sync.iter().filter(|s| !new.in_sync.contains(s));
        let moved = new.primary != old.primary && new.primary.is_some();
        let useless = |s: &StorageId| Some(*s) == old.primary_member() || !after.is_live(*s);
        prop_assert!(new.in_sync.len() >= min || (moved && leaving.all(useless)));
    }
    Ok(())
}

proptest! {
    #![proptest_config(super::config(192))]

    #[test]
    fn rules_hold_whatever_happens(steps in proptest::collection::vec(step(), 1..80)) {
        let mut map = cluster(&[("a", 1), ("b", 1), ("", 2), ("a", 1)]);
        create_table(&mut map, "users", &definition(8, 3, 2)).unwrap();
        create_table(&mut map, "pairs", &definition(4, 2, 2)).unwrap();
        let active = TableDefinition {
            strategy: ACTIVE.to_owned(),
            ..definition(4, 3, 2)
        };
        create_table(&mut map, "visits", &active).unwrap();
        let mut earlier: Vec<Command> = Vec::new();
        for step in steps {
            if let Some(plan) = planned(&map, &step) {
                prop_assert!(plan.refused.is_empty(), "{step:?} broke {:?}", plan.refused);
            }
            let Some(command) = command(&map, &step, &earlier) else { continue };
            let before = map.clone();
            match map.apply(&command) {
                Ok(applied) => {
                    prop_assert_eq!(applied.map_version, map.version);
                    prop_assert_eq!(applied.decision.is_some(), map.version > before.version);
                    check_step(&before, &map, &command)?;
                    if planned(&before, &step).is_some() {
                        prop_assert!(applied.skipped.is_empty(), "a fresh plan fits: {applied:?}");
                        prop_assert!(applied.skipped_members.is_empty());
                    }
                    for (partition, _) in &applied.skipped {
                        prop_assert_eq!(before.assignment(*partition), map.assignment(*partition));
                    }
                }
                Err(refused) => {
                    prop_assert_eq!(&before, &map, "{} changed something", refused);
                }
            }
            let mut same = before.clone();
            let _ = same.apply(&command);
            prop_assert_eq!(&same, &map, "every node must come to the same map");
            earlier.push(command);
        }
        let named = rmp_serde::to_vec_named(&map).unwrap();
        prop_assert_eq!(&rmp_serde::from_slice::<ClusterMap>(&named).unwrap(), &map);
        for command in &earlier {
            let named = rmp_serde::to_vec_named(command).unwrap();
            prop_assert_eq!(&rmp_serde::from_slice::<Command>(&named).unwrap(), command);
        }
    }
}
