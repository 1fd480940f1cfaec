//! Partitions of active tables: every replica takes reads and writes, and this node coordinates the
//! requests of its own clients. They share the journal, the engine and the connections with all
//! other partitions, and nothing else.
//!
//! Knows nothing of quorums and versions, which are the core's, nor of the primary's way.

mod carry;
mod entry;
mod follow;
mod hosted;
mod join;
mod open;
mod request;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tablestore_placement::{Office, PartitionId};
use tablestore_replication::active::{Coordinator, Message};

use crate::mutant::Mutant;
use crate::settings::Settings;
use crate::timers::Timers;
use crate::unsynced::Unsynced;

pub(crate) use self::entry::{EntryError, apply_active_entries, is_active_entry};
pub(crate) use self::hosted::HostedActive;
pub(crate) use self::open::{OpenedActive, open};
pub use self::request::ActiveRequest;

/// The partition in the journal whose state holds the bound of the clock, and which has neither
/// entries nor rows: no table has this number.
pub(crate) const CLOCK_PARTITION: u64 = u64::MAX;

/// All that a plane has of active tables.
#[derive(Debug)]
pub(crate) struct Active<E, W> {
    pub(crate) hosted: BTreeMap<PartitionId, HostedActive<E>>,
    /// Partitions of which the journal forgets all, by the position from which on it does: until
    /// that is durable it may still show what is to be forgotten.
    emptied: VecDeque<(u64, PartitionId)>,
    /// Replicas that have lost their rows and are opened.
    lost: BTreeSet<PartitionId>,
    /// Replicas whose files cannot be used; this start does without them.
    unusable: BTreeSet<PartitionId>,
    coordinator: Coordinator,
    /// Who waits for an answer of the coordinator, and for which partition; at most as many as
    /// requests may wait on a node.
    waiting: BTreeMap<u64, (PartitionId, W)>,
    last_ticket: u64,
    /// Records on their way to the disk, for replicas here; the plane gives them their places.
    unsynced: Unsynced,
    /// Bounds of the clock on their way to the disk, by position; the core asks for few at once.
    bounds: VecDeque<(u64, u64)>,
    /// Messages of this node to itself; empty after each call.
    inbox: VecDeque<(PartitionId, Message)>,
    /// The wall clock differs from those of most others: what it stamped, they would refuse, or
    /// have to take for newer than all that they write.
    pub(crate) clock_is_off: bool,
    timers: Timers,
    /// Replicas that something happened to in this turn.
    touched: Vec<PartitionId>,
}

impl<E, W> Active<E, W> {
    pub(crate) fn new(me: Office, settings: &Settings, bound_ms: u64) -> Self {
        let bound_ms = match settings.has(Mutant::ClockBoundForgotten) {
            true => 0,
            false => bound_ms,
        };
        let coordinator = Coordinator::new(settings.active, me.member, me.incarnation.0, bound_ms);
        Self {
            hosted: BTreeMap::new(),
            emptied: VecDeque::new(),
            lost: BTreeSet::new(),
            unusable: BTreeSet::new(),
            coordinator,
            waiting: BTreeMap::new(),
            last_ticket: 0,
            unsynced: Unsynced::new(settings),
            bounds: VecDeque::new(),
            inbox: VecDeque::new(),
            clock_is_off: false,
            timers: Timers::default(),
            touched: Vec::new(),
        }
    }

    /// From this position on the journal has nothing of the partition any more.
    pub(crate) fn is_emptied(&mut self, position: u64, partition: PartitionId) {
        self.emptied.push_back((position, partition));
    }

    /// How many wait for an answer of the coordinator.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// When something is due.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let coordinator = self.coordinator.next_deadline();
        [self.timers.next(), coordinator]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether something is on its way to the disk.
    pub(crate) fn waits_for_disk(&self) -> bool {
        !self.unsynced.is_empty() || !self.bounds.is_empty()
    }
}
