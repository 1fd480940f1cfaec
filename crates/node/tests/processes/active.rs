//! An active table on three processes: every node takes writes and reads, also while one of them
//! dies, and what was acknowledged is everywhere in the end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tablestore_verify::http::{Connection, Outcome, request};

use crate::harness::{Cluster, until};

pub const TABLE: &str = "visits";
/// Answers that each client has before a node dies, and each survivor after it.
pub const ANSWERS: usize = 200;
/// Far above what a dead connection costs, on a busy machine too: nobody waits for a failover.
const GAP_MAX: Duration = Duration::from_secs(1);

/// What the clients have seen.
#[derive(Default)]
pub struct Seen {
    acknowledged: Mutex<Vec<(String, u64)>>,
    pub failed: Mutex<Vec<(usize, String)>>,
    pub answers: [AtomicUsize; 4],
    /// By node, the longest time between two answers.
    gaps: Mutex<[Duration; 4]>,
    pub stop: AtomicBool,
}

pub async fn create(cluster: &Cluster) {
    let definition = json!({
        "partition_key": {"name": "id", "type": "string"},
        "strategy": "active",
        "partitions": 4,
    });
    let target = format!("/v1/tables/{TABLE}");
    let (status, answer) = cluster
        .ask(0, "PUT", &target, &definition.to_string())
        .await;
    assert_eq!(
        (status, &answer["strategy"]),
        (201, &json!("active")),
        "{answer}"
    );
    for index in 0..cluster.nodes.len() {
        until("every node serves the table", async || {
            let target = row("first", "?w=3");
            let (status, answer) = cluster.ask(index, "PUT", &target, r#"{"n":0}"#).await;
            if status == 200 {
                Ok(())
            } else {
                Err(answer.to_string())
            }
        })
        .await;
    }
}

pub fn row(key: &str, query: &str) -> String {
    format!("/v1/tables/{TABLE}/rows/{key}{query}")
}

/// Writes rows of its own at one node and reads each back there, until it is told to stop or the
/// first failure.
pub async fn client(index: usize, address: String, seen: Arc<Seen>) {
    let mut connection = Connection::new(&address);
    let mut last = Instant::now();
    for number in 0.. {
        if seen.stop.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("n{index}-{number}");
        let body = json!({"n": number}).to_string();
        let put = request("PUT", &row(&key, ""), None, &body);
        let get = request("GET", &row(&key, ""), None, "");
        for (bytes, is_write) in [(put, true), (get, false)] {
            let failure = match connection.ask(&bytes).await {
                Outcome::Answered(answer) if answer.status == 200 => {
                    let text = answer.text();
                    let found: Value = serde_json::from_str(&text).unwrap();
                    assert!(is_write || found["n"] == json!(number), "{key}: {text}");
                    None
                }
                Outcome::Answered(answer) => Some(format!("{} {}", answer.status, answer.text())),
                Outcome::NotSent(error) | Outcome::Failed(error) => Some(error.to_string()),
            };
            if let Some(failure) = failure {
                seen.failed.lock().unwrap().push((index, failure));
                return;
            }
            if is_write {
                seen.acknowledged
                    .lock()
                    .unwrap()
                    .push((key.clone(), number));
            }
            let gap = last.elapsed();
            last = Instant::now();
            let longest = &mut seen.gaps.lock().unwrap()[index];
            *longest = gap.max(*longest);
            seen.answers[index].fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub async fn answered(seen: &Seen, nodes: &[usize], more: usize) {
    let before: Vec<usize> = nodes
        .iter()
        .map(|node| seen.answers[*node].load(Ordering::Relaxed))
        .collect();
    until("enough answers", async || {
        let now = |node: &usize| seen.answers[*node].load(Ordering::Relaxed);
        let enough = nodes
            .iter()
            .zip(&before)
            .all(|(node, was)| now(node) >= was + more);
        let failed = seen.failed.lock().unwrap().clone();
        if enough {
            Ok(())
        } else {
            Err(format!("{failed:?}"))
        }
    })
    .await;
}

/// The first acknowledged write that this node does not show.
pub async fn missing(cluster: &Cluster, index: usize, seen: &Seen, query: &str) -> Option<String> {
    let all = seen.acknowledged.lock().unwrap().clone();
    for (key, number) in all {
        let (status, answer) = cluster.ask(index, "GET", &row(&key, query), "").await;
        if status != 200 || answer["n"] != json!(number) {
            return Some(format!("{key}: {status} {answer}"));
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_that_a_node_of_an_active_table_is_killed() {
    let mut cluster = Cluster::started(3).await;
    create(&cluster).await;
    let seen = Arc::new(Seen::default());
    let addresses = cluster.addresses().into_iter().enumerate();
    let clients: Vec<_> = addresses
        .map(|(index, address)| tokio::spawn(client(index, address, Arc::clone(&seen))))
        .collect();
    answered(&seen, &[0, 1, 2], ANSWERS).await;
    let before = std::mem::take(&mut *seen.gaps.lock().unwrap());
    cluster.nodes[2].kill();
    answered(&seen, &[0, 1], ANSWERS).await;
    seen.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let failed = seen.failed.lock().unwrap().clone();
    assert!(failed.iter().all(|(index, _)| *index == 2), "{failed:?}");
    let after = *seen.gaps.lock().unwrap();
    let count = seen.acknowledged.lock().unwrap().len();
    eprintln!("{count} writes; longest gaps before {before:?}, after the kill {after:?}");
    assert!(after[..2].iter().all(|gap| *gap < GAP_MAX), "{after:?}");
    for survivor in [0, 1] {
        assert_eq!(missing(&cluster, survivor, &seen, "").await, None);
        let metric = async |name: &str| cluster.metric(survivor, name).await;
        assert!(metric("tablestore_active_writes_total").await >= ANSWERS as u64);
        assert!(metric("tablestore_active_reads_total").await >= count as u64);
        assert_eq!(metric("tablestore_active_replicas").await, 4);
        assert_eq!(metric("tablestore_active_replicas_rebuilding").await, 0);
        assert!(
            metric("tablestore_active_hints").await > 0,
            "for the dead one"
        );
        assert!(metric("tablestore_active_hints_bytes").await > 0);
    }
    cluster.nodes[2].start();
    cluster.ready(2).await;
    // One replica is asked, and its own node's is the nearest.
    until("the restarted node catches up", async || {
        match missing(&cluster, 2, &seen, "?r=1").await {
            None => Ok(()),
            Some(missing) => Err(missing),
        }
    })
    .await;
    cluster.nodes[0].kill();
    cluster.nodes[1].kill();
    assert_eq!(
        missing(&cluster, 2, &seen, "?r=1").await,
        None,
        "alone it has all"
    );
    let (status, answer) = cluster.ask(2, "PUT", &row("late", ""), "{}").await;
    assert_eq!(status, 503, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_active_table_cannot_do_is_refused_with_what_to_do_instead() {
    let cluster = Cluster::started(3).await;
    create(&cluster).await;
    let change = |method: &'static str, query: &'static str, body: &'static str| {
        let target = row("pet", query);
        let cluster = &cluster;
        async move { cluster.ask(1, method, &target, body).await }
    };
    assert_eq!(
        change("PUT", "", r#"{"a":1,"b":null,"c":"x"}"#).await.0,
        200
    );
    assert_eq!(
        change("PATCH", "?remove=c&w=1", r#"{"d":[2]}"#).await.0,
        200
    );
    let (status, found) = cluster.ask(2, "GET", &row("pet", ""), "").await;
    assert_eq!(
        (status, found),
        (200, json!({"id":"pet","a":1,"b":null,"d":[2]}))
    );
    assert_eq!(change("DELETE", "?w=3", "").await.0, 200);
    assert_eq!(change("GET", "?r=3", "").await.0, 404);

    for (query, field) in [("?w=4", "w"), ("?w=0", "w"), ("?w=two", "w")] {
        let (status, problem) = change("PUT", query, "{}").await;
        assert_eq!(
            (status, &problem["field"]),
            (400, &json!(field)),
            "{problem}"
        );
    }
    for query in ["?r=4", "?r=2&consistency=strong"] {
        let (status, problem) = change("GET", query, "").await;
        assert_eq!((status, &problem["field"]), (400, &json!("r")), "{problem}");
    }
    let rows = format!("/v1/tables/{TABLE}/rows");
    let sums = format!("/v1/cluster/checksums?table={TABLE}");
    for (method, target, body) in [
        ("GET", rows.clone(), ""),
        ("POST", format!("{rows}:batch"), r#"{"put":[{"id":"x"}]}"#),
        ("GET", sums, ""),
    ] {
        let (status, problem) = cluster.ask(0, method, &target, body).await;
        let code = &problem["code"];
        assert_eq!(
            (status, code),
            (501, &json!("unsupported_by_strategy")),
            "{problem}"
        );
        assert!(problem["expected"].as_str().is_some(), "{problem}");
    }
    let bytes = request("PUT", &row("pet", ""), None, "{}");
    let plain = String::from_utf8(bytes).unwrap();
    let bytes = plain
        .replacen("\r\n", "\r\nif-none-match: *\r\n", 1)
        .into_bytes();
    let mut connection = Connection::new(&cluster.addresses()[0]);
    let Outcome::Answered(answer) = connection.ask(&bytes).await else {
        panic!("the node answers");
    };
    assert_eq!(answer.status, 501, "{}", answer.text());
    let (status, shown) = cluster
        .ask(0, "GET", &format!("/v1/tables/{TABLE}"), "")
        .await;
    assert_eq!((status, &shown["strategy"]), (200, &json!("active")));
}
