//! Seeded clusters that change: balancing comes to rest, and copies what the certificates say.

use std::collections::BTreeMap;

use crate::layout;
use crate::plan::*;
use crate::testing::{
    carry_out, catch_up, catch_up_where, cluster, create_table, definition, registration,
};
use crate::*;

const CLUSTERS: u64 = 1_000;

/// A small generator of numbers (splitmix), so that a seed names a cluster for good.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    pub(super) fn weight(&mut self) -> u32 {
        1 + self.below(4) as u32
    }

    pub(super) fn zone(&mut self, zoned: bool) -> &'static str {
        ["a", "b", "c", "d", ""][if zoned { self.below(5) as usize } else { 4 }]
    }
}

/// A cluster at rest with a few tables.
fn before(dice: &mut Dice) -> (ClusterMap, bool) {
    let zoned = dice.below(2) == 0;
    let count = 3 + dice.below(6);
    let members: Vec<_> = (0..count)
        .map(|_| (dice.zone(zoned), dice.weight()))
        .collect();
    let mut map = cluster(&members);
    for number in 0..1 + dice.below(4) {
        let replicas = 1 + dice.below(3) as u32;
        let definition = definition(1 << dice.below(5), replicas, 1);
        create_table(&mut map, &format!("table{number}"), &definition).unwrap();
    }
    (map, zoned)
}

/// One or two members join, get another weight, or begin to leave or to stay.
fn disturb(map: &mut ClusterMap, dice: &mut Dice, zoned: bool) {
    for _ in 0..1 + dice.below(2) {
        let count = map.members.len() as u64;
        let nth = dice.below(count) as usize;
        let known = *map.members.keys().nth(nth).unwrap();
        match dice.below(4) {
            0 => {
                let member = map.members.get_mut(&known).unwrap();
                member.weight = dice.weight();
            }
            1 => {
                let member = map.members.get_mut(&known).unwrap();
                member.state = match member.state {
                    MemberState::Up => MemberState::Draining,
                    _ => MemberState::Up,
                };
            }
            _ => {
                let new = registration(100 + count, dice.zone(zoned), dice.weight());
                map.apply(&Command::Register(new)).unwrap();
            }
        }
    }
}

/// What the controller would do next.
fn next(map: &ClusterMap, caps: CopyCaps) -> Option<Plan> {
    let offices = OfficeCaps {
        moves_max: 8,
        ..OfficeCaps::default()
    };
    let draining = map
        .members
        .values()
        .find(|m| m.state == MemberState::Draining)
        .map(|m| drain(&Strategies::built_in(), map, m.storage, caps))
        .filter(|plan| !plan.is_empty());
    draining
        .or_else(|| Some(drop_surplus(map)).filter(|plan| !plan.is_empty()))
        .or_else(|| Some(balance_replicas(map, caps)).filter(|plan| !plan.is_empty()))
        .or_else(|| Some(balance_primaries(map, &offices)).filter(|plan| !plan.is_empty()))
}

/// How many replicas a plan adds.
pub(super) fn copies(map: &ClusterMap, plan: &Plan) -> u64 {
    let added = |change: &AssignmentChange| {
        let held = &map.assignment(change.partition).unwrap().replicas;
        let new = change.next.replicas.iter().filter(|s| !held.contains(s));
        new.count() as u64
    };
    plan.assignments.iter().map(added).sum()
}

/// How many copies the certificates of all tables ask for.
pub(super) fn lacking(map: &ClusterMap) -> u64 {
    let of_table = |table: &Table| -> u64 {
        let of = layout::of_table(map, table).unwrap();
        let replicas = table.definition.replicas as usize;
        let Ok(plan) = layout::plan(&of.topology, &of.current, replicas) else {
            return 0;
        };
        let proof = layout::check(&of.topology, &of.current, replicas, &plan).unwrap();
        assert!(proof.is_optimal());
        plan.copies() as u64
    };
    map.tables.values().map(of_table).sum()
}

