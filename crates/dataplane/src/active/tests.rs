//! Three planes with journals of their own over one active table, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tablestore_placement::plan::{self, CopyCaps, Plan};
use tablestore_placement::testing::{carry_out, cluster, create_table, definition, registration};
use tablestore_placement::{
    ACTIVE, ClusterMap, Command, Incarnation, MemberState, Office, PartitionId, StorageId,
    Strategies, TableDefinition, TableId,
};
use tablestore_replication::active::Quorum;
use tablestore_store::item::codec;
use tablestore_store::journal::{Journal, JournalSettings};
use tablestore_store::stopped::StoppedReplicas;
use tablestore_store::testing::SimDisk;
use tablestore_store::{
    Condition, Item, JournalReader, JournalWriter, MemoryEngine, Mutation, ReadRows as _, Value,
};

use super::ActiveRequest;
use crate::request::{Answer, Failure, Operation, Reply};
use crate::{Frame, GroupCommit, Host, LinkOrder, Now, Plane, PlaneEvent, Settings, recover};

const PARTITION: PartitionId = PartitionId {
    table: TableId(1),
    partition: 0,
};
const TURN: Duration = Duration::from_millis(10);

struct Node {
    me: Office,
    disk: SimDisk,
    engine: Arc<MemoryEngine>,
    writer: JournalWriter,
    reader: JournalReader,
    plane: Plane<MemoryEngine, u32>,
    persisted: u64,
    links: BTreeMap<StorageId, u64>,
}

fn notes() -> StoppedReplicas {
    StoppedReplicas::at(Path::new("/nowhere"))
}

impl Node {
    fn start(me: Office, disk: SimDisk, broken: &BTreeMap<u64, String>) -> Self {
        let settings = JournalSettings::default();
        let (writer, reader) =
            Journal::open_on(Arc::new(disk.clone()), "j", &settings, &mut |_| {}).unwrap();
        let engine = Arc::new(MemoryEngine::new());
        let none = BTreeMap::new();
        let place = |_| String::new();
        let stored = recover(engine.as_ref(), &reader, broken, &none, &place).unwrap();
        let plane = Plane::new(me, Settings::default(), Arc::clone(&engine), stored);
        Self {
            me,
            disk,
            engine,
            writer,
            reader,
            plane,
            persisted: 0,
            links: BTreeMap::new(),
        }
    }
}

struct Bench {
    nodes: BTreeMap<StorageId, Node>,
    disks: BTreeMap<StorageId, SimDisk>,
    map: ClusterMap,
    now: Duration,
    mail: Vec<(Office, StorageId, Bytes)>,
    answers: BTreeMap<u32, Reply>,
    asked: u32,
}

impl Bench {
    fn new() -> Self {
        let mut map = cluster(&[("a", 1), ("b", 1), ("c", 1)]);
        let active = TableDefinition {
            strategy: ACTIVE.to_owned(),
            ..definition(1, 3, 2)
        };
        create_table(&mut map, "rows", &active).unwrap();
        let mut bench = Self {
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            map,
            now: Duration::from_secs(1),
            mail: Vec::new(),
            answers: BTreeMap::new(),
            asked: 0,
        };
        (1..=3).for_each(|number| bench.start(StorageId(number)));
        bench.run(20);
        bench
    }

    fn start(&mut self, member: StorageId) {
        self.start_with(member, &BTreeMap::new());
    }

    fn start_with(&mut self, member: StorageId, broken: &BTreeMap<u64, String>) {
        let mut shown = self.map.members[&member].incarnation;
        let disk = self.disks.remove(&member);
        if disk.is_some() {
            shown = Incarnation(shown.0 + 1);
            self.map.members.get_mut(&member).unwrap().incarnation = shown;
            self.map.version = self.map.version.next();
        }
        let disk = disk.unwrap_or_else(|| SimDisk::new(member.0));
        let me = Office {
            member,
            incarnation: shown,
        };
        self.nodes.insert(member, Node::start(me, disk, broken));
        let map = Arc::new(self.map.clone());
        let starts: Vec<Office> = self.nodes.values().map(|node| node.me).collect();
        for node in self.nodes.values_mut() {
            node.plane.handle(PlaneEvent::Map(Arc::clone(&map)));
            let is_new = node.me.member == member;
            for peer in starts.iter().filter(|peer| peer.member != node.me.member) {
                if is_new || peer.member == member {
                    node.plane.handle(PlaneEvent::Inbound(*peer));
                }
            }
        }
    }

