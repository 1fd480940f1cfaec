//! What goes on beside requests: replicas follow the map, rows are flushed, the journal freed.

use std::collections::BTreeSet;
use std::sync::Arc;

use tablestore_placement::{
    Assignment, ClusterMap, Epoch, MemberState, PartitionId, StorageId, Table,
};
use tablestore_replication::{Input, Replica, Role, View};
use tablestore_store::Engine;
use tablestore_store::engine::EngineError;

use crate::hosted::Hosted;
use crate::job::Work;
use crate::journal::Record;
use crate::outputs::journal_meta;
use crate::plane::Plane;
use crate::progress::ReplicaProgress;
use crate::recover::{RecoveredPartition, Unusable};
use crate::request::Failure;

/// What a node does before it ends.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    /// Everything is to be flushed.
    pub(crate) flushing_all: bool,
    /// Every replica is to let go.
    resigning: bool,
    /// Those that have.
    resigned: BTreeSet<PartitionId>,
}

/// Members that the map holds down or does not hold at all.
fn unreachable(map: &ClusterMap) -> Vec<StorageId> {
    map.members
        .values()
        .filter(|member| matches!(member.state, MemberState::Down | MemberState::Left))
        .map(|member| member.storage)
        .collect()
}

impl<E: Engine, W> Plane<E, W> {
    /// Opens, informs and closes replicas as the map says.
    pub(crate) fn follow_assignments(&mut self, before: &ClusterMap, now: &ClusterMap) {
        let me = self.me.member;
        let down = unreachable(now);
        let members_changed = unreachable(before) != down;
        for (partition, table, assignment) in now.partitions() {
            if !table.definition.data_path().has_copies() {
                self.follow_owned(partition, assignment);
                continue;
            }
            if !table.definition.data_path().has_offices() {
                let changed = before.assignment(partition) != Some(assignment);
                self.follow_active(partition, table, assignment, changed);
                continue;
            }
            let changed = members_changed || before.assignment(partition) != Some(assignment);
            self.follow_one(now, &down, partition, table, assignment, changed);
        }
        self.share_tails();
        let lags = self.map_may_lag(now);
        let is_gone = |id: &PartitionId| {
            let assignment = now.assignment(*id);
            !lags && assignment.is_none_or(|assignment| !assignment.replicas.contains(&me))
        };
        let gone: Vec<_> = self.replicas.keys().copied().filter(is_gone).collect();
        for partition in gone {
            self.close(partition, now);
        }
        self.close_owned(now);
        self.forget_dropped(before, now);
        self.close_active(now);
        self.deliver_to_itself();
        self.clear_strays(now);
    }

    /// Opens and informs one replica as the map says, `down` being who is unreachable in it.
    fn follow_one(
        &mut self,
        now: &ClusterMap,
        down: &[StorageId],
        partition: PartitionId,
        table: &Table,
        assignment: &Assignment,
        changed: bool,
    ) {
        let is_mine = assignment.replicas.contains(&self.me.member);
        if !is_mine || self.shelf.busy.contains(&partition) || self.begin_anew(partition, now) {
            return;
        }
        let opened = !self.replicas.contains_key(&partition);
        if opened && !self.open(partition) {
            return;
        }
        // This may be the last map for long, so a replica that was found unusable and is
        // already not counted on is not left until the next one.
        if opened && self.begin_anew(partition, now) {
            return;
        }
        if opened || changed {
            let view = View {
                assignment: assignment.clone(),
                unreachable: down.to_vec(),
                in_sync_min: table.definition.min_in_sync,
            };
            self.feed(partition, Input::Assignment(view));
            self.meet_neighbours(partition, assignment);
        }
    }

