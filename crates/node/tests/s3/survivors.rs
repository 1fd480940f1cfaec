//! What was acknowledged is there, whatever dies or is away meanwhile.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Cluster, until};
use crate::service::Service;
use crate::{BUCKET, TABLE, assert_nothing_secret_is_logged, row, started};

const KEYS: usize = 24;
/// A request that waits a second is answered by then, on a busy machine too.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

async fn write(cluster: &Cluster, index: usize, key: usize, number: u64) {
    let body = json!({"n": number}).to_string();
    let (status, answer) = cluster.ask(index, "PUT", &row(key, ""), &body).await;
    assert_eq!(status, 200, "{answer}");
}

/// The index of the node that owns the first partition.
async fn an_owner(cluster: &Cluster, seen_by: usize) -> usize {
    let target = format!("/v1/cluster/partitions?table={TABLE}");
    let seen = cluster.get(seen_by, &target).await.unwrap();
    let owner = &seen["partitions"][0]["primary"];
    let index = cluster
        .nodes
        .iter()
        .position(|node| *owner == json!(node.name));
    index.unwrap_or_else(|| panic!("no owner: {seen}"))
}

async fn assert_rows(cluster: &Cluster, index: usize, number: u64) {
    for key in 0..KEYS {
        let target = row(key, "?consistency=strong");
        let (status, found) = cluster.ask(index, "GET", &target, "").await;
        assert_eq!(
            (status, &found["n"]),
            (200, &json!(number)),
            "{key}: {found}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_was_acknowledged_is_read_from_the_survivors_of_an_owner() {
    let service = Service::started(BUCKET).await;
    let mut cluster = started(&service).await;
    for key in 0..KEYS {
        write(&cluster, key % 3, key, 1).await;
    }
    let victim = an_owner(&cluster, 0).await;
    let survivors = [(victim + 1) % 3, (victim + 2) % 3];
    cluster.nodes[victim].kill();
    for survivor in survivors {
        assert_rows(&cluster, survivor, 1).await;
    }
    for key in 0..KEYS {
        write(&cluster, survivors[0], key, 2).await;
    }
    assert_rows(&cluster, survivors[1], 2).await;
    // All at once, as by a power failure: the bucket is all there is.
    for survivor in survivors {
        cluster.nodes[survivor].kill();
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    for index in 0..3 {
        cluster.ready(index).await;
    }
    assert_rows(&cluster, victim, 2).await;
    assert_nothing_secret_is_logged(&cluster);
}

/// What was acknowledged is still there, and no more than that.
async fn assert_is_written_again(cluster: &Cluster, service: &Service) {
    service.behave("right").await;
    until("it is written again", async || {
        let (status, answer) = cluster.ask_soon(0, "PUT", &row(0, ""), r#"{"n":1}"#).await;
        (status == 200)
            .then_some(())
            .ok_or_else(|| format!("{status} {answer}"))
    })
    .await;
    assert_rows(cluster, 1, 1).await;
}

async fn assert_says_so_while(cluster: &Cluster, service: &Service, mode: &str) {
    service.behave(mode).await;
    until("the table says what is wrong", async || {
        let (status, problem) = cluster.ask_soon(0, "PUT", &row(0, ""), r#"{"n":2}"#).await;
        assert_ne!(status, 200, "a write was acknowledged");
        let is_told = status == 503 && problem["reason"] == json!("no_storage");
        is_told
            .then_some(())
            .ok_or_else(|| format!("{status} {problem}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_are_taken_back_or_expire_are_named_and_nothing_is_lost() {
    let service = Service::started(BUCKET).await;
    let cluster = started(&service).await;
    for key in 0..KEYS {
        write(&cluster, key % 3, key, 1).await;
    }
    for (times, mode) in ["denies", "expired"].into_iter().enumerate() {
        assert_says_so_while(&cluster, &service, mode).await;
        let refused = "the service refuses the credentials; give those of a user who may";
        until(
            "an owner's log says that it is the credentials",
            async || {
                let logs = cluster.nodes.iter().map(|node| node.log());
                let told: usize = logs.map(|log| log.matches(refused).count()).sum();
                (told > times)
                    .then_some(())
                    .ok_or_else(|| format!("told {told} times"))
            },
        )
        .await;
        assert_is_written_again(&cluster, &service).await;
    }
    assert_nothing_secret_is_logged(&cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_service_is_away_its_tables_say_so_and_nothing_is_lost() {
    let service = Service::started(BUCKET).await;
    let cluster = started(&service).await;
    for key in 0..KEYS {
        write(&cluster, key % 3, key, 1).await;
    }
    service.behave("hangs").await;
    let begun = Instant::now();
    let (status, answer) = cluster.ask_soon(0, "PUT", &row(0, ""), r#"{"n":2}"#).await;
    assert!([503, 504].contains(&status), "{status} {answer}");
    assert!(begun.elapsed() < ANSWERED_WITHIN, "{:?}", begun.elapsed());
    assert_says_so_while(&cluster, &service, "fails").await;
    assert_is_written_again(&cluster, &service).await;
    let table = format!("/v1/tables/{TABLE}");
    let (status, answer) = cluster.ask(1, "DELETE", &table, "").await;
    assert_eq!(status, 200, "{answer}");
    until("its rows are deleted", async || {
        let objects = service.objects(BUCKET).await;
        let marks = ["a/cluster/cluster-id", "a/cluster/storage-number"];
        (objects == marks)
            .then_some(())
            .ok_or_else(|| format!("{objects:?}"))
    })
    .await;
    assert_nothing_secret_is_logged(&cluster);
}
