//! A few replicas of one partition with a network and disks that a test holds in its hand. Time
//! moves only when the test says so.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses a part of the harness"
)]
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tablestore_placement::{
    Assignment, AssignmentVersion, Epoch, Incarnation, Office, PartitionId, StorageId, TableId,
};
use tablestore_replication::{
    Entry, EntryBody, Input, Message, Outcome, Output, PartitionMeta, PersistRecord, ReadRefused,
    Recovered, Replica, RequestId, Role, Settings, Status, Ticket, View, WriteRefused, Written,
};

/// Outputs of one replica in a row without an input, as a guard against loops.
const OUTPUTS_MAX: usize = 100_000;

pub fn member(at: usize) -> StorageId {
    StorageId(at as u64 + 1)
}

pub fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// One replica with its disk and its state machine.
pub struct Host {
    pub replica: Replica,
    pub incarnation: u64,
    /// Its process began this long before the time of the net did.
    pub ahead: Duration,
    /// What is durable.
    pub entries: Vec<Entry>,
    pub meta: PartitionMeta,
    pub unsynced: VecDeque<(u64, PersistRecord)>,
    /// Nothing becomes durable while set.
    pub disk_held: bool,
    /// Nothing is read back from the journal while set.
    pub reads_held: bool,
    /// What is to be read back, from where to where.
    pub reads: Vec<(u64, u64)>,
    /// Payloads in the order in which they were applied.
    pub applied: Vec<Entry>,
    /// Everything else that the replica asked for.
    pub outputs: Vec<Output>,
}

/// Replicas, and messages on their way.
pub struct Net {
    pub now: Duration,
    pub hosts: Vec<Host>,
    pub wire: VecDeque<(usize, usize, Message)>,
    pub cut: BTreeSet<(usize, usize)>,
    pub epoch: u64,
    pub version: u64,
    pub settings: Settings,
    pub in_sync_min: u32,
    tickets: u64,
}

impl Net {
    pub fn new(count: usize) -> Self {
        Self::with(count, Settings::default())
    }

    pub fn with(count: usize, settings: Settings) -> Self {
        let mut net = Self {
            now: ms(1),
            hosts: Vec::new(),
            wire: VecDeque::new(),
            cut: BTreeSet::new(),
            epoch: 0,
            version: 0,
            settings,
            in_sync_min: 2.min(count as u32),
            tickets: 0,
        };
        for at in 0..count {
            let host = net.host(at, 1, Recovered::empty());
            net.hosts.push(host);
        }
        net
    }

    /// Three replicas, all in sync, the first one in office and serving.
    pub fn serving(count: usize) -> Self {
        Self::serving_with(count, Settings::default())
    }

    pub fn serving_with(count: usize, settings: Settings) -> Self {
        let mut net = Self::with(count, settings);
        let all: Vec<usize> = (0..count).collect();
        net.elect(0, &all);
        net.settle();
        assert!(net.status(0).serving);
        net
    }

    fn host(&self, at: usize, incarnation: u64, recovered: Recovered) -> Host {
        let me = Office {
            member: member(at),
            incarnation: Incarnation(incarnation),
        };
        let partition = PartitionId::new(TableId(1), 0);
        let meta = recovered.meta.clone();
        Host {
            replica: Replica::new(self.settings, me, partition, recovered),
            incarnation,
            ahead: Duration::ZERO,
            entries: Vec::new(),
            meta,
            unsynced: VecDeque::new(),
            disk_held: false,
            reads_held: false,
            reads: Vec::new(),
            applied: Vec::new(),
            outputs: Vec::new(),
        }
    }

    pub fn status(&self, at: usize) -> Status {
        self.hosts[at].replica.status()
    }

    pub fn office(&self, at: usize) -> Office {
        Office {
            member: member(at),
            incarnation: Incarnation(self.hosts[at].incarnation),
        }
    }

    pub fn view(&self, primary: usize, in_sync: &[usize], unreachable: &[usize]) -> View {
        View {
            assignment: Assignment {
                epoch: Epoch(self.epoch),
                version: AssignmentVersion(self.version),
                primary: Some(self.office(primary)),
                replicas: (0..self.hosts.len()).map(member).collect(),
                in_sync: in_sync.iter().copied().map(member).collect(),
            },
            unreachable: unreachable.iter().copied().map(member).collect(),
            in_sync_min: self.in_sync_min,
        }
    }

