//! Who is in the cluster and what each member holds, as commands ask for it.
//!
//! Knows nothing of how it is shown.

use std::collections::BTreeMap;

use tablestore_client::{Client, ClusterView, NodeView, PartitionView};

use crate::terminal::Failure;

/// Members, and who holds which partition.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// The members in the order of their names.
    pub(super) cluster: ClusterView,
    /// By table, in the order of their names.
    pub(super) partitions: BTreeMap<String, Vec<PartitionView>>,
}

impl Holdings {
    pub(super) async fn ask(client: &Client) -> Result<Self, Failure> {
        let mut cluster = client.cluster().await?;
        cluster.nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let mut partitions = BTreeMap::new();
        for name in cluster.tables.iter().map(|table| table.name.clone()) {
            partitions.insert(name.clone(), client.partitions(&name).await?);
        }
        Ok(Self {
            cluster,
            partitions,
        })
    }

    /// The partitions of which a node is the primary or owner.
    pub(super) fn primaries(&self, node: &NodeView) -> usize {
        self.count(|partition| {
            let primary = partition.assignment.primary.as_deref();
            primary == Some(&node.name) || primary == Some(&node.id)
        })
    }

    /// The partitions of which a node has, or is to get, a copy.
    pub(super) fn copies(&self, node: &NodeView) -> usize {
        self.count(|partition| {
            let mut replicas = partition.assignment.replicas.iter();
            replicas.any(|replica| *replica == node.name || *replica == node.id)
        })
    }

    fn count(&self, holds: impl Fn(&PartitionView) -> bool) -> usize {
        let all = self.partitions.values().flatten();
        all.filter(|partition| holds(partition)).count()
    }
}
