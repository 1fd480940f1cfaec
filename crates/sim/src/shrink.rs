//! Makes a run that broke a rule smaller while it still breaks the same rule. Knows nothing of what
//! is simulated.

use crate::smaller::{Kept, Smaller};
use crate::{Options, Report, run};

/// Nodes, clients and keys that are tried, from the fewest.
const FEWEST: [usize; 5] = [1, 2, 3, 4, 5];
/// Parts of what a run says that tell one way of breaking a rule from another: the rule, when it
/// was looked at, what was seen.
const PARTS: usize = 3;
/// One millisecond.
const MS: u64 = 1_000;

/// A run that breaks the same rule with less. `None` if the run breaks none.
#[must_use]
pub fn shrink(seed: u64, options: Options) -> Option<(Options, Report)> {
    let options = Options {
        trace: true,
        ..options
    };
    let mut report = run(seed, options);
    let rule = rule_of(&report)?;
    let mut best = options;
    end_just_after(&rule, &mut best, &mut report);
    delete_faults(&rule, &mut best, &mut report);
    end_just_after(&rule, &mut best, &mut report);
    for few in FEWEST {
        let clients = Some(few);
        if few > 1 && best.smaller.clients.is_none() {
            let smaller = Smaller {
                clients,
                ..best.smaller
            };
            attempt(&rule, smaller, &mut best, &mut report);
        }
        let keys = Some(few as u64);
        if best.smaller.keys.is_none() {
            let smaller = Smaller {
                keys,
                ..best.smaller
            };
            attempt(&rule, smaller, &mut best, &mut report);
        }
    }
    for few in FEWEST {
        let nodes = Some(few);
        if few > 1 && best.smaller.nodes.is_none() {
            let smaller = Smaller {
                nodes,
                ..best.smaller
            };
            attempt(&rule, smaller, &mut best, &mut report);
        }
    }
    let smaller = Smaller {
        has_usual_limits: true,
        ..best.smaller
    };
    attempt(&rule, smaller, &mut best, &mut report);
    delete_faults(&rule, &mut best, &mut report);
    end_just_after(&rule, &mut best, &mut report);
    Some((best, report))
}

/// The rule that a run broke and in what way, without the numbers in it.
fn rule_of(report: &Report) -> Option<String> {
    let violation = report.violation.as_deref()?;
    let parts: Vec<&str> = violation.splitn(PARTS + 1, ':').take(PARTS).collect();
    let mut rule = parts.join(":");
    rule.retain(|one| !one.is_ascii_digit());
    Some(rule)
}

/// Keeps what is smaller if the same rule is still broken.
fn attempt(rule: &str, smaller: Smaller, best: &mut Options, report: &mut Report) -> bool {
    let options = Options { smaller, ..*best };
    let tried = run(report.seed, options);
    let same = rule_of(&tried).as_deref() == Some(rule);
    if same {
        (*best, *report) = (options, tried);
    }
    same
}

/// No fault begins after the rule was broken; if it was broken after healing, the last fault that
/// happened ends the faults.
fn end_just_after(rule: &str, best: &mut Options, report: &mut Report) {
    let broken_us = report.totals.simulated_us;
    let before = best.smaller.until_us.unwrap_or(u64::MAX);
    for end_us in [last_fault_us(report), broken_us] {
        let until_us = (end_us / MS + 1) * MS;
        if until_us < before {
            let until_us = Some(until_us);
            let smaller = Smaller {
                until_us,
                ..best.smaller
            };
            if attempt(rule, smaller, best, report) {
                return;
            }
        }
    }
}

fn last_fault_us(report: &Report) -> u64 {
    let mut faults = report.trace.iter().rev();
    let last = faults.find(|line| line.fault().is_some());
    last.map_or(0, |line| line.at_us)
}

/// Deletes faults, the last one first; those that did not happen all at once.
fn delete_faults(rule: &str, best: &mut Options, report: &mut Report) {
    let happened: Vec<usize> = report
        .trace
        .iter()
        .filter_map(|line| line.fault())
        .collect();
    let kept = happened
        .iter()
        .fold(Kept::NONE, |kept, one| kept.with(*one));
    let with = |best: &Options, faults: Kept| Smaller {
        faults: Some(faults),
        ..best.smaller
    };
    let smaller = with(best, kept);
    if !attempt(rule, smaller, best, report) {
        return;
    }
    for number in happened.into_iter().rev() {
        let kept = best.smaller.faults.unwrap_or(Kept::ALL);
        let smaller = with(best, kept.without(number));
        attempt(rule, smaller, best, report);
    }
}
