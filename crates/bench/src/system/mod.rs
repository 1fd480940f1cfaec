//! The systems that are measured: three processes each, on loopback and one disk.
//!
//! Whatever ends the run, they end too. Knows nothing about load.

pub(crate) mod etcd;
pub(crate) mod ours;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;

use crate::wire::Protocol;

/// Nodes of either system.
pub(crate) const NODES: usize = 3;
/// A system that does not serve after this will not.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks whether it serves.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The end of a log that is shown.
const LOG_SHOWN: usize = 2000;

/// A running cluster.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) protocol: Protocol,
    pub(crate) addresses: Vec<SocketAddr>,
    /// The loader's connections share so many sockets at most.
    pub(crate) sockets_max: usize,
    processes: Vec<Process>,
}

impl System {
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.processes.iter().map(|one| one.0.id()).collect()
    }
}

/// A process of ours, killed when it is dropped.
#[derive(Debug)]
struct Process(Child);

impl Process {
    fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| log.display().to_string())?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        Ok(Self(child))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Addresses on loopback that the kernel chose and that are free again.
fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners: Vec<_> = (0..count).map(|_| bind()).collect::<Result<_, _>>()?;
    let addresses = listeners.iter().map(TcpListener::local_addr);
    Ok(addresses.collect::<Result<_, _>>()?)
}

/// Asks until the answer is yes.
async fn wait_until(
    what: &str,
    log: &Path,
    mut ready: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let last = match ready().await {
            Ok(true) => return Ok(()),
            Ok(false) => "not yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() > deadline {
            let text = fs::read_to_string(log).unwrap_or_default();
            let from = text.floor_char_boundary(text.len().saturating_sub(LOG_SHOWN));
            bail!(
                "{what}: {last}; the end of {}:\n{}",
                log.display(),
                &text[from..]
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
