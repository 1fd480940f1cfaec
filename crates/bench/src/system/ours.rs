//! Three nodes of ours with one table, with every default, set up by the client of ours. Knows
//! nothing about load.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use tablestore_client::{Client, ClientSettings, PartitionView, TableDefinition};

use super::{NODES, Process, System, free_addresses, wait_until};
use crate::rows::TABLE;
use crate::wire::Protocol;

/// Enough for every node to be primary of many.
const PARTITIONS: usize = 32;

/// Starts the nodes, makes the table, waits until all copies are in sync.
pub(crate) async fn start(program: &Path, directory: &Path) -> Result<System> {
    fs::create_dir_all(directory)?;
    let version = Command::new(program)
        .arg("--version")
        .output()
        .with_context(|| program.display().to_string())?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let addresses = free_addresses(2 * NODES)?;
    let (http, peer) = addresses.split_at(NODES);
    let mut processes = Vec::new();
    for node in 0..NODES {
        let name = format!("n{}", node + 1);
        let log = directory.join(format!("{name}.log"));
        let mut command = Command::new(program);
        command
            .args(["start", "--exit-with-stdin", "--name", &name])
            .args(["--listen", &http[node].to_string()])
            .args(["--peer-listen", &peer[node].to_string()])
            .arg("--data-dir")
            .arg(directory.join(&name));
        if node > 0 {
            command.args(["--join", &peer[0].to_string()]);
        }
        processes.push(Process::start(&mut command, &log)?);
        let client = client(&http[node..=node])?;
        wait_until("a node does not get ready", &log, async || {
            let members = client.cluster().await?.nodes;
            Ok(members.len() == node + 1 && members.iter().all(|member| member.state == "up"))
        })
        .await?;
    }
    let client = client(http)?;
    let definition = TableDefinition::new("id", "string")
        .replicas(NODES as u32)
        .min_in_sync(2)
        .partitions(PARTITIONS as u32);
    client.create_table(TABLE, &definition).await?;
    let log = directory.join("n1.log");
    wait_until("not all copies get in sync", &log, async || {
        let partitions = client.partitions(TABLE).await?;
        let whole = |one: &PartitionView| one.assignment.in_sync.len() == NODES;
        Ok(partitions.len() == PARTITIONS && partitions.iter().all(whole))
    })
    .await?;
    Ok(System {
        name: "Table Store",
        version,
        protocol: Protocol::Http,
        addresses: http.to_vec(),
        sockets_max: usize::MAX,
        processes,
    })
}

/// Of these nodes, for what is not measured.
fn client(addresses: &[SocketAddr]) -> Result<Client> {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    Ok(Client::with_settings(
        &addresses,
        ClientSettings::default(),
    )?)
}
