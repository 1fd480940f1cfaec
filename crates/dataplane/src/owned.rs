//! Partitions on shared storage of which this node holds the office: they are opened and closed as
//! the map says, and asked for rows. The host does all of it, and tells what came of it.
//!
//! An opening has a life of its own: what is told of an earlier one says nothing of this one.
//! Knows nothing of the storage, nor of how an office is confirmed.

mod ask;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use tablestore_placement::{Assignment, ClusterMap, Epoch, PartitionId};
use tablestore_store::Engine;

pub use self::ask::OwnedAsk;
use crate::effects::Notice;
use crate::mutant::Mutant;
use crate::plane::Plane;
use crate::progress::ReplicaProgress;
use crate::request::Stage;
use crate::standing::Standing;

/// Pause before a partition is opened again; doubled with every time.
const REST_MIN: Duration = Duration::from_millis(50);
const REST_MAX: Duration = Duration::from_secs(5);
/// After so many faults in a row another member should have the office.
const FAULTS_MAX: u32 = 5;
/// Faults before an opening that has held for so long count no more.
const HOLDS_AFTER: Duration = Duration::from_secs(10);

/// What is asked of whoever has the partitions open.
#[derive(Debug, Clone)]
pub enum OwnedOrder {
    /// Open a partition, once the office is confirmed; answered by
    /// [`OwnedOpened`](crate::PlaneEvent::OwnedOpened) or
    /// [`OwnedEnded`](crate::PlaneEvent::OwnedEnded).
    Open {
        /// Which one.
        partition: PartitionId,
        /// The epoch of the office.
        epoch: Epoch,
        /// The number of the storage in which the table is, as the map says; what is not there is
        /// elsewhere, and must not be opened. If no map says so yet: make the partition if it is
        /// not there, and open it when a map does.
        founded: Option<u64>,
        /// The number of this opening.
        life: u64,
    },
    /// Let go of it; there is no answer.
    Close {
        /// Which one.
        partition: PartitionId,
        /// The number of the opening.
        life: u64,
    },
    /// Ask an open one; answered by [`OwnedAnswered`](crate::PlaneEvent::OwnedAnswered).
    Ask {
        /// The number under which it is answered.
        ticket: u64,
        /// Which one.
        partition: PartitionId,
        /// The number of the opening.
        life: u64,
        /// What.
        ask: OwnedAsk,
    },
}

/// Where an opening is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The host opens it.
    Opening,
    /// It takes requests since then.
    Open { since: Duration },
    /// It has ended, and is opened again then.
    Resting { until: Duration },
}

/// A partition whose office this start has.
#[derive(Debug)]
struct Held {
    epoch: Epoch,
    life: u64,
    state: State,
    /// How often it has ended in a row.
    ends: u32,
    /// How often that was this node's or its storage's fault.
    faults: u32,
}

impl Held {
    /// Whether it is not open, and waiting for it has been in vain for a while.
    fn is_faulty(&self) -> bool {
        self.faults >= FAULTS_MAX && !matches!(self.state, State::Open { .. })
    }
}

/// All partitions whose offices this start has.
#[derive(Debug, Default)]
pub(crate) struct OwnedHere {
    held: BTreeMap<PartitionId, Held>,
    last_life: u64,
    /// When the first that rests is opened again.
    wakes_at: Option<Duration>,
}

impl OwnedHere {
    fn next_life(&mut self) -> u64 {
        self.last_life += 1;
        self.last_life
    }

    /// When something is due.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.wakes_at
    }

    pub(crate) fn count(&self, standing: &mut Standing) {
        for held in self.held.values() {
            *match held.state {
                State::Open { .. } => &mut standing.owned_open,
                State::Opening => &mut standing.owned_opening,
                State::Resting { .. } => &mut standing.owned_resting,
            } += 1;
        }
    }

    fn rests_until(&mut self, until: Duration) {
        let first = self.wakes_at.map_or(until, |at| at.min(until));
        self.wakes_at = Some(first);
    }
}

impl<E: Engine, W> Plane<E, W> {
    /// Opens a partition whose office this start has under a new epoch.
    pub(crate) fn follow_owned(&mut self, partition: PartitionId, assignment: &Assignment) {
        let epoch = assignment.epoch;
        let held = self.owned.held.get(&partition);
        if assignment.primary != Some(self.me) || held.is_some_and(|held| held.epoch == epoch) {
            return;
        }
        self.let_go_of_owned(partition);
        let life = self.owned.next_life();
        let held = Held {
            epoch,
            life,
            state: State::Opening,
            ends: 0,
            faults: 0,
        };
        let founded = self.founded(partition);
        self.owned.held.insert(partition, held);
        self.out.notices.push(Notice::Promoted { partition, epoch });
        self.out.owned.push(OwnedOrder::Open {
            partition,
            epoch,
            founded,
            life,
        });
    }

