//! A small registry of metrics in Prometheus' text form: counters, gauges, histograms, and
//! values read when somebody asks.
//!
//! Knows nothing of what is measured. Whoever measures asks the registry for a handle once and
//! then touches only an atomic. Names begin with `tablestore_`, but for those that every process
//! shows under the same name.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Label combinations one metric may have; further ones are counted by nobody, so that a label
/// taken from outside cannot fill the memory.
pub const SERIES_MAX: usize = 1_000;

/// Upper bounds of a histogram's buckets in seconds: from a local read to the longest deadline.
pub const BUCKETS: [f64; 16] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 10.0,
];

/// The bounds of [`BUCKETS`] in nanoseconds, for comparison without floating point.
const BUCKETS_NS: [u64; BUCKETS.len()] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
];

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// `count` more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// At least this, as somebody else counts it.
    pub fn raise(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// One more.
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Exactly this.
    pub fn assign(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number with decimals, such as a time in seconds.
#[derive(Debug, Default)]
pub struct Decimal(AtomicU64);

impl Decimal {
    /// Exactly this.
    pub fn assign(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// How long things took, counted in [`BUCKETS`].
#[derive(Debug, Default)]
pub struct Histogram {
    /// One more than there are bounds: the last is everything above.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    sum_ns: AtomicU64,
}

impl Histogram {
    /// Counts one observation.
    pub fn observe(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_NS.partition_point(|bound| *bound < ns);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Observations so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .sum()
    }

    fn render(&self, name: &str, labels: &str, out: &mut String) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut total = 0;
        let bounds = BUCKETS
            .iter()
            .map(f64::to_string)
            .chain(["+Inf".to_owned()]);
        for (bucket, bound) in self.buckets.iter().zip(bounds) {
            total += bucket.load(Ordering::Relaxed);
            let _ = writeln!(
                out,
                "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}"
            );
        }
        let sum = Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)).as_secs_f64();
        let braced = braced(labels);
        let _ = writeln!(out, "{name}_sum{braced} {sum}");
        let _ = writeln!(out, "{name}_count{braced} {total}");
    }
}

enum Series {
    Counter(Arc<Counter>),
    Gauge(Arc<Gauge>),
    Decimal(Arc<Decimal>),
    Histogram(Arc<Histogram>),
}

struct Family {
    help: &'static str,
    kind: &'static str,
    /// By the rendered labels.
    series: BTreeMap<String, Series>,
}

/// All metrics of a node.
#[derive(Default)]
pub struct Metrics {
    families: Mutex<BTreeMap<&'static str, Family>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.families().keys()).finish()
    }
}

impl Metrics {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The counter of this name and these labels; made when it is first asked for. A name that
    /// is already of another kind gives a handle that is not shown.
    pub fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
    ) -> Arc<Counter> {
        let fresh = || Series::Counter(Arc::default());
        self.series(
            (name, help, "counter"),
            labels,
            fresh,
            |series| match series {
                Series::Counter(counter) => Some(Arc::clone(counter)),
                _ => None,
            },
        )
    }

    /// Shows a value, as a gauge without labels; one that is too large as the largest there is.
    pub(crate) fn show(&self, name: &'static str, help: &'static str, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.gauge(name, help, &[]).assign(value);
    }

    /// The gauge of this name and these labels, as [`counter`](Self::counter).
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
    ) -> Arc<Gauge> {
        let fresh = || Series::Gauge(Arc::default());
        self.series(
            (name, help, "gauge"),
            labels,
            fresh,
            |series| match series {
                Series::Gauge(gauge) => Some(Arc::clone(gauge)),
                _ => None,
            },
        )
    }

    /// The gauge with decimals of this name and these labels, as [`counter`](Self::counter).
    pub fn decimal(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
    ) -> Arc<Decimal> {
        self.decimal_of((name, help, "gauge"), labels)
    }

    /// The counter with decimals of this name and these labels, as [`counter`](Self::counter).
    /// That it only grows is up to whoever assigns it.
    pub fn decimal_total(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
    ) -> Arc<Decimal> {
        self.decimal_of((name, help, "counter"), labels)
    }

    fn decimal_of(
        &self,
        declared: (&'static str, &'static str, &'static str),
        labels: &[(&str, &str)],
    ) -> Arc<Decimal> {
        let fresh = || Series::Decimal(Arc::default());
        self.series(declared, labels, fresh, |series| match series {
            Series::Decimal(decimal) => Some(Arc::clone(decimal)),
            _ => None,
        })
    }

    /// The histogram of this name and these labels, as [`counter`](Self::counter).
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
    ) -> Arc<Histogram> {
        let fresh = || Series::Histogram(Arc::default());
        self.series(
            (name, help, "histogram"),
            labels,
            fresh,
            |series| match series {
                Series::Histogram(histogram) => Some(Arc::clone(histogram)),
                _ => None,
            },
        )
    }

    /// Everything in Prometheus' text form, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(16 * 1024);
        for (name, family) in self.families().iter() {
            let _ = writeln!(out, "# HELP {name} {}", family.help);
            let _ = writeln!(out, "# TYPE {name} {}", family.kind);
            for (labels, series) in &family.series {
                let braced = braced(labels);
                let _ = match series {
                    Series::Counter(counter) => writeln!(out, "{name}{braced} {}", counter.value()),
                    Series::Gauge(gauge) => writeln!(out, "{name}{braced} {}", gauge.value()),
                    Series::Decimal(decimal) => writeln!(out, "{name}{braced} {}", decimal.value()),
                    Series::Histogram(histogram) => {
                        histogram.render(name, labels, &mut out);
                        Ok(())
                    }
                };
            }
        }
        out
    }

    fn families(&self) -> MutexGuard<'_, BTreeMap<&'static str, Family>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn series<T: Default>(
        &self,
        declared: (&'static str, &'static str, &'static str),
        labels: &[(&str, &str)],
        fresh: impl FnOnce() -> Series,
        handle: impl FnOnce(&Series) -> Option<Arc<T>>,
    ) -> Arc<T> {
        let mut families = self.families();
        let family = family(&mut families, declared);
        let labels = rendered(labels);
        if family.kind != declared.2
            || (family.series.len() >= SERIES_MAX && !family.series.contains_key(&labels))
        {
            return Arc::default();
        }
        handle(family.series.entry(labels).or_insert_with(fresh)).unwrap_or_default()
    }
}

