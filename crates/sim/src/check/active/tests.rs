//! The judge of active tables is judged: a clean history passes, and each damage done to one is
//! noticed by the rule that is about it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tablestore_placement::TableId;
use tablestore_store::{Item, Value};

use super::*;

const PARTITION: PartitionId = PartitionId {
    table: TableId(1),
    partition: 3,
};
const MEMBERS: [StorageId; 3] = [StorageId(1), StorageId(2), StorageId(3)];

/// Three replicas that do as they are told, and a client.
struct Bench {
    check: ActiveCheck,
    rows: [BTreeMap<Bytes, Row>; 3],
    ends: [u64; 3],
}

fn version(wall_ms: u64, node: usize) -> Version {
    Version {
        wall_ms,
        counter: 0,
        node: MEMBERS[node],
    }
}

fn key() -> Bytes {
    Bytes::from_static(b"row")
}

fn set(names: &[&str]) -> Change {
    Change::Patch {
        set: names.iter().map(|name| (*name).to_owned()).collect(),
        remove: Vec::new(),
    }
}

fn stored(op: OpId) -> Bytes {
    let mut out = Vec::new();
    let item = Item::from([(String::new(), Value::String(text_of(op, 2)))]);
    codec_item(&item, &mut out);
    out.into()
}

fn codec_item(item: &Item, out: &mut Vec<u8>) {
    tablestore_store::item::codec::encode_item(item, out);
}

fn shown(attributes: &[(&str, OpId)]) -> Bytes {
    let texts = attributes.iter();
    let texts = texts.map(|(name, op)| ((*name).to_owned(), Value::String(text_of(*op, 2))));
    let mut out = Vec::new();
    tablestore_store::item::codec::encode_row(1, &texts.collect(), &mut out);
    out.into()
}

/// The change as replicas merge it.
fn stamped(op: OpId, change: &Change, version: Version) -> Row {
    let name = |name: &String| Bytes::from(name.clone());
    match change {
        Change::Put(names) => {
            let all = names.iter().map(|one| (name(one), stored(op)));
            Row::put(version, all)
        }
        Change::Patch { set, remove } => {
            let set = set.iter().map(|one| (name(one), Some(stored(op))));
            let gone = remove.iter().map(|one| (name(one), None));
            Row::patch(version, set.chain(gone))
        }
        Change::Delete => Row::delete(version),
    }
}

impl Bench {
    fn new() -> Self {
        Self {
            check: ActiveCheck::new(3),
            rows: Default::default(),
            ends: [0; 3],
        }
    }

    fn begin(&mut self, node: usize, change: &Change, w: usize) -> OpId {
        let change = change.clone();
        let asked = Asked::Write { change, w };
        self.check.begin((PARTITION, &key()), MEMBERS[node], asked)
    }

    /// A replica merges a change.
    fn keep(&mut self, at: usize, row: &Row) {
        let held = self.rows[at].entry(key()).or_default();
        held.merge(row);
        self.ends[at] += 1;
        let of = (&key(), &*held);
        self.check.kept(MEMBERS[at], PARTITION, self.ends[at], of);
    }

    /// What all replicas have so far is durable, and the write is acknowledged.
    fn acknowledge(&mut self, op: OpId, version: Version) {
        for (member, end) in MEMBERS.into_iter().zip(self.ends) {
            self.check.synced(member, |_| end);
        }
        self.check.acknowledges(op, version);
        self.check.written(op, version);
    }

    /// A write that all take, at a node and a time.
    fn write(&mut self, node: usize, wall_ms: u64, change: &Change) -> OpId {
        let op = self.begin(node, change, 2);
        let version = version(wall_ms, node);
        (0..3).for_each(|at| self.keep(at, &stamped(op, change, version)));
        self.acknowledge(op, version);
        op
    }

    fn read(&mut self, row: Option<&Bytes>) {
        let asked = Asked::Read { r: 2, strong: true };
        let op = self.check.begin((PARTITION, &key()), MEMBERS[0], asked);
        self.check.found(op, row);
    }

