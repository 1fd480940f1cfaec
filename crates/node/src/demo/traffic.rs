//! Writers and strong readers that keep going while nodes die.
//!
//! A writer has one request under way. It goes on to its next write only after the one before was
//! acknowledged, and repeats a write with the same request id on the next node when a connection
//! breaks, an answer takes too long or the cluster says that it cannot serve.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tablestore_client::RequestId;
use tokio::task::JoinSet;

use super::gap::Ack;
use super::ledger::{Key, Ledger, Observed, Wrong};
use super::rows::SEQUENCE;
use super::wire::{Connection, RawAnswer, request};

/// Attempts with the first timeout; then it doubles, so that a slow machine is not asked ever
/// more often.
const HASTY_ATTEMPTS: u32 = 8;
/// The timeout of an attempt grows up to this.
const ATTEMPT_TIMEOUT_MAX: Duration = Duration::from_millis(100);
/// The pause after each node was tried once in vain.
const ROUND_PAUSE: Duration = Duration::from_millis(1);
/// Wrong reads that are remembered in full; the others are counted.
const WRONG_KEPT: usize = 20;

/// A row that a writer owns.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The path of the row.
    pub(crate) path: String,
    /// Its attributes as JSON, up to where the sequence number goes.
    pub(crate) body_start: String,
}

/// How much traffic there is to be.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) writers: usize,
    pub(crate) readers: usize,
    /// A writer begins a write this long after the last at the earliest.
    pub(crate) pace: Duration,
    pub(crate) attempt_timeout: Duration,
}

/// A wrong strong read.
#[derive(Debug, Clone)]
pub(crate) struct WrongRead {
    pub(crate) path: String,
    pub(crate) wrong: Wrong,
}

/// What all writers and readers share.
#[derive(Debug)]
pub(crate) struct SharedTraffic {
    addresses: Vec<SocketAddr>,
    targets: Vec<Target>,
    load: Load,
    epoch: Instant,
    ledger: Mutex<Ledger>,
    acks: Vec<Mutex<Vec<Ack>>>,
    wrong_reads: Mutex<(u64, Vec<WrongRead>)>,
    reads: AtomicU64,
    /// An answer that no correct request can get; the demo ends with it.
    refused: Mutex<Option<String>>,
    stop: AtomicBool,
    /// Grows when all are to return to the node they began with.
    homing: AtomicU64,
}

