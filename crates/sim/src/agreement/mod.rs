//! What the nodes agree on: one log of commands, kept by each node in its own files, with all
//! that can go wrong on the way. It stands for the raft library and its adapter.
//!
//! A leader copies its log straight into those of the others, so there are few messages; but an
//! entry counts only where it is durable, a leader is chosen by durable votes, and each node knows
//! only what it was told. The book beside it knows everything, and notes the first thing that
//! must not have happened. Knows nothing of partitions, of clients and of what a command says.

mod answer;
mod apply;
mod book;
mod election;
mod event;
mod group;
mod image;
mod members;
mod node;
mod open;
mod propose;
mod read;
mod replicate;
mod says;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tablestore_placement::{ClusterMap, StorageId};
use tablestore_store::maplog::EntryId;
use tablestore_store::testing::{SimDisk, SimMark};

use self::book::Book;
use self::event::{AgreementEvent, Queued, Then};
use self::node::{Node, Role};
use self::propose::Ticket;
use self::read::Reading;
pub(crate) use self::says::{Decide, Outcome, Proposal, Says, Slot};
pub(crate) use self::settings::{Settings, Wrongs};
use crate::rng::Chance;

/// The folder of a node's disk that holds its log and its snapshot.
pub(crate) const FOLDER: &str = "control";

/// A node that starts.
#[derive(Debug)]
pub(crate) struct Start {
    /// The id of its directory.
    pub(crate) storage: StorageId,
    /// Its disk; only the folder [`FOLDER`] is touched.
    pub(crate) disk: SimDisk,
    /// How long a sync takes.
    pub(crate) sync_us: u64,
    /// It has run before: its files must be there.
    pub(crate) has_run: bool,
    /// It gives no vote before [`Agreement::release_votes`].
    pub(crate) votes_held: bool,
}

/// The agreement of all nodes of a world.
#[derive(Debug)]
pub(crate) struct Agreement {
    settings: Settings,
    timing: Chance,
    elections: Chance,
    wrongs: Chance,
    nodes: BTreeMap<Slot, Node>,
    slots: BTreeMap<StorageId, Slot>,
    lives: u64,
    queue: BTreeMap<(u64, u64), Queued>,
    sequence: u64,
    now: u64,
    says: Vec<Says>,
    book: Book,
    tickets: BTreeMap<u64, Ticket>,
    /// Which entries were made for which ticket, by index.
    made: BTreeMap<(u64, EntryId), u64>,
    reads: BTreeMap<u64, Reading>,
}

/// The moment at which something is done, and who hears whom then.
struct Turn<'a> {
    now: u64,
    reach: &'a dyn Fn(Slot, Slot) -> bool,
}

impl Agreement {
    /// Without any node.
    pub(crate) fn new(seed: u64, settings: Settings) -> Self {
        let stream =
            |purpose: u64| Chance::new(seed.wrapping_mul(0x9e37_79b9).wrapping_add(purpose));
        Self {
            settings,
            timing: stream(1),
            elections: stream(2),
            wrongs: stream(3),
            nodes: BTreeMap::new(),
            slots: BTreeMap::new(),
            lives: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            now: 0,
            says: Vec::new(),
            book: Book::default(),
            tickets: BTreeMap::new(),
            made: BTreeMap::new(),
            reads: BTreeMap::new(),
        }
    }

    /// Whether some log has entries of which it is open whether they will be committed, or that
    /// nobody has applied yet, or a proposal is on its way to one.
    pub(crate) fn is_undecided(&self) -> bool {
        let decided = self.book.last().map(|id| id.index);
        let logs = self.nodes.values();
        let is_longer = |node: &Node| node.log.last().map(|id| id.index) > decided;
        let in_flight = self.tickets.values().any(|known| known.in_flight > 0);
        in_flight || self.book.has_unapplied() || logs.into_iter().any(is_longer)
    }

