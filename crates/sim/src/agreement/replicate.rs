//! How the leader's log comes to the others, and when an entry is committed. Knows nothing of
//! what entries do.

use tablestore_placement::StorageId;
use tablestore_store::maplog::{Entry, EntryId, EntryKind, Vote};

use super::event::{AgreementEvent, Then};
use super::image::Image;
use super::node::{Role, next_of};
use super::says::{Says, Slot};
use super::{Agreement, Turn};

impl Agreement {
    /// The leader takes an entry into its own log and shows it to the others.
    pub(super) fn append_here(&mut self, turn: &Turn<'_>, slot: Slot, entry: Entry) {
        let id = entry.id();
        let Some(mark) = self.on_disk_synced(slot, |node| node.append(vec![entry])) else {
            return;
        };
        self.settle_later(turn.now, slot, mark, Then::Entries(id, id.term));
        self.show(turn, slot);
    }

    /// The id of the leader's next entry.
    pub(super) fn next_id(&self, slot: Slot) -> Option<EntryId> {
        let node = self.nodes.get(&slot)?;
        Some(EntryId {
            term: node.term,
            leader: node.storage.0,
            index: next_of(node.last_index()),
        })
    }

    pub(super) fn beat(&mut self, turn: &Turn<'_>, slot: Slot, term: u64) {
        let leads = |node: &super::Node| node.lead().is_some() && node.term == term;
        if self.nodes.get(&slot).is_some_and(leads) {
            self.show(turn, slot);
            let at = turn.now + self.settings.heartbeat_us;
            self.push(at, slot, AgreementEvent::Beat { term });
        }
    }

    /// Sends the log to all others of the group.
    fn show(&mut self, turn: &Turn<'_>, slot: Slot) {
        let Some(node) = self.nodes.get(&slot) else {
            return;
        };
        let group = node.group();
        for id in group.nodes.keys() {
            self.show_to(turn, slot, *id);
        }
    }

    fn show_to(&mut self, turn: &Turn<'_>, slot: Slot, to: StorageId) {
        let node = self.nodes.get(&slot).filter(|node| node.lead().is_some());
        let to = self.slots.get(&to).copied().filter(|to| *to != slot);
        if let (Some(node), Some(to)) = (node, to) {
            let (from, life, term) = (slot, node.life, node.term);
            self.send(turn, slot, to, AgreementEvent::Copy { from, life, term });
        }
    }

    /// The leader's log has arrived.
    pub(super) fn copied(
        &mut self,
        turn: &Turn<'_>,
        slot: Slot,
        (from, life): (Slot, u64),
        term: u64,
    ) {
        let leads = |node: &&super::Node| {
            node.life == life && !node.failed && node.term == term && node.lead().is_some()
        };
        let Some(leader) = self.nodes.get(&from).filter(leads).map(|node| node.storage) else {
            return;
        };
        let known = self.nodes.get(&slot).map_or(0, |node| node.term);
        if known > term {
            self.send(turn, slot, from, AgreementEvent::Higher { term: known });
            return;
        }
        if self.follow(turn, slot, leader, term) {
            self.take_over(turn, slot, from);
        }
    }

    fn follow(&mut self, turn: &Turn<'_>, slot: Slot, leader: StorageId, term: u64) -> bool {
        let Some(node) = self.nodes.get_mut(&slot) else {
            return false;
        };
        node.heard_at = turn.now;
        if node.term == term && node.leader == Some(leader) {
            return true;
        }
        if node.lead().is_some() && node.term == term {
            self.book
                .report(|| format!("{leader} shows itself to a leader of term {term}"));
            return false;
        }
        self.step_down(turn, slot);
        let vote = Vote {
            term,
            leader: leader.0,
            committed: true,
        };
        let voted = self.on_disk_synced(slot, |node| {
            node.role = Role::Follower;
            node.leader = Some(leader);
            node.vote(vote)
        });
        if let Some(Some(mark)) = voted {
            self.settle_later(turn.now, slot, mark, Then::Voted(vote));
        }
        voted.is_some()
    }

    /// Takes what the leader's log has more, in place of what is different.
    fn take_over(&mut self, turn: &Turn<'_>, slot: Slot, from: Slot) {
        let (Some(leader), Some(node)) = (self.nodes.get(&from), self.nodes.get(&slot)) else {
            return;
        };
        let mut common = leader.last_index().min(node.last_index());
        while let Some(index) = common.filter(|_| common > node.applied) {
            if leader
                .id_at(index)
                .is_some_and(|id| node.id_at(index) == Some(id))
            {
                break;
            }
            common = index.checked_sub(1);
        }
        let next = next_of(common);
        if next < leader.first_index() {
            if let Some(image) = leader.image.clone() {
                self.install(turn, slot, image);
            }
            return;
        }
        let entries = leader.log.entries(next..).take(self.settings.batch);
        let entries: Vec<Entry> = entries.cloned().collect();
        let end = entries.last().map(Entry::id);
        let end_index = end.map(|id| id.index).or(common);
        let committed = leader.committed.min(end_index);
        let term = node.term;
        let conflicts = end.is_some() && node.last_index() > common;
        if conflicts && node.committed > common {
            let (storage, has) = (node.storage, node.committed);
            self.book
                .report(|| format!("{storage} has {has:?} committed and must drop it"));
        }
        match end {
            None => self.ack(turn, slot, common),
            Some(end) => {
                if conflicts {
                    self.says.push(Says::Way("entries were overwritten"));
                }
                let mark = self.on_disk_synced(slot, |node| {
                    if conflicts {
                        node.truncate_after(common)?;
                    }
                    node.append(entries)
                });
                if let Some(mark) = mark {
                    self.settle_later(turn.now, slot, mark, Then::Entries(end, term));
                }
            }
        }
        self.know_committed(turn, slot, committed);
    }

