//! The snapshot file of the cluster map byte by byte, and one of an older version.
#![expect(clippy::unwrap_used, reason = "a failure is the test's result")]

use std::collections::BTreeSet;

use openraft::{BasicNode, Membership};
use tablestore_placement::{
    Assignment, AssignmentVersion, ClusterId, Decision, DecisionKind, Epoch, Incarnation,
    KeyDefinition, KeyType, Layout, MapVersion, Member, MemberState, Office, PartitionChange,
    PartitionId, StorageId, Table, TableDefinition, TableId,
};
use tablestore_store::maplog::EntryId;
use tablestore_store::testing::golden::{Golden, dump, lay_out};

use super::*;

const GOLDEN: Golden<'_> = Golden {
    format: "the snapshot of the cluster map",
    number: "SNAPSHOT_FORMAT, or MAP_FORMAT if it is the map",
    file: "map-snapshot-1.txt",
    text: include_str!("../../testdata/map-snapshot-1.txt"),
};

const STATES: [MemberState; 5] = [
    MemberState::Up,
    MemberState::Suspect,
    MemberState::Down,
    MemberState::Draining,
    MemberState::Left,
];

const KINDS: [DecisionKind; 15] = [
    DecisionKind::Founded,
    DecisionKind::Joined,
    DecisionKind::Left,
    DecisionKind::TableCreated,
    DecisionKind::TableDropped,
    DecisionKind::MemberDown,
    DecisionKind::MemberBack,
    DecisionKind::Failover,
    DecisionKind::Rebalance,
    DecisionKind::Rereplicate,
    DecisionKind::Drain,
    DecisionKind::InSync,
    DecisionKind::ColdStart,
    DecisionKind::Stall,
    DecisionKind::Unclean,
];

fn member(number: u64, state: MemberState) -> Member {
    Member {
        storage: StorageId(number),
        name: format!("n{number}"),
        http_address: format!("10.0.0.{number}:8000"),
        peer_address: format!("10.0.0.{number}:8001"),
        zone: "eu/1".to_owned(),
        weight: 2,
        incarnation: Incarnation(number + 1),
        start: 70 + number,
        boot: 7,
        state,
        since_ms: 1_700_000_000_000,
        replaced_by: (number == 3).then_some(StorageId(4)),
        drains: false,
    }
}

fn assignment() -> Assignment {
    Assignment {
        epoch: Epoch(2),
        version: AssignmentVersion(5),
        primary: Some(Office {
            member: StorageId(1),
            incarnation: Incarnation(2),
        }),
        replicas: vec![StorageId(1), StorageId(2)],
        in_sync: vec![StorageId(1)],
    }
}

fn table(id: u32, (key, sort): (KeyType, Option<KeyType>), layout: Layout) -> Table {
    let key_definition = |name: &str, key_type| KeyDefinition {
        name: name.to_owned(),
        key_type,
    };
    Table {
        id: TableId(id),
        name: format!("t{id}"),
        definition: TableDefinition {
            partition_key: key_definition("id", key),
            sort_key: sort.map(|sort| key_definition("at", sort)),
            strategy: "primary-backup".to_owned(),
            replicas: 2,
            min_in_sync: 1,
            partitions: 2,
            layout,
        },
        partitions: vec![assignment(), Assignment::default()],
        founded: None,
    }
}

fn decision((id, kind): (u64, DecisionKind)) -> Arc<Decision> {
    let mut decision = Decision::new(kind, 9)
        .about(StorageId(1))
        .on_evidence("refused")
        .because("it is gone")
        .phase("noticed", 8);
    decision.id = id;
    decision.changes = vec![PartitionChange {
        partition: PartitionId::new(TableId(1), 1),
        before: (id == 1).then(assignment),
        after: assignment(),
    }];
    decision.changes_total = 70;
    Arc::new(decision)
}

fn contents() -> Contents {
    let members = (1..).zip(STATES);
    let members = members.map(|(number, state)| (StorageId(number), member(number, state)));
    let tables = [
        table(1, (KeyType::String, Some(KeyType::Number)), Layout::Row),
        table(2, (KeyType::Binary, None), Layout::Column),
    ];
    let map = ClusterMap {
        format: MAP_FORMAT,
        cluster: ClusterId(0xc1),
        version: MapVersion(300),
        members: members.collect(),
        retired: BTreeSet::from([StorageId(9), StorageId(1 << 60)]),
        tables: tables.into_iter().map(|table| (table.id, table)).collect(),
        decisions: (1..).zip(KINDS).map(decision).collect(),
        next_table: 3,
        next_decision: 16,
        shared_as: None,
    };
    let last = |index| {
        let id = EntryId {
            term: 2,
            leader: 1,
            index,
        };
        crate::log::log_id(id)
    };
    let nodes = [1, 2].map(|node| (node, BasicNode::new(format!("n{node}:1"))));
    let voters = vec![BTreeSet::from([1])];
    let membership = Membership::new(voters, std::collections::BTreeMap::from(nodes));
    Contents {
        meta: SnapshotMeta {
            last_log_id: Some(last(400)),
            last_membership: StoredMembership::new(Some(last(7)), membership.unwrap()),
        },
        map,
    }
}

#[test]
fn the_bytes_of_the_file_do_not_change() {
    let directory = tempfile::TempDir::new().unwrap();
    let bytes = encode(&contents()).unwrap();
    fs::write(directory.path().join(SNAPSHOT_FILE), bytes).unwrap();
    GOLDEN.check(&dump(directory.path()).unwrap());
}

#[test]
fn a_snapshot_of_an_older_version_is_read() {
    let directory = tempfile::TempDir::new().unwrap();
    lay_out(GOLDEN.text, directory.path()).unwrap();
    let (machine, map) = Machine::open(directory.path())
        .unwrap_or_else(|error| panic!("raise {}: {error}", GOLDEN.number));
    let Contents {
        meta,
        map: expected,
    } = contents();
    assert_eq!(**map.borrow(), expected);
    assert_eq!(machine.last_applied, meta.last_log_id);
    assert_eq!(machine.membership, meta.last_membership);
}
