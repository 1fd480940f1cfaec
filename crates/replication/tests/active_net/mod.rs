//! Nodes of an active table with a network, disks and clocks that a seed drives, and an oracle that
//! knows what was acknowledged. Time moves only when the test says so.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses a part of the harness"
)]

pub mod oracle;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tablestore_placement::{Epoch, PartitionId, StorageId, TableId};
use tablestore_replication::Ticket;
use tablestore_replication::active::coordinator::{self, Change};
use tablestore_replication::active::merkle::leaf_of;
use tablestore_replication::active::replica::{self, Record};
use tablestore_replication::active::wire::{decode, encode};
use tablestore_replication::active::{
    Coordinator, Message, Moment, Place, Quorum, Replica, ReplicaMeta, Row, Rows, Settings, View,
};

use oracle::Oracle;

/// Where the time of day begins, so that a step back does not end below zero.
pub const WALL_START_MS: u64 = 1_700_000_000_000;
pub const HOUR_MS: i64 = 3_600_000;
/// Outputs of one state machine in a row, as a guard against loops.
const OUTPUTS_MAX: usize = 100_000;

/// Times short enough that a run of seconds sees hints, sweeps and floors.
pub fn settings() -> Settings {
    Settings {
        drift_max: Duration::from_millis(60),
        bound_reserve: Duration::from_millis(20),
        request_timeout: Duration::from_millis(100),
        resend_after: Duration::from_millis(30),
        hint_replay_every: Duration::from_millis(10),
        sweep_every: Duration::from_millis(40),
        join_sweep_every: Duration::from_millis(40),
        join_patience: Duration::from_millis(400),
        floor_age: Duration::from_millis(150),
        floor_step: Duration::from_millis(20),
        ..Settings::default()
    }
}

pub fn member(at: usize) -> StorageId {
    StorageId(at as u64 + 1)
}

pub fn partition() -> PartitionId {
    PartitionId::new(TableId(1), 0)
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone, Default)]
pub struct Stored(pub BTreeMap<Bytes, Row>);

impl Stored {
    fn store(&mut self, key: Bytes, row: Row) {
        if row.is_empty() {
            self.0.remove(&key);
        } else {
            self.0.insert(key, row);
        }
    }
}

impl Rows for Stored {
    fn row(&self, key: &[u8]) -> Row {
        self.0.get(key).cloned().unwrap_or_default()
    }

    fn rows_behind(&self, place: &Place, rows_max: usize) -> Vec<(Bytes, Row)> {
        let at = |key: &Bytes| Place {
            leaf: leaf_of(key),
            key: Some(key.clone()),
        };
        let behind = self.0.iter().filter(|(key, _)| at(key) > *place);
        let mut behind: Vec<_> = behind
            .map(|(key, row)| (key.clone(), row.clone()))
            .collect();
        behind.sort_by_key(|(key, _)| at(key));
        behind.truncate(rows_max);
        behind
    }
}

enum OnDisk {
    Record(u64, Record),
    Bound(u64),
}

pub struct Node {
    pub id: StorageId,
    pub is_up: bool,
    pub coordinator: Coordinator,
    pub replica: Replica,
    pub incarnation: u64,
    /// How wrong its time of day is.
    pub offset_ms: i64,
    pub visible: Stored,
    durable: Stored,
    durable_meta: ReplicaMeta,
    durable_bound_ms: u64,
    unsynced: VecDeque<OnDisk>,
}

struct OnWire {
    at_ms: u64,
    from: usize,
    to: usize,
    message: Message,
}

pub struct Net {
    pub settings: Settings,
    pub random: Random,
    pub now_ms: u64,
    pub nodes: Vec<Node>,
    pub view: View,
    wire: Vec<OnWire>,
    /// Pairs that hear nothing of each other.
    pub cut: BTreeSet<(usize, usize)>,
    /// Percent of messages that are lost or sent twice, and the longest way in milliseconds.
    pub lost: u64,
    pub repeated: u64,
    pub way_ms_max: u64,
    /// Nothing becomes durable while set.
    pub disks_held: bool,
    pub oracle: Oracle,
    tickets: u64,
}

