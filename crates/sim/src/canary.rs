//! Runs every deliberate fault and says how well the simulation finds it: by which rule, how often,
//! and after how many runs. Knows nothing of what a fault does.

use std::fmt;
use std::ops::Range;

use crate::{Mutant, Options, run_many};

/// So many finds are asked of the runs: a fault that is found this often is missed by as many runs
/// once in a thousand times.
pub const FINDS_MIN: usize = 7;
/// Seeds that are looked at together, until there are enough finds.
const STRIDE: u64 = 100;

/// How a fault fared.
#[derive(Clone, Debug)]
pub struct Fared {
    /// The fault.
    pub mutant: Mutant,
    /// Runs that broke a rule of the fault.
    pub finds: Vec<u64>,
    /// Runs that broke another rule.
    pub others: Vec<(u64, String)>,
    /// Runs.
    pub runs: u64,
}

impl Fared {
    /// Whether it was found often enough.
    #[must_use]
    pub fn is_found(&self) -> bool {
        self.finds.len() >= FINDS_MIN
    }

    /// Half of the finds need no more runs than this between two of them.
    #[must_use]
    pub fn median_distance(&self) -> Option<u64> {
        let before = std::iter::once(0).chain(self.finds.iter().map(|seed| seed + 1));
        let distances = self.finds.iter().zip(before);
        let mut distances: Vec<u64> = distances.map(|(seed, last)| seed + 1 - last).collect();
        distances.sort_unstable();
        distances.get(distances.len() / 2).copied()
    }
}

impl fmt::Display for Fared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let median = self.median_distance().map(|runs| format!("each {runs}"));
        write!(
            f,
            "{:<26} {:>3} finds in {:>5} runs, half of them {:<10} by {}",
            self.mutant.to_string(),
            self.finds.len(),
            self.runs,
            median.unwrap_or_else(|| "never".to_owned()),
            self.mutant.rules().join(", "),
        )?;
        for (seed, rule) in &self.others {
            write!(f, "\n  seed {seed} is found by {rule}")?;
        }
        if !self.is_found() {
            write!(f, "\n  too few finds: {FINDS_MIN} are wanted")?;
        }
        Ok(())
    }
}

/// Runs a fault over these seeds until it was found often enough. What breaks a rule without the
/// fault as well is no find.
#[must_use]
pub fn fare(mutant: Mutant, seeds: Range<u64>, threads: u64) -> Fared {
    let mut fared = Fared {
        mutant,
        finds: Vec::new(),
        others: Vec::new(),
        runs: 0,
    };
    let mut from = seeds.start;
    while from < seeds.end && !fared.is_found() {
        let until = seeds.end.min(from + STRIDE);
        let options = Options {
            mutant: Some(mutant),
            ..Options::default()
        };
        let summary = run_many(from..until, options, threads, FINDS_MIN);
        fared.runs += summary.totals.runs;
        for report in summary.failed {
            let violation = report.violation.unwrap_or_default();
            let rule = violation.split(':').next().unwrap_or_default();
            if mutant.rules().contains(&rule) {
                fared.finds.push(report.seed);
            } else if crate::run(report.seed, Options::default())
                .violation
                .is_none()
            {
                fared.others.push((report.seed, rule.to_owned()));
            }
        }
        from = until;
    }
    fared
}
