//! How nodes find their cluster.

use crate::harness::{Cluster, until};

#[tokio::test]
async fn a_node_whose_cluster_is_not_there_yet_says_whom_it_tried_and_joins_later() {
    let mut cluster = Cluster::prepare(2);
    let first = cluster.nodes[0].peer.to_string();
    cluster.nodes[1].start();
    until("the log names whom it tried, twice", async || {
        let log = cluster.nodes[1].log();
        let lines = log.lines().filter(|line| line.contains("still trying"));
        let lines: Vec<_> = lines.filter(|line| line.contains(&first)).collect();
        if lines.len() >= 2 { Ok(()) } else { Err(log) }
    })
    .await;
    let (status, problem) = cluster.ask(1, "GET", "/readyz", "").await;
    assert_eq!(
        (status, &problem["code"]),
        (503, &"not_ready".into()),
        "{problem}"
    );
    assert!(cluster.nodes[1].is_running());

    cluster.nodes[0].start();
    cluster.ready(0).await;
    cluster.ready(1).await;
    cluster.members_up(2).await;
}

#[tokio::test]
async fn a_node_joins_by_the_address_for_clients_too_and_says_which_one_it_was() {
    let mut cluster = Cluster::prepare(2);
    cluster.nodes[0].start();
    cluster.ready(0).await;
    let for_clients = cluster.nodes[0].http.to_string();
    cluster.nodes[1].arguments = vec!["--join".to_owned(), for_clients.clone()];
    cluster.nodes[1].start();
    cluster.ready(1).await;
    cluster.members_up(2).await;
    let log = cluster.nodes[1].log();
    let said = log.lines().any(|line| {
        line.contains("still trying")
            && line.contains(&for_clients)
            && line.contains("is it the address for nodes")
    });
    assert!(said, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_removed_ends_and_says_what_to_do() {
    let mut cluster = Cluster::started(3).await;
    let (status, answer) = cluster.ask(0, "DELETE", "/v1/cluster/nodes/n3", "").await;
    assert_eq!(status, 200, "{answer}");
    let status = cluster.nodes[2].end().await;
    assert_eq!(status.code(), Some(1), "{}", cluster.nodes[2].log());
    let told = "this node was removed from its cluster for good";
    assert!(
        cluster.nodes[2].log().contains(told),
        "{}",
        cluster.nodes[2].log()
    );
    let (status, log) = cluster.nodes[2].start_in_vain().await;
    assert!(status.code() == Some(1) && log.contains(told), "{log}");
    std::fs::remove_dir_all(&cluster.nodes[2].directory).unwrap();
    cluster.nodes[2].start();
    cluster.ready(2).await;
    cluster.members_up(3).await;
    let (status, answer) = cluster.ask(0, "DELETE", "/v1/cluster/nodes/n9", "").await;
    assert_eq!(status, 404, "{answer}");
}
