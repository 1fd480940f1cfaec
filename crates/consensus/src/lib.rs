//! Consensus about the cluster map: one raft group of the nodes, and the connections between them
//! that carry it.
//!
//! [`Peers`] keeps a connection to every other node and tells what happens to it, down to the
//! crash hint a few milliseconds after a process was killed. [`Consensus`] holds the map: proposes
//! changes, confirms reads, and moves the leadership when its holder dies. Everything here runs on
//! one current-thread runtime; the handles work from any thread.
//!
//! No other crate meets the raft library. Knows nothing of *what* is decided about the map (that is
//! the business of `tablestore-controller`), of rows, or of HTTP.

mod belonging;
mod core;
mod dialler;
mod dispatch;
mod election;
mod envelope;
mod founding;
mod fresh;
mod greeting;
mod handle;
mod leadership;
mod link;
mod listener;
mod log;
mod lost;
mod machine;
mod majority;
mod membership;
mod message;
mod network;
mod peers;
mod propose;
mod reach;
mod read;
mod refound;
mod session;
mod settings;
mod shown;
mod store;
#[cfg(test)]
mod tests;
mod types;
mod voting;

pub use self::belonging::{Consulted, OtherCluster, check_cluster, consult};
pub use self::dialler::Dialler;
pub use self::founding::{FoundError, JoinError};
pub use self::greeting::{GreetError, Hello, Identity, Purpose, Unfit, keep_alive};
pub use self::handle::{Consensus, ConsensusError};
pub use self::leadership::Leadership;
pub use self::link::LinkEvent;
pub use self::listener::ListenError;
pub use self::log::LogOpenError;
pub use self::machine::SnapshotError;
pub use self::majority::Reached;
pub use self::message::{
    Blob, HeartbeatAnswer, HeartbeatRequest, JoinReply, PartitionProgress, PeerIdentity, PeerReply,
    PeerRequest, PeerService, ProbeReply, ProposeReply, ReplyFuture, SnapshotRequest,
};
pub use self::peers::{DataSocket, Peers, bind};
pub use self::propose::ProposeError;
pub use self::read::ReadError;
pub use self::refound::Behind;
pub use self::session::CallError;
pub use self::settings::ConsensusSettings;
pub use self::shown::ShownStart;
pub use self::store::ConsensusStore;
pub use self::types::LogId;

/// What a filter for log lines says of the raft library: it warns of what is in order here, and
/// whatever matters is told by this crate.
pub const LOG_FILTER: &str = "openraft=error";
