//! Replicas whose files are damaged or do not belong together: never served, and built anew from
//! the others; where there are no others the start is refused by the name of the file.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tablestore_client::{Row, RowKey};

use crate::harness::{Cluster, until};

const TABLE: &str = "broken";
const ROWS: usize = 120;
const ROW_BYTES: usize = 30 << 10;

/// Nodes whose journals soon begin behind the first entry.
async fn cluster(nodes: usize, replicas: usize) -> Cluster {
    let mut cluster = Cluster::prepare(nodes);
    for node in &mut cluster.nodes {
        let small = ["--journal-segment-mib", "1", "--journal-segments", "3"];
        node.arguments.extend(small.map(str::to_owned));
    }
    cluster.start_all().await;
    let definition = json!({
        "partition_key": {"name": "id", "type": "string"},
        "replicas": replicas, "min_in_sync": replicas.min(2), "partitions": 2,
    });
    let target = format!("/v1/tables/{TABLE}");
    let (status, answer) = cluster
        .ask(0, "PUT", &target, &definition.to_string())
        .await;
    assert_eq!(status, 201, "{answer}");
    cluster.whole(TABLE, replicas).await;
    let client = cluster.client();
    for round in 0..4 {
        for number in 0..ROWS {
            let mut row = Row::new();
            row.insert("round".to_owned(), round.into());
            row.insert("v".to_owned(), "x".repeat(ROW_BYTES).into());
            let key = RowKey::new(format!("k{number}"));
            client.put(TABLE, &key, &row).await.unwrap();
        }
    }
    cluster
}

/// The `current` files of a node's partitions.
fn currents(directory: &Path) -> Vec<PathBuf> {
    let partitions = fs::read_dir(directory.join("rows")).unwrap();
    partitions
        .map(|entry| entry.unwrap().path().join("current"))
        .filter(|current| current.is_file())
        .collect()
}

/// Asks every running node for every row, strongly and not: none may be missing.
async fn nothing_is_missing(cluster: &Cluster, asked: &[usize]) {
    for number in (0..ROWS).step_by(7) {
        for node in asked {
            for consistency in ["strong", "eventual"] {
                let target = format!("/v1/tables/{TABLE}/rows/k{number}?consistency={consistency}");
                let (status, answer) = cluster.ask(*node, "GET", &target, "").await;
                assert_ne!(status, 404, "{target} at node {node}: {answer}");
            }
        }
    }
}

/// Waits until all is whole again; no row may be missing meanwhile.
async fn heals(cluster: &Cluster, copies: usize) {
    let target = format!("/v1/cluster/partitions?table={TABLE}");
    let all: Vec<usize> = (0..cluster.nodes.len()).collect();
    until("all copies in sync", async || {
        nothing_is_missing(cluster, &all).await;
        let seen = cluster.get(0, &target).await?;
        let partitions = seen["partitions"].as_array().ok_or("no partitions")?;
        let whole = partitions
            .iter()
            .all(|partition| partition["in_sync"].as_array().map_or(0, Vec::len) == copies);
        whole.then_some(()).ok_or_else(|| seen.to_string())
    })
    .await;
    cluster.copies_equal(TABLE, copies).await;
}

#[tokio::test]
async fn a_replica_that_lost_its_files_is_never_served_and_is_built_anew() {
    let mut cluster = cluster(3, 3).await;
    cluster.nodes[1].kill();
    let directory = cluster.nodes[1].directory.clone();
    let lost = currents(&directory);
    assert!(!lost.is_empty());
    lost.iter().for_each(|file| fs::remove_file(file).unwrap());
    cluster.nodes[1].start();
    cluster.ready(1).await;
    heals(&cluster, 3).await;
    assert!(cluster.nodes[1].log().contains("current"));
    assert!(directory.join("rows-aside").is_dir());
}

#[tokio::test]
async fn of_two_replicas_one_that_lost_its_rows_is_built_anew_below_the_minimum() {
    let mut cluster = cluster(2, 2).await;
    cluster.nodes[1].terminate().await;
    let rows = cluster.nodes[1].directory.join("rows");
    fs::remove_dir_all(&rows).unwrap();
    cluster.nodes[1].start();
    cluster.ready(1).await;
    heals(&cluster, 2).await;
    let log = cluster.nodes[1].log();
    assert!(log.contains("what is between them is lost"), "{log}");
}

#[tokio::test]
async fn alone_a_node_that_lost_its_files_is_refused_by_the_name_of_the_file() {
    let mut cluster = cluster(1, 1).await;
    cluster.nodes[0].kill();
    let directory = cluster.nodes[0].directory.clone();
    let file = currents(&directory).pop().unwrap();
    let content = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    for _ in 0..2 {
        let (status, said) = cluster.nodes[0].start_in_vain().await;
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(&file.display().to_string()), "{said}");
    }
    fs::write(&file, content).unwrap();
    cluster.nodes[0].start();
    cluster.ready(0).await;
    nothing_is_missing(&cluster, &[0]).await;
}
