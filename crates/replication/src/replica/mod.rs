//! One replica of one partition: takes inputs, changes roles, gives outputs. The roles
//! themselves are in `primary` and `backup`, what they share is in `core`.

mod apply;
mod backup;
mod confirm;
mod core;
mod follower;
mod in_sync;
mod membership;
mod primary;
mod requests;
mod routing;
mod serving;
mod snapshot;
mod status;

use std::time::Duration;

use tablestore_placement::{Epoch, Office, PartitionId, StorageId};

pub use self::follower::FollowerState;
pub use self::status::{FollowerStatus, Role, Status};

use self::apply::ReadFor;
use self::backup::Backup;
use self::core::Core;
use self::primary::Primary;
use self::requests::{WriteRequest, answer};
use crate::input::Input;
use crate::mutant::Mutant;
use crate::output::{Output, ReadRefused, WriteRefused};
use crate::settings::Settings;
use crate::types::{Now, PartitionMeta, Recovered, Remembered, SnapshotMeta, Ticket};

/// A deadline is never nearer than this, so that a host never spins.
const TICK_MIN: Duration = Duration::from_millis(1);

/// The primary/backup protocol of one partition on one node.
///
/// Give it one [`Input`], drain [`Replica::poll_output`], wait until the next input or
/// [`Replica::next_deadline`].
#[derive(Debug)]
pub struct Replica {
    partition: PartitionId,
    pub(crate) core: Core,
    pub(crate) primary: Option<Box<Primary>>,
    backup: Backup,
    /// An office is taken only for an epoch above this: each epoch at most once, and none that
    /// an earlier life of this replica may have acted in.
    office_floor: Epoch,
    announced: (Role, Epoch, bool),
}

impl Replica {
    /// A replica as its host found it on the disk.
    #[must_use]
    pub fn new(
        settings: Settings,
        me: Office,
        partition: PartitionId,
        recovered: Recovered,
    ) -> Self {
        let office_floor = recovered.meta.adopted;
        let mut replica = Self {
            partition,
            core: Core::new(settings, me, recovered),
            primary: None,
            backup: Backup::default(),
            office_floor,
            announced: (Role::Outsider, office_floor, false),
        };
        replica.sabotage_recovery();
        replica
    }