/// How a cluster came to rest, if it did.
#[derive(Debug)]
struct Rest {
    settled: bool,
    copies: u64,
    /// How many copies the members lacked after the changes.
    lacking: u64,
    /// Whether all changes came before the first step.
    plain: bool,
}

fn run(seed: u64) -> Rest {
    let mut dice = Dice(seed);
    let (mut map, zoned) = before(&mut dice);
    disturb(&mut map, &mut dice, zoned);
    let caps = CopyCaps {
        copies_max: [1, 3, 16][dice.below(3) as usize],
    };
    // Copies become ready all at once, or some earlier than others.
    let one_in = 1 + dice.below(3);
    let again_at = Some(dice.below(12)).filter(|_| dice.below(4) == 0);
    let replicas = |table: &Table| u64::from(table.definition.replicas);
    let places: u64 = map.partitions().map(|(_, table, _)| replicas(table)).sum();
    let mut settling = Settling::default();
    let mut rest = Rest {
        settled: false,
        copies: 0,
        lacking: lacking(&map),
        plain: again_at.is_none(),
    };
    for step in 0..again_at.unwrap_or(0) + places * 2 + 12 {
        let version = map.version;
        if Some(step) == again_at {
            disturb(&mut map, &mut dice, zoned);
            rest.lacking += lacking(&map);
        }
        if settling.allows(&map).is_err() {
            break;
        }
        if let Some(plan) = next(&map, caps) {
            rest.copies += copies(&map, &plan);
            settling.note(&map, &plan);
            let applied = carry_out(&mut map, plan).unwrap();
            assert_eq!(applied.skipped, [], "seed {seed}");
            catch_up_where(&mut map, |_| dice.below(one_in) == 0);
        } else {
            catch_up(&mut map);
        }
        if map.version == version && again_at.is_none_or(|at| at <= step) {
            rest.settled = true;
            break;
        }
    }
    rest
}

#[test]
fn a_cluster_that_changed_comes_to_rest_and_copies_what_its_certificates_say() {
    let (mut restless, mut wasteful) = (Vec::new(), Vec::new());
    for seed in 0..CLUSTERS {
        let rest = run(seed);
        if !rest.settled {
            restless.push(seed);
            continue;
        }
        // Who changes in the middle may make copies of no use that were made before.
        let as_proven = match rest.plain {
            true => rest.copies == rest.lacking,
            false => rest.copies <= rest.lacking,
        };
        if !as_proven {
            wasteful.push((seed, rest.copies, rest.lacking));
        }
    }
    assert_eq!(restless, [0u64; 0], "these seeds do not come to rest");
    assert_eq!(wasteful, [], "seeds, copies, and how many were lacking");
}

#[test]
fn what_balancing_starts_dropping_finishes_whatever_is_ready_first() {
    let mut finished = 0;
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let (mut map, zoned) = before(&mut dice);
        let new = registration(100, dice.zone(zoned), 4);
        map.apply(&Command::Register(new)).unwrap();
        let mut intended: BTreeMap<PartitionId, Vec<StorageId>> = BTreeMap::new();
        loop {
            let plan = balance_replicas(&map, CopyCaps::DEFAULT);
            for change in &plan.assignments {
                let replicas = map.tables[&change.partition.table].definition.replicas;
                let (staying, _) = change.next.replicas.split_at(replicas as usize);
                intended.insert(change.partition, staying.to_vec());
            }
            if intended.is_empty() {
                break;
            }
            carry_out(&mut map, plan).unwrap();
            catch_up_where(&mut map, |_| dice.below(3) == 0);
            let plan = drop_surplus(&map);
            for change in &plan.assignments {
                let staying = intended[&change.partition].clone();
                assert!(change.next.replicas.starts_with(&staying), "seed {seed}");
                if change.next.replicas == staying {
                    intended.remove(&change.partition);
                    finished += 1;
                }
            }
            carry_out(&mut map, plan).unwrap();
        }
    }
    assert!(finished > 200, "{finished} moves were looked at");
}