    fn kill(&mut self, member: StorageId) {
        let dead = self.nodes.remove(&member).unwrap();
        self.disks.insert(member, dead.disk.crash());
        for node in self.nodes.values_mut() {
            node.plane.handle(PlaneEvent::InboundEnded(dead.me));
            if let Some(link) = node.links.get(&member).copied() {
                node.plane
                    .handle(PlaneEvent::PeerDown { peer: member, link });
            }
        }
    }

    fn run(&mut self, turns: u32) {
        (0..turns).for_each(|_| self.turn());
    }

    fn turn(&mut self) {
        self.now += TURN;
        let now = Now {
            since_start: self.now,
            wall_ms: 1_000_000 + u64::try_from(self.now.as_millis()).unwrap(),
        };
        let up: Vec<StorageId> = self.nodes.keys().copied().collect();
        let mut proposed = Vec::new();
        let mail = std::mem::take(&mut self.mail);
        for node in self.nodes.values_mut() {
            node.plane.begin_turn(now);
            node.plane.handle(PlaneEvent::Persisted(node.persisted));
            for (from, _, bytes) in mail.iter().filter(|letter| letter.1 == node.me.member) {
                let frame = Frame::decode(bytes.clone(), usize::MAX).unwrap();
                node.plane.handle(PlaneEvent::Frame { from: *from, frame });
            }
            for peer in &up {
                // A dial succeeds while the other is there.
                if let Some(link) = node.links.get(peer).copied() {
                    let peer = *peer;
                    if !node.plane.links.is_up(peer) {
                        node.plane.handle(PlaneEvent::PeerUp { peer, link });
                    }
                }
            }
            node.plane.end_turn();
            let effects = node.plane.effects();
            for order in effects.links.drain(..) {
                match order {
                    LinkOrder::Dial { peer, link, .. } => node.links.insert(peer, link),
                    LinkOrder::Close { peer } => node.links.remove(&peer),
                };
            }
            let mut group = GroupCommit::default();
            for record in effects.journal.drain(..) {
                group.push(&mut node.writer, record);
            }
            let me = node.me;
            let frames = effects.frames.drain(..);
            self.mail.extend(frames.map(|(to, frame)| (me, to, frame)));
            for (waiter, _, reply) in effects.answers.drain(..) {
                self.answers.insert(waiter, reply);
            }
            proposed.extend(effects.proposals.drain(..).map(|one| one.command));
            let jobs: Vec<_> = effects.jobs.drain(..).collect();
            node.persisted += group.commit(&mut node.writer).unwrap().records;
            node.disk.settle();
            for job in jobs {
                let notes = notes();
                let host = Host {
                    engine: node.engine.as_ref(),
                    journal: &node.reader,
                    notes: &notes,
                };
                let done = job.run(&host);
                node.plane.handle(PlaneEvent::Done(done));
            }
        }
        for command in proposed {
            if self.map.apply(&command).is_ok() {
                self.announce();
            }
        }
    }

    fn announce(&mut self) {
        let map = Arc::new(self.map.clone());
        for node in self.nodes.values_mut() {
            node.plane.handle(PlaneEvent::Map(Arc::clone(&map)));
        }
    }

    /// A node that has nothing yet.
    fn join(&mut self, number: u64) {
        let new = Command::Register(registration(number, "d", 1));
        self.map.apply(&new).unwrap();
        self.start(StorageId(number));
        self.run(10);
    }

    fn carry_out(&mut self, plan: Plan) {
        assert!(!plan.assignments.is_empty(), "{plan:?}");
        carry_out(&mut self.map, plan).unwrap();
        self.announce();
    }

