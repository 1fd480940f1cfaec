//! What other nodes say, and what becomes of requests when a connection with one begins or ends.
//! Knows nothing of sockets nor of how a request finds its way.

use std::time::Duration;

use tablestore_placement::{Office, StorageId};
use tablestore_replication::Input;
use tokio::time::Instant;

use super::plane::Plane;
use super::request::{Correlation, Failure, Reply, ReplyTo, Request, Stage};
use crate::control::Remembered;
use crate::wire::DataMessage;

/// A forwarded request may stay with us for this long; its sender has its own deadline.
const FORWARDED_FOR_MAX: Duration = Duration::from_secs(60);

impl Plane {
    /// What another node says.
    pub(super) fn message(&mut self, from: Office, message: DataMessage) {
        match message {
            DataMessage::Replication { partition, message } => {
                if self.follows(partition) {
                    self.feed(partition, Input::Message { from, message });
                }
            }
            DataMessage::Forward {
                correlation,
                partition,
                epoch,
                relay,
                operation,
            } => {
                if correlation.incarnation != from.incarnation {
                    return self.ports.metrics.foreign_answers.add(1);
                }
                self.admit(Request {
                    partition,
                    operation,
                    deadline: Instant::now() + FORWARDED_FOR_MAX,
                    reply_to: ReplyTo::Peer {
                        node: from,
                        ticket: correlation.ticket,
                    },
                    stage: Stage::Parked,
                    maybe_appended: false,
                    epoch,
                    may_relay: relay,
                });
            }
            DataMessage::Reply {
                correlation,
                question,
                reply,
            } => self.replied(from.member, correlation, question, reply),
            DataMessage::Copy {
                partition,
                transfer,
                step,
            } => self.copy_step(from, partition, transfer, step),
            DataMessage::Checksum {
                partition,
                id,
                index,
                sums,
            } => {
                self.checksum_from(from.member, partition, id, index, sums);
            }
        }
    }

    /// An answer of another node. One to a question of an earlier start, or to another question
    /// than the one that waits under this number, answers nobody.
    fn replied(&mut self, from: StorageId, to: Correlation, question: u64, reply: Reply) {
        let mine = to.incarnation == self.ports.me.incarnation;
        let Some(request) = self.ports.requests.get_mut(&to.ticket).filter(|_| mine) else {
            return self.ports.metrics.foreign_answers.add(u64::from(!mine));
        };
        if request.stage != Stage::Forwarded(from) {
            return;
        }
        if request.operation.question(request.partition) != question {
            tracing::error!(%from, partition = %request.partition, "an answer to another question");
            return self.ports.metrics.foreign_answers.add(1);
        }
        match reply.result {
            // Certainly not appended there; an earlier attempt may still be.
            Err(Failure::NotHere) => self.park(to.ticket, false),
            Err(Failure::Unknown) => self.park(to.ticket, true),
            _ => {
                // Certain for this attempt; `maybe_appended` speaks of those before it.
                self.answer(to.ticket, reply);
            }
        }
    }

    /// A link changed: requests that were with the peer, or waited for it, are looked at again.
    pub(super) fn retry_after_peer(&mut self, peer: StorageId, up: bool) {
        for (ticket, request) in &mut self.ports.requests {
            if !up && request.stage == Stage::Forwarded(peer) {
                request.leave();
            }
            if up && request.stage == Stage::Parked {
                self.ports.again.push(*ticket);
            }
        }
    }

    /// A session of a peer is over: nobody waits for the answers to what it asked, and its copies
    /// come to no end. What was handed to a replica takes effect or not, as if it had crashed
    /// a moment later.
    pub(super) fn session_ended(&mut self, peer: Office) {
        let (requests, freed) = (&mut self.ports.requests, &mut self.ports.waiting_bytes);
        requests.retain(|_, request| {
            let gone = matches!(request.reply_to, ReplyTo::Peer { node, .. } if node == peer);
            if gone {
                *freed -= request.operation.cost();
            }
            !gone
        });
        self.end_copies_with(peer.member);
    }

    /// What is known to be committed, and what a member has acknowledged to primaries here.
    pub(super) fn remembered(&self, of: StorageId) -> Remembered {
        let mut remembered = Remembered::default();
        let working = self.replicas.iter().filter(|(_, h)| h.stopped.is_none());
        for (partition, hosted) in working {
            let status = hosted.replica.status();
            remembered.commits.push((*partition, status.commit));
            let follower = status.followers.iter().find(|f| f.member == of);
            let acknowledged = follower.map(|f| (*partition, status.epoch, f.matched));
            remembered.acknowledged.extend(acknowledged);
        }
        remembered
    }
}
