//! Many seeds of crashes, cuts, pauses and every wrong: the book and the cluster's own checks
//! must have nothing to say, and in the end all agree.

use std::collections::BTreeMap;

use tablestore_placement::StorageId;

use super::contract::Subject;
use super::{Cluster, has_mark, mark, suspect};
use crate::agreement::{Outcome, Proposal, Settings, Wrongs};
use crate::rng::Chance;

/// Without optimisation a run takes ten times as long.
const SEEDS: u64 = if cfg!(debug_assertions) { 500 } else { 2_000 };
/// A disturbance and two proposals each.
const STEPS: u64 = 12;

fn settings(chance: &mut Chance) -> Settings {
    let per_mille = [0, 5, 50][chance.below(3) as usize];
    Settings {
        snapshot_every: chance.between(2, 40),
        kept: chance.below(10),
        batch: chance.between(1, 8) as usize,
        delay_us: (100, chance.between(1_000, 20_000)),
        propose_within_us: 2_000_000,
        wrongs: Wrongs {
            sync_fails: per_mille / 10,
            ..Wrongs::all(per_mille)
        },
        ..Settings::default()
    }
}

fn disturb(cluster: &mut Cluster, chance: &mut Chance) {
    let nodes = cluster.nodes() as u64;
    let slot = chance.below(nodes) as usize;
    let other = chance.below(nodes) as usize;
    for failed in cluster.failed.clone() {
        cluster.crash(failed);
    }
    match chance.below(8) {
        0 | 1 => {
            cluster.crash(slot);
            let by = other;
            cluster
                .agreement
                .crash_hint(cluster.now, by, StorageId(slot as u64 + 1));
        }
        2 => {
            cluster.cut(slot, other);
            cluster.cut(other, slot);
        }
        3 => cluster.cut(slot, other),
        4 => cluster.heal(),
        5 => cluster
            .agreement
            .paused(slot, cluster.now + chance.below(600_000)),
        6 => cluster
            .agreement
            .hand_over(cluster.now, slot, StorageId(other as u64 + 1)),
        _ => {
            for slot in 0..cluster.nodes() {
                if !cluster.up.contains(&slot) {
                    cluster.start(slot);
                }
            }
        }
    }
}

/// Names the seed of a run that fails.
struct Named(u64);

impl Drop for Named {
    #[expect(clippy::print_stderr, reason = "to be found again")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}", self.0);
        }
    }
}

fn run(seed: u64) -> Cluster {
    let _named = Named(seed);
    let mut chance = Chance::new(seed);
    let nodes = [3, 4, 5][chance.below(3) as usize];
    let settings = settings(&mut chance);
    let mut cluster = Cluster::ready(seed, nodes, settings);
    let mut tickets = BTreeMap::new();
    let mut reads = Vec::new();
    for number in 0..STEPS {
        disturb(&mut cluster, &mut chance);
        for from in [
            chance.below(nodes as u64) as usize,
            chance.below(nodes as u64) as usize,
        ] {
            if !cluster.up.contains(&from) {
                continue;
            }
            let decide = Box::new(|map: &_| suspect(map, StorageId(2)));
            match cluster.leads.get(&from).copied() {
                Some(term) if chance.happens(500) => {
                    cluster.propose(from, Proposal::Decision { term, decide });
                }
                _ => {
                    let ticket = cluster.propose(from, Proposal::Command(mark(number)));
                    tickets.insert(ticket, number);
                }
            }
            reads.push(cluster.read(from));
        }
        cluster.run(chance.between(1_000, 120_000));
    }
    cluster.settle();
    check(&cluster, seed, &tickets);
    cluster
}

fn check(cluster: &Cluster, seed: u64, tickets: &BTreeMap<u64, u64>) {
    let map = cluster.map(0);
    for slot in 0..cluster.nodes() {
        assert_eq!(
            cluster.map(slot).version,
            map.version,
            "seed {seed}, node {slot}"
        );
    }
    for (ticket, number) in tickets {
        if let Some(Outcome::Applied(_)) = cluster.outcome(*ticket) {
            assert!(
                has_mark(&map, *number),
                "seed {seed}: {number} was applied and is gone"
            );
        }
    }
}

#[test]
fn nothing_is_lost_in_any_of_many_runs() {
    let threads = 2;
    let parts: Vec<BTreeMap<&str, u64>> = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                scope.spawn(move || {
                    let mut ways = BTreeMap::new();
                    for seed in (0..SEEDS).filter(|seed| seed % threads == part) {
                        for (way, count) in run(seed).ways {
                            *ways.entry(way).or_default() += count;
                        }
                    }
                    ways
                })
            })
            .collect();
        parts.into_iter().map(|part| part.join().unwrap()).collect()
    });
    let mut ways: BTreeMap<&str, u64> = BTreeMap::new();
    for (way, count) in parts.into_iter().flatten() {
        *ways.entry(way).or_default() += count;
    }
    for way in [
        "a command was put in twice",
        "a deposed leader was told late",
        "a node applied in a burst",
        "a node jumped by a snapshot",
        "a node stood that could not win",
        "a read of the map hung",
        "a read of the map was answered late",
        "a stale decision was made anew",
        "a stale leader took a proposal",
        "a sync of the raft log failed",
        "an answer was lost",
        "entries were overwritten",
        "nobody stood for election",
        "unknown, and never committed",
        "unknown, then committed",
    ] {
        assert!(ways.contains_key(way), "never: {way}; {ways:?}");
    }
}

#[test]
fn a_seed_is_one_run() {
    let (one, other) = (run(11), run(11));
    assert_eq!(one.ways, other.ways);
    assert_eq!(one.outcomes, other.outcomes);
    assert!(one.history.keys().eq(other.history.keys()));
}