    /// A new epoch: only the new primary is told.
    pub fn elect(&mut self, primary: usize, in_sync: &[usize]) {
        self.epoch += 1;
        self.version += 1;
        let view = self.view(primary, in_sync, &[]);
        self.input(primary, Input::Assignment(view));
    }

    /// Another in-sync set within the epoch: only the primary is told.
    pub fn reassign(&mut self, primary: usize, in_sync: &[usize], unreachable: &[usize]) {
        self.version += 1;
        let view = self.view(primary, in_sync, unreachable);
        self.input(primary, Input::Assignment(view));
    }

    /// Gives an input and carries out what the harness itself can.
    pub fn input(&mut self, at: usize, input: Input) {
        let now = self.now_of(at);
        self.hosts[at].replica.handle(now, input);
        for _ in 0..OUTPUTS_MAX {
            let Some(output) = self.hosts[at].replica.poll_output() else {
                break;
            };
            self.carry_out(at, output);
        }
        if !self.hosts[at].disk_held {
            self.sync(at);
        }
    }

    fn carry_out(&mut self, at: usize, output: Output) {
        let now = self.now_of(at);
        let host = &mut self.hosts[at];
        match output {
            Output::Persist { token, record } => host.unsynced.push_back((token, record)),
            Output::Send { to, message } => {
                let to = to.0 as usize - 1;
                if !self.cut.contains(&(at, to)) {
                    self.wire.push_back((at, to, message));
                }
            }
            Output::Apply { entries } => {
                let mut results = Vec::new();
                for entry in entries {
                    if let EntryBody::Write { .. } = entry.body() {
                        let outcome = Outcome {
                            code: 200,
                            version: entry.index,
                        };
                        results.push((entry.index, outcome));
                    }
                    host.applied.push(entry);
                }
                host.replica.handle(now, Input::Applied { results });
            }
            Output::ReadLog { from, to, .. } if host.reads_held => host.reads.push((from, to)),
            Output::ReadLog { from, to, .. } => {
                let wanted = |entry: &&Entry| (from..=to).contains(&entry.index);
                let entries = host.entries.iter().filter(wanted).cloned().collect();
                host.replica.handle(now, Input::LogRead { from, entries });
            }
            other => host.outputs.push(other),
        }
    }

    /// Makes everything durable that was handed to the disk.
    pub fn sync(&mut self, at: usize) {
        for _ in 0..OUTPUTS_MAX {
            let host = &mut self.hosts[at];
            let Some((token, _)) = host.unsynced.back() else {
                return;
            };
            let token = *token;
            for (_, record) in std::mem::take(&mut host.unsynced) {
                host.write(record);
            }
            let now = self.now_of(at);
            let persisted = Input::Persisted { token };
            self.hosts[at].replica.handle(now, persisted);
            while let Some(output) = self.hosts[at].replica.poll_output() {
                self.carry_out(at, output);
            }
        }
    }

    /// Reads back what was held.
    pub fn finish_reads(&mut self, at: usize) {
        self.hosts[at].reads_held = false;
        for (from, to) in std::mem::take(&mut self.hosts[at].reads) {
            let entries = self.hosts[at].entries.iter();
            let entries = entries.filter(|entry| (from..=to).contains(&entry.index));
            let entries = entries.cloned().collect();
            self.input(at, Input::LogRead { from, entries });
        }
    }

