//! Carries raft's messages over the links. Knows nothing of what they mean.

use std::time::Duration;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, RaftNetworkFactory, RaftNetworkV2};
use tablestore_placement::StorageId;

use super::message::{Blob, PeerReply, PeerRequest, SnapshotRequest};
use super::peers::Peers;
use super::session::CallError;
use super::types::{Snapshot, TypeConfig, Vote};

/// Entries may wait for a slow disk at the other side; heartbeats travel apart from them.
const APPEND_MAX: Duration = Duration::from_secs(2);

/// Makes clients for raft.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) peers: Peers,
}

/// Sends to one node, on the link that is open to it anyway.
#[derive(Debug)]
pub(super) struct Client {
    peers: Peers,
    target: u64,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Client {
        // The map may not know the node yet, or not any more; raft knows where it is.
        self.peers.keep_link(StorageId(target), &node.addr, false);
        Client {
            peers: self.peers.clone(),
            target,
        }
    }
}

impl Client {
    async fn call(
        &self,
        kind: RPCTypes,
        request: PeerRequest,
        limit: Duration,
    ) -> Result<PeerReply, RPCError<TypeConfig>> {
        let called = self
            .peers
            .call(StorageId(self.target), request, limit)
            .await;
        called.map_err(|error| match error {
            CallError::TimedOut => RPCError::Timeout(Timeout {
                action: kind,
                id: self.peers.identity().storage.0,
                target: self.target,
                timeout: limit,
            }),
            other => RPCError::Unreachable(Unreachable::new(&other)),
        })
    }
}

/// The other side's raft does not run, or it is not what it seems.
fn unusable(what: impl ToString) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::from_string(what))
}

impl RaftNetworkV2<TypeConfig> for Client {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let heartbeat = request.entries.is_empty();
        let limit = if heartbeat {
            option.hard_ttl()
        } else {
            APPEND_MAX
        };
        let request = PeerRequest::Append(request);
        match self.call(RPCTypes::AppendEntries, request, limit).await? {
            PeerReply::Append(Ok(response)) => Ok(response),
            PeerReply::Append(Err(reason)) => Err(unusable(reason)),
            _ => Err(unusable("unexpected answer")),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = PeerRequest::Vote(request);
        vote_reply(
            self.call(RPCTypes::Vote, request, option.hard_ttl())
                .await?,
        )
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = PeerRequest::PreVote(request);
        vote_reply(
            self.call(RPCTypes::Vote, request, option.hard_ttl())
                .await?,
        )
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let data = Blob(snapshot.snapshot);
        let request = SnapshotRequest {
            vote,
            meta: snapshot.meta,
            data,
        };
        let request = PeerRequest::Snapshot(request);
        let called = self.call(RPCTypes::InstallSnapshot, request, option.hard_ttl());
        let reply = tokio::select! {
            reply = called => reply?,
            closed = cancel => return Err(StreamingError::Closed(closed)),
        };
        match reply {
            PeerReply::Snapshot(Ok(response)) => Ok(response),
            PeerReply::Snapshot(Err(reason)) => Err(unusable(reason).into()),
            _ => Err(unusable("unexpected answer").into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = PeerRequest::TransferLeader(request);
        match self
            .call(RPCTypes::TransferLeader, request, option.hard_ttl())
            .await?
        {
            PeerReply::TransferLeader(Ok(())) => Ok(Ok(())),
            PeerReply::TransferLeader(Err(reason)) => Err(unusable(reason)),
            _ => Err(unusable("unexpected answer")),
        }
    }
}

fn vote_reply(reply: PeerReply) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
    match reply {
        PeerReply::Vote(Ok(response)) => Ok(response),
        PeerReply::Vote(Err(reason)) => Err(unusable(reason)),
        _ => Err(unusable("unexpected answer")),
    }
}
