//! What a node does with entries that it knows to be committed: it applies them, answers who
//! waits, and takes a snapshot now and then. Knows nothing of how they were committed.

use std::sync::Arc;

use tablestore_placement::ClusterMap;
use tablestore_store::maplog::Entry;

use super::book::{EntryAnswer, State};
use super::event::{AgreementEvent, Then};
use super::image::Image;
use super::node::next_of;
use super::open::command;
use super::says::{Says, Slot};
use super::{Agreement, Turn};

impl Agreement {
    /// A node learns up to where its log is committed, and will apply that.
    pub(super) fn know_committed(&mut self, turn: &Turn<'_>, slot: Slot, upto: Option<u64>) {
        let Some(node) = self.nodes.get_mut(&slot) else {
            return;
        };
        node.committed = node.committed.max(upto);
        if node.is_apply_due || node.committed <= node.applied {
            return;
        }
        node.is_apply_due = true;
        let in_burst = self.goes_wrong(|wrongs| wrongs.burst, "a node applied in a burst");
        let (low, high) = self.settings.apply_us;
        let wait = if in_burst {
            self.late()
        } else {
            self.timing.between(low, high)
        };
        self.push(turn.now + wait.max(1), slot, AgreementEvent::Apply);
    }

    pub(super) fn apply(&mut self, turn: &Turn<'_>, slot: Slot) {
        let Some(node) = self.nodes.get_mut(&slot) else {
            return;
        };
        node.is_apply_due = false;
        if node.committed <= node.applied {
            return;
        }
        let Some(last) = node.committed.and_then(|index| node.id_at(index)) else {
            return;
        };
        // In the file it may come after what is applied: a restart applies it again.
        let noted = self.on_disk(slot, |node| {
            let records = node.log.commit(Some(last));
            node.write(&records)
        });
        let Some(node) = self.nodes.get(&slot).filter(|_| noted.is_some()) else {
            return;
        };
        let entries = node.log.entries(next_of(node.applied)..=last.index);
        let entries: Vec<Entry> = entries.cloned().collect();
        let before = Arc::clone(&node.map);
        let mut map = Arc::clone(&before);
        let mut answers = Vec::new();
        for entry in entries {
            let state = self
                .book
                .apply(entry.id(), &map, |map| state_after(map, &entry));
            map = state.map;
            answers.push((entry.id(), state.answer));
        }
        if let Some(node) = self.nodes.get_mut(&slot) {
            node.map = Arc::clone(&map);
            node.applied = Some(last.index);
        }
        if !Arc::ptr_eq(&before, &map) {
            self.says.push(Says::Map { slot, map });
        }
        self.tell_leadership(turn, slot);
        for (id, answer) in answers {
            self.applied(turn, slot, id, answer);
        }
        self.pump(turn, slot);
        self.serve_readers(slot);
        self.take_image(turn, slot);
    }

    /// A leader that has applied an entry of its own may act.
    fn tell_leadership(&mut self, turn: &Turn<'_>, slot: Slot) {
        if let Some(node) = self.nodes.get_mut(&slot)
            && node.is_ready()
            && node.told_term != Some(node.term)
        {
            let term = Some(node.term);
            node.told_term = term;
            self.says.push(Says::Leadership { slot, term });
            self.pump(turn, slot);
        }
    }

    fn take_image(&mut self, turn: &Turn<'_>, slot: Slot) {
        let every = self.settings.snapshot_every.max(1);
        let Some(node) = self.nodes.get_mut(&slot) else {
            return;
        };
        let taken = next_of(node.image.as_ref().map(|image| image.last.index));
        if node.is_imaging || next_of(node.applied) < taken + every {
            return;
        }
        let Some(last) = node.applied.and_then(|index| node.id_at(index)) else {
            return;
        };
        node.is_imaging = true;
        let members = node.group_at(last.index);
        let map = Arc::clone(&node.map);
        let image = Image { last, members, map };
        let written = self.on_disk(slot, |node| {
            image.write(&node.disk)?;
            Ok(node.disk.mark())
        });
        if let Some(mark) = written {
            self.settle_later(turn.now, slot, mark, Then::Imaged(Box::new(image)));
        }
    }

    pub(super) fn imaged(&mut self, slot: Slot, image: Image) {
        let kept = self.settings.kept;
        self.on_disk(slot, |node| {
            node.is_imaging = false;
            let upto = image.last.index.checked_sub(kept);
            node.image = Some(image);
            match upto.and_then(|upto| node.id_at(upto)) {
                Some(upto) if upto.index >= node.first_index() => node.purge(upto),
                _ => Ok(()),
            }
        });
    }
}

fn state_after(map: &Arc<ClusterMap>, entry: &Entry) -> State {
    let Some(command) = command(entry) else {
        return State {
            map: Arc::clone(map),
            answer: None,
        };
    };
    let mut next = ClusterMap::clone(map);
    let answer: EntryAnswer = Some(next.apply_in_term(entry.id().term, &command));
    // What changed nothing needs no new map.
    let is_same = next.version == map.version;
    let map = if is_same {
        Arc::clone(map)
    } else {
        Arc::new(next)
    };
    State { map, answer }
}
