//! What other nodes say, and what becomes of requests when a connection with one begins or ends.
//! Knows nothing of sockets nor of how a request finds its way.

use std::collections::BTreeSet;

use tablestore_placement::{Office, PartitionId, StorageId};
use tablestore_replication::Input;
use tablestore_store::Engine;

use crate::mutant::Mutant;
use crate::plane::Plane;
use crate::request::{Correlation, Failure, Reply, ReplyTo, Request, Stage};
use crate::wire::DataMessage;

impl<E: Engine, W> Plane<E, W> {
    /// What another node says.
    pub(crate) fn message(&mut self, from: Office, message: DataMessage) {
        match message {
            DataMessage::Replication { partition, message } => {
                if self.follows(partition) {
                    self.feed(partition, Input::Message { from, message });
                }
            }
            DataMessage::Active { partition, message } => {
                self.active_message(from.member, partition, message);
            }
            DataMessage::Forward {
                correlation,
                partition,
                epoch,
                relay,
                operation,
            } => {
                let takes_any = self.settings.has(Mutant::AnswersToEarlierStart);
                if correlation.incarnation != from.incarnation && !takes_any {
                    self.counts.foreign_answers += 1;
                    return;
                }
                self.admit(Request {
                    partition,
                    operation,
                    deadline: self.now.since_start + self.settings.forwarded_for_max,
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
        let takes_any = self.settings.has(Mutant::AnswersToEarlierStart);
        if to.incarnation != self.me.incarnation && !takes_any {
            self.counts.foreign_answers += 1;
            return;
        }
        let Some(request) = self.requests.get(to.ticket) else {
            return;
        };
        if request.stage != Stage::Forwarded(from) {
            return;
        }
        if request.operation.question(request.partition) != question && !takes_any {
            tracing::error!(%from, partition = %request.partition, "an answer to another question");
            self.counts.foreign_answers += 1;
            return;
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

    /// The connection of this number began or ended.
    pub(crate) fn link_changed(&mut self, peer: StorageId, link: u64, up: bool) {
        if self.links.set_up(self.now.since_start, peer, link, up) {
            self.peer_changed(peer, up);
        }
    }

    /// The way to a peer is open or lost: whoever has to do with it is told.
    pub(crate) fn peer_changed(&mut self, peer: StorageId, up: bool) {
        if !up {
            self.end_copies_with(peer);
        }
        let concerned = self.neighbours.of(peer);
        for partition in concerned {
            let input = if up {
                Input::PeerUp(peer)
            } else {
                Input::PeerDown(peer)
            };
            self.feed(partition, input);
        }
        self.active_peer_changed(peer, up);
        self.retry_after_peer(peer, up);
    }

    /// A connection on which a peer answers began, and perhaps a session with it.
    pub(crate) fn session_begins(&mut self, peer: Office) {
        if let Some(ended) = self.links.sessions.begins(peer) {
            self.session_ended(ended);
        }
        self.links.look(self.now.since_start);
        // A peer dials again when the connection before is dead, whether or not that was noticed
        // here: answers on it are lost.
        self.retry_after_peer(peer.member, false);
        self.retry_after_peer(peer.member, true);
    }

    /// A connection on which a peer answers has ended, and the answers on their way with it.
    pub(crate) fn connection_ended(&mut self, peer: Office) {
        if self.links.sessions.connection_ended(peer) {
            self.session_ended(peer);
        }
        self.links.look(self.now.since_start);
        self.retry_after_peer(peer.member, false);
    }

    /// Requests that were with the peer, or waited for it, are looked at again.
    fn retry_after_peer(&mut self, peer: StorageId, up: bool) {
        if up {
            return self.requests.retry_parked();
        }
        for ticket in self.requests.forwarded_to(peer) {
            self.requests.leave(ticket);
        }
    }

    /// A session of a peer is over: nobody waits for the answers to what it asked, and its copies
    /// come to no end. What was handed to a replica takes effect or not, as if it had crashed
    /// a moment later.
    fn session_ended(&mut self, peer: Office) {
        if !self.settings.has(Mutant::AnswersToEarlierStart) {
            for ticket in self.requests.of_peer(peer) {
                self.requests.remove(ticket);
            }
        }
        self.end_copies_with(peer.member);
    }
}

/// Which replicas of this node have to do with which other node.
#[derive(Debug, Default)]
pub(crate) struct Neighbours(BTreeSet<(StorageId, PartitionId)>);

impl Neighbours {
    /// The replica of the partition has to do with these nodes from now on, and with those no
    /// more; returns who is new.
    pub(crate) fn change(
        &mut self,
        partition: PartitionId,
        others: &mut BTreeSet<StorageId>,
        now: BTreeSet<StorageId>,
    ) -> Vec<StorageId> {
        for gone in others.difference(&now) {
            self.0.remove(&(*gone, partition));
        }
        let new: Vec<StorageId> = now.difference(others).copied().collect();
        self.0.extend(new.iter().map(|node| (*node, partition)));
        *others = now;
        new
    }

    fn of(&self, node: StorageId) -> Vec<PartitionId> {
        let (first, last) = (PartitionId::from_u64(0), PartitionId::from_u64(u64::MAX));
        let of = self.0.range((node, first)..=(node, last));
        of.map(|(_, partition)| *partition).collect()
    }
}