    /// Until no replica is on its way.
    fn settle(&mut self) {
        for _ in 0..2_000 {
            self.turn();
            let assignment = self.map.assignment(PARTITION).unwrap();
            if assignment.joiner().is_none() {
                self.run(10);
                return;
            }
        }
        panic!("{:?}", self.map.assignment(PARTITION));
    }

    fn drain(&mut self, number: u64) {
        let strategies = Strategies::built_in();
        let plan = plan::drain(&strategies, &self.map, StorageId(number), CopyCaps::DEFAULT);
        self.carry_out(plan);
    }

    fn ask(&mut self, at: u64, request: ActiveRequest) -> u32 {
        self.asked += 1;
        let waiter = self.asked;
        let node = self.nodes.get_mut(&StorageId(at)).unwrap();
        node.plane.handle(PlaneEvent::Active {
            partition: PARTITION,
            request,
            waiter,
        });
        waiter
    }

    fn put(&mut self, at: u64, key: u32, value: &str) -> u32 {
        let mutation = Mutation::Put {
            key: key_of(key),
            item: Item::from([("v".to_owned(), Value::String(value.to_owned()))]),
            condition: Condition::None,
        };
        let request = ActiveRequest::write(mutation, Quorum::Majority).unwrap();
        self.ask(at, request)
    }

    fn read(&mut self, at: u64, key: u32, quorum: Quorum) -> Option<Value> {
        let asked = self.ask(
            at,
            ActiveRequest::Read {
                key: key_of(key).into(),
                quorum,
                strong: quorum == Quorum::Majority,
            },
        );
        self.run(6);
        match self.answers.remove(&asked).unwrap().result.unwrap() {
            Answer::Row(row) => {
                let (_, mut item) = codec::decode_row(&row?).unwrap();
                item.remove("v")
            }
            other => panic!("{other:?}"),
        }
    }

    fn is_acknowledged(&self, waiter: u32) -> bool {
        matches!(&self.answers[&waiter].result, Ok(Answer::Written { .. }))
    }
}

fn key_of(number: u32) -> Vec<u8> {
    format!("\x02key{number:03}").into_bytes()
}

fn text(value: &str) -> Option<Value> {
    Some(Value::String(value.to_owned()))
}

#[test]
fn what_one_node_writes_all_others_read_also_without_one_of_them() {
    let mut bench = Bench::new();
    let asked: Vec<u32> = (0..30)
        .map(|key| bench.put(1 + u64::from(key % 3), key, "first"))
        .collect();
    bench.run(10);
    assert!(asked.iter().all(|waiter| bench.is_acknowledged(*waiter)));
    bench.kill(StorageId(3));
    let asked: Vec<u32> = (0..30)
        .map(|key| bench.put(1 + u64::from(key % 2), key, "second"))
        .collect();
    bench.run(6);
    assert!(asked.iter().all(|waiter| bench.is_acknowledged(*waiter)));
    for key in 0..30 {
        assert_eq!(bench.read(1, key, Quorum::Majority), text("second"));
        assert_eq!(bench.read(2, key, Quorum::Majority), text("second"));
    }
    assert_eq!(bench.nodes[&StorageId(1)].plane.counts().writes, 25);
}

#[test]
fn a_node_that_was_killed_has_what_it_acknowledged_and_gets_what_it_missed() {
    let mut bench = Bench::new();
    for key in 0..10 {
        bench.put(1, key, "before");
    }
    bench.run(10);
    bench.kill(StorageId(3));
    for key in 10..20 {
        bench.put(2, key, "missed");
    }
    bench.run(300);
    bench.start(StorageId(3));
    bench.run(300);
    // Alone it can say only what it has itself.
    bench.kill(StorageId(1));
    bench.kill(StorageId(2));
    for key in 0..10 {
        assert_eq!(bench.read(3, key, Quorum::Count(1)), text("before"));
    }
    for key in 10..20 {
        assert_eq!(bench.read(3, key, Quorum::Count(1)), text("missed"));
    }
    let asked = bench.put(3, 0, "alone");
    bench.run(300);
    let refused = &bench.answers[&asked].result;
    assert!(matches!(refused, Err(Failure::Unknown)), "{refused:?}");
}

