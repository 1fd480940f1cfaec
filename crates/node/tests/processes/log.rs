//! Nobody reads what a node says: that costs lines, which are counted, and nothing else.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Cluster, until};

/// What a node takes to end, and far less than it would wait for a reader.
const END_MAX: Duration = Duration::from_secs(20);

/// Lines that a node could give nobody.
async fn dropped(cluster: &Cluster, index: usize) -> u64 {
    cluster
        .metric(index, "tablestore_log_lines_dropped_total")
        .await
}

/// Waits until there are some.
async fn some_dropped(cluster: &Cluster, index: usize) {
    until("lines dropped", async || {
        let dropped = dropped(cluster, index).await;
        (dropped > 0).then_some(()).ok_or_else(|| "none".to_owned())
    })
    .await;
}

/// A row is written and read through the first node, which then ends as it was asked to.
async fn serves_and_ends(cluster: &mut Cluster, copies: usize) {
    cluster.create_table("told", copies, 4).await;
    let row = "/v1/tables/told/rows/k";
    let (status, answer) = cluster.ask(0, "PUT", row, r#"{"v":1}"#).await;
    assert_eq!(status, 200, "{answer}");
    let (status, answer) = cluster.ask(0, "GET", row, "").await;
    assert_eq!((status, &answer["v"]), (200, &json!(1)), "{answer}");
    let begun = Instant::now();
    let status = cluster.nodes[0].terminate().await;
    assert_eq!(status.code(), Some(0));
    assert!(begun.elapsed() < END_MAX, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_node_whose_log_nobody_reads_any_more_serves_on_and_ends_in_order() {
    let mut cluster = Cluster::prepare(2);
    let (reader, writer) = std::io::pipe().unwrap();
    cluster.nodes[0].start_telling(writer);
    cluster.ready(0).await;
    assert_eq!(dropped(&cluster, 0).await, 0);
    drop(reader);
    // A node that joins makes the first one write to its log.
    cluster.nodes[1].start();
    cluster.ready(1).await;
    cluster.members_up(2).await;
    some_dropped(&cluster, 0).await;
    serves_and_ends(&mut cluster, 2).await;
}

#[tokio::test]
async fn a_node_whose_reader_is_stuck_serves_on_and_ends_in_order() {
    let mut cluster = Cluster::prepare(1);
    // As much as it can say, so that pipe and queue are soon full.
    cluster.nodes[0]
        .arguments
        .extend(["--log", "trace"].map(str::to_owned));
    let (_stuck, writer) = std::io::pipe().unwrap();
    cluster.nodes[0].start_telling(writer);
    cluster.ready(0).await;
    some_dropped(&cluster, 0).await;
    serves_and_ends(&mut cluster, 1).await;
}

#[tokio::test]
async fn a_log_in_json_has_one_object_a_line_and_ids_are_strings() {
    let mut cluster = Cluster::prepare(2);
    for node in &mut cluster.nodes {
        let format = ["--log-format", "json"].map(str::to_owned);
        node.arguments.extend(format);
    }
    cluster.start_all().await;
    cluster.create_table("told", 2, 4).await;
    assert_eq!(cluster.nodes[0].terminate().await.code(), Some(0));
    let log = cluster.nodes[0].log();
    let mut storages = 0;
    for line in log.lines() {
        let told: Value = serde_json::from_str(line).expect(line);
        assert!(told["timestamp"].is_string() && told["level"].is_string());
        assert!(told["fields"]["message"].is_string(), "{line}");
        for name in ["storage", "member", "node", "leader"] {
            let id = &told["fields"][name];
            assert!(id.is_null() || id.is_string(), "{line}");
            storages += usize::from(name == "storage" && id.is_string());
        }
    }
    assert!(storages > 0, "{log}");
    // What ends a start is told in the same form.
    cluster.nodes[0]
        .arguments
        .extend(["--heartbeat-ms", "7"].map(str::to_owned));
    cluster.nodes[0].directory = cluster.home.path().join("n1.log/beneath-a-file");
    let (_, told) = cluster.nodes[0].start_in_vain().await;
    let last = told.lines().last().unwrap_or_default();
    let last: Value = serde_json::from_str(last).expect(&told);
    assert_eq!(last["level"], "ERROR", "{last}");
}