    /// Looks at the map once more for a partition that something stood in the way of.
    pub(crate) fn follow_again(&mut self, partition: PartitionId) {
        let map = Arc::clone(&self.map);
        let table = map.tables.get(&partition.table);
        match table.zip(map.assignment(partition)) {
            Some((table, assignment)) if !table.definition.data_path().has_copies() => {
                self.follow_owned(partition, assignment);
            }
            Some((table, assignment)) if !table.definition.data_path().has_offices() => {
                self.follow_active(partition, table, assignment, false);
            }
            Some((table, assignment)) if assignment.replicas.contains(&self.me.member) => {
                let down = unreachable(&map);
                self.follow_one(&map, &down, partition, table, assignment, false);
                self.share_tails();
            }
            _ => self.clear_strays(&map),
        }
    }

    /// The replica learns of those that it has to do with from now on.
    fn meet_neighbours(&mut self, partition: PartitionId, assignment: &Assignment) {
        let me = self.me.member;
        let primary = assignment.primary_member();
        let all = assignment.replicas.iter().chain(&assignment.in_sync);
        let all = all.copied().chain(primary);
        let others: BTreeSet<StorageId> = all.filter(|member| *member != me).collect();
        let Some(hosted) = self.replicas.get_mut(&partition) else {
            return;
        };
        let new = self
            .neighbours
            .change(partition, &mut hosted.others, others);
        for peer in new {
            if self.links.is_up(peer) {
                self.feed(partition, Input::PeerUp(peer));
            }
        }
    }

    /// Makes a replica of what is on the disk. False if the engine must open the partition first:
    /// the map is then followed again when it has.
    fn open(&mut self, partition: PartitionId) -> bool {
        let number = partition.to_u64();
        let is_open = |found: &mut RecoveredPartition| found.is_open || found.stopped.is_some();
        let Some(found) = self.shelf.take_if(number, is_open) else {
            self.shelf.busy.insert(partition);
            self.begin(Work::Open { partition });
            return false;
        };
        let replica = Replica::new(self.settings.replica, self.me, partition, found.state);
        let hosted = Hosted {
            replica,
            remembered_until: found.remembered_until,
            pieces: found.pieces,
            others: BTreeSet::new(),
            held_back: false,
            touched: false,
            moved: false,
            wakes_at: None,
            life: self.unsynced.next_life(),
            stopped: found.stopped.as_ref().map(|found| found.why.clone()),
            unusable: found.stopped.clone(),
            shown: ReplicaProgress::default(),
        };
        self.replicas.insert(partition, hosted);
        if self.engine.applied(number) > self.engine.checkpointed(number) {
            let bytes = self.engine.memory_bytes_of(number);
            self.flushing.applied(partition, bytes);
        }
        let at = self.now.since_start + self.settings.checksum_every;
        self.checksums.compare_at(partition, at);
        if let Some(Unusable { why, .. }) = found.stopped {
            self.halted(partition, why);
        }
        true
    }

    /// The engine has opened a partition, or could not.
    pub(crate) fn opened(&mut self, partition: PartitionId, opened: Result<(), EngineError>) {
        self.shelf.busy.remove(&partition);
        if let Err(error) = opened {
            tracing::error!(%partition, %error, "a replica could not be opened");
            self.shelf.unopened.insert(partition);
            return;
        }
        self.shelf.unopened.remove(&partition);
        let number = partition.to_u64();
        self.watched.opened(partition, self.engine.applied(number));
        let found = self.shelf.found.entry(number);
        found.or_insert_with(RecoveredPartition::empty).is_open = true;
        self.follow_again(partition);
    }

    /// Puts a replica aside that is broken, or drops one that an earlier start stopped if the
    /// operator asks for it, when nobody counts on it; it is then opened empty and built from the
    /// primary. Says whether that has begun.
    ///
    /// The map must show this start: every proposal to take the earlier one into the in-sync
    /// set is void from there on, so none can make an empty replica a member of it.
    fn begin_anew(&mut self, partition: PartitionId, now: &ClusterMap) -> bool {
        let me = self.me;
        let registered = now.members.get(&me.member).map(|member| member.incarnation);
        let counts = now
            .assignment(partition)
            .is_none_or(|assignment| assignment.in_sync.contains(&me.member));
        let Some(hosted) = self.replicas.get(&partition) else {
            return false;
        };
        let Some(unusable) = &hosted.unusable else {
            return false;
        };
        let ordered = unusable.broken || self.settings.rebuild_stopped;
        if !ordered || counts || registered != Some(me.incarnation) {
            return false;
        }
        let (adopted, put_aside) = (hosted.replica.meta().adopted, unusable.broken);
        self.forget_replica(partition);
        self.shelf.busy.insert(partition);
        self.begin(Work::Clear {
            partition,
            adopted,
            put_aside,
        });
        true
    }