    fn rest(&mut self) {
        let copies = MEMBERS.into_iter().zip(self.rows.clone());
        let copies: Vec<_> = copies.collect();
        self.check.at_rest(PARTITION, &copies);
    }

    /// The name of the rule that was broken first.
    fn broken(&self) -> Option<&str> {
        self.check.violation()?.split(':').next()
    }
}

#[test]
fn a_clean_history_passes() {
    let mut bench = Bench::new();
    let first = bench.write(0, 10, &Change::Put(vec!["a".to_owned(), "b".to_owned()]));
    bench.read(Some(&shown(&[("a", first), ("b", first)])));
    let second = bench.write(1, 20, &set(&["b", "c"]));
    bench.read(Some(&shown(&[("a", first), ("b", second), ("c", second)])));
    // Of a clock that is behind: hidden by what is there.
    bench.write(2, 15, &set(&["b"]));
    bench.read(Some(&shown(&[("a", first), ("b", second), ("c", second)])));
    let remove = Change::Patch {
        set: Vec::new(),
        remove: vec!["a".to_owned()],
    };
    bench.write(0, 30, &remove);
    bench.read(Some(&shown(&[("b", second), ("c", second)])));
    bench.write(1, 40, &Change::Delete);
    bench.read(None);
    let last = bench.write(0, 50, &set(&["a"]));
    bench.read(Some(&shown(&[("a", last)])));
    bench.rest();
    assert_eq!(bench.check.violation(), None);
    let counts = bench.check.counts();
    assert_eq!((counts.writes, counts.reads), (6, 6));
}

#[test]
fn a_write_that_nobody_acknowledged_may_be_seen_or_not() {
    let mut bench = Bench::new();
    let first = bench.write(0, 10, &set(&["a"]));
    let open = bench.begin(1, &set(&["a"]), 2);
    bench.keep(1, &stamped(open, &set(&["a"]), version(20, 1)));
    bench.read(Some(&shown(&[("a", first)])));
    bench.read(Some(&shown(&[("a", open)])));
    assert_eq!(bench.check.violation(), None);
    // But once a majority has shown it, none sees less.
    bench.read(Some(&shown(&[("a", first)])));
    assert_eq!(bench.broken(), Some("active-stale"));
}

#[test]
fn an_acknowledged_write_that_is_gone_is_noticed_in_reads_and_at_rest() {
    let mut bench = Bench::new();
    bench.write(0, 10, &set(&["a"]));
    bench.read(None);
    assert_eq!(bench.broken(), Some("active-lost"));
    let mut bench = Bench::new();
    bench.write(0, 10, &set(&["a"]));
    bench.rows = Default::default();
    bench.rest();
    assert_eq!(bench.broken(), Some("active-lost"));
}

#[test]
fn a_row_that_was_put_without_attributes_exists() {
    let mut bench = Bench::new();
    bench.write(0, 10, &Change::Put(Vec::new()));
    bench.read(Some(&shown(&[])));
    assert_eq!(bench.check.violation(), None);
    bench.read(None);
    assert_eq!(bench.broken(), Some("active-lost"));
}

#[test]
fn an_older_value_after_an_acknowledged_write_is_noticed() {
    let mut bench = Bench::new();
    let first = bench.write(0, 10, &set(&["a"]));
    bench.write(1, 20, &set(&["a"]));
    bench.read(Some(&shown(&[("a", first)])));
    assert_eq!(bench.broken(), Some("active-stale"));
}

#[test]
fn a_deleted_row_that_returns_is_noticed_in_reads_and_at_rest() {
    for removes_row in [true, false] {
        let remove = Change::Patch {
            set: Vec::new(),
            remove: vec!["a".to_owned()],
        };
        let delete = if removes_row { Change::Delete } else { remove };
        let mut bench = Bench::new();
        let first = bench.write(0, 10, &set(&["a"]));
        bench.write(1, 20, &delete);
        let mut other = Bench::new();
        other.write(0, 10, &set(&["a"]));
        let before = other.rows.clone();
        other.write(1, 20, &delete);
        bench.read(Some(&shown(&[("a", first)])));
        assert_eq!(bench.broken(), Some("active-returned"));
        other.rows = before;
        other.rest();
        assert_eq!(other.broken(), Some("active-returned"));
    }
}

