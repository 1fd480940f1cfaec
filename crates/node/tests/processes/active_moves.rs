//! Replicas of an active table move between processes while all of them take writes and reads:
//! nothing that was acknowledged is lost, and no request fails because of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;
use tokio::task::JoinHandle;

use crate::active::{ANSWERS, Seen, TABLE, answered, client, create, missing};
use crate::harness::{Cluster, row_files, until};

/// A cluster of four with an active table, and clients at all of its nodes.
async fn under_traffic(cluster: &Cluster) -> (Arc<Seen>, Vec<JoinHandle<()>>) {
    create(cluster).await;
    let seen = Arc::new(Seen::default());
    let addresses = cluster.addresses().into_iter().enumerate();
    let clients = addresses
        .map(|(index, address)| tokio::spawn(client(index, address, Arc::clone(&seen))))
        .collect();
    answered(&seen, &[0, 1, 2, 3], ANSWERS).await;
    (seen, clients)
}

async fn end(seen: &Seen, clients: Vec<JoinHandle<()>>) -> Vec<(usize, String)> {
    seen.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    seen.failed.lock().unwrap().clone()
}

/// Waits until every partition has three replicas, all whole, and none at this node.
async fn moved_off(cluster: &Cluster, node: &str) {
    let target = format!("/v1/cluster/partitions?table={TABLE}");
    until("all replicas are elsewhere", async || {
        let seen = cluster.get(0, &target).await?;
        let partitions = seen["partitions"].as_array().ok_or("no partitions")?;
        let is_done = |partition: &&Value| {
            let replicas = partition["replicas"].to_string();
            let count = |field: &str| partition[field].as_array().map_or(0, Vec::len);
            !replicas.contains(&format!("\"{node}\""))
                && count("replicas") == 3
                && count("in_sync") == 3
        };
        match partitions.iter().find(|partition| !is_done(partition)) {
            None => Ok(()),
            Some(lacking) => Err(lacking.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_replicas_of_an_active_table_is_drained_under_traffic() {
    let mut cluster = Cluster::started(4).await;
    let (seen, clients) = under_traffic(&cluster).await;
    let (status, answer) = cluster
        .ask(1, "POST", "/v1/cluster/nodes/n4/drain", "")
        .await;
    assert_eq!(status, 202, "{answer}");
    moved_off(&cluster, "n4").await;
    answered(&seen, &[0, 1, 2, 3], ANSWERS).await;
    assert_eq!(end(&seen, clients).await, [], "no request fails");
    cluster.nodes[3].kill();
    cluster.nodes[0].kill();
    for survivor in [1, 2] {
        assert_eq!(missing(&cluster, survivor, &seen, "").await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_of_an_active_table_on_a_node_that_stays_away_are_made_anew_elsewhere() {
    let mut cluster = Cluster::prepare(4);
    for node in &mut cluster.nodes {
        let after = ["--rereplicate-after", "1"].map(str::to_owned);
        node.arguments.extend(after);
    }
    cluster.start_all().await;
    let (seen, clients) = under_traffic(&cluster).await;
    cluster.nodes[3].kill();
    moved_off(&cluster, "n4").await;
    answered(&seen, &[0, 1, 2], ANSWERS).await;
    let failed = end(&seen, clients).await;
    assert!(failed.iter().all(|(index, _)| *index == 3), "{failed:?}");
    cluster.nodes[0].kill();
    for survivor in [1, 2] {
        assert_eq!(missing(&cluster, survivor, &seen, "").await, None);
    }
    // It holds no replica any more, and what it once had does not come back.
    cluster.nodes[3].start();
    cluster.ready(3).await;
    assert_eq!(missing(&cluster, 3, &seen, "").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_an_active_table_whose_files_are_damaged_is_built_anew_from_the_others() {
    let mut cluster = Cluster::started(3).await;
    create(&cluster).await;
    let seen = Arc::new(Seen::default());
    let addresses = cluster.addresses().into_iter().enumerate();
    let clients = addresses
        .map(|(index, address)| tokio::spawn(client(index, address, Arc::clone(&seen))))
        .collect();
    answered(&seen, &[0, 1, 2], ANSWERS).await;
    assert_eq!(end(&seen, clients).await, []);
    // Ended in order, so that the rows are in its files.
    cluster.nodes[2].terminate().await;
    let files = row_files(&cluster.nodes[2].directory);
    assert!(!files.is_empty());
    for file in files {
        std::fs::remove_file(file).unwrap();
    }
    cluster.nodes[2].start();
    cluster.ready(2).await;
    until("it has all rows again", async || {
        let log = cluster.nodes[2].log();
        match log
            .matches("an active replica has all its rows again")
            .count()
        {
            4.. => Ok(()),
            fewer => Err(format!("{fewer} partitions")),
        }
    })
    .await;
    cluster.nodes[0].kill();
    cluster.nodes[1].kill();
    assert_eq!(missing(&cluster, 2, &seen, "?r=1").await, None, "alone");
}
