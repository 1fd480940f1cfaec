//! Operations on the cluster, and what machines ask of a node.

use utoipa::openapi::HttpMethod;

use super::operation::Operation;
use super::parts::{
    MAP, REQUEST, TABLE, if_fails, last_event_id, limit, object, path, request_id, table_query,
    text, timeout,
};
use crate::limits::DECISIONS_LIMIT_MAX;
use crate::problem::Kind;
use crate::{
    Checksums, ClusterView, Decisions, Event, Explanation, Health, NodeLeaves, Partitions, headers,
};

const TAG: &str = "cluster";
const JSON: &str = "application/json";
const QUERY: &[Kind] = &[Kind::UnknownParameter];

fn get(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(HttpMethod::Get, path, TAG, id, summary)
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        get("/v1/cluster", "show_cluster", "Members and tables")
            .answers::<ClusterView>(200, "as this node knows them")
            .fails(&[QUERY]),
        get(
            "/v1/cluster/partitions",
            "show_partitions",
            "Who holds the partitions of a table",
        )
        .takes([table_query(), timeout()])
        .answers::<Partitions>(200, "one entry a partition")
        .fails(&[REQUEST, TABLE]),
        events(),
        get(
            "/v1/cluster/decisions",
            "show_decisions",
            "The last decisions, newest first",
        )
        .takes([limit(
            DECISIONS_LIMIT_MAX,
            "decisions at most; 50 if absent",
        )])
        .answers::<Decisions>(200, "newest first")
        .fails(&[REQUEST]),
        get(
            "/v1/cluster/explain",
            "explain",
            "What would happen if these nodes failed",
        )
        .takes([if_fails()])
        .answers::<Explanation>(200, "what would become of each partition")
        .fails(&[REQUEST, &[Kind::UnknownNode, Kind::Internal]]),
        get(
            "/v1/cluster/checksums",
            "show_checksums",
            "Compare all replicas of a table",
        )
        .takes([table_query(), timeout(), request_id()])
        .answers::<Checksums>(200, "one entry a partition")
        .fails(&[REQUEST, TABLE]),
    ]
    .into_iter()
    .chain(of_nodes())
    .collect()
}

fn of_nodes() -> [Operation; 3] {
    [
        node(
            HttpMethod::Post,
            "/v1/cluster/nodes/{node}/drain",
            "drain_node",
            "Move everything off a node",
        )
        .answers::<NodeLeaves>(202, "everything begins to move off it"),
        node(
            HttpMethod::Post,
            "/v1/cluster/nodes/{node}/undrain",
            "undrain_node",
            "Call the drain of a node off",
        )
        .answers::<NodeLeaves>(200, "it may take copies and primaries again"),
        node(
            HttpMethod::Delete,
            "/v1/cluster/nodes/{node}",
            "remove_node",
            "Remove a node for good",
        )
        .answers::<NodeLeaves>(200, "removed"),
    ]
}

fn node(
    method: HttpMethod,
    target: &'static str,
    id: &'static str,
    summary: &'static str,
) -> Operation {
    Operation::new(method, target, TAG, id, summary)
        .takes([path("node", "its name"), timeout()])
        .fails(&[REQUEST, MAP, &[Kind::UnknownNode]])
}

fn events() -> Operation {
    let mut events = get(
        "/v1/cluster/events",
        "stream_events",
        "What happens, as it happens",
    );
    // Described for who reads the data of an event.
    let _ = events.schema::<Event>();
    events
        .takes([last_event_id()])
        .answers_with(
            200,
            "server-sent events; the data of each is an `Event` as JSON",
            &[(headers::EVENT_STREAM, text())],
            &[],
        )
        .fails(&[REQUEST])
}

pub(super) fn of_machines() -> Vec<Operation> {
    let get = |path, id: &'static str, summary| {
        Operation::new(HttpMethod::Get, path, "system", id, summary).fails(&[QUERY])
    };
    vec![
        Operation::new(HttpMethod::Post, "/v1/sql", "rows", "sql", "Not built yet")
            .fails(&[&[Kind::NotSupported]]),
        get("/healthz", "healthz", "Whether the process lives").answers::<Health>(200, "it lives"),
        get("/readyz", "readyz", "Whether it can serve")
            .answers::<Health>(200, "it can")
            .fails(&[&[Kind::NotReady]]),
        get("/metrics", "metrics", "Prometheus metrics").answers_with(
            200,
            "in the text format of Prometheus",
            &[("text/plain", text())],
            &[],
        ),
        get("/openapi.json", "openapi", "This document").answers_with(
            200,
            "OpenAPI 3.1",
            &[(JSON, object())],
            &[],
        ),
    ]
}