/// Traffic that runs.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) shared: Arc<SharedTraffic>,
    tasks: JoinSet<()>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SharedTraffic {
    /// Microseconds since the demo began.
    pub(crate) fn now_us(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    #[cfg(test)]
    fn targets(&self) -> &[Target] {
        &self.targets
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        locked(&self.ledger).acknowledged_total()
    }

    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    pub(crate) fn wrong_reads(&self) -> (u64, Vec<WrongRead>) {
        locked(&self.wrong_reads).clone()
    }

    pub(crate) fn refused(&self) -> Option<String> {
        locked(&self.refused).clone()
    }

    pub(crate) fn at_end(&self, key: Key, observed: Observed) -> Result<(), Wrong> {
        locked(&self.ledger).at_end(key, observed)
    }

    /// The acknowledgements so far, by writer.
    pub(crate) fn acks(&self) -> Vec<Vec<Ack>> {
        self.acks.iter().map(|acks| locked(acks).clone()).collect()
    }

    /// Forgets acknowledgements before a time, so that a long demo does not fill memory.
    pub(crate) fn forget_acks_before(&self, us: u64) {
        for acks in &self.acks {
            locked(acks).retain(|ack| ack.at_us >= us);
        }
    }

    /// Sends everyone back to the node they began with, so that a node that was killed and is back
    /// has clients again.
    pub(crate) fn send_home(&self) {
        self.homing.fetch_add(1, Ordering::Relaxed);
    }

    fn note_wrong(&self, key: Key, wrong: Wrong) {
        let mut reads = locked(&self.wrong_reads);
        reads.0 += 1;
        if reads.1.len() < WRONG_KEPT {
            reads.1.push(WrongRead {
                path: self.targets[key.0].path.clone(),
                wrong,
            });
        }
    }

    fn refuse(&self, what: &str, answer: &RawAnswer) {
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        locked(&self.refused).get_or_insert_with(|| format!("{what}: {} {body}", answer.status));
        self.stop.store(true, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Traffic {
    pub(crate) fn start(addresses: Vec<SocketAddr>, targets: Vec<Target>, load: Load) -> Self {
        let shared = Arc::new(SharedTraffic {
            addresses,
            ledger: Mutex::new(Ledger::new(targets.len())),
            targets,
            epoch: Instant::now(),
            acks: (0..load.writers).map(|_| Mutex::new(Vec::new())).collect(),
            wrong_reads: Mutex::default(),
            reads: AtomicU64::new(0),
            refused: Mutex::new(None),
            stop: AtomicBool::new(false),
            homing: AtomicU64::new(0),
            load,
        });
        let mut tasks = JoinSet::new();
        for writer in 0..shared.load.writers {
            tasks.spawn(write(Arc::clone(&shared), writer));
        }
        for reader in 0..shared.load.readers {
            tasks.spawn(read(Arc::clone(&shared), reader));
        }
        Self { shared, tasks }
    }

    /// Lets every writer finish the write it is at, within a bound.
    pub(crate) async fn stop(&mut self, within: Duration) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // What is under way after that stays attempted and not acknowledged.
        let _ = tokio::time::timeout(within, all).await;
        self.tasks.shutdown().await;
    }
}

/// A way to the cluster: a connection to one node, then the next.
struct Lane {
    shared: Arc<SharedTraffic>,
    home: usize,
    at: usize,
    homed: u64,
    connection: Option<Connection>,
}

impl Lane {
    fn new(shared: Arc<SharedTraffic>, number: usize) -> Self {
        let home = number % shared.addresses.len();
        Self {
            shared,
            home,
            at: home,
            homed: 0,
            connection: None,
        }
    }

    /// Asks node after node until one answers with anything but "not now"; `None` when stopped.
    async fn ask(&mut self, bytes: &[u8]) -> Option<RawAnswer> {
        let homing = self.shared.homing.load(Ordering::Relaxed);
        if self.homed != homing {
            self.homed = homing;
            self.move_to(self.home);
        }
        let nodes = u32::try_from(self.shared.addresses.len()).unwrap_or(1);
        let mut attempts = 0_u32;
        loop {
            let doublings = attempts.saturating_sub(HASTY_ATTEMPTS).min(10);
            let timeout = self
                .shared
                .load
                .attempt_timeout
                .saturating_mul(1 << doublings);
            let timeout = timeout
                .min(ATTEMPT_TIMEOUT_MAX)
                .max(self.shared.load.attempt_timeout);
            match tokio::time::timeout(timeout, self.exchange(bytes)).await {
                Ok(Ok(answer)) if answer.status != 503 => return Some(answer),
                // Not now, broken off, or no answer in time: the next node, with the same id.
                _ => self.move_to((self.at + 1) % self.shared.addresses.len()),
            }
            attempts += 1;
            if self.shared.stopped() && attempts > nodes * HASTY_ATTEMPTS {
                return None;
            }
            if attempts.is_multiple_of(nodes) {
                tokio::time::sleep(ROUND_PAUSE).await;
            }
        }
    }

    fn move_to(&mut self, node: usize) {
        self.connection = None;
        self.at = node;
    }

    async fn exchange(&mut self, bytes: &[u8]) -> std::io::Result<RawAnswer> {
        let mut connection = match self.connection.take().filter(Connection::usable) {
            Some(connection) => connection,
            None => Connection::open(self.shared.addresses[self.at]).await?,
        };
        let answer = connection.exchange(bytes).await?;
        self.connection = Some(connection);
        Ok(answer)
    }
}

/// The keys of a writer: every `writers`-th.
fn own_keys(shared: &SharedTraffic, writer: usize) -> Vec<Key> {
    (writer..shared.targets.len())
        .step_by(shared.load.writers)
        .map(Key)
        .collect()
}

async fn write(shared: Arc<SharedTraffic>, writer: usize) {
    let keys = own_keys(&shared, writer);
    let mut lane = Lane::new(Arc::clone(&shared), writer);
    let mut next = 0;
    while !shared.stopped() && !keys.is_empty() {
        let began = Instant::now();
        let key = keys[next % keys.len()];
        next += 1;
        let sequence = locked(&shared.ledger).attempt(key);
        let target = &shared.targets[key.0];
        let body = format!("{}{sequence}}}", target.body_start);
        let id = RequestId::random().to_string();
        let Some(answer) = lane
            .ask(&request("PUT", &target.path, Some(&id), &body))
            .await
        else {
            return;
        };
        if !(200..300).contains(&answer.status) {
            return shared.refuse("a write was refused", &answer);
        }
        let at_us = shared.now_us();
        locked(&shared.ledger).acknowledge(key, sequence);
        let RawAnswer {
            partition, epoch, ..
        } = answer;
        locked(&shared.acks[writer]).push(Ack {
            at_us,
            partition,
            epoch,
        });
        if let Some(rest) = shared.load.pace.checked_sub(began.elapsed()) {
            tokio::time::sleep(rest).await;
        }
    }
}

async fn read(shared: Arc<SharedTraffic>, reader: usize) {
    let mut lane = Lane::new(Arc::clone(&shared), reader);
    // A step that shares no factor with the number of keys visits all of them.
    let step = 7919;
    let mut next = reader * 104_729;
    while !shared.stopped() && !shared.targets.is_empty() {
        next = (next + step) % shared.targets.len();
        let key = Key(next);
        let path = format!("{}?consistency=strong", shared.targets[next].path);
        let floor = locked(&shared.ledger).read_begins(key);
        let Some(answer) = lane.ask(&request("GET", &path, None, "")).await else {
            return;
        };
        let observed = match answer.status {
            404 => None,
            200 => match serde_json::from_slice::<Value>(&answer.body) {
                Ok(row) => Some(row.get(SEQUENCE).and_then(Value::as_u64).unwrap_or(0)),
                Err(_) => return shared.refuse("a read cannot be understood", &answer),
            },
            _ => return shared.refuse("a read was refused", &answer),
        };
        shared.reads.fetch_add(1, Ordering::Relaxed);
        let judged = locked(&shared.ledger).read_ends(key, floor, observed);
        if let Err(wrong) = judged {
            shared.note_wrong(key, wrong);
        }
        tokio::time::sleep(shared.load.pace).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use std::collections::BTreeMap;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// How a cluster of the test misbehaves.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Fault {
        /// One of its nodes closes every connection after a request.
        HangsUp,
        /// One of its nodes answers that it cannot serve.
        NotNow,
        /// Reads show the state before the last write.
        Stale,
        /// Writes are refused.
        Refuses,
    }

    type Rows = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

    async fn node(rows: Rows, fault: Option<Fault>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&rows), fault));
            }
        });
        address
    }

    async fn serve(mut socket: TcpStream, rows: Rows, fault: Option<Fault>) {
        let mut buffer = Vec::with_capacity(4096);
        while socket
            .read_buf(&mut buffer)
            .await
            .is_ok_and(|read| read > 0)
        {
            // Requests of the demo are small and arrive in one piece.
            let text = String::from_utf8(buffer.clone()).unwrap();
            buffer.clear();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let mut words = head.split(' ');
            let (method, path) = (words.next().unwrap(), words.next().unwrap());
            let path = path.split('?').next().unwrap().to_owned();
            let (status, answer) = {
                let mut rows = rows.lock().unwrap();
                let versions = rows.entry(path).or_insert_with(|| vec!["{}".to_owned()]);
                match (method, fault) {
                    (_, Some(Fault::HangsUp)) => return,
                    (_, Some(Fault::NotNow)) => (503, "{}".to_owned()),
                    ("PUT", Some(Fault::Refuses)) => (413, "too large".to_owned()),
                    ("PUT", _) => {
                        versions.push(body.to_owned());
                        (200, "{}".to_owned())
                    }
                    (_, Some(Fault::Stale)) => {
                        (200, versions[versions.len().saturating_sub(2)].clone())
                    }
                    _ => (200, versions.last().unwrap().clone()),
                }
            };
            let length = answer.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\
                 x-tablestore-partition: 1/4\r\nx-tablestore-epoch: 3\r\n\r\n"
            );
            if socket
                .write_all(format!("{head}{answer}").as_bytes())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    async fn run(
        fault: Option<Fault>,
        until: impl Fn(&SharedTraffic) -> bool,
    ) -> (Arc<SharedTraffic>, Rows) {
        let rows = Rows::default();
        // A fault of the data is on all nodes, a fault of a node on one.
        let everywhere = matches!(fault, Some(Fault::Stale | Fault::Refuses));
        let first = node(Arc::clone(&rows), fault).await;
        let second = node(Arc::clone(&rows), fault.filter(|_| everywhere)).await;
        let targets = (0..6)
            .map(|n| Target {
                path: format!("/r/{n}"),
                body_start: "{\"sequence\":".to_owned(),
            })
            .collect();
        let load = Load {
            writers: 3,
            readers: 2,
            pace: Duration::ZERO,
            attempt_timeout: Duration::from_secs(5),
        };
        let mut traffic = Traffic::start(vec![first, second], targets, load);
        while !until(&traffic.shared) {
            tokio::task::yield_now().await;
        }
        traffic.stop(Duration::from_secs(5)).await;
        (traffic.shared, rows)
    }

    fn last_sequence(rows: &Rows, path: &str) -> Observed {
        let rows = rows.lock().unwrap();
        let row: Value = serde_json::from_str(rows.get(path)?.last()?).unwrap();
        row.get(SEQUENCE).map_or(Some(0), Value::as_u64)
    }

    fn busy(shared: &SharedTraffic) -> bool {
        shared.acknowledged() >= 200 && shared.reads() >= 100
    }

    #[tokio::test]
    async fn traffic_goes_on_over_a_node_that_hangs_up_or_cannot_serve() {
        for fault in [None, Some(Fault::HangsUp), Some(Fault::NotNow)] {
            let (shared, rows) = run(fault, busy).await;
            assert_eq!(shared.wrong_reads().0, 0, "{fault:?}");
            assert_eq!(shared.refused(), None);
            for (number, target) in shared.targets().iter().enumerate() {
                let observed = last_sequence(&rows, &target.path);
                assert_eq!(shared.at_end(Key(number), observed), Ok(()), "{fault:?}");
            }
            let acks = shared.acks();
            let total: usize = acks.iter().map(Vec::len).sum();
            assert_eq!(total as u64, shared.acknowledged());
            assert!(
                acks.iter()
                    .all(|acks| acks.is_sorted_by_key(|ack| ack.at_us))
            );
            assert_eq!((acks[0][0].partition, acks[0][0].epoch), (Some(4), Some(3)));
        }
    }

    #[tokio::test]
    async fn l08_stale_reads_are_noticed_and_told_with_their_rows() {
        let (shared, _) = run(Some(Fault::Stale), |shared| shared.wrong_reads().0 > 0).await;
        let (count, examples) = shared.wrong_reads();
        assert!(count > 0 && examples[0].path.starts_with("/r/"));
        assert!(matches!(examples[0].wrong, Wrong::TooOld { .. }));
    }

    #[tokio::test]
    async fn a_refused_write_ends_the_traffic_and_is_told() {
        let (shared, _) = run(Some(Fault::Refuses), |shared| shared.refused().is_some()).await;
        assert_eq!(
            shared.refused().unwrap(),
            "a write was refused: 413 too large"
        );
        assert_eq!(shared.acknowledged(), 0);
    }
}
