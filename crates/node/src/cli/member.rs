//! `tablestore node`: the members, and those that leave.
//!
//! Knows nothing of how anything is moved off a node.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tablestore_client::{Client, NodeView};
use tokio::time::Instant;

use super::assess::age;
use super::holdings::Holdings;
use super::status::name_of;
use crate::terminal::{Exit, Failure, Screen, Tone, columns, date_time};

/// Seconds to wait for the end of a drain unless told otherwise.
const WITHIN_S: u64 = 600;
/// Between two looks at a drain: a person sees it move, and a node notices nothing.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// `tablestore node …`
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the nodes with their state, addresses, and what they hold
    List,
    /// Move everything off a node; it stays a member
    Drain(DrainArguments),
    /// Call the drain of a node off: it may take copies and primaries again
    Undrain(NodeArgument),
    /// Remove a node from the cluster for good
    Remove(NodeArgument),
}

/// The name of a node.
#[derive(Debug, Args)]
pub(crate) struct NodeArgument {
    /// Name of the node
    node: String,
}

/// Options of `tablestore node drain`.
#[derive(Debug, Args)]
#[command(after_help = "\
With --wait the exit status is 0 when nothing is left on the node, and 5 if something still is when
the time is over; what cannot move is told with the reason and what would help. Restarts of the node
do not end its drain: `tablestore node undrain` does.")]
pub(crate) struct DrainArguments {
    /// Name of the node
    node: String,
    /// Wait until nothing is left on the node
    #[arg(long)]
    wait: bool,
    /// Seconds to wait at most
    #[arg(long, value_name = "SECONDS", default_value_t = WITHIN_S, requires = "wait")]
    within: u64,
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
        NodeCommand::Drain(arguments) => return drain(client, screen, &arguments).await,
        NodeCommand::Undrain(NodeArgument { node }) => {
            client.undrain_node(&node).await?;
            screen.result(&json!({"undrained": node}), || {
                format!("{node} is drained no more; it may take copies and primaries again")
            });
        }
        NodeCommand::Remove(NodeArgument { node }) => {
            client.remove_node(&node).await?;
            screen.result(&json!({"removed": node}), || format!("{node} was removed"));
        }
    }
    Ok(Exit::Done)
}

async fn drain(
    client: &Client,
    screen: &Screen,
    arguments: &DrainArguments,
) -> Result<Exit, Failure> {
    let name = &arguments.node;
    let begun = client.drain_node(name).await?;
    if arguments.wait {
        let end = Instant::now() + Duration::from_secs(arguments.within);
        return follow(client, screen, name, end).await;
    }
    let blocked = &begun.blocked;
    screen.result(&json!({"draining": name, "blocked": blocked}), || {
        let lines = blocked.iter().map(|why| format!("\n{why}"));
        let follow = "`tablestore status` shows how far it is";
        format!(
            "{name} is being drained; {follow}{}",
            lines.collect::<String>()
        )
    });
    Ok(Exit::Done)
}

/// Tells how far a drain is until nothing is left on the node.
async fn follow(
    client: &Client,
    screen: &Screen,
    name: &str,
    end: Instant,
) -> Result<Exit, Failure> {
    let (mut begun, mut told) = (false, String::new());
    loop {
        let cluster = client.cluster().await?;
        let node = cluster.nodes.into_iter().find(|node| node.name == name);
        let node = node.ok_or_else(|| Failure::failed(format!("there is no node {name} now")))?;
        if node.state == "drained" {
            screen.result(&json!({"drained": name}), || {
                format!("{name} is drained: nothing is left on it")
            });
            return Ok(Exit::Done);
        }
        // The node that is asked may not have heard of the drain yet.
        if node.state == "up" && begun {
            return Err(Failure::failed(format!(
                "the drain of {name} was called off"
            )));
        }
        begun |= node.drain.is_some();
        let state = node.state;
        let drain = node.drain.unwrap_or_default();
        let (copies, primaries) = (drain.copies_left, drain.primaries_left);
        let left = match begun {
            true => format!("{copies} copies and {primaries} primaries are left on {name}"),
            false => format!("{name} is {state}"),
        };
        if Instant::now() >= end {
            let mut failure = Failure::new(Exit::Look, format!("in time no drain: {left}"));
            failure.advice = drain.blocked;
            return Err(failure);
        }
        let lines: Vec<String> = [left].into_iter().chain(drain.blocked).collect();
        let lines = lines.join("\n");
        if lines != told {
            screen.note(&lines);
            told = lines;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
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
