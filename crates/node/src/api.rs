//! The requests a node answers and the errors it answers with, as plain types.
//!
//! Knows nothing of HTTP (see `http`) nor of how a request is carried out (see `data`).

use bytes::Bytes;
pub use tablestore_contract::Consistency;
use tablestore_placement::{
    ACTIVE, Alteration, DataPath, Epoch, PARTITION, PartitionId, StorageId, Table, TableDefinition,
    TableId,
};
use tablestore_store::Effect;
use tablestore_store::key::KeyValue;
use tokio::time::Instant;

/// What comes along with every request.
#[derive(Debug, Clone, Copy)]
pub struct RequestContext {
    /// After this instant the request is answered with an error that says what is known.
    pub deadline: Instant,
    /// The client's request id (from `Idempotency-Key`), if it gave one.
    pub request: Option<u128>,
    /// How many replicas of an active table must answer, if the client said.
    pub quorum: Option<u32>,
}

/// A table that was looked up: what of it decides where a row goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableTarget {
    pub(crate) id: TableId,
    pub(crate) partitions: u32,
    pub(crate) replicas: u32,
    pub(crate) data_path: DataPath,
}

impl TableTarget {
    /// The table of this id, as the map defines it.
    #[must_use]
    pub fn new(id: TableId, definition: &TableDefinition) -> Self {
        Self {
            id,
            partitions: definition.partitions,
            replicas: definition.replicas,
            data_path: definition.data_path(),
        }
    }

    /// Whether requests may ask for what takes an order of all writes.
    ///
    /// # Errors
    /// `UnsupportedByStrategy` with the name of what was asked for.
    pub(crate) fn needs_order(self, what: &'static str) -> Result<(), RequestError> {
        if self.data_path.has_offices() {
            return Ok(());
        }
        Err(RequestError::UnsupportedByStrategy {
            strategy: ACTIVE,
            what,
            remedy: "single rows by PUT, PATCH, DELETE and GET without conditions; or a table of \
                     the strategy primary-backup",
        })
    }

    /// Whether requests may ask for what takes several copies.
    ///
    /// # Errors
    /// `UnsupportedByStrategy` with the name of what was asked for.
    pub(crate) fn needs_copies(self, what: &'static str) -> Result<(), RequestError> {
        if self.data_path.has_copies() {
            return Ok(());
        }
        Err(RequestError::UnsupportedByStrategy {
            strategy: PARTITION,
            what,
            remedy: "the checks of the shared storage; or a table of the strategy primary-backup",
        })
    }

    /// Whether the strategy has the settings that are to become others.
    ///
    /// # Errors
    /// `UnsupportedByStrategy` with the name of the first that it has not.
    pub(crate) fn takes(self, alteration: Alteration) -> Result<(), RequestError> {
        let refuse = |strategy, what, remedy| {
            Err(RequestError::UnsupportedByStrategy {
                strategy,
                what,
                remedy,
            })
        };
        let (replicas, minimum) = (alteration.replicas, alteration.min_in_sync);
        if !self.data_path.has_copies() {
            let remedy = "neither: the shared storage keeps the rows";
            return match (replicas, minimum) {
                (Some(_), _) => refuse(PARTITION, "replicas", remedy),
                (None, Some(_)) => refuse(PARTITION, "min_in_sync", remedy),
                (None, None) => Ok(()),
            };
        }
        if !self.data_path.has_offices() && minimum.is_some() {
            return refuse(ACTIVE, "min_in_sync", "replicas, and w of each request");
        }
        Ok(())
    }

    /// The table's id: no later table of the same name has it.
    #[must_use]
    pub fn id(self) -> TableId {
        self.id
    }
}

/// The primary key of a row: partition key and, where the table has one, sort key.
#[derive(Debug, Clone, PartialEq)]
pub struct RowKey {
    /// Decides the partition.
    pub partition: KeyValue,
    /// Orders rows within one partition key.
    pub sort: Option<KeyValue>,
}

/// Who answered, under which assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The storage id of the node that answered.
    pub by: StorageId,
    /// The partition of the row.
    pub partition: PartitionId,
    /// The epoch under which it was answered.
    pub epoch: Epoch,
}

/// The answer to a write that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteReply {
    /// What the write did; none for one that this version does not know.
    pub effect: Option<Effect>,
    /// The row's version after the write (0 where there is no row).
    pub version: u64,
    /// The same request id had been carried out before; this is the remembered answer.
    pub repeated: bool,
    /// Who answered.
    pub served: Served,
}

/// One row as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Grows with every change of the row.
    pub version: u64,
    /// The attributes without keys, in the store's item encoding.
    pub item: Bytes,
}

/// A range of one partition key, or a scan of the whole table.
#[derive(Debug, Clone)]
pub struct ScanRequest {
    /// `None` scans all partitions.
    pub partition_key: Option<KeyValue>,
    /// First sort key, inclusive.
    pub from: Option<KeyValue>,
    /// Last sort key, inclusive.
    pub to: Option<KeyValue>,
    /// Rows at most.
    pub limit: usize,
    /// Continue behind this row: (partition number, encoded row key).
    pub cursor: Option<(u32, Vec<u8>)>,
    /// Descending order (only with a partition key).
    pub reverse: bool,
    /// How fresh.
    pub consistency: Consistency,
}

