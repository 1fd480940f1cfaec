//! The thread that writes the raft log: takes everything queued, writes it as one frame, syncs
//! once, then tells everyone. After a failure the file does nothing any more but answer with it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use openraft::storage::IOFlushed;
use tablestore_store::maplog::LogFile;
use tokio::sync::oneshot;

use crate::types::TypeConfig;

/// A group takes no more operations once it has this many bytes.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// After this long without work, space is prepared for later.
const IDLE_AFTER: Duration = Duration::from_millis(100);

/// Who waits for an operation.
pub(super) enum Waiter {
    /// Nobody; it may become durable whenever something else does.
    Nobody,
    /// Raft, for entries.
    Flushed(IOFlushed<TypeConfig>),
    /// The caller.
    Caller(oneshot::Sender<io::Result<()>>),
}

impl Waiter {
    fn tell(self, result: io::Result<()>) {
        match self {
            Self::Nobody => {}
            Self::Flushed(callback) => callback.io_completed(result),
            // A caller that went away has no use for the answer.
            Self::Caller(sender) => drop(sender.send(result)),
        }
    }
}

/// What the thread is asked to do.
pub(super) enum Operation {
    /// Append encoded records.
    Append { records: Vec<u8>, waiter: Waiter },
    /// Replace the file by one with these records, which stand for everything queued before.
    Rewrite { records: Vec<u8> },
    /// Make all of it durable, note so in the file and close it: the node ends. Nothing is taken
    /// after it.
    Finish {
        done: oneshot::Sender<io::Result<()>>,
    },
}

/// The queue of the thread. It ends when the last of these is dropped.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    queue: Sender<Operation>,
    file_bytes: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the thread on an open file.
    pub(super) fn start(file: LogFile) -> io::Result<Self> {
        // Bounded by its senders: raft waits for each vote and limits entries in flight.
        let (queue, operations) = channel();
        let file_bytes = Arc::new(AtomicU64::new(file.bytes()));
        let published = Arc::clone(&file_bytes);
        std::thread::Builder::new()
            .name("raft-log".to_owned())
            .spawn(move || Worker { file, published }.run(&operations))?;
        Ok(Self { queue, file_bytes })
    }

    /// Queues an operation; operations take effect in the order of the calls.
    pub(super) fn push(&self, operation: Operation) -> io::Result<()> {
        let gone = |_| io::Error::other("the raft log's thread has ended");
        self.queue.send(operation).map_err(gone)
    }

    /// How far the file is in use.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes.load(Ordering::Relaxed)
    }
}

/// Who asked for the end, and how it went.
type Finished = (oneshot::Sender<io::Result<()>>, io::Result<()>);

struct Worker {
    file: LogFile,
    published: Arc<AtomicU64>,
}

impl Worker {
    fn run(mut self, operations: &Receiver<Operation>) {
        let mut idle = false;
        loop {
            let wait = if idle { Duration::MAX } else { IDLE_AFTER };
            match operations.recv_timeout(wait) {
                Ok(first) => {
                    idle = false;
                    if let Some((done, result)) = self.turn(first, operations) {
                        // Whoever is told may open the file at once.
                        drop(self);
                        drop(done.send(result));
                        return;
                    }
                    self.published.store(self.file.bytes(), Ordering::Relaxed);
                }
                Err(RecvTimeoutError::Timeout) => {
                    idle = true;
                    // A failure stays with the file, for the next operation.
                    let _ = self.file.rest();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// One group; if it is the last one, whom to tell and what.
    fn turn(&mut self, first: Operation, operations: &Receiver<Operation>) -> Option<Finished> {
        let mut group = Vec::new();
        let mut waiters = Vec::new();
        let mut next = Some(first);
        while let Some(operation) = next.take() {
            match operation {
                Operation::Append { records, waiter } => {
                    group.extend_from_slice(&records);
                    waiters.push(waiter);
                }
                Operation::Rewrite { records } => {
                    self.finish(&mut group, &mut waiters);
                    let _ = self.file.rewrite(&records);
                }
                Operation::Finish { done } => {
                    self.finish(&mut group, &mut waiters);
                    return Some((done, self.file.finish()));
                }
            }
            if group.len() < GROUP_BYTES_MAX {
                next = operations.try_recv().ok();
            }
        }
        self.finish(&mut group, &mut waiters);
        None
    }

    /// Writes a group, syncs if anyone waits for it, and answers.
    fn finish(&mut self, group: &mut Vec<u8>, waiters: &mut Vec<Waiter>) {
        if waiters.is_empty() {
            return;
        }
        let awaited = waiters
            .iter()
            .any(|waiter| !matches!(waiter, Waiter::Nobody));
        let mut result = self.file.append(group);
        if awaited && result.is_ok() {
            result = self.file.sync();
        }
        group.clear();
        for waiter in waiters.drain(..) {
            waiter.tell(match &result {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            });
        }
    }
}
