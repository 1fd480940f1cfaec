//! Tables get more replicas and fewer while they are written to and a node dies: nothing that was
//! acknowledged is lost, and in the end there are exactly as many copies, all equal.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Cluster, until};
use crate::verified::{Verified, has_exactly, names, partitions};

/// Longer than a node that is only restarted stays away, shorter than a test waits.
const REREPLICATE_AFTER: &str = "2";

async fn five() -> Cluster {
    let mut cluster = Cluster::prepare(5);
    for node in &mut cluster.nodes {
        let after = ["--rereplicate-after", REREPLICATE_AFTER].map(str::to_owned);
        node.arguments.extend(after);
    }
    cluster.start_all().await;
    cluster
}

async fn alter(cluster: &Cluster, by: usize, table: &str, alteration: Value) -> Value {
    let (target, body) = (format!("/v1/tables/{table}"), alteration.to_string());
    until("the table is altered", async || {
        match cluster.ask(by, "PATCH", &target, &body).await {
            (200, answer) => Ok(answer),
            // It may wait for a primary that has just been killed.
            (503, answer) => Err(answer.to_string()),
            (status, answer) => panic!("{status} {answer}"),
        }
    })
    .await
}

/// 3 replicas become 5 and then 2, while a node is killed; answers how many writes there were.
async fn more_and_fewer(cluster: &mut Cluster, strategy: &str) -> Verified {
    let verified = Verified::started(cluster, "altered", strategy).await;
    let table = verified.table.clone();
    has_exactly(cluster, 0, &table, 3).await;
    let answer = alter(cluster, 1, &table, json!({"replicas": 5})).await;
    assert_eq!(answer["changed"], true, "{answer}");
    cluster.nodes[4].kill();
    verified.more(200).await;
    cluster.nodes[4].start();
    cluster.ready(4).await;
    has_exactly(cluster, 2, &table, 5).await;
    verified.more(200).await;
    alter(cluster, 3, &table, json!({"replicas": 2})).await;
    // Wherever that is by now.
    cluster.nodes[0].kill();
    verified.more(200).await;
    cluster.nodes[0].start();
    cluster.ready(0).await;
    has_exactly(cluster, 1, &table, 2).await;
    verified.more(200).await;
    verified
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_gets_more_replicas_and_fewer_under_traffic_while_nodes_die() {
    let mut cluster = five().await;
    let verified = more_and_fewer(&mut cluster, "primary-backup").await;
    let table = verified.table.clone();
    let writes = verified.ends_well().await;
    eprintln!("{writes} writes");
    cluster.copies_equal(&table, 2).await;
    has_exactly(&cluster, 0, &table, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_active_table_gets_more_replicas_and_fewer_under_traffic_while_nodes_die() {
    let mut cluster = five().await;
    let verified = more_and_fewer(&mut cluster, "active").await;
    let table = verified.table.clone();
    let writes = verified.ends_well().await;
    eprintln!("{writes} writes");
    has_exactly(&cluster, 0, &table, 2).await;
    copies_become_equal(&cluster, &table).await;
}

/// Waits until each row is the same at each replica alone. One replica is asked, and where the node
/// that is asked has one it is its own.
async fn copies_become_equal(cluster: &Cluster, table: &str) {
    let shown = partitions(cluster, 0, table).await.unwrap();
    for number in 0..48 {
        let target = format!("/v1/tables/{table}/rows/k{number}");
        let (status, strong) = cluster.ask(0, "GET", &target, "").await;
        assert_eq!(status, 200, "{strong}");
        until("all replicas have the row", async || {
            for index in 0..cluster.nodes.len() {
                let name = &cluster.nodes[index].name;
                let holds = |one: &Value| names(one, "replicas").contains(name);
                if !shown.iter().any(holds) {
                    continue;
                }
                let alone = cluster.get(index, &format!("{target}?r=1")).await?;
                if alone != strong {
                    return Err(format!("{name}: {alone}, not {strong}"));
                }
            }
            Ok(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minimum_above_what_is_in_sync_refuses_writes_from_the_answer_on_until_it_is_met() {
    let mut cluster = Cluster::started(3).await;
    cluster.create_table("minimum", 3, 4).await;
    cluster.nodes[2].kill();
    until("the dead node is in no in-sync set", async || {
        let all = partitions(&cluster, 0, "minimum").await?;
        let counts = |one: &Value| {
            names(one, "in_sync").contains(&"n3".to_owned()) || one["primary_live"] != true
        };
        match all.into_iter().find(counts) {
            None => Ok(()),
            Some(one) => Err(one.to_string()),
        }
    })
    .await;
    let target = |number: usize| format!("/v1/tables/minimum/rows/k{number}");
    let answer = alter(&cluster, 1, "minimum", json!({"min_in_sync": 3})).await;
    assert_eq!(answer["below_min_in_sync"], 4, "{answer}");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for number in 0..16 {
        let put = http.put(cluster.nodes[number % 2].url(&target(number)));
        let put = put.header("x-tablestore-timeout-ms", "300").body("{}");
        let answer = put.send().await.unwrap();
        assert_eq!(answer.status(), 503, "two are in sync, three are needed");
        let problem: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(problem["code"], "not_applied", "{problem}");
        let (status, answer) = cluster.ask(1, "GET", &target(number), "").await;
        assert_eq!(status, 404, "{answer}");
    }
    // Asked again it says the same.
    let answer = alter(&cluster, 0, "minimum", json!({"min_in_sync": 3})).await;
    let found = (&answer["changed"], &answer["below_min_in_sync"]);
    assert_eq!(found, (&json!(false), &json!(4)));
    cluster.nodes[2].start();
    cluster.ready(2).await;
    cluster.whole("minimum", 3).await;
    for number in 0..16 {
        let (status, answer) = cluster.ask(2, "PUT", &target(number), "{}").await;
        assert_eq!(status, 200, "{answer}");
    }
    let answer = alter(
        &cluster,
        1,
        "minimum",
        json!({"min_in_sync": 1, "replicas": 1}),
    )
    .await;
    assert_eq!(answer["below_min_in_sync"], 0, "{answer}");
    has_exactly(&cluster, 1, "minimum", 1).await;
    for number in 0..16 {
        let (status, answer) = cluster.ask(0, "GET", &target(number), "").await;
        assert_eq!(status, 200, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_altered_on_the_command_line() {
    let cluster = Cluster::started(2).await;
    cluster.create_table("lines", 2, 2).await;
    let address = cluster.addresses()[0].clone();
    let run = async |arguments: &[&str]| {
        let mut command = crate::harness::tablestore();
        command.args(["table", "alter", "lines", "--server", &address]);
        command.args(arguments);
        let ran = tokio::task::spawn_blocking(move || command.output());
        let output = ran.await.unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.success(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (done, text, _) = run(&["--min-in-sync", "1", "--replicas", "1"]).await;
    assert!(
        done && text.contains("replicas 1, min_in_sync 1 from now on"),
        "{text}"
    );
    let (done, text, _) = run(&["--min-in-sync", "1", "--json"]).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert!(done && answer["changed"] == false, "{answer}");
    let (done, _, error) = run(&["--min-in-sync", "2"]).await;
    assert!(!done && error.contains("min_in_sync"), "{error}");
    let (done, _, error) = run(&[]).await;
    assert!(!done && error.contains("--replicas"), "{error}");
    tokio::time::timeout(
        Duration::from_secs(100),
        has_exactly(&cluster, 1, "lines", 1),
    )
    .await
    .unwrap();
}
