//! What a replica has in every role: its log, its marks, the records on their way to the disk.
//! Knows nothing of who is primary nor of what messages mean.

use std::collections::{BTreeMap, VecDeque};

use tablestore_placement::{Epoch, Office, StorageId};

use crate::entry::{Entry, EntryBody};
use crate::history::EpochHistory;
use crate::log_clock::LogClock;
use crate::message::Message;
use crate::output::{Output, PersistRecord};
use crate::persist::Pending;
use crate::remembered::RememberedTable;
use crate::replica::apply::{Applying, LogReads};
use crate::settings::Settings;
use crate::tail::Tail;
use crate::types::{Now, PartitionMeta, Recovered, View};

/// Log, marks and outputs of a replica.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) me: Office,
    pub(crate) now: Now,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) view: Option<View>,
    /// The newest epoch adopted; durable once `adopted_token` is.
    pub(crate) adopted: Epoch,
    pub(crate) adopted_token: u64,
    pub(crate) history: EpochHistory,
    pub(crate) tail: Tail,
    /// The first index in the journal.
    pub(crate) first: u64,
    pub(crate) pending: Pending,
    pub(crate) commit: u64,
    /// The commit mark of the last meta record, and when that was written.
    commit_recorded: (u64, Now),
    pub(crate) applied: u64,
    pub(crate) applying: Applying,
    pub(crate) log_reads: LogReads,
    pub(crate) remembered: RememberedTable,
    pub(crate) log_clock: LogClock,
    #[cfg(feature = "mutants")]
    pub(crate) wall_ms: u64,
    /// Messages that may go only when everything up to a token is durable.
    held: VecDeque<(u64, StorageId, Message)>,
    /// Entries between the engine's state and the log are missing: only a snapshot helps.
    pub(crate) hollow: bool,
    /// It was opened empty, outside the in-sync set, and has told no primary so yet: whoever counts
    /// on it counts on an earlier replica, which was sent away.
    pub(crate) unproven: bool,
    /// A snapshot is being switched in.
    pub(crate) installing: bool,
    /// Members whose data session is lost, and since when.
    pub(crate) down: BTreeMap<StorageId, Now>,
    /// Members to which so much is on its way already that more has to wait.
    pub(crate) crowded: Vec<StorageId>,
    /// Set for good by a failed sync or a broken invariant.
    pub(crate) stopped: bool,
}

impl Core {
    pub(crate) fn new(settings: Settings, me: Office, recovered: Recovered) -> Self {
        let mut remembered = RememberedTable::new(settings.remember_for, settings.remember_min);
        remembered.reserve(recovered.remembered.len());
        recovered.remembered.iter().for_each(|r| remembered.push(r));
        let Recovered {
            meta,
            first,
            applied,
            ..
        } = recovered;
        let hollow = applied > meta.end || first > applied + 1;
        let commit = meta.commit.max(applied).min(meta.end);
        Self {
            settings,
            me,
            now: Now::ZERO,
            outputs: VecDeque::new(),
            view: None,
            adopted: meta.adopted,
            adopted_token: 0,
            history: EpochHistory::new(meta.history),
            tail: Tail::new(meta.end),
            first,
            pending: Pending::new(meta.end),
            commit,
            commit_recorded: (commit, Now::ZERO),
            applied,
            applying: Applying::default(),
            log_reads: LogReads::default(),
            log_clock: LogClock::recovered(remembered.newest_ms()),
            #[cfg(feature = "mutants")]
            wall_ms: 0,
            remembered,
            held: VecDeque::new(),
            hollow,
            unproven: false,
            installing: false,
            down: BTreeMap::new(),
            crowded: Vec::new(),
            stopped: false,
        }
    }

    /// The log end.
    pub(crate) fn end(&self) -> u64 {
        self.tail.end()
    }

    pub(crate) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn send(&mut self, to: StorageId, message: Message) {
        self.outputs.push_back(Output::Send { to, message });
    }

    /// Sends as soon as everything up to `token` is durable.
    pub(crate) fn send_when_durable(&mut self, token: u64, to: StorageId, message: Message) {
        if self.pending.is_durable(token) {
            self.send(to, message);
        } else {
            self.held.push_back((token, to, message));
        }
    }

    /// The journal reports.
    pub(crate) fn persisted(&mut self, token: u64) {
        self.pending.persisted(token);
        // Tokens in `held` rise but for confirmations of an adoption, so all are looked at;
        // there are as many as unanswered requests of one primary.
        for _ in 0..self.held.len() {
            let Some((token, to, message)) = self.held.pop_front() else {
                break;
            };
            if self.pending.is_durable(token) {
                self.send(to, message);
            } else {
                self.held.push_back((token, to, message));
            }
        }
    }