#[test]
fn replicas_that_differ_at_rest_are_noticed() {
    let mut bench = Bench::new();
    bench.write(0, 10, &set(&["a"]));
    let open = bench.begin(1, &set(&["b"]), 1);
    bench.keep(1, &stamped(open, &set(&["b"]), version(20, 1)));
    bench.rest();
    assert_eq!(bench.broken(), Some("active-differ"));
}

#[test]
fn swapped_answers_and_what_nobody_wrote_are_noticed() {
    let mut bench = Bench::new();
    let other = Bytes::from_static(b"other");
    let asked = Asked::Write {
        change: set(&["a"]),
        w: 2,
    };
    let foreign = bench.check.begin((PARTITION, &other), MEMBERS[0], asked);
    bench.read(Some(&shown(&[("a", foreign)])));
    assert_eq!(bench.broken(), Some("active-foreign"));
    for (name, op) in [("a", 99), ("z", 1)] {
        let mut bench = Bench::new();
        bench.write(0, 10, &set(&["a"]));
        bench.read(Some(&shown(&[(name, op)])));
        assert_eq!(bench.broken(), Some("active-foreign"), "{name}");
    }
}

#[test]
fn a_write_with_two_versions_and_a_version_of_two_writes_are_noticed() {
    let mut bench = Bench::new();
    let op = bench.write(0, 10, &set(&["a"]));
    bench.keep(2, &stamped(op, &set(&["a"]), version(90, 2)));
    assert_eq!(bench.broken(), Some("active-stamp"));
    let mut bench = Bench::new();
    bench.write(0, 10, &set(&["a"]));
    let second = bench.begin(0, &set(&["b"]), 2);
    bench.check.written(second, version(10, 0));
    assert_eq!(bench.broken(), Some("active-stamp"));
}

#[test]
fn versions_of_a_node_that_go_back_are_noticed_and_those_of_another_are_not() {
    let mut bench = Bench::new();
    bench.write(0, 20, &set(&["a"]));
    bench.write(1, 15, &set(&["a"]));
    assert_eq!(bench.check.violation(), None);
    bench.write(0, 19, &set(&["a"]));
    assert_eq!(bench.broken(), Some("active-stamp"));
}

#[test]
fn more_deletions_than_were_asked_for_are_noticed() {
    let mut bench = Bench::new();
    bench.write(0, 10, &Change::Delete);
    bench.keep(1, &Row::delete(version(30, 1)));
    assert_eq!(bench.broken(), Some("active-stamp"));
}

#[test]
fn an_acknowledgement_that_too_few_disks_stand_behind_is_noticed() {
    for held in [1, 2] {
        let mut bench = Bench::new();
        let op = bench.begin(0, &set(&["a"]), 2);
        let version = version(10, 0);
        (0..held).for_each(|at| bench.keep(at, &stamped(op, &set(&["a"]), version)));
        bench.acknowledge(op, version);
        let is_enough = held == 2;
        assert_eq!(bench.broken().is_none(), is_enough);
    }
    // Both have it, and one of them not on its disk.
    let mut bench = Bench::new();
    let op = bench.begin(0, &set(&["a"]), 2);
    let version = version(10, 0);
    (0..2).for_each(|at| bench.keep(at, &stamped(op, &set(&["a"]), version)));
    bench.check.synced(MEMBERS[0], |_| 1);
    bench.check.acknowledges(op, version);
    assert_eq!(bench.broken(), Some("active-unsynced"));
}

#[test]
fn what_a_start_does_not_find_in_its_log_is_not_on_its_disk() {
    let mut bench = Bench::new();
    let op = bench.begin(0, &set(&["a"]), 1);
    let version = version(10, 0);
    bench.keep(0, &stamped(op, &set(&["a"]), version));
    bench.check.restarted(MEMBERS[0], |_| 0);
    bench.check.synced(MEMBERS[0], |_| 1);
    bench.check.acknowledges(op, version);
    assert_eq!(bench.broken(), Some("active-unsynced"));
}
