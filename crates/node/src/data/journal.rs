//! The journal thread: group commit of everything the data thread persists.
//!
//! The next group is whatever came while the last one was being synced; there is no timer and
//! no delay. Knows nothing of replication: a job is a record and has a position in the queue.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tablestore_dataplane::{GroupCommit, PlaneEvent, Record};
use tablestore_store::JournalWriter;
use tablestore_store::journal::JournalFailed;
use tokio::sync::Notify;

use super::event::EventSender;
use super::journal_shown::JournalShown;
use crate::metrics::Metrics;

/// Without a job for this long the end of the journal is stated, so that later damage to it is told
/// from a write that a crash tore.
const IDLE_AFTER: Duration = Duration::from_millis(100);

/// What the thread is given.
#[derive(Debug)]
enum Order {
    /// Records of one turn.
    Write(Vec<Record>),
    /// State the end of the journal: nothing follows.
    StateEnd,
}

/// What other threads may see of the journal.
#[derive(Debug)]
pub(crate) struct JournalState {
    origin: Instant,
    /// Records made durable so far.
    persisted: AtomicU64,
    /// The end is stated.
    ended: AtomicBool,
    /// When the running sync began, in ns since `origin`; 0 if none runs.
    busy_since_ns: AtomicU64,
    failed: AtomicBool,
    /// Partitions that keep the oldest segment from being used again, each until it is durable in
    /// the engine up to this index.
    held: Mutex<BTreeMap<u64, u64>>,
    /// Woken after every group.
    pub(crate) progressed: Notify,
}

impl Default for JournalState {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            persisted: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            busy_since_ns: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            held: Mutex::default(),
            progressed: Notify::new(),
        }
    }
}

impl JournalState {
    /// Records made durable so far.
    pub(crate) fn persisted(&self) -> u64 {
        self.persisted.load(Ordering::Acquire)
    }

    /// Whether the end is stated.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether a sync failed; the journal then refuses everything for good.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Partitions to flush so that the journal gets room, and up to which index; `None` if they are
    /// those already `told`.
    pub(crate) fn held_unless(&self, told: &BTreeMap<u64, u64>) -> Option<BTreeMap<u64, u64>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        (*held != *told).then(|| held.clone())
    }

    /// Age of the oldest unfinished sync in milliseconds.
    pub(crate) fn oldest_sync_ms(&self) -> u64 {
        let since = self.busy_since_ns.load(Ordering::Acquire);
        if since == 0 {
            return 0;
        }
        let now = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        now.saturating_sub(since) / 1_000_000
    }
}

/// The data thread's end of the queue. Bounded by what the replicas allow to be uncommitted.
#[derive(Debug)]
pub(crate) struct JournalQueue {
    to_thread: mpsc::Sender<Order>,
    pub(crate) state: Arc<JournalState>,
}

impl JournalQueue {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(
        writer: JournalWriter,
        events: EventSender,
        metrics: &Metrics,
    ) -> std::io::Result<Self> {
        let state = Arc::new(JournalState::default());
        let (to_thread, orders) = mpsc::channel();
        let seen = Arc::clone(&state);
        let shown = JournalShown::new(metrics);
        shown.show(&writer.stats());
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || {
                if let Err(error) = run(writer, &orders, &seen, (&events, &shown)) {
                    fail(&error, &seen, &events);
                }
            })?;
        Ok(Self { to_thread, state })
    }

    /// Hands the records of a turn to the thread.
    pub(crate) fn push(&mut self, records: &mut Vec<Record>) {
        if !records.is_empty() {
            // The thread ends only after a failure, which `failed` tells.
            let _ = self.to_thread.send(Order::Write(std::mem::take(records)));
        }
    }

    /// Nothing follows.
    pub(crate) fn state_end(&mut self) {
        let _ = self.to_thread.send(Order::StateEnd);
    }
}

fn run(
    mut writer: JournalWriter,
    orders: &mpsc::Receiver<Order>,
    state: &JournalState,
    (events, shown): (&EventSender, &JournalShown),
) -> Result<(), JournalFailed> {
    let (mut persisted, mut stated) = (0_u64, true);
    loop {
        let first = match orders.recv_timeout(IDLE_AFTER) {
            Ok(first) => first,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if !stated {
                    writer.state_end()?;
                }
                stated = true;
                continue;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
        };
        stated = false;
        let (mut group, mut ends) = (GroupCommit::default(), false);
        let mut next = Some(first);
        while let Some(order) = next {
            match order {
                Order::Write(records) => {
                    for record in records {
                        group.push(&mut writer, record);
                    }
                }
                Order::StateEnd => ends = true,
            }
            next = orders.try_recv().ok();
        }
        let since = Instant::now();
        let now = u64::try_from((since - state.origin).as_nanos()).unwrap_or(u64::MAX);
        state.busy_since_ns.store(now.max(1), Ordering::Release);
        let committed = group.commit(&mut writer);
        state.busy_since_ns.store(0, Ordering::Release);
        let committed = committed?;
        shown.synced(committed.records, since.elapsed(), &writer.stats());
        if ends {
            writer.state_end()?;
            state.ended.store(true, Ordering::Release);
        }
        persisted += committed.records;
        state.persisted.store(persisted, Ordering::Release);
        state.progressed.notify_one();
        *state.held.lock().unwrap_or_else(PoisonError::into_inner) = committed.held;
        if !committed.trimmed.is_empty() {
            events.tell_blocking(PlaneEvent::Trimmed(committed.trimmed));
        }
    }
}

fn fail(error: &JournalFailed, state: &JournalState, events: &EventSender) {
    tracing::error!(%error, "the journal failed; this node stops serving");
    state.failed.store(true, Ordering::Release);
    events.tell_blocking(PlaneEvent::JournalFailed);
}
