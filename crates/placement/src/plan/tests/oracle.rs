//! Even spreads, compared with brute force and with the exact shares.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::Strategy;

use crate::plan::*;
use crate::testing::{carry_out, cluster, create_table, definition};
use crate::*;

const ZONES: [&str; 4] = ["", "eu/1", "eu/2", "eu/3"];

fn members() -> impl Strategy<Value = Vec<(&'static str, u32)>> {
    let member = (proptest::sample::select(ZONES.to_vec()), 1u32..4);
    proptest::collection::vec(member, 1..9)
}

fn counts(of: impl Iterator<Item = StorageId>) -> BTreeMap<StorageId, u64> {
    let mut counts = BTreeMap::new();
    of.for_each(|storage| *counts.entry(storage).or_default() += 1);
    counts
}

/// The most even way to give each of the seats to one of its candidates, by trying all of them:
/// the least sum of squares.
fn brute_force(seats: &[Vec<StorageId>]) -> u64 {
    fn go(seats: &[Vec<StorageId>], held: &mut BTreeMap<StorageId, u64>) -> u64 {
        let Some((first, rest)) = seats.split_first() else {
            return held.values().map(|n| n * n).sum();
        };
        let mut best = u64::MAX;
        for candidate in first {
            *held.entry(*candidate).or_default() += 1;
            best = best.min(go(rest, held));
            *held.entry(*candidate).or_default() -= 1;
        }
        best
    }
    go(seats, &mut BTreeMap::new())
}

proptest! {
    #![proptest_config(super::config(192))]

    #[test]
    fn offices_are_as_even_as_brute_force_finds(
        wanted in proptest::collection::vec(
            proptest::sample::subsequence((1u64..6).collect::<Vec<_>>(), 1..=3), 1..7),
        holders in proptest::collection::vec(0usize..3, 7),
    ) {
        let map = cluster(&[("", 1); 5]);
        let table = TableId(1);
        let seats: Vec<Seat> = wanted.iter().zip(&holders).enumerate().map(|(i, (c, h))| Seat {
            partition: PartitionId::new(table, i as u32),
            candidates: c.iter().map(|n| StorageId(*n)).collect(),
            holder: c.get(*h).map(|n| StorageId(*n)),
        }).collect();
        let chosen = fill_seats(&map, table, &seats, usize::MAX);
        prop_assert_eq!(chosen.len(), seats.len());
        for seat in &seats {
            prop_assert!(seat.candidates.contains(&chosen[&seat.partition]));
        }
        let squares: u64 = counts(chosen.values().copied()).values().map(|n| n * n).sum();
        let all: Vec<_> = seats.iter().map(|seat| seat.candidates.clone()).collect();
        prop_assert_eq!(squares, brute_force(&all));
    }

    #[test]
    fn new_tables_are_spread_evenly_by_weight_and_over_zones(
        members in members(), bits in 0u32..7, replicas in 1u32..5,
    ) {
        let mut map = cluster(&members);
        let partitions = 1 << bits;
        create_table(&mut map, "users", &definition(partitions, replicas, 1)).unwrap();
        let table = map.tables.values().next().unwrap();
        let wanted = (replicas as usize).min(members.len());
        let domains: BTreeSet<_> = map.members.values().map(Member::failure_domain).collect();
        for assignment in &table.partitions {
            prop_assert_eq!(assignment.replicas.len(), wanted);
            let used: BTreeSet<_> =
                assignment.replicas.iter().map(|s| map.members[s].failure_domain()).collect();
            if domains.len() >= wanted {
                prop_assert_eq!(used.len(), wanted, "distinct zones when there are enough");
            }
        }
        // Exact shares by bisection on the level: an oracle that knows no fractions.
        let held = counts(table.partitions.iter().flat_map(|a| a.replicas.clone()));
        for (storage, share) in exact_shares(&map, f64::from(partitions), wanted) {
            let held = held.get(&storage).copied().unwrap_or(0) as f64;
            prop_assert!((held - share).abs() < 1.0 + 1e-6, "{storage} has {held} of {share}");
        }
    }

    #[test]
    fn offices_are_floor_or_ceiling_of_the_share_where_all_replicas_are_everywhere(
        weights in proptest::collection::vec(1u32..4, 1..4), bits in 0u32..7,
    ) {
        let members: Vec<_> = weights.iter().map(|w| ("", *w)).collect();
        let mut map = cluster(&members);
        let partitions = 1u32 << bits;
        create_table(&mut map, "users", &definition(partitions, 3, 1)).unwrap();
        create_table(&mut map, "orders", &definition(partitions, 3, 1)).unwrap();
        let sum: u32 = weights.iter().sum();
        for table in map.tables.values() {
            let held = counts(table.partitions.iter().filter_map(Assignment::primary_member));
            for member in map.members.values() {
                let held = held.get(&member.storage).copied().unwrap_or(0);
                let units = u64::from(partitions * member.weight);
                let (floor, ceil) = (units / u64::from(sum), units.div_ceil(u64::from(sum)));
                prop_assert!((floor..=ceil).contains(&held), "{held} not in {floor}..={ceil}");
            }
        }
        // Over both tables it is even as well: the fractions went to different members.
        let all = counts(map.partitions().filter_map(|(_, _, a)| a.primary_member()));
        for member in map.members.values() {
            let held = all.get(&member.storage).copied().unwrap_or(0) as f64;
            let share = 2.0 * f64::from(partitions * member.weight) / f64::from(sum);
            prop_assert!((held - share).abs() < 2.0);
        }
    }

    #[test]
    fn after_a_failure_offices_are_even_among_the_survivors(
        nodes in 2usize..7, bits in 2u32..7, dead in 1u64..7,
    ) {
        let mut map = cluster(&vec![("", 1); nodes]);
        create_table(&mut map, "users", &definition(1 << bits, 3, 1)).unwrap();
        let dead = StorageId(1 + dead % nodes as u64);
        let before: Vec<_> = map.partitions().map(|(p, _, a)| (p, a.clone())).collect();
        let plan = on_member_down(&Strategies::built_in(), &map, dead, Incarnation(1));
        carry_out(&mut map, plan).unwrap();
        for (partition, old) in before {
            let new = map.assignment(partition).unwrap();
            prop_assert!(map.is_filled(new.primary) && !new.in_sync.contains(&dead));
            prop_assert_eq!(old.primary_member() == Some(dead), old.epoch != new.epoch,
                "only the dead node's offices move");
        }
        let held = counts(map.partitions().filter_map(|(_, _, a)| a.primary_member()));
        let live = nodes - 1;
        if live <= 3 {
            let (least, most) =
                (held.values().min().unwrap(), held.values().max().unwrap());
            prop_assert!(held.len() == live && most - least <= 1, "{held:?}");
        }
    }

    #[test]
    fn a_bounded_balance_moves_no_more_than_it_may_and_gets_there(
        nodes in 2usize..6, bits in 3u32..7, moves_max in 1usize..5,
    ) {
        let mut map = cluster(&vec![("", 1); nodes]);
        create_table(&mut map, "users", &definition(1 << bits, 3, 1)).unwrap();
        let off = move_offices_off(&Strategies::built_in(), &map, StorageId(1));
        carry_out(&mut map, off).unwrap();
        let caps = OfficeCaps { moves_max, ..OfficeCaps::default() };
        for _ in 0..(1 << bits) + 1 {
            let plan = balance_primaries(&map, &caps);
            // A chain of moves is never cut, and is no longer than there are members.
            prop_assert!(plan.assignments.len() <= moves_max.max(nodes));
            if plan.is_empty() {
                break;
            }
            carry_out(&mut map, plan).unwrap();
        }
        let held = counts(map.partitions().filter_map(|(_, _, a)| a.primary_member()));
        let (least, most) = (held.values().min().unwrap(), held.values().max().unwrap());
        prop_assert!(held.len() == nodes && most - least <= 1, "{held:?}");
    }
}

