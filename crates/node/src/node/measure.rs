//! What is measured of this node, and of the cluster as it sees it, only when somebody asks for
//! metrics.
//!
//! Knows nothing of how metrics are shown, and nothing that must be true rests on them.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tablestore_placement::health::{self, Summary};
use tablestore_placement::{ClusterMap, MemberState, Office};

use super::{Node, wall_ms};
use crate::data;
use crate::http::Backend as _;
use crate::metrics::Metrics;
use crate::process;

/// The words for the states of members, as elsewhere.
const STATES: [(MemberState, &str); 5] = [
    (MemberState::Up, "up"),
    (MemberState::Suspect, "suspect"),
    (MemberState::Down, "down"),
    (MemberState::Draining, "draining"),
    (MemberState::Left, "left"),
];

/// A name, what it means, and what it shows.
type Shown<T> = (&'static str, &'static str, fn(&T) -> u64);

const OF_NODE: [Shown<Node>; 12] = [
    (
        "tablestore_ready",
        "1 if this node can serve, as /readyz says.",
        |node| u64::from(node.ready().is_ok()),
    ),
    (
        "tablestore_incarnation",
        "Number of this start of the node; rises by one at every start.",
        |node| node.shared.me.incarnation.0,
    ),
    (
        "tablestore_controller",
        "1 on the node that is the controller.",
        |node| {
            let is_controller = node.standing().controller == Some(node.me());
            u64::from(is_controller)
        },
    ),
    (
        "tablestore_controller_known",
        "1 if this node knows a controller.",
        |node| u64::from(node.standing().controller.is_some()),
    ),
    (
        "tablestore_raft_term",
        "The term of raft that this node knows; rises with every election.",
        |node| node.shared.consensus.watch_leadership().borrow().term,
    ),
    (
        "tablestore_raft_commit_index",
        "Up to which index of its log this node knows the cluster map to be agreed on.",
        |node| node.shared.consensus.commit_index().unwrap_or(0),
    ),
    (
        "tablestore_voters",
        "Members that vote on the cluster map.",
        |node| node.shared.consensus.voters().len() as u64,
    ),
    (
        "tablestore_voters_reachable",
        "Voters that answer this node, itself included if it is one.",
        |node| {
            let reached = node.shared.consensus.reached();
            (reached.voters.len() - reached.missing.len()) as u64
        },
    ),
    (
        "tablestore_disk_full",
        "1 if so little is free on the disk that this node takes no new rows.",
        |node| u64::from(node.shared.progress.room.is_full()),
    ),
    (
        "tablestore_journal_failed",
        "1 if the journal could not be written: this node refuses everything.",
        |node| u64::from(node.shared.progress.failed()),
    ),
    (
        "tablestore_data_queue_events",
        "Events that wait for the data thread.",
        |node| node.shared.data.waiting() as u64,
    ),
    (
        "tablestore_data_queue_events_max",
        "How many may wait; when there are so many, requests are refused.",
        |node| node.shared.data.waiting_max() as u64,
    ),
];

/// What a map says, counted.
struct Counts {
    summary: Summary,
    tables: usize,
    replicas: usize,
    offices: usize,
    members: [usize; STATES.len()],
}

const OF_MAP: [Shown<Counts>; 8] = [
    ("tablestore_tables", "Tables of the cluster.", |counts| {
        counts.tables as u64
    }),
    (
        "tablestore_partitions",
        "Partitions of all tables of the cluster.",
        |counts| counts.summary.partitions.into(),
    ),
    (
        "tablestore_partitions_without_primary",
        "Partitions that nobody serves: without a live primary, owner or majority of replicas.",
        |counts| counts.summary.without_primary.into(),
    ),
    (
        "tablestore_partitions_below_min_in_sync",
        "Partitions with a primary that take no writes: fewer members are in sync than one needs.",
        |counts| counts.summary.below_min_in_sync.into(),
    ),
    (
        "tablestore_partitions_under_replicated",
        "Partitions with fewer live members in sync than there should be replicas.",
        |counts| counts.summary.under_replicated.into(),
    ),
    (
        "tablestore_replicas_catching_up",
        "Replicas on live members that are not in sync, in the whole cluster.",
        |counts| counts.summary.catching_up.into(),
    ),
    (
        "tablestore_replicas",
        "Replicas that the cluster map gives this node.",
        |counts| counts.replicas as u64,
    ),
    (
        "tablestore_offices",
        "Partitions that this start of the node serves as primary or owner.",
        |counts| counts.offices as u64,
    ),
];

