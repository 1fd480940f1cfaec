//! Partitions on shared storage that this node has open: a task opens each and another waits for
//! its end, on threads of their own, so that their upkeep holds up no request of other tables.
//!
//! What is asked of them goes there in the order in which it came, and the answers come back as
//! events. Knows nothing of why a partition is opened or closed.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tablestore_consensus::Consensus;
use tablestore_dataplane::{Answer, Failure, OwnedAsk, OwnedOrder, PlaneEvent};
use tablestore_owned::{Begun, Owned, ReadError, Write, WriteError, Written, denial};
use tablestore_placement::{Epoch, Office, PartitionId};
use tablestore_replication::RequestId;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::event::{DataEvent, EventSender, Waiter};
use super::opening::{self, Opening, holds};
use super::shared::SharedStorage;

/// Threads that open partitions, carry out their writes and read their rows.
const THREADS: usize = 2;
/// Partitions that are opened at once. An opening takes mostly processor time: were all of a dead
/// owner opened at once, all would be served as late as the last.
const OPENINGS_MAX: usize = 8;
/// Reads under way in one partition; more are refused.
const READS_MAX: usize = 1_024;
/// How long a strong read waits for the map before it asks the storage instead.
const MAP_WITHIN: Duration = Duration::from_millis(500);
/// Why a node without the setting opens nothing.
const NO_STORAGE: &str = "this node has neither shared-dir nor shared-url";

/// A partition that was opened, on its way to the data thread.
#[derive(Debug)]
pub(crate) struct Opened {
    partition: PartitionId,
    life: u64,
    open: Open,
}

/// An open partition, and the office under which it is.
#[derive(Debug, Clone)]
struct Open {
    owned: Arc<Owned>,
    epoch: Epoch,
    reads: Arc<Semaphore>,
}

/// The partitions that this node has open.
#[derive(Debug)]
pub(crate) struct OwnedHost {
    me: Office,
    storage: Option<SharedStorage>,
    consensus: Consensus,
    sender: EventSender,
    /// Openings that were asked for, with what came of them.
    openings: BTreeMap<PartitionId, (u64, Option<Open>)>,
    turns: Arc<Semaphore>,
    tasks: Handle,
    /// The threads end when this is dropped.
    _ends: oneshot::Sender<()>,
}

impl OwnedHost {
    /// Nothing is open.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(
        me: Office,
        storage: Option<SharedStorage>,
        consensus: Consensus,
        sender: EventSender,
    ) -> std::io::Result<Self> {
        let (ends, ended) = oneshot::channel::<()>();
        let tasks = match storage {
            Some(_) => threads(ended)?,
            // All that there is to do is to say so.
            None => Handle::current(),
        };
        Ok(Self {
            me,
            storage,
            consensus,
            sender,
            openings: BTreeMap::new(),
            turns: Arc::new(Semaphore::new(OPENINGS_MAX)),
            tasks,
            _ends: ends,
        })
    }

    pub(crate) fn carry_out(&mut self, order: OwnedOrder) {
        match order {
            OwnedOrder::Open {
                partition,
                epoch,
                founded,
                life,
            } => self.open((partition, epoch), founded, life),
            OwnedOrder::Close { partition, life } => {
                let opening = self.openings.get(&partition);
                if opening.is_some_and(|(of, _)| *of == life) {
                    // What was begun is finished by its own tasks.
                    self.openings.remove(&partition);
                }
            }
            OwnedOrder::Ask {
                ticket,
                partition,
                life,
                ask,
            } => self.ask(ticket, partition, life, ask),
        }
    }

    fn open(&mut self, office: (PartitionId, Epoch), founded: Option<u64>, life: u64) {
        let (partition, epoch) = office;
        self.openings.insert(partition, (life, None));
        let opening = self.storage.clone().map(|storage| Opening {
            storage,
            consensus: self.consensus.clone(),
            office: (self.me, partition, epoch),
            founded,
            turns: Arc::clone(&self.turns),
        });
        let sender = self.sender.clone();
        self.tasks.spawn(async move {
            let opened = match &opening {
                Some(opening) => opening.open().await,
                None => Err(Some(NO_STORAGE.to_owned())),
            };
            match opened {
                Ok(owned) => {
                    let ended = owned.ended();
                    let open = Open {
                        owned: Arc::new(owned),
                        epoch,
                        reads: Arc::new(Semaphore::new(READS_MAX)),
                    };
                    let opened = Opened {
                        partition,
                        life,
                        open,
                    };
                    sender.send(DataEvent::Owned(opened)).await;
                    let fault = opening::fault_of_end(&ended.await);
                    sender.tell(ended_event(partition, life, fault)).await;
                }
                Err(fault) => sender.tell(ended_event(partition, life, fault)).await,
            }
        });
    }

    /// Takes in what was opened, and says so; one that is not wanted any more is closed.
    pub(crate) fn opened(&mut self, opened: Opened) -> Option<PlaneEvent<Waiter>> {
        let Opened {
            partition,
            life,
            open,
        } = opened;
        let opening = self.openings.get_mut(&partition);
        let (_, place) = opening.filter(|(of, _)| *of == life)?;
        *place = Some(open);
        Some(PlaneEvent::OwnedOpened { partition, life })
    }

    fn ask(&self, ticket: u64, partition: PartitionId, life: u64, ask: OwnedAsk) {
        let open = self.openings.get(&partition);
        let open = open.filter(|(of, _)| *of == life);
        let Some(open) = open.and_then(|(_, open)| open.as_ref()) else {
            return self.answer(ticket, async { Err(Failure::NotHere) });
        };
        let (strong, read) = match ask {
            OwnedAsk::Write {
                request,
                digest,
                payload,
            } => {
                let write = Write::new(RequestId(request), digest, payload);
                let begun = write.and_then(|write| open.owned.begin_write(write));
                return self.answer(ticket, written(begun));
            }
            OwnedAsk::Get { key, strong } => (strong, Read::Row(key)),
            OwnedAsk::Scan { scan, strong } => (strong, Read::Range(scan)),
        };
        let Ok(permit) = Arc::clone(&open.reads).try_acquire_owned() else {
            return self.answer(ticket, async { Err(Failure::Busy) });
        };
        let office = Confirming {
            consensus: self.consensus.clone(),
            office: (self.me, partition, open.epoch),
            owned: Arc::clone(&open.owned),
        };
        self.answer(ticket, answer_read(office, read, strong, permit));
    }

    /// Tells what comes of a request. There are at most as many as the plane lets wait, besides
    /// those that it gave up, which the partition bounds.
    fn answer(
        &self,
        ticket: u64,
        result: impl Future<Output = Result<Answer, Failure>> + Send + 'static,
    ) {
        let sender = self.sender.clone();
        self.tasks.spawn(async move {
            let result = result.await;
            sender
                .tell(PlaneEvent::OwnedAnswered { ticket, result })
                .await;
        });
    }
}

