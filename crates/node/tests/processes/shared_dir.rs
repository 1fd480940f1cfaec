//! The shared directory of a table is not there, is another one on each node, or goes away: nothing
//! is founded twice, and who asks is told what is wrong.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Cluster, until};
use crate::partition::{TABLE, owners, prepared, row};

const KEYS: usize = 16;

/// Makes the table at a node, which waits a second for it.
async fn create_soon(cluster: &Cluster, index: usize) -> (u16, Value) {
    let definition = json!({
        "partition_key": {"name": "id", "type": "string"},
        "strategy": "partition",
        "partitions": 4,
    });
    let target = format!("/v1/tables/{TABLE}");
    cluster
        .ask_soon(index, "PUT", &target, &definition.to_string())
        .await
}

/// How many keys are answered with which status.
async fn statuses(cluster: &Cluster, index: usize) -> BTreeMap<u16, usize> {
    let mut statuses = BTreeMap::new();
    for number in 0..KEYS {
        let target = row(&format!("key-{number}"), "?consistency=strong");
        let (status, _) = cluster.ask_soon(index, "GET", &target, "").await;
        *statuses.entry(status).or_insert(0) += 1;
    }
    statuses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_whose_first_owner_died_is_founded_by_the_next_but_no_other_directory_counts() {
    let mut cluster = prepared(3);
    let other = cluster.home.path().join("other");
    std::fs::create_dir(&other).unwrap();
    *cluster.nodes[1].arguments.last_mut().unwrap() = other.display().to_string();
    cluster.start_all().await;
    let (status, answer) = create_soon(&cluster, 0).await;
    assert_eq!(status, 503, "a partition is elsewhere: {answer}");
    let first = owners(&cluster, 0).await.unwrap();
    assert!(first.contains(&1), "{first:?}");
    let none = statuses(&cluster, 0).await;
    assert_eq!(none, BTreeMap::from([(503, KEYS)]), "nothing is served yet");
    cluster.nodes[1].kill();
    until("the table is made", async || {
        match create_soon(&cluster, 0).await {
            (200, _) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    for number in 0..KEYS {
        let target = row(&format!("key-{number}"), "");
        let (status, answer) = cluster.ask(2, "PUT", &target, r#"{"n":1}"#).await;
        assert_eq!(status, 200, "{answer}");
    }
    // It has some of the partitions, without a row. Its offices go to who has the rows.
    cluster.nodes[1].start();
    cluster.ready(1).await;
    cluster.members_up(3).await;
    cluster.nodes[0].kill();
    until("the other directory is noticed", async || {
        let log = cluster.nodes[1].log();
        let is_told = log.contains("do not share one storage");
        is_told.then_some(()).ok_or(log)
    })
    .await;
    until("all rows are served", async || {
        let statuses = statuses(&cluster, 2).await;
        assert!(!statuses.contains_key(&404), "a row is lost: {statuses:?}");
        let all = statuses == BTreeMap::from([(200, KEYS)]);
        all.then_some(()).ok_or_else(|| format!("{statuses:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_cannot_be_used_is_refused_at_the_start_and_leaves_nothing_behind() {
    let mut cluster = prepared(1);
    let home = cluster.home.path().to_owned();
    std::fs::write(home.join("file"), "").unwrap();
    let absent = home.join("absent").display().to_string();
    let file = home.join("file").display().to_string();
    // Nobody can make a file there, whoever runs the test.
    for unusable in [absent.as_str(), file.as_str(), "/proc"] {
        *cluster.nodes[0].arguments.last_mut().unwrap() = unusable.to_owned();
        let (status, told) = cluster.nodes[0].start_in_vain().await;
        assert!(!status.success(), "{told}");
        let expected = format!("shared-dir: cannot use {unusable}, which must be a directory");
        assert!(told.contains(&expected), "{told}");
        assert!(!cluster.nodes[0].directory.exists(), "{unusable}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_directory_is_away_its_tables_say_so_and_others_go_on() {
    let mut cluster = prepared(3);
    cluster.start_all().await;
    until("the table is made", async || {
        match create_soon(&cluster, 0).await {
            (200 | 201, _) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let other = r#"{"partition_key": {"name": "id", "type": "string"}, "partitions": 1}"#;
    let (status, answer) = cluster.ask(0, "PUT", "/v1/tables/copied", other).await;
    assert_eq!(status, 201, "{answer}");
    let key = row("key-1", "");
    let (status, answer) = cluster.ask(0, "PUT", &key, r#"{"n":1}"#).await;
    assert_eq!(status, 200, "{answer}");
    let shared = cluster.home.path().join("shared");
    let away = cluster.home.path().join("away");
    std::fs::rename(&shared, &away).unwrap();
    until("the table says what is wrong", async || {
        let (status, problem) = cluster.ask_soon(0, "PUT", &key, r#"{"n":2}"#).await;
        assert_ne!(status, 200, "a write elsewhere was acknowledged");
        let is_told = status == 503 && problem["reason"] == json!("no_storage");
        is_told
            .then_some(())
            .ok_or_else(|| format!("{status} {problem}"))
    })
    .await;
    assert!(!shared.exists(), "nothing is made where it was");
    let copied = "/v1/tables/copied/rows/a";
    let (status, answer) = cluster.ask(1, "PUT", copied, r#"{"n":1}"#).await;
    assert_eq!(status, 200, "{answer}");
    // Another directory in its place is not taken for it, and is left as it is.
    std::fs::create_dir(&shared).unwrap();
    let (status, problem) = cluster.ask_soon(0, "PUT", &key, r#"{"n":3}"#).await;
    assert_eq!(status, 503, "{problem}");
    std::fs::remove_dir(&shared).unwrap();
    std::fs::rename(&away, &shared).unwrap();
    until("the table is served again", async || {
        let target = row("key-1", "?consistency=strong");
        let (status, answer) = cluster.ask_soon(0, "GET", &target, "").await;
        let is_there = status == 200 && answer["n"].as_u64().is_some();
        is_there
            .then_some(())
            .ok_or_else(|| format!("{status} {answer}"))
    })
    .await;
    until("it is written again", async || {
        let (status, answer) = cluster.ask_soon(0, "PUT", &key, r#"{"n":4}"#).await;
        (status == 200)
            .then_some(())
            .ok_or_else(|| format!("{status} {answer}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_the_directory_says_so_and_what_an_idle_day_costs_is_shown() {
    let mut cluster = prepared(2);
    let without = &mut cluster.nodes[1].arguments;
    without.truncate(without.len() - 2);
    cluster.start_all().await;
    let (status, problem) = create_soon(&cluster, 1).await;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("conflict")),
        "{problem}"
    );
    assert!(
        problem["detail"].as_str().unwrap().contains("shared-dir"),
        "{problem}"
    );
    // The node without it gets offices as well, which must move on.
    until("the table is made", async || {
        match create_soon(&cluster, 0).await {
            (200 | 201, _) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    for number in 0..KEYS {
        let target = row(&format!("key-{number}"), "");
        let (status, answer) = cluster.ask(1, "PUT", &target, r#"{"n":1}"#).await;
        assert_eq!(status, 200, "{answer}");
    }
    let (status, shown) = cluster
        .ask(1, "GET", &format!("/v1/tables/{TABLE}"), "")
        .await;
    assert_eq!(status, 200, "{shown}");
    let one = shown["requests_per_idle_day_of_partition"]
        .as_u64()
        .unwrap();
    assert!(one > 0);
    assert_eq!(shown["requests_per_idle_day"], json!(4 * one), "{shown}");
}
