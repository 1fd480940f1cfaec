//! Nodes that come back after the others went on without them.

use std::collections::BTreeSet;
use std::fs;

use tablestore_client::{Row, RowKey};

use crate::harness::{Cluster, row_files, until};

const TABLE: &str = "advanced";
const PARTITIONS: usize = 2;
const ROW_BYTES: usize = 100 << 10;
const AT_ONCE: usize = 8;

/// Writes so many rows of this round, most of them over and over.
async fn advance(cluster: &Cluster, round: usize, rows: usize) {
    let client = cluster.client();
    let row = |number: usize| {
        let mut row = Row::new();
        row.insert("round".to_owned(), format!("{round} {number}").into());
        row.insert("v".to_owned(), "x".repeat(ROW_BYTES).into());
        (RowKey::new(format!("k{}", number % 60)), row)
    };
    for start in (0..rows).step_by(AT_ONCE) {
        let some: Vec<_> = (start..start + AT_ONCE).map(row).collect();
        let puts = some.iter().map(|(key, row)| client.put(TABLE, key, row));
        for written in futures_util::future::join_all(puts).await {
            written.unwrap();
        }
    }
}

/// Replicas that a node took in as a snapshot since its start.
async fn snapshots(cluster: &Cluster, index: usize) -> u64 {
    cluster
        .metric(index, "tablestore_snapshots_installed_total")
        .await
}

#[tokio::test]
async fn a_node_that_missed_more_than_memory_holds_catches_up_from_the_log() {
    let mut cluster = Cluster::started(3).await;
    cluster.create_table(TABLE, 3, PARTITIONS).await;
    advance(&cluster, 1, 40).await;
    cluster.nodes[2].kill();
    // The tail in memory has 2 MiB a partition.
    advance(&cluster, 2, 160).await;
    cluster.nodes[2].start();
    cluster.ready(2).await;
    cluster.whole(TABLE, 3).await;
    cluster.copies_equal(TABLE, 3).await;
    assert_eq!(snapshots(&cluster, 2).await, 0);
}

/// A cluster whose journals hold little, so that they soon begin after what a node had.
async fn with_short_journals() -> Cluster {
    let mut cluster = Cluster::prepare(3);
    for node in &mut cluster.nodes {
        let short = ["--journal-segment-mib", "2", "--journal-segments", "3"];
        node.arguments.extend(short.map(str::to_owned));
    }
    cluster.start_all().await;
    cluster.create_table(TABLE, 3, PARTITIONS).await;
    cluster
}

/// Waits until all nodes have written rows of all partitions to files, which lets go of the
/// beginning of their journals.
async fn flushed(cluster: &Cluster) {
    for node in &cluster.nodes {
        until("rows of all partitions are in files", async || {
            let files = row_files(&node.directory);
            let tables: BTreeSet<_> = files.iter().filter_map(|path| path.parent()).collect();
            if tables.len() == PARTITIONS {
                Ok(())
            } else {
                Err(format!("{tables:?}"))
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_node_that_lost_its_directory_is_filled_again_as_a_new_member() {
    let mut cluster = with_short_journals().await;
    advance(&cluster, 1, 200).await;
    flushed(&cluster).await;
    cluster.nodes[2].kill();
    fs::remove_dir_all(&cluster.nodes[2].directory).unwrap();
    advance(&cluster, 2, 200).await;
    cluster.nodes[2].start();
    cluster.ready(2).await;
    until("the new member has what the old one had", async || {
        let seen = cluster.get(0, "/v1/cluster").await?;
        let members = seen["nodes"].as_array().ok_or("no nodes")?;
        let named = members
            .iter()
            .filter(|member| member["name"] == "n3")
            .count();
        if named == 1 {
            Ok(())
        } else {
            Err(seen.to_string())
        }
    })
    .await;
    cluster.whole(TABLE, 3).await;
    cluster.copies_equal(TABLE, 3).await;
    assert!(snapshots(&cluster, 2).await > 0);
}
