//! How active replicas and partitions on shared storage stand, as metrics. Knows nothing of who
//! asks.

use std::time::Duration;

use tablestore_dataplane::Standing;
use tablestore_owned::StorageFigures;
use tokio::sync::oneshot;

use super::event::{DataEvent, EventSender};
use crate::metrics::Metrics;

/// Whoever reads metrics does not wait longer for a data thread that is busy: it gets what was
/// there before.
const WITHIN: Duration = Duration::from_millis(200);

/// A name, what it means, and what it shows.
type Shown = (&'static str, &'static str, fn(&Standing) -> u64);

const SHOWN: [Shown; 11] = [
    (
        "tablestore_active_requests_waiting",
        "Requests for active tables that wait for enough replicas.",
        |standing| standing.active_waiting as u64,
    ),
    (
        "tablestore_active_replicas",
        "Active replicas here that take part.",
        |standing| standing.active_open as u64,
    ),
    (
        "tablestore_active_replicas_rebuilding",
        "Active replicas here that get their rows anew and answer no reads.",
        |standing| standing.active_rebuilding as u64,
    ),
    (
        "tablestore_active_replicas_stopped",
        "Active replicas here that have stopped after a fault.",
        |standing| standing.active_stopped as u64,
    ),
    (
        "tablestore_active_hints",
        "Writes that other replicas missed and that this node keeps for them.",
        |standing| standing.hints.kept as u64,
    ),
    (
        "tablestore_active_hints_bytes",
        "Bytes of the writes that this node keeps for other replicas.",
        |standing| standing.hints.bytes as u64,
    ),
    (
        "tablestore_active_hints_dropped",
        "Writes that were not kept for others since this start, as the budget was spent.",
        |standing| standing.hints.dropped,
    ),
    (
        "tablestore_active_hints_replayed",
        "Writes kept for others that they have taken since this start.",
        |standing| standing.hints.replayed,
    ),
    (
        "tablestore_owned_partitions",
        "Partitions on shared storage that this node serves.",
        |standing| standing.owned_open as u64,
    ),
    (
        "tablestore_owned_partitions_opening",
        "Partitions on shared storage that this node owns and has not opened yet.",
        |standing| standing.owned_opening as u64,
    ),
    (
        "tablestore_owned_partitions_resting",
        "Partitions on shared storage that this node owns and opens again after a pause.",
        |standing| standing.owned_resting as u64,
    ),
];

/// Asks the data thread how they stand, and shows it.
pub(crate) async fn measure(data: &EventSender, wall_ms: u64, metrics: &Metrics) {
    let (asker, answer) = oneshot::channel();
    let asked = async {
        data.send(DataEvent::Standing(asker)).await;
        answer.await
    };
    if let Ok(Ok(standing)) = tokio::time::timeout(WITHIN, asked).await {
        show(&standing, wall_ms, metrics);
    }
}

fn show(standing: &Standing, wall_ms: u64, metrics: &Metrics) {
    for (name, help, of) in SHOWN {
        metrics.show(name, help, of(standing));
    }
    // Without active replicas there is nothing that could be old.
    let floor_ms = standing.active_floor_ms.unwrap_or(wall_ms);
    metrics.show(
        "tablestore_active_unproven_seconds",
        "How long ago all rows of the active replica here that lags most were proved equal.",
        wall_ms.saturating_sub(floor_ms) / 1_000,
    );
}

/// Shows what was asked of the shared storage, and what waits for it.
pub(crate) fn show_storage(now: &StorageFigures, metrics: &Metrics) {
    for (kind, requests, failures) in now.asked {
        let labels = [("kind", kind)];
        let name = "tablestore_shared_storage_requests_total";
        let help = "Requests to the shared storage, by kind; repetitions within one request to a \
                    bucket are not seen.";
        metrics.counter(name, help, &labels).raise(requests);
        let name = "tablestore_shared_storage_failures_total";
        let help = "Requests to the shared storage that failed, by kind; that an object is not \
                    there, or there already, is no failure.";
        metrics.counter(name, help, &labels).raise(failures);
    }
    let took_ms = u64::try_from(now.groups_took.as_millis()).unwrap_or(u64::MAX);
    let counters = [
        (
            "tablestore_owned_groups_total",
            "Groups of writes that became durable on the shared storage.",
            now.groups,
        ),
        (
            "tablestore_owned_groups_milliseconds_total",
            "Time in which these groups became durable, altogether.",
            took_ms,
        ),
        (
            "tablestore_owned_writes_held_up_total",
            "How often a group of writes waited as its partition had too many bytes in no table.",
            now.held_up,
        ),
    ];
    for (name, help, value) in counters {
        metrics.counter(name, help, &[]).raise(value);
    }
    let gauges = [
        (
            "tablestore_shared_storage_requests_under_way",
            "Requests to the shared storage that have no answer yet.",
            now.under_way,
        ),
        (
            "tablestore_owned_unflushed_bytes",
            "Bytes of open partitions in no table, of each as before its last group of writes.",
            now.unflushed_bytes,
        ),
        (
            "tablestore_owned_unflushed_budget_bytes",
            "Bytes of open partitions in no table with which writes are held up, all together.",
            now.unflushed_bytes_max,
        ),
    ];
    for (name, help, value) in gauges {
        metrics.show(name, help, value);
    }
}
