//! `tablestore node`: the members, and those that leave.
//!
//! Knows nothing of how anything is moved off a node.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tablestore_client::{Client, NodeView};

use super::holdings::Holdings;
use super::status::{age, name_of};
use crate::terminal::{Exit, Failure, Screen, Tone, columns, date_time};

/// `tablestore node …`
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the nodes with their state, addresses, and what they hold
    List,
    /// Move everything off a node; it stays a member
    Drain(NodeArgument),
    /// Remove a node from the cluster for good
    Remove(NodeArgument),
}

/// The name of a node.
#[derive(Debug, Args)]
pub(crate) struct NodeArgument {
    /// Name of the node
    node: String,
}

pub(crate) async fn run(
    client: &Client,
    screen: &Screen,
    command: NodeCommand,
) -> Result<Exit, Failure> {
    match command {
        NodeCommand::List => {
            let holdings = Holdings::ask(client).await?;
            screen.result(&listed(&holdings), || list(screen, &holdings));
        }
        NodeCommand::Drain(NodeArgument { node }) => {
            client.drain_node(&node).await?;
            screen.result(&json!({"draining": node}), || {
                format!("{node} is being drained; `tablestore status` shows how far it is")
            });
        }
        NodeCommand::Remove(NodeArgument { node }) => {
            client.remove_node(&node).await?;
            screen.result(&json!({"removed": node}), || format!("{node} was removed"));
        }
    }
    Ok(Exit::Done)
}

/// Every member as the server shows it, with what it holds.
fn listed(holdings: &Holdings) -> Value {
    let shown = |node: &NodeView| {
        let mut node = node.clone();
        let (copies, primaries) = (holdings.copies(&node), holdings.primaries(&node));
        node.more.insert("copies".to_owned(), copies.into());
        node.more.insert("primaries".to_owned(), primaries.into());
        json!(node)
    };
    holdings.cluster.nodes.iter().map(shown).collect()
}

fn list(screen: &Screen, holdings: &Holdings) -> String {
    let nodes = &holdings.cluster.nodes;
    let controller = holdings.cluster.controller.as_deref();
    let controller = controller.map(|id| name_of(nodes, id));
    let rows: Vec<Vec<String>> = nodes
        .iter()
        .map(|node| {
            let resources = node.resources.as_ref();
            let controls = controller == Some(node.name.as_str());
            vec![
                format!("{}{}", node.name, if controls { " *" } else { "" }),
                node.state.clone(),
                date_time(node.since_ms),
                node.address.clone(),
                node.peer_address.clone(),
                node.zone.clone().unwrap_or_default(),
                if node.voter { "yes" } else { "no" }.to_owned(),
                node.incarnation.to_string(),
                resources.map_or_else(String::new, |known| known.level.clone()),
                holdings.copies(node).to_string(),
                holdings.primaries(node).to_string(),
                resources
                    .and_then(|known| known.version.clone())
                    .unwrap_or_default(),
                resources
                    .and_then(|known| known.uptime_s)
                    .map_or_else(String::new, |seconds| age(seconds.saturating_mul(1_000))),
            ]
        })
        .collect();
    let headings = [
        "NODE",
        "STATE",
        "SINCE (UTC)",
        "FOR CLIENTS",
        "FOR NODES",
        "ZONE",
        "VOTER",
        "STARTS",
        "RESOURCES",
        "COPIES",
        "PRIMARIES",
        "VERSION",
        "UPTIME",
    ];
    let faint = screen.paint(Tone::Faint, "* controller");
    format!("{}\n{faint}", columns(screen, &headings, &rows))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tablestore_client::{ClusterView, PartitionView};
    use tablestore_contract::{AssignmentView, Resources};

    use super::*;

    fn node(name: &str, state: &str) -> NodeView {
        NodeView {
            id: format!("00000000000000{name}"),
            name: name.to_owned(),
            state: state.to_owned(),
            since_ms: 1_357_034_400_123,
            address: format!("127.0.0.1:70{name}"),
            peer_address: format!("127.0.0.1:71{name}"),
            zone: Some("eu/a".to_owned()),
            incarnation: 2,
            voter: true,
            ..NodeView::default()
        }
    }

    fn two() -> Holdings {
        let mut told = node("n1", "up");
        told.resources = Some(Resources {
            level: "ok".to_owned(),
            version: Some("0.1.0".to_owned()),
            uptime_s: Some(600),
            ..Resources::default()
        });
        let partition = PartitionView {
            assignment: AssignmentView {
                primary: Some("n1".to_owned()),
                replicas: vec!["n1".to_owned(), "00000000000000n2".to_owned()],
                ..AssignmentView::default()
            },
            ..PartitionView::default()
        };
        Holdings {
            cluster: ClusterView {
                controller: Some("n1".to_owned()),
                nodes: vec![told, node("n2", "draining")],
                ..ClusterView::default()
            },
            partitions: BTreeMap::from([("t".to_owned(), vec![partition])]),
        }
    }

    #[test]
    fn nodes_are_listed_with_what_they_are_and_hold() {
        insta::assert_snapshot!("node_list", list(&Screen::plain(), &two()));
        let shown = listed(&two());
        assert_eq!(shown[0]["primaries"], 1);
        assert_eq!(
            (&shown[1]["copies"], &shown[1]["primaries"]),
            (&json!(1), &json!(0))
        );
        assert_eq!(shown[1]["state"], "draining");
    }
}