#[test]
fn a_suspicion_while_replicas_move_changes_nothing_about_who_leaves() {
    let mut map = cluster(&[("", 1), ("", 1), ("", 1), ("", 1)]);
    create_table(&mut map, "users", &definition(16, 3, 2)).unwrap();
    map.apply(&Command::Register(registration(5, "", 4)))
        .unwrap();
    let plan = balance_replicas(&map, CopyCaps::DEFAULT);
    carry_out(&mut map, plan).unwrap();
    catch_up(&mut map);
    let surely = drop_surplus(&map);
    assert_eq!(surely.assignments.len(), 16);
    for suspect in map.members.clone().into_keys() {
        let mut doubted = map.clone();
        doubted.members.get_mut(&suspect).unwrap().state = MemberState::Suspect;
        let plan = drop_surplus(&doubted);
        let replicas = |plan: &Plan| -> Vec<_> {
            let next = plan.assignments.iter().map(|c| c.next.replicas.clone());
            next.collect()
        };
        assert_eq!(replicas(&plan), replicas(&surely));
    }
}

/// A plan that moves the only replica of each partition to another member.
fn to_and_fro(map: &ClusterMap) -> Plan {
    let assignments = map.partitions().map(|(partition, _, current)| {
        let held = current.replicas[0];
        let to = *map.members.keys().find(|s| **s != held).unwrap();
        let mut next = NextAssignment::keep(current);
        next.replicas = vec![to, held];
        AssignmentChange {
            partition,
            expected: (current.epoch, current.version),
            next,
            stopped: Vec::new(),
        }
    });
    Plan {
        assignments: assignments.collect(),
        ..Plan::default()
    }
}

#[test]
fn balancing_that_does_not_come_to_rest_is_refused_by_name_until_a_member_changes() {
    let mut map = cluster(&[("", 1), ("", 1)]);
    create_table(&mut map, "users", &definition(2, 1, 1)).unwrap();
    let other = create_table(&mut map, "pairs", &definition(16, 1, 1)).unwrap();
    let mut settling = Settling::default();
    let moves = |settling: &mut Settling, map: &mut ClusterMap, table: u32| {
        let mut plan = to_and_fro(map);
        plan.assignments
            .retain(|c| c.partition.table == TableId(table));
        settling.note(map, &plan);
        carry_out(map, plan).unwrap();
        catch_up(map);
        let plan = drop_surplus(map);
        settling.note(map, &plan);
        carry_out(map, plan).unwrap();
    };
    for _ in 0..3 {
        assert_eq!(settling.allows(&map), Ok(()));
        moves(&mut settling, &mut map, 1);
    }
    assert_eq!(settling.allows(&map), Ok(()), "as often as it may take");
    moves(&mut settling, &mut map, 1);
    let partitions = [0, 1]
        .map(|number| PartitionId::new(TableId(1), number))
        .to_vec();
    assert_eq!(settling.allows(&map), Err(Unsettled { partitions }));

    // Somebody who may be missing is no change; a weight is one.
    let first = *map.members.keys().next().unwrap();
    map.members.get_mut(&first).unwrap().state = MemberState::Suspect;
    let told = settling.allows(&map).unwrap_err().to_string();
    assert_eq!(
        told,
        "balancing does not come to rest; copied to and fro: 1/0, 1/1"
    );
    map.members.get_mut(&first).unwrap().state = MemberState::Up;
    map.members.get_mut(&first).unwrap().weight = 2;
    assert_eq!(settling.allows(&map), Ok(()));

    // A table that is gone is forgotten, and not all the names are told of a large one.
    for _ in 0..4 {
        moves(&mut settling, &mut map, other.0);
    }
    let told = settling.allows(&map).unwrap_err();
    assert_eq!(told.partitions.len(), 16);
    assert!(told.to_string().contains("2/7, 8 more"), "{told}");
    let name = "pairs".to_owned();
    map.apply(&Command::DropTable { name, at_ms: 0 }).unwrap();
    assert_eq!(settling.allows(&map), Ok(()));
}
