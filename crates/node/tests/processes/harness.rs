//! Nodes as processes of the built binary, in a directory of their own.
//!
//! Every cluster has a loopback address of its own, on which the kernel chose the ports: no
//! outgoing connection of this machine can take the port of a node that is down at the moment.
//! Only what was started here is ended, by its process id; nodes also end with the pipe to their
//! standard input, so that none outlives the test. Knows nothing of what a test is about.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tablestore_client::{Client, ClientSettings};
use tempfile::TempDir;

/// Whatever is waited for takes far less, on a busy machine too.
pub const BOUND: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The end of a log that a failed test shows.
const LOG_SHOWN_BYTES: usize = 6_000;

/// Looks until there is something; fails with what was waited for and what was seen last.
pub async fn until<T, L, F>(what: &str, mut look: L) -> T
where
    L: FnMut() -> F,
    F: Future<Output = Result<T, String>>,
{
    let bound = Instant::now() + BOUND;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < bound, "{what}: not in {BOUND:?}: {seen}"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// One node, running or not.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    pub directory: PathBuf,
    pub http: SocketAddr,
    pub peer: SocketAddr,
    /// Further arguments of `start`.
    pub arguments: Vec<String>,
    /// Set besides what the tests have, but for the settings of nodes.
    pub environment: Vec<(String, String)>,
    log: PathBuf,
    child: Option<Child>,
}

/// Nodes that were started together, and their directory.
#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub home: TempDir,
    http: reqwest::Client,
}

/// A loopback address that no other cluster of this machine has.
fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id() * 31 + NEXT.fetch_add(1, Ordering::Relaxed);
    let octet = |shift: u32| u8::try_from(1 + (number >> shift) % 254).expect("it is below 255");
    Ipv4Addr::new(127, octet(14), octet(7), octet(0))
}

/// A command that knows nothing of the settings of whoever runs the tests.
pub fn tablestore() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tablestore"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TABLESTORE_") {
            command.env_remove(name);
        }
    }
    command
}

impl Node {
    /// Starts the process, again on the same addresses and data.
    pub fn start(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        self.start_telling(log.expect("the log can be written"));
    }

    /// The same with a standard error of the test's own.
    pub fn start_telling(&mut self, stderr: impl Into<Stdio>) {
        assert!(self.child.is_none(), "{} runs", self.name);
        let child = self.command().stderr(stderr).spawn();
        self.child = Some(child.expect("the binary can be run"));
    }

    fn command(&self) -> Command {
        let mut command = tablestore();
        command
            .args(["start", "--exit-with-stdin", "--name", &self.name])
            .args(["--listen", &self.http.to_string()])
            .args(["--peer-listen", &self.peer.to_string()])
            .arg("--data-dir")
            .arg(&self.directory)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        command
    }

    /// Starts it, waits for its end, and answers how it ended and what it said meanwhile.
    pub async fn start_in_vain(&mut self) -> (ExitStatus, String) {
        let before = self.log().len();
        self.start();
        let status = self.end().await;
        (status, self.log()[before..].to_owned())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("it runs"))
    }

    /// SIGKILL: nothing is flushed, nobody is told. Returns when the process is gone.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }

    /// SIGKILL without waiting, so that several are killed at the same moment.
    pub fn signal_kill(&self) {
        kill_process(self.pid(), Signal::KILL).expect("it is ours");
    }

    /// SIGSTOP: it does nothing, and keeps its connections. Returns when its last thread stands
    /// still, which may be some milliseconds after the first.
    pub async fn pause(&self) {
        kill_process(self.pid(), Signal::STOP).expect("it is ours");
        let threads = format!("/proc/{}/task", self.pid().as_raw_nonzero());
        let stands = |stat: &str| {
            let after_name = stat.rsplit(") ").next();
            after_name.is_some_and(|state| state.starts_with('T'))
        };
        until("all threads stand still", async || {
            let threads = fs::read_dir(&threads).map_err(|error| error.to_string())?;
            for thread in threads.flatten() {
                let stat = fs::read_to_string(thread.path().join("stat"));
                let stat = stat.unwrap_or_default();
                if !stands(&stat) {
                    return Err(stat);
                }
            }
            Ok(())
        })
        .await;
    }

    /// SIGCONT: it goes on as if no time had passed.
    pub fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).expect("it is ours");
    }

    /// SIGTERM, as an operator stops a node; answers how it ended.
    pub async fn terminate(&mut self) -> ExitStatus {
        kill_process(self.pid(), Signal::TERM).expect("it is ours");
        self.end().await
    }

    /// Waits for the end of the process.
    pub async fn end(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let bound = Instant::now() + BOUND;
        loop {
            if let Some(status) = child.try_wait().expect("it is ours") {
                return status;
            }
            if Instant::now() > bound {
                child.kill().expect("it is ours");
                panic!("{} did not end in {BOUND:?}", self.name);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub fn is_running(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| child.try_wait().expect("it is ours").is_none())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.http)
    }
}

