//! Most voters are lost for good: the rows are brought back from the one directory that is left, as
//! `tablestore recover` says, under tables of every strategy.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Cluster, tablestore, until};

const TABLES: [(&str, &str); 3] = [
    ("copied", "primary-backup"),
    ("merged", "active"),
    ("shared", "partition"),
];
const KEYS: usize = 24;
/// The one that is left.
const LEFT: usize = 1;

async fn started() -> Cluster {
    let mut cluster = Cluster::prepare(3);
    let shared = cluster.home.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    for node in &mut cluster.nodes {
        let shared = shared.display().to_string();
        node.arguments.extend(["--shared-dir".to_owned(), shared]);
    }
    cluster.start_all().await;
    for (table, strategy) in TABLES {
        let mut definition = json!({
            "partition_key": {"name": "id", "type": "string"},
            "strategy": strategy,
            "partitions": 4,
        });
        if strategy != "partition" {
            definition["replicas"] = json!(3);
        }
        let target = format!("/v1/tables/{table}");
        until("the table is made", async || {
            match cluster
                .ask(0, "PUT", &target, &definition.to_string())
                .await
            {
                (200 | 201, _) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
    cluster.whole("copied", 3).await;
    cluster
}

async fn write_all(cluster: &Cluster, index: usize, number: u64, merged_by: usize) {
    for (table, strategy) in TABLES {
        for key in 0..KEYS {
            // Of an active table a row is at every replica only once all have answered.
            let query = match strategy {
                "active" => format!("?w={merged_by}"),
                _ => String::new(),
            };
            let target = format!("/v1/tables/{table}/rows/key-{key}{query}");
            let body = json!({"n": number}).to_string();
            until("it is written", async || {
                match cluster.ask(index, "PUT", &target, &body).await {
                    (200, _) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
        }
    }
}

async fn assert_rows(cluster: &Cluster, index: usize, number: u64) {
    for (table, _) in TABLES {
        for key in 0..KEYS {
            let target = format!("/v1/tables/{table}/rows/key-{key}?consistency=strong");
            let (status, found) = cluster.ask(index, "GET", &target, "").await;
            assert_eq!(
                (status, &found["n"]),
                (200, &json!(number)),
                "{table} {key}: {found}"
            );
        }
    }
}

/// Runs the command; its exit status and what it said.
fn recover(directory: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut command = tablestore();
    command.args(["recover", "--json", "--data-dir"]);
    let output = command.arg(directory).args(more).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn join(cluster: &mut Cluster, index: usize) {
    let peer = cluster.nodes[LEFT].peer.to_string();
    let arguments = &mut cluster.nodes[index].arguments;
    if let Some(at) = arguments.iter().position(|argument| argument == "--join") {
        arguments.drain(at..at + 2);
    }
    if index != LEFT {
        arguments.extend(["--join".to_owned(), peer]);
    }
}

/// Kills all, keeps one directory and founds a cluster from it.
async fn recovered(cluster: &mut Cluster) {
    for node in &mut cluster.nodes {
        node.kill();
    }
    let directory = cluster.nodes[LEFT].directory.clone();
    let (status, said) = recover(&directory, &[]);
    assert_eq!(status, Some(0), "{said}");
    let shown: Value = serde_json::from_str(&said).unwrap();
    for table in shown["tables"].as_array().unwrap() {
        assert_eq!(table["rows_gone"], json!([]), "{shown}");
        let lacks = table["may_lack_writes"].as_array().unwrap().len();
        let expected = if table["strategy"] == "active" { 4 } else { 0 };
        assert_eq!(lacks, expected, "{table}");
    }
    let (status, said) = recover(&directory, &["--confirm", "0123456789abcdef"]);
    assert_eq!(status, Some(2), "{said}");
    join(cluster, LEFT);
    let node = &mut cluster.nodes[LEFT];
    node.arguments.push("--new-cluster".to_owned());
    let (status, told) = node.start_in_vain().await;
    assert!(!status.success(), "{told}");
    assert!(told.contains("tablestore recover"), "{told}");
    node.arguments.pop();
    let token = shown["token"].as_str().unwrap();
    let (status, said) = recover(&directory, &["--confirm", token]);
    assert_eq!(status, Some(0), "{said}");
    let (status, said) = recover(&directory, &["--confirm", token]);
    assert_eq!(status, Some(2), "it is another cluster now: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rows_of_a_lost_majority_are_brought_back_from_the_directory_that_is_left() {
    let mut cluster = started().await;
    write_all(&cluster, 0, 1, 3).await;
    recovered(&mut cluster).await;
    cluster.nodes[LEFT].start();
    cluster.ready(LEFT).await;
    assert_rows(&cluster, LEFT, 1).await;
    let decisions = cluster.get(LEFT, "/v1/cluster/decisions").await.unwrap();
    let kinds = decisions["decisions"].as_array().unwrap();
    let recovered = kinds.iter().find(|one| one["kind"] == "recovered");
    assert!(recovered.is_some(), "{decisions}");

    // What the others had is of a cluster that is no more.
    join(&mut cluster, 2);
    let (status, told) = cluster.nodes[2].start_in_vain().await;
    assert!(!status.success(), "{told}");
    assert!(told.contains("belongs to cluster"), "{told}");
    for index in [0, 2] {
        join(&mut cluster, index);
        std::fs::remove_dir_all(&cluster.nodes[index].directory).unwrap();
        cluster.nodes[index].start();
        cluster.ready(index).await;
    }
    cluster.members_up(3).await;
    cluster.whole("copied", 3).await;
    write_all(&cluster, 2, 2, 1).await;
    assert_rows(&cluster, 0, 2).await;
    cluster.copies_equal("copied", 3).await;
}
