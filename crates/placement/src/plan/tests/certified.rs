//! Whatever changes about the members, the planners together copy exactly what the certificates of
//! the tables say, and a partition never has fewer sound replicas than before or than wanted.

use super::settling::{Dice, copies, lacking};
use crate::plan::*;
use crate::testing::{carry_out, catch_up_where, cluster, create_table, definition, registration};
use crate::*;

const CLUSTERS: u64 = 150;

/// A cluster at rest with several tables, each of two or three replicas.
fn before(dice: &mut Dice) -> ClusterMap {
    let zoned = dice.below(2) == 0;
    let members: Vec<_> = (0..4 + dice.below(8))
        .map(|_| (dice.zone(zoned), dice.weight()))
        .collect();
    let mut map = cluster(&members);
    for number in 0..2 + dice.below(3) {
        let definition = definition(1 << dice.below(5), 2 + dice.below(2) as u32, 1);
        create_table(&mut map, &format!("table{number}"), &definition).unwrap();
    }
    map
}

/// One change; who is to be replaced if it is a death.
fn change(map: &mut ClusterMap, dice: &mut Dice) -> Option<StorageId> {
    let nth = dice.below(map.members.len() as u64) as usize;
    let known = *map.members.keys().nth(nth).unwrap();
    match dice.below(5) {
        0 => {
            let weight = dice.below(5) as u32;
            map.members.get_mut(&known).unwrap().weight = weight;
        }
        1 => {
            let zone = dice.zone(true).to_owned();
            map.members.get_mut(&known).unwrap().zone = zone;
        }
        2 => map.members.get_mut(&known).unwrap().state = MemberState::Draining,
        3 => {
            let plan = on_member_down(&Strategies::built_in(), map, known, Incarnation(1));
            carry_out(map, plan).unwrap();
            return Some(known);
        }
        _ => {
            for number in 0..1 + dice.below(3) {
                let zoned = dice.below(2) == 0;
                let new = registration(100 + number, dice.zone(zoned), dice.weight());
                map.apply(&Command::Register(new)).unwrap();
            }
        }
    }
    None
}

/// What the controller would do next, most urgent first.
fn next(map: &ClusterMap, dead: Option<StorageId>, caps: CopyCaps) -> Plan {
    let strategies = Strategies::built_in();
    let offices = OfficeCaps {
        moves_max: 8,
        ..OfficeCaps::default()
    };
    let missing: Vec<StorageId> = dead.into_iter().collect();
    let draining = map
        .members
        .values()
        .find(|m| m.state == MemberState::Draining);
    let plans: [&dyn Fn() -> Plan; 8] = [
        &|| remove_dead(&strategies, map),
        &|| fill(map, caps),
        &|| rereplicate(map, &missing, caps),
        &|| {
            missing
                .first()
                .map_or_else(Plan::default, |s| remove(map, *s).unwrap_or_default())
        },
        &|| draining.map_or_else(Plan::default, |m| drain(&strategies, map, m.storage, caps)),
        &|| drop_surplus(map),
        &|| balance_primaries(map, &offices),
        &|| balance_replicas(map, caps),
    ];
    let mut plans = plans.iter().map(|plan| plan());
    plans.find(|plan| !plan.is_empty()).unwrap_or_default()
}

fn sound(map: &ClusterMap, assignment: &Assignment) -> usize {
    let sound = assignment.in_sync.iter().filter(|s| map.is_live(**s));
    sound.count()
}

#[test]
fn joins_deaths_drains_weights_and_zones_copy_what_the_certificates_say() {
    let mut all = 0;
    for seed in 0..CLUSTERS {
        let mut dice = Dice(seed);
        let mut map = before(&mut dice);
        assert_eq!(lacking(&map), 0, "seed {seed}: a new table is even");
        let mut dead = change(&mut map, &mut dice);
        let proven = lacking(&map);
        let caps = CopyCaps {
            copies_max: [1, 4, 64][dice.below(3) as usize],
        };
        let one_in = 1 + dice.below(3);
        let (mut copied, mut idle) = (0, 0);
        // A step for each copy, drop and office, and as many in which no copy becomes ready.
        for step in 0.. {
            assert!(step < 4_000, "seed {seed} does not come to rest");
            let plan = next(&map, dead, caps);
            copied += copies(&map, &plan);
            let had: Vec<usize> = map.partitions().map(|(_, _, a)| sound(&map, a)).collect();
            let version = map.version;
            if !plan.is_empty() {
                let applied = carry_out(&mut map, plan).unwrap();
                assert_eq!(applied.skipped, [], "seed {seed}");
            }
            for ((partition, table, now), had) in map.partitions().zip(had) {
                let wanted = had.min(table.definition.replicas as usize);
                assert!(sound(&map, now) >= wanted, "seed {seed}: {partition}");
            }
            dead = dead.filter(|s| map.members.contains_key(s));
            catch_up_where(&mut map, |_| dice.below(one_in) == 0);
            idle = if map.version == version { idle + 1 } else { 0 };
            if idle > 20 {
                break;
            }
        }
        assert_eq!(copied, proven, "seed {seed}");
        assert_eq!(lacking(&map), 0, "seed {seed}: nothing is left to do");
        all += copied;
    }
    assert!(all > 250, "{all} copies");
}
