//! A member whose data directory is gone: it is a new member, and founds nothing by accident.

use serde_json::json;

use crate::cluster::Cluster;

const ROWS: usize = 300;
const TABLE: &str = "/v1/tables/books";

/// All partitions have three copies in sync, none of them on the lost storage id.
async fn is_whole(cluster: &Cluster, lost: &str) -> bool {
    let partitions = cluster.partitions(1, "books").await;
    let lists = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    partitions.len() == 8
        && partitions.iter().all(|one| {
            let in_sync = lists(&one["in_sync_ids"]);
            in_sync.len() == 3 && !in_sync.iter().any(|id| id == lost)
        })
}

#[tokio::test]
async fn a_wiped_member_founds_no_second_cluster_and_is_replaced_when_it_joins() {
    let mut cluster = Cluster::start().await;
    let table = json!({
        "partition_key": { "name": "id", "type": "string" },
        "replicas": 3,
        "partitions": 8,
    });
    let (status, answer) = cluster.ask(0, "PUT", TABLE, table).await;
    assert_eq!(status, 201, "{answer}");
    for row in 0..ROWS {
        let path = format!("{TABLE}/rows/r{row}");
        let (status, answer) = cluster.ask(0, "PUT", &path, json!({ "n": row })).await;
        assert!(status < 300, "{status} {answer}");
    }
    let nodes = cluster.get(0, "/v1/cluster").await;
    let n1 = nodes["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|node| node["name"] == "n1");
    let lost = n1.unwrap()["id"].as_str().unwrap().to_owned();

    cluster.kill(0);
    std::fs::remove_dir_all(cluster.data_dir(0)).unwrap();
    cluster.run(0, &[]);
    assert!(!cluster.ended_well(0).await, "it has founded a cluster");
    let log = cluster.logged(0);
    assert!(log.contains("--join"), "the remedy is named: {log}");

    let peer = cluster.peer_address(1);
    cluster.run(0, &["--join", &peer]);
    cluster.ready(0).await;
    cluster
        .until("every copy of the lost directory is replaced", async || {
            is_whole(&cluster, &lost).await
        })
        .await;
    for row in 0..ROWS {
        let path = format!("{TABLE}/rows/r{row}?consistency=strong");
        let answer = cluster.get(0, &path).await;
        assert_eq!(answer["n"], json!(row), "row {row}: {answer}");
    }
    cluster
        .until("the lost member is removed", async || {
            let nodes = cluster.get(1, "/v1/cluster").await;
            let all = nodes["nodes"].as_array().cloned().unwrap_or_default();
            !all.iter()
                .any(|node| node["id"] == lost && node["state"] != "left")
        })
        .await;
}
