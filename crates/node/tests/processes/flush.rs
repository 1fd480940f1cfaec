//! Rows on their way from memory to files: every partition has its turn, a node that stops leaves
//! nothing for the next start to read again, and a damaged file stops its replica alone.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Cluster, row_files, until};

const TABLE: &str = "flushed";
const BATCH: usize = 100;

/// Text that does not become much shorter when it is compressed.
fn text(number: usize, length: usize) -> String {
    let hash = |at: usize| xxhash_rust::xxh3::xxh3_64_with_seed(&at.to_le_bytes(), number as u64);
    let words = (0..length / 16 + 1).map(|at| format!("{:016x}", hash(at)));
    words.collect::<String>()[..length].to_owned()
}

/// Writes rows by one node, in batches; every one must succeed.
async fn write(cluster: &Cluster, rows: usize, pad: usize) {
    let target = format!("/v1/tables/{TABLE}/rows:batch");
    for first in (0..rows).step_by(BATCH) {
        let put: Vec<Value> = (first..first + BATCH)
            .map(
                |number| json!({"id": format!("k{number}"), "v": number, "pad": text(number, pad)}),
            )
            .collect();
        let body = json!({ "put": put }).to_string();
        let (status, answer) = cluster.ask(0, "POST", &target, &body).await;
        assert_eq!(status, 200, "{answer}");
        let results = answer["results"].as_array().unwrap();
        assert!(results.iter().all(|r| r["status"] == 200), "{answer}");
    }
}

/// The partitions that have rows in files.
fn with_files(directory: &Path) -> BTreeSet<PathBuf> {
    let files = row_files(directory);
    let tables = files.iter().filter_map(|path| path.parent());
    tables.map(Path::to_owned).collect()
}

#[tokio::test]
async fn l31_all_partitions_are_flushed_and_the_journal_keeps_its_bound() {
    const PARTITIONS: usize = 16;
    let mut cluster = Cluster::prepare(1);
    let small = ["--journal-segment-mib", "1", "--journal-segments", "3"];
    cluster.nodes[0].arguments.extend(small.map(str::to_owned));
    cluster.start_all().await;
    cluster.create_table(TABLE, 1, PARTITIONS).await;
    // Twelve segments, over all partitions.
    write(&cluster, 24_000, 400).await;
    let directory = cluster.nodes[0].directory.clone();
    until("the journal is short, and all have files", async || {
        // Files that a burst left behind go when the next one is begun.
        write(&cluster, 300, 400).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let journal = fs::read_dir(directory.join("journal")).map_err(|e| e.to_string())?;
        let (journal, tables) = (journal.count(), with_files(&directory).len());
        // Three in use, one prepared, one that a flush is about to free, the marker.
        if journal <= 6 && tables == PARTITIONS {
            Ok(())
        } else {
            Err(format!(
                "{journal} files in the journal, {tables} partitions"
            ))
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_that_is_told_to_stop_has_all_rows_in_files() {
    const PARTITIONS: usize = 8;
    let mut cluster = Cluster::started(1).await;
    cluster.create_table(TABLE, 1, PARTITIONS).await;
    write(&cluster, 1_000, 10).await;
    let directory = cluster.nodes[0].directory.clone();
    assert!(with_files(&directory).is_empty(), "there is room in memory");
    assert!(cluster.nodes[0].terminate().await.success());
    assert_eq!(with_files(&directory).len(), PARTITIONS);
    // The next start has nothing to apply.
    cluster.nodes[0].start();
    cluster.ready(0).await;
    let target = format!("/v1/tables/{TABLE}/rows/k999");
    assert_eq!(cluster.get(0, &target).await.unwrap()["v"], 999);
    let log = cluster.nodes[0].log();
    assert!(!log.contains("applied what the journal had"), "{log}");
}

#[tokio::test]
async fn a_damaged_file_stops_its_replica_and_the_others_serve_on() {
    const ROWS: usize = 2_000;
    let mut cluster = Cluster::started(3).await;
    cluster.create_table(TABLE, 3, 1).await;
    write(&cluster, ROWS, 2_000).await;
    let partitions = format!("/v1/cluster/partitions?table={TABLE}");
    let seen = cluster.get(0, &partitions).await.unwrap();
    let primary = seen["partitions"][0]["primary"]
        .as_str()
        .unwrap()
        .to_owned();
    let names = cluster.nodes.iter().map(|node| node.name.clone());
    let at = names.into_iter().position(|name| name != primary).unwrap();
    // Its rows go to files, and nothing of them is in memory afterwards.
    assert!(cluster.nodes[at].terminate().await.success());
    cluster.nodes[at].start();
    cluster.ready(at).await;
    cluster.whole(TABLE, 3).await;
    for path in row_files(&cluster.nodes[at].directory) {
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        let middle = vec![0xa5; length as usize / 4];
        file.write_all_at(&middle, length / 4).unwrap();
    }
    let (mut failed, mut number) = (false, 0);
    while !failed && number < ROWS {
        let target = format!("/v1/tables/{TABLE}/rows/k{number}?consistency=eventual");
        let (status, row) = cluster.ask(at, "GET", &target, "").await;
        assert!(status == 503 || row["v"] == number, "{status} {row}");
        (failed, number) = (status == 503, number + 7);
    }
    assert!(failed, "no read met the damage");
    let other = (at + 1) % 3;
    until("the damaged copy is waited for no more", async || {
        let seen = cluster.get(other, &partitions).await?;
        let in_sync = seen["partitions"][0]["in_sync"].as_array();
        if in_sync.is_some_and(|in_sync| in_sync.len() == 2) {
            Ok(())
        } else {
            Err(seen.to_string())
        }
    })
    .await;
    let log = cluster.nodes[at].log();
    assert!(log.contains("this replica stops"), "{log}");
    for number in (0..ROWS).step_by(97) {
        for node in 0..3 {
            let target = format!("/v1/tables/{TABLE}/rows/k{number}");
            let row = cluster.get(node, &target).await.unwrap();
            assert_eq!(row["v"], number, "at {node}");
        }
    }
    // The next start knows of it.
    cluster.nodes[at].kill();
    cluster.nodes[at].start();
    cluster.ready(at).await;
    let target = format!("/v1/tables/{TABLE}/rows/k0?consistency=eventual");
    assert_eq!(cluster.get(at, &target).await.unwrap()["v"], 0);
}
