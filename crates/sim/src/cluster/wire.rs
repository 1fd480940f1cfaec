//! How frames travel between processes: dialling, delivery, cuts, broken connections.
//! Knows nothing of what the frames say.

use bytes::Bytes;
use tablestore_dataplane::{Frame, PlaneEvent};
use tablestore_placement::StorageId;

use super::World;
use super::event::{ClusterEvent, Life};
use super::machine::slot_of;

/// As in a server: pause between attempts to dial a peer.
const DIAL_AGAIN_US: u64 = 50_000;
/// As in a server, about: what is not confirmed within this is lost, and so is the connection.
const UNCONFIRMED_US: u64 = 300_000;
/// What became of a connection that its sender closed is told within this.
const LATE_NEWS_US: u64 = 10_000;
/// A receiver that hears nothing learns within this that the connection is over.
const KEEPALIVE_US: u64 = 1_500_000;

impl World {
    /// A process tries to connect to a peer.
    pub(super) fn dial(&mut self, from: Life, peer: StorageId, link: u64) {
        if self.process(from).is_none() || !self.dialled(from, peer, link) {
            return;
        }
        let slot = slot_of(peer);
        let reached = self.network.connects(from.slot, slot);
        let machine = self.machines.get(slot).filter(|m| m.storage == peer);
        let to = machine.and_then(|machine| machine.process.as_ref());
        let to = to.map(|process| (process.life, process.is_paused(self.now)));
        match to.filter(|(_, paused)| reached && !paused) {
            Some((to, _)) => {
                let office = self.machines[from.slot].office();
                let speaker = (from, office);
                self.tell(|| format!("{from:?} is connected to {to:?}"));
                self.sessions.open(speaker, to, peer, link, self.now);
                self.give(from, PlaneEvent::PeerUp { peer, link });
                self.give(to, PlaneEvent::Inbound(office));
            }
            None => {
                let at = self.now + DIAL_AGAIN_US;
                self.queue.push(at, ClusterEvent::Dial { from, peer, link });
            }
        }
    }

    /// Whether the connection is still wanted under this number; notes that it is.
    fn dialled(&mut self, from: Life, peer: StorageId, link: u64) -> bool {
        let newest = self.wanted.entry((from, peer)).or_insert(link);
        *newest = link.max(*newest);
        *newest == link && self.sessions.of(from, peer).is_none()
    }

    /// A process closes its connection to a peer and dials no more under that number.
    pub(super) fn close(&mut self, from: Life, peer: StorageId) {
        if let Some(newest) = self.wanted.get_mut(&(from, peer)) {
            *newest += 1;
        }
        if let Some(number) = self.sessions.of(from, peer) {
            self.took("a connection was closed by its sender");
            self.tell_late_of(number);
            self.lose(number, false);
        }
    }

    pub(super) fn send_frame(&mut self, from: Life, peer: StorageId, frame: Bytes) {
        let delay = self.network.delay(&mut self.chance.network);
        let us_per_kib = self.network.us_per_kib;
        let Some(number) = self.sessions.of(from, peer) else {
            return;
        };
        let Some(session) = self.sessions.all.get_mut(&number) else {
            return;
        };
        let takes = frame.len() as u64 * us_per_kib / 1_024;
        session.last_arrival = (self.now + delay).max(session.last_arrival + 1) + takes;
        session.bytes += frame.len();
        session.frames.push_back(frame);
        let at = session.last_arrival;
        self.queue.push(at, ClusterEvent::Frame { session: number });
    }

    /// The next frame of a session comes to its end.
    pub(super) fn frame_arrives(&mut self, number: u64) {
        let now = self.now;
        let Some(session) = self.sessions.all.get_mut(&number) else {
            return;
        };
        let (from, to) = (session.from, session.to);
        if self.process(to).is_none() {
            // The kernel of a machine that is there resets what it does not know.
            if !self.machines_off.contains(&to.slot) && self.network.connects(from.slot, to.slot) {
                self.lose(number, true);
            }
            return;
        }
        let Some(session) = self.sessions.all.get_mut(&number) else {
            return;
        };
        let passes = self.network.passes(from.slot, to.slot);
        let confirms = self.network.passes(to.slot, from.slot);
        if (!passes || !confirms) && session.stuck_since.is_none() {
            session.stuck_since = Some(now);
            let at = now + UNCONFIRMED_US;
            let session = number;
            self.queue.push(
                at,
                ClusterEvent::Unconfirmed {
                    session,
                    since: now,
                },
            );
        }
        if !passes {
            return;
        }
        let Some(session) = self.sessions.all.get_mut(&number) else {
            return;
        };
        let Some(frame) = session.frames.pop_front() else {
            return;
        };
        session.bytes -= frame.len();
        let session_speaker = session.speaker;
        if confirms && session.frames.is_empty() {
            session.stuck_since = None;
        }
        let office = session_speaker;
        let message_bytes_max = self.given.plane.message_bytes_max;
        let frame_bytes_max = self.given.plane.frame_bytes + message_bytes_max;
        if frame.len() > frame_bytes_max {
            let length = frame.len();
            return self.fail("Wire", || format!("a frame of {length} bytes"));
        }
        match Frame::decode(frame, message_bytes_max) {
            Ok(frame) => self.give(
                to,
                PlaneEvent::Frame {
                    from: office,
                    frame,
                },
            ),
            Err(error) => self.fail("Wire", || format!("a frame cannot be read: {error}")),
        }
    }

