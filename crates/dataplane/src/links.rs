//! What is on its way to the other nodes, and who of them can be reached.
//!
//! Each node dials every other and speaks on the connection that it dialled; what it hears comes
//! on those dialled by the others. Within a turn the messages for one peer are put together,
//! in frames of about a mebibyte. What waits for a peer is bounded in bytes: from a first mark on
//! the replicas hold entries back, at the second the connection is closed, so that nothing is ever
//! skipped within one. Knows nothing of what the messages mean.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tablestore_placement::{ClusterMap, StorageId};

use crate::effects::LinkOrder;
use crate::mutant::{Mutant, Sabotage};
use crate::sessions::Sessions;
use crate::settings::Settings;
use crate::wire::{DataMessage, encode_message};

#[derive(Debug)]
struct Link {
    /// Unlike that of any other link of this process.
    number: u64,
    address: String,
    buffer: BytesMut,
    /// Complete frames of this turn.
    frames: Vec<Bytes>,
    /// Bytes of complete frames that the host has not written yet.
    unwritten: usize,
    up: bool,
    /// Since when it does not answer.
    unanswered_since: Option<Duration>,
}

impl Link {
    fn waiting(&self) -> usize {
        self.buffer.len() + self.unwritten
    }

    fn cut(&mut self) {
        if !self.buffer.is_empty() {
            let frame = self.buffer.split().freeze();
            self.unwritten += frame.len();
            self.frames.push(frame);
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    frame_bytes: usize,
    message_bytes_max: usize,
    crowded_bytes: usize,
    link_bytes_max: usize,
    broken_after: Duration,
}

/// All connections for data of this node.
#[derive(Debug)]
pub(crate) struct Links {
    me: StorageId,
    limits: Limits,
    links: BTreeMap<StorageId, Link>,
    last_number: u64,
    /// Who has dialled us.
    pub(crate) sessions: Sessions,
    /// Peers to which so much is on its way that replicas hold entries back, in order.
    crowded: Vec<StorageId>,
    /// Peers whose connection must be closed.
    overrun: BTreeSet<StorageId>,
    sabotage: Sabotage,
}

impl Links {
    pub(crate) fn new(me: StorageId, settings: &Settings) -> Self {
        let limits = Limits {
            frame_bytes: settings.frame_bytes,
            message_bytes_max: settings.message_bytes_max,
            crowded_bytes: settings.crowded_bytes,
            link_bytes_max: settings.link_bytes_max,
            broken_after: settings.broken_after,
        };
        Self {
            me,
            limits,
            links: BTreeMap::new(),
            last_number: 0,
            sessions: Sessions::default(),
            crowded: Vec::new(),
            overrun: BTreeSet::new(),
            sabotage: settings.sabotage(),
        }
    }

    /// Opens links to new members and drops those of members that left or moved; returns those
    /// that were up and are gone.
    pub(crate) fn follow(
        &mut self,
        now: Duration,
        map: &ClusterMap,
        orders: &mut Vec<LinkOrder>,
    ) -> Vec<StorageId> {
        let mut closed = Vec::new();
        self.links.retain(|peer, link| {
            let member = map.members.get(peer);
            let stays = member.is_some_and(|member| member.peer_address == link.address);
            if !stays {
                orders.push(LinkOrder::Close { peer: *peer });
                closed.extend(link.up.then_some(*peer));
            }
            stays
        });
        for (storage, member) in &map.members {
            if *storage != self.me && !self.links.contains_key(storage) && member.is_live() {
                self.open(now, *storage, member.peer_address.clone(), orders);
            }
        }
        closed
    }

    fn open(
        &mut self,
        now: Duration,
        peer: StorageId,
        address: String,
        orders: &mut Vec<LinkOrder>,
    ) {
        self.last_number += 1;
        let number = self.last_number;
        let link = Link {
            number,
            address: address.clone(),
            buffer: BytesMut::new(),
            frames: Vec::new(),
            unwritten: 0,
            up: false,
            unanswered_since: Some(now),
        };
        self.links.insert(peer, link);
        orders.push(LinkOrder::Dial {
            peer,
            address,
            link: number,
        });
    }

    /// Notes whether the connection of this number stands. False if the number is not that of the
    /// present link: then it says nothing.
    pub(crate) fn set_up(&mut self, now: Duration, peer: StorageId, number: u64, up: bool) -> bool {
        let any = self.sabotage.has(Mutant::StaleLink);
        let link = self.links.get_mut(&peer);
        let Some(link) = link.filter(|link| link.number == number || any) else {
            return false;
        };
        link.up = up;
        if !up {
            // What was on it is lost.
            (link.unwritten, link.buffer) = (0, BytesMut::new());
            link.frames.clear();
        }
        self.look(now);
        true
    }

    /// The host has so many bytes for the peer that it could not write yet.
    pub(crate) fn set_unwritten(&mut self, peer: StorageId, bytes: usize) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.unwritten = bytes;
        }
    }

