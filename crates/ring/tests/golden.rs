//! The ring against vectors that another program computed (`testdata/recompute.py`).

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should stop"
)]

use std::collections::{BTreeMap, BTreeSet};

use tablestore_ring::{Locate, Point, PointHash, Ring, Server, Sha1, Xxh3};

const GOLDEN: &str = include_str!("../testdata/golden-v1.txt");

fn point(text: &str) -> Point {
    Point(u64::from_str_radix(text, 16).unwrap())
}

fn bytes(hex: &str) -> Vec<u8> {
    let hex = hex.trim_start_matches('-');
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn ring<H: PointHash>(hash: H, name: &str, per_weight: &str) -> Ring<String, H> {
    let mut ring = Ring::with_tokens(hash, per_weight.parse().unwrap());
    for line in GOLDEN.lines() {
        if let ["server", ring_name, id, weight, zone] = *line.split(' ').collect::<Vec<_>>()
            && ring_name == name
        {
            let server = Server::new(id.to_owned()).weight(weight.parse().unwrap());
            ring.add(server.zone(zone.trim_start_matches('-'))).unwrap();
        }
    }
    ring
}

/// Checks every line of `name` and answers how many there were of each kind.
fn check<H: PointHash + Copy>(hash: H, name: &str) -> BTreeMap<&'static str, usize> {
    let mut rings = BTreeMap::new();
    let mut tokens_of: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let mut seen = BTreeMap::new();
    for line in GOLDEN.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        if fields[1] != name {
            continue;
        }
        match *fields {
            ["key", _, key, expected] => {
                assert_eq!(hash.point(&bytes(key)), point(expected), "{line}");
            }
            [kind, _, ring_name, per_weight, at, expected] => {
                let key = (ring_name, per_weight);
                let ring = rings
                    .entry(key)
                    .or_insert_with(|| ring(hash, ring_name, per_weight));
                if kind == "token" {
                    let tokens = tokens_of.entry(key).or_insert_with(|| {
                        ring.tokens()
                            .map(|(point, id)| (point, id.clone()))
                            .collect()
                    });
                    assert!(tokens.contains(&(point(at), expected.to_owned())), "{line}");
                } else {
                    let found: Vec<_> = ring
                        .preference(point(at), 10)
                        .into_iter()
                        .cloned()
                        .collect();
                    assert_eq!(found.join(","), expected, "{line}");
                }
            }
            _ => panic!("not understood: {line}"),
        }
        *seen.entry(fields[0]).or_default() += 1;
    }
    seen
}

#[test]
fn xxh3_ring_agrees_with_the_golden_vectors() {
    let seen = check(Xxh3, "xxh3");
    assert_eq!(
        seen,
        BTreeMap::from([("key", 6), ("locate", 120), ("token", 72)])
    );
}

#[test]
fn sha1_ring_agrees_with_the_golden_vectors() {
    let seen = check(Sha1, "sha1");
    assert_eq!(
        seen,
        BTreeMap::from([("key", 6), ("locate", 120), ("token", 72)])
    );
}

#[test]
fn published_vectors_of_both_hashes_hold() {
    // FIPS 180 gives the digest of "abc"; the XXH3 specification that of the empty input.
    assert_eq!(Sha1.point(b"abc"), Point(0xa999_3e36_4706_816a));
    assert_eq!(Xxh3.point(b""), Point(0x2d06_8005_38d3_94c2));
}
