//! The ring against a naive oracle, and what may move when it changes.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should stop"
)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tablestore_ring::{
    AddError, Locate, Point, PointHash, ReweightError, Ring, Server, WEIGHT_MAX,
};

/// A hash of very few points, so that tokens collide.
#[derive(Clone, Copy, Debug)]
struct Narrow;

impl PointHash for Narrow {
    fn point(&self, bytes: &[u8]) -> Point {
        let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
        Point((sum % 8) << 60)
    }
}

fn ring_of<H: PointHash>(hash: H, servers: &[Server<u16>], per_weight: u32) -> Ring<u16, H> {
    let mut ring = Ring::with_tokens(hash, per_weight);
    ring.extend(servers.iter().cloned()).unwrap();
    ring
}

/// The answer by definition: sort everything, walk it, never mind the cost.
fn naive<H: PointHash>(ring: &Ring<u16, H>, point: Point) -> Vec<u16> {
    let mut tokens: Vec<_> = ring.tokens().map(|(point, id)| (point, *id)).collect();
    tokens.sort();
    let (after, before): (Vec<_>, Vec<_>) = tokens.into_iter().partition(|t| t.0 >= point);
    let mut order: Vec<u16> = Vec::new();
    for (_, id) in after.into_iter().chain(before) {
        if !order.contains(&id) {
            order.push(id);
        }
    }
    let mut depth: BTreeMap<String, usize> = BTreeMap::new();
    let mut ranked: Vec<(usize, usize, u16)> = Vec::new();
    for (place, id) in order.into_iter().enumerate() {
        let zone = ring
            .server(&id)
            .unwrap()
            .zone
            .clone()
            .unwrap_or_else(|| format!("\0{id}"));
        let depth = depth.entry(zone).or_default();
        ranked.push((*depth, place, id));
        *depth += 1;
    }
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, _, id)| id).collect()
}

fn servers() -> impl Strategy<Value = Vec<Server<u16>>> {
    let server = (
        0_u16..500,
        0_u32..4,
        prop_oneof![Just(""), Just("x"), Just("y"), Just("z")],
    );
    proptest::collection::vec(server, 0..9).prop_map(|all| {
        let by_id: BTreeMap<_, _> = all.into_iter().map(|(id, w, z)| (id, (w, z))).collect();
        by_id
            .into_iter()
            .map(|(id, (w, z))| Server::new(id).weight(w).zone(z))
            .collect()
    })
}

/// Share of the circle, in points, that changes hands from one ring to another, by who loses
/// and who gains it.
fn moved(before: &Ring<u16>, after: &Ring<u16>) -> BTreeMap<(u16, u16), u128> {
    let mut cuts: BTreeSet<Point> = BTreeSet::new();
    cuts.extend(
        before
            .stretches()
            .chain(after.stretches())
            .map(|stretch| stretch.last),
    );
    let mut moved = BTreeMap::new();
    let mut first = 0_u128;
    for last in cuts {
        let (from, to) = (*before.owner(last).unwrap(), *after.owner(last).unwrap());
        if from != to {
            *moved.entry((from, to)).or_default() += u128::from(last.0) + 1 - first;
        }
        first = u128::from(last.0) + 1;
    }
    assert_eq!(first, 1 << 64, "the circle is covered");
    moved
}