    /// Whether messages to the peer have a chance.
    pub(crate) fn is_up(&self, peer: StorageId) -> bool {
        self.links.get(&peer).is_some_and(|link| link.up)
    }

    /// Whether a question to the peer has a chance of an answer, which comes on its connection
    /// to us: a node that has just started is reached before it is heard.
    pub(crate) fn answers(&self, peer: StorageId) -> bool {
        self.is_up(peer) && self.sessions.hears(peer)
    }

    /// Whether a request can be passed on to the peer now: it answers, and not so much is on its
    /// way that more would only wait there. A new connection would else get all that is parked at
    /// once, and be closed for it.
    pub(crate) fn takes(&self, peer: StorageId) -> bool {
        self.answers(peer) && self.crowded.binary_search(&peer).is_err()
    }

    /// Whether the way to a peer is broken, for longer than it takes to replace one that died.
    pub(crate) fn is_broken(&self, now: Duration, peer: StorageId) -> bool {
        let since = self.links.get(&peer).and_then(|link| link.unanswered_since);
        since.is_some_and(|since| now > since + self.limits.broken_after)
    }

    /// Peers for which entries are to be held back, in order.
    pub(crate) fn crowded(&self) -> &[StorageId] {
        &self.crowded
    }

    /// Whether anybody is crowded, so that it is to be looked at again.
    pub(crate) fn is_any_crowded(&self) -> bool {
        !self.crowded.is_empty() && !self.sabotage.has(Mutant::ForgottenCrowd)
    }

    /// Looks who answers and who is crowded.
    pub(crate) fn look(&mut self, now: Duration) {
        self.crowded.clear();
        for (peer, link) in &mut self.links {
            if link.up && self.sessions.hears(*peer) {
                link.unanswered_since = None;
            } else {
                link.unanswered_since.get_or_insert(now);
            }
            if link.waiting() >= self.limits.crowded_bytes {
                self.crowded.push(*peer);
            }
        }
    }

    /// Adds a message to what the peer gets in this turn. Dropped without a connection: whoever
    /// speaks begins anew with the next one.
    pub(crate) fn tell(&mut self, to: StorageId, message: &DataMessage) {
        let Some(link) = self.links.get_mut(&to).filter(|link| link.up) else {
            return;
        };
        let is_bounded = !self.sabotage.has(Mutant::FrameOverLimit);
        let before = link.buffer.len();
        encode_message(message, &mut link.buffer);
        let length = link.buffer.len() - before;
        if length > self.limits.message_bytes_max && is_bounded {
            tracing::error!(peer = %to, length, "a message is longer than a peer takes");
            link.buffer.truncate(before);
            self.overrun.insert(to);
            return;
        }
        if link.buffer.len() >= self.limits.frame_bytes && is_bounded {
            link.cut();
        }
        let waiting = link.waiting();
        if waiting >= self.limits.link_bytes_max {
            tracing::warn!(peer = %to, waiting, "a peer does not take what is sent to it");
            self.overrun.insert(to);
        } else if waiting >= self.limits.crowded_bytes
            && let Err(place) = self.crowded.binary_search(&to)
        {
            self.crowded.insert(place, to);
        }
    }

    /// Links on which something could not be sent are closed and dialled anew; returns their peers.
    pub(crate) fn close_overrun(
        &mut self,
        now: Duration,
        orders: &mut Vec<LinkOrder>,
    ) -> Vec<StorageId> {
        let mut closed = Vec::new();
        for peer in std::mem::take(&mut self.overrun) {
            // Once each, and only the link that it happened on.
            if let Some(link) = self.links.remove(&peer) {
                orders.push(LinkOrder::Close { peer });
                self.open(now, peer, link.address, orders);
                closed.push(peer);
            }
        }
        closed
    }

    /// Hands over each peer's frames.
    pub(crate) fn flush(&mut self, frames: &mut Vec<(StorageId, Bytes)>) {
        for (peer, link) in &mut self.links {
            link.cut();
            frames.extend(link.frames.drain(..).map(|frame| (*peer, frame)));
        }
    }
}
