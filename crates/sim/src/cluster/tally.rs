//! What a run took and gave: which ways, how often, and a hash over all of it. Decides nothing.

use std::collections::BTreeMap;

use tablestore_dataplane::{Answer, Effects, PlaneEvent, Reply};

use super::World;
use super::event::{Life, Waiter};

/// The hash is kept after each so many events, to find where two runs part.
pub(crate) const MARK_EVERY: u64 = 1_024;

/// Counts, and the hash.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) ways: BTreeMap<&'static str, u64>,
    /// Over the time and kind of all events and what they carried.
    pub(crate) hash: u64,
    /// The hash as it was after each [`MARK_EVERY`] events.
    pub(crate) marks: Vec<u64>,
    events: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            ways: BTreeMap::new(),
            hash: 0xcbf2_9ce4_8422_2325,
            marks: Vec::new(),
            events: 0,
        }
    }
}

impl Tally {
    pub(crate) fn took(&mut self, way: &'static str) {
        *self.ways.entry(way).or_default() += 1;
    }

    /// An event of the run.
    pub(crate) fn event(&mut self, number: u64) {
        self.note(number);
        self.events += 1;
        if self.events.is_multiple_of(MARK_EVERY) {
            self.marks.push(self.hash);
        }
    }

    fn note(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3);
        self.hash ^= self.hash >> 29;
    }

    fn note_bytes(&mut self, bytes: &[u8]) {
        self.note(u64::from(crc32c::crc32c(bytes)) << 32 | bytes.len() as u64);
    }

    /// A plane is given an event.
    pub(crate) fn given(&mut self, event: &PlaneEvent<Waiter>) {
        self.took(way_of(event));
        match event {
            PlaneEvent::Map(map) => self.note(map.version.0),
            PlaneEvent::Persisted(records) => self.note(*records),
            _ => {}
        }
    }

    /// A plane wants this done.
    fn effects(&mut self, effects: &Effects<Waiter>) {
        let kinds = [
            ("effect: connections", !effects.links.is_empty()),
            ("effect: journal", !effects.journal.is_empty()),
            ("effect: frames", !effects.frames.is_empty()),
            ("effect: answers", !effects.answers.is_empty()),
            ("effect: jobs", !effects.jobs.is_empty()),
            ("effect: orders to owners", !effects.owned.is_empty()),
            ("effect: proposals", !effects.proposals.is_empty()),
            ("effect: read of the map", effects.map_read.is_some()),
            ("effect: notices", !effects.notices.is_empty()),
            ("effect: progress", !effects.progress.is_empty()),
            ("effect: resigned", effects.resigned),
            ("effect: flushed all", effects.flushed_all),
        ];
        for (way, _) in kinds.into_iter().filter(|(_, is_there)| *is_there) {
            self.took(way);
        }
        self.note(effects.journal.len() as u64);
        for (peer, frame) in &effects.frames {
            self.note(peer.0);
            self.note_bytes(frame);
        }
        for (waiter, by, reply) in &effects.answers {
            self.note(waiter.attempt << 16 ^ by.0);
            self.answer(reply);
        }
    }

    fn answer(&mut self, reply: &Reply) {
        match &reply.result {
            Ok(Answer::Written { code, version, .. }) => {
                self.took("answer given: written");
                self.note(u64::from(*code) << 48 ^ version);
            }
            Ok(Answer::Row(row)) => {
                self.took("answer given: row");
                self.note_bytes(row.as_deref().unwrap_or_default());
            }
            Ok(Answer::Page { rows, .. }) => {
                self.took("answer given: page");
                for (key, row) in rows {
                    self.note_bytes(key);
                    self.note_bytes(row);
                }
            }
            Ok(Answer::Checksums { index, .. }) => {
                self.took("answer given: checksums");
                self.note(*index);
            }
            Err(failure) => {
                self.took("answer given: failure");
                self.note(*failure as u64);
            }
        }
    }
}

impl World {
    /// Counts what the plane of a process wants done.
    pub(super) fn count_effects(&mut self, life: Life) {
        let process = self.machines[life.slot].process.as_mut();
        if let Some(process) = process.filter(|process| process.life == life) {
            self.tally.effects(process.plane.effects());
        }
    }
}

fn way_of(event: &PlaneEvent<Waiter>) -> &'static str {
    match event {
        PlaneEvent::Request { .. } => "event: request",
        PlaneEvent::Active { .. } => "event: request for an active table",
        PlaneEvent::Frame { .. } => "event: frame",
        PlaneEvent::Inbound(_) => "event: inbound",
        PlaneEvent::InboundEnded(_) => "event: inbound ended",
        PlaneEvent::PeerUp { .. } => "event: peer up",
        PlaneEvent::PeerDown { .. } => "event: peer down",
        PlaneEvent::Map(_) => "event: map",
        PlaneEvent::Persisted(_) => "event: persisted",
        PlaneEvent::JournalFailed => "event: journal failed",
        PlaneEvent::Held(_) => "event: held",
        PlaneEvent::Trimmed(_) => "event: trimmed",
        PlaneEvent::Done(_) => "event: done",
        PlaneEvent::Proposed { refused: None, .. } => "event: proposal answered or lost",
        PlaneEvent::Proposed { .. } => "event: proposal refused",
        PlaneEvent::OwnedOpened { .. } => "event: owned partition opened",
        PlaneEvent::OwnedEnded { .. } => "event: owned partition ended",
        PlaneEvent::OwnedAnswered { .. } => "event: owned partition answered",
        PlaneEvent::MapRead { map: None, .. } => "event: map not read",
        PlaneEvent::MapRead { .. } => "event: map read",
        PlaneEvent::Room { full: true, .. } => "event: no room",
        PlaneEvent::Room { .. } => "event: room",
        PlaneEvent::Clock { off: true } => "event: clock off",
        PlaneEvent::Clock { off: false } => "event: clock right",
        PlaneEvent::Resign => "event: resign",
        PlaneEvent::FlushAll => "event: flush all",
    }
}
