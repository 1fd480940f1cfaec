//! Who answers what arrives from other nodes.

use std::time::Duration;

use tablestore_placement::{Command, Refused, Registration};
use tokio::time::Instant;

use super::election::Sighting;
use super::handle::Inner;
use super::message::{JoinReply, PeerIdentity, PeerReply, PeerRequest, PeerService, ReplyFuture};
use super::propose::{self, ProposeError};
use super::settings::PROPOSE_WITHIN;
use super::types::Snapshot;
use super::{read, voting};

impl PeerService for Inner {
    fn handle(&self, from: PeerIdentity, request: PeerRequest) -> ReplyFuture {
        let Some(this) = self.this.upgrade() else {
            return Box::pin(std::future::ready(PeerReply::NotReady));
        };
        Box::pin(async move { this.dispatch(from, request).await })
    }
}

impl Inner {
    async fn dispatch(&self, from: PeerIdentity, request: PeerRequest) -> PeerReply {
        let core = &self.core;
        match request {
            PeerRequest::Vote(request) => voting::vote(core, from, request).await,
            PeerRequest::PreVote(request) => voting::pre_vote(core, request).await,
            PeerRequest::Append(request) => {
                let appended = core.raft.append_entries(request).await;
                PeerReply::Append(appended.map_err(|error| error.to_string()))
            }
            PeerRequest::Snapshot(request) => {
                let snapshot = Snapshot {
                    meta: request.meta,
                    snapshot: request.data.0,
                };
                let installed = core
                    .raft
                    .install_full_snapshot(request.vote, snapshot)
                    .await;
                PeerReply::Snapshot(installed.map_err(|error| error.to_string()))
            }
            PeerRequest::TransferLeader(request) => {
                voting::transfer_leader(core, from, request).await
            }
            PeerRequest::Propose { command, within_ms } => {
                let within = Duration::from_millis(within_ms);
                PeerReply::Proposed(propose::propose_forwarded(core, command, within).await)
            }
            PeerRequest::ReadIndex => PeerReply::ReadIndex(read::confirm_here(core).await),
            PeerRequest::Join(registration) => {
                PeerReply::Joined(self.admit(from, registration).await)
            }
            PeerRequest::Ping { last_log } => {
                let storage = from.storage;
                let _ = core
                    .sightings
                    .try_send(Sighting::LogEnd { storage, last_log });
                PeerReply::Pong {
                    last_log: core.log.last(),
                    hears: core.reach.lately(),
                    left: core.map.borrow().retired.contains(&storage),
                }
            }
            PeerRequest::CrashHint {
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
                PeerReply::Noted
            }
            PeerRequest::ProbeOther { storage } => {
                PeerReply::Probed(core.peers.probe(storage).await)
            }
            other => match self.service.get() {
                Some(service) => service.handle(from, other).await,
                None => PeerReply::NotReady,
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