    /// Delivers messages until none is left.
    pub fn settle(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            if !self.deliver_one() {
                return;
            }
        }
        panic!("messages never end");
    }

    /// Delivers the oldest message.
    pub fn deliver_one(&mut self) -> bool {
        let Some((from, to, message)) = self.wire.pop_front() else {
            return false;
        };
        self.deliver(from, to, message);
        true
    }

    pub fn deliver(&mut self, from: usize, to: usize, message: Message) {
        let from = self.office(from);
        self.input(to, Input::Message { from, message });
    }

    /// Time passes; every deadline is met.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..OUTPUTS_MAX {
            self.settle();
            let deadlines = (0..self.hosts.len()).filter_map(|at| self.deadline_of(at));
            let Some(next) = deadlines.min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            for at in 0..self.hosts.len() {
                let due = self.deadline_of(at);
                if due.is_some_and(|due| due <= self.now) {
                    self.input(at, Input::Tick);
                }
            }
        }
        self.now = end;
    }

    /// The monotonic time of a host.
    fn now_of(&self, at: usize) -> Duration {
        self.now + self.hosts[at].ahead
    }

    /// When a host is due, in the time of the net.
    fn deadline_of(&self, at: usize) -> Option<Duration> {
        let host = &self.hosts[at];
        let due = host.replica.next_deadline();
        due.map(|due| due.saturating_sub(host.ahead))
    }

    /// The process dies with what was not synced; another one starts on the rest.
    pub fn restart(&mut self, at: usize) {
        let old = &self.hosts[at];
        let mut meta = old.meta.clone();
        meta.commit = meta.commit.min(meta.end);
        let recovered = Recovered {
            first: old.entries.first().map_or(meta.end + 1, |e| e.index),
            meta,
            applied: 0,
            remembered: Vec::new(),
        };
        let (entries, incarnation) = (old.entries.clone(), old.incarnation + 1);
        let mut host = self.host(at, incarnation, recovered);
        host.entries = entries;
        self.hosts[at] = host;
        self.wire.retain(|(from, to, _)| *from != at && *to != at);
    }

    pub fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// A write with the given request id.
    pub fn write(&mut self, at: usize, request: u128) -> Ticket {
        self.write_body(at, request, 7)
    }

    pub fn write_body(&mut self, at: usize, request: u128, digest: u64) -> Ticket {
        let ticket = self.ticket();
        let write = Input::Write {
            ticket,
            request: RequestId(request),
            digest,
            payload: Bytes::from_static(b"row"),
        };
        self.input(at, write);
        ticket
    }

    pub fn read(&mut self, at: usize) -> Ticket {
        let ticket = self.ticket();
        self.input(at, Input::Read { ticket });
        ticket
    }

    /// The answer to a write, if there is one.
    pub fn written(&self, at: usize, of: Ticket) -> Option<Result<Written, WriteRefused>> {
        let mut outputs = self.hosts[at].outputs.iter();
        outputs.find_map(|output| match output {
            Output::WriteDone { ticket, result } if *ticket == of => Some(*result),
            _ => None,
        })
    }

    /// The answer to a read, if there is one.
    pub fn answered(&self, at: usize, of: Ticket) -> Option<Result<Epoch, ReadRefused>> {
        let mut outputs = self.hosts[at].outputs.iter();
        outputs.find_map(|output| match output {
            Output::ReadReady { ticket, epoch } if *ticket == of => Some(Ok(*epoch)),
            Output::ReadRefused { ticket, why } if *ticket == of => Some(Err(*why)),
            _ => None,
        })
    }

    /// Takes what a replica asked for since the last time.
    pub fn take(&mut self, at: usize) -> Vec<Output> {
        std::mem::take(&mut self.hosts[at].outputs)
    }

    pub fn halted(&self, at: usize) -> Option<String> {
        let mut outputs = self.hosts[at].outputs.iter();
        outputs.find_map(|output| match output {
            Output::Halted { invariant } => Some(invariant.clone()),
            _ => None,
        })
    }

    /// The proposals among the outputs: version, set and joiner.
    pub fn proposals(&mut self, at: usize) -> Vec<(u64, Vec<usize>, Option<usize>)> {
        let place = |storage: StorageId| storage.0 as usize - 1;
        let outputs = self.take(at).into_iter();
        outputs
            .filter_map(|output| match output {
                Output::Propose {
                    version,
                    in_sync,
                    joiner,
                    ..
                } => Some((
                    version.0,
                    in_sync.into_iter().map(place).collect(),
                    joiner.map(|start| place(start.member)),
                )),
                _ => None,
            })
            .collect()
    }

    pub fn log(&self, at: usize) -> Vec<(u64, u64)> {
        let entries = self.hosts[at].entries.iter();
        entries.map(|entry| (entry.epoch.0, entry.index)).collect()
    }

    pub fn is_stopped(&self, at: usize) -> bool {
        self.status(at).role == Role::Stopped
    }
}

impl Host {
    fn write(&mut self, record: PersistRecord) {
        match record {
            PersistRecord::Entry(entry) => {
                self.meta.extend(entry.epoch, entry.index);
                self.entries.push(entry);
            }
            PersistRecord::Meta(meta) => {
                self.entries.retain(|entry| entry.index <= meta.end);
                self.meta = meta;
            }
            PersistRecord::Restart(meta) => {
                self.entries.clear();
                self.meta = meta;
            }
        }
    }
}