    /// When [`step`](Self::step) has something to do next.
    pub(crate) fn next_at(&self) -> Option<u64> {
        if !self.says.is_empty() {
            return Some(self.now);
        }
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// Does what is due. `reach` says whether a message of one node gets to another.
    pub(crate) fn step(
        &mut self,
        now: u64,
        reach: &dyn Fn(Slot, Slot) -> bool,
        out: &mut Vec<Says>,
    ) {
        self.now = self.now.max(now);
        let turn = Turn {
            now: self.now,
            reach,
        };
        while let Some(first) = self.queue.first_entry()
            && first.key().0 <= now
        {
            let queued = first.remove();
            self.run(&turn, queued);
        }
        out.append(&mut self.says);
    }

    /// The first rule of agreement that was broken, in words.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.book.broken()
    }

    /// A node starts; its map as far as it knows. An error says why its files are refused.
    pub(crate) fn started(
        &mut self,
        now: u64,
        slot: Slot,
        start: Start,
    ) -> Result<Arc<ClusterMap>, String> {
        self.now = self.now.max(now);
        let disk = start.disk.folder(FOLDER);
        let opened = open::open(&disk, start.has_run, &self.settings)?;
        self.lives += 1;
        let storage = start.storage;
        let vote = opened.log.vote();
        let timeout_us = self.election_timeout();
        let mut node = Node {
            storage,
            life: self.lives,
            file: opened.file,
            durable: opened.log.last().map(|last| last.index),
            log: opened.log,
            sync_us: start.sync_us.max(1),
            synced_at: 0,
            paused_until: 0,
            failed: false,
            votes_held: start.votes_held,
            term: vote.map_or(0, |vote| vote.term),
            voted: vote.map(|vote| StorageId(vote.leader)),
            votes_pending: 0,
            role: Role::Follower,
            leader: vote
                .filter(|vote| vote.committed && vote.leader != storage.0)
                .map(|vote| StorageId(vote.leader)),
            heard_at: self.now,
            timeout_us,
            acted_on: None,
            hand_over: None,
            committed: opened.applied,
            applied: opened.applied,
            is_apply_due: false,
            is_imaging: false,
            is_regrouped: true,
            sync_fails: false,
            map: Arc::clone(&opened.map),
            image: opened.image,
            members: opened.members,
            told_term: None,
            told_voters: std::collections::BTreeSet::new(),
            readers: Vec::new(),
            disk,
        };
        node.fit_log_to_image().map_err(|error| error.to_string())?;
        // What was read is durable before the node does anything.
        node.disk.settle();
        self.check_start(&node);
        self.slots.insert(storage, slot);
        self.nodes.insert(slot, node);
        self.push(self.now + 1, slot, AgreementEvent::Timer);
        Ok(opened.map)
    }

    /// What a node finds at its start is what it had when that was agreed on.
    fn check_start(&mut self, node: &Node) {
        let Some(index) = node.applied else {
            return;
        };
        let is_known = self
            .book
            .state(index)
            .is_some_and(|state| state.map == node.map);
        if !is_known {
            let storage = node.storage;
            self.book
                .report(|| format!("{storage} started with another map at entry {index}"));
        }
    }

    /// A node's process ends now.
    pub(crate) fn crashed(&mut self, slot: Slot) {
        if let Some(node) = self.nodes.remove(&slot) {
            self.slots.remove(&node.storage);
            self.break_calls_to(slot);
        }
    }

    /// A node does nothing until then; what arrives waits.
    pub(crate) fn paused(&mut self, slot: Slot, until: u64) {
        if let Some(node) = self.nodes.get_mut(&slot) {
            node.paused_until = node.paused_until.max(until);
        }
    }

    /// The others have confirmed this start of the node: it may vote.
    pub(crate) fn release_votes(&mut self, slot: Slot) {
        if let Some(node) = self.nodes.get_mut(&slot) {
            node.votes_held = false;
        }
    }

    /// A node has looked and found another's process gone.
    pub(crate) fn crash_hint(&mut self, now: u64, by: Slot, of: StorageId) {
        self.now = self.now.max(now);
        self.push(self.now, by, AgreementEvent::Hint { of, is_own: true });
    }

    /// The leader gives its leadership to a voter.
    pub(crate) fn hand_over(&mut self, now: u64, from: Slot, to: StorageId) {
        self.now = self.now.max(now);
        self.push(self.now, from, AgreementEvent::HandOver { to });
    }