    /// Tells the leader up to where this node has its log durably.
    fn ack(&mut self, turn: &Turn<'_>, slot: Slot, common: Option<u64>) {
        let Some(node) = self.nodes.get(&slot) else {
            return;
        };
        let (by, term, upto) = (node.storage, node.term, node.durable.min(common));
        let leader = node
            .leader
            .and_then(|leader| self.slots.get(&leader).copied());
        if let Some(leader) = leader.filter(|leader| *leader != slot) {
            self.send(turn, slot, leader, AgreementEvent::Acked { by, term, upto });
        }
    }

    pub(super) fn entries_settled(
        &mut self,
        turn: &Turn<'_>,
        slot: Slot,
        upto: EntryId,
        term: u64,
    ) {
        let Some(node) = self.nodes.get_mut(&slot) else {
            return;
        };
        if node.id_at(upto.index) != Some(upto) {
            return;
        }
        node.durable = node.durable.max(Some(upto.index));
        if node.lead().is_some() {
            self.advance(turn, slot);
        } else if node.term == term {
            // In another term the leader may have something else there.
            self.ack(turn, slot, Some(upto.index));
        }
    }

    pub(super) fn acked(
        &mut self,
        turn: &Turn<'_>,
        slot: Slot,
        by: StorageId,
        term: u64,
        upto: Option<u64>,
    ) {
        let lease_us = self.settings.lease_us;
        let Some(node) = self.nodes.get_mut(&slot).filter(|node| node.term == term) else {
            return;
        };
        let (group, me, last) = (node.group(), node.storage, node.last_index());
        let Some(leader) = node.lead_mut() else {
            return;
        };
        leader.heard.insert(by, turn.now);
        let recently = |id: &StorageId| {
            leader
                .heard
                .get(id)
                .is_some_and(|at| at + lease_us > turn.now)
        };
        let is_heard = group.is_majority(|id| id == me || recently(&id));
        let before = leader.matched.get(&by).copied();
        let progresses = upto > before;
        if let Some(upto) = upto.filter(|_| progresses) {
            leader.matched.insert(by, upto);
        }
        if is_heard {
            node.heard_at = turn.now;
        }
        if progresses {
            self.advance(turn, slot);
            if upto < last {
                self.show_to(turn, slot, by);
            }
        }
    }

    /// Commits what a majority has durably, if it is of this term or before such an entry.
    pub(super) fn advance(&mut self, turn: &Turn<'_>, slot: Slot) {
        let newly = self.newly_committed(slot);
        let Some((last, _)) = newly.last().copied() else {
            return;
        };
        // The newest of them is of the leader's own term.
        let term = last.term;
        let is_regrouped = newly.iter().any(|(_, kind)| *kind == EntryKind::Membership);
        for (id, _) in newly {
            self.note_committed(id, term);
        }
        self.know_committed(turn, slot, Some(last.index));
        self.show(turn, slot);
        if is_regrouped {
            self.regrouped(turn, slot);
        }
    }

    fn newly_committed(&self, slot: Slot) -> Vec<(EntryId, EntryKind)> {
        let Some((node, leader)) = self
            .nodes
            .get(&slot)
            .and_then(|node| node.lead().map(|leader| (node, leader)))
        else {
            return Vec::new();
        };
        let group = node.group();
        let has = |id: StorageId, index: u64| {
            let matched = leader.matched.get(&id).copied();
            let matched = if id == node.storage {
                node.durable
            } else {
                matched
            };
            matched >= Some(index)
        };
        let open = || node.log.entries(next_of(node.committed)..);
        let own = open().map(Entry::id).filter(|id| id.term == node.term);
        let agreed = own.take_while(|entry| group.is_majority(|id| has(id, entry.index)));
        let Some(last) = agreed.last() else {
            return Vec::new();
        };
        let newly = open().take_while(|entry| entry.id().index <= last.index);
        newly.map(|entry| (entry.id(), entry.kind())).collect()
    }

    /// The map of a leader's snapshot is to replace what this node has.
    fn install(&mut self, turn: &Turn<'_>, slot: Slot, image: Image) {
        let Some(node) = self.nodes.get(&slot) else {
            return;
        };
        if node.is_imaging || node.applied >= Some(image.last.index) {
            return;
        }
        let written = self.on_disk(slot, |node| {
            node.is_imaging = true;
            // What lies before may count for a majority: it is kept until the snapshot is durable.
            node.drop_other_than(image.last)?;
            node.file.sync()?;
            image.write(&node.disk)?;
            Ok(node.disk.mark())
        });
        if let Some(mark) = written {
            self.settle_later(turn.now, slot, mark, Then::Installed(Box::new(image)));
        }
    }

    pub(super) fn installed(&mut self, turn: &Turn<'_>, slot: Slot, image: Image) {
        self.says.push(Says::Way("a node jumped by a snapshot"));
        let last = image.last;
        if self.book.at(last.index) != Some(last) {
            self.book
                .report(|| format!("a snapshot ends at {last}, which is not committed"));
        }
        let map = std::sync::Arc::clone(&image.map);
        let installed = self.on_disk(slot, |node| {
            node.is_imaging = false;
            if node.applied >= Some(last.index) {
                return Ok(false);
            }
            node.map = std::sync::Arc::clone(&map);
            node.applied = Some(last.index);
            node.committed = node.committed.max(node.applied);
            node.image = Some(image);
            node.is_regrouped = true;
            node.fit_log_to_image()?;
            Ok(true)
        });
        if installed == Some(true) {
            self.says.push(Says::Map { slot, map });
            self.serve_readers(slot);
            self.ack(turn, slot, Some(last.index));
        }
    }
}