    /// Which partition this is.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// Something happened.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.notice_time(now);
        if self.core.stopped {
            self.refuse(input);
            return;
        }
        self.dispatch(input);
        if !self.core.stopped {
            self.run_timers();
            self.advance();
        }
        if self.core.stopped {
            self.stop_primary();
        }
        self.announce();
    }

    /// How many bytes of the log's end stay in memory from now on; see
    /// [`TAIL_BYTES_MAX`](crate::settings::TAIL_BYTES_MAX).
    pub fn set_tail_bytes_max(&mut self, bytes: usize) {
        self.core.settings.tail_bytes_max = bytes.max(1);
    }

    /// Says to which members so much is on its way, from all replicas of this node, that entries
    /// have to wait. Holds until the next call; [`is_held_back`](Self::is_held_back) says whether
    /// an `Input::Tick` is worth it once there is room.
    pub fn set_crowded(&mut self, members: &[StorageId]) {
        if self.core.crowded != members {
            self.core.crowded = members.to_vec();
        }
    }

    /// Whether entries wait for a member only because it is crowded.
    #[must_use]
    pub fn is_held_back(&self) -> bool {
        let followers = self.primary.iter().flat_map(|p| p.followers.values());
        !self.core.crowded.is_empty()
            && followers
                .into_iter()
                .any(|follower| follower.is_held_back(&self.core))
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.core.outputs.pop_front()
    }

    /// When `Input::Tick` is due if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Now> {
        if self.core.stopped {
            return None;
        }
        let primary = self.primary.as_ref().and_then(|p| p.deadline(&self.core));
        let reads = self.core.log_reads.deadline();
        let deadline = [primary, reads, self.core.record_commit_at()]
            .into_iter()
            .flatten()
            .min()?;
        Some(deadline.max(self.core.now + TICK_MIN))
    }

    /// The remembered requests above a log index, in order.
    pub fn remembered_after(&self, index: u64) -> impl Iterator<Item = Remembered> + '_ {
        self.core.remembered.after(index)
    }

    /// The log index of the oldest request that is remembered: what ends below it may be forgotten
    /// on the disk as well.
    #[must_use]
    pub fn remembered_from(&self) -> Option<u64> {
        self.core.remembered.oldest_index()
    }

    /// What should be durable beside the entries, as of now.
    #[must_use]
    pub fn meta(&self) -> PartitionMeta {
        self.core.meta()
    }

    /// What a snapshot of the engine contains that is taken now, while nothing is being applied:
    /// index and history are of the same moment.
    #[must_use]
    pub fn snapshot_meta(&self) -> SnapshotMeta {
        let core = &self.core;
        let mut history = core.history.clone();
        history.truncate(core.applied);
        SnapshotMeta {
            index: core.applied,
            epoch: core.history.epoch_at(core.applied),
            history: history.into_starts(),
        }
    }

    /// The lowest index that the journal must still hold: for the state machine, for the other
    /// in-sync members should this replica become primary, for followers that catch up.
    #[must_use]
    pub fn log_needed_from(&self) -> u64 {
        let core = &self.core;
        let own = core.applied.min(core.commit) + 1;
        let kept_from = (core.end() + 1).saturating_sub(core.settings.pin_entries_max);
        let followers = self.primary.iter().flat_map(|p| p.followers.values());
        followers
            .filter_map(|follower| follower.pin)
            .filter(|pin| *pin >= kept_from)
            .fold(own, u64::min)
    }

    fn dispatch(&mut self, input: Input) {
        match input {
            Input::Assignment(view) => self.on_assignment(view),
            Input::Write {
                ticket,
                request,
                digest,
                payload,
            } => self.on_write(WriteRequest {
                ticket,
                request,
                digest,
                payload,
            }),
            Input::Read { ticket } => self.on_read(ticket),
            Input::Message { from, message } => self.on_message(from, message),
            Input::Persisted { token } => self.core.persisted(token),
            Input::Applied { results } => self.on_applied(&results),
            Input::LogRead { from, entries } => self.on_log_read(from, entries),
            Input::LogTrimmed { first } => {
                self.core.first = self.core.first.max(first.min(self.core.end() + 1));
            }
            Input::PeerUp(member) => {
                self.core.down.remove(&member);
                if let Some(primary) = &mut self.primary {
                    primary.open_session(&mut self.core, member);
                }
            }
            Input::PeerDown(member) => {
                let now = self.core.now;
                self.core.down.entry(member).or_insert(now);
            }
            Input::SnapshotOffered { from, epoch, meta } => {
                self.on_snapshot_offered(from, epoch, meta);
            }
            Input::SnapshotInstalled { meta, remembered } => {
                self.on_snapshot_installed(meta, &remembered);
            }
            Input::StorageFailed => self.core.storage_failed(),
            Input::Tick => {}
            other => self.dispatch_to_primary(other),
        }
    }

    /// Inputs that mean nothing but to a primary.
    fn dispatch_to_primary(&mut self, input: Input) {
        let core = &mut self.core;
        let Some(primary) = &mut self.primary else {
            match input {
                Input::Resign => core.output(Output::Resigned),
                Input::Checksum { id } => core.output(Output::ChecksumRefused { id }),
                _ => {}
            }
            return;
        };
        match input {
            Input::ProposalRefused { version } => primary.on_proposal_refused(core, version),
            Input::MapConfirmed { round, epoch, .. } => {
                primary.on_map_confirmed(core, round, epoch);
            }
            Input::MapUnavailable { round } => primary.on_map_unavailable(core, round),
            Input::SnapshotDelivered { to, index } => {
                primary.on_snapshot_delivered(core, to, index);
            }
            Input::SnapshotFailed { to } => primary.on_snapshot_failed(core, to),
            Input::Checksum { id } => primary.checksum(core, id),
            Input::Resign => primary.resign(core),
            _ => {}
        }
    }

    fn on_write(&mut self, write: WriteRequest) {
        if let Some(primary) = &mut self.primary {
            primary.write(&mut self.core, write);
        } else {
            let refused = WriteRefused::NotPrimary {
                primary: self.core.primary_known(),
                epoch: self.core.adopted,
            };
            answer(&mut self.core, write.ticket, Err(refused));
        }
    }

    fn on_read(&mut self, ticket: Ticket) {
        if let Some(primary) = &mut self.primary {
            primary.read(&mut self.core, ticket);
        } else {
            let why = ReadRefused::NotPrimary {
                primary: self.core.primary_known(),
                epoch: self.core.adopted,
            };
            self.core.output(Output::ReadRefused { ticket, why });
        }
    }

    fn on_log_read(&mut self, from: u64, entries: Vec<crate::Entry>) {
        match self.core.take_log_read(from, entries) {
            Some((ReadFor::Apply, entries)) => self.core.apply_read(entries),
            Some((ReadFor::Follower(to), entries)) => {
                if let Some(primary) = &mut self.primary {
                    primary.on_log_read(&mut self.core, to, entries);
                }
            }
            None => {}
        }
        if self.core.log_reads.are_in_vain() {
            self.halt("what the journal took can be read back");
        }
    }

    /// Goes on with whatever became possible.
    fn advance(&mut self) {
        if let Some(primary) = &mut self.primary {
            primary.advance(&mut self.core);
        } else {
            self.backup.acknowledge(&mut self.core);
            self.core.apply_more();
        }
        self.core.record_commit();
        self.core.trim_memory();
    }

    fn run_timers(&mut self) {
        self.core.log_reads.tick(self.core.now);
        if let Some(primary) = &mut self.primary
            && primary
                .deadline(&self.core)
                .is_some_and(|at| at <= self.core.now)
        {
            primary.tick(&mut self.core);
        }
    }

    /// Time never goes back. Who comes long after the deadline that was asked for stood still,
    /// and whatever others failed to do meanwhile may be waiting to be read.
    fn notice_time(&mut self, now: Now) {
        let due = self.next_deadline();
        self.core.now = self.core.now.max(now);
        self.core.log_clock.watch(self.core.now);
        let slack = self.core.settings.lag_timeout / 4;
        if due.is_some_and(|due| due + slack < self.core.now)
            && let Some(primary) = &mut self.primary
        {
            primary.forgive(self.core.now);
        }
    }

    pub(crate) fn halt(&mut self, invariant: &str) {
        self.core.halt(invariant);
    }

    fn stop_primary(&mut self) {
        self.backup.end_session();
        if let Some(primary) = self.primary.take() {
            primary.stop(&mut self.core);
        }
    }

    /// A stopped replica answers requests and nothing else.
    fn refuse(&mut self, input: Input) {
        match input {
            Input::Write { ticket, .. } => {
                answer(&mut self.core, ticket, Err(WriteRefused::Stopped));
            }
            Input::Read { ticket } => {
                let why = ReadRefused::Stopped;
                self.core.output(Output::ReadRefused { ticket, why });
            }
            Input::SnapshotOffered { from, .. } => {
                self.core.output(Output::DropSnapshot { from });
            }
            Input::Resign => self.core.output(Output::Resigned),
            _ => {}
        }
    }

    /// Says when role, epoch or readiness changed.
    fn announce(&mut self) {
        let serving = self.primary.as_ref().is_some_and(|p| p.serving);
        let present = (self.role(), self.core.adopted, serving);
        if present != self.announced {
            self.announced = present;
            let (role, epoch, serving) = present;
            self.core.output(Output::RoleChanged {
                role,
                epoch,
                serving,
            });
        }
    }

    fn sabotage_recovery(&mut self) {
        let commit = self.core.commit;
        if self.core.settings.has(Mutant::TruncateByCommitMark) && commit < self.core.end() {
            self.core.truncate(commit);
        }
    }
}
