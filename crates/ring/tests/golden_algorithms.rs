//! The algorithms beside the ring against vectors that another program computed
//! (`testdata/recompute.py` with `testdata/algorithms.py`).

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should stop"
)]

use std::collections::BTreeMap;

use tablestore_ring::{
    JumpBack, Locate, Memento, Point, PointHash, Rendezvous, Server, Sha1, Xxh3, jump_back,
};

const GOLDEN: &str = include_str!("../testdata/golden-algorithms-v1.txt");
/// Describes the servers of each ring.
const RING: &str = include_str!("../testdata/golden-v1.txt");

fn show<T: ToString>(nodes: impl IntoIterator<Item = T>) -> String {
    let nodes: Vec<_> = nodes.into_iter().map(|node| node.to_string()).collect();
    if nodes.is_empty() {
        "-".to_owned()
    } else {
        nodes.join(",")
    }
}

fn memento(count: &str, removals: &str) -> Memento<u32> {
    let mut memento = Memento::new(0..count.parse().unwrap());
    for bucket in removals.split(',').filter(|bucket| *bucket != "-") {
        memento.remove(&bucket.parse().unwrap()).unwrap();
    }
    memento
}

fn rendezvous<H: PointHash>(hash: H, ring: &str, point: Point) -> String {
    let mut servers = Rendezvous::with_hash(hash);
    for line in RING.lines() {
        if let ["server", name, id, weight, zone] = *line.split(' ').collect::<Vec<_>>()
            && name == ring
        {
            let server = Server::new(id.to_owned()).weight(weight.parse().unwrap());
            servers
                .add(server.zone(zone.trim_start_matches('-')))
                .unwrap();
        }
    }
    show(servers.preference(point, 10))
}

#[test]
fn the_algorithms_agree_with_the_golden_vectors() {
    let mut seen = BTreeMap::new();
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let [kind, first, second, point, expected] = *line.split(' ').collect::<Vec<_>>() else {
            panic!("not understood: {line}");
        };
        let point = Point(u64::from_str_radix(point, 16).unwrap());
        let found = match kind {
            "jump_back" => jump_back(point, first.parse().unwrap()).to_string(),
            "jump_back_locate" => {
                let nodes: JumpBack<u32> = JumpBack::new(0..first.parse().unwrap());
                show(nodes.preference(point, 4))
            }
            "memento" => show(memento(first, second).preference(point, 3)),
            "rendezvous" if first == "sha1" => rendezvous(Sha1, second, point),
            "rendezvous" => rendezvous(Xxh3, second, point),
            _ => panic!("not understood: {line}"),
        };
        assert_eq!(found, expected, "{line}");
        *seen.entry(kind).or_insert(0) += 1;
    }
    let expected = [
        ("jump_back", 352),
        ("jump_back_locate", 48),
        ("memento", 160),
        ("rendezvous", 192),
    ];
    assert_eq!(seen, BTreeMap::from(expected));
}
