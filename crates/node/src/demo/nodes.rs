//! The nodes of the demo: processes of this very binary on loopback, in a directory of their own.
//!
//! Whatever ends the demo, they end too: the value that holds them kills them when it is dropped,
//! and each of them exits when the pipe to its standard input closes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};

/// The end of a node's log that is shown when the node did not start.
const LOG_SHOWN_BYTES: usize = 2000;

/// A node that does not say that it is ready within this is not.
const READY_WITHIN: Duration = Duration::from_secs(1);
/// The folder that all nodes share.
const SHARED: &str = "shared";

/// All nodes and their directory.
#[derive(Debug)]
pub(crate) struct Nodes {
    directory: PathBuf,
    program: PathBuf,
    nodes: Vec<Node>,
}

/// One node, running or not.
#[derive(Debug)]
struct Node {
    name: String,
    http: SocketAddr,
    peer: SocketAddr,
    child: Option<Child>,
    /// We have killed it, so its end is no surprise.
    killed: bool,
}

impl Nodes {
    /// Prepares `count` nodes in `directory`, which must not be there yet. Nothing is started.
    pub(crate) fn prepare(directory: PathBuf, count: usize) -> io::Result<Self> {
        fs::create_dir_all(directory.join(SHARED))?;
        let mut addresses = free_addresses(count * 2)?.into_iter();
        let mut nodes = Vec::with_capacity(count);
        for number in 1..=count {
            let (http, peer) = addresses
                .next()
                .zip(addresses.next())
                .expect("two were asked for");
            nodes.push(Node {
                name: format!("n{number}"),
                http,
                peer,
                child: None,
                killed: false,
            });
        }
        Ok(Self {
            directory,
            program: std::env::current_exe()?,
            nodes,
        })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.http).collect()
    }

    /// The same as text.
    pub(crate) fn authorities(&self) -> Vec<String> {
        self.addresses().iter().map(ToString::to_string).collect()
    }

    /// The first node that does not say that it is ready, with its reason.
    pub(crate) async fn not_ready(&self) -> Option<String> {
        let Ok(client) = reqwest::Client::builder().no_proxy().build() else {
            return None;
        };
        for node in &self.nodes {
            let url = format!("http://{}/readyz", node.http);
            let answer = client.get(url).timeout(READY_WITHIN).send().await;
            match answer {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => {
                    let why = answer.text().await.unwrap_or_default();
                    return Some(format!("{} is not ready: {why}", node.name));
                }
                Err(error) => return Some(format!("{} is not ready: {error}", node.name)),
            }
        }
        None
    }

    /// Where all nodes but one serve clients.
    pub(crate) fn others(&self, index: usize) -> Vec<SocketAddr> {
        let mut addresses = self.addresses();
        addresses.remove(index);
        addresses
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// Starts a node, for the first time or again on the same addresses and data.
    pub(crate) fn start(&mut self, index: usize) -> io::Result<()> {
        self.reap(index)?;
        let join = (index > 0).then(|| self.nodes[0].peer.to_string());
        let node = &mut self.nodes[index];
        let log = log_file(&self.directory, &node.name)?;
        let mut command = Command::new(&self.program);
        // What the caller set for nodes of their own must not reach these.
        for (name, _) in std::env::vars_os() {
            if name
                .to_str()
                .is_some_and(|name| name.starts_with("TABLESTORE_"))
            {
                command.env_remove(name);
            }
        }
        command
            .args(["start", "--exit-with-stdin", "--name", &node.name])
            .args([
                "--listen",
                &node.http.to_string(),
                "--peer-listen",
                &node.peer.to_string(),
            ])
            .arg("--data-dir")
            .arg(self.directory.join(&node.name))
            .arg("--shared-dir")
            .arg(self.directory.join(SHARED));
        if let Some(join) = join {
            command.args(["--join", &join]);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        node.child = Some(command.spawn()?);
        node.killed = false;
        Ok(())
    }

    /// SIGKILL: no destructor runs, nothing is flushed.
    pub(crate) fn kill(&mut self, index: usize) -> io::Result<()> {
        self.signal(index, Signal::KILL)?;
        self.nodes[index].killed = true;
        Ok(())
    }

    /// SIGSTOP: the process is there, its sockets are open, but it does nothing.
    pub(crate) fn pause(&mut self, index: usize) -> io::Result<()> {
        self.signal(index, Signal::STOP)
    }

    /// SIGCONT: it goes on as if no time had passed.
    pub(crate) fn resume(&mut self, index: usize) -> io::Result<()> {
        self.signal(index, Signal::CONT)
    }

    /// How a node that should run has ended, with the end of its log.
    pub(crate) fn ended_by_itself(&mut self) -> Option<String> {
        let directory = &self.directory;
        self.nodes
            .iter_mut()
            .filter(|node| !node.killed)
            .find_map(|node| {
                let status = node.child.as_mut()?.try_wait().ok()??;
                let name = &node.name;
                let log = log_end(&log_path(directory, name));
                Some(format!(
                    "{name} ended by itself ({status}); the end of its log:\n{log}"
                ))
            })
    }

    /// Waits for the end of a process that was killed, so that it holds no port and no lock.
    pub(crate) fn reap(&mut self, index: usize) -> io::Result<()> {
        if let Some(mut child) = self.nodes[index].child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    fn signal(&self, index: usize, signal: Signal) -> io::Result<()> {
        match &self.nodes[index].child {
            Some(child) => Ok(kill_process(Pid::from_child(child), signal)?),
            None => Err(io::Error::other("the node does not run")),
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for index in 0..self.nodes.len() {
            // There is nobody left to tell.
            let _ = self.reap(index);
        }
    }
}

/// A directory of its own below the system's directory for temporary files.
pub(crate) fn fresh_directory() -> PathBuf {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let name = format!("tablestore-demo-{}-{}", std::process::id(), now.as_millis());
    std::env::temp_dir().join(name)
}

/// Addresses on loopback that the kernel had free; all are held until all are known.
fn free_addresses(count: usize) -> io::Result<Vec<SocketAddr>> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<io::Result<_>>()?;
    listeners.iter().map(TcpListener::local_addr).collect()
}

fn log_path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.log"))
}

fn log_file(directory: &Path, name: &str) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(log_path(directory, name))
}

fn log_end(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let start = text.len().saturating_sub(LOG_SHOWN_BYTES);
    let start = (start..text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    text[start..].trim().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    #[test]
    fn processes_end_with_the_value_that_holds_them() {
        let directory = tempfile::tempdir().unwrap();
        let mut nodes = Nodes::prepare(directory.path().join("demo"), 2).unwrap();
        nodes.program = PathBuf::from("cat");
        // `cat` refuses the arguments and ends; a process that ends is noticed with its log.
        nodes.start(0).unwrap();
        nodes.nodes[0].child.as_mut().unwrap().wait().unwrap();
        let ended = nodes.ended_by_itself().unwrap();
        assert!(ended.starts_with("n1 ended by itself"), "{ended}");

        let sleeper = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&sleeper);
        nodes.nodes[1].child = Some(sleeper);
        nodes.pause(1).unwrap();
        nodes.resume(1).unwrap();
        drop(nodes);
        assert!(
            rustix::process::test_kill_process(pid).is_err(),
            "it is gone and reaped"
        );
    }

    #[test]
    fn addresses_differ() {
        let mut addresses = free_addresses(8).unwrap();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 8);
    }
}
