//! What a replica is told and what it asks of its host. Knows no behaviour.

use bytes::Bytes;
use tablestore_placement::{Epoch, StorageId};

use super::scan::Place;
use crate::active::message::{Message, Proof};
use crate::active::row::{Floor, Row};
use crate::active::view::View;

/// The rows of a partition as they are stored, with everything persisted so far, durable or not.
pub trait Rows {
    /// The row of this key; an empty one if there is none.
    fn row(&self, key: &[u8]) -> Row;

    /// Rows behind a place, at most so many, in the order of
    /// [`leaf_of`](crate::active::merkle::leaf_of) their keys, and within a leaf of the keys.
    fn rows_behind(&self, place: &Place, rows_max: usize) -> Vec<(Bytes, Row)>;
}

/// What a replica keeps durably beside its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaMeta {
    /// The newest epoch adopted; older ones are refused.
    pub epoch: Epoch,
    /// At or below it nothing is taken any more but from other replicas: a proof is under way.
    /// Never below the floor.
    pub fence: Floor,
    /// The floor: at or below it nothing is taken any more at all, and deletions are forgotten.
    pub proof: Proof,
    /// The replica was not part of the proof: what it has at or below the floor is removed.
    pub is_purging: bool,
    /// It gets that anew from one that was part; until then it answers no reads.
    pub is_rebuilding: bool,
}

/// What is made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The row of this key becomes this; an empty one is removed.
    Row {
        /// Of the row.
        key: Bytes,
        /// As a whole.
        row: Row,
    },
    /// In place of the one before.
    Meta(ReplicaMeta),
}

/// What happens to a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The map says so; older epochs are ignored.
    View(View),
    /// A coordinator or another replica says something.
    Message {
        /// Who.
        from: StorageId,
        /// What.
        message: Message,
    },
    /// Everything up to this token is durable.
    Persisted {
        /// Of a `Persist`.
        token: u64,
    },
    /// A deadline has come.
    Tick,
}

/// What a replica asks of its host, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Store this at once and make it durable, in this order.
    Persist {
        /// Rises by one with every `Persist`.
        token: u64,
        /// What.
        record: Record,
    },
    /// Send a message, best effort.
    Send {
        /// To whom.
        to: StorageId,
        /// What.
        message: Message,
    },
    /// Somebody knows a newer map: read it, and answer `Input::View`.
    RefreshView,
}
