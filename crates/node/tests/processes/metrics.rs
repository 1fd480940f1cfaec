//! What a cluster shows in its metrics when a node dies.
//!
//! Knows nothing of how it is shown.

use crate::harness::{Cluster, until};

/// What some nodes show, added up.
async fn sum(cluster: &Cluster, of: &[usize], name: &str) -> u64 {
    let mut sum = 0;
    for index in of {
        sum += cluster.metric(*index, name).await;
    }
    sum
}

#[tokio::test]
async fn a_failover_is_seen_in_the_metrics_of_the_others() {
    let mut cluster = Cluster::started(3).await;
    cluster.create_table("gates", 3, 8).await;
    let all = [0, 1, 2];
    until("one controller, and everything in its place", async || {
        let mut seen = Vec::new();
        for name in [
            "tablestore_controller",
            "tablestore_voters_reachable",
            "tablestore_offices",
            "tablestore_replicas",
        ] {
            seen.push(sum(&cluster, &all, name).await);
        }
        match seen[..] {
            [1, 9, 8, 24] => Ok(()),
            _ => Err(format!("{seen:?}")),
        }
    })
    .await;
    let failovers = r#"tablestore_decisions_total{kind="failover"}"#;
    let before = sum(&cluster, &[0], failovers).await;
    cluster.nodes[2].kill();
    for index in [0, 1] {
        for (name, expected) in [
            (r#"tablestore_members{state="down"}"#, 1),
            (r#"tablestore_members{state="up"}"#, 2),
            ("tablestore_voters_reachable", 2),
            ("tablestore_controller_known", 1),
            ("tablestore_partitions_without_primary", 0),
            ("tablestore_partitions_under_replicated", 8),
            ("tablestore_partitions_below_min_in_sync", 0),
        ] {
            until(name, async || match cluster.metric(index, name).await {
                seen if seen == expected => Ok(()),
                seen => Err(format!("{seen} at node {index}, not {expected}")),
            })
            .await;
        }
    }
    assert!(sum(&cluster, &[0], failovers).await > before);
    until("one controller again", async || {
        match sum(&cluster, &[0, 1], "tablestore_controller").await {
            1 => Ok(()),
            seen => Err(seen.to_string()),
        }
    })
    .await;
}
