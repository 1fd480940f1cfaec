//! Writes that a replica did not acknowledge, kept by their coordinator for when it is back. They
//! save time, nothing rests on them: they are lost with the process and dropped beyond a budget,
//! and anti-entropy finds what they would have brought. Knows nothing of quorums.

use std::collections::BTreeMap;

use bytes::Bytes;
use tablestore_placement::{PartitionId, StorageId};

use super::row::Row;
use super::settings::Settings;
use crate::types::Now;

/// A write for one replica.
#[derive(Clone, Debug)]
pub(crate) struct Hint {
    pub(crate) partition: PartitionId,
    pub(crate) key: Bytes,
    pub(crate) change: Row,
}

impl Hint {
    fn size(&self) -> usize {
        self.key.len() + self.change.size()
    }
}

#[derive(Debug, Default)]
struct Queue {
    hints: BTreeMap<u64, Hint>,
    next_at: Now,
    /// Something was acknowledged since the last batch.
    moves: bool,
}

/// What became of hints so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HintStatus {
    /// Hints that are kept.
    pub kept: usize,
    /// Bytes of them.
    pub bytes: usize,
    /// Hints that were dropped since the budget was spent.
    pub dropped: u64,
    /// Hints that a replica has taken.
    pub replayed: u64,
    /// Hints that came too late, or for a replica that is none any more.
    pub refused: u64,
}

/// All hints of a node.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    queues: BTreeMap<StorageId, Queue>,
    status: HintStatus,
}

impl Hints {
    pub(crate) fn status(&self) -> HintStatus {
        self.status
    }

    /// Keeps a hint if the budget allows.
    pub(crate) fn keep(
        &mut self,
        settings: &Settings,
        now: Now,
        member: StorageId,
        number: u64,
        hint: Hint,
    ) {
        let size = hint.size();
        if self.status.bytes + size > settings.hint_bytes_max {
            self.status.dropped += 1;
            return;
        }
        let queue = self.queues.entry(member).or_insert_with(|| Queue {
            next_at: now + settings.hint_replay_every,
            ..Queue::default()
        });
        queue.hints.insert(number, hint);
        self.status.bytes += size;
        self.status.kept += 1;
    }

    /// The replica has it.
    pub(crate) fn taken(&mut self, member: StorageId, number: u64) -> bool {
        let is_known = self.forget(member, number);
        self.status.replayed += u64::from(is_known);
        is_known
    }

    /// The replica will never take it.
    pub(crate) fn refused(&mut self, member: StorageId, number: u64) {
        let is_known = self.forget(member, number);
        self.status.refused += u64::from(is_known);
    }

    /// The member answers again, or for the first time.
    pub(crate) fn hurry(&mut self, now: Now, member: StorageId) {
        if let Some(queue) = self.queues.get_mut(&member) {
            queue.next_at = queue.next_at.min(now);
        }
    }

    /// What is to be sent now: the oldest hints of every member whose pause is over.
    pub(crate) fn due(&mut self, settings: &Settings, now: Now) -> Vec<(StorageId, u64, Hint)> {
        let mut batch = Vec::new();
        for (member, queue) in &mut self.queues {
            if queue.next_at > now {
                continue;
            }
            let pause = if std::mem::take(&mut queue.moves) {
                settings.hint_replay_every
            } else {
                settings.resend_after
            };
            queue.next_at = now + pause;
            let oldest = queue.hints.iter().take(settings.hints_in_flight_max);
            batch.extend(oldest.map(|(number, hint)| (*member, *number, hint.clone())));
        }
        batch
    }

    pub(crate) fn deadline(&self) -> Option<Now> {
        self.queues.values().map(|queue| queue.next_at).min()
    }

    fn forget(&mut self, member: StorageId, number: u64) -> bool {
        let Some(queue) = self.queues.get_mut(&member) else {
            return false;
        };
        let Some(hint) = queue.hints.remove(&number) else {
            return false;
        };
        queue.moves = true;
        self.status.bytes -= hint.size();
        self.status.kept -= 1;
        if queue.hints.is_empty() {
            self.queues.remove(&member);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tablestore_placement::TableId;

    use super::*;
    use crate::active::clock::Version;

    fn hint() -> Hint {
        Hint {
            partition: PartitionId::new(TableId(1), 0),
            key: Bytes::from_static(b"key"),
            change: Row::delete(Version::default()),
        }
    }

    #[test]
    fn beyond_the_budget_hints_are_dropped_and_counted() {
        let settings = Settings {
            hint_bytes_max: 2 * hint().size(),
            ..Settings::default()
        };
        let mut hints = Hints::default();
        for number in 0..3 {
            hints.keep(&settings, Duration::ZERO, StorageId(1), number, hint());
        }
        let status = hints.status();
        assert_eq!((status.kept, status.dropped), (2, 1));
        assert!(hints.taken(StorageId(1), 0) && !hints.taken(StorageId(1), 0));
        hints.keep(&settings, Duration::ZERO, StorageId(1), 4, hint());
        assert_eq!(hints.status().kept, 2);
    }

    #[test]
    fn replay_is_paced() {
        let settings = Settings::default();
        let mut hints = Hints::default();
        let count = 3 * settings.hints_in_flight_max;
        for number in 0..count as u64 {
            hints.keep(&settings, Duration::ZERO, StorageId(1), number, hint());
        }
        let at = settings.hint_replay_every;
        let batch = hints.due(&settings, at);
        assert_eq!(batch.len(), settings.hints_in_flight_max);
        assert!(hints.due(&settings, at).is_empty());
        assert_eq!(hints.deadline(), Some(at + settings.resend_after));
    }
}
