//! The algorithms beside the ring: what may move, how even they are, and naive oracles.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should stop"
)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use tablestore_ring::{
    BoundedLoads, JumpBack, Locate, Memento, Point, Rendezvous, Ring, Server, jump_back,
};

const POINTS: u64 = 4000;

fn points() -> impl Iterator<Item = Point> {
    // The golden ratio spreads evenly and the exclusive or breaks the pattern.
    (1..=POINTS).map(|n| {
        let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Point((spread ^ (spread >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9))
    })
}

fn owners<L: Locate<Node: Copy>>(locate: &L) -> Vec<L::Node> {
    points().map(|p| *locate.owner(p).unwrap()).collect()
}

/// The largest distance of a count from its expectation, in standard deviations.
fn deviation<N: Ord + Copy>(owners: &[N], share_of: impl Fn(N) -> f64, nodes: usize) -> f64 {
    let mut counts: BTreeMap<N, u32> = BTreeMap::new();
    for owner in owners {
        *counts.entry(*owner).or_default() += 1;
    }
    assert_eq!(counts.len(), nodes, "every node owns something");
    let total = owners.len() as f64;
    let distance = |(node, count): (N, u32)| {
        let share = share_of(node);
        (f64::from(count) - total * share).abs() / (total * share * (1.0 - share)).sqrt()
    };
    counts.into_iter().map(distance).fold(0.0, f64::max)
}

/// Chance passes this once in millions of nodes.
const DEVIATIONS_MAX: f64 = 5.5;

#[test]
fn jump_back_is_even_and_moves_keys_only_to_a_new_bucket() {
    for n in 1..140 {
        for point in points().take(500) {
            let (before, after) = (jump_back(point, n), jump_back(point, n + 1));
            assert!(before < n && (after == before || after == n), "{point} {n}");
        }
    }
    for n in [2, 3, 8, 9, 50] {
        let nodes = JumpBack::new(0..n);
        let share = 1.0 / f64::from(n);
        assert!(deviation(&owners(&nodes), |_| share, n as usize) < DEVIATIONS_MAX);
    }
}

#[test]
fn a_rendezvous_follows_weights() {
    let mut servers = Rendezvous::new();
    for id in 0_u32..12 {
        servers.add(Server::new(id).weight(id * id)).unwrap();
    }
    let sum: u32 = (0..12).map(|id| id * id).sum();
    let share = |id: u32| f64::from(id * id) / f64::from(sum);
    assert!(deviation(&owners(&servers), share, 11) < DEVIATIONS_MAX);
}

/// The order by removing the best again and again, the zones by sorting it.
fn naive_rendezvous(servers: &Rendezvous<u16>, point: Point) -> Vec<u16> {
    let mut order: Vec<u16> = Vec::new();
    let mut left = servers.clone();
    while let Some(best) = left.owner(point).copied() {
        order.push(best);
        left.remove(&best);
    }
    let mut depths: BTreeMap<String, usize> = BTreeMap::new();
    let mut ranked: Vec<_> = Vec::new();
    for (place, id) in order.into_iter().enumerate() {
        let server = servers.servers().find(|server| server.id == id).unwrap();
        let alone = format!("\0{id}");
        let zone = server.zone.clone().unwrap_or(alone);
        let depth = depths.entry(zone).or_default();
        ranked.push((*depth, place, id));
        *depth += 1;
    }
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, _, id)| id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 32,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_rendezvous_agrees_with_repeated_removal(
        servers in proptest::collection::btree_map(0_u16..200, (0_u32..4, 0_u8..4), 0..24),
        point: u64,
    ) {
        let mut rendezvous = Rendezvous::new();
        for (id, (weight, zone)) in &servers {
            let zone = ["", "x", "y", "z"][usize::from(*zone)];
            rendezvous.add(Server::new(*id).weight(*weight).zone(zone)).unwrap();
        }
        let found = rendezvous.preference(Point(point), 30);
        let found: Vec<u16> = found.into_iter().copied().collect();
        prop_assert_eq!(found, naive_rendezvous(&rendezvous, Point(point)));
    }

    #[test]
    fn a_rendezvous_moves_nothing_between_survivors(
        weights in proptest::collection::vec(1_u32..9, 2..20),
    ) {
        let mut servers = Rendezvous::new();
        for (id, weight) in (0_u16..).zip(&weights) {
            servers.add(Server::new(id).weight(*weight)).unwrap();
        }
        let before = owners(&servers);
        servers.reweight(&0, 9).unwrap();
        let heavy = owners(&servers);
        prop_assert!(before.iter().zip(&heavy).all(|(from, to)| from == to || *to == 0));
        servers.remove(&1);
        let after = owners(&servers);
        prop_assert!(heavy.iter().zip(&after).all(|(from, to)| from == to || *from == 1));
        servers.add(Server::new(1).weight(weights[1])).unwrap();
        prop_assert_eq!(owners(&servers), heavy, "the order of changes does not count");
    }

    #[test]
    fn memento_moves_only_the_keys_of_who_leaves_or_comes(
        count in 2_u32..30,
        changes in proptest::collection::vec(any::<proptest::sample::Index>(), 1..25),
    ) {
        let mut nodes = Memento::new(0..count);
        let mut next = count;
        for change in changes {
            let before = owners(&nodes);
            let present: Vec<u32> = nodes.nodes().copied().collect();
            if change.index(3) > 0 && present.len() > 1 {
                let leaving = *change.get(&present);
                prop_assert_eq!(nodes.remove(&leaving), Some(leaving));
                let after = owners(&nodes);
                let moved = before.iter().zip(&after).filter(|(from, to)| from != to);
                prop_assert!(moved.into_iter().all(|(from, _)| *from == leaving));
                prop_assert!(!after.contains(&leaving));
            } else {
                prop_assert!(nodes.add(next));
                prop_assert!(!nodes.add(next), "it is there");
                let after = owners(&nodes);
                let moved = before.iter().zip(&after).filter(|(from, to)| from != to);
                prop_assert!(moved.into_iter().all(|(_, to)| *to == next));
                next += 1;
            }
            let share = 1.0 / nodes.len() as f64;
            prop_assert!(deviation(&owners(&nodes), |_| share, nodes.len()) < DEVIATIONS_MAX);
        }
    }

    #[test]
    fn bounded_loads_never_exceed_the_capacity_and_count_right(
        weights in proptest::collection::vec(0_u32..4, 1..12),
        slack in 0_u32..60,
        requests in proptest::collection::vec((0_u64..5, any::<bool>()), 0..120),
    ) {
        let mut ring = Ring::with_tokens(tablestore_ring::Xxh3, 4);
        let servers = (0_u16..).zip(&weights);
        ring.extend(servers.map(|(id, weight)| Server::new(id).weight(*weight))).unwrap();
        let mut bounded = BoundedLoads::new(ring, slack);
        let mut placed: Vec<u16> = Vec::new();
        for (key, comes) in requests {
            if comes {
                let id = bounded.assign(Point(key << 60)).copied();
                prop_assert_eq!(id.is_some(), weights.iter().any(|weight| *weight > 0));
                if let Some(id) = id {
                    placed.push(id);
                    prop_assert!(bounded.load(&id) <= bounded.capacity(&id));
                }
            } else if let Some(id) = placed.pop() {
                prop_assert!(bounded.release(&id));
            }
            for id in bounded.ring().servers().map(|server| server.id) {
                let count = placed.iter().filter(|other| **other == id).count();
                prop_assert_eq!(bounded.load(&id), count as u64);
            }
        }
        let ((), gone) = bounded.change(|ring| { ring.remove(&0); });
        let lost = placed.iter().filter(|id| **id == 0).count() as u64;
        prop_assert_eq!(gone, if lost > 0 { vec![(0, lost)] } else { vec![] });
        prop_assert!(!bounded.release(&0));
    }
}

#[test]
fn bounded_loads_with_room_are_the_owners() {
    let mut ring = Ring::new();
    ring.extend((0_u16..8).map(Server::new)).unwrap();
    let mut bounded = BoundedLoads::new(ring.clone(), 10_000);
    for point in points().take(200) {
        assert_eq!(bounded.assign(point), ring.owner(point));
    }
}
