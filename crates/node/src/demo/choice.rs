//! Whom to kill next, and when the cluster is whole enough for it.
//!
//! Pure: looks at what the cluster says about itself.

use std::collections::BTreeMap;

use tablestore_client::{ClusterView, PartitionView};

/// The next to die.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Victim {
    pub(crate) name: String,
    /// It holds the controller's office.
    pub(crate) controller: bool,
    /// Partitions it is the primary of.
    pub(crate) primaries: usize,
}

/// Who holds what, with nodes by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) cluster: ClusterView,
    /// Per table, its partitions.
    pub(crate) partitions: Vec<(String, Vec<PartitionView>)>,
}

impl Seen {
    /// The name of a node given by name or storage id.
    pub(crate) fn name<'a>(&'a self, id_or_name: &'a str) -> &'a str {
        let nodes = &self.cluster.nodes;
        nodes
            .iter()
            .find(|node| node.id == id_or_name)
            .map_or(id_or_name, |node| &node.name)
    }

    pub(crate) fn controller(&self) -> Option<&str> {
        self.cluster.controller.as_deref().map(|id| self.name(id))
    }

    /// How many partitions each node is the primary of; nodes without any are listed too.
    pub(crate) fn primaries(&self) -> BTreeMap<String, usize> {
        let names = self.cluster.nodes.iter().map(|node| (node.name.clone(), 0));
        let mut counts: BTreeMap<String, usize> = names.collect();
        for partition in self
            .partitions
            .iter()
            .flat_map(|(_, partitions)| partitions)
        {
            if let Some(primary) = &partition.assignment.primary {
                *counts.entry(self.name(primary).to_owned()).or_default() += 1;
            }
        }
        counts
    }

    /// The id of a table as events name it; empty if the table is not there.
    pub(crate) fn table_id(&self, table: &str) -> String {
        let tables = &self.cluster.tables;
        let found = tables.iter().find(|shown| shown.name == table);
        found.map_or_else(String::new, |shown| shown.id.to_string())
    }

    /// The epochs of a table's partitions that a node is the primary of.
    pub(crate) fn epochs(&self, table: &str, node: &str) -> BTreeMap<u32, u64> {
        self.partitions
            .iter()
            .filter(|(name, _)| name == table)
            .flat_map(|(_, partitions)| partitions)
            .filter(|p| {
                p.assignment
                    .primary
                    .as_deref()
                    .is_some_and(|id| self.name(id) == node)
            })
            .map(|p| (p.partition, p.assignment.epoch))
            .collect()
    }

    /// What is missing until every partition has a primary and `copies` copies in sync, every node
    /// is up and there is a controller; `None` when nothing is.
    pub(crate) fn missing(&self, nodes: usize, copies: usize) -> Option<String> {
        let up = self
            .cluster
            .nodes
            .iter()
            .filter(|node| node.state == "up")
            .count();
        if up < nodes {
            return Some(format!("{up} of {nodes} nodes are up"));
        }
        if self.controller().is_none() {
            return Some("there is no controller".to_owned());
        }
        for (table, partitions) in &self.partitions {
            let of = partitions.len();
            let whole = partitions
                .iter()
                .filter(|p| p.assignment.primary.is_some() && p.assignment.in_sync.len() >= copies)
                .count();
            if whole < of || of == 0 {
                return Some(format!("{whole} of {of} partitions of {table} are whole"));
            }
        }
        None
    }
}

/// Alternates between the controller and the busiest primary that is not the controller.
pub(crate) fn next_victim(seen: &Seen, kill: usize) -> Option<Victim> {
    let controller = seen.controller();
    let primaries = seen.primaries();
    let name = if kill.is_multiple_of(2) {
        controller?.to_owned()
    } else {
        let others = primaries
            .iter()
            .filter(|(name, _)| Some(name.as_str()) != controller);
        // The greatest count; of equals the first name.
        others
            .max_by_key(|(name, count)| (**count, std::cmp::Reverse((*name).clone())))?
            .0
            .clone()
    };
    Some(Victim {
        controller: Some(name.as_str()) == controller,
        primaries: primaries.get(&name).copied().unwrap_or(0),
        name,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use serde_json::json;

    use super::*;

    fn seen() -> Seen {
        let cluster = json!({
            "controller": "0a",
            "nodes": [
                {"id": "0a", "name": "n1", "state": "up"},
                {"id": "0b", "name": "n2", "state": "up"},
                {"id": "0c", "name": "n3", "state": "up"},
            ],
        });
        let partition = |number: u32, primary: &str| {
            json!({"partition": number, "epoch": number + 10, "primary": primary,
                   "replicas": ["n1", "n2", "n3"], "in_sync": ["n1", "n2", "n3"]})
        };
        let partitions = json!([
            partition(0, "n1"),
            partition(1, "n1"),
            partition(2, "0c"),
            partition(3, "n2"),
            partition(4, "n3"),
        ]);
        Seen {
            cluster: serde_json::from_value(cluster).unwrap(),
            partitions: vec![(
                "flights".to_owned(),
                serde_json::from_value(partitions).unwrap(),
            )],
        }
    }

    #[test]
    fn kills_alternate_between_controller_and_busiest_other_primary() {
        let seen = seen();
        let first = Victim {
            name: "n1".to_owned(),
            controller: true,
            primaries: 2,
        };
        assert_eq!(next_victim(&seen, 0), Some(first.clone()));
        let second = Victim {
            name: "n3".to_owned(),
            controller: false,
            primaries: 2,
        };
        assert_eq!(next_victim(&seen, 1), Some(second));
        assert_eq!(next_victim(&seen, 2), Some(first));
    }

    #[test]
    fn nobody_is_chosen_while_there_is_no_controller() {
        let mut seen = seen();
        seen.cluster.controller = None;
        assert_eq!(next_victim(&seen, 0), None);
    }

    #[test]
    fn the_cluster_is_whole_only_with_all_copies_nodes_and_a_controller() {
        assert_eq!(seen().missing(3, 3), None);
        assert!(seen().missing(4, 3).unwrap().contains("3 of 4 nodes"));
        let mut short = seen();
        short.partitions[0].1[2].assignment.in_sync.pop();
        assert_eq!(
            short.missing(3, 3).unwrap(),
            "4 of 5 partitions of flights are whole"
        );
        let mut headless = seen();
        headless.partitions[0].1[2].assignment.primary = None;
        assert!(headless.missing(3, 3).is_some());
        let mut down = seen();
        down.cluster.nodes[1].state = "suspect".to_owned();
        assert!(down.missing(3, 3).unwrap().contains("2 of 3 nodes"));
        let mut empty = seen();
        empty.partitions[0].1.clear();
        assert!(empty.missing(3, 3).is_some());
    }

    #[test]
    fn epochs_are_those_of_the_victims_partitions() {
        assert_eq!(
            seen().epochs("flights", "n3"),
            BTreeMap::from([(2, 12), (4, 14)])
        );
        assert!(seen().epochs("airports", "n3").is_empty());
    }
}
