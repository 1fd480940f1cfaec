//! One node: its log and vote on its disk, and what it believes. Knows nothing of other nodes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;

use tablestore_placement::{ClusterMap, StorageId};
use tablestore_store::maplog::{Entry, EntryId, EntryKind, LogFile, MapLog, Vote};
use tablestore_store::testing::{Failing, SimDisk, SimMark};

use super::image::Image;
use super::members::Members;

/// What a node does in its term.
#[derive(Debug)]
pub(super) enum Role {
    Follower,
    /// It stands; these have given it their vote durably.
    Candidate {
        votes: BTreeSet<StorageId>,
    },
    Leader(Leader),
}

/// What a leader knows.
#[derive(Debug)]
pub(super) struct Leader {
    /// Its first entry; it may act once that is applied.
    pub(super) blank: EntryId,
    /// Up to which index each node has its log durably.
    pub(super) matched: BTreeMap<StorageId, u64>,
    /// When each node last answered.
    pub(super) heard: BTreeMap<StorageId, u64>,
    /// The proposals in its log that are not applied, by index.
    pub(super) waiting: BTreeMap<u64, u64>,
    /// Those that wait for their turn; of each whether it wants to be alone.
    pub(super) queue: VecDeque<(u64, bool)>,
    /// One of them is under way alone.
    pub(super) is_alone: bool,
}

/// A node that runs.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) storage: StorageId,
    pub(super) life: u64,
    pub(super) disk: SimDisk,
    pub(super) file: LogFile,
    pub(super) log: MapLog,
    pub(super) sync_us: u64,
    /// When the last sync that was begun ends: a disk keeps their order.
    pub(super) synced_at: u64,
    pub(super) paused_until: u64,
    pub(super) failed: bool,
    pub(super) votes_held: bool,
    pub(super) term: u64,
    pub(super) voted: Option<StorageId>,
    /// Votes that are not durable yet: the file is not rewritten meanwhile.
    pub(super) votes_pending: u32,
    pub(super) role: Role,
    pub(super) leader: Option<StorageId>,
    pub(super) heard_at: u64,
    pub(super) timeout_us: u64,
    /// Against the leader of this term it has acted on a hint.
    pub(super) acted_on: Option<u64>,
    /// The leader of this term said that it hands over to this node.
    pub(super) hand_over: Option<(u64, StorageId)>,
    pub(super) durable: Option<u64>,
    pub(super) committed: Option<u64>,
    pub(super) applied: Option<u64>,
    pub(super) is_apply_due: bool,
    /// A snapshot is being written.
    pub(super) is_imaging: bool,
    /// The next sync is to fail.
    pub(super) sync_fails: bool,
    /// The group may have changed since the world was told.
    pub(super) is_regrouped: bool,
    pub(super) map: Arc<ClusterMap>,
    pub(super) image: Option<Image>,
    pub(super) members: BTreeMap<u64, Arc<Members>>,
    /// What the world was told.
    pub(super) told_term: Option<u64>,
    pub(super) told_voters: BTreeSet<StorageId>,
    /// Reads that wait for an index to be applied.
    pub(super) readers: Vec<(u64, u64)>,
}

/// `None` comes before every index.
pub(super) fn next_of(index: Option<u64>) -> u64 {
    index.map_or(0, |index| index + 1)
}

impl Node {
    /// The group as its log says it, committed or not.
    pub(super) fn group(&self) -> Arc<Members> {
        let last = self.members.last_key_value();
        let stored = || self.image.as_ref().map(|image| Arc::clone(&image.members));
        last.map(|(_, members)| Arc::clone(members))
            .or_else(stored)
            .unwrap_or_default()
    }

    /// The group as it was when an entry was applied.
    pub(super) fn group_at(&self, index: u64) -> Arc<Members> {
        let last = self.members.range(..=index).next_back();
        let stored = || self.image.as_ref().map(|image| Arc::clone(&image.members));
        last.map(|(_, members)| Arc::clone(members))
            .or_else(stored)
            .unwrap_or_default()
    }

    pub(super) fn last_index(&self) -> Option<u64> {
        self.log.last().map(|last| last.index)
    }