fn family<'a>(
    families: &'a mut BTreeMap<&'static str, Family>,
    (name, help, kind): (&'static str, &'static str, &'static str),
) -> &'a mut Family {
    families.entry(name).or_insert_with(|| Family {
        help,
        kind,
        series: BTreeMap::new(),
    })
}

fn braced(labels: &str) -> String {
    if labels.is_empty() {
        String::new()
    } else {
        format!("{{{labels}}}")
    }
}

fn rendered(labels: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in labels {
        if !out.is_empty() {
            out.push(',');
        }
        let _ = write!(out, "{name}=\"");
        for character in value.chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                other => out.push(other),
            }
        }
        out.push('"');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_rendered_as_prometheus_reads_them() {
        let metrics = Metrics::new();
        metrics
            .counter("tablestore_b_total", "Of b.", &[("to", "a\"b\\c\nd")])
            .add(3);
        metrics
            .counter("tablestore_b_total", "Of b.", &[("to", "a\"b\\c\nd")])
            .increment();
        metrics.gauge("tablestore_a", "Of a.", &[]).assign(-2);
        let seconds = metrics.decimal_total("process_c_seconds_total", "Of c.", &[]);
        seconds.assign(1.25);
        assert_eq!(
            metrics.render(),
            "# HELP process_c_seconds_total Of c.\n# TYPE process_c_seconds_total counter\n\
             process_c_seconds_total 1.25\n\
             # HELP tablestore_a Of a.\n# TYPE tablestore_a gauge\ntablestore_a -2\n\
             # HELP tablestore_b_total Of b.\n# TYPE tablestore_b_total counter\n\
             tablestore_b_total{to=\"a\\\"b\\\\c\\nd\"} 4\n"
        );
    }

    #[test]
    fn a_histogram_counts_each_observation_in_its_bucket_and_all_above() {
        let metrics = Metrics::new();
        let histogram = metrics.histogram("tablestore_seconds", "Time.", &[("op", "get")]);
        for us in [50, 51, 900, 20_000_000] {
            histogram.observe(Duration::from_micros(us));
        }
        assert_eq!(histogram.count(), 4);
        let text = metrics.render();
        for line in [
            "tablestore_seconds_bucket{op=\"get\",le=\"0.00005\"} 1",
            "tablestore_seconds_bucket{op=\"get\",le=\"0.0001\"} 2",
            "tablestore_seconds_bucket{op=\"get\",le=\"0.001\"} 3",
            "tablestore_seconds_bucket{op=\"get\",le=\"10\"} 3",
            "tablestore_seconds_bucket{op=\"get\",le=\"+Inf\"} 4",
            "tablestore_seconds_sum{op=\"get\"} 20.001001",
            "tablestore_seconds_count{op=\"get\"} 4",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn the_bounds_in_nanoseconds_are_those_in_seconds() {
        for (seconds, ns) in BUCKETS.iter().zip(BUCKETS_NS) {
            assert_eq!((seconds * 1e9).round() as u64, ns);
        }
    }

    #[test]
    fn labels_from_outside_cannot_fill_the_memory() {
        let metrics = Metrics::new();
        for number in 0..SERIES_MAX + 10 {
            metrics
                .counter("tablestore_x_total", "X.", &[("n", &number.to_string())])
                .increment();
        }
        assert_eq!(metrics.render().lines().count(), SERIES_MAX + 2);
    }
}