impl Cluster {
    /// Prepares nodes `n1`, `n2`, …, of which all but the first join it. None is started.
    pub fn prepare(count: usize) -> Self {
        let home = tempfile::tempdir().expect("there is room for temporary files");
        let ip = own_address();
        // All are held until all are known, so that they differ.
        let held: Vec<TcpListener> = (0..count * 2)
            .map(|_| TcpListener::bind((ip, 0)).expect("a loopback port is free"))
            .collect();
        let address = |at: usize| held[at].local_addr().expect("it is bound");
        let first = address(1).to_string();
        let nodes = (0..count).map(|index| Node {
            name: format!("n{}", index + 1),
            directory: home.path().join(format!("n{}", index + 1)),
            http: address(index * 2),
            peer: address(index * 2 + 1),
            arguments: match index {
                0 => Vec::new(),
                _ => vec!["--join".to_owned(), first.clone()],
            },
            environment: Vec::new(),
            log: home.path().join(format!("n{}.log", index + 1)),
            child: None,
        });
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a plain client can be made");
        Self {
            nodes: nodes.collect(),
            home,
            http,
        }
    }

    /// The same, started and ready, all members up.
    pub async fn started(count: usize) -> Self {
        let mut cluster = Self::prepare(count);
        cluster.start_all().await;
        cluster
    }

    /// Starts all nodes, one when the one before it is ready.
    pub async fn start_all(&mut self) {
        for index in 0..self.nodes.len() {
            self.nodes[index].start();
            self.ready(index).await;
        }
        self.members_up(self.nodes.len()).await;
    }

