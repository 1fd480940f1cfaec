//! Which partitions are flushed next: a plain state machine without clock and disk.
//!
//! First those whose rows hold back the oldest segment of the journal, the one that has waited
//! longest before the others; and whatever they want, the largest go while memory is short. What a
//! flush cannot help is left out, so that it never stands in the way of another.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use tablestore_placement::PartitionId;

use crate::mutant::{Mutant, Sabotage};
use crate::settings::Settings;

/// Flushes under way at once.
const FLUSHING_MAX: usize = 4;

/// A partition that may be flushed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) partition: PartitionId,
    /// Bytes in memory that are in no file yet.
    pub(crate) unflushed_bytes: u64,
    /// Applied up to here, and durable in the engine up to there.
    pub(crate) applied: u64,
    pub(crate) checkpointed: u64,
    /// The oldest segment of the journal can be used again only when it is durable up to here.
    pub(crate) mark: Option<u64>,
}

impl Candidate {
    fn has_unflushed(&self) -> bool {
        self.checkpointed < self.applied
    }

    fn is_below_its_mark(&self) -> bool {
        self.mark.is_some_and(|mark| self.checkpointed < mark)
    }
}

/// How urgent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Keep memory below this, and the journal short.
    Bounds { memory_max: u64 },
    /// Flush everything: the node is about to end.
    Everything,
}

/// Flushes under way, and whose turn it was when.
#[derive(Debug, Default)]
pub(crate) struct Flushing {
    /// Partitions that something was applied to since they were last flushed, with their bytes in
    /// memory after that.
    unflushed: BTreeMap<PartitionId, u64>,
    /// The sum of those bytes.
    unflushed_bytes: u64,
    /// Something that a choice depends on has changed since the last one.
    changed: bool,
    /// Who keeps the oldest segment of the journal, each until it is durable up to this index.
    held: BTreeMap<u64, u64>,
    under_way: BTreeSet<PartitionId>,
    turns: u64,
    last_turn: BTreeMap<PartitionId, u64>,
    sabotage: Sabotage,
}

