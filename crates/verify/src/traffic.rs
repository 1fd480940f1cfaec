//! Writers and strong readers that keep going while nodes die.
//!
//! A writer has one request under way. It goes on to its next write only after the one before was
//! acknowledged, and repeats a write with the same request id on the next node when a connection
//! breaks, an answer takes too long or the cluster says that it cannot serve. Knows nothing of what
//! happens to the nodes meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tablestore_client::RequestId;
use tokio::task::JoinSet;

use crate::endpoint::{Endpoint, Target, observed};
use crate::http::{Answer, request};
use crate::lane::{Asked, Lane};
use crate::ledger::{Key, Ledger, Wrong};
use crate::pauses::Ack;

/// Wrong reads that are remembered in full; the others are counted.
const WRONG_KEPT: usize = 20;

/// Where writes are carried out at least once, a key of which an attempt was abandoned rests for so
/// long: no node carries a request out later than that.
const ABANDONED_FOR: Duration = Duration::from_secs(10);

/// How much traffic there is to be.
#[derive(Debug, Clone)]
pub struct Load {
    /// Writers, at least one; each owns every so-many-th target.
    pub writers: usize,
    /// Strong readers.
    pub readers: usize,
    /// A writer begins a write this long after the last at the earliest.
    pub pace: Duration,
    /// After this the next node is asked. It grows, up to a tenth of a second, while none serves.
    pub attempt_timeout: Duration,
}

/// A wrong strong read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongRead {
    /// The path of the row.
    pub path: String,
    /// What is wrong with what it showed.
    pub wrong: Wrong,
}

/// Traffic that runs; it ends at the latest when this is dropped.
#[derive(Debug)]
pub struct Traffic {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

/// What all writers and readers share.
#[derive(Debug)]
struct Shared {
    endpoint: Endpoint,
    targets: Vec<Target>,
    load: Load,
    began: Instant,
    ledger: Mutex<Ledger>,
    acks: Vec<Mutex<Vec<Ack>>>,
    wrong_reads: Mutex<(u64, Vec<WrongRead>)>,
    reads: AtomicU64,
    /// An answer that no correct request can get; the traffic ends with it.
    refused: Mutex<Option<String>>,
    stop: AtomicBool,
    /// Grows when all are to return to the node they began with.
    homing: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Traffic {
    /// Lets writers and readers run, on the runtime of the caller. The ledger's keys are the
    /// positions of `targets`; it says whether their rows are there already.
    ///
    /// # Panics
    /// When the ledger has another number of keys, or there is no writer.
    #[must_use]
    pub fn start(endpoint: Endpoint, targets: Vec<Target>, ledger: Ledger, load: Load) -> Self {
        assert_eq!(targets.len(), ledger.keys(), "each target has its history");
        assert!(load.writers > 0, "somebody writes");
        let shared = Arc::new(Shared {
            endpoint,
            ledger: Mutex::new(ledger),
            targets,
            began: Instant::now(),
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

    /// Lets every writer finish the write it is at, within a bound. What is under way after that
    /// stays attempted and not acknowledged.
    pub async fn stop(&mut self, within: Duration) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(within, all).await;
        self.tasks.shutdown().await;
    }

    /// Microseconds since the traffic began.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.shared.now_us()
    }

    /// Writes acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        locked(&self.shared.ledger).acknowledged_total()
    }

    /// Strong reads answered so far.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.shared.reads.load(Ordering::Relaxed)
    }

    /// How many reads were wrong, and the first of them.
    #[must_use]
    pub fn wrong_reads(&self) -> (u64, Vec<WrongRead>) {
        locked(&self.shared.wrong_reads).clone()
    }

    /// The answer, in words, that ended the traffic: one that no correct request can get.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        locked(&self.shared.refused).clone()
    }

