//! The journal thread: group commit of everything the data thread persists.
//!
//! The next group is whatever came while the last one was being synced; there is no timer and
//! no delay. Knows nothing of replication: a job is a record and has a position in the queue.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tablestore_store::journal::JournalFailed;
use tablestore_store::{JournalWriter, Meta};
use tokio::sync::Notify;

use super::event::{Event, EventSender};

/// Without a job for this long the end of the journal is stated, so that later damage to it is told
/// from a write that a crash tore.
const IDLE_AFTER: Duration = Duration::from_millis(100);

/// One record, or an order to the journal.
#[derive(Debug)]
pub(crate) enum Job {
    Entry {
        partition: u64,
        epoch: u64,
        index: u64,
        data: Bytes,
    },
    Meta {
        partition: u64,
        meta: Meta,
    },
    /// The log of the partition starts anew behind `meta.end` (a snapshot replaced it).
    Restart {
        partition: u64,
        meta: Meta,
    },
    Forget {
        partition: u64,
    },
    /// State the end of the journal: nothing follows.
    StateEnd,
    /// Free the segments below these checkpoints.
    Recycle {
        checkpoints: HashMap<u64, u64>,
    },
}

/// What other threads may see of the journal.
#[derive(Debug)]
pub(crate) struct JournalState {
    origin: Instant,
    /// Jobs made durable so far.
    persisted: AtomicU64,
    /// When the running sync began, in ns since `origin`; 0 if none runs.
    busy_since_ns: AtomicU64,
    failed: AtomicBool,
    /// Partitions that keep the oldest segment from being used again, each until it is durable in
    /// the engine up to this index.
    held: Mutex<BTreeMap<u64, u64>>,
    /// Woken after every group.
    pub(crate) progressed: Notify,
}

impl JournalState {
    /// Jobs made durable so far.
    pub(crate) fn persisted(&self) -> u64 {
        self.persisted.load(Ordering::Acquire)
    }

    /// Whether a sync failed; the journal then refuses everything for good.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Partitions to flush so that the journal gets room, and up to which index.
    pub(crate) fn held(&self) -> BTreeMap<u64, u64> {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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
    to_thread: mpsc::Sender<Vec<Job>>,
    waiting: Vec<Job>,
    queued: u64,
    pub(crate) state: Arc<JournalState>,
}

impl JournalQueue {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(writer: JournalWriter, events: EventSender) -> std::io::Result<Self> {
        let state = Arc::new(JournalState {
            origin: Instant::now(),
            persisted: AtomicU64::new(0),
            busy_since_ns: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            held: Mutex::default(),
            progressed: Notify::new(),
        });
        let (to_thread, jobs) = mpsc::channel();
        let seen = Arc::clone(&state);
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || run(writer, &jobs, &seen, &events))?;
        Ok(Self {
            to_thread,
            waiting: Vec::new(),
            queued: 0,
            state,
        })
    }

    /// Adds a job to this turn's group; its position is returned.
    pub(crate) fn push(&mut self, job: Job) -> u64 {
        self.waiting.push(job);
        self.queued += 1;
        self.queued
    }

    /// Hands this turn's jobs to the thread.
    pub(crate) fn flush(&mut self) {
        if !self.waiting.is_empty() {
            // The thread ends only after a failure, which `failed` tells.
            let _ = self.to_thread.send(std::mem::take(&mut self.waiting));
        }
    }
}

fn run(
    mut writer: JournalWriter,
    jobs: &mpsc::Receiver<Vec<Job>>,
    state: &JournalState,
    events: &EventSender,
) {
    let mut done = 0_u64;
    let mut stated = true;
    loop {
        let first = match jobs.recv_timeout(IDLE_AFTER) {
            Ok(first) => first,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if !stated && let Err(error) = writer.state_end() {
                    return fail(&error, state, events);
                }
                stated = true;
                continue;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        };
        stated = false;
        let mut recycle = None;
        let mut group = first;
        loop {
            done += group.len() as u64;
            for job in group {
                push(&mut writer, job, &mut recycle);
            }
            match jobs.try_recv() {
                Ok(next) => group = next,
                Err(_) => break,
            }
        }
        let now = u64::try_from(state.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        state.busy_since_ns.store(now.max(1), Ordering::Release);
        let committed = writer.commit();
        state.busy_since_ns.store(0, Ordering::Release);
        if let Err(error) = committed {
            return fail(&error, state, events);
        }
        state.persisted.store(done, Ordering::Release);
        state.progressed.notify_one();
        let pressure = writer.pressure();
        let held = pressure
            .iter()
            .map(|one| (one.partition, one.index))
            .collect();
        *state.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
        if let Some(checkpoints) = recycle {
            let trimmed = writer.recycle(|partition| checkpoints.get(&partition).copied());
            if !trimmed.is_empty() {
                events.send_blocking(Event::Trimmed(trimmed));
            }
        }
    }
}

fn fail(error: &JournalFailed, state: &JournalState, events: &EventSender) {
    tracing::error!(%error, "the journal failed; this node stops serving");
    state.failed.store(true, Ordering::Release);
    events.send_blocking(Event::JournalFailed);
}

fn push(writer: &mut JournalWriter, job: Job, recycle: &mut Option<HashMap<u64, u64>>) {
    match job {
        Job::Entry {
            partition,
            epoch,
            index,
            data,
        } => {
            writer.push_entry(partition, epoch, index, &data);
        }
        Job::Meta { partition, meta } => writer.push_meta(partition, &meta),
        Job::Restart { partition, meta } => {
            writer.push_forget(partition);
            writer.push_meta(partition, &meta);
        }
        Job::Forget { partition } => writer.push_forget(partition),
        Job::StateEnd => {
            // A failure is kept, and told by the commit that follows.
            let _ = writer.state_end();
        }
        Job::Recycle { checkpoints } => *recycle = Some(checkpoints),
    }
}
