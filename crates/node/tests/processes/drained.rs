//! A node is drained, told why it cannot be, restarted meanwhile, and taken back.

use serde_json::Value;

use crate::harness::{Cluster, tablestore, until};

/// Runs a command against the first node; its exit status, and all it said.
fn run(cluster: &Cluster, arguments: &[&str]) -> (i32, String) {
    let server = cluster.nodes[0].http.to_string();
    let mut command = tablestore();
    let output = command.args(arguments).args(["--server", &server]).output();
    let output = output.unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    (output.status.code().unwrap(), text)
}

/// What the cluster shows of a node.
async fn shown(cluster: &Cluster, name: &str) -> Value {
    let seen = cluster.get(0, "/v1/cluster").await.unwrap();
    let mut nodes = seen["nodes"].as_array().unwrap().iter();
    nodes.find(|node| node["name"] == name).unwrap().clone()
}

async fn has_state(cluster: &Cluster, name: &str, incarnation: u64, state: &str) {
    until("the node has its state", async || {
        let node = shown(cluster, name).await;
        let is_it = node["state"] == state && node["incarnation"] == incarnation;
        is_it.then_some(()).ok_or_else(|| node.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_is_followed_goes_on_through_restarts_and_is_called_off() {
    let mut cluster = Cluster::started(4).await;
    cluster.create_table("orders", 3, 8).await;
    let (status, told) = run(&cluster, &["node", "drain", "n4", "--wait"]);
    assert_eq!(status, 0, "{told}");
    assert!(told.contains("n4 is drained"), "{told}");
    has_state(&cluster, "n4", 1, "drained").await;
    let (_, told) = run(&cluster, &["status"]);
    assert!(
        told.starts_with("OK: ") && told.contains("drained"),
        "{told}"
    );

    // Three copies, and two other nodes that can hold them.
    let arguments = ["node", "drain", "n3", "--wait", "--within", "1"];
    let (status, told) = run(&cluster, &arguments);
    assert_eq!(status, 5, "{told}");
    assert!(told.contains("orders cannot move: it wants 3"), "{told}");
    assert!(told.contains("add a node"), "{told}");
    let (status, told) = run(&cluster, &["status"]);
    assert_eq!(status, 5, "{told}");
    assert!(told.contains("n3 is draining (8 copies, 0 primaries left)"));
    assert!(told.contains("add a node"), "{told}");

    // It drains on, and its copies count as before.
    cluster.nodes[2].terminate().await;
    cluster.nodes[2].start();
    cluster.ready(2).await;
    has_state(&cluster, "n3", 2, "draining").await;
    cluster.whole("orders", 3).await;
    cluster.nodes[2].kill();
    cluster.nodes[2].start();
    cluster.ready(2).await;
    has_state(&cluster, "n3", 3, "draining").await;
    cluster.whole("orders", 3).await;

    // As soon as another node can take its copies the drain ends.
    let (status, told) = run(&cluster, &["node", "undrain", "n4"]);
    assert_eq!(status, 0, "{told}");
    let (status, told) = run(&cluster, &["node", "drain", "n3", "--wait"]);
    assert_eq!(status, 0, "{told}");
    let (status, told) = run(&cluster, &["node", "undrain", "n3"]);
    assert_eq!(status, 0, "{told}");
    has_state(&cluster, "n3", 3, "up").await;
    let (_, told) = run(&cluster, &["decisions"]);
    assert!(told.contains("undrain"), "{told}");
    until("it gets primaries and copies again", async || {
        let seen = cluster
            .get(0, "/v1/cluster/partitions?table=orders")
            .await?;
        let all = seen["partitions"].to_string();
        let taken = all.contains("\"primary\":\"n3\"");
        taken.then_some(()).ok_or(all)
    })
    .await;
    cluster.copies_equal("orders", 3).await;
    let (status, told) = run(&cluster, &["checksums", "orders"]);
    assert_eq!(status, 0, "{told}");
}
