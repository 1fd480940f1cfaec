//! Rings changed in place against rings built anew, and the exact difference of two.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should stop"
)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tablestore_ring::{Locate, Point, PointHash, Ring, Server, Xxh3};

/// A hash of few points, all in one corner of the circle, so that tokens collide.
#[derive(Clone, Copy, Debug)]
struct Narrow;

impl PointHash for Narrow {
    fn point(&self, bytes: &[u8]) -> Point {
        Point(Xxh3.point(bytes).0 % 37)
    }
}

#[derive(Clone, Debug)]
enum Change {
    Add(Server<u16>),
    Remove(u16),
    Reweight(u16, u32),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let zone = prop_oneof![Just(""), Just("x"), Just("y"), Just("z")];
    let add = (0_u16..40, 0_u32..4, zone)
        .prop_map(|(id, weight, zone)| Change::Add(Server::new(id).weight(weight).zone(zone)));
    let remove = (0_u16..40).prop_map(Change::Remove);
    let reweight = (0_u16..40, 0_u32..6).prop_map(|(id, weight)| Change::Reweight(id, weight));
    proptest::collection::vec(prop_oneof![3 => add, 1 => remove, 2 => reweight], 0..60)
}

/// Makes the changes, refused ones included, on the ring and on a map of its servers.
fn changed<H: PointHash>(
    ring: &mut Ring<u16, H>,
    changes: &[Change],
) -> BTreeMap<u16, Server<u16>> {
    let mut servers = BTreeMap::new();
    for change in changes {
        match change.clone() {
            Change::Add(server) => {
                let fresh = !servers.contains_key(&server.id);
                assert_eq!(ring.add(server.clone()).is_ok(), fresh);
                servers.entry(server.id).or_insert(server);
            }
            Change::Remove(id) => assert_eq!(ring.remove(&id), servers.remove(&id)),
            Change::Reweight(id, weight) => {
                let known = servers.get_mut(&id);
                assert_eq!(ring.reweight(&id, weight).is_ok(), known.is_some());
                if let Some(server) = known {
                    server.weight = weight;
                }
            }
        }
    }
    servers
}

fn tokens<H: PointHash>(ring: &Ring<u16, H>) -> Vec<(Point, u16)> {
    ring.tokens().map(|(point, id)| (point, *id)).collect()
}

/// Tokens by definition of the scheme: hashed, sorted, none lost.
fn naive_tokens<H: PointHash>(
    hash: &H,
    servers: &BTreeMap<u16, Server<u16>>,
    per_weight: u32,
) -> Vec<(Point, u16)> {
    let of = |server: &Server<u16>| {
        let id = server.id;
        (0..server.weight * per_weight)
            .map(move |index| (tablestore_ring::token_point(hash, &id, index), id))
            .collect::<Vec<_>>()
    };
    let mut all: Vec<_> = servers.values().flat_map(of).collect();
    all.sort_unstable();
    all
}

