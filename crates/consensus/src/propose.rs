//! Getting a command committed, from any node: here if this node leads, else forwarded once.

use std::sync::Arc;
use std::time::Duration;

use openraft::errors::{ClientWriteError, RaftError};
use tablestore_placement::{Applied, Change, ClusterMap, Command, MadeUnder, Refused, StorageId};
use tokio::time::{Instant, timeout_at};

use super::core::Core;
use super::handle::Consensus;
use super::message::{PeerReply, PeerRequest, ProposeReply};
use super::types::{EntryAnswer, Proposal};

/// Between two attempts when nothing tells that a new one is worth it.
const PAUSE: Duration = Duration::from_millis(10);
/// A forwarded proposal waits no longer than this for its receiver to become ready.
const FORWARDED_MAX: Duration = Duration::from_secs(30);

/// A decision that is not committed within this is looked at anew.
const DECIDED_WITHIN: Duration = Duration::from_secs(2);

/// Why a proposal was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// It was committed and the map refused it. Nothing changed; see the reason.
    #[error("{0}")]
    Refused(Refused),
    /// There was no controller in time. Nothing changed; try again later.
    #[error("the cluster has no controller at the moment")]
    NoController,
    /// It may or may not be applied, now or later. Look at the map before trying again.
    #[error("it is unknown whether the change was made")]
    OutcomeUnknown,
    /// Consensus has ended on this node. It is unknown whether the change was made;
    /// restart the node.
    #[error("the control plane of this node has ended")]
    Stopped,
}

/// What became of one attempt.
enum Attempt {
    Done(Result<Applied, ProposeError>),
    /// Certainly without effect.
    Again,
}

pub(super) async fn propose(
    core: &Core,
    command: Command,
    deadline: Instant,
) -> Result<Applied, ProposeError> {
    let mut leadership = core.leadership.clone();
    loop {
        let now = *leadership.borrow_and_update();
        let attempt = match now.leader {
            Some(leader) if leader == core.me && now.is_me_and_ready => {
                propose_here(core, command.clone(), deadline).await
            }
            Some(leader) if leader != core.me => forward(core, leader, &command, deadline).await,
            _ => {
                wait_for_change(&mut leadership, deadline).await?;
                continue;
            }
        };
        match attempt {
            Attempt::Done(result) => return result,
            Attempt::Again => {
                let pause = (Instant::now() + PAUSE).min(deadline);
                if wait_for_change(&mut leadership, pause).await.is_err()
                    && Instant::now() >= deadline
                {
                    return Err(ProposeError::NoController);
                }
            }
        }
    }
}

/// Serves a proposal that another node forwarded: only if this node leads.
pub(super) async fn propose_forwarded(
    core: &Core,
    command: Command,
    within: Duration,
) -> ProposeReply {
    let deadline = Instant::now() + within.min(FORWARDED_MAX);
    let mut leadership = core.leadership.clone();
    loop {
        let now = *leadership.borrow_and_update();
        if now.leader != Some(core.me) {
            return ProposeReply::NotController;
        }
        if now.is_me_and_ready {
            break;
        }
        if wait_for_change(&mut leadership, deadline).await.is_err() {
            return ProposeReply::NotController;
        }
    }
    match propose_here(core, command, deadline).await {
        Attempt::Again => ProposeReply::NotController,
        Attempt::Done(Ok(applied)) => ProposeReply::Applied(applied),
        Attempt::Done(Err(ProposeError::Refused(refused))) => ProposeReply::Refused(refused),
        Attempt::Done(Err(ProposeError::NoController)) => ProposeReply::NotController,
        Attempt::Done(Err(_)) => ProposeReply::OutcomeUnknown,
    }
}

async fn wait_for_change(
    leadership: &mut tokio::sync::watch::Receiver<super::leadership::Leadership>,
    deadline: Instant,
) -> Result<(), ProposeError> {
    match timeout_at(deadline, leadership.changed()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(ProposeError::Stopped),
        Err(_) => Err(ProposeError::NoController),
    }
}