#[test]
fn all_that_was_acknowledged_survives_that_all_are_killed() {
    let mut bench = Bench::new();
    let asked = bench.put(2, 5, "kept");
    bench.run(10);
    assert!(bench.is_acknowledged(asked));
    (1..=3).for_each(|number| bench.kill(StorageId(number)));
    (1..=3).for_each(|number| bench.start(StorageId(number)));
    bench.run(30);
    assert_eq!(bench.read(1, 5, Quorum::Majority), text("kept"));
    let newer = bench.put(3, 5, "newer");
    bench.run(10);
    assert!(bench.is_acknowledged(newer));
    assert_eq!(bench.read(1, 5, Quorum::Majority), text("newer"));
}

#[test]
fn a_write_with_a_condition_is_none_for_an_active_table() {
    let mutation = Mutation::Delete {
        key: key_of(1),
        condition: Condition::IfPresent,
    };
    assert!(ActiveRequest::write(mutation, Quorum::Majority).is_none());
}

#[test]
fn a_drained_node_hands_its_rows_over_before_it_leaves_and_requests_go_on() {
    let mut bench = Bench::new();
    for key in 0..40 {
        bench.put(1 + u64::from(key % 3), key, "before");
    }
    bench.run(10);
    bench.join(4);
    bench.drain(1);
    let during: Vec<u32> = (40..50).map(|key| bench.put(2, key, "during")).collect();
    bench.settle();
    bench.run(60);
    assert!(during.iter().all(|waiter| bench.is_acknowledged(*waiter)));
    let then = bench.map.assignment(PARTITION).unwrap().clone();
    assert!(!then.involves(StorageId(1)) && then.in_sync.contains(&StorageId(4)));
    // Nothing is left behind where nobody looks after it.
    let number = PARTITION.to_u64();
    let left = bench.nodes[&StorageId(1)].engine.applied(number);
    assert_eq!(left, 0);
    for number in 1..=3 {
        bench.kill(StorageId(number));
    }
    for key in 0..50 {
        let value = if key < 40 { "before" } else { "during" };
        assert_eq!(bench.read(4, key, Quorum::Count(1)), text(value), "{key}");
    }
}

#[test]
fn a_replica_on_a_dead_node_is_made_anew_on_another_one() {
    let mut bench = Bench::new();
    for key in 0..40 {
        bench.put(1 + u64::from(key % 3), key, "before");
    }
    bench.run(10);
    bench.join(4);
    bench.kill(StorageId(3));
    let strategies = Strategies::built_in();
    let dead = StorageId(3);
    let incarnation = bench.map.members[&dead].incarnation;
    let mut plan = plan::on_member_down(&strategies, &bench.map, dead, incarnation);
    plan.members.push((dead, incarnation, MemberState::Down));
    carry_out(&mut bench.map, plan).unwrap();
    let plan = plan::rereplicate(&bench.map, &[dead], CopyCaps::DEFAULT);
    bench.carry_out(plan);
    bench.settle();
    bench.kill(StorageId(1));
    for key in 0..40 {
        assert_eq!(
            bench.read(4, key, Quorum::Majority),
            text("before"),
            "{key}"
        );
    }
    // The dead one comes back too late: it is no replica, and its rows are not asked for.
    bench.start(StorageId(3));
    bench.run(60);
    let number = PARTITION.to_u64();
    assert_eq!(bench.nodes[&StorageId(3)].engine.applied(number), 0);
}