/// One page of a scan.
#[derive(Debug, Clone)]
pub struct ScanPage {
    /// Keys (as encoded by the store) and rows, in key order within a partition.
    pub rows: Vec<(Vec<u8>, Row)>,
    /// Where to go on; `None` at the end.
    pub next: Option<(u32, Vec<u8>)>,
}

/// One write of a batch.
#[derive(Debug, Clone)]
pub struct BatchItem {
    /// The row.
    pub key: RowKey,
    /// What to do with it.
    pub mutation: tablestore_store::mutation::Mutation,
}

/// What a `create_table` did.
#[derive(Debug, Clone)]
pub struct TableChange {
    /// False: the same table was there already.
    pub created: bool,
    /// The table as it now is.
    pub table: Table,
}

/// What an `alter_table` did.
#[derive(Debug, Clone)]
pub struct TableAltered {
    /// False: the table was like this already.
    pub changed: bool,
    /// How many of its partitions refuse writes until more replicas are in sync.
    pub below_min_in_sync: u32,
    /// The table as it now is.
    pub table: Table,
}

/// The checksums of one partition on all its replicas, taken at the same log index.
#[derive(Debug, Clone)]
pub struct PartitionChecksums {
    /// Which partition.
    pub partition: PartitionId,
    /// The log index at which all were computed.
    pub index: u64,
    /// Per replica its checksum, or why there is none.
    pub replicas: Vec<(StorageId, Result<u64, String>)>,
    /// All in-sync replicas answered and agree.
    pub equal: bool,
}

/// Why a write was certainly not carried out, or a read not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAppliedReason {
    /// Fewer in-sync replicas than `min_in_sync`.
    NotEnoughReplicas,
    /// No primary was found within the deadline.
    NoPrimary,
    /// The deadline passed before the request was appended.
    Deadline,
    /// Too many requests wait already.
    Busy,
    /// The partition's replica here has stopped after a fault.
    ReplicaStopped,
    /// The owner of the partition cannot use the shared storage.
    NoStorage,
    /// The wall clock of this node differs from those of most others.
    ClockOff,
}

/// Why a request failed. Each variant says whether state may have changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There is no such table. Nothing changed.
    #[error("there is no table named {name}")]
    UnknownTable {
        /// As asked for.
        name: String,
    },
    /// There is no such node. Nothing changed.
    #[error("there is no node named {name}")]
    UnknownNode {
        /// As asked for.
        name: String,
    },
    /// The request is wrong; the field says where. Nothing changed.
    #[error("{field}: expected {expected}, got {got}")]
    Invalid {
        /// Path of the field.
        field: String,
        /// What would have been right.
        expected: String,
        /// What was there.
        got: String,
    },
    /// A table of that name exists with another definition. Nothing changed.
    #[error("table {name} exists with another definition: {difference}")]
    TableExists {
        /// The table.
        name: String,
        /// Which field differs.
        difference: String,
    },
    /// Refused by a rule of the cluster (named in the text). Nothing changed.
    #[error("refused: {reason}")]
    Conflict {
        /// Which rule and why.
        reason: String,
    },
    /// The request id was used before with another body. Nothing changed now.
    #[error("the request id was used before with another body")]
    RequestMismatch,
    /// Certainly not carried out.
    #[error("not applied: {reason:?}{}", partition_text(*partition))]
    NotApplied {
        /// Why.
        reason: NotAppliedReason,
        /// Where.
        partition: Option<PartitionId>,
    },
    /// It may or may not have been carried out. Retry with the same request id.
    #[error("the outcome is unknown{}{}", partition_text(*partition), cause_text(cause))]
    OutcomeUnknown {
        /// Where.
        partition: Option<PartitionId>,
        /// Why, if more is known than that no answer came in time.
        cause: Option<String>,
    },
    /// Certainly not carried out: this node reaches no majority of the voters.
    #[error("{cause}{}", partition_text(*partition))]
    NoMajority {
        /// Where; none for what changes the cluster map.
        partition: Option<PartitionId>,
        /// Who is missing, since when.
        cause: String,
    },
    /// The disk is full. Nothing changed; deletes still work.
    #[error("the disk of the primary or of a copy that it needs is full")]
    StorageFull,
    /// Not built.
    #[error("not supported: {what}")]
    Unsupported {
        /// What was asked for.
        what: String,
    },
    /// The strategy of the table does not do this. Nothing changed.
    #[error("{what}: not with the strategy {strategy}, which takes {remedy}")]
    UnsupportedByStrategy {
        /// The strategy.
        strategy: &'static str,
        /// What was asked for.
        what: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
    /// The cluster map cannot be changed now. Nothing changed.
    #[error("no controller was found in time")]
    NoController,
    /// A fault of ours; the log of the node has more.
    #[error("internal: {0}")]
    Internal(String),
}

impl RequestError {
    /// The outcome is unknown, as no answer came in time.
    #[must_use]
    pub fn unknown(partition: Option<PartitionId>) -> Self {
        Self::OutcomeUnknown {
            partition,
            cause: None,
        }
    }
}

fn cause_text(cause: &Option<String>) -> String {
    cause
        .as_ref()
        .map_or_else(String::new, |cause| format!(": {cause}"))
}

fn partition_text(partition: Option<PartitionId>) -> String {
    partition.map_or_else(String::new, |p| format!(" (partition {p})"))
}