fn edge_points<H: PointHash>(ring: &Ring<u16, H>) -> Vec<Point> {
    let around = |p: Point| [p.0.wrapping_sub(1), p.0, p.0.wrapping_add(1)].map(Point);
    ring.tokens()
        .flat_map(|(point, _)| around(point))
        .chain([Point::MIN, Point::MAX])
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn locate_agrees_with_the_naive_walk(servers in servers(), points: [u64; 8]) {
        let ring = ring_of(tablestore_ring::Xxh3, &servers, 3);
        for point in edge_points(&ring).into_iter().chain(points.map(Point)) {
            let found: Vec<_> = ring.preference(point, 12).into_iter().copied().collect();
            prop_assert_eq!(found, naive(&ring, point));
        }
    }

    #[test]
    fn locate_agrees_with_the_naive_walk_when_tokens_collide(servers in servers()) {
        let ring = ring_of(Narrow, &servers, 5);
        for point in edge_points(&ring) {
            let found: Vec<_> = ring.preference(point, 12).into_iter().copied().collect();
            prop_assert_eq!(found, naive(&ring, point));
        }
    }

    #[test]
    fn a_ring_does_not_depend_on_the_order_of_its_changes(servers in servers(), extra: u16) {
        let straight = ring_of(tablestore_ring::Xxh3, &servers, 4);
        let mut roundabout = Ring::with_tokens(tablestore_ring::Xxh3, 4);
        let extra = extra.max(500);
        roundabout.add(Server::new(extra)).unwrap();
        for server in servers.iter().rev() {
            roundabout.add(server.clone().weight(1)).unwrap();
            roundabout.reweight(&server.id, server.weight).unwrap();
        }
        roundabout.remove(&extra).unwrap();
        let tokens = |ring: &Ring<u16>| ring.tokens().map(|(p, n)| (p, *n)).collect::<Vec<_>>();
        prop_assert_eq!(tokens(&straight), tokens(&roundabout));
        for point in edge_points(&straight) {
            prop_assert_eq!(straight.preference(point, 9), roundabout.preference(point, 9));
        }
    }
}

#[test]
fn a_point_at_below_and_above_a_token_follows_one_rule() {
    let ring = ring_of(tablestore_ring::Xxh3, &[Server::new(1), Server::new(2)], 2);
    let tokens: Vec<_> = ring.tokens().map(|(point, id)| (point.0, *id)).collect();
    for (index, (point, id)) in tokens.iter().enumerate() {
        let next = tokens[(index + 1) % tokens.len()].1;
        assert_eq!(ring.owner(Point(point - 1)), Some(id), "below");
        assert_eq!(ring.owner(Point(*point)), Some(id), "at");
        assert_eq!(ring.owner(Point(point + 1)), Some(&next), "above");
    }
    assert_eq!(ring.owner(Point::MIN), Some(&tokens[0].1));
    assert_eq!(
        ring.owner(Point::MAX),
        Some(&tokens[0].1),
        "the ring closes"
    );
}

#[test]
fn colliding_tokens_are_both_kept_and_settled_by_id() {
    let mut ring = ring_of(Narrow, &[Server::new(9), Server::new(1)], 8);
    assert_eq!(ring.tokens().len(), 16);
    assert!(
        edge_points(&ring)
            .into_iter()
            .all(|point| ring.owner(point) == Some(&1))
    );
    ring.remove(&1);
    assert!(
        edge_points(&ring)
            .into_iter()
            .all(|point| ring.owner(point) == Some(&9))
    );
}

#[test]
fn adding_a_server_moves_keys_only_to_it_and_removing_it_moves_them_back() {
    let before = ring_of(
        tablestore_ring::Xxh3,
        &(0..20).map(Server::new).collect::<Vec<_>>(),
        128,
    );
    let mut after = before.clone();
    after.add(Server::new(20)).unwrap();
    let to_it = moved(&before, &after);
    assert!(to_it.keys().all(|(_, to)| *to == 20));
    let share = to_it.values().sum::<u128>() as f64 / 2_f64.powi(64);
    assert!((0.03..0.07).contains(&share), "{share} is far from a 21st");
    assert!(moved(&after, &before).keys().all(|(from, _)| *from == 20));
    after.remove(&20).unwrap();
    assert!(moved(&before, &after).is_empty());
}

#[test]
fn reweighting_moves_keys_only_to_or_from_that_server() {
    let before = ring_of(
        tablestore_ring::Xxh3,
        &(0..9).map(Server::new).collect::<Vec<_>>(),
        64,
    );
    let mut heavy = before.clone();
    heavy.reweight(&4, 3).unwrap();
    assert!(!moved(&before, &heavy).is_empty());
    assert!(moved(&before, &heavy).keys().all(|(_, to)| *to == 4));
    let mut drained = heavy.clone();
    drained.reweight(&4, 0).unwrap();
    assert!(moved(&heavy, &drained).keys().all(|(from, _)| *from == 4));
    assert_eq!(drained.len(), 9, "a drained server stays a member");
}

