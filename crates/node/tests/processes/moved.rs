//! All nodes of a cluster come back with other addresses, each told those of the others.

use serde_json::json;

use crate::harness::Cluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_addresses_have_all_changed_forms_again_with_its_rows() {
    let mut cluster = Cluster::started(3).await;
    cluster.create_table("orders", 3, 4).await;
    cluster.whole("orders", 3).await;
    for key in 0..20 {
        let target = format!("/v1/tables/orders/rows/key-{key}");
        let body = json!({"n": key}).to_string();
        let (status, answer) = cluster.ask(key % 3, "PUT", &target, &body).await;
        assert_eq!(status, 200, "{answer}");
    }
    for node in &mut cluster.nodes {
        node.kill();
    }
    let others = Cluster::prepare(3);
    let peers: Vec<String> = others.nodes.iter().map(|n| n.peer.to_string()).collect();
    for (index, moved) in others.nodes.iter().enumerate() {
        let node = &mut cluster.nodes[index];
        (node.http, node.peer) = (moved.http, moved.peer);
        let join: Vec<&str> = (0..3)
            .filter(|other| *other != index)
            .map(|other| peers[other].as_str())
            .collect();
        node.arguments = vec!["--join".to_owned(), join.join(",")];
        node.start();
    }
    for index in 0..3 {
        cluster.ready(index).await;
    }
    cluster.members_up(3).await;
    cluster.whole("orders", 3).await;
    for key in 0..20 {
        let target = format!("/v1/tables/orders/rows/key-{key}?consistency=strong");
        let (status, found) = cluster.ask(key % 3, "GET", &target, "").await;
        assert_eq!((status, &found["n"]), (200, &json!(key)), "{found}");
    }
}
