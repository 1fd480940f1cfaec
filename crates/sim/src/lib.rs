//! A seeded simulation of whole nodes: the planes and controllers of servers, the real cluster map,
//! journals and raft logs on simulated disks, a network that cuts, clients, operators and faults;
//! and a judge that holds what clients were told against the log that replicas applied.
//!
//! One seed is one run: the same seed gives the same events in the same order. Only sockets, disks,
//! clocks and the agreement between raft logs are replaced. Knows no real time, sockets or files.

#[allow(
    dead_code,
    unused_imports,
    reason = "its contract is wider than what the world asks of it"
)]
mod agreement;
mod canary;
#[allow(
    dead_code,
    unused_imports,
    reason = "what it can judge is more than clients do"
)]
mod check;
mod cluster;
mod cover;
mod excerpt;
mod mutant;
mod rng;
mod shrink;
mod smaller;

use std::collections::BTreeMap;
use std::ops::Range;

use self::cluster::MARK_EVERY;

pub use crate::canary::{FINDS_MIN, Fared, fare};
pub use crate::cluster::OwnerMutant;
pub use crate::cover::missed;
pub use crate::excerpt::{Line, excerpt};
pub use crate::mutant::Mutant;
pub use crate::shrink::shrink;
pub use crate::smaller::{Kept, Smaller};

/// One seed in so many is run twice, if that is asked for.
const TWICE_EVERY: u64 = 100;

/// How to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The deliberate bug to run with.
    pub mutant: Option<Mutant>,
    /// What is left out.
    pub smaller: Smaller,
    /// Run each hundredth seed twice and compare.
    pub twice: bool,
    /// Rows are in the trees of a server instead of in memory: slower.
    pub trees: bool,
    /// Keep a line for everything that happens.
    pub trace: bool,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The run.
    pub seed: u64,
    /// The first rule that was broken, in words.
    pub violation: Option<String>,
    /// A hash over all events: equal for equal runs.
    pub trace_hash: u64,
    /// That hash after each 1 024 events.
    pub marks: Vec<u64>,
    /// How much happened.
    pub totals: Totals,
    /// The lines, if they were kept.
    pub trace: Vec<Line>,
}

/// Counts of one run or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Runs.
    pub runs: u64,
    /// Events.
    pub events: u64,
    /// Offices that began to serve.
    pub offices: u64,
    /// Acknowledged writes.
    pub writes: u64,
    /// Answered strong reads.
    pub reads: u64,
    /// Simulated time in microseconds; of one run: when it ended.
    pub simulated_us: u64,
    /// The longest time from healing until all was well.
    pub well_after_us_max: u64,
    /// How often the rarer ways through the protocol were taken.
    pub ways: BTreeMap<&'static str, u64>,
    /// In how many runs each was taken.
    pub runs_with: BTreeMap<&'static str, u64>,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.events += other.events;
        self.offices += other.offices;
        self.writes += other.writes;
        self.reads += other.reads;
        self.simulated_us += other.simulated_us;
        self.well_after_us_max = self.well_after_us_max.max(other.well_after_us_max);
        for (way, count) in &other.ways {
            *self.ways.entry(way).or_default() += count;
        }
        for (way, runs) in &other.runs_with {
            *self.runs_with.entry(way).or_default() += runs;
        }
    }
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, options: Options) -> Report {
    let outcome = cluster::run(seed, options);
    Report {
        seed,
        violation: outcome.violation,
        trace_hash: outcome.trace_hash,
        marks: outcome.marks,
        totals: Totals {
            runs: 1,
            events: outcome.events,
            offices: outcome.offices,
            writes: outcome.writes,
            reads: outcome.reads,
            simulated_us: outcome.simulated_us,
            well_after_us_max: outcome.well_after_us,
            runs_with: outcome.ways.keys().map(|way| (*way, 1)).collect(),
            ways: outcome.ways,
        },
        trace: outcome.trace,
    }
}

/// Where two runs of one seed part; they must not.
fn difference(one: &Report, other: &Report) -> Option<String> {
    if one.trace_hash == other.trace_hash {
        return None;
    }
    let mut pairs = one.marks.iter().zip(&other.marks);
    let same = pairs.position(|(one, other)| one != other);
    let same = same.unwrap_or_else(|| one.marks.len().min(other.marks.len())) as u64;
    let (from, to) = (same * MARK_EVERY, (same + 1) * MARK_EVERY);
    Some(format!(
        "Determinism: two runs of the seed part after event {from}, before event {to}"
    ))
}

/// What many runs came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The runs that broke a rule, by seed, without traces.
    pub failed: Vec<Report>,
    /// Counts of all runs.
    pub totals: Totals,
}

/// Runs all seeds of a range on some threads; stops early after `failures_max` failures.
#[must_use]
pub fn run_many(seeds: Range<u64>, options: Options, threads: u64, failures_max: usize) -> Summary {
    let threads = threads.max(1);
    let parts: Vec<Summary> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let seeds = seeds.clone();
                scope.spawn(move || {
                    let own = seeds.filter(|seed| seed % threads == thread);
                    run_part(own, options, failures_max)
                })
            })
            .collect();
        workers
            .into_iter()
            .filter_map(|worker| worker.join().ok())
            .collect()
    });
    let mut summary = Summary::default();
    for part in parts {
        summary.failed.extend(part.failed);
        summary.totals.add(&part.totals);
    }
    summary.failed.sort_by_key(|report| report.seed);
    summary
}

fn run_part(seeds: impl Iterator<Item = u64>, options: Options, failures_max: usize) -> Summary {
    let mut summary = Summary::default();
    for seed in seeds {
        let mut report = run(seed, options);
        if options.twice && seed.is_multiple_of(TWICE_EVERY) && report.violation.is_none() {
            report.violation = difference(&report, &run(seed, options));
        }
        summary.totals.add(&report.totals);
        if report.violation.is_some() {
            summary.failed.push(report);
            if summary.failed.len() >= failures_max {
                break;
            }
        }
    }
    summary
}
