//! Three members of etcd, with every default but where they listen and keep their data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::{NODES, Process, System, free_addresses, wait_until};
use crate::wire::{Channel, Protocol};

/// Debian's package of the server.
const PACKAGE: &str = "etcd-server";
/// Calls of one client share a connection, as etcd's own clients do it: more sockets cost etcd more
/// than they give.
const SOCKETS_MAX: usize = 24;

/// The server's program; installed by the system's package manager if it is not there.
pub(crate) fn find_or_install() -> Result<PathBuf> {
    if let Some(found) = find() {
        return Ok(found);
    }
    let installed = Command::new("apt-get")
        .args(["install", "--yes", "--no-install-recommends", PACKAGE])
        .env("DEBIAN_FRONTEND", "noninteractive")
        // The package must not start a service of its own.
        .env("RUNLEVEL", "1")
        .stdout(Stdio::null())
        .status()
        .context("apt-get")?;
    ensure!(
        installed.success(),
        "apt-get install {PACKAGE}: {installed}"
    );
    find().with_context(|| format!("{PACKAGE} is installed, and there is no `etcd` in PATH"))
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join("etcd"))
        .find(|file| file.is_file())
}

/// Starts the members and waits until each answers.
pub(crate) async fn start(program: &Path, directory: &Path) -> Result<System> {
    fs::create_dir_all(directory)?;
    let version = Command::new(program).arg("--version").output()?;
    let version = String::from_utf8_lossy(&version.stdout);
    let version = version
        .lines()
        .next()
        .and_then(|line| line.split_whitespace().last())
        .context("etcd --version says nothing")?;
    let addresses = free_addresses(2 * NODES)?;
    let (clients, peers) = addresses.split_at(NODES);
    let members: Vec<String> = (0..NODES)
        .map(|node| format!("e{node}=http://{}", peers[node]))
        .collect();
    let members = members.join(",");
    let mut processes = Vec::new();
    for node in 0..NODES {
        let name = format!("e{node}");
        let (client, peer) = (
            format!("http://{}", clients[node]),
            format!("http://{}", peers[node]),
        );
        let mut command = Command::new(program);
        command
            .args(["--name", &name, "--logger", "zap"])
            .args([
                "--initial-cluster-state",
                "new",
                "--initial-cluster",
                &members,
            ])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--listen-peer-urls", &peer])
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .arg("--data-dir")
            .arg(directory.join(&name));
        processes.push(Process::start(&mut command, &log(directory, node))?);
    }
    for (node, &client) in clients.iter().enumerate() {
        wait_until(
            "a member does not get ready",
            &log(directory, node),
            async || {
                Channel::open(client).await?.put("ready", "yes").await?;
                Ok(true)
            },
        )
        .await?;
    }
    Ok(System {
        name: "etcd",
        version: format!("etcd {version}"),
        protocol: Protocol::Grpc,
        addresses: clients.to_vec(),
        sockets_max: SOCKETS_MAX,
        processes,
    })
}

fn log(directory: &Path, node: usize) -> PathBuf {
    directory.join(format!("e{node}.log"))
}
