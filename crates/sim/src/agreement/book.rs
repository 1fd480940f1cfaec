//! What was ever committed and who ever led, as nobody but the simulation knows it; notes the
//! first thing that must not have happened. Knows nothing of nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use tablestore_placement::{Applied, ClusterMap, Refused, StorageId};
use tablestore_store::maplog::EntryId;

/// What applying one entry answered; none if it carried no command.
pub(super) type EntryAnswer = Option<Result<Applied, Refused>>;

/// The map behind one entry.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) map: Arc<ClusterMap>,
    pub(super) answer: EntryAnswer,
}

/// The one true log.
#[derive(Debug, Default)]
pub(super) struct Book {
    committed: Vec<EntryId>,
    /// In the term of which leader each of them was committed; that of its own or a later one.
    committed_in: Vec<u64>,
    states: Vec<State>,
    leaders: BTreeMap<u64, StorageId>,
    broken: Option<String>,
}

impl Book {
    /// The first rule that was broken.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    pub(super) fn report(&mut self, what: impl FnOnce() -> String) {
        self.broken.get_or_insert_with(what);
    }

    /// The leader of a term has committed an entry. Says whether that is new.
    pub(super) fn commit(&mut self, id: EntryId, term: u64) -> bool {
        if let Some(before) = self.at(id.index) {
            if before != id {
                self.report(|| format!("{before} was committed and became {id}"));
            }
            return false;
        }
        let last = self.committed.last().copied();
        let due = self.committed.len() as u64;
        if id.index != due || last.is_some_and(|last| last.term > id.term) {
            self.report(|| format!("{id} was committed behind {last:?}"));
            return false;
        }
        self.committed.push(id);
        self.committed_in.push(term);
        true
    }

    /// The committed entry with this index.
    pub(super) fn at(&self, index: u64) -> Option<EntryId> {
        self.committed.get(usize::try_from(index).ok()?).copied()
    }

    pub(super) fn last(&self) -> Option<EntryId> {
        self.committed.last().copied()
    }

    /// Whether something was committed that no node has applied yet.
    pub(super) fn has_unapplied(&self) -> bool {
        self.states.len() < self.committed.len()
    }

    /// Whether this entry can never be committed any more.
    pub(super) fn is_dead(&self, id: EntryId) -> bool {
        self.at(id.index).is_some_and(|other| other != id)
    }

    /// The newest term in which someone led.
    pub(super) fn newest_term(&self) -> u64 {
        self.leaders.last_key_value().map_or(0, |(term, _)| *term)
    }

    /// Someone leads; `has` says which entry its log has at an index.
    pub(super) fn lead(
        &mut self,
        term: u64,
        leader: StorageId,
        has: impl Fn(u64) -> Option<EntryId>,
    ) {
        let before = *self.leaders.entry(term).or_insert(leader);
        if before != leader {
            self.report(|| format!("{before} and {leader} lead in term {term}"));
        }
        // One that was elected late, when newer leaders have led, needs not have what is theirs.
        let older = self.committed_in.partition_point(|other| *other < term);
        if let Some(last) = self.committed[..older].last().copied()
            && has(last.index) != Some(last)
        {
            self.report(|| format!("{leader} leads in term {term} without {last}"));
        }
    }

    /// The state behind an entry: as it was computed first, or now from the state before.
    pub(super) fn apply(
        &mut self,
        id: EntryId,
        before: &Arc<ClusterMap>,
        compute: impl FnOnce(&Arc<ClusterMap>) -> State,
    ) -> State {
        if self.at(id.index) != Some(id) {
            self.report(|| format!("{id} was applied and is not committed"));
            return compute(before);
        }
        if let Some(known) = self.state(id.index) {
            return known.clone();
        }
        let state = compute(before);
        if self.states.len() as u64 == id.index {
            self.states.push(state.clone());
        } else {
            self.report(|| format!("{id} was applied before its predecessors"));
        }
        state
    }

    pub(super) fn state(&self, index: u64) -> Option<&State> {
        self.states.get(usize::try_from(index).ok()?)
    }
}
