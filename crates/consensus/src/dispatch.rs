//! Who answers what arrives from other nodes.

use std::time::Duration;

use tablestore_placement::{Command, Refused, Registration};
use tokio::time::Instant;

use super::election::Sighting;
use super::handle::Inner;
use super::message::{
    ControlReply, ControlRequest, ControlService, JoinReply, PeerIdentity, ReplyFuture,
};
use super::propose::{self, ProposeError};
use super::settings::PROPOSE_WITHIN;
use super::types::Snapshot;
use super::{read, voting};

impl ControlService for Inner {
    fn handle(&self, from: PeerIdentity, request: ControlRequest) -> ReplyFuture {
        let Some(this) = self.this.upgrade() else {
            return Box::pin(std::future::ready(ControlReply::NotReady));
        };
        Box::pin(async move { this.dispatch(from, request).await })
    }
}

impl Inner {
    async fn dispatch(&self, from: PeerIdentity, request: ControlRequest) -> ControlReply {
        let core = &self.core;
        match request {
            ControlRequest::Vote(request) => voting::vote(core, from, request).await,
            ControlRequest::PreVote(request) => voting::pre_vote(core, request).await,
            ControlRequest::Append(request) => {
                let appended = core.raft.append_entries(request).await;
                ControlReply::Append(appended.map_err(|error| error.to_string()))
            }
            ControlRequest::Snapshot(request) => {
                let snapshot = Snapshot {
                    meta: request.meta,
                    snapshot: request.data.0,
                };
                let installed = core
                    .raft
                    .install_full_snapshot(request.vote, snapshot)
                    .await;
                ControlReply::Snapshot(installed.map_err(|error| error.to_string()))
            }
            ControlRequest::TransferLeader(request) => {
                voting::transfer_leader(core, from, request).await
            }
            ControlRequest::Propose { command, within_ms } => {
                let within = Duration::from_millis(within_ms);
                ControlReply::Proposed(propose::propose_forwarded(core, command, within).await)
            }
            ControlRequest::ReadIndex => ControlReply::ReadIndex(read::confirm_here(core).await),
            ControlRequest::Join(registration) => {
                ControlReply::Joined(self.admit(from, registration).await)
            }
            ControlRequest::Ping { last_log } => {
                let storage = from.storage;
                let _ = core
                    .sightings
                    .try_send(Sighting::LogEnd { storage, last_log });
                ControlReply::Pong {
                    last_log: core.log.last(),
                    hears: core.reach.lately(),
                }
            }
            ControlRequest::CrashHint {
                storage,
                incarnation,
                last_log,
            } => {
                let end = Sighting::LogEnd {
                    storage: from.storage,
                    last_log,
                };
                let _ = core.sightings.try_send(end);
                let _ = core.sightings.try_send(Sighting::Hint {
                    storage,
                    incarnation,
                });
                ControlReply::Noted
            }
            ControlRequest::ProbeOther { storage } => {
                ControlReply::Probed(core.peers.probe(storage).await)
            }
            other => match self.service.get() {
                Some(service) => service.handle(from, other).await,
                None => ControlReply::NotReady,
            },
        }
    }

    async fn admit(&self, from: PeerIdentity, registration: Registration) -> JoinReply {
        let again = |reason: &str| JoinReply::TryAgain {
            reason: reason.to_owned(),
        };
        if registration.storage != from.storage {
            return again("a node registers only itself");
        }
        let deadline = Instant::now() + PROPOSE_WITHIN;
        match propose::propose(&self.core, Command::Register(registration), deadline).await {
            Ok(_) => {
                let cluster = *self.core.peers.inner.cluster();
                let cluster = cluster.unwrap_or_else(|| self.core.map.borrow().cluster);
                JoinReply::Member { cluster }
            }
            Err(ProposeError::Refused(Refused::NotFounded)) => again("it is being founded"),
            Err(ProposeError::Refused(refused)) => JoinReply::Refused(refused),
            Err(error) => again(&error.to_string()),
        }
    }
}