impl Node {
    /// Measures everything.
    pub(super) async fn measure_now(&self) {
        let shared = &self.shared;
        let metrics = &shared.metrics;
        data::measure(&shared.data, wall_ms(), metrics).await;
        if let Some(storage) = &shared.storage {
            data::show_storage(&storage.figures(), metrics);
        }
        show(&OF_NODE, self, metrics);
        self.show_times();
        self.show_levels();
        let (map, me) = (self.map(), shared.me);
        let (metrics, version) = (Arc::clone(metrics), env!("CARGO_PKG_VERSION"));
        let help = "1, with the version of the program.";
        let build = metrics.gauge("tablestore_build_info", help, &[("version", version)]);
        build.assign(1);
        // It takes as long as there are partitions and open files, and rows do not wait for it. If
        // it fails, what was there before is shown.
        let measured = tokio::task::spawn_blocking(move || {
            show_map(&count(&map, me), &metrics);
            process::show(&metrics);
        });
        let _ = measured.await;
    }

    fn show_times(&self) {
        let shared = &self.shared;
        let help = "How far the wall clock is ahead of the median of all (behind, if negative), \
                    where that is too much; 0 if it is not.";
        let off = shared
            .metrics
            .gauge("tablestore_clock_off_milliseconds", help, &[]);
        off.assign(shared.progress.clock_off_ms().unwrap_or(0));
        let help =
            "For how long the sync of the journal that is under way has taken; 0 if none is.";
        let running = "tablestore_journal_sync_running_seconds";
        let running = shared.metrics.decimal(running, help, &[]);
        let age = Duration::from_millis(shared.progress.oldest_sync_ms());
        running.assign(age.as_secs_f64());
    }

    /// The levels of this node's resources, as it last told them.
    fn show_levels(&self) {
        let all = &self.shared.resources;
        let all = all.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = all.get(&self.me()).and_then(|mine| mine.resources.as_ref());
        for (resource, state) in mine.into_iter().flatten() {
            let help = "How short this node is of a resource: 0 ok, 1 warn, 2 high, 3 critical.";
            let labels = [("resource", resource.as_str())];
            let gauge = &self.shared.metrics;
            let gauge = gauge.gauge("tablestore_resource_level", help, &labels);
            gauge.assign(match state.level.as_str() {
                "ok" => 0,
                "warn" => 1,
                "high" => 2,
                _ => 3,
            });
        }
    }
}

fn show<T>(all: &[Shown<T>], of: &T, metrics: &Metrics) {
    for (name, help, value) in all {
        metrics.show(name, help, value(of));
    }
}

fn show_map(counts: &Counts, metrics: &Metrics) {
    show(&OF_MAP, counts, metrics);
    for ((_, state), members) in STATES.iter().zip(counts.members) {
        let help = "Members of the cluster, by what the controller decided about them.";
        let gauge = metrics.gauge("tablestore_members", help, &[("state", state)]);
        gauge.assign(i64::try_from(members).unwrap_or(i64::MAX));
    }
}

fn count(map: &ClusterMap, me: Office) -> Counts {
    let (mut replicas, mut offices) = (0, 0);
    for (_, _, assignment) in map.partitions() {
        replicas += usize::from(assignment.replicas.contains(&me.member));
        offices += usize::from(assignment.primary == Some(me));
    }
    let members = STATES.map(|(state, _)| {
        let members = map.members.values();
        members.filter(|member| member.state == state).count()
    });
    Counts {
        summary: health::summary(map),
        tables: map.tables.len(),
        replicas,
        offices,
        members,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use tablestore_placement::testing::{cluster, create_table, definition};

    use super::*;

    #[test]
    fn a_map_is_counted_as_seen_by_one_of_its_members() {
        let mut map = cluster(&[("a", 1), ("b", 1), ("c", 1)]);
        create_table(&mut map, "gates", &definition(8, 3, 2)).unwrap();
        let member = map.members.values().next().unwrap();
        let me = Office {
            member: member.storage,
            incarnation: member.incarnation,
        };
        let metrics = Metrics::new();
        let value = |name| metrics.gauge(name, "", &[]).value();
        let members = |state| {
            let gauge = metrics.gauge("tablestore_members", "", &[("state", state)]);
            gauge.value()
        };
        show_map(&count(&map, me), &metrics);
        assert_eq!(
            (value("tablestore_tables"), value("tablestore_partitions")),
            (1, 8)
        );
        assert_eq!(value("tablestore_replicas"), 8);
        let offices = value("tablestore_offices");
        assert!((1..8).contains(&offices), "{offices}");
        assert_eq!(value("tablestore_partitions_without_primary"), 0);
        assert_eq!((members("up"), members("down")), (3, 0));

        map.members.get_mut(&me.member).unwrap().state = MemberState::Down;
        show_map(&count(&map, me), &metrics);
        assert_eq!(value("tablestore_partitions_without_primary"), offices);
        assert_eq!(value("tablestore_partitions_under_replicated"), 8);
        assert_eq!(value("tablestore_partitions_below_min_in_sync"), 0);
        assert_eq!((members("up"), members("down")), (2, 1));
    }
}