impl Net {
    /// `count` nodes of which the first `replicas` have a copy.
    pub fn new(seed: u64, settings: Settings, count: usize, replicas: usize) -> Self {
        let view = View {
            epoch: Epoch(1),
            current: (0..replicas).map(member).collect(),
            next: Vec::new(),
        };
        let node = |at| Node {
            id: member(at),
            is_up: true,
            coordinator: Coordinator::new(settings, member(at), 1, 0),
            replica: Replica::new(settings, member(at), 1, ReplicaMeta::default()),
            incarnation: 1,
            offset_ms: 0,
            visible: Stored::default(),
            durable: Stored::default(),
            durable_meta: ReplicaMeta::default(),
            durable_bound_ms: 0,
            unsynced: VecDeque::new(),
        };
        let mut net = Self {
            settings,
            random: Random(seed),
            now_ms: 1,
            nodes: (0..count).map(node).collect(),
            view,
            wire: Vec::new(),
            cut: BTreeSet::new(),
            lost: 0,
            repeated: 0,
            way_ms_max: 3,
            disks_held: false,
            oracle: Oracle::new(replicas),
            tickets: 0,
        };
        for at in 0..count {
            net.tell_view(at);
        }
        net
    }

    pub fn write(&mut self, at: usize, key: Bytes, change: Change, quorum: Quorum) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.oracle.write_begins(ticket, key.clone(), quorum);
        let partition = partition();
        let input = coordinator::Input::Write {
            ticket,
            partition,
            key,
            change,
            quorum,
        };
        self.coordinate(at, input);
        ticket
    }

    pub fn read(&mut self, at: usize, key: Bytes, quorum: Quorum, strong: bool) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.oracle.read_begins(ticket, key.clone(), quorum, strong);
        let partition = partition();
        let input = coordinator::Input::Read {
            ticket,
            partition,
            key,
            quorum,
            strong,
        };
        self.coordinate(at, input);
        ticket
    }

    /// A millisecond passes: messages arrive, disks sync, deadlines come.
    pub fn pass(&mut self) {
        self.now_ms += 1;
        let now_ms = self.now_ms;
        let mut due: Vec<OnWire> = self.wire.extract_if(.., |w| w.at_ms <= now_ms).collect();
        while !due.is_empty() {
            let at = self.random.below(due.len() as u64) as usize;
            let arrived = due.swap_remove(at);
            self.deliver(arrived);
        }
        for at in 0..self.nodes.len() {
            if self.nodes[at].is_up {
                if !self.disks_held && self.random.chance(60) {
                    self.sync(at);
                }
                self.coordinate(at, coordinator::Input::Tick);
                self.replicate(at, replica::Input::Tick);
            }
        }
    }

    pub fn pass_ms(&mut self, count: u64) {
        for _ in 0..count {
            self.pass();
        }
    }

    /// Everything that is not durable is lost.
    pub fn crash(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.is_up = false;
        node.unsynced.clear();
        node.visible = node.durable.clone();
        self.wire.retain(|on_way| on_way.to != at);
    }

    pub fn restart(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.is_up = true;
        node.incarnation += 1;
        let bound_ms = node.durable_bound_ms;
        node.coordinator = Coordinator::new(self.settings, node.id, node.incarnation, bound_ms);
        node.replica = {
            let meta = node.durable_meta.clone();
            Replica::new(self.settings, node.id, node.incarnation, meta)
        };
        self.tell_view(at);
    }

    /// The copy is deleted, as by a node that is no replica any more.
    pub fn wipe(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.visible = Stored::default();
        node.durable = Stored::default();
        node.durable_meta = ReplicaMeta::default();
        node.unsynced
            .retain(|on_disk| matches!(on_disk, OnDisk::Bound(_)));
        self.restart(at);
    }

    /// All that the replica had is lost, and its node knows it.
    pub fn lose(&mut self, at: usize) {
        self.wipe(at);
        let meta = ReplicaMeta {
            is_rebuilding: true,
            ..ReplicaMeta::default()
        };
        let node = &mut self.nodes[at];
        node.replica = Replica::new(self.settings, node.id, node.incarnation, meta);
        self.tell_view(at);
    }

    pub fn set_view(&mut self, view: View) {
        self.view = view;
    }

    pub fn tell_view(&mut self, at: usize) {
        let (partition, view) = (partition(), self.view.clone());
        self.replicate(at, replica::Input::View(view.clone()));
        self.coordinate(at, coordinator::Input::View { partition, view });
    }

    fn moment(&self, at: usize) -> Moment {
        let wall_ms = WALL_START_MS + self.now_ms;
        Moment {
            now: Duration::from_millis(self.now_ms),
            wall_ms: wall_ms.saturating_add_signed(self.nodes[at].offset_ms),
        }
    }

    fn sync(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let mut token_last = 0;
        let mut bound_last_ms = 0;
        for on_disk in node.unsynced.drain(..) {
            match on_disk {
                OnDisk::Record(token, record) => {
                    token_last = token;
                    match record {
                        Record::Row { key, row } => node.durable.store(key, row),
                        Record::Meta(meta) => node.durable_meta = meta,
                    }
                }
                OnDisk::Bound(bound_ms) => bound_last_ms = bound_ms,
            }
        }
        if bound_last_ms > 0 {
            node.durable_bound_ms = bound_last_ms;
            let bound_ms = bound_last_ms;
            self.coordinate(at, coordinator::Input::BoundPersisted { bound_ms });
        }
        if token_last > 0 {
            let token = token_last;
            self.replicate(at, replica::Input::Persisted { token });
        }
    }

    fn deliver(&mut self, arrived: OnWire) {
        let OnWire {
            from, to, message, ..
        } = arrived;
        let is_cut = self.cut.contains(&(from.min(to), from.max(to)));
        if is_cut || !self.nodes[to].is_up {
            return;
        }
        let from = member(from);
        let mut bytes = BytesMut::new();
        encode(&message, &mut bytes);
        let message = decode(bytes.freeze()).expect("what is encoded can be decoded");
        if message.is_for_coordinator() {
            self.coordinate(to, coordinator::Input::Message { from, message });
        } else {
            self.replicate(to, replica::Input::Message { from, message });
        }
    }

    fn send(&mut self, from: usize, to: StorageId, message: Message) {
        if let Message::Write { key, change, .. } = &message {
            self.oracle.attempted(key, change);
        }
        let to = to.0 as usize - 1;
        let copies = 1 + u64::from(self.random.chance(self.repeated));
        for _ in 0..copies {
            if from != to && self.random.chance(self.lost) {
                continue;
            }
            let way_ms = self.random.below(self.way_ms_max + 1);
            self.wire.push(OnWire {
                at_ms: self.now_ms + way_ms,
                from,
                to,
                message: message.clone(),
            });
        }
    }

    fn coordinate(&mut self, at: usize, input: coordinator::Input) {
        let moment = self.moment(at);
        self.nodes[at].coordinator.handle(moment, input);
        for _ in 0..OUTPUTS_MAX {
            let Some(output) = self.nodes[at].coordinator.poll_output() else {
                return;
            };
            match output {
                coordinator::Output::Send { to, message, .. } => self.send(at, to, message),
                coordinator::Output::WriteDone { ticket, result } => {
                    self.oracle.write_done(ticket, result);
                }
                coordinator::Output::ReadDone { ticket, result } => {
                    self.oracle.read_done(ticket, result);
                }
                coordinator::Output::PersistBound { bound_ms } => {
                    self.nodes[at].unsynced.push_back(OnDisk::Bound(bound_ms));
                }
                coordinator::Output::RefreshView { partition } => {
                    let view = self.view.clone();
                    let input = coordinator::Input::View { partition, view };
                    let moment = self.moment(at);
                    self.nodes[at].coordinator.handle(moment, input);
                }
            }
        }
        panic!("the coordinator does not come to an end");
    }

    fn replicate(&mut self, at: usize, input: replica::Input) {
        let moment = self.moment(at);
        let node = &mut self.nodes[at];
        node.replica.handle(moment, input, &node.visible);
        for _ in 0..OUTPUTS_MAX {
            let node = &mut self.nodes[at];
            let Some(output) = node.replica.poll_output() else {
                return;
            };
            match output {
                replica::Output::Persist { token, record } => {
                    if let Record::Row { key, row } = &record {
                        node.visible.store(key.clone(), row.clone());
                    }
                    node.unsynced.push_back(OnDisk::Record(token, record));
                }
                replica::Output::Send { to, message } => self.send(at, to, message),
                replica::Output::RefreshView => {
                    let view = replica::Input::View(self.view.clone());
                    node.replica.handle(moment, view, &node.visible);
                }
            }
        }
        panic!("the replica does not come to an end");
    }
}