    /// Which entry it has at an index, as far as it still knows.
    pub(super) fn id_at(&self, index: u64) -> Option<EntryId> {
        let entry = self.id_in_log(index);
        let purged = || self.log.purged().filter(|purged| purged.index == index);
        let stored = || self.image.as_ref().map(|image| image.last);
        entry
            .or_else(purged)
            .or_else(|| stored().filter(|last| last.index == index))
    }

    /// The first index that its log may still have.
    pub(super) fn first_index(&self) -> u64 {
        self.log.purged().map_or(0, |purged| purged.index + 1)
    }

    /// It leads, and an entry of its own term is applied.
    pub(super) fn is_ready(&self) -> bool {
        match &self.role {
            Role::Leader(leader) => self.applied.is_some_and(|last| last >= leader.blank.index),
            Role::Follower | Role::Candidate { .. } => false,
        }
    }

    pub(super) fn lead(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower | Role::Candidate { .. } => None,
        }
    }

    pub(super) fn lead_mut(&mut self) -> Option<&mut Leader> {
        match &mut self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower | Role::Candidate { .. } => None,
        }
    }

    /// Records that ride on the next sync.
    pub(super) fn write(&mut self, records: &[u8]) -> io::Result<()> {
        self.file.append(records)
    }

    /// Records that are durable once the disk has settled to the mark.
    pub(super) fn write_synced(&mut self, records: &[u8]) -> io::Result<SimMark> {
        self.file.append(records)?;
        if std::mem::take(&mut self.sync_fails) {
            self.disk.fail_next(Failing::Sync);
        }
        self.file.sync()?;
        Ok(self.disk.mark())
    }

    pub(super) fn append(&mut self, entries: Vec<Entry>) -> io::Result<SimMark> {
        for entry in &entries {
            if entry.kind() == EntryKind::Membership {
                let members = rmp_serde::from_slice(entry.payload()).map_err(io::Error::other)?;
                self.members.insert(entry.id().index, Arc::new(members));
                self.is_regrouped = true;
            }
        }
        let records = self.log.append(entries);
        let mark = self.write_synced(&records)?;
        self.rewrite_if_long()?;
        Ok(mark)
    }

    /// Drops what lies behind an index.
    pub(super) fn truncate_after(&mut self, last: Option<u64>) -> io::Result<()> {
        let id = last.and_then(|index| self.id_at(index));
        let records = self.log.truncate_after(id);
        self.is_regrouped |= !self.members.split_off(&next_of(last)).is_empty();
        self.durable = self.durable.min(last);
        self.write(&records)
    }

    pub(super) fn purge(&mut self, upto: EntryId) -> io::Result<()> {
        let records = self.log.purge(upto);
        self.members = self.members.split_off(&(upto.index + 1));
        self.write(&records)?;
        self.rewrite_if_long()
    }

    /// A snapshot that another node sent may be durable when what followed is not.
    pub(super) fn fit_log_to_image(&mut self) -> io::Result<()> {
        let Some(last) = self.image.as_ref().map(|image| image.last) else {
            return Ok(());
        };
        self.drop_other_than(last)?;
        if self.log.last().is_none_or(|end| end.index < last.index) {
            self.purge(last)?;
            self.durable = Some(last.index);
        }
        self.file.sync()
    }

    /// Drops another entry than this one, with all behind it.
    pub(super) fn drop_other_than(&mut self, id: EntryId) -> io::Result<()> {
        match self.id_in_log(id.index) {
            Some(other) if other != id => self.truncate_after(id.index.checked_sub(1)),
            _ => Ok(()),
        }
    }

    fn id_in_log(&self, index: u64) -> Option<EntryId> {
        self.log.entries(index..=index).next().map(Entry::id)
    }

    fn rewrite_if_long(&mut self) -> io::Result<()> {
        if self.votes_pending > 0 {
            return Ok(());
        }
        match self.log.rewrite_if_long(self.file.bytes()) {
            Some(records) => self.file.rewrite(&records),
            None => Ok(()),
        }
    }

    /// Writes a vote; the mark at which it counts, or none if it counts already.
    pub(super) fn vote(&mut self, vote: Vote) -> io::Result<Option<SimMark>> {
        self.term = vote.term;
        self.voted = Some(StorageId(vote.leader));
        let record = self.log.vote_record(vote);
        if !record.is_awaited {
            self.write(&record.records)?;
            return Ok(None);
        }
        self.votes_pending += 1;
        self.write_synced(&record.records).map(Some)
    }
}
