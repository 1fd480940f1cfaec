//! What nodes ask each other on control connections, and what they answer.
//!
//! Encoded with field names, so that versions n and n+1 read each other: fields are only added,
//! with defaults, and a request kind that the receiver does not know is answered `Unsupported`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tablestore_controller::{Look, Sign};
use tablestore_placement::identity::SeenStart;
use tablestore_placement::{
    Applied, ClusterId, Command, Epoch, Incarnation, PartitionId, Refused, Registration, StorageId,
};

use super::shown::ShownStart;
use super::types::{LogId, SnapshotMeta, TypeConfig, Vote};

/// A request between nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum PeerRequest {
    /// Raft asks for a vote.
    Vote(VoteRequest<TypeConfig>),
    /// Raft asks whether a vote would be given.
    PreVote(VoteRequest<TypeConfig>),
    /// Raft sends entries or a heartbeat.
    Append(AppendEntriesRequest<TypeConfig>),
    /// Raft sends a whole snapshot.
    Snapshot(SnapshotRequest),
    /// The leader hands over.
    TransferLeader(TransferLeaderRequest<TypeConfig>),
    /// To the controller: commit this command.
    Propose {
        /// The command.
        command: Command,
        /// How long the sender waits.
        within_ms: u64,
    },
    /// To the controller: confirm that you lead, and up to where one must have applied to read.
    ReadIndex,
    /// A node wants to become a member.
    Join(Registration),
    /// A sign of life between voters.
    Ping {
        /// The end of the sender's log.
        last_log: Option<LogId>,
    },
    /// The sender saw a node's process gone; look yourself.
    CrashHint {
        /// The node.
        storage: StorageId,
        /// The start of it that is gone.
        incarnation: Incarnation,
        /// The end of the sender's log.
        last_log: Option<LogId>,
    },
    /// Look whether this node is there, and say what you saw.
    ProbeOther {
        /// The node.
        storage: StorageId,
    },
    /// The controller asks for a sign of work.
    Heartbeat(HeartbeatRequest),
    /// A node that is about to start shows what its directory has.
    ShowStart(ShownStart),
}

/// An answer between nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum PeerReply {
    /// To `Vote` and `PreVote`; or why raft does not run.
    Vote(Result<VoteResponse<TypeConfig>, String>),
    /// To `Append`; or why raft does not run.
    Append(Result<AppendEntriesResponse<TypeConfig>, String>),
    /// To `Snapshot`; or why raft does not run.
    Snapshot(Result<SnapshotResponse<TypeConfig>, String>),
    /// To `TransferLeader`; or why not.
    TransferLeader(Result<(), String>),
    /// To `Propose`.
    Proposed(ProposeReply),
    /// To `ReadIndex`: the index to have applied; nothing if the receiver does not lead.
    ReadIndex(Option<u64>),
    /// To `Join`.
    Joined(JoinReply),
    /// To `Ping`.
    Pong {
        /// The end of the receiver's log.
        last_log: Option<LogId>,
        /// The voters that the receiver hears.
        #[serde(default)]
        hears: Vec<StorageId>,
        /// Whether the receiver knows that the sender has left for good.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        left: bool,
    },
    /// To `CrashHint`: taken note of.
    Noted,
    /// To `ProbeOther`.
    Probed(ProbeReply),
    /// To `Heartbeat`.
    Heartbeat(HeartbeatAnswer),
    /// To `ShowStart`.
    StartSeen(SeenStart),
    /// The receiver is starting; nothing was done.
    NotReady,
    /// The receiver has too much to do; nothing was done.
    Busy,
    /// The receiver does not know this request; nothing was done.
    Unsupported,
}

/// A snapshot of the cluster map on its way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotRequest {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    pub(crate) data: Blob,
}

/// What became of a forwarded proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProposeReply {
    /// Committed and applied.
    Applied(Applied),
    /// Committed, and the map refused it.
    Refused(Refused),
    /// The receiver is not the controller; nothing was done.
    NotController,
    /// It may or may not be committed.
    OutcomeUnknown,
}