    /// What must be kept beside the entries, as of now.
    pub(crate) fn meta(&self) -> PartitionMeta {
        PartitionMeta {
            adopted: self.adopted,
            end: self.end(),
            history: self.history.starts().to_vec(),
            commit: self.commit.min(self.end()),
        }
    }

    pub(crate) fn persist_meta(&mut self) -> u64 {
        let token = self.pending.record();
        let meta = self.meta();
        self.commit_recorded = (meta.commit, self.now);
        let record = PersistRecord::Meta(meta);
        self.output(Output::Persist { token, record });
        token
    }

    /// When the commit mark is to be written down next; `None` while the last record has it.
    pub(crate) fn record_commit_at(&self) -> Option<Now> {
        let (recorded, at) = self.commit_recorded;
        (self.commit > recorded && !self.installing).then(|| at + self.settings.record_commit_every)
    }

    /// Writes the commit mark down now and then, so that after a crash the host can apply what
    /// was known to be committed before it says that it is there.
    pub(crate) fn record_commit(&mut self) {
        if self.record_commit_at().is_some_and(|at| at <= self.now) {
            self.persist_meta();
        }
    }

    /// Adopts a newer epoch: older ones are refused from here on.
    pub(crate) fn adopt(&mut self, epoch: Epoch) {
        debug_assert!(epoch > self.adopted, "epochs rise");
        self.adopted = epoch;
        // What was held answers to an older epoch.
        self.held.clear();
        self.adopted_token = self.persist_meta();
    }

    /// The log's time for an entry that is written now.
    pub(crate) fn stamp(&mut self) -> u64 {
        #[cfg(feature = "mutants")]
        if self.settings.has(crate::Mutant::LeapingClock) {
            self.log_clock.applied(self.wall_ms, self.now);
        }
        self.log_clock.stamp(self.now)
    }

    /// Puts an entry at the log end and on its way to the disk.
    pub(crate) fn append(&mut self, entry: Entry) {
        self.history.note(entry.epoch, entry.index);
        let token = self.pending.entry(entry.index);
        self.tail.push(entry.clone());
        let record = PersistRecord::Entry(entry);
        self.output(Output::Persist { token, record });
    }

    /// Puts an entry of the primary at the end of the log.
    pub(crate) fn append_received(&mut self, entry: Entry) {
        if let EntryBody::Write { log_ms, .. } | EntryBody::Time { log_ms } = entry.body() {
            self.log_clock.received(log_ms, self.now);
        }
        self.append(entry);
    }

    /// Cuts the log behind `end`, durably.
    pub(crate) fn truncate(&mut self, end: u64) {
        self.tail.truncate(end);
        self.history.truncate(end);
        self.pending.truncate(end);
        self.persist_meta();
    }

    /// Raises the commit mark, never beyond the log end.
    pub(crate) fn commit_to(&mut self, commit: u64) {
        self.commit = self.commit.max(commit.min(self.end()));
    }

    /// Frees memory that is not needed.
    pub(crate) fn trim_memory(&mut self) {
        self.tail
            .evict(self.settings.tail_bytes_max, self.pending.durable());
        if self.history.starts().len() > self.settings.history_max {
            // A snapshot shows what is applied and must carry the epoch of that.
            let below = self.applied.min(self.commit);
            self.history.prune(self.settings.history_max, below);
        }
    }

    /// Whether the map's newest view, as far as it belongs to the adopted epoch, has this
    /// replica in sync.
    pub(crate) fn is_in_sync_member(&self) -> bool {
        let me = self.me.member;
        self.view
            .as_ref()
            .is_some_and(|view| view.assignment.in_sync.contains(&me))
    }

    /// The primary, as far as this replica knows one for the newest epoch.
    pub(crate) fn primary_known(&self) -> Option<StorageId> {
        let view = self.view.as_ref()?;
        let primary = view.assignment.primary?;
        let current = view.assignment.epoch == self.adopted && primary != self.me;
        current.then_some(primary.member)
    }

    /// Stops for good: an invariant is broken.
    pub(crate) fn halt(&mut self, invariant: &str) {
        if !self.stopped {
            self.stopped = true;
            self.held.clear();
            self.output(Output::Halted {
                invariant: invariant.to_owned(),
            });
        }
    }

    /// Stops for good: what is on the disk is not known.
    pub(crate) fn storage_failed(&mut self) {
        self.stopped = true;
        self.held.clear();
    }
}
