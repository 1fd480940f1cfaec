//! Three processes of the real binary on loopback, and what a test asks of them.
//!
//! Knows nothing of what is tested.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

/// Nothing that a test waits for takes this long, unless it never happens.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub struct Cluster {
    directory: tempfile::TempDir,
    addresses: Vec<(SocketAddr, SocketAddr)>,
    children: Vec<Option<Child>>,
    client: reqwest::Client,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in 0..self.children.len() {
            self.kill(node);
        }
        if std::thread::panicking() {
            for node in 0..self.children.len() {
                let log = std::fs::read_to_string(self.log(node)).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let from = lines.len().saturating_sub(40);
                eprintln!("--- n{}\n{}", node + 1, lines[from..].join("\n"));
            }
        }
    }
}

impl Cluster {
    /// Three nodes that know each other.
    pub async fn start() -> Self {
        let listeners: Vec<TcpListener> = (0..6)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let addresses: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap()).collect();
        drop(listeners);
        let mut cluster = Self {
            directory: tempfile::tempdir().unwrap(),
            addresses: addresses.chunks(2).map(|pair| (pair[0], pair[1])).collect(),
            children: vec![None, None, None],
            client: reqwest::Client::new(),
        };
        for node in 0..3 {
            cluster.run(node, &[]);
            cluster.ready(node).await;
        }
        cluster
    }

    pub fn data_dir(&self, node: usize) -> PathBuf {
        self.directory.path().join(format!("n{}", node + 1))
    }

    fn log(&self, node: usize) -> PathBuf {
        self.directory.path().join(format!("n{}.log", node + 1))
    }

    /// What the node has logged so far.
    pub fn logged(&self, node: usize) -> String {
        std::fs::read_to_string(self.log(node)).unwrap()
    }

    /// Starts a node, again on the same addresses and data if it ran before.
    pub fn run(&mut self, node: usize, more: &[&str]) {
        let (http, peer) = self.addresses[node];
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log(node));
        let mut command = Command::new(env!("CARGO_BIN_EXE_tablestore"));
        command
            .args([
                "start",
                "--exit-with-stdin",
                "--name",
                &format!("n{}", node + 1),
            ])
            .args([
                "--listen",
                &http.to_string(),
                "--peer-listen",
                &peer.to_string(),
            ])
            .arg("--data-dir")
            .arg(self.data_dir(node));
        if node > 0 {
            command.args(["--join", &self.addresses[0].1.to_string()]);
        }
        command
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log.unwrap());
        self.children[node] = Some(command.spawn().unwrap());
    }

    /// SIGKILL, and the end of the process.
    pub fn kill(&mut self, node: usize) {
        if let Some(mut child) = self.children[node].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Waits until a node has ended by itself; whether it says that all was well.
    pub async fn ended_well(&mut self, node: usize) -> bool {
        let mut child = self.children[node].take().unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.success();
            }
            if Instant::now() > deadline {
                child.kill().unwrap();
                panic!("n{} goes on", node + 1);
            }
            looks.tick().await;
        }
    }

    /// The address of a node for other nodes.
    pub fn peer_address(&self, node: usize) -> String {
        self.addresses[node].1.to_string()
    }

    pub async fn ready(&self, node: usize) {
        self.until("the node is ready", async || {
            let url = format!("http://{}/readyz", self.addresses[node].0);
            let answer = self.client.get(url).send().await;
            answer.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
    }

    /// Looks again and again until it holds.
    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        while !holds().await {
            assert!(Instant::now() < deadline, "never came true: {what}");
            looks.tick().await;
        }
    }

    /// One request to a node; status and body.
    pub async fn ask(&self, node: usize, method: &str, path: &str, body: Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.addresses[node].0);
        let request = self.client.request(method.parse().unwrap(), url);
        let request = match body {
            Value::Null => request,
            body => request
                .header("content-type", "application/json")
                .body(body.to_string()),
        };
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.unwrap();
        (
            status,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        )
    }

    pub async fn get(&self, node: usize, path: &str) -> Value {
        self.ask(node, "GET", path, Value::Null).await.1
    }

    /// The partitions of a table as a node sees them.
    pub async fn partitions(&self, node: usize, table: &str) -> Vec<Value> {
        let answer = self
            .get(node, &format!("/v1/cluster/partitions?table={table}"))
            .await;
        answer["partitions"].as_array().cloned().unwrap_or_default()
    }
}

/// Whether a list of names in a JSON value has this one.
pub fn lists(value: &Value, name: &str) -> bool {
    value
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one == name))
}
