//! The figures for people and for programs: medians of the windows, and their ratios.
//!
//! Knows nothing about how they came about.

use serde_json::{Value, json};

use crate::figures::{median, range};
use crate::idle::Idle;
use crate::load::Sample;
use crate::plan::Plan;
use crate::wire::Operation;

/// An idle node should cost no more: percent of a core, resident MiB.
const IDLE_CPU_MAX: f64 = 2.0;
const IDLE_RESIDENT_MAX: f64 = 80.0;

/// The windows of both systems for one figure.
#[derive(Debug)]
pub(crate) struct Comparison {
    operation: Operation,
    connections: usize,
    pub(crate) ours: Vec<Sample>,
    pub(crate) etcd: Vec<Sample>,
}

impl Comparison {
    pub(crate) fn new(operation: Operation, connections: usize) -> Self {
        Self {
            operation,
            connections,
            ours: Vec::new(),
            etcd: Vec::new(),
        }
    }

    /// The ratio to etcd that is aimed at, where there is such an aim.
    fn goal(&self) -> Option<f64> {
        match (self.operation, self.connections) {
            (Operation::Write, 1) => Some(1.0),
            (Operation::Write, 64 | 256) => Some(2.5),
            (Operation::Read, 64 | 256) => Some(4.0),
            _ => None,
        }
    }

    fn ratio(&self) -> Option<f64> {
        let etcd = per_second(&self.etcd);
        (etcd > 0.0).then(|| per_second(&self.ours) / etcd)
    }

    fn line(&self) -> String {
        let ratio = self
            .ratio()
            .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let goal = self
            .goal()
            .map_or_else(|| "-".to_owned(), |goal| format!("{goal:.1}"));
        format!(
            "{:<12}{:>12}  {:<26}{:<26}{:>6}{:>6}",
            self.operation.name(),
            self.connections,
            shown(&self.ours),
            shown(&self.etcd),
            ratio,
            goal,
        )
    }

    fn json(&self) -> Value {
        json!({
            "operation": self.operation.name(),
            "connections": self.connections,
            "ours": samples(&self.ours),
            "etcd": samples(&self.etcd),
            "ratio": self.ratio(),
            "goal": self.goal(),
        })
    }
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) versions: Vec<String>,
    pub(crate) plan: Plan,
    pub(crate) idle: Vec<Idle>,
    pub(crate) comparisons: Vec<Comparison>,
}

impl Report {
    pub(crate) fn text(&self) -> String {
        let Plan {
            windows, window, ..
        } = self.plan;
        let mut text = format!(
            "{}\n{}\nmedians of {windows} windows of {} s each, in turn; all on this machine\n\n\
             {:<12}{:>12}  {:<26}{:<26}{:>6}{:>6}\n",
            self.machine,
            self.versions.join(", "),
            window.as_secs(),
            "",
            "connections",
            "ours/s (p50, p99 ms)",
            "etcd/s (p50, p99 ms)",
            "ratio",
            "goal",
        );
        for comparison in &self.comparisons {
            text.push_str(&comparison.line());
            text.push('\n');
        }
        text.push_str(&format!(
            "\nour nodes idle: {}\n\
             (goal: < {IDLE_CPU_MAX} % of a core, < {IDLE_RESIDENT_MAX} MiB)",
            self.idle
                .iter()
                .map(|idle| format!("{:.1} %, {:.0} MiB", idle.cpu, idle.resident))
                .collect::<Vec<_>>()
                .join("; "),
        ));
        text
    }

    pub(crate) fn json(&self) -> Value {
        let idle = |one: &Idle| json!({"cpu_percent": one.cpu, "resident_mib": one.resident});
        json!({
            "machine": self.machine,
            "versions": self.versions,
            "idle": self.idle.iter().map(idle).collect::<Vec<_>>(),
            "results": self.comparisons.iter().map(Comparison::json).collect::<Vec<_>>(),
        })
    }
}

fn per_second(samples: &[Sample]) -> f64 {
    median(samples.iter().map(|sample| sample.per_second))
}

/// Median latencies in milliseconds.
fn latencies(samples: &[Sample]) -> (f64, f64) {
    let ms = |of: fn(&Sample) -> u32| median(samples.iter().map(|s| f64::from(of(s)) / 1000.0));
    (ms(|sample| sample.p50), ms(|sample| sample.p99))
}

fn shown(samples: &[Sample]) -> String {
    if samples.is_empty() {
        return "-".to_owned();
    }
    let (p50, p99) = latencies(samples);
    format!("{:.0} ({p50:.2}, {p99:.1})", per_second(samples))
}

fn samples(samples: &[Sample]) -> Value {
    if samples.is_empty() {
        return Value::Null;
    }
    let (low, high) = range(samples.iter().map(|sample| sample.per_second));
    let (p50, p99) = latencies(samples);
    json!({
        "per_second": per_second(samples),
        "lowest": low,
        "highest": high,
        "p50_ms": p50,
        "p99_ms": p99,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(per_second: f64) -> Sample {
        Sample {
            per_second,
            p50: 1500,
            p99: 9000,
        }
    }

    #[test]
    fn a_ratio_is_of_medians_and_none_without_the_other_system() {
        let mut one = Comparison::new(Operation::Write, 64);
        one.ours = vec![sample(300.0), sample(900.0), sample(100.0)];
        assert_eq!(one.ratio(), None);
        one.etcd = vec![sample(100.0)];
        assert_eq!(one.ratio(), Some(3.0));
        assert_eq!(
            one.line(),
            "write                 64  300 (1.50, 9.0)           100 (1.50, 9.0)           \
             \u{20} 3.00   2.5"
        );
    }
}