    /// The map that a node has applied.
    pub(crate) fn map(&self, slot: Slot) -> Option<&Arc<ClusterMap>> {
        self.nodes.get(&slot).map(|node| &node.map)
    }

    /// The term of the leader that a node follows or is, and that leader.
    pub(crate) fn leader_of(&self, slot: Slot) -> Option<(u64, StorageId)> {
        let node = self.nodes.get(&slot)?;
        Some((node.term, node.leader?))
    }

    fn push(&mut self, at: u64, slot: Slot, event: AgreementEvent) {
        let Some(node) = self.nodes.get(&slot) else {
            return;
        };
        let life = node.life;
        self.sequence += 1;
        let queued = Queued { slot, life, event };
        self.queue.insert((at, self.sequence), queued);
    }

    /// Sends a message; says whether it will arrive unless the receiver ends.
    fn send(&mut self, turn: &Turn<'_>, from: Slot, to: Slot, event: AgreementEvent) -> bool {
        if !self.is_up(to) || !(turn.reach)(from, to) {
            return false;
        }
        let (low, high) = self.settings.delay_us;
        let at = turn.now + self.timing.between(low, high).max(1);
        self.push(at, to, event);
        true
    }

    fn is_up(&self, slot: Slot) -> bool {
        self.nodes.get(&slot).is_some_and(|node| !node.failed)
    }

    /// Whether a wrong happens now, which is told to the world then.
    fn goes_wrong(&mut self, wrong: impl Fn(&Wrongs) -> u64, way: &'static str) -> bool {
        let happens = self.wrongs.happens(wrong(&self.settings.wrongs));
        if happens {
            self.says.push(Says::Way(way));
        }
        happens
    }

    fn late(&mut self) -> u64 {
        let (low, high) = self.settings.late_us;
        self.timing.between(low, high).max(1)
    }

    /// Does something with a node's files; if that fails the node is out.
    fn on_disk<T>(
        &mut self,
        slot: Slot,
        act: impl FnOnce(&mut Node) -> io::Result<T>,
    ) -> Option<T> {
        let done = act(self.nodes.get_mut(&slot)?);
        match done {
            Ok(value) => Some(value),
            Err(error) => {
                self.fail(slot, error.to_string());
                None
            }
        }
    }

    /// The same for what ends with a sync, which may fail.
    fn on_disk_synced<T>(
        &mut self,
        slot: Slot,
        act: impl FnOnce(&mut Node) -> io::Result<T>,
    ) -> Option<T> {
        let fails = self.goes_wrong(|wrongs| wrongs.sync_fails, "a sync of the raft log failed");
        if let Some(node) = self.nodes.get_mut(&slot) {
            node.sync_fails = fails;
        }
        self.on_disk(slot, act)
    }

    fn fail(&mut self, slot: Slot, why: String) {
        if let Some(node) = self.nodes.get_mut(&slot)
            && !node.failed
        {
            node.failed = true;
            self.says.push(Says::Failed { slot, why });
            self.break_calls_to(slot);
        }
    }

    /// A sync takes so long from now on.
    pub(crate) fn disk_takes(&mut self, slot: Slot, sync_us: u64) {
        if let Some(node) = self.nodes.get_mut(&slot) {
            node.sync_us = sync_us.max(1);
        }
    }

    /// Goes on once what was synced is durable.
    fn settle_later(&mut self, now: u64, slot: Slot, mark: SimMark, then: Then) {
        if let Some(node) = self.nodes.get_mut(&slot) {
            let at = node.synced_at.max(now + node.sync_us);
            node.synced_at = at;
            self.push(at, slot, AgreementEvent::Settled { mark, then });
        }
    }

    fn tell_voters(&mut self, slot: Slot) {
        if let Some(node) = self.nodes.get_mut(&slot)
            && std::mem::take(&mut node.is_regrouped)
        {
            let set = node.group().voters();
            if set != node.told_voters {
                node.told_voters.clone_from(&set);
                self.says.push(Says::Voters { slot, set });
            }
        }
    }
}