#[test]
fn a_new_replica_alone_counts_for_nothing_before_it_is_whole() {
    let mut bench = Bench::new();
    let asked = bench.put(1, 7, "kept");
    bench.run(10);
    assert!(bench.is_acknowledged(asked));
    bench.join(4);
    bench.kill(StorageId(2));
    bench.kill(StorageId(3));
    bench.drain(1);
    bench.run(200);
    assert_eq!(
        bench.map.assignment(PARTITION).unwrap().joiner(),
        Some(StorageId(4))
    );
    let write = bench.put(1, 7, "newer");
    bench.run(300);
    let refused = &bench.answers[&write].result;
    assert!(matches!(refused, Err(Failure::Unknown)), "{refused:?}");
    bench.start(StorageId(2));
    bench.start(StorageId(3));
    bench.settle();
    assert_eq!(bench.read(4, 7, Quorum::Majority), text("newer"));
}

#[test]
fn a_replica_whose_files_are_damaged_is_built_anew_from_the_others() {
    let mut bench = Bench::new();
    for key in 0..40 {
        bench.put(1 + u64::from(key % 3), key, "before");
    }
    bench.run(10);
    bench.kill(StorageId(3));
    let broken = BTreeMap::from([(PARTITION.to_u64(), "damaged".to_owned())]);
    bench.start_with(StorageId(3), &broken);
    bench.run(1);
    let write = bench.put(3, 41, "meanwhile");
    bench.run(300);
    let answer = &bench.answers[&write].result;
    assert!(answer.is_ok(), "{answer:?}");
    bench.kill(StorageId(1));
    bench.kill(StorageId(2));
    for key in 0..40 {
        assert_eq!(
            bench.read(3, key, Quorum::Count(1)),
            text("before"),
            "{key}"
        );
    }
    // What it has now is in its log.
    bench.kill(StorageId(3));
    bench.start(StorageId(3));
    bench.run(30);
    assert_eq!(bench.read(3, 41, Quorum::Count(1)), text("meanwhile"));
}

#[test]
fn a_replica_that_is_cleared_and_killed_before_it_is_whole_does_not_count_after_its_restart() {
    let mut bench = Bench::new();
    for key in 0..40 {
        bench.put(1 + u64::from(key % 3), key, "before");
    }
    bench.run(10);
    (1..=3).for_each(|number| bench.kill(StorageId(number)));
    let broken = BTreeMap::from([(PARTITION.to_u64(), "damaged".to_owned())]);
    bench.start_with(StorageId(3), &broken);
    bench.run(20);
    for start in 0..2 {
        let asked = bench.ask(
            3,
            ActiveRequest::Read {
                key: key_of(1).into(),
                quorum: Quorum::Count(1),
                strong: false,
            },
        );
        bench.run(300);
        let refused = &bench.answers[&asked].result;
        assert!(refused.is_err(), "after start {start}: {refused:?}");
        bench.kill(StorageId(3));
        bench.start(StorageId(3));
        bench.run(20);
    }
    bench.start(StorageId(1));
    bench.start(StorageId(2));
    bench.run(400);
    for key in 0..40 {
        assert_eq!(
            bench.read(3, key, Quorum::Count(1)),
            text("before"),
            "{key}"
        );
    }
}

impl Bench {
    fn fill_disk(&mut self, at: u64) {
        let node = self.nodes.get_mut(&StorageId(at)).unwrap();
        let full = PlaneEvent::Room {
            full: true,
            members: std::collections::BTreeSet::new(),
        };
        node.plane.handle(full);
    }
}

#[test]
fn a_write_for_which_no_replica_has_room_is_told_so_at_once_and_a_deletion_goes_on() {
    let mut bench = Bench::new();
    bench.fill_disk(1);
    let one_full = bench.put(1, 1, "kept");
    bench.run(10);
    assert!(bench.is_acknowledged(one_full));
    bench.fill_disk(2);
    bench.fill_disk(3);
    let refused = bench.put(1, 2, "no room");
    let deletion = Mutation::Delete {
        key: key_of(1),
        condition: Condition::None,
    };
    let deletion = ActiveRequest::write(deletion, Quorum::Count(3)).unwrap();
    let deletion = bench.ask(2, deletion);
    bench.run(10);
    let answer = bench.answers.get(&refused).map(|reply| &reply.result);
    assert!(matches!(answer, Some(Err(Failure::Full))), "{answer:?}");
    assert!(bench.is_acknowledged(deletion));
}

