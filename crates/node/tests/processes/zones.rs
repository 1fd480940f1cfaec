//! A zone fails as a whole, under verified traffic on a table of each strategy: nothing that was
//! acknowledged is lost, and all tables serve again at the survivors.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::harness::{Cluster, until};
use crate::verified::{Verified, has_exactly, names, partitions};

const STRATEGIES: [(&str, &str); 3] = [
    ("copied", "primary-backup"),
    ("merged", "active"),
    ("shared", "partition"),
];
/// The zone of each node, in the order in which they are started: the first two are of one zone.
const ZONES: [&str; 6] = ["r/a", "r/a", "r/b", "r/b", "r/c", "r/c"];

async fn started(voters: usize) -> Cluster {
    let mut cluster = Cluster::prepare(ZONES.len());
    let shared = cluster.home.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    for (node, zone) in cluster.nodes.iter_mut().zip(ZONES) {
        let shared = shared.display().to_string();
        let voters = voters.to_string();
        let more = ["--zone", zone, "--shared-dir", &shared, "--voters", &voters];
        node.arguments.extend(more.map(str::to_owned));
    }
    cluster.start_all().await;
    cluster
}

/// How many voters each zone has, as a node sees it.
async fn voters_by_zone(cluster: &Cluster, by: usize) -> Result<BTreeMap<String, usize>, String> {
    let seen = cluster.get(by, "/v1/cluster").await?;
    let nodes = seen["nodes"].as_array().ok_or("no nodes")?;
    let mut count = BTreeMap::new();
    for node in nodes.iter().filter(|node| node["voter"] == true) {
        let zone = node["zone"].as_str().unwrap_or_default().to_owned();
        *count.entry(zone).or_insert(0) += 1;
    }
    Ok(count)
}

/// Waits until all zones have so many voters, each between these two.
async fn voters_spread(cluster: &Cluster, voters: usize) {
    until("voters are spread over the zones", async || {
        let count = voters_by_zone(cluster, 0).await?;
        let most = voters.div_ceil(3);
        let spread = count.len() == 3 && count.values().all(|voters| *voters <= most);
        if spread && count.values().sum::<usize>() == voters {
            Ok(())
        } else {
            Err(format!("{count:?}"))
        }
    })
    .await;
}

/// Asserts that the replicas of every partition are in distinct zones.
async fn replicas_are_spread(cluster: &Cluster, table: &str) {
    for partition in partitions(cluster, 0, table).await.unwrap() {
        let replicas = names(&partition, "replicas");
        let zone = |name: &String| {
            let index = cluster.nodes.iter().position(|node| node.name == *name);
            ZONES[index.expect("it is a node")]
        };
        let zones: BTreeSet<_> = replicas.iter().map(zone).collect();
        assert_eq!(zones.len(), replicas.len(), "{table}: {partition}");
    }
}

/// Waits until a node shows every partition of these tables served by nodes that live.
async fn served_without(cluster: &Cluster, by: usize, dead: &[usize]) {
    let dead: Vec<&String> = dead.iter().map(|at| &cluster.nodes[*at].name).collect();
    for table in ["copied", "shared"] {
        until(&format!("{table} is served by others"), async || {
            let all = partitions(cluster, by, table).await?;
            let waits = |one: &&Value| {
                let primary = one["primary"].as_str().unwrap_or_default();
                one["primary_live"] != true || dead.iter().any(|name| *name == primary)
            };
            match all.iter().find(waits) {
                None => Ok(()),
                Some(one) => Err(one.to_string()),
            }
        })
        .await;
    }
}

/// Kills all nodes of a zone at once under traffic, and lets them come back.
async fn zone_fails(cluster: &mut Cluster, zone: &str) {
    let (dead, survivors): (Vec<usize>, Vec<usize>) =
        (0..ZONES.len()).partition(|index| ZONES[*index] == zone);
    let mut all = Vec::new();
    for (table, strategy) in STRATEGIES {
        all.push(Verified::started(cluster, table, strategy).await);
        replicas_are_spread(cluster, table).await;
    }
    for index in &dead {
        cluster.nodes[*index].signal_kill();
    }
    for index in &dead {
        cluster.nodes[*index].end().await;
    }
    for verified in &all {
        verified.more(200).await;
    }
    served_without(cluster, survivors[0], &dead).await;
    for index in &dead {
        cluster.nodes[*index].start();
    }
    for index in &dead {
        cluster.ready(*index).await;
    }
    cluster.members_up(ZONES.len()).await;
    for (table, replicas) in [("copied", 3), ("merged", 3), ("shared", 1)] {
        has_exactly(cluster, dead[0], table, replicas).await;
        replicas_are_spread(cluster, table).await;
    }
    for verified in all {
        verified.more(200).await;
        let table = verified.table.clone();
        let writes = verified.ends_well().await;
        eprintln!("{writes} writes to {table}, {zone} failed");
    }
    cluster.copies_equal("copied", 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zone_with_the_first_nodes_of_the_cluster_fails() {
    let mut cluster = started(3).await;
    voters_spread(&cluster, 3).await;
    zone_fails(&mut cluster, "r/a").await;
    voters_spread(&cluster, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zone_fails_that_has_two_of_five_voters() {
    let mut cluster = started(5).await;
    voters_spread(&cluster, 5).await;
    zone_fails(&mut cluster, "r/b").await;
}