    /// A cut has healed: what waited goes on.
    pub(super) fn release_stuck(&mut self) {
        for number in self.sessions.stuck() {
            let Some(session) = self.sessions.all.get_mut(&number) else {
                continue;
            };
            let (from, to) = (session.from.slot, session.to.slot);
            let machine = self.machines[to].process.as_ref();
            let lives = machine.is_some_and(|process| process.life == session.to);
            if !lives || !self.network.connects(from, to) {
                continue;
            }
            session.stuck_since = None;
            let waiting = session.frames.len() as u64;
            for at in 1..=waiting {
                let at = self.now + 200 * at;
                self.queue.push(at, ClusterEvent::Frame { session: number });
            }
        }
    }

    /// What was sent on a session should have been confirmed by now.
    pub(super) fn unconfirmed(&mut self, number: u64, since: u64) {
        let session = self.sessions.all.get(&number);
        if session.is_some_and(|session| session.is_up && session.stuck_since == Some(since)) {
            self.took("a connection broke because nothing was confirmed");
            self.lose(number, true);
        }
    }

    /// The sender gives a session up, or learns that it is over; the receiver learns it later.
    fn lose(&mut self, number: u64, tell: bool) {
        let Some(session) = self.sessions.all.get_mut(&number) else {
            return;
        };
        if !std::mem::replace(&mut session.is_up, false) {
            return;
        }
        session.frames.clear();
        session.bytes = 0;
        let (from, to, peer, link) = (session.from, session.to, session.peer, session.link);
        self.tell(|| format!("{from:?} loses its connection to {to:?}"));
        let connected = self.network.connects(from.slot, to.slot);
        let later = if connected {
            self.network.delay(&mut self.chance.network)
        } else {
            self.chance.network.below(KEEPALIVE_US)
        };
        let session = number;
        self.queue
            .push(self.now + later, ClusterEvent::SessionOver { session });
        if tell && self.process(from).is_some() {
            self.give(from, PlaneEvent::PeerDown { peer, link });
            let at = self.now + self.network.delay(&mut self.chance.network);
            self.queue.push(at, ClusterEvent::Dial { from, peer, link });
        }
    }

    /// The connections on which others speak to a process end; both sides notice it at once.
    pub(super) fn reset_connections_to(&mut self, life: Life) {
        for number in self.sessions.with(life) {
            let session = self.sessions.all.get(&number);
            if session.is_some_and(|session| session.to == life) {
                self.lose(number, true);
            }
        }
    }

    /// A connection broke in the moment in which its sender closed it: what the sender is told of
    /// that comes when the next one may stand already.
    fn tell_late_of(&mut self, number: u64) {
        let Some(session) = self.sessions.all.get(&number).filter(|one| one.is_up) else {
            return;
        };
        let (life, peer, link) = (session.from, session.peer, session.link);
        if self.chance.themes.happens(900) {
            let at = self.now + self.chance.themes.below(LATE_NEWS_US);
            self.queue
                .push(at, ClusterEvent::LateNews { life, peer, link });
            self.took("the end of an earlier connection was told late");
        }
    }

    /// The receiver learns that a session is over.
    pub(super) fn session_over(&mut self, number: u64) {
        if let Some(session) = self.sessions.all.remove(&number) {
            self.give(session.to, PlaneEvent::InboundEnded(session.speaker));
        }
    }

    /// The kernel closes the connections of a process that died; `silently` if nobody is told.
    pub(super) fn connections_end(&mut self, life: Life, silently: bool) {
        for number in self.sessions.with(life) {
            let Some(session) = self.sessions.all.get_mut(&number) else {
                continue;
            };
            if session.from == life {
                session.is_up = false;
                // What was handed to the kernel is on its way, unless the machine is gone.
                if silently {
                    session.frames.clear();
                }
                let last = session.last_arrival;
                let to = session.to.slot;
                let quiet = silently || !self.network.passes(life.slot, to);
                let later = if quiet {
                    self.chance.network.below(KEEPALIVE_US)
                } else {
                    self.network.delay(&mut self.chance.network)
                };
                let at = self.now.max(last) + later;
                self.queue
                    .push(at, ClusterEvent::SessionOver { session: number });
            } else if !silently && self.network.passes(life.slot, session.from.slot) {
                self.lose(number, true);
            } else {
                let since = self.now;
                session.stuck_since = Some(since);
                let at = since + UNCONFIRMED_US;
                let session = number;
                self.queue
                    .push(at, ClusterEvent::Unconfirmed { session, since });
            }
        }
        self.wanted.retain(|(from, _), _| *from != life);
    }
}
