//! A table on a shared directory with three processes: when an owner dies or is held up, another
//! member goes on with everything that was acknowledged.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tablestore_verify::http::{Connection, Outcome, request};

use crate::harness::{Cluster, until};

pub const TABLE: &str = "orders";
const PARTITIONS: usize = 8;
/// Keys of one client: so many that each partition has some.
const KEYS: usize = 40;
/// How long clients write before a node dies, and after it.
const WRITES_FOR: Duration = Duration::from_secs(2);
/// Far above what a failover takes, on a busy machine too.
const GAP_MAX: Duration = Duration::from_secs(5);

pub fn prepared(count: usize) -> Cluster {
    let mut cluster = Cluster::prepare(count);
    let shared = cluster.home.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    for node in &mut cluster.nodes {
        node.arguments.push("--shared-dir".to_owned());
        node.arguments.push(shared.display().to_string());
    }
    cluster
}

pub async fn create(cluster: &Cluster, index: usize, partitions: usize) -> (u16, Value) {
    let definition = json!({
        "partition_key": {"name": "id", "type": "string"},
        "strategy": "partition",
        "partitions": partitions,
    });
    let target = format!("/v1/tables/{TABLE}");
    cluster
        .ask(index, "PUT", &target, &definition.to_string())
        .await
}

pub async fn started() -> Cluster {
    let mut cluster = prepared(3);
    cluster.start_all().await;
    let (status, answer) = create(&cluster, 0, PARTITIONS).await;
    assert_eq!(
        (status, &answer["strategy"], &answer["replicas"]),
        (201, &json!("partition"), &json!(1)),
        "{answer}"
    );
    cluster
}

pub fn row(key: &str, query: &str) -> String {
    format!("/v1/tables/{TABLE}/rows/{key}{query}")
}

/// The index of the node that owns each partition, as one node sees it.
pub async fn owners(cluster: &Cluster, seen_by: usize) -> Result<Vec<usize>, String> {
    let target = format!("/v1/cluster/partitions?table={TABLE}");
    let seen = cluster.get(seen_by, &target).await?;
    let partitions = seen["partitions"].as_array().ok_or("no partitions")?;
    let owner = |partition: &Value| {
        let is = |name: &str| partition["primary"] == json!(name);
        let index = cluster.nodes.iter().position(|node| is(&node.name));
        let live = partition["primary_live"] == true;
        index.filter(|_| live).ok_or_else(|| partition.to_string())
    };
    partitions.iter().map(owner).collect()
}

/// What the clients have seen.
#[derive(Default)]
struct Seen {
    /// The newest number that was acknowledged for each key.
    acknowledged: Mutex<BTreeMap<String, u64>>,
    failed: Mutex<Vec<(usize, String)>>,
    /// Times that writes took, with the node that was asked.
    took: Mutex<Vec<(usize, Duration)>>,
    stop: AtomicBool,
}

/// Writes rows of its own at one node until it is told to stop, or the first failure.
async fn client(name: String, index: usize, address: String, seen: Arc<Seen>) {
    let mut connection = Connection::new(&address);
    for number in 1_u64.. {
        if seen.stop.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("{name}-{}", number as usize % KEYS);
        let body = json!({"n": number}).to_string();
        let begun = Instant::now();
        let failure = match connection
            .ask(&request("PUT", &row(&key, ""), None, &body))
            .await
        {
            Outcome::Answered(answer) if answer.status == 200 => {
                seen.acknowledged.lock().unwrap().insert(key, number);
                seen.took.lock().unwrap().push((index, begun.elapsed()));
                continue;
            }
            Outcome::Answered(answer) => format!("{} {}", answer.status, answer.text()),
            Outcome::NotSent(error) | Outcome::Failed(error) => error.to_string(),
        };
        seen.failed.lock().unwrap().push((index, failure));
        return;
    }
}

/// The first key that this node shows older than it was acknowledged.
async fn missing(cluster: &Cluster, index: usize, seen: &Seen) -> Option<String> {
    let all = seen.acknowledged.lock().unwrap().clone();
    for (key, number) in all {
        let target = row(&key, "?consistency=strong");
        let (status, answer) = cluster.ask(index, "GET", &target, "").await;
        let found = answer["n"].as_u64();
        if status != 200 || found.is_none_or(|found| found < number) {
            return Some(format!("{key}: {status} {answer}, not {number}"));
        }
    }
    None
}

