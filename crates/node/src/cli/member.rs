//! `tablestore node`: members that leave.

use clap::{Args, Subcommand};
use serde_json::json;
use tablestore_client::Client;

use crate::terminal::{Exit, Failure, Screen};

/// `tablestore node …`
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
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
