//! A cluster of two nodes for tests, in memory, that misbehaves as told. Its one table is `t`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tablestore_client::{Client, Row, RowKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::endpoint::{Endpoint, SEQUENCE, Target};
use crate::ledger::Observed;

const ROWS: &str = "/v1/tables/t/rows";

/// How it misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// One of its nodes closes every connection after a request.
    HangsUp,
    /// One of its nodes answers that it cannot serve.
    NotNow,
    /// Reads show the state before the last write.
    Stale,
    /// Writes are refused.
    Refuses,
    /// Writes are answered `not_applied` and carried out.
    AppliesNevertheless,
    /// Writes are acknowledged, and all but the first five of a row are not carried out.
    Forgets,
}

/// The versions of each row, by its key; none for a row that is not there.
type Rows = BTreeMap<String, Vec<String>>;

#[derive(Debug, Default)]
struct State {
    rows: Mutex<Rows>,
    copies_differ: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct Fake {
    state: Arc<State>,
    endpoint: Endpoint,
}

impl Fake {
    pub(crate) async fn start(fault: Option<Fault>) -> Self {
        let state = Arc::new(State::default());
        // A fault of the data is on all nodes, a fault of a node on one.
        let of_a_node = matches!(fault, Some(Fault::HangsUp | Fault::NotNow));
        let first = node(Arc::clone(&state), fault).await;
        let second = node(Arc::clone(&state), fault.filter(|_| !of_a_node)).await;
        let addresses = [first.to_string(), second.to_string()];
        let endpoint = Endpoint::new(&addresses, "t").expect("they are addresses");
        Self { state, endpoint }
    }

    /// An endpoint where nobody listens.
    pub(crate) async fn nobody() -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let address = listener.and_then(|listener| listener.local_addr());
        let address = address.expect("a loopback port is free").to_string();
        Endpoint::new(&[address], "t").expect("it is an address")
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.endpoint.addresses()).expect("they are addresses")
    }

    /// Rows `k0`, `k1`, …
    pub(crate) fn targets(&self, count: usize) -> Vec<Target> {
        let target = |number| {
            let key = RowKey::new(format!("k{number}"));
            self.endpoint.target(&key, Row::new())
        };
        (0..count).map(target).collect()
    }

    pub(crate) fn put(&self, key: &str, row: &str) {
        let mut rows = self.state.rows.lock().expect("no holder panics");
        rows.entry(key.to_owned()).or_default().push(row.to_owned());
    }

    pub(crate) fn remove(&self, key: &str) {
        let mut rows = self.state.rows.lock().expect("no holder panics");
        rows.remove(key);
    }

    /// The copies of a partition differ from now on, whatever the cluster says about them.
    pub(crate) fn part_copies(&self) {
        self.state.copies_differ.store(true, Ordering::Relaxed);
    }

    /// What a row really holds.
    pub(crate) fn sequence(&self, target: &Target) -> Observed {
        let rows = self.state.rows.lock().expect("no holder panics");
        let key = target.path().strip_prefix(ROWS)?.strip_prefix('/')?;
        let row: Value = serde_json::from_str(rows.get(key)?.last()?).ok()?;
        row[SEQUENCE].as_u64().or(Some(0))
    }
}

async fn node(state: Arc<State>, fault: Option<Fault>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a loopback port is free");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, Arc::clone(&state), fault));
        }
    });
    address
}

async fn serve(mut socket: TcpStream, state: Arc<State>, fault: Option<Fault>) {
    let mut buffer = Vec::with_capacity(4096);
    while socket.read_buf(&mut buffer).await.is_ok_and(|n| n > 0) {
        // Requests of these tests are small and arrive in one piece.
        let text = String::from_utf8(buffer.clone()).expect("requests are text");
        buffer.clear();
        let (head, body) = text.split_once("\r\n\r\n").expect("it is whole");
        let mut words = head.split(' ');
        let (method, target) = words.next().zip(words.next()).expect("a request line");
        if fault == Some(Fault::HangsUp) {
            return;
        }
        let path = target.split('?').next().unwrap_or(target);
        let (status, answer) = match path {
            ROWS => (200, scan(&state)),
            "/v1/cluster/checksums" => (200, checksums(&state)),
            _ => row(&state, fault, method, path, body),
        };
        let length = answer.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\
             x-tablestore-partition: 1/4\r\nx-tablestore-epoch: 3\r\n\r\n"
        );
        let answer = format!("{head}{answer}");
        if socket.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn row(state: &State, fault: Option<Fault>, method: &str, path: &str, body: &str) -> (u16, String) {
    let key = path.strip_prefix(ROWS).and_then(|rest| rest.get(1..));
    let key = key.expect("it is the path of a row").to_owned();
    let mut rows = state.rows.lock().expect("no holder panics");
    let not_applied = || (503, json!({"code": "not_applied"}).to_string());
    match (method, fault) {
        (_, Some(Fault::NotNow)) => not_applied(),
        ("PUT", Some(Fault::Refuses)) => (413, "too large".to_owned()),
        ("PUT", _) => {
            let versions = rows.entry(key).or_default();
            let row = match (fault, versions.last()) {
                (Some(Fault::Forgets), Some(last)) if versions.len() >= 5 => last.clone(),
                _ => body.to_owned(),
            };
            versions.push(row);
            match fault {
                Some(Fault::AppliesNevertheless) => not_applied(),
                _ => (200, "{}".to_owned()),
            }
        }
        (_, fault) => {
            let back = if fault == Some(Fault::Stale) { 2 } else { 1 };
            let versions = rows.get(&key).map_or(&[][..], Vec::as_slice);
            match versions.len().checked_sub(back) {
                Some(at) => (200, versions[at].clone()),
                None => (404, "{}".to_owned()),
            }
        }
    }
}

fn scan(state: &State) -> String {
    let rows = state.rows.lock().expect("no holder panics");
    let row = |(key, versions): (&String, &Vec<String>)| {
        let mut row: Value = serde_json::from_str(versions.last()?).ok()?;
        row["id"] = json!(key);
        Some(row)
    };
    let rows: Vec<_> = rows.iter().filter_map(row).collect();
    json!({"rows": rows, "next_cursor": null}).to_string()
}

fn checksums(state: &State) -> String {
    let differ = state.copies_differ.load(Ordering::Relaxed);
    let partition = |number: u32, second: &str| {
        json!({"partition": number, "index": 7, "equal": true, "replicas": [
            {"node": "n1", "checksum": "0a"}, {"node": "n2", "checksum": second}]})
    };
    let second = if differ { "0b" } else { "0a" };
    json!({"partitions": [partition(0, "0a"), partition(1, second)]}).to_string()
}