impl Consensus {
    /// Commits what this node decides as the controller of `term`, by itself and on no evidence but
    /// its own: here or not at all, so that no verdict outlives the leadership it was made in.
    /// `decide` is asked about the map that the decision will be applied to; if that has changed
    /// meanwhile it is asked again, and nothing else changes the map until it is done. Returns
    /// nothing if there was nothing to decide.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn decide(
        &self,
        term: u64,
        decide: impl Fn(&ClusterMap) -> Option<Change> + Send + Sync + 'static,
    ) -> Result<Option<Applied>, ProposeError> {
        let core = self.inner.core.clone();
        let deciding = async move {
            let deadline = Instant::now() + DECIDED_WITHIN;
            // At first beside what others propose: a failover waits for nobody's commit.
            let beside = timeout_at(deadline, core.turn.read()).await;
            let beside = beside.map_err(|_| ProposeError::NoController)?;
            let decided = decide_once(&core, term, &decide, deadline).await;
            drop(beside);
            if !matches!(
                decided,
                Err(ProposeError::Refused(Refused::StaleDecision { .. }))
            ) {
                return decided;
            }
            let alone = timeout_at(deadline, core.turn.write()).await;
            let _alone = alone.map_err(|_| ProposeError::NoController)?;
            decide_once(&core, term, &decide, deadline).await
        };
        self.on_runtime(deciding)
            .await
            .unwrap_or(Err(ProposeError::Stopped))
    }
}

async fn decide_once(
    core: &Core,
    term: u64,
    decide: impl Fn(&ClusterMap) -> Option<Change>,
    deadline: Instant,
) -> Result<Option<Applied>, ProposeError> {
    let now = *core.leadership.borrow();
    if !now.is_me_and_ready || now.term != term {
        return Err(ProposeError::NoController);
    }
    let map = Arc::clone(&core.map.borrow());
    let Some(mut change) = decide(&map) else {
        return Ok(None);
    };
    change.made_under = Some(MadeUnder {
        term,
        map_version: map.version,
    });
    match write(core, Command::Change(change), deadline).await {
        Attempt::Done(result) => result.map(Some),
        Attempt::Again => Err(ProposeError::NoController),
    }
}

async fn propose_here(core: &Core, command: Command, deadline: Instant) -> Attempt {
    let Ok(_shared) = timeout_at(deadline, core.turn.read()).await else {
        return Attempt::Done(Err(ProposeError::NoController));
    };
    write(core, command, deadline).await
}

async fn write(core: &Core, command: Command, deadline: Instant) -> Attempt {
    let written = core.raft.client_write(Proposal(command));
    Attempt::Done(match timeout_at(deadline, written).await {
        Err(_) => Err(ProposeError::OutcomeUnknown),
        Ok(Ok(response)) => match response.data {
            EntryAnswer::Command(answer) => answer.map_err(ProposeError::Refused),
            EntryAnswer::Nothing => Err(ProposeError::OutcomeUnknown),
        },
        // Not appended: this node leads no more, or its majority has not been heard of for long.
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
            return Attempt::Again;
        }
        Ok(Err(RaftError::APIError(_))) => Err(ProposeError::OutcomeUnknown),
        Ok(Err(RaftError::Fatal(_))) => Err(ProposeError::Stopped),
    })
}

async fn forward(core: &Core, leader: StorageId, command: &Command, deadline: Instant) -> Attempt {
    let within = deadline.saturating_duration_since(Instant::now());
    let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    let request = PeerRequest::Propose {
        command: command.clone(),
        within_ms,
    };
    Attempt::Done(match core.peers.call(leader, request, within).await {
        Ok(PeerReply::Proposed(ProposeReply::Applied(applied))) => Ok(applied),
        Ok(PeerReply::Proposed(ProposeReply::Refused(refused))) => {
            Err(ProposeError::Refused(refused))
        }
        Ok(
            PeerReply::Proposed(ProposeReply::NotController)
            | PeerReply::NotReady
            | PeerReply::Busy
            | PeerReply::Unsupported,
        ) => return Attempt::Again,
        Err(error) if error.is_without_effect() => return Attempt::Again,
        Ok(_) | Err(_) => Err(ProposeError::OutcomeUnknown),
    })
}
