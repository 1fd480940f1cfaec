//! When most voters are gone, whoever is left says so, and what it cannot do any more.

use serde_json::{Value, json};

use crate::harness::{Cluster, tablestore, until};

/// The index of the only node that goes on, the others, and a partition key whose row it serves.
async fn survivor(cluster: &Cluster) -> (usize, [usize; 2]) {
    let survivor = until("there is a controller", async || {
        let seen = cluster.get(0, "/v1/cluster").await?;
        let mut nodes = cluster.nodes.iter();
        let controller = nodes.position(|node| seen["controller"] == json!(node.name));
        controller.ok_or_else(|| seen["majority"].to_string())
    })
    .await;
    (survivor, [(survivor + 1) % 3, (survivor + 2) % 3])
}

async fn lost(cluster: &Cluster, survivor: usize, gone: [usize; 2]) -> Value {
    let mut gone = gone.map(|index| cluster.nodes[index].name.clone());
    gone.sort();
    until("the survivor knows that it is alone", async || {
        let seen = cluster.get(survivor, "/v1/cluster").await?;
        let missing = seen["majority"]["missing"].as_array().cloned();
        let mut missing: Vec<_> = missing
            .unwrap_or_default()
            .iter()
            .map(|voter| voter["node"].as_str().unwrap_or_default().to_owned())
            .collect();
        missing.sort();
        match seen["majority"]["reached"] == false && missing == gone {
            true => Ok(seen),
            false => Err(seen["majority"].to_string()),
        }
    })
    .await
}

async fn assert_told(cluster: &Cluster, survivor: usize, gone: [usize; 2]) {
    let seen = lost(cluster, survivor, gone).await;
    assert_eq!(seen["controller"], Value::Null);
    for node in seen["nodes"].as_array().unwrap() {
        let is_me = node["name"] == json!(cluster.nodes[survivor].name);
        let expected = if is_me { "up" } else { "unreachable" };
        assert_eq!(node["state"], json!(expected), "{node}");
    }
    let (status, problem) = cluster.ask(survivor, "GET", "/readyz", "").await;
    assert_eq!(status, 503, "{problem}");
    let why = problem["reason"].as_str().unwrap_or_default();
    assert!(why.starts_with("this node reaches 1 of 3 voters"), "{why}");
    assert!(why.contains("eventual reads"), "{why}");
    let table = json!({"partition_key": {"name": "id", "type": "string"}}).to_string();
    for (method, target, body) in [
        ("PUT", "/v1/tables/more", table.as_str()),
        ("PUT", "/v1/tables/orders/rows/x", "{}"),
        ("GET", "/v1/tables/orders/rows/x", ""),
    ] {
        let (status, problem) = cluster.ask_soon(survivor, method, target, body).await;
        assert_eq!(status, 503, "{method} {target}: {problem}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("reaches 1 of 3 voters"), "{problem}");
    }
    let server = cluster.nodes[survivor].http.to_string();
    let mut command = tablestore();
    let status = command.args(["--server", &server, "status"]).output();
    let status = status.unwrap();
    let told = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(told.starts_with("NO MAJORITY: "), "{told}");
    assert_eq!(status.status.code(), Some(5), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_left_without_a_majority_says_so_and_names_who_is_missing() {
    let mut cluster = Cluster::started(3).await;
    cluster.create_table("orders", 3, 8).await;
    cluster.whole("orders", 3).await;
    let (survivor, gone) = survivor(&cluster).await;
    let [one, other] = gone.map(|index| cluster.nodes[index].name.clone());
    let target = format!("/v1/cluster/explain?if_fails={one},{other}");
    let foretold = cluster.get(survivor, &target).await.unwrap();
    assert_eq!(foretold["majority"], json!(false), "{foretold}");
    let partitions = foretold["partitions"].as_array().unwrap();
    let unserved = |outcome: &&Value| outcome["readable"] == false && outcome["writable"] == false;
    assert_eq!(partitions.iter().filter(unserved).count(), 8, "{foretold}");

    // Cut off: the connections stand and nobody answers on them.
    for index in gone {
        cluster.nodes[index].pause().await;
    }
    assert_told(&cluster, survivor, gone).await;
    for index in gone {
        cluster.nodes[index].resume();
    }
    cluster.ready(survivor).await;
    cluster.whole("orders", 3).await;

    for index in gone {
        cluster.nodes[index].kill();
    }
    assert_told(&cluster, survivor, gone).await;
}