#[test]
fn a_failed_owner_is_followed_by_the_next_in_preference() {
    let servers: Vec<_> = (0..12)
        .map(|id| Server::new(id).zone(format!("z{}", id % 4)))
        .collect();
    let ring = ring_of(tablestore_ring::Xxh3, &servers, 16);
    for point in edge_points(&ring) {
        let order: Vec<_> = ring.preference(point, 2).into_iter().copied().collect();
        let mut without = ring.clone();
        without.remove(&order[0]);
        // In ring order the next may be of the failed one's own zone, then it comes earlier.
        let next = *without.owner(point).unwrap();
        assert!(next == order[1] || next % 4 == order[0] % 4);
    }
}

#[test]
fn replicas_are_in_distinct_zones_when_there_are_enough_and_spread_evenly_otherwise() {
    let zoned = |zones: u16| {
        let all: Vec<_> = (0..12)
            .map(|n| Server::new(n).zone(format!("z{}", n % zones)))
            .collect();
        ring_of(tablestore_ring::Xxh3, &all, 32)
    };
    let most_in_one = |zones: u16, replicas: usize| {
        let ring = zoned(zones);
        let count = |point| {
            let mut of_zone = BTreeMap::new();
            for id in ring.preference(point, replicas) {
                *of_zone.entry(id % zones).or_insert(0) += 1;
            }
            assert_eq!(of_zone.values().sum::<usize>(), replicas);
            of_zone.into_values().max().unwrap()
        };
        edge_points(&ring).into_iter().map(count).max().unwrap()
    };
    assert_eq!(most_in_one(3, 3), 1);
    assert_eq!(most_in_one(4, 3), 1);
    assert_eq!(most_in_one(2, 3), 2);
    assert_eq!(most_in_one(2, 4), 2);
    assert_eq!(most_in_one(1, 3), 3);
}

#[test]
fn share_follows_weight() {
    let servers = [
        Server::new(1),
        Server::new(2).weight(2),
        Server::new(3).weight(5),
    ];
    let ring = ring_of(tablestore_ring::Xxh3, &servers, 512);
    let mut share = BTreeMap::new();
    for stretch in ring.stretches() {
        *share.entry(*stretch.owner).or_insert(0.0) +=
            (stretch.last.0 - stretch.first.0) as f64 / 2_f64.powi(64);
    }
    for (id, weight) in [(1, 1.0), (2, 2.0), (3, 5.0)] {
        let ideal = weight / 8.0;
        assert!(
            (share[&id] / ideal - 1.0).abs() < 0.15,
            "{id}: {} of {ideal}",
            share[&id]
        );
    }
}

#[test]
fn an_empty_or_drained_ring_has_no_owner() {
    let mut ring: Ring<u16> = Ring::new();
    assert!(ring.is_empty() && ring.owner(Point(7)).is_none() && ring.stretches().next().is_none());
    ring.add(Server::new(1).weight(0)).unwrap();
    assert!(!ring.is_empty() && ring.owner(Point(7)).is_none());
    let mut out = [Some(&0); 2];
    assert_eq!(ring.locate(Point(7), &mut out), 0);
    assert_eq!(out, [None; 2], "stale entries do not stay");
}

#[test]
fn a_refused_change_leaves_the_ring_as_it_was() {
    let mut ring = ring_of(tablestore_ring::Xxh3, &[Server::new(1)], 4);
    let before: Vec<_> = ring.servers().cloned().collect();
    assert_eq!(
        ring.extend([Server::new(2), Server::new(1)]),
        Err(AddError::AlreadyMember)
    );
    let weight = WEIGHT_MAX + 1;
    assert_eq!(
        ring.add(Server::new(3).weight(weight)),
        Err(AddError::WeightTooLarge { weight })
    );
    assert_eq!(
        ring.reweight(&1, weight),
        Err(ReweightError::WeightTooLarge { weight })
    );
    assert_eq!(ring.reweight(&5, 1), Err(ReweightError::NotMember));
    assert_eq!(ring.remove(&5), None);
    assert_eq!(ring.servers().cloned().collect::<Vec<_>>(), before);
}