    fn founded(&self, partition: PartitionId) -> Option<u64> {
        let table = self.map.tables.get(&partition.table);
        table.and_then(|table| table.founded)
    }

    /// Closes the partitions whose offices this start has no more.
    pub(crate) fn close_owned(&mut self, now: &ClusterMap) {
        let me = Some(self.me);
        let is_gone = |(id, held): &(&PartitionId, &Held)| {
            let assignment = now.assignment(**id);
            assignment.is_none_or(|a| a.primary != me || a.epoch != held.epoch)
        };
        let gone = self.owned.held.iter().filter(is_gone);
        let gone: Vec<_> = gone.map(|(partition, _)| *partition).collect();
        for partition in gone {
            self.let_go_of_owned(partition);
        }
    }

    fn let_go_of_owned(&mut self, partition: PartitionId) {
        let Some(held) = self.owned.held.remove(&partition) else {
            return;
        };
        if !matches!(held.state, State::Resting { .. }) {
            let life = held.life;
            self.out.owned.push(OwnedOrder::Close { partition, life });
        }
        self.out.progress.push((partition, None));
        self.leave_owned(partition);
    }

    /// Requests that are with a partition which is closed find another way. What became of them
    /// there is not known.
    fn leave_owned(&mut self, partition: PartitionId) {
        let forgets = self.settings.has(Mutant::OwnedOutcomeForgotten);
        for ticket in self.requests.at_core(partition) {
            if forgets {
                self.requests.enter(ticket, Stage::Parked);
            }
            self.requests.leave(ticket);
            self.requests.look_again(ticket);
        }
    }

    /// The host has opened a partition.
    pub(crate) fn owned_opened(&mut self, partition: PartitionId, life: u64) {
        let since = self.now.since_start;
        let held = self.owned.held.get_mut(&partition);
        let Some(held) = held.filter(|held| held.life == life) else {
            return;
        };
        held.state = State::Open { since };
        self.counts.owned_opened += 1;
        let epoch = held.epoch;
        let shown = ReplicaProgress {
            epoch,
            ..ReplicaProgress::default()
        };
        self.out.progress.push((partition, Some(shown)));
        self.out.notices.push(Notice::Serving { partition, epoch });
        self.requests.retry_parked_of(partition);
    }

    /// A partition is open no more, or could not be opened: as long as this start has the office
    /// it is opened again. With a fault that stays another member should have it.
    pub(crate) fn owned_ended(&mut self, partition: PartitionId, life: u64, fault: Option<String>) {
        let now = self.now.since_start;
        let held = self.owned.held.get_mut(&partition);
        let Some(held) = held.filter(|held| held.life == life) else {
            return;
        };
        if matches!(held.state, State::Open { since } if now >= since + HOLDS_AFTER) {
            (held.ends, held.faults) = (0, 0);
        }
        let rest = REST_MIN * 2_u32.saturating_pow(held.ends.min(16));
        let until = now + rest.min(REST_MAX);
        held.state = State::Resting { until };
        held.ends = held.ends.saturating_add(1);
        let (epoch, before) = (held.epoch, held.faults);
        held.faults = before.saturating_add(u32::from(fault.is_some()));
        let has_stopped = before < FAULTS_MAX && held.faults == FAULTS_MAX;
        self.owned.rests_until(until);
        self.leave_owned(partition);
        let Some(why) = fault else { return };
        self.counts.owned_faults += 1;
        tracing::warn!(%partition, why, "a partition on shared storage is not open");
        if has_stopped {
            // Whoever waits is told.
            self.requests.retry_parked_of(partition);
            let shown = ReplicaProgress {
                epoch,
                stopped: Some(why.clone()),
                ..ReplicaProgress::default()
            };
            self.out.progress.push((partition, Some(shown)));
            self.out
                .notices
                .push(Notice::ReplicaStopped { partition, why });
        }
    }

    /// Opens again what has rested.
    pub(crate) fn wake_owned(&mut self) {
        let now = self.now.since_start;
        if self.owned.wakes_at.is_none_or(|at| at > now) {
            return;
        }
        self.owned.wakes_at = None;
        let due = |state: State| matches!(state, State::Resting { until } if until <= now);
        let held = self.owned.held.iter();
        let rested: Vec<_> = held
            .filter(|(_, held)| due(held.state))
            .map(|(partition, held)| (*partition, held.epoch))
            .collect();
        for (partition, epoch) in rested {
            let founded = self.founded(partition);
            let life = self.owned.next_life();
            if let Some(held) = self.owned.held.get_mut(&partition) {
                (held.life, held.state) = (life, State::Opening);
            }
            self.out.owned.push(OwnedOrder::Open {
                partition,
                epoch,
                founded,
                life,
            });
        }
        let others = self
            .owned
            .held
            .values()
            .filter_map(|held| match held.state {
                State::Resting { until } => Some(until),
                _ => None,
            });
        self.owned.wakes_at = others.min();
    }
}
