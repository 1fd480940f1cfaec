//! How long layouts take to plan, check and try, and how many moves a change needs.
//!
//! The times are those of a shared machine: the least of some rounds is shown. Every plan is
//! checked, and its moves are compared with the bound that its certificate proves.

mod cases;

use std::hint::black_box;
use std::time::{Duration, Instant};

use cases::{CHANGES, cluster};
use tablestore_placement::layout::{Placement, Topology, check, plan, weakest_points, what_if};

const REPLICAS: usize = 3;
const ROUNDS: usize = 9;
const SIZES: [(usize, u64, u32, u32); 7] = [
    (256, 10, 3, 1),
    (4_096, 100, 3, 1),
    (4_096, 100, 5, 4),
    (16_384, 100, 5, 4),
    (16_384, 1_000, 5, 4),
    (16_384, 1_000, 10, 1),
    (16_384, 1_000, 1_000, 1),
];

fn least<T>(mut run: impl FnMut() -> T) -> (Duration, T) {
    let mut best = Duration::MAX;
    loop {
        for _ in 1..ROUNDS {
            let begun = Instant::now();
            black_box(run());
            best = best.min(begun.elapsed());
        }
        let begun = Instant::now();
        let made = run();
        return (best.min(begun.elapsed()), made);
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn main() {
    for (partitions, nodes, zones, weights) in SIZES {
        let cluster = cluster(nodes, zones, weights);
        let topology = Topology::new(cluster.clone()).expect("ids are distinct");
        let empty = Placement::empty(partitions).expect("few partitions");
        println!("P={partitions} N={nodes} Z={zones} w=1..{weights}");
        let first = report("first plan", &topology, &empty);
        for change in CHANGES {
            let mut nodes = cluster.clone();
            change.apply(&mut nodes);
            let topology = Topology::new(nodes).expect("ids are distinct");
            report(change.name(), &topology, &first);
        }
    }
    failures();
}

/// What if, and all single nodes, zones and pairs of a cluster of 64.
fn failures() {
    let (partitions, nodes) = (16_384, 64);
    let topology = Topology::new(cluster(nodes, 4, 4)).expect("ids are distinct");
    let empty = Placement::empty(partitions).expect("few partitions");
    println!("P={partitions} N={nodes} Z=4 w=1..4");
    let layout = report("first plan", &topology, &empty);
    let (time, after) = least(|| what_if(&topology, &layout, &[3, 17], 2));
    println!(
        "  {:<20} {:>9.3} ms  weakened {}  unavailable {}",
        "what if two fail",
        milliseconds(time),
        after.weakened.len(),
        after.unavailable.len(),
    );
    let (time, worst) = least(|| weakest_points(&topology, &layout, 2, 3));
    println!("  {:<20} {:>9.3} ms", "weakest points", milliseconds(time));
    for point in worst {
        println!("    {point:?}");
    }
}

fn report(name: &str, topology: &Topology, current: &Placement) -> Placement {
    let (time, plan) = least(|| plan(topology, current, REPLICAS).expect("somebody takes"));
    let begun = Instant::now();
    let proof = check(topology, current, REPLICAS, &plan).expect("the plan is sound");
    println!(
        "  {name:<20} {:>9.3} ms  copies {:>6}  bound {:>6}  checked in {:.1} ms",
        milliseconds(time),
        proof.copies,
        proof.bound,
        milliseconds(begun.elapsed()),
    );
    plan.target
}