    /// A replica that is to be built anew was cleared away, or could not be.
    pub(crate) fn cleared(
        &mut self,
        partition: PartitionId,
        adopted: Epoch,
        cleared: Result<(), EngineError>,
    ) {
        self.shelf.busy.remove(&partition);
        if let Err(error) = cleared {
            tracing::error!(%partition, %error, "a stopped replica could not be cleared away");
            let why = format!("it could not be cleared away: {error}");
            let found = RecoveredPartition::broken(adopted, why);
            self.shelf.found.insert(partition.to_u64(), found);
            self.shelf.unopened.insert(partition);
            return;
        }
        let empty = RecoveredPartition::adopted(adopted);
        let meta = journal_meta(&empty.state.meta);
        let number = partition.to_u64();
        let restart = Record::Restart {
            partition: number,
            meta,
        };
        let position = self.record(restart);
        self.active.is_emptied(position, partition);
        tracing::warn!(%partition, "a stopped replica is built anew");
        self.shelf.found.insert(number, empty);
        self.follow_again(partition);
    }

    fn close(&mut self, partition: PartitionId, now: &ClusterMap) {
        self.fail_at_core(partition, Failure::NotHere);
        self.drop_incoming(partition);
        self.end_copies_of(partition, Role::Outsider);
        if let Some(hosted) = self.forget_replica(partition) {
            let adopted = hosted.replica.meta().adopted;
            self.let_go(partition, now, adopted, hosted.stopped.is_some());
        }
    }

    /// The replica is here no more.
    fn forget_replica(&mut self, partition: PartitionId) -> Option<Hosted> {
        let mut hosted = self.replicas.remove(&partition)?;
        self.timers.forget(partition, hosted.wakes_at);
        self.neighbours
            .change(partition, &mut hosted.others, BTreeSet::new());
        self.flushing.forget(partition);
        self.checksums.forget(partition);
        self.out.progress.push((partition, None));
        Some(hosted)
    }

    /// Flushes what takes too much memory or holds back the journal, and looks after what takes
    /// long.
    pub(crate) fn upkeep(&mut self) {
        let now = self.now.since_start;
        if now < self.upkeep_at {
            return;
        }
        self.upkeep_at = now + self.settings.upkeep_every;
        self.show_logs();
        for partition in std::mem::take(&mut self.shelf.unopened) {
            self.follow_again(partition);
        }
        self.flush_what_is_due();
        self.end_late_copies(now);
        self.begin_checksums(now);
    }

    /// Stops taking writes; the effects tell when every replica of this node has let go.
    pub(crate) fn resign(&mut self) {
        self.leaving.resigning = true;
        self.leaving.resigned.clear();
        let partitions: Vec<_> = self.replicas.keys().copied().collect();
        for partition in partitions {
            self.feed(partition, Input::Resign);
        }
        self.note_all_resigned();
    }

    pub(crate) fn resigned(&mut self, partition: PartitionId) {
        self.leaving.resigned.insert(partition);
        self.note_all_resigned();
    }

    fn note_all_resigned(&mut self) {
        let resigned = &self.leaving.resigned;
        let mut replicas = self.replicas.iter();
        let all = replicas.all(|(id, hosted)| hosted.stopped.is_some() || resigned.contains(id));
        if all && std::mem::take(&mut self.leaving.resigning) {
            self.out.resigned = true;
        }
    }
}
