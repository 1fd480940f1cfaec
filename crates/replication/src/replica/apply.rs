//! Committed entries on their way to the state machine, and entries read back from the journal
//! when memory no longer has them. Knows nothing of roles but that a primary answers clients.

use tablestore_placement::StorageId;

use crate::entry::{Entry, EntryBody};
use crate::output::Output;
use crate::replica::Replica;
use crate::replica::core::Core;
use crate::types::{Now, Outcome, Remembered, RequestId};

/// What one entry in an apply batch was.
#[derive(Clone, Copy, Debug)]
enum AppliedKind {
    Write {
        request: RequestId,
        digest: u64,
        log_ms: u64,
    },
    Checksum {
        id: u64,
    },
    Time {
        log_ms: u64,
    },
    Other,
}

/// The batch that the host is applying.
#[derive(Debug, Default)]
pub(crate) struct Applying {
    /// In log order, from `applied + 1`.
    kinds: Vec<AppliedKind>,
}

impl Applying {
    fn is_idle(&self) -> bool {
        self.kinds.is_empty()
    }
}

/// For whom the journal is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadFor {
    Apply,
    Follower(StorageId),
}

/// After so many reads in a row that gave nothing back, each [`RESEND_AFTER`](crate::RESEND_AFTER)
/// after the one before, the journal has lost what it took.
const READS_IN_VAIN_MAX: u32 = 20;

/// At most one read of the journal is under way.
#[derive(Debug, Default)]
pub(crate) struct LogReads {
    asked: Option<(u64, ReadFor)>,
    /// After an empty answer the journal is left alone until then.
    not_before: Option<Now>,
    /// Reads in a row that gave nothing back.
    in_vain: u32,
}

impl LogReads {
    pub(crate) fn deadline(&self) -> Option<Now> {
        self.not_before
    }

    pub(crate) fn tick(&mut self, now: Now) {
        if self.not_before.is_some_and(|at| at <= now) {
            self.not_before = None;
        }
    }

    /// What the journal took cannot be read back.
    pub(crate) fn are_in_vain(&self) -> bool {
        self.in_vain >= READS_IN_VAIN_MAX
    }
}

impl Core {
    /// Asks for entries from `from` to `to` if no other read is under way.
    pub(crate) fn read_log(&mut self, from: u64, to: u64, purpose: ReadFor) {
        if self.log_reads.asked.is_some() || self.log_reads.not_before.is_some() {
            return;
        }
        let to = to.min(self.pending.durable());
        if from > to || from < self.first {
            return;
        }
        self.log_reads.asked = Some((from, purpose));
        let bytes_max = self.settings.read_log_bytes_max;
        self.output(Output::ReadLog {
            from,
            to,
            bytes_max,
        });
    }

    /// Takes the answer of a read: for whom it was and the entries that are still of the log.
    pub(crate) fn take_log_read(
        &mut self,
        from: u64,
        mut entries: Vec<Entry>,
    ) -> Option<(ReadFor, Vec<Entry>)> {
        let (asked_from, purpose) = self.log_reads.asked.take_if(|asked| asked.0 == from)?;
        self.log_reads.in_vain = match entries.is_empty() {
            true => self.log_reads.in_vain + 1,
            false => 0,
        };
        let durable = self.pending.durable();
        let good = (asked_from..)
            .zip(&entries)
            .take_while(|(index, entry)| {
                entry.index == *index
                    && *index <= durable
                    && self.history.may_have(entry.epoch, *index)
            })
            .count();
        entries.truncate(good);
        if entries.is_empty() {
            self.log_reads.not_before = Some(self.now + self.settings.resend_after);
        }
        Some((purpose, entries))
    }

    /// Hands the next committed entries to the state machine.
    pub(crate) fn apply_more(&mut self) {
        let limit = self.commit.min(self.pending.durable());
        if !self.applying.is_idle() || self.hollow || self.installing || self.applied >= limit {
            return;
        }
        let (bytes, count) = (
            self.settings.read_log_bytes_max,
            self.settings.apply_entries_max,
        );
        let entries = self.tail.range(self.applied + 1, limit, bytes, count);
        if entries.is_empty() {
            self.read_log(self.applied + 1, limit, ReadFor::Apply);
        } else {
            self.emit_apply(entries);
        }
    }

    /// Entries that were read back for the state machine.
    pub(crate) fn apply_read(&mut self, mut entries: Vec<Entry>) {
        let limit = self.commit.min(self.pending.durable());
        let follows = entries
            .first()
            .is_some_and(|first| first.index == self.applied + 1);
        if !follows || !self.applying.is_idle() || self.hollow || self.installing {
            return;
        }
        entries.truncate((limit - self.applied.min(limit)) as usize);
        if !entries.is_empty() {
            self.emit_apply(entries);
        }
    }

    /// A batch ends behind a checksum mark, so that the engine stands exactly there.
    fn emit_apply(&mut self, mut entries: Vec<Entry>) {
        let mut mark = None;
        for (at, entry) in entries.iter().enumerate() {
            let kind = match entry.body() {
                EntryBody::Write {
                    log_ms,
                    request,
                    digest,
                    ..
                } => AppliedKind::Write {
                    request,
                    digest,
                    log_ms,
                },
                EntryBody::Checksum { id } => AppliedKind::Checksum { id },
                EntryBody::Time { log_ms } => AppliedKind::Time { log_ms },
                EntryBody::EpochStart | EntryBody::Unknown => AppliedKind::Other,
            };
            self.applying.kinds.push(kind);
            if matches!(kind, AppliedKind::Checksum { .. }) {
                mark = Some(at);
                break;
            }
        }
        if let Some(mark) = mark {
            entries.truncate(mark + 1);
        }
        self.output(Output::Apply { entries });
    }
}

impl Replica {
    /// The host applied the batch.
    pub(crate) fn on_applied(&mut self, results: &[(u64, Outcome)]) {
        let mut results = results.iter();
        let mut kinds = std::mem::take(&mut self.core.applying.kinds);
        for kind in kinds.drain(..) {
            let index = self.core.applied + 1;
            self.core.applied = index;
            match kind {
                AppliedKind::Write {
                    request,
                    digest,
                    log_ms,
                } => {
                    let Some((_, outcome)) = results.next().filter(|result| result.0 == index)
                    else {
                        self.halt("every applied write has an outcome");
                        return;
                    };
                    let remembered = Remembered {
                        request,
                        digest,
                        index,
                        log_ms,
                        outcome: *outcome,
                    };
                    let now = self.core.now;
                    self.core.log_clock.applied(log_ms, now);
                    self.core.remembered.push(&remembered);
                    if let Some(primary) = &mut self.primary {
                        primary.write_applied(&mut self.core, &remembered);
                    }
                }
                AppliedKind::Checksum { id } => {
                    self.core.output(Output::ChecksumDue { id, index });
                }
                AppliedKind::Time { log_ms } => {
                    self.core.log_clock.applied(log_ms, self.core.now);
                    self.core.remembered.pass(log_ms);
                }
                AppliedKind::Other => {}
            }
        }
        // Keeps the allocation for the next batch.
        self.core.applying.kinds = kinds;
    }
}