#[test]
fn a_write_that_only_one_of_three_has_room_for_may_be_applied_and_nobody_is_waited_for() {
    let mut bench = Bench::new();
    bench.fill_disk(2);
    bench.fill_disk(3);
    let unknown = bench.put(2, 2, "somewhere");
    bench.run(10);
    let answer = bench.answers.get(&unknown).map(|reply| &reply.result);
    assert!(matches!(answer, Some(Err(Failure::Unknown))), "{answer:?}");
}

#[test]
fn who_waits_for_a_table_that_is_dropped_is_told_so_and_nothing_is_known_of_it_any_more() {
    let mut bench = Bench::new();
    bench.kill(StorageId(2));
    bench.kill(StorageId(3));
    let write = bench.put(1, 1, "waits");
    let read = ActiveRequest::Read {
        key: key_of(1).into(),
        quorum: Quorum::Majority,
        strong: true,
    };
    let read = bench.ask(1, read);
    bench.run(5);
    assert!(bench.answers.is_empty());
    let name = "rows".to_owned();
    bench
        .map
        .apply(&Command::DropTable { name, at_ms: 0 })
        .unwrap();
    bench.announce();
    bench.run(2);
    let result =
        |bench: &Bench, asked| bench.answers.get(&asked).map(|reply| reply.result.is_err());
    assert_eq!(result(&bench, write), Some(true));
    assert_eq!(result(&bench, read), Some(true));
    let late = bench.put(1, 2, "late");
    bench.run(1);
    let answer = bench.answers.get(&late).map(|reply| &reply.result);
    assert!(matches!(answer, Some(Err(Failure::Busy))), "{answer:?}");
}

#[test]
fn requests_to_active_tables_and_to_others_share_the_places_of_those_that_wait() {
    let mut bench = Bench::new();
    bench.kill(StorageId(2));
    bench.kill(StorageId(3));
    let first = bench.put(1, 1, "waits");
    let node = bench.nodes.get_mut(&StorageId(1)).unwrap();
    node.plane.settings.waiting_max = 2;
    let elsewhere = PartitionId::new(TableId(9), 0);
    for waiter in [100, 101] {
        let operation = Operation::Get {
            key: key_of(1).into(),
            strong: true,
        };
        let deadline = Duration::from_secs(60);
        node.plane
            .admit_from_client(elsewhere, operation, deadline, waiter);
    }
    bench.run(1);
    let is_busy = |bench: &Bench, asked: u32| {
        let answer = bench.answers.get(&asked).map(|reply| &reply.result);
        matches!(answer, Some(Err(Failure::Busy)))
    };
    assert!(!is_busy(&bench, first) && !is_busy(&bench, 100));
    assert!(
        is_busy(&bench, 101),
        "one place was taken by the other table"
    );
    let late = bench.put(1, 2, "late");
    bench.run(1);
    assert!(is_busy(&bench, late));
}

#[test]
fn a_node_whose_clock_is_off_stamps_nothing_and_reads_all_the_same() {
    let mut bench = Bench::new();
    let before = bench.put(1, 1, "before");
    bench.run(6);
    assert!(bench.answers[&before].result.is_ok());
    let tell = |bench: &mut Bench, off| {
        let node = bench.nodes.get_mut(&StorageId(1)).unwrap();
        node.plane.handle(PlaneEvent::Clock { off });
    };
    tell(&mut bench, true);
    let write = bench.put(1, 1, "off");
    let elsewhere = bench.put(2, 2, "at another node");
    bench.run(6);
    let answer = &bench.answers[&write].result;
    assert!(matches!(answer, Err(Failure::ClockOff)), "{answer:?}");
    assert!(bench.read(1, 1, Quorum::Majority).is_some());
    assert!(
        bench.answers[&elsewhere].result.is_ok(),
        "its replica goes on"
    );
    tell(&mut bench, false);
    let after = bench.put(1, 1, "right again");
    bench.run(6);
    assert!(bench.answers[&after].result.is_ok());
}