/// The threads for partitions on shared storage, until the other end is dropped.
fn threads(ended: oneshot::Receiver<()>) -> std::io::Result<Handle> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("owned")
        .enable_all()
        .build()?;
    let tasks = runtime.handle().clone();
    let thread = std::thread::Builder::new().name("owned".to_owned());
    thread.spawn(move || {
        let _ = runtime.block_on(ended);
        // A storage that hangs does not keep the node from ending.
        runtime.shutdown_background();
    })?;
    Ok(tasks)
}

fn ended_event(partition: PartitionId, life: u64, fault: Option<String>) -> PlaneEvent<Waiter> {
    PlaneEvent::OwnedEnded {
        partition,
        life,
        fault,
    }
}

/// An error with its causes, and before them what helps if that is known.
pub(super) fn told(error: &(dyn Error + 'static)) -> String {
    let helps = denial(error).map_or_else(String::new, |fault| format!("{fault}: "));
    let mut text = format!("{helps}{error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

async fn written(begun: Result<Begun, WriteError>) -> Result<Answer, Failure> {
    let done = match begun {
        Ok(begun) => begun.done().await,
        Err(refused) => Err(refused),
    };
    match done {
        Ok(Written {
            outcome, repeated, ..
        }) => Ok(Answer::Written {
            code: outcome.code,
            version: outcome.version,
            repeated,
        }),
        Err(WriteError::NotApplied(_)) => Err(Failure::NotHere),
        Err(WriteError::OutcomeUnknown(_)) => Err(Failure::Unknown),
        Err(WriteError::OtherRequest { .. }) => Err(Failure::RequestMismatch),
        Err(WriteError::Busy) => Err(Failure::Busy),
        Err(error) => {
            tracing::error!(error = told(&error), "a write was refused");
            Err(Failure::Stopped)
        }
    }
}

/// What is read.
enum Read {
    Row(bytes::Bytes),
    Range(tablestore_store::engine::Scan),
}

/// What it takes to confirm an office.
struct Confirming {
    consensus: Consensus,
    office: (Office, PartitionId, Epoch),
    owned: Arc<Owned>,
}

impl Confirming {
    /// Whether the office still stood after this was called: as the map says, or else, while it
    /// cannot be asked, the storage.
    async fn confirm(&self) -> bool {
        match timeout(MAP_WITHIN, self.consensus.read_index()).await {
            Ok(Ok(map)) => holds(&map, self.office),
            Ok(Err(_)) | Err(_) => self.owned.confirm_by_storage().await,
        }
    }
}

async fn answer_read(
    office: Confirming,
    read: Read,
    strong: bool,
    _permit: OwnedSemaphorePermit,
) -> Result<Answer, Failure> {
    if strong && !office.confirm().await {
        return Err(Failure::NotHere);
    }
    let owned = &office.owned;
    let answer = match read {
        Read::Row(key) => owned.get_eventual(&key).await.map(Answer::Row),
        Read::Range(scan) => owned.scan_eventual(&scan).await.map(|page| Answer::Page {
            rows: page.rows,
            more: page.more,
        }),
    };
    answer.map_err(|error| match error {
        ReadError::NotConfirmed | ReadError::Ended(_) => Failure::NotHere,
        error => {
            tracing::error!(error = told(&error), "a read was refused");
            Failure::Stopped
        }
    })
}
