//! Three nodes of ours with one table, with every default.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{NODES, Process, System, free_addresses, wait_until};
use crate::rows::TABLE;
use crate::wire::{HttpConnection, Protocol};

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
        wait_until("a node does not get ready", &log, async || {
            let (status, _) = ask(http[node], "GET", "/readyz", "").await?;
            Ok(status == 200)
        })
        .await?;
    }
    let definition = json!({
        "partition_key": {"name": "id", "type": "string"},
        "replicas": NODES,
        "min_in_sync": 2,
        "partitions": PARTITIONS,
    });
    let path = format!("/v1/tables/{TABLE}");
    let (status, body) = ask(http[0], "PUT", &path, &definition.to_string()).await?;
    ensure!(
        matches!(status, 200 | 201),
        "the table was refused: {status} {body}"
    );
    let log = directory.join("n1.log");
    wait_until("not all copies get in sync", &log, async || {
        let path = format!("/v1/cluster/partitions?table={TABLE}");
        let (_, body) = ask(http[0], "GET", &path, "").await?;
        let answer: Value = serde_json::from_str(&body)?;
        let partitions = answer["partitions"].as_array().context("no partitions")?;
        let whole = |one: &Value| one["in_sync"].as_array().is_some_and(|s| s.len() == NODES);
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

async fn ask(
    address: std::net::SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(u16, String)> {
    HttpConnection::open(address)
        .await?
        .ask(method, path, body)
        .await
}
