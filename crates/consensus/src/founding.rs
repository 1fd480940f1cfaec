//! How a node comes to belong to a cluster: it founds one, or asks to join one.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::BasicNode;
use openraft::errors::{InitializeError, RaftError};
use tablestore_placement::{Applied, ClusterId, Command, Refused, Registration};
use tokio::time::Instant;

use super::greeting::GreetError;
use super::handle::Consensus;
use super::message::{JoinReply, PeerReply, PeerRequest};
use super::peers::CallAddressError;
use super::propose::{self, ProposeError};
use super::settings::PROPOSE_WITHIN;

/// One node may take this long to answer before the next one is asked.
const JOIN_ASK_MAX: Duration = Duration::from_secs(3);
/// Between two rounds over the addresses that are asked to join.
const JOIN_PAUSE: Duration = Duration::from_millis(100);

/// Why a cluster was not founded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoundError {
    /// This node belongs to a cluster already. Nothing was changed.
    #[error("this node belongs to a cluster already")]
    AlreadyMember,
    /// The first entries were not committed. Found it again: that goes on where this stopped.
    #[error("the founding was not committed")]
    Propose(#[from] ProposeError),
    /// Raft refuses.
    #[error("cannot found a cluster: {0}")]
    Raft(String),
}

/// Why the node did not become a member.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The cluster refused it. Asking again does not help.
    #[error("the cluster refused this node")]
    Refused(#[source] Refused),
    /// Nobody answered in time; it may have become a member. Ask again.
    #[error("no member of the cluster answered: {last}")]
    NoAnswer {
        /// The last thing that went wrong.
        last: String,
    },
}

impl Consensus {
    /// Founds a cluster with this node as its only member. When it was interrupted, call it again.
    ///
    /// # Errors
    /// See [`FoundError`].
    pub async fn found(
        &self,
        cluster: ClusterId,
        registration: Registration,
        at_ms: u64,
    ) -> Result<Applied, FoundError> {
        let consensus = self.clone();
        self.on_runtime(async move { consensus.found_here(cluster, registration, at_ms).await })
            .await
            .unwrap_or(Err(FoundError::Propose(ProposeError::Stopped)))
    }

    async fn found_here(
        &self,
        cluster: ClusterId,
        registration: Registration,
        at_ms: u64,
    ) -> Result<Applied, FoundError> {
        let _alone = self.inner.founding.lock().await;
        let core = &self.inner.core;
        if self.map().is_founded() {
            return Err(FoundError::AlreadyMember);
        }
        let node = BasicNode {
            addr: registration.peer_address.clone(),
        };
        let group = BTreeMap::from([(core.me.0, node)]);
        match core.raft.initialize(group).await {
            Ok(()) => {}
            // An interrupted founding, or a member that has not heard of its cluster yet.
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {
                if core.raft.voter_ids().ne([core.me.0]) {
                    return Err(FoundError::AlreadyMember);
                }
            }
            Err(error) => return Err(FoundError::Raft(error.to_string())),
        }
        let deadline = Instant::now() + PROPOSE_WITHIN;
        propose::propose(core, Command::Found { cluster, at_ms }, deadline).await?;
        Ok(propose::propose(core, Command::Register(registration), deadline).await?)
    }

    /// Asks the nodes at these addresses, one after the other and again, to make this node a
    /// member. It becomes a learner and perhaps a voter by itself.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn join(
        &self,
        addresses: &[String],
        registration: &Registration,
        deadline: Instant,
    ) -> Result<ClusterId, JoinError> {
        let mut last = "no address was given".to_owned();
        loop {
            for address in addresses {
                let request = PeerRequest::Join(registration.clone());
                let left = deadline
                    .saturating_duration_since(Instant::now())
                    .min(JOIN_ASK_MAX);
                let reply = self
                    .inner
                    .core
                    .peers
                    .call_address(address, request, left)
                    .await;
                match reply {
                    Ok(PeerReply::Joined(JoinReply::Member { cluster })) => {
                        self.inner.core.peers.set_cluster(cluster);
                        return Ok(cluster);
                    }
                    Ok(PeerReply::Joined(JoinReply::Refused(refused))) => {
                        return Err(JoinError::Refused(refused));
                    }
                    Ok(PeerReply::Joined(JoinReply::TryAgain { reason })) => last = reason,
                    Ok(_) => last = format!("{address} is not ready"),
                    Err(error) => last = format!("{address}: {}", explained(&error)),
                }
            }
            let pause = (Instant::now() + JOIN_PAUSE).min(deadline);
            tokio::time::sleep_until(pause).await;
            if Instant::now() >= deadline {
                return Err(JoinError::NoAnswer { last });
            }
        }
    }
}

/// Why a node could not be asked, for people: who gave the address for clients learns that too.
fn explained(error: &CallAddressError) -> String {
    let line = with_sources(error);
    match error {
        CallAddressError::Greet(GreetError::Closed | GreetError::Malformed(_)) => {
            format!("{line}; is it the address for nodes, the port after the one for clients?")
        }
        _ => line,
    }
}

/// An error with all its sources in one line, for people.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line = format!("{line}: {error}");
        source = error.source();
    }
    line
}
