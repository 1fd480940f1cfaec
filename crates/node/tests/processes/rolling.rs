//! Nodes that are restarted politely, one after the other, under clients that repeat nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::{Cluster, until};
use crate::ledger::Ledger;
use crate::plain::{Connection, Outcome};

const TABLE: &str = "rolling";
const KEYS: u64 = 20;
/// Answers that each client has before the first restart and after each.
const ANSWERS: usize = 50;

/// What the clients share.
#[derive(Default)]
struct SharedCounts {
    ledger: Mutex<Ledger>,
    stop: AtomicBool,
    written: AtomicUsize,
    read: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

/// Asks one node after the other; goes on to the next only if nothing was sent.
struct Client {
    connections: Vec<Connection>,
    next: usize,
    shared: Arc<SharedCounts>,
}

impl Client {
    fn new(addresses: &[SocketAddr], shared: &Arc<SharedCounts>) -> Self {
        let connections = addresses.iter().copied().map(Connection::new);
        Self {
            connections: connections.collect(),
            next: 0,
            shared: Arc::clone(shared),
        }
    }

    /// The document of a successful answer; `None` if the request failed, which is noted.
    async fn ask(&mut self, method: &str, target: &str, body: &str) -> Option<Value> {
        let mut tried = 0;
        loop {
            self.next = (self.next + 1) % self.connections.len();
            let failure = match self.connections[self.next].ask(method, target, body).await {
                Outcome::Answered {
                    status: 200 | 404,
                    body,
                } => {
                    return Some(serde_json::from_str(&body).unwrap());
                }
                Outcome::Answered { status, body } => format!("{status} {body}"),
                Outcome::NotSent if tried < self.connections.len() => {
                    tried += 1;
                    continue;
                }
                Outcome::NotSent => "no node is there".to_owned(),
                Outcome::Failed(error) => error,
            };
            let failure = format!("{method} {target}: {failure}");
            self.shared.failed.lock().unwrap().push(failure);
            return None;
        }
    }
}

async fn write(mut client: Client) {
    let shared = Arc::clone(&client.shared);
    for number in 0.. {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("k{}", number % KEYS);
        let value = shared.ledger.lock().unwrap().attempt(&key);
        let target = format!("/v1/tables/{TABLE}/rows/{key}");
        let body = json!({ "value": value }).to_string();
        if client.ask("PUT", &target, &body).await.is_some() {
            shared.ledger.lock().unwrap().acknowledge(&key, value);
            shared.written.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn read(mut client: Client) {
    let shared = Arc::clone(&client.shared);
    for number in 0.. {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("k{}", number % KEYS);
        let before = shared.ledger.lock().unwrap().clone();
        let target = format!("/v1/tables/{TABLE}/rows/{key}");
        if let Some(row) = client.ask("GET", &target, "").await {
            let value = row["value"].as_u64();
            before.is_not_older(&key, value);
            shared.ledger.lock().unwrap().fits_attempts(&key, value);
            shared.read.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Waits until both clients had some more answers.
async fn some_more(shared: &SharedCounts) {
    let counts = || [&shared.written, &shared.read].map(|count| count.load(Ordering::Relaxed));
    let before = counts();
    until("clients are answered", async || {
        let now = counts();
        let more = now
            .iter()
            .zip(before)
            .all(|(now, before)| *now >= before + ANSWERS);
        if more {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn a_rolling_restart_fails_no_request() {
    let mut cluster = Cluster::started(3).await;
    cluster.create_table(TABLE, 3, 8).await;
    let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.http).collect();
    let shared = Arc::new(SharedCounts::default());
    let clients = [
        tokio::spawn(write(Client::new(&addresses, &shared))),
        tokio::spawn(read(Client::new(&addresses, &shared))),
    ];
    some_more(&shared).await;
    for index in 0..3 {
        let status = cluster.nodes[index].terminate().await;
        assert!(status.success(), "{status}");
        some_more(&shared).await;
        cluster.nodes[index].start();
        cluster.ready(index).await;
        cluster.whole(TABLE, 3).await;
        some_more(&shared).await;
    }
    shared.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let failed = shared.failed.lock().unwrap().clone();
    assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
    let ledger = shared.ledger.lock().unwrap().clone();
    ledger.verify(&cluster.client(), TABLE).await;
    cluster.copies_equal(TABLE, 3).await;
}