    /// Waits until a node says that it can serve.
    pub async fn ready(&mut self, index: usize) {
        let url = self.nodes[index].url("/readyz");
        let name = self.nodes[index].name.clone();
        let bound = Instant::now() + BOUND;
        loop {
            let seen = match self.http.get(&url).send().await {
                Ok(response) if response.status().is_success() => return,
                Ok(response) => response.text().await.unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            assert!(self.nodes[index].is_running(), "{name} has ended");
            assert!(Instant::now() < bound, "{name} is not ready: {seen}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until a node says that it can serve, or ends by itself: whether it serves.
    pub async fn ready_or_ended(&mut self, index: usize) -> bool {
        let url = self.nodes[index].url("/readyz");
        let bound = Instant::now() + BOUND;
        while self.nodes[index].is_running() {
            let answer = self.http.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return true;
            }
            assert!(
                Instant::now() < bound,
                "{} does neither",
                self.nodes[index].name
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
        false
    }

    /// The addresses of all nodes, running or not.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes
            .iter()
            .map(|node| node.http.to_string())
            .collect()
    }

    /// A client of all nodes that waits for failovers.
    pub fn client(&self) -> Client {
        let settings = ClientSettings::default().deadline(Duration::from_secs(60));
        Client::with_settings(&self.addresses(), settings).expect("the addresses are right")
    }

    /// A client that gives up soon when no node is left.
    pub fn impatient_client(&self) -> Client {
        let settings = ClientSettings::default().deadline(Duration::from_secs(2));
        Client::with_settings(&self.addresses(), settings).expect("the addresses are right")
    }

    /// One request to one node: the status and the document.
    pub async fn ask(&self, index: usize, method: &str, target: &str, body: &str) -> (u16, Value) {
        self.ask_within(index, method, target, body, None).await
    }

    /// The same, and the node waits a second at most.
    pub async fn ask_soon(
        &self,
        index: usize,
        method: &str,
        target: &str,
        body: &str,
    ) -> (u16, Value) {
        self.ask_within(index, method, target, body, Some("1000"))
            .await
    }

    async fn ask_within(
        &self,
        index: usize,
        method: &str,
        target: &str,
        body: &str,
        within_ms: Option<&str>,
    ) -> (u16, Value) {
        let method = method.parse().expect("the test's methods are");
        let mut request = self.http.request(method, self.nodes[index].url(target));
        if let Some(within_ms) = within_ms {
            request = request.header("x-tablestore-timeout-ms", within_ms);
        }
        let response = request.body(body.to_owned()).send().await;
        let response = response.expect("the node answers");
        let status = response.status().as_u16();
        let text = response.text().await.expect("the body arrives");
        let document = serde_json::from_str(&text);
        (status, document.unwrap_or(Value::String(text)))
    }

    /// The same; the node may be unreachable.
    pub async fn get(&self, index: usize, target: &str) -> Result<Value, String> {
        let response = self.http.get(self.nodes[index].url(target)).send().await;
        let response = response.map_err(|error| error.to_string())?;
        let status = response.status();
        let text = response.text().await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(text);
        }
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    /// What a node has counted under this name, which has no labels.
    pub async fn metric(&self, index: usize, name: &str) -> u64 {
        let (status, metrics) = self.ask(index, "GET", "/metrics", "").await;
        assert_eq!(status, 200, "{metrics}");
        let text = metrics.as_str().expect("metrics are text");
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        let found = text.lines().find_map(value);
        found.unwrap_or_else(|| panic!("no {name}: {text}"))
    }

    /// Waits until all of so many members are up.
    pub async fn members_up(&self, count: usize) {
        until("all members up", async || {
            let cluster = self.get(0, "/v1/cluster").await?;
            let nodes = cluster["nodes"].as_array().ok_or("no nodes")?;
            let up = nodes.iter().filter(|node| node["state"] == "up").count();
            if up == count {
                Ok(())
            } else {
                Err(cluster.to_string())
            }
        })
        .await;
    }

    /// Makes a table with string keys through the first node.
    pub async fn create_table(&self, name: &str, replicas: usize, partitions: usize) {
        let definition = json!({
            "partition_key": {"name": "id", "type": "string"},
            "replicas": replicas,
            "min_in_sync": replicas.min(2),
            "partitions": partitions,
        });
        let target = format!("/v1/tables/{name}");
        let (status, answer) = self.ask(0, "PUT", &target, &definition.to_string()).await;
        assert_eq!(status, 201, "{answer}");
        self.whole(name, replicas).await;
    }

    /// Waits until every partition has a live primary and so many copies in sync, as every node
    /// sees it.
    pub async fn whole(&self, table: &str, copies: usize) {
        let target = format!("/v1/cluster/partitions?table={table}");
        for index in 0..self.nodes.len() {
            until("all copies in sync", async || {
                let seen = self.get(index, &target).await?;
                let partitions = seen["partitions"].as_array().ok_or("no partitions")?;
                let is_whole = |partition: &&Value| {
                    let in_sync = partition["in_sync"].as_array().map_or(0, Vec::len);
                    partition["primary_live"] == true && in_sync == copies
                };
                match partitions.iter().find(|partition| !is_whole(partition)) {
                    None => Ok(()),
                    Some(lacking) => Err(format!("node {index}: {lacking}")),
                }
            })
            .await;
        }
    }

    /// Asserts that all replicas of all partitions of a table are equal. A comparison during which
    /// an office moved is not complete and is made again; one that is complete counts.
    pub async fn copies_equal(&self, table: &str, copies: usize) {
        let target = format!("/v1/cluster/checksums?table={table}");
        let checksums = until("a complete comparison of all copies", async || {
            let checksums = self.get(0, &target).await?;
            let partitions = checksums["partitions"].as_array().ok_or("no partitions")?;
            let is_complete = |partition: &&Value| {
                let replicas = partition["replicas"].as_array();
                replicas.is_some_and(|all| {
                    all.len() == copies && all.iter().all(|one| one["checksum"].is_string())
                })
            };
            match partitions.iter().find(|partition| !is_complete(partition)) {
                None => Ok(checksums),
                Some(lacking) => Err(lacking.to_string()),
            }
        })
        .await;
        assert_eq!(checksums["equal"], true, "{checksums}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut child) = node.child.take() {
                // It may have ended by itself; there is nobody left to tell.
                let _ = child.kill();
                let _ = child.wait();
            }
            if std::thread::panicking() {
                let log = node.log();
                let from = log.len().saturating_sub(LOG_SHOWN_BYTES);
                let shown = String::from_utf8_lossy(&log.as_bytes()[from..]).into_owned();
                eprintln!("--- the end of the log of {}:\n{shown}", node.name);
            }
        }
    }
}

/// Copies a directory, but for the reserve: a start makes its own.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it can be made");
    for entry in fs::read_dir(from).expect("it can be read") {
        let entry = entry.expect("it can be read");
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else if entry.file_name() != "reserve" {
            fs::copy(path, to).expect("it can be copied");
        }
    }
}

/// The files of rows below a node's directory. The node may run: what vanishes meanwhile is not
/// there.
pub fn row_files(directory: &Path) -> Vec<PathBuf> {
    let list = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    list(&directory.join("rows"))
        .flat_map(|partition| list(&partition.path().join("tables")))
        .map(|file| file.path())
        .collect()
}

/// The name's end of a journal segment that was never finished: nothing was ever in it, and it
/// goes when the journal is looked at.
const UNFINISHED: &str = "tmp";

/// Every file and folder below a directory, with the hash of its content.
pub fn tree(directory: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.extension().is_some_and(|end| end == UNFINISHED) {
            continue;
        }
        if path.is_dir() {
            found.push((path.clone(), 0));
            found.extend(tree(&path));
        } else {
            let mut hash = xxhash_rust::xxh3::Xxh3::new();
            let mut file = File::open(&path).expect("it can be read");
            std::io::copy(&mut file, &mut Hashing(&mut hash)).expect("it can be read");
            found.push((path, hash.digest()));
        }
    }
    found.sort();
    found
}

struct Hashing<'a>(&'a mut xxhash_rust::xxh3::Xxh3);

impl std::io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