/// What each member should have: level × weight, at most one of each partition, and each failure
/// domain at most as many of each partition as it must.
fn exact_shares(map: &ClusterMap, partitions: f64, replicas: usize) -> BTreeMap<StorageId, f64> {
    let mut domains: BTreeMap<FailureDomain<'_>, Vec<&Member>> = BTreeMap::new();
    for member in map.members.values() {
        domains
            .entry(member.failure_domain())
            .or_default()
            .push(member);
    }
    let most = (1..=replicas)
        .find(|&most| domains.values().map(|d| d.len().min(most)).sum::<usize>() >= replicas)
        .unwrap();
    let at = |level: f64, members: &[&Member]| -> Vec<f64> {
        members
            .iter()
            .map(|m| (level * f64::from(m.weight)).min(partitions))
            .collect()
    };
    let bisect = |amount: &dyn Fn(f64) -> f64, wanted: f64| {
        let (mut low, mut high) = (0.0, partitions * 8.0);
        for _ in 0..200 {
            let middle = (low + high) / 2.0;
            if amount(middle) < wanted {
                low = middle
            } else {
                high = middle
            }
        }
        high
    };
    // As even over domains as their sizes admit: at least one less of each partition than most.
    let low = |members: &[&Member]| partitions * members.len().min(most - 1) as f64;
    let cap = |members: &[&Member]| partitions * members.len().min(most) as f64;
    let sum = |level: f64, members: &[&Member]| at(level, members).iter().sum::<f64>();
    let all = |level: f64| {
        domains
            .values()
            .map(|d| sum(level, d).clamp(low(d), cap(d)))
            .sum::<f64>()
    };
    let level = bisect(&all, partitions * replicas as f64);
    let mut shares = BTreeMap::new();
    for members in domains.values() {
        let held = sum(level, members);
        let bound = held.clamp(low(members), cap(members));
        let level = if held == bound {
            level
        } else {
            bisect(&|l| sum(l, members), bound)
        };
        shares.extend(members.iter().map(|m| m.storage).zip(at(level, members)));
    }
    shares
}
