//! Nodes that are restarted politely, one after the other, under clients that repeat nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tablestore_verify::http::{Answer, Connection, Outcome, request};
use tablestore_verify::{Key, observed};

use crate::account::Account;
use crate::harness::{Cluster, until};

const TABLE: &str = "rolling";
const KEYS: usize = 20;
/// Answers that each client has before the first restart and after each.
const ANSWERS: usize = 50;

/// What the clients share.
struct SharedCounts {
    account: Mutex<Account>,
    stop: AtomicBool,
    written: AtomicUsize,
    read: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

impl SharedCounts {
    fn assert_none_failed(&self) {
        let failed = self.failed.lock().unwrap();
        assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
    }
}

/// Asks one node after the other; goes on to the next only if nothing was sent.
struct Client {
    connections: Vec<Connection>,
    next: usize,
    shared: Arc<SharedCounts>,
}

impl Client {
    fn new(addresses: &[String], shared: &Arc<SharedCounts>) -> Self {
        let connections = addresses.iter().map(Connection::new);
        Self {
            connections: connections.collect(),
            next: 0,
            shared: Arc::clone(shared),
        }
    }

    /// The answer, if it is one of success; `None` if the request failed, which is noted.
    async fn ask(&mut self, method: &str, target: &str, body: &str) -> Option<Answer> {
        let bytes = request(method, target, None, body);
        let mut tried = 0;
        loop {
            self.next = (self.next + 1) % self.connections.len();
            let failure = match self.connections[self.next].ask(&bytes).await {
                Outcome::Answered(answer) if matches!(answer.status, 200 | 404) => {
                    return Some(answer);
                }
                Outcome::Answered(answer) => format!("{} {}", answer.status, answer.text()),
                Outcome::NotSent(_) if tried < self.connections.len() => {
                    tried += 1;
                    continue;
                }
                Outcome::NotSent(error) => format!("no node is there: {error}"),
                Outcome::Failed(error) => error.to_string(),
            };
            let failure = format!("{method} {target}, at {}: {failure}", self.next);
            self.shared.failed.lock().unwrap().push(failure);
            return None;
        }
    }
}

async fn write(mut client: Client) {
    let shared = Arc::clone(&client.shared);
    for key in (0..KEYS).cycle().map(Key) {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let (target, sequence) = {
            let mut account = shared.account.lock().unwrap();
            let sequence = account.ledger.attempt(key);
            (account.targets[key.0].clone(), sequence)
        };
        let answer = client
            .ask("PUT", target.path(), &target.body(sequence))
            .await;
        // What failed is noted and fails the test.
        if answer.is_none() {
            return;
        }
        let mut account = shared.account.lock().unwrap();
        account.ledger.acknowledge(key, sequence);
        shared.written.fetch_add(1, Ordering::Relaxed);
    }
}

async fn read(mut client: Client) {
    let shared = Arc::clone(&client.shared);
    for key in (0..KEYS).cycle().map(Key) {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let (path, floor) = {
            let account = shared.account.lock().unwrap();
            let path = account.targets[key.0].strong_path();
            (path, account.ledger.read_begins(key))
        };
        let Some(answer) = client.ask("GET", &path, "").await else {
            return;
        };
        let mut account = shared.account.lock().unwrap();
        let judged = account
            .ledger
            .read_ends(key, floor, observed(&answer).unwrap());
        if let Err(wrong) = judged {
            let wrong = format!("GET {path}: {wrong}");
            shared.failed.lock().unwrap().push(wrong);
            return;
        }
        shared.read.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until both clients had some more answers.
async fn some_more(shared: &SharedCounts) {
    let counts = || [&shared.written, &shared.read].map(|count| count.load(Ordering::Relaxed));
    let before = counts();
    until("clients are answered", async || {
        shared.assert_none_failed();
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
    let addresses = cluster.addresses();
    let shared = Arc::new(SharedCounts {
        account: Mutex::new(Account::new(&cluster, TABLE, "k", KEYS)),
        stop: AtomicBool::default(),
        written: AtomicUsize::default(),
        read: AtomicUsize::default(),
        failed: Mutex::default(),
    });
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
    shared.assert_none_failed();
    let shared = Arc::into_inner(shared).unwrap();
    let account = shared.account.into_inner().unwrap();
    account.verify().await;
    cluster.copies_equal(TABLE, 3).await;
}
