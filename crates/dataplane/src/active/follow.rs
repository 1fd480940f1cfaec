//! Active replicas follow the map: they are opened, told who serves, and closed with their table.
//! Knows nothing of requests.

use std::sync::Arc;

use tablestore_placement::{Assignment, ClusterMap, Epoch, PartitionId, Table};
use tablestore_replication::active::View;
use tablestore_replication::active::coordinator::Input as Asked;
use tablestore_replication::active::replica::Input;
use tablestore_store::Engine;

use super::hosted::HostedActive;
use super::open::OpenedActive;
use crate::job::Work;
use crate::plane::Plane;
use crate::progress::ReplicaProgress;

/// While a replica is on its way into the set, both sets answer.
fn view(table: &Table, assignment: &Assignment) -> View {
    let mut current = assignment.in_sync.clone();
    current.sort_unstable();
    let next = assignment.replicas_after(table.definition.replicas);
    let mut next = next.unwrap_or_default();
    next.sort_unstable();
    View {
        epoch: assignment.epoch,
        current,
        next,
    }
}

impl<E: Engine, W> Plane<E, W> {
    /// Opens and informs one replica as the map says, and the coordinator in any case.
    pub(crate) fn follow_active(
        &mut self,
        partition: PartitionId,
        table: &Table,
        assignment: &Assignment,
        changed: bool,
    ) {
        if changed {
            let view = view(table, assignment);
            self.coordinate(Asked::View { partition, view });
        }
        let is_mine = assignment.replicas.contains(&self.me.member);
        if !is_mine || self.shelf.busy.contains(&partition) {
            return;
        }
        if self.active.hosted.contains_key(&partition) {
            if changed {
                self.feed_active(partition, Input::View(view(table, assignment)));
            }
            return;
        }
        if self.active.unusable.contains(&partition) {
            return;
        }
        if self.clear_active(partition, assignment) {
            return;
        }
        let found = self.shelf.found.remove(&partition.to_u64());
        if let Some(found) = found {
            if let Some(stopped) = found.stopped {
                return self.active_opened(partition, Err(stopped.why));
            }
            if found.state.meta.adopted > Epoch(0) {
                self.active.lost.insert(partition);
            }
        }
        let mut emptied = self.active.emptied.iter();
        let is_empty = emptied.any(|(_, emptied)| *emptied == partition);
        self.shelf.busy.insert(partition);
        self.begin(Work::OpenActive {
            partition,
            is_empty,
        });
    }

    /// Puts a replica aside that is broken, or drops one that an earlier start stopped if the
    /// operator asks for it, where others have its rows; it is opened empty then, and counts for
    /// nothing before it has met the others. Says whether it waits for that.
    fn clear_active(&mut self, partition: PartitionId, assignment: &Assignment) -> bool {
        let found = self.shelf.found.get(&partition.to_u64());
        let Some(unusable) = found.and_then(|found| found.stopped.as_ref()) else {
            return false;
        };
        let ordered = unusable.broken || self.settings.rebuild_stopped;
        if !ordered || assignment.replicas.len() < 2 {
            return false;
        }
        if self.map_may_lag(&Arc::clone(&self.map)) {
            return true;
        }
        let put_aside = unusable.broken;
        tracing::warn!(%partition, why = unusable.why, "an active replica is built anew");
        self.shelf.found.remove(&partition.to_u64());
        self.shelf.busy.insert(partition);
        self.begin(Work::Clear {
            partition,
            adopted: assignment.epoch,
            put_aside,
        });
        true
    }

    /// A replica was opened, or could not be: then this start does without it.
    pub(crate) fn active_opened(
        &mut self,
        partition: PartitionId,
        opened: Result<Box<OpenedActive>, String>,
    ) {
        self.shelf.busy.remove(&partition);
        let is_lost = self.active.lost.remove(&partition);
        let opened = match opened {
            Ok(mut opened) => {
                // One that has adopted an epoch since has noted itself how far it is.
                opened.meta.is_rebuilding |= is_lost && opened.meta.epoch == Epoch(0);
                opened
            }
            Err(why) => {
                tracing::error!(%partition, why, "an active replica cannot be used");
                self.active.unusable.insert(partition);
                let shown = ReplicaProgress {
                    stopped: Some(why),
                    ..ReplicaProgress::default()
                };
                return self.out.progress.push((partition, Some(shown)));
            }
        };
        let life = self.unsynced.next_life();
        let engine = Arc::clone(&self.engine);
        let settings = self.settings.active;
        let hosted = HostedActive::new(settings, self.me, partition, (engine, life), *opened);
        self.active.hosted.insert(partition, hosted);
        let number = partition.to_u64();
        if self.engine.applied(number) > self.engine.checkpointed(number) {
            let bytes = self.engine.memory_bytes_of(number);
            self.flushing.applied(partition, bytes);
        }
        let map = Arc::clone(&self.map);
        let table = map.tables.get(&partition.table);
        match table.zip(map.assignment(partition)) {
            Some((table, assignment)) => {
                self.feed_active(partition, Input::View(view(table, assignment)));
                let shown = ReplicaProgress {
                    epoch: assignment.epoch,
                    ..ReplicaProgress::default()
                };
                self.out.progress.push((partition, Some(shown)));
                self.deliver_to_itself();
            }
            None => self.close_active(&map),
        }
    }

    /// Tells the coordinator of tables that are no more.
    pub(crate) fn forget_dropped(&mut self, before: &ClusterMap, now: &ClusterMap) {
        let tables = before.tables.values();
        let dropped = tables.filter(|table| !now.tables.contains_key(&table.id));
        for table in dropped.filter(|table| !table.definition.data_path().has_offices()) {
            for (number, _) in (0u32..).zip(&table.partitions) {
                let partition = PartitionId::new(table.id, number);
                self.coordinate(Asked::Gone { partition });
            }
        }
    }

    /// Closes the replicas of tables that are no more.
    pub(crate) fn close_active(&mut self, now: &ClusterMap) {
        let has_none = self.active.hosted.is_empty() && self.active.unusable.is_empty();
        if has_none || self.map_may_lag(now) {
            return;
        }
        let me = self.me.member;
        let is_gone = |id: &PartitionId| {
            let assignment = now.assignment(*id);
            assignment.is_none_or(|assignment| !assignment.replicas.contains(&me))
        };
        let unusable: Vec<_> = self
            .active
            .unusable
            .extract_if(.., |id| is_gone(id))
            .collect();
        for partition in unusable {
            self.out.progress.push((partition, None));
            self.let_go(partition, now, Epoch(0), true);
        }
        let gone: Vec<_> = self.active.hosted.keys().copied().filter(is_gone).collect();
        for partition in gone {
            let Some(hosted) = self.active.hosted.remove(&partition) else {
                continue;
            };
            self.active.timers.forget(partition, hosted.wakes_at);
            self.out.progress.push((partition, None));
            let adopted = hosted.replica.meta().epoch;
            self.let_go(partition, now, adopted, hosted.stopped.is_some());
        }
    }
}
