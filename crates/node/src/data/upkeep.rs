//! What goes on beside requests: replicas follow the map, rows are flushed, the journal freed.

use std::time::Duration;

use tablestore_placement::{ClusterMap, MemberState, PartitionId, StorageId};
use tablestore_replication::{Input, Replica, Role, Settings, View};
use tablestore_store::stopped::StoppedReplicas;

use super::hosted::Hosted;
use super::journal::{Job, JournalState};
use super::outputs::journal_meta;
use super::plane::Plane;
use super::recover::{RecoveredPartition, Unusable};
use super::request::Failure;

/// How often memory and the journal's size are looked at.
const UPKEEP_EVERY: Duration = Duration::from_millis(500);
/// How long the end of the journal may take to be written; less than a stopping node waits.
const JOURNAL_ENDS_WITHIN: Duration = Duration::from_millis(300);

/// Members that the map holds down or does not hold at all.
fn unreachable(map: &ClusterMap) -> Vec<StorageId> {
    map.members
        .values()
        .filter(|member| matches!(member.state, MemberState::Down | MemberState::Left))
        .map(|member| member.storage)
        .collect()
}

impl Plane {
    /// Opens, informs and closes replicas as the map says.
    pub(super) fn follow_assignments(&mut self, before: &ClusterMap, now: &ClusterMap) {
        let me = self.ports.me.member;
        let down = unreachable(now);
        let members_changed = unreachable(before) != down;
        for (partition, table, assignment) in now.partitions() {
            if !assignment.replicas.contains(&me) || self.ports.aside.contains(&partition) {
                continue;
            }
            self.begin_anew(partition, now);
            let opened = !self.replicas.contains_key(&partition);
            if opened && !self.open(partition) {
                continue;
            }
            // This may be the last map for long, so a replica that was found unusable and is
            // already not counted on is not left until the next one.
            if opened && self.begin_anew(partition, now) && !self.open(partition) {
                continue;
            }
            if opened || members_changed || before.assignment(partition) != Some(assignment) {
                let view = View {
                    assignment: assignment.clone(),
                    unreachable: down.clone(),
                    in_sync_min: table.definition.min_in_sync,
                };
                self.feed(partition, Input::Assignment(view));
            }
        }
        self.share_tails();
        let lags = self.map_may_lag(now);
        let gone: Vec<_> = self
            .replicas
            .keys()
            .copied()
            .filter(|id| {
                !lags
                    && now
                        .assignment(*id)
                        .is_none_or(|a| !a.replicas.contains(&me))
            })
            .collect();
        for partition in gone {
            self.close(partition, now);
        }
        self.clear_strays(now);
    }

    fn open(&mut self, partition: PartitionId) -> bool {
        let number = partition.to_u64();
        let recovered = self
            .ports
            .recovered
            .remove(&number)
            .unwrap_or_else(RecoveredPartition::empty);
        if recovered.stopped.is_none()
            && let Err(error) = self.ports.engine.open_partition(number)
        {
            tracing::error!(%partition, %error, "a replica could not be opened");
            self.ports.recovered.insert(number, recovered);
            return false;
        }
        self.ports.lives += 1;
        let replica = Replica::new(
            Settings::default(),
            self.ports.me,
            partition,
            recovered.state,
        );
        let hosted = Hosted {
            replica,
            remembered_until: recovered.remembered_until,
            pieces: recovered.pieces,
            held_back: false,
            life: self.ports.lives,
            stopped: recovered.stopped.as_ref().map(|found| found.why.clone()),
            unusable: recovered.stopped.clone(),
        };
        self.replicas.insert(partition, hosted);
        if let Some(Unusable { why, .. }) = recovered.stopped {
            self.halted(partition, why);
        }
        true
    }

    /// Puts a replica aside that is broken, or drops one that an earlier start stopped if the
    /// operator asks for it, when nobody counts on it; it is then opened empty and built from the
    /// primary. Says whether it did.
    ///
    /// The map must show this start: every proposal to take the earlier one into the in-sync
    /// set is void from there on, so none can make an empty replica a member of it.
    fn begin_anew(&mut self, partition: PartitionId, now: &ClusterMap) -> bool {
        let me = self.ports.me;
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
        let ordered = unusable.broken || self.ports.settings.rebuild_stopped;
        if !ordered || counts || registered != Some(me.incarnation) {
            return false;
        }
        let number = partition.to_u64();
        let cleared = if unusable.broken {
            self.ports.engine.put_aside(number).map(|_| ())
        } else {
            self.ports.engine.drop_partition(number)
        };
        if let Err(error) = cleared {
            tracing::error!(%partition, %error, "a stopped replica could not be cleared away");
            return false;
        }
        let empty = RecoveredPartition::adopted(hosted.replica.meta().adopted);
        let meta = journal_meta(&empty.state.meta);
        let job = Job::Restart {
            partition: number,
            meta,
        };
        self.ports.journal.push(job);
        if let Err(error) = StoppedReplicas::at(&self.ports.settings.data_dir).clear(number) {
            tracing::error!(%partition, %error, "the next start will stop the replica again");
        }
        tracing::warn!(%partition, "a stopped replica is built anew");
        self.replicas.remove(&partition);
        self.ports.progress.forget(partition);
        self.ports.recovered.insert(number, empty);
        true
    }

    fn close(&mut self, partition: PartitionId, now: &ClusterMap) {
        self.fail_at_core(partition, Failure::NotHere);
        let Some(hosted) = self.replicas.remove(&partition) else {
            return;
        };
        self.ports.progress.forget(partition);
        self.drop_incoming(partition);
        self.end_copies_of(partition, Role::Outsider);
        let adopted = hosted.replica.meta().adopted;
        self.let_go(partition, now, adopted, hosted.stopped.is_some());
    }

    /// Flushes what takes too much memory or holds back the journal.
    pub(super) fn upkeep(&mut self, now: Duration) {
        if now < self.ports.next_upkeep {
            return;
        }
        self.ports.next_upkeep = now + UPKEEP_EVERY;
        for (partition, hosted) in &self.replicas {
            let status = hosted.replica.status();
            self.ports
                .progress
                .log(*partition, status.end, status.commit);
        }
        self.ask_again();
        self.flush_what_is_due();
        self.end_late_copies(now);
        self.begin_checksums(now);
    }

    /// Stops taking writes; `done` is told when every replica of this node has let go.
    pub(super) fn resign(&mut self, done: tokio::sync::oneshot::Sender<()>) {
        self.ports.resigning = Some(done);
        self.ports.resigned.clear();
        let partitions: Vec<_> = self.replicas.keys().copied().collect();
        for partition in partitions {
            self.feed(partition, Input::Resign);
        }
    }

    pub(super) fn resigned(&mut self, partition: PartitionId) {
        self.ports.resigned.insert(partition);
        let all = self
            .replicas
            .iter()
            .all(|(id, hosted)| hosted.stopped.is_some() || self.ports.resigned.contains(id));
        if all && let Some(done) = self.ports.resigning.take() {
            let _ = done.send(());
        }
    }

    /// The last turn: what is queued for the journal is written, and its end stated.
    pub(super) async fn end(&mut self, journal: &JournalState) {
        let last = self.ports.journal.push(Job::StateEnd);
        self.end_turn();
        let written = async {
            while journal.persisted() < last {
                journal.progressed.notified().await;
            }
        };
        // A disk that hangs does not keep the node from ending.
        let _ = tokio::time::timeout(JOURNAL_ENDS_WITHIN, written).await;
    }
}
