//! One copy of one partition of an active table: merges changes, answers reads, refuses what comes
//! too late. **The contract of the loop** is that of the crate; in addition an
//! [`Output::Persist`] is visible through [`Rows`] as soon as it is carried out, and durable when
//! [`Input::Persisted`] says so. Knows nothing of quorums, nor of how rows are stored.

mod exchange;
mod floor;
mod host;
mod join;
mod scan;
mod status;
mod sweep;

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use tablestore_placement::{Epoch, StorageId};

use super::clock::{ClockError, Moment, check_drift};
use super::merkle::Tree;
use super::message::{Message, Origin, Refusal, RequestNumber};
use super::mutant::Mutant;
use super::row::Row;
use super::settings::Settings;
use super::view::View;
use crate::types::Now;

pub use self::host::{Input, Output, Record, ReplicaMeta, Rows};
pub use self::scan::Place;
pub use self::status::{ReplicaStatus, Tally};

use self::floor::Attempt;
use self::scan::Scan;
use self::sweep::Sweep;

/// One copy of one partition.
#[derive(Debug)]
pub struct Replica {
    settings: Settings,
    me: StorageId,
    view: View,
    /// When the view came.
    view_since: Now,
    meta: ReplicaMeta,
    /// The token of the last `Persist`.
    issued: u64,
    /// Up to this token everything is durable.
    synced: u64,
    /// Messages that may leave once what was issued before them is durable.
    held_back: VecDeque<(u64, Output)>,
    incarnation: u64,
    /// Of the last question to another replica.
    number: u64,
    tree: Tree,
    /// The tree is built; nothing once it is complete.
    scan: Option<Scan>,
    /// The sweep that is under way.
    sweep: Option<Sweep>,
    /// With whom to sweep next.
    planned: VecDeque<StorageId>,
    next_sweep_at: Now,
    /// With whom it has swept since it began to be rebuilt, in this epoch.
    met: BTreeSet<StorageId>,
    /// Where another replica leaves in this epoch, which of those that stay have what is to stay.
    shared: BTreeSet<StorageId>,
    /// The floor that is being proved.
    attempt: Option<Attempt>,
    status: ReplicaStatus,
    at: Moment,
    outputs: VecDeque<Output>,
}