/// What became of the wish to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinReply {
    /// The node is registered; it becomes a learner, then perhaps a voter, by itself.
    Member {
        /// The cluster that it belongs to from now on.
        cluster: ClusterId,
    },
    /// The map refused it.
    Refused(Refused),
    /// There is no controller just now, or the outcome is unknown; ask again.
    TryAgain {
        /// Why.
        reason: String,
    },
}

/// What a look at a node found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeReply {
    /// Nothing listens at its address.
    Refused,
    /// It answered.
    Alive {
        /// With this start.
        incarnation: Incarnation,
    },
    /// Neither; this says nothing.
    Unknown,
}

impl ProbeReply {
    /// What it tells of a node that was known with this start.
    pub(super) fn sign(self, known: Incarnation) -> Sign {
        let found = match self {
            Self::Refused => Look::Refused,
            Self::Alive { incarnation } => Look::Alive(incarnation),
            Self::Unknown => Look::Unknown,
        };
        Sign::Looked { known, found }
    }
}

/// The controller asks for a sign of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatRequest {
    /// Members whose disks are full.
    #[serde(default)]
    pub full: Vec<StorageId>,
    /// How many milliseconds the clock of the node that is asked is ahead of the median of all
    /// (behind, if negative), where that is too much.
    #[serde(default)]
    pub clock_off_ms: Option<i64>,
}

/// A node's sign of work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeartbeatAnswer {
    /// The start of the node.
    pub incarnation: Incarnation,
    /// Age of the oldest unfinished sync.
    pub oldest_sync_ms: u64,
    /// Age of the oldest unfinished apply.
    pub oldest_apply_ms: u64,
    /// The verdict on the machine's resources, opaque here.
    pub resources: Blob,
    /// How far all of its replicas are.
    pub partitions: Vec<PartitionProgress>,
    /// Whether its disk is full.
    pub full: bool,
    /// Whether it was told to stop.
    pub leaving: bool,
    /// What its wall clock shows, in milliseconds.
    pub wall_ms: u64,
}

/// How far one replica is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionProgress {
    /// The partition.
    pub partition: PartitionId,
    /// The epoch that the replica adopted.
    pub epoch: Epoch,
    /// The end of its log.
    pub end: u64,
    /// Why it stopped, if it did.
    #[serde(default)]
    pub stopped: Option<String>,
}

/// Who is at the other end of a control connection, by its hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Its storage id.
    pub storage: StorageId,
    /// Its start.
    pub incarnation: Incarnation,
}

/// The future of an answer.
pub type ReplyFuture = Pin<Box<dyn Future<Output = PeerReply> + Send>>;

/// Answers requests.
pub trait PeerService: Send + Sync + 'static {
    /// Answers one request; runs on the control thread, so it must not block.
    fn handle(&self, from: PeerIdentity, request: PeerRequest) -> ReplyFuture;
}

/// Bytes that are encoded as bytes and not as a list of numbers.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failure is the test's result")]
    use super::*;

    #[test]
    fn a_field_that_an_older_version_does_not_know_is_skipped() {
        #[derive(Serialize)]
        struct Newer {
            incarnation: u64,
            from_the_future: String,
        }
        let newer = Newer {
            incarnation: 7,
            from_the_future: "?".to_owned(),
        };
        let bytes = rmp_serde::to_vec_named(&newer).unwrap();
        let answer: HeartbeatAnswer = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(answer.incarnation, Incarnation(7));
        assert_eq!(answer.partitions, vec![]);
    }

    #[test]
    fn bytes_take_one_byte_each() {
        let bytes = rmp_serde::to_vec_named(&Blob(vec![255; 1000])).unwrap();
        assert!(bytes.len() < 1010);
        assert_eq!(
            rmp_serde::from_slice::<Blob>(&bytes).unwrap().0,
            vec![255; 1000]
        );
    }
}
