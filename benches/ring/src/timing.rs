//! Interleaved timing: every contender once per round, so that a busy machine slows all alike.
//!
//! Knows nothing about what is timed.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// So few that a round is mostly over before the machine turns to something else.
const KEYS_A_ROUND: usize = 4096;

/// A name, how many operations one call performs, and the call.
pub struct Contender<'a> {
    pub name: String,
    pub operations: usize,
    pub run: Box<dyn FnMut() -> Duration + 'a>,
}

impl fmt::Debug for Contender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contender")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<'a> Contender<'a> {
    /// Times `lookup` over [`KEYS_A_ROUND`] of `keys`, one independent call after the other. All
    /// keys come first, untimed: the caches hold what the last contender used.
    pub fn lookups<K, T>(
        name: impl Into<String>,
        keys: &'a [K],
        mut lookup: impl FnMut(&K) -> T + 'a,
    ) -> Self {
        let mut chunks = keys.chunks_exact(KEYS_A_ROUND.min(keys.len())).cycle();
        let run = move || {
            for key in keys {
                black_box(lookup(key));
            }
            let chunk = chunks.next().unwrap_or_default();
            let begun = Instant::now();
            for key in chunk {
                black_box(lookup(key));
            }
            begun.elapsed()
        };
        Self {
            name: name.into(),
            operations: KEYS_A_ROUND.min(keys.len()),
            run: Box::new(run),
        }
    }

    /// Times one `change` of what `prepare` makes, the preparation and the drop left out.
    pub fn change<S, T>(
        name: impl Into<String>,
        mut prepare: impl FnMut() -> S + 'a,
        mut change: impl FnMut(&mut S) -> T + 'a,
    ) -> Self {
        let run = move || {
            let mut state = prepare();
            let begun = Instant::now();
            black_box(change(&mut state));
            begun.elapsed()
        };
        Self {
            name: name.into(),
            operations: 1,
            run: Box::new(run),
        }
    }
}

/// What a contender took: the median over the rounds, in nanoseconds per operation.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub name: String,
    pub nanoseconds: f64,
}

/// Runs all contenders `rounds` times, in turn; the first round only warms up.
pub fn race(mut contenders: Vec<Contender<'_>>, rounds: usize) -> Vec<Outcome> {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
    for round in 0..=rounds {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let time = (contender.run)().as_secs_f64() * 1e9 / contender.operations as f64;
            if round > 0 {
                times.push(time);
            }
        }
    }
    let outcome = |(contender, mut times): (Contender<'_>, Vec<f64>)| {
        times.sort_by(f64::total_cmp);
        Outcome {
            name: contender.name,
            nanoseconds: times[times.len() / 2],
        }
    };
    contenders.into_iter().zip(times).map(outcome).collect()
}

/// Prints a table: each outcome, and how many times as long as the first it took.
pub fn print(title: &str, outcomes: &[Outcome]) {
    println!("\n{title}");
    let first = outcomes.first().map_or(1.0, |first| first.nanoseconds);
    for outcome in outcomes {
        let (amount, unit) = match outcome.nanoseconds {
            ns if ns < 1e4 => (ns, "ns"),
            ns if ns < 1e7 => (ns / 1e3, "µs"),
            ns => (ns / 1e6, "ms"),
        };
        let ratio = outcome.nanoseconds / first;
        println!(
            "  {:<44} {amount:>10.1} {unit}  {ratio:>9.2}x",
            outcome.name
        );
    }
}