    /// What is known now; after [`Traffic::stop`] it is what the rows are to be judged by.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        locked(&self.shared.ledger).clone()
    }

    /// The rows that are written.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.shared.targets
    }

    /// The acknowledgements so far, by writer.
    #[must_use]
    pub fn acks(&self) -> Vec<Vec<Ack>> {
        let acks = self.shared.acks.iter();
        acks.map(|acks| locked(acks).clone()).collect()
    }

    /// Forgets acknowledgements before a time, so that long traffic does not fill memory.
    pub fn forget_acks_before(&self, us: u64) {
        for acks in &self.shared.acks {
            locked(acks).retain(|ack| ack.at_us >= us);
        }
    }

    /// Sends everyone back to the node they began with, so that a node that was killed and is back
    /// has clients again.
    pub fn send_home(&self) {
        self.shared.homing.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn note_wrong(&self, key: Key, wrong: Wrong) {
        let mut reads = locked(&self.wrong_reads);
        reads.0 += 1;
        if reads.1.len() < WRONG_KEPT {
            reads.1.push(WrongRead {
                path: self.targets[key.0].path().to_owned(),
                wrong,
            });
        }
    }

    fn refuse(&self, what: &str, answer: &Answer) {
        let told = || format!("{what}: {} {}", answer.status, answer.text());
        locked(&self.refused).get_or_insert_with(told);
        self.stop.store(true, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A lane that goes home when all are sent there.
struct Client {
    shared: Arc<Shared>,
    lane: Lane,
    homed: u64,
}

impl Client {
    fn new(shared: &Arc<Shared>, number: usize) -> Self {
        Self {
            lane: Lane::new(&shared.endpoint, number, shared.load.attempt_timeout),
            shared: Arc::clone(shared),
            homed: 0,
        }
    }

    async fn ask(&mut self, bytes: &[u8]) -> Asked {
        let homing = self.shared.homing.load(Ordering::Relaxed);
        if self.homed != homing {
            self.homed = homing;
            self.lane.go_home();
        }
        self.lane.ask(bytes, || self.shared.stopped()).await
    }
}

/// The keys of a writer: every `writers`-th.
fn own_keys(shared: &Shared, writer: usize) -> Vec<Key> {
    (writer..shared.targets.len())
        .step_by(shared.load.writers)
        .map(Key)
        .collect()
}

async fn write(shared: Arc<Shared>, writer: usize) {
    let keys = own_keys(&shared, writer);
    let mut client = Client::new(&shared, writer);
    let at_least_once = locked(&shared.ledger).converges();
    let mut resting: BTreeMap<Key, Instant> = BTreeMap::new();
    let mut next = 0;
    while !shared.stopped() && !keys.is_empty() {
        let began = Instant::now();
        let key = keys[next % keys.len()];
        next += 1;
        if resting.get(&key).is_some_and(|until| began < *until) {
            // At most all keys are passed over, then some time.
            if next.is_multiple_of(keys.len()) {
                tokio::time::sleep(shared.load.pace).await;
            }
            continue;
        }
        let sequence = locked(&shared.ledger).attempt(key);
        let target = &shared.targets[key.0];
        let id = RequestId::random().to_string();
        let bytes = request("PUT", target.path(), Some(&id), &target.body(sequence));
        let answer = match client.ask(&bytes).await {
            Asked::Answered { answer, abandoned } => {
                if abandoned && at_least_once {
                    resting.insert(key, Instant::now() + ABANDONED_FOR);
                }
                answer
            }
            Asked::GivenUp { not_applied: false } => return,
            Asked::GivenUp { not_applied: true } => {
                let judged = locked(&shared.ledger).not_applied(key, sequence);
                if let Err(wrong) = judged {
                    shared.note_wrong(key, wrong);
                }
                return;
            }
        };
        if !(200..300).contains(&answer.status) {
            return shared.refuse("a write was refused", &answer);
        }
        let at_us = shared.now_us();
        locked(&shared.ledger).acknowledge(key, sequence);
        let Answer {
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

async fn read(shared: Arc<Shared>, reader: usize) {
    let mut client = Client::new(&shared, reader);
    // A step that shares no factor with the number of keys visits all of them.
    let step = 7919;
    let mut next = reader * 104_729;
    while !shared.stopped() && !shared.targets.is_empty() {
        next = (next + step) % shared.targets.len();
        let key = Key(next);
        let bytes = request("GET", &shared.targets[next].strong_path(), None, "");
        let floor = locked(&shared.ledger).read_begins(key);
        let Asked::Answered { answer, .. } = client.ask(&bytes).await else {
            return;
        };
        let observed = match observed(&answer) {
            Ok(observed) => observed,
            Err(what) => return shared.refuse(what, &answer),
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
    use super::*;
    use crate::fake::{Fake, Fault};

    async fn run(fault: Option<Fault>, until: impl Fn(&Traffic) -> bool) -> (Traffic, Fake) {
        run_on(Ledger::absent(6), fault, until).await
    }

    async fn run_on(
        ledger: Ledger,
        fault: Option<Fault>,
        until: impl Fn(&Traffic) -> bool,
    ) -> (Traffic, Fake) {
        let fake = Fake::start(fault).await;
        let load = Load {
            writers: 3,
            readers: 2,
            pace: Duration::ZERO,
            attempt_timeout: Duration::from_secs(5),
        };
        let targets = fake.targets(6);
        let mut traffic = Traffic::start(fake.endpoint(), targets, ledger, load);
        while !until(&traffic) {
            tokio::task::yield_now().await;
        }
        traffic.stop(Duration::from_secs(5)).await;
        (traffic, fake)
    }

    fn busy(traffic: &Traffic) -> bool {
        traffic.acknowledged() >= 200 && traffic.reads() >= 100
    }

    #[tokio::test]
    async fn traffic_goes_on_over_a_node_that_hangs_up_or_cannot_serve() {
        for fault in [None, Some(Fault::HangsUp), Some(Fault::NotNow)] {
            let (traffic, fake) = run(fault, busy).await;
            assert_eq!(traffic.wrong_reads().0, 0, "{fault:?}");
            assert_eq!(traffic.refused(), None);
            for (number, target) in traffic.targets().iter().enumerate() {
                let judged = traffic.ledger().at_end(Key(number), fake.sequence(target));
                assert_eq!(judged, Ok(()), "{fault:?}");
            }
            let acks = traffic.acks();
            let total: usize = acks.iter().map(Vec::len).sum();
            assert_eq!(total as u64, traffic.acknowledged());
            assert!(
                acks.iter()
                    .all(|acks| acks.is_sorted_by_key(|ack| ack.at_us))
            );
            assert_eq!((acks[0][0].partition, acks[0][0].epoch), (Some(4), Some(3)));
        }
    }

    #[tokio::test]
    async fn a_key_rests_when_an_attempt_may_be_carried_out_late_over_what_is_written_next() {
        let converging = Ledger::absent(6).converging();
        let (traffic, fake) = run_on(converging, Some(Fault::HangsUp), busy).await;
        let written = |key: usize| fake.sequence(&traffic.targets()[key]).unwrap();
        // Two of the three writers begin at the node that hangs up, with their first keys.
        assert_eq!((written(0), written(2)), (1, 1));
        assert!([1, 3, 4, 5].into_iter().all(|key| written(key) > 1));
    }

    #[tokio::test]
    async fn l08_stale_reads_are_noticed_and_told_with_their_rows() {
        let stale = |traffic: &Traffic| traffic.wrong_reads().0 > 0;
        let (traffic, _fake) = run(Some(Fault::Stale), stale).await;
        let (count, examples) = traffic.wrong_reads();
        assert!(count > 0 && examples[0].path.starts_with("/v1/tables/t/rows/k"));
        assert!(matches!(examples[0].wrong, Wrong::TooOld { .. }));
    }

    #[tokio::test]
    async fn writes_answered_not_applied_that_appear_are_noticed() {
        // All writers are at their first write, which readers have seen by now.
        let seen = |traffic: &Traffic| traffic.reads() >= 100;
        let (traffic, fake) = run(Some(Fault::AppliesNevertheless), seen).await;
        assert_eq!(traffic.acknowledged(), 0);
        let wrong = Wrong::NotApplied { observed: 1 };
        let (_, examples) = traffic.wrong_reads();
        assert!(examples.iter().any(|read| read.wrong == wrong));
        let first = fake.sequence(&traffic.targets()[0]);
        assert_eq!(traffic.ledger().at_end(Key(0), first), Err(wrong));
    }

    #[tokio::test]
    async fn writes_lost_after_their_acknowledgement_are_noticed() {
        let (traffic, fake) = run(Some(Fault::Forgets), busy).await;
        let judged = traffic
            .targets()
            .iter()
            .enumerate()
            .map(|(number, target)| {
                let ledger = traffic.ledger();
                ledger.at_end(Key(number), fake.sequence(target))
            });
        let lost = |judged: Result<(), Wrong>| matches!(judged, Err(Wrong::TooOld { .. }));
        assert!(judged.into_iter().any(lost));
    }

    #[tokio::test]
    async fn a_refused_write_ends_the_traffic_and_is_told() {
        let refused = |traffic: &Traffic| traffic.refused().is_some();
        let (traffic, _fake) = run(Some(Fault::Refuses), refused).await;
        assert_eq!(
            traffic.refused().unwrap(),
            "a write was refused: 413 too large"
        );
        assert_eq!(traffic.acknowledged(), 0);
    }
}