fn compare<H: PointHash + Copy>(hash: H, changes: &[Change], per_weight: u32) {
    let mut ring = Ring::with_tokens(hash, per_weight);
    let servers = changed(&mut ring, changes);
    let mut straight = Ring::with_tokens(hash, per_weight);
    straight.extend(servers.values().cloned()).unwrap();
    let expected = naive_tokens(&hash, &servers, per_weight);
    assert_eq!(tokens(&ring), expected);
    assert_eq!(tokens(&straight), expected);
    assert!(ring.servers().eq(servers.values()));
    let points = expected.iter().step_by(expected.len() / 50 + 1);
    for (point, _) in points {
        for point in [point.0.wrapping_sub(1), point.0, point.0.wrapping_add(1)].map(Point) {
            let at = expected.partition_point(|token| token.0 < point);
            let owner = expected
                .get(at)
                .or_else(|| expected.first())
                .map(|token| token.1);
            assert_eq!(ring.owner(point).copied(), owner);
            let mut out = [None; 45];
            ring.locate(point, &mut out);
            let located: Vec<_> = out.into_iter().flatten().collect();
            assert_eq!(ring.preference(point, 45), located, "both ways agree");
            assert_eq!(straight.preference(point, 45), located);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 48,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_changed_ring_is_the_ring_built_anew(changes in changes()) {
        compare(Xxh3, &changes, 3);
    }

    #[test]
    fn a_changed_ring_of_many_segments_is_the_ring_built_anew(changes in changes()) {
        compare(Xxh3, &changes, 200);
    }

    #[test]
    fn no_colliding_token_is_lost_in_any_order_of_changes(changes in changes()) {
        compare(Narrow, &changes, 7);
    }

    #[test]
    fn the_difference_of_two_rings_is_exact(before in changes(), after in changes()) {
        let (mut from, mut to) = (Ring::with_tokens(Xxh3, 5), Ring::with_tokens(Xxh3, 5));
        changed(&mut from, &before);
        changed(&mut to, &after);
        let arcs: Vec<_> = from.diff(&to).collect();
        let mut cuts: BTreeSet<Point> = arcs.iter().flat_map(|arc| [arc.first, arc.last]).collect();
        cuts.extend(from.tokens().chain(to.tokens()).map(|(point, _)| point));
        cuts.extend([Point::MIN, Point::MAX]);
        for point in cuts {
            for point in [point, Point(point.0.saturating_add(1))] {
                let arc = arcs.iter().find(|arc| arc.first <= point && point <= arc.last);
                let (from, to) = (from.owner(point), to.owner(point));
                let expected = (from != to).then_some((from, to));
                prop_assert_eq!(arc.map(|arc| (arc.from, arc.to)), expected);
            }
        }
        for pair in arcs.windows(2) {
            prop_assert!(pair[0].last < pair[1].first, "ordered and apart");
            let touch = pair[0].last.0 + 1 == pair[1].first.0;
            let equal = (pair[0].from, pair[0].to) == (pair[1].from, pair[1].to);
            prop_assert!(!(touch && equal), "neighbours of one kind are one arc");
        }
        prop_assert_eq!(from.diff(&from).count(), 0);
    }
}

#[test]
fn nothing_moves_between_survivors() {
    let mut before: Ring<u64> = Ring::new();
    before.extend((0..300).map(Server::new)).unwrap();
    let mut after = before.clone();
    after.add(Server::new(1000)).unwrap();
    after.reweight(&7, 2).unwrap();
    let gains = [Some(&1000), Some(&7)];
    assert!(before.diff(&after).all(|arc| gains.contains(&arc.to)));
    after.remove(&1000);
    after.reweight(&7, 1).unwrap();
    assert_eq!(before.diff(&after).count(), 0, "the way back is exact");
    after.reweight(&7, 0).unwrap();
    assert!(before.diff(&after).all(|arc| arc.from == Some(&7)));
}

#[test]
fn the_difference_to_an_empty_ring_is_the_whole_circle() {
    let empty: Ring<u16> = Ring::new();
    let mut one = empty.clone();
    one.add(Server::new(3)).unwrap();
    let arcs: Vec<_> = empty.diff(&one).collect();
    assert_eq!(arcs.len(), 1);
    assert_eq!((arcs[0].first, arcs[0].last), (Point::MIN, Point::MAX));
    assert_eq!((arcs[0].from, arcs[0].to), (None, Some(&3)));
    assert_eq!(empty.diff(&empty).count(), 0);
}

#[test]
fn more_tokens_than_a_ring_may_hold_are_refused() {
    let mut ring = Ring::with_tokens(Xxh3, u32::MAX);
    assert!(ring.add(Server::new(1_u16)).is_err());
    ring.add(Server::new(1).weight(0)).unwrap();
    assert!(ring.reweight(&1, 1).is_err());
    assert_eq!(ring.server(&1), Some(&Server::new(1).weight(0)));
    assert!(ring.owner(Point(5)).is_none());
}