impl Flushing {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            sabotage: settings.sabotage(),
            ..Self::default()
        }
    }

    /// Something was applied to the rows of the partition, which now have so many bytes in memory.
    pub(crate) fn applied(&mut self, partition: PartitionId, bytes: u64) {
        let before = self.unflushed.insert(partition, bytes).unwrap_or(0);
        self.unflushed_bytes = (self.unflushed_bytes - before).saturating_add(bytes);
        self.changed = true;
    }

    /// All that was applied to the partition is flushed.
    pub(crate) fn all_flushed(&mut self, partition: PartitionId) {
        if !self.sabotage.has(Mutant::StarvedFlush) {
            self.remove(partition);
        }
    }

    fn remove(&mut self, partition: PartitionId) {
        self.unflushed_bytes -= self.unflushed.remove(&partition).unwrap_or(0);
    }

    /// Whether a choice may come to anything: to look at all partitions costs what they are, and
    /// is done only where memory may be short or the journal long. The bytes of what is being
    /// flushed count here, so this asks for a look rather too often.
    pub(crate) fn may_be_due(&self, need: Need) -> bool {
        match need {
            Need::Everything => true,
            Need::Bounds { memory_max } => {
                self.changed && (self.unflushed_bytes > memory_max || !self.held.is_empty())
            }
        }
    }

    /// The partitions that may have something to flush.
    pub(crate) fn unflushed(&self) -> impl Iterator<Item = PartitionId> + '_ {
        self.unflushed.keys().copied()
    }

    /// The journal says who keeps its oldest segment.
    pub(crate) fn held(&mut self, held: BTreeMap<u64, u64>) {
        self.held = held;
        self.changed = true;
    }

    /// Up to which index the partition is to be durable for the journal's sake.
    pub(crate) fn mark(&self, partition: PartitionId) -> Option<u64> {
        self.held.get(&partition.to_u64()).copied()
    }

    /// Chooses whom to flush now; those chosen are under way until [`ended`](Self::ended).
    pub(crate) fn choose(&mut self, candidates: &[Candidate], need: Need) -> Vec<PartitionId> {
        self.changed = false;
        // What is being flushed will not be in memory for long.
        let starves = self.sabotage.has(Mutant::StarvedFlush);
        let idle = |one: &&Candidate| !self.under_way.contains(&one.partition);
        let idle = candidates.iter().filter(idle);
        let mut left: u64 = idle.clone().map(|one| one.unflushed_bytes).sum();
        let mut free: Vec<&Candidate> = idle
            .filter(|one| one.has_unflushed() || (starves && one.is_below_its_mark()))
            .collect();
        let last_turn = |one: &Candidate| self.last_turn.get(&one.partition).copied();
        let turn = |one: &Candidate| last_turn(one).filter(|_| !starves).unwrap_or(0);
        let mut slots = FLUSHING_MAX.saturating_sub(self.under_way.len());
        let mut chosen = Vec::new();
        let is_short = |left: u64| match need {
            Need::Bounds { memory_max } => left > memory_max,
            Need::Everything => left > 0,
        };
        // One slot at least is for memory, however long the journal is.
        let for_journal = slots.saturating_sub(usize::from(is_short(left) && slots > 1));
        free.sort_by_key(|one| (!one.is_below_its_mark(), turn(one), one.partition));
        for one in free
            .iter()
            .take(for_journal)
            .filter(|one| one.is_below_its_mark())
        {
            chosen.push(one.partition);
            left = left.saturating_sub(one.unflushed_bytes);
        }
        slots -= chosen.len();
        free.retain(|one| !chosen.contains(&one.partition));
        free.sort_by_key(|one| (Reverse(one.unflushed_bytes), one.partition));
        for one in free.into_iter().take(slots) {
            if !is_short(left) && need != Need::Everything {
                break;
            }
            chosen.push(one.partition);
            left = left.saturating_sub(one.unflushed_bytes);
        }
        for partition in &chosen {
            self.turns += 1;
            self.last_turn.insert(*partition, self.turns);
            self.under_way.insert(*partition);
        }
        chosen
    }

    /// A flush came to its end, well or not, or the partition is here no more.
    pub(crate) fn ended(&mut self, partition: PartitionId) {
        self.under_way.remove(&partition);
        self.changed = true;
    }

    /// Nothing is known of the partition any more.
    pub(crate) fn forget(&mut self, partition: PartitionId) {
        self.under_way.remove(&partition);
        self.last_turn.remove(&partition);
        self.remove(partition);
        self.changed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tablestore_placement::TableId;

    const BOUNDS: Need = Need::Bounds { memory_max: 100 };

    fn partition(number: u32) -> PartitionId {
        PartitionId::new(TableId(1), number)
    }

    fn candidate(number: u32, unflushed_bytes: u64, mark: Option<u64>) -> Candidate {
        Candidate {
            partition: partition(number),
            unflushed_bytes,
            applied: 10,
            checkpointed: 0,
            mark,
        }
    }

    /// Flushes in rounds; whoever is flushed is durable up to what it applied.
    fn run(candidates: &mut [Candidate], rounds: usize) -> BTreeSet<PartitionId> {
        let (mut flushing, mut all) = (Flushing::default(), BTreeSet::new());
        for _ in 0..rounds {
            let chosen = flushing.choose(candidates, BOUNDS);
            assert!(chosen.len() <= FLUSHING_MAX);
            for partition in chosen {
                flushing.ended(partition);
                all.insert(partition);
                for one in candidates.iter_mut().filter(|c| c.partition == partition) {
                    (one.checkpointed, one.unflushed_bytes) = (one.applied, 0);
                }
            }
        }
        all
    }

    #[test]
    fn l31_all_that_hold_the_oldest_segment_are_flushed_not_the_first_four_for_ever() {
        let mut candidates: Vec<_> = (0..32).map(|n| candidate(n, 3, Some(5))).collect();
        assert_eq!(run(&mut candidates, 8).len(), 32);
    }

    #[test]
    fn l31_who_is_written_without_end_does_not_keep_the_others_from_their_turn() {
        let mut flushing = Flushing::default();
        let candidates: Vec<_> = (0..9).map(|n| candidate(n, 3, Some(5))).collect();
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            for partition in flushing.choose(&candidates, BOUNDS) {
                flushing.ended(partition);
                seen.insert(partition);
            }
        }
        assert_eq!(
            seen.len(),
            9,
            "each in its turn, though all stay below their mark"
        );
    }

    #[test]
    fn what_a_flush_cannot_help_is_left_out() {
        let mut held = candidate(1, 0, Some(50));
        held.checkpointed = held.applied;
        let mut durable = candidate(2, 3, Some(5));
        durable.checkpointed = 5;
        let mut flushing = Flushing::default();
        let chosen = flushing.choose(&[held, durable, candidate(3, 3, Some(5))], BOUNDS);
        assert_eq!(chosen, [partition(3)]);
    }

    #[test]
    fn the_memory_bound_counts_though_the_journal_is_long() {
        let mut candidates: Vec<_> = (0..32).map(|n| candidate(n, 3, Some(5))).collect();
        candidates.push(candidate(40, 500, None));
        let mut flushing = Flushing::default();
        let chosen = flushing.choose(&candidates, BOUNDS);
        assert_eq!(chosen.len(), FLUSHING_MAX);
        assert!(chosen.contains(&partition(40)));
        // It is on its way out of memory, so the others have their turn.
        flushing.ended(chosen[0]);
        assert_eq!(flushing.choose(&candidates, BOUNDS).len(), 1);
    }

    #[test]
    fn as_many_of_the_largest_go_as_memory_asks_for() {
        let candidates: Vec<_> = (0..8)
            .map(|n| candidate(n, u64::from(n) * 10, None))
            .collect();
        let mut flushing = Flushing::default();
        // 280 in all: 70, 60 and 50 leave 100.
        let chosen = flushing.choose(&candidates, BOUNDS);
        assert_eq!(chosen, [partition(7), partition(6), partition(5)]);
        assert!(flushing.choose(&candidates, BOUNDS).is_empty());
    }

    #[test]
    fn all_are_looked_at_only_when_memory_may_be_short_or_the_journal_long() {
        let mut flushing = Flushing::default();
        (0..9).for_each(|number| flushing.applied(partition(number), 10));
        flushing.applied(partition(0), 20);
        assert!(!flushing.may_be_due(BOUNDS), "100 of 100 bytes");
        assert!(flushing.may_be_due(Need::Everything));
        flushing.applied(partition(1), 11);
        assert!(flushing.may_be_due(BOUNDS));
        let none = flushing.choose(&[], BOUNDS);
        assert!(none.is_empty() && !flushing.may_be_due(BOUNDS), "as before");
        flushing.ended(partition(1));
        assert!(flushing.may_be_due(BOUNDS));
        flushing.forget(partition(1));
        assert!(!flushing.may_be_due(BOUNDS));
        flushing.held(BTreeMap::from([(partition(2).to_u64(), 1)]));
        assert!(flushing.may_be_due(BOUNDS));
    }

    #[test]
    fn at_the_end_everything_is_flushed() {
        let candidates: Vec<_> = (0..6).map(|n| candidate(n, 1, None)).collect();
        let mut flushing = Flushing::default();
        assert!(flushing.choose(&candidates, BOUNDS).is_empty());
        assert_eq!(flushing.choose(&candidates, Need::Everything).len(), 4);
        flushing.ended(partition(0));
        assert_eq!(flushing.choose(&candidates, Need::Everything).len(), 1);
    }
}
