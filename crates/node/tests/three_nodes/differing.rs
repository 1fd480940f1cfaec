//! A copy whose rows are not those of the others.

use serde_json::json;
use tablestore_placement::{PartitionId, TableId};
use tablestore_store::engine::Scan;
use tablestore_store::{Copies as _, Engine as _, KeyValue, LsmEngine, LsmSettings, RowWrite, key};

use crate::cluster::{Cluster, lists};

const PARTITIONS: u32 = 4;
const TABLE: &str = "/v1/tables/books";

async fn put(cluster: &Cluster, node: usize, row: usize) {
    let path = format!("{TABLE}/rows/r{row}");
    let (status, answer) = cluster.ask(node, "PUT", &path, json!({ "n": row })).await;
    assert!(status < 300, "{status} {answer}");
}

/// Gives every partition of a stopped node a row that nobody ever wrote.
fn corrupt(cluster: &Cluster, node: usize) {
    let rows = cluster.data_dir(node).join("rows");
    let engine = LsmEngine::open(rows, &LsmSettings::default()).unwrap();
    let intruder = key::encode_row_key(&KeyValue::String("intruder".to_owned()), None);
    for number in 0..PARTITIONS {
        // The only table has the first id. Its rows are still in the journal alone.
        let partition = PartitionId::new(TableId(1), number).to_u64();
        engine.open_partition(partition).unwrap();
        let snapshot = engine.snapshot(partition).unwrap();
        let mut other = engine.begin_replace(partition).unwrap();
        for (key, value) in snapshot.scan(&Scan::all(10_000, 1 << 30)).unwrap().rows {
            other
                .put(&[RowWrite {
                    key: &key,
                    value: Some(&value),
                }])
                .unwrap();
        }
        for (key, value) in snapshot.side_records().unwrap() {
            other
                .put_side(&[RowWrite {
                    key: &key,
                    value: Some(&value),
                }])
                .unwrap();
        }
        other
            .put(&[RowWrite {
                key: &intruder,
                value: Some(&[0; 16]),
            }])
            .unwrap();
        other.finish(snapshot.index()).unwrap();
    }
}

#[tokio::test]
async fn o25_a_copy_that_differs_stops_the_others_serve_on_and_it_is_built_anew_by_order() {
    let mut cluster = Cluster::start().await;
    let table = json!({
        "partition_key": { "name": "id", "type": "string" },
        "replicas": 3, "min_in_sync": 2, "partitions": PARTITIONS,
    });
    assert_eq!(cluster.ask(0, "PUT", TABLE, table).await.0, 201);
    let in_sync_everywhere = async |cluster: &Cluster| {
        let partitions = cluster.partitions(0, "books").await;
        partitions
            .iter()
            .all(|p| p["in_sync"].as_array().unwrap().len() == 3)
    };
    cluster
        .until("all are in sync", async || {
            in_sync_everywhere(&cluster).await
        })
        .await;
    for row in 0..40 {
        put(&cluster, row % 3, row).await;
    }

    cluster.kill(2);
    corrupt(&cluster, 2);
    cluster.run(2, &[]);
    cluster.ready(2).await;
    cluster
        .until("n3 is in sync again and holds an office", async || {
            let partitions = cluster.partitions(2, "books").await;
            let filled = |p: &serde_json::Value| p["primary_live"] == true;
            in_sync_everywhere(&cluster).await
                && partitions.iter().all(filled)
                && partitions.iter().any(|p| p["primary"] == "n3")
        })
        .await;

    cluster
        .until("n3 is out of every in-sync set and office", async || {
            // A comparison during which an office moves is lost.
            let sums = cluster.get(0, "/v1/cluster/checksums?table=books").await;
            assert_ne!(sums["equal"], true, "{sums}");
            let partitions = cluster.partitions(0, "books").await;
            let out = |p: &serde_json::Value| p["primary"] != "n3" && !lists(&p["in_sync"], "n3");
            partitions.iter().all(out)
        })
        .await;
    let decisions = cluster.get(0, "/v1/cluster/decisions").await.to_string();
    for named in [
        "table books, partition ",
        "at index ",
        "range ",
        "--rebuild-stopped",
    ] {
        assert!(decisions.contains(named), "{named}: {decisions}");
        assert!(cluster.logged(2).contains(named), "{named} in the log");
    }
    for row in 0..40 {
        put(&cluster, row % 3, row + 100).await;
        let path = format!("{TABLE}/rows/r{row}");
        assert_eq!(cluster.get(row % 3, &path).await["n"], row);
        let eventual = format!("{path}?consistency=eventual");
        assert_eq!(cluster.get(2, &eventual).await["n"], row);
    }
    let path = format!("{TABLE}/rows/intruder?consistency=eventual");
    let (status, _) = cluster.ask(2, "GET", &path, serde_json::Value::Null).await;
    assert_eq!(status, 404, "a stopped copy answers nothing");

    // A start alone does not bring the wrong rows back.
    cluster.kill(2);
    cluster.run(2, &[]);
    cluster.ready(2).await;
    let stopped = std::fs::read_dir(cluster.data_dir(2).join("stopped")).unwrap();
    assert_eq!(stopped.count(), 4);
    cluster
        .until("another copy answers for the stopped one", async || {
            let asked = cluster.ask(2, "GET", &path, serde_json::Value::Null);
            let (status, _) = asked.await;
            assert_ne!(status, 200, "the intruder is back");
            status == 404
        })
        .await;

    cluster.kill(2);
    cluster.run(2, &["--rebuild-stopped"]);
    cluster.ready(2).await;
    cluster
        .until("n3 was built anew", async || {
            in_sync_everywhere(&cluster).await
        })
        .await;
    let sums = cluster.get(1, "/v1/cluster/checksums?table=books").await;
    assert_eq!(sums["equal"], true, "{sums}");
    let stopped = std::fs::read_dir(cluster.data_dir(2).join("stopped")).unwrap();
    assert_eq!(stopped.count(), 0);
}

#[tokio::test]
async fn l06_copies_that_are_written_to_are_compared_at_one_index() {
    let cluster = Cluster::start().await;
    let table = json!({
        "partition_key": { "name": "id", "type": "string" },
        "replicas": 3, "min_in_sync": 2, "partitions": 1,
    });
    assert_eq!(cluster.ask(0, "PUT", TABLE, table).await.0, 201);
    cluster
        .until("all are in sync", async || {
            let partitions = cluster.partitions(0, "books").await;
            partitions[0]["in_sync"].as_array().unwrap().len() == 3
        })
        .await;
    put(&cluster, 0, 0).await;
    let writer = async |from: usize| {
        for row in 0..150 {
            put(&cluster, from % 3, from * 1_000 + row).await;
        }
    };
    let comparer = async || {
        for node in 0..60 {
            let path = "/v1/cluster/checksums?table=books";
            let sums = cluster.get(node % 3, path).await;
            assert_eq!(sums["equal"], true, "{sums}");
        }
    };
    tokio::join!(
        writer(1),
        writer(2),
        writer(3),
        writer(4),
        writer(5),
        comparer()
    );
    for node in 0..3 {
        assert!(!cluster.logged(node).contains("differ"));
    }
}
