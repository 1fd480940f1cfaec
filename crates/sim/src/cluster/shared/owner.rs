//! An owner of a partition as its process has it in memory: which writes it makes one object of,
//! what it answers to them, and what it lets be read. The logic is that of `crates/owned`, over the
//! same functions for rows and remembered requests. Knows nothing of time but what it is told, and
//! of how the storage is asked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tablestore_dataplane::{Answer, Failure};
use tablestore_placement::{ClusterMap, Epoch, Office, PartitionId};
use tablestore_replication::{Entry, Outcome, Remembered, RememberedTable, RequestId};
use tablestore_store::mutation::{self, RowChange};

use super::super::event::Life;
use super::content::{Batch, Content, Head};

/// A write that waits for its group.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) ticket: u64,
    pub(crate) request: RequestId,
    pub(crate) digest: u64,
    pub(crate) key: Bytes,
    pub(crate) payload: Bytes,
}

/// What is answered to a write, by ticket.
pub(crate) type Answers = Vec<(u64, Result<Answer, Failure>)>;

/// Writes on their way to the storage.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) answers: Answers,
    pub(crate) batch: Arc<Batch>,
}

/// What was made of the writes that waited.
pub(crate) enum Staged {
    /// All were repetitions.
    Answered(Answers),
    /// This must become durable first.
    Batch(Group),
}

/// A partition that a process opens or has open.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) life: Life,
    pub(crate) office: Office,
    pub(crate) partition: PartitionId,
    pub(crate) epoch: Epoch,
    /// The number of the opening.
    pub(crate) opening: u64,
    /// The storage in which the table is, as the map says.
    pub(crate) founded: Option<u64>,
    /// Under which the storage knows it: first that of its predecessor.
    pub(crate) writer_epoch: u64,
    /// The number of its next object.
    pub(crate) next: u64,
    pub(crate) is_open: bool,
    /// It finishes what was begun, and ends.
    pub(crate) is_closing: bool,
    pub(crate) is_gathering: bool,
    pub(crate) queue: VecDeque<Write>,
    pub(crate) group: Option<Group>,
    /// Reads that wait for a confirmation.
    pub(crate) reads: usize,
    /// What is durable.
    pub(crate) content: Content,
    /// How far it has come with what is on its way.
    head: Head,
    table: RememberedTable,
    opened: Duration,
    opened_ms: u64,
    /// What former owners left it.
    inherited: u64,
}

/// What is asked for in an order to open.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) partition: PartitionId,
    pub(crate) epoch: Epoch,
    pub(crate) founded: Option<u64>,
    pub(crate) opening: u64,
}

impl Owner {
    pub(crate) fn new(life: Life, office: Office, of: &Opening) -> Self {
        Self {
            life,
            office,
            partition: of.partition,
            epoch: of.epoch,
            opening: of.opening,
            founded: of.founded,
            writer_epoch: 0,
            next: 1,
            is_open: false,
            is_closing: false,
            is_gathering: false,
            queue: VecDeque::new(),
            group: None,
            reads: 0,
            content: Content::default(),
            head: Head::default(),
            table: RememberedTable::new(Duration::ZERO, 0),
            opened: Duration::ZERO,
            opened_ms: 0,
            inherited: 0,
        }
    }

    /// It begins with what it found, and an empty table of requests that are to be remembered.
    pub(crate) fn begin(&mut self, content: Content, table: RememberedTable, now: Duration) {
        self.table = table;
        self.head = content.head;
        self.inherited = content.head.index;
        (self.opened, self.opened_ms) = (now, content.head.log_ms);
        self.content = content;
    }

    /// It knows what became of the requests that its storage remembers.
    pub(crate) fn remember_inherited(&mut self) {
        for remembered in &self.content.remembered {
            self.table.push(remembered);
        }
    }

    /// Whether its office stands, as a map says.
    pub(crate) fn holds(&self, map: &ClusterMap) -> bool {
        let assignment = map.assignment(self.partition);
        assignment.is_some_and(|a| a.primary == Some(self.office) && a.epoch == self.epoch)
    }

    /// Whether a map lets it make what is not there, if it was told that it may.
    pub(crate) fn is_as_ordered(&self, map: &ClusterMap) -> bool {
        let table = map.tables.get(&self.partition.table);
        self.founded.is_some() || table.is_some_and(|table| table.founded.is_none())
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.group.is_none() && self.reads == 0 && !self.is_gathering
    }

    /// Carries out what waits over the durable rows, each write after those before it. After a
    /// failure it must end.
    pub(crate) fn stage(&mut self, now: Duration, most: usize) -> Result<Staged, String> {
        let mut answers = Answers::new();
        let mut batch = Batch::default();
        while answers.len() < most
            && let Some(write) = self.queue.pop_front()
        {
            if let Some(known) = self.table.find(write.request) {
                answers.push((write.ticket, repeated(&known, write.digest)));
                continue;
            }
            let outcome = self.carry_out(now, &write, &mut batch);
            let outcome = outcome.map_err(|error| error.to_string())?;
            let answer = Answer::Written {
                code: outcome.code,
                version: outcome.version,
                repeated: false,
            };
            answers.push((write.ticket, Ok(answer)));
        }
        if batch.writes.is_empty() {
            return Ok(Staged::Answered(answers));
        }
        batch.head = self.head;
        let batch = Arc::new(batch);
        Ok(Staged::Batch(Group { answers, batch }))
    }

    fn carry_out(
        &mut self,
        now: Duration,
        write: &Write,
        batch: &mut Batch,
    ) -> Result<Outcome, mutation::ApplyError> {
        let elapsed = now.saturating_sub(self.opened).as_millis();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.head.log_ms = self.opened_ms.saturating_add(elapsed);
        self.head.index += 1;
        let index = self.head.index;
        let reads = mutation::reads_row(&write.payload).unwrap_or(true);
        let current = match batch.rows.get(&write.key) {
            _ if !reads => None,
            Some(row) => row.clone(),
            None => self.content.rows.get(&write.key).cloned(),
        };
        let (applied, change) = mutation::apply_to_row(index, &write.payload, current.as_deref())?;
        let row = match change {
            RowChange::Keep => None,
            RowChange::Put(row) => Some(Some(Bytes::from(row))),
            RowChange::Delete => Some(None),
        };
        if let Some(row) = row {
            batch.rows.insert(write.key.clone(), row);
        }
        let outcome = Outcome {
            code: applied.effect.number(),
            version: applied.version,
        };
        let Write {
            request, digest, ..
        } = *write;
        let log_ms = self.head.log_ms;
        self.table.push(&Remembered {
            request,
            digest,
            index,
            log_ms,
            outcome,
        });
        let entry = Entry::write(self.epoch, index, log_ms, request, digest, &write.payload);
        batch.writes.push((entry, outcome));
        Ok(outcome)
    }

    /// Whether a request is one that a former owner carried out.
    pub(crate) fn inherited(&self, request: RequestId) -> bool {
        let known = self.table.find(request);
        known.is_some_and(|known| known.index <= self.inherited)
    }
}

fn repeated(known: &Remembered, digest: u64) -> Result<Answer, Failure> {
    if known.digest != digest {
        return Err(Failure::RequestMismatch);
    }
    Ok(Answer::Written {
        code: known.outcome.code,
        version: known.outcome.version,
        repeated: true,
    })
}