/// The files below a directory, which may vanish meanwhile.
fn objects(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let count = |path: &Path| if path.is_dir() { objects(path) } else { 1 };
    entries.map(|entry| count(&entry.path())).sum()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Kills a node while clients write through all of them; answers the longest that a write at one
/// of the others took.
async fn killed_under_load(cluster: &mut Cluster, victim: usize, round: usize) -> Duration {
    let survivors = [(victim + 1) % 3, (victim + 2) % 3];
    let held = owners(cluster, survivors[0]).await.unwrap();
    let held = held.iter().filter(|owner| **owner == victim).count();
    let seen = Arc::new(Seen::default());
    let addresses = cluster.addresses().into_iter().enumerate();
    let clients: Vec<_> = addresses
        .map(|(index, address)| {
            let name = format!("r{round}n{index}");
            tokio::spawn(client(name, index, address, Arc::clone(&seen)))
        })
        .collect();
    tokio::time::sleep(WRITES_FOR).await;
    let before = std::mem::take(&mut *seen.took.lock().unwrap());
    cluster.nodes[victim].kill();
    tokio::time::sleep(WRITES_FOR).await;
    until("writes go on", async || {
        let took = seen.took.lock().unwrap();
        let goes_on = |survivor: &usize| took.iter().any(|(index, _)| index == survivor);
        let failed = seen.failed.lock().unwrap().clone();
        if survivors.iter().all(goes_on) {
            Ok(())
        } else {
            Err(format!("{failed:?}"))
        }
    })
    .await;
    seen.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let failed = seen.failed.lock().unwrap().clone();
    let only_at_victim = failed.iter().all(|(index, _)| *index == victim);
    assert!(only_at_victim, "{failed:?}");
    let took = seen.took.lock().unwrap().clone();
    let at_survivors = took.iter().filter(|(index, _)| *index != victim);
    let gap = at_survivors.map(|(_, took)| *took).max().unwrap();
    let median = median(before.iter().map(|(_, took)| *took).collect());
    let longest = before.iter().map(|(_, took)| *took).max().unwrap();
    eprintln!(
        "n{} owned {held}; {} writes before, median {median:?}, longest {longest:?}; \
         {} after it, longest {gap:?}",
        victim + 1,
        before.len(),
        took.len()
    );
    for survivor in survivors {
        assert_eq!(missing(cluster, survivor, &seen).await, None);
    }
    gap
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_was_acknowledged_is_there_after_an_owner_was_killed() {
    let mut cluster = started().await;
    let mut gaps = Vec::new();
    for (round, victim) in [2, 0, 1].into_iter().enumerate() {
        gaps.push(killed_under_load(&mut cluster, victim, round).await);
        cluster.nodes[victim].start();
        cluster.ready(victim).await;
        cluster.members_up(3).await;
    }
    eprintln!("the longest that a write waited for another owner: {gaps:?}");
    assert!(gaps.iter().all(|gap| *gap < GAP_MAX), "{gaps:?}");
    until("all who have come back have their share", async || {
        let owners = owners(&cluster, 0).await?;
        let of = |node: usize| owners.iter().filter(|owner| **owner == node).count();
        let held = [0, 1, 2].map(of);
        let even = held.iter().all(|held| held.abs_diff(owners.len() / 3) <= 1);
        let mut open = [0; 3];
        for (node, open) in open.iter_mut().enumerate() {
            *open = cluster.metric(node, "tablestore_owned_partitions").await as usize;
        }
        let is_done = even && open == held;
        is_done
            .then_some(())
            .ok_or_else(|| format!("{held:?}, open {open:?}"))
    })
    .await;
    let (mut groups, mut took_ms) = (0, 0);
    for node in 0..3 {
        let metric = async |name: &str| cluster.metric(node, name).await;
        assert!(metric("tablestore_owned_opened_total").await >= 2);
        assert_eq!(metric("tablestore_owned_partitions_resting").await, 0);
        let puts = metric(r#"tablestore_shared_storage_requests_total{kind="put"}"#).await;
        assert!(puts > 0, "whoever opens a partition puts a mark");
        groups += metric("tablestore_owned_groups_total").await;
        took_ms += metric("tablestore_owned_groups_milliseconds_total").await;
    }
    // The last that was killed has written none since.
    assert!(groups > 0 && took_ms > 0, "{groups} groups in {took_ms} ms");
    // All at once, as by a power failure: the directory is all there is.
    let (status, answer) = cluster.ask(0, "PUT", &row("last", ""), r#"{"n":7}"#).await;
    assert_eq!(status, 200, "{answer}");
    for node in &mut cluster.nodes {
        node.kill();
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    for index in 0..3 {
        cluster.ready(index).await;
    }
    until("the row is served", async || {
        let target = row("last", "?consistency=strong");
        match cluster.ask(1, "GET", &target, "").await {
            (200, found) if found == json!({"id": "last", "n": 7}) => Ok(()),
            (status, answer) => Err(format!("{status} {answer}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_was_held_up_acknowledges_nothing_stale() {
    let cluster = started().await;
    let keys: Vec<String> = (0..KEYS).map(|number| format!("key-{number}")).collect();
    let mut versions = BTreeMap::new();
    for key in &keys {
        let (status, answer) = cluster.ask(0, "PUT", &row(key, ""), r#"{"n":1}"#).await;
        assert_eq!(status, 200, "{answer}");
        versions.insert(key.clone(), answer["version"].as_u64().unwrap());
    }
    let held_up = owners(&cluster, 0).await.unwrap()[0];
    let others = [(held_up + 1) % 3, (held_up + 2) % 3];
    let address = cluster.addresses()[held_up].clone();
    cluster.nodes[held_up].pause().await;
    // They reach the socket while it is held up, and the node when it goes on.
    let early: Vec<_> = keys
        .iter()
        .map(|key| {
            let strong = request("GET", &row(key, "?consistency=strong"), None, "");
            let plain = request("PUT", &row(key, ""), None, r#"{"n":3}"#);
            let text = String::from_utf8(plain).unwrap();
            let condition = format!("\r\nif-match: \"{}\"\r\n", versions[key]);
            let conditional = text.replacen("\r\n", &condition, 1).into_bytes();
            [strong, conditional].map(|bytes| {
                let mut connection = Connection::new(&address);
                tokio::spawn(async move { connection.ask(&bytes).await })
            })
        })
        .collect();
    until("others own all partitions", async || {
        let owners = owners(&cluster, others[0]).await?;
        if owners.contains(&held_up) {
            Err(format!("{owners:?}"))
        } else {
            Ok(())
        }
    })
    .await;
    for key in &keys {
        let (status, answer) = cluster
            .ask(others[1], "PUT", &row(key, ""), r#"{"n":2}"#)
            .await;
        assert_eq!(status, 200, "{answer}");
    }
    cluster.nodes[held_up].resume();
    for [read, write] in early {
        if let Outcome::Answered(answer) = read.await.unwrap() {
            let stale = answer.status == 200 && !answer.text().contains(r#""n":2"#);
            assert!(!stale, "{}", answer.text());
        }
        if let Outcome::Answered(answer) = write.await.unwrap() {
            assert_ne!(answer.status, 200, "{}", answer.text());
        }
    }
    for key in &keys {
        let target = row(key, "?consistency=strong");
        let (status, found) = cluster.ask(others[0], "GET", &target, "").await;
        assert_eq!((status, &found["n"]), (200, &json!(2)), "{found}");
    }
    until("the node is back", async || {
        let target = row("key-0", "?consistency=strong");
        match cluster.get(held_up, &target).await {
            Ok(found) if found["n"] == json!(2) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_and_batches_work_and_what_needs_copies_is_refused() {
    let cluster = started().await;
    let rows = format!("/v1/tables/{TABLE}/rows");
    let puts: Vec<_> = (0..20).map(|n| json!({"id": format!("k{n}")})).collect();
    let batch = json!({ "put": puts }).to_string();
    let (status, answer) = cluster
        .ask(1, "POST", &format!("{rows}:batch"), &batch)
        .await;
    assert_eq!(status, 200, "{answer}");
    let (status, page) = cluster
        .ask(2, "GET", &format!("{rows}?consistency=strong"), "")
        .await;
    let found = page["rows"].as_array().map(Vec::len);
    assert_eq!((status, found), (200, Some(20)), "{page}");
    let (status, problem) = cluster
        .ask(2, "PUT", &row("k1", "?w=1"), r#"{"n":1}"#)
        .await;
    let code = &problem["code"];
    assert_eq!(
        (status, code),
        (501, &json!("unsupported_by_strategy")),
        "{problem}"
    );
    let sums = format!("/v1/cluster/checksums?table={TABLE}");
    let (status, problem) = cluster.ask(0, "GET", &sums, "").await;
    let code = &problem["code"];
    assert_eq!(
        (status, code),
        (501, &json!("unsupported_by_strategy")),
        "{problem}"
    );
    let shared = cluster.home.path().join("shared");
    assert!(objects(&shared) > PARTITIONS);
    let (status, answer) = cluster
        .ask(1, "DELETE", &format!("/v1/tables/{TABLE}"), "")
        .await;
    assert_eq!(status, 200, "{answer}");
    // But for the marks of the cluster and of the directory.
    until("its rows are deleted", async || match objects(&shared) {
        2 => Ok(()),
        left => Err(format!("{left} objects")),
    })
    .await;
}