impl Replica {
    /// A replica as its host found it on the disk.
    #[must_use]
    pub fn new(settings: Settings, me: StorageId, incarnation: u64, meta: ReplicaMeta) -> Self {
        Self {
            settings,
            me,
            view: View::default(),
            view_since: Now::default(),
            meta,
            issued: 0,
            synced: 0,
            held_back: VecDeque::new(),
            incarnation,
            number: 0,
            tree: Tree::default(),
            scan: Some(Scan::default()),
            sweep: None,
            planned: VecDeque::new(),
            next_sweep_at: Now::default(),
            met: BTreeSet::new(),
            shared: BTreeSet::new(),
            attempt: None,
            status: ReplicaStatus::default(),
            at: Moment::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Something happened.
    pub fn handle(&mut self, at: Moment, input: Input, rows: &impl Rows) {
        self.at = Moment {
            now: at.now.max(self.at.now),
            wall_ms: at.wall_ms,
        };
        match input {
            Input::View(view) => self.on_view(view),
            Input::Message { from, message } => self.on_message(from, message, rows),
            Input::Persisted { token } => self.on_persisted(token),
            // Alone: what the scan reads must not be about to change.
            Input::Tick => self.go_on_scanning(rows),
        }
        self.go_on_sweeping(rows);
    }

    /// When `Input::Tick` is due if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Now> {
        if let Some(scan) = &self.scan {
            return Some(scan.next_at);
        }
        if !self.view.members().contains(&self.me) {
            return None;
        }
        if let Some(sweep) = &self.sweep {
            return sweep.deadline();
        }
        let attempt = self.attempt.as_ref();
        Some(
            attempt
                .and_then(Attempt::deadline)
                .unwrap_or(self.next_sweep_at),
        )
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What should be durable beside the rows.
    #[must_use]
    pub fn meta(&self) -> &ReplicaMeta {
        &self.meta
    }

    fn on_view(&mut self, view: View) {
        if view.epoch < self.meta.epoch || view.epoch <= self.view.epoch {
            return;
        }
        self.note_loss(&view);
        if view.epoch > self.meta.epoch {
            self.meta.epoch = view.epoch;
            self.persist_meta();
        }
        self.view = view;
        self.met.clear();
        self.shared.clear();
        self.sweep = None;
        self.attempt = None;
        self.planned.clear();
        self.view_since = self.at.now;
        self.next_sweep_at = self.at.now + self.first_sweep_after();
    }

    fn on_persisted(&mut self, token: u64) {
        self.synced = self.synced.max(token);
        while let Some((_, output)) = self.held_back.pop_front_if(|held| held.0 <= token) {
            self.outputs.push_back(output);
        }
    }

    fn on_message(&mut self, from: StorageId, message: Message, rows: &impl Rows) {
        match message {
            Message::Write {
                request,
                epoch,
                key,
                change,
                origin,
            } => {
                let refused = self.check_epoch(epoch);
                let result = refused.and_then(|()| self.merge(key, change, origin, rows));
                match result {
                    Ok(()) => self.send_durable(from, Message::Written { request }),
                    Err(why) => self.refuse(from, request, why),
                }
            }
            Message::Read {
                request,
                epoch,
                key,
                durable,
            } => {
                let mut result = self.check_epoch(epoch);
                if self.meta.is_rebuilding {
                    result = result.and(Err(Refusal::Rebuilding));
                }
                if let Err(why) = result {
                    self.refuse(from, request, why);
                    return;
                }
                let floor = self.meta.proof.floor;
                let row = rows.row(&key).collected(floor);
                let found = Message::Found {
                    request,
                    row,
                    floor,
                };
                if durable {
                    self.send_durable(from, found);
                } else {
                    self.send(from, found);
                }
            }
            other => self.on_sweep_message(from, other, rows),
        }
    }

    /// Only in the newest epoch that this replica knows. One that is newer still asks for the map
    /// at once; the coordinator repeats its request a little later.
    fn check_epoch(&mut self, epoch: Epoch) -> Result<(), Refusal> {
        if epoch < self.meta.epoch {
            return Err(Refusal::OlderEpoch);
        }
        if epoch > self.view.epoch {
            self.outputs.push_back(Output::RefreshView);
            return Err(Refusal::EpochUnknown);
        }
        if self.view.members().contains(&self.me) {
            Ok(())
        } else {
            Err(Refusal::NotAReplica)
        }
    }

    /// Takes a change, or what of it is not too late.
    fn merge(
        &mut self,
        key: Bytes,
        mut change: Row,
        origin: Origin,
        rows: &impl Rows,
    ) -> Result<(), Refusal> {
        if self.held_back.len() >= self.settings.unsynced_max {
            return Err(Refusal::Busy);
        }
        self.check_met(origin)?;
        self.check_drift(&change)?;
        let held = rows.row(&key);
        let limit = match origin {
            Origin::DurableRepair => self.meta.proof.floor,
            _ => self.meta.fence,
        };
        let on_time = change.above(limit, &held);
        let is_late = on_time != change;
        let whole = change.clone();
        if is_late {
            match origin {
                Origin::Hint if self.settings.has(Mutant::HintAfterTombstoneGc) => {}
                Origin::Client | Origin::Hint
                    if self.settings.has(Mutant::RestampedLateVersion) =>
                {
                    change = self.restamped(&change);
                }
                Origin::Client | Origin::Hint => return Err(Refusal::BelowFloor),
                Origin::Repair | Origin::DurableRepair => change = on_time,
            }
        }
        let is_late = is_late && {
            let mut after = held.clone();
            after.merge(&change);
            !after.includes(&whole)
        };
        self.store(key, &held, &change);
        if is_late && matches!(origin, Origin::Repair | Origin::DurableRepair) {
            return Err(Refusal::BelowFloor);
        }
        Ok(())
    }

    fn store(&mut self, key: Bytes, held: &Row, change: &Row) {
        if held.includes(change) {
            return;
        }
        let mut row = held.clone();
        row.merge(change);
        let row = row.collected(self.meta.proof.floor);
        if row != *held {
            self.replace(key, held, row);
        }
    }

    fn replace(&mut self, key: Bytes, held: &Row, row: Row) {
        self.note_in_tree(&key, held, &row);
        self.persist(Record::Row { key, row });
    }

    /// What [`Mutant::RestampedLateVersion`] does.
    fn restamped(&self, change: &Row) -> Row {
        let version = super::clock::Version {
            wall_ms: self.at.wall_ms,
            counter: 0,
            node: self.me,
        };
        let cells = change.attributes().iter();
        Row::patch(
            version,
            cells.map(|(name, cell)| (name.clone(), cell.value.clone())),
        )
    }

    fn check_drift(&self, change: &Row) -> Result<(), Refusal> {
        let Some(newest) = change.newest() else {
            return Ok(());
        };
        let drift_max_ms = self.settings.drift_max_ms();
        match check_drift(newest.wall_ms, self.at.wall_ms, drift_max_ms) {
            Err(ClockError::TooFarAhead { ahead_ms }) => Err(Refusal::TooFarAhead { ahead_ms }),
            _ => Ok(()),
        }
    }

    fn persist_meta(&mut self) {
        let meta = self.meta.clone();
        self.persist(Record::Meta(meta));
    }

    fn persist(&mut self, record: Record) {
        self.issued += 1;
        let token = self.issued;
        self.outputs.push_back(Output::Persist { token, record });
    }

    fn refuse(&mut self, to: StorageId, request: RequestNumber, why: Refusal) {
        self.send(to, Message::Refused { request, why });
    }

    fn send(&mut self, to: StorageId, message: Message) {
        self.outputs.push_back(Output::Send { to, message });
    }

    /// Leaves when everything that was stored so far is durable, so that it never tells of
    /// anything that a crash could undo.
    fn send_durable(&mut self, to: StorageId, message: Message) {
        if self.synced == self.issued || self.settings.has(Mutant::UnsyncedCountsTowardsW) {
            self.send(to, message);
        } else {
            let output = Output::Send { to, message };
            self.held_back.push_back((self.issued, output));
        }
    }
}
