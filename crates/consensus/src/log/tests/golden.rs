//! The raft log file byte by byte, with every kind of record and command, and one of an older
//! version.

use tablestore_placement::{
    Alteration, Assignment, AssignmentChange, AssignmentVersion, Change, ClusterId, Decision,
    DecisionKind, Epoch, Incarnation, KeyDefinition, KeyType, Layout, MadeUnder, MapVersion,
    MemberState, NextAssignment, Office, PartitionId, Registration, StorageId, TableDefinition,
    TableId,
};
use tablestore_store::maplog::MapLog;
use tablestore_store::testing::golden::{Golden, dump, lay_out};

use super::*;

const GOLDEN: Golden<'_> = Golden {
    format: "the raft log file",
    number: "FILE_FORMAT in store/src/maplog/frame.rs",
    file: "raft-log-2.txt",
    text: include_str!("../../../testdata/raft-log-2.txt"),
};

const SETTINGS: LogSettings = LogSettings {
    chunk_bytes: 16 << 10,
    rewrite_bytes: 8 << 20,
};

fn open_file(directory: &Path, expected: Expected) -> (LogFile, MapLog) {
    let place = Arc::new(RealPlace::new(directory.join(LOG_FILE)));
    let opened = LogFile::open(place, SETTINGS, expected, &readable, |_| {
        Ok::<_, LogOpenError>(())
    });
    opened.unwrap_or_else(|error| panic!("raise {}: {error}", GOLDEN.number))
}

/// The name of a command's kind: another kind does not compile here, and belongs into
/// [`commands`].
fn kind(command: &Command) -> &'static str {
    match command {
        Command::Found { .. } => "found",
        Command::Register(_) => "register",
        Command::CreateTable { .. } => "create table",
        Command::DropTable { .. } => "drop table",
        Command::ProposeInSync { .. } => "propose in-sync set",
        Command::Change(_) => "change",
        Command::AlterTable { .. } => "alter table",
        Command::FoundTable { .. } => "found table",
    }
}

fn registration() -> Registration {
    Registration {
        storage: StorageId(1 << 60),
        name: "n1".to_owned(),
        http_address: "10.0.0.1:8000".to_owned(),
        peer_address: "10.0.0.1:8001".to_owned(),
        zone: "eu/1".to_owned(),
        weight: 3,
        incarnation: Incarnation(2),
        start: 77,
        begun: vec![76, 77],
        boot: 5,
        at_ms: 1_700_000_000_001,
    }
}

fn definition() -> TableDefinition {
    let key = |name: &str, key_type| KeyDefinition {
        name: name.to_owned(),
        key_type,
    };
    TableDefinition {
        partition_key: key("id", KeyType::String),
        sort_key: Some(key("at", KeyType::Number)),
        strategy: "primary-backup".to_owned(),
        replicas: 3,
        min_in_sync: 2,
        partitions: 2,
        layout: Layout::Column,
    }
}

fn assignment() -> Assignment {
    Assignment {
        epoch: Epoch(1),
        version: AssignmentVersion(4),
        primary: Some(office()),
        replicas: vec![StorageId(1), StorageId(2)],
        in_sync: vec![StorageId(1)],
    }
}

fn office() -> Office {
    Office {
        member: StorageId(1),
        incarnation: Incarnation(2),
    }
}

fn change() -> Change {
    let next = NextAssignment {
        primary: Some(StorageId(2)),
        replicas: vec![StorageId(2), StorageId(3)],
        in_sync: vec![StorageId(2)],
    };
    Change {
        decision: Decision::new(DecisionKind::Failover, 9)
            .about(StorageId(1))
            .on_evidence("refused")
            .because("it is gone")
            .phase("noticed", 8),
        made_under: Some(MadeUnder {
            term: 3,
            map_version: MapVersion(12),
        }),
        members: vec![(StorageId(1), Incarnation(2), MemberState::Down)],
        assignments: vec![AssignmentChange {
            partition: PartitionId::new(TableId(1), 1),
            expected: (Epoch(1), AssignmentVersion(4)),
            next,
            stopped: vec![StorageId(3)],
        }],
    }
}

fn commands() -> Vec<Command> {
    let name = || "users".to_owned();
    vec![
        Command::Found {
            cluster: ClusterId(0xc1),
            at_ms: 1_700_000_000_000,
        },
        Command::Register(registration()),
        Command::CreateTable {
            name: name(),
            definition: definition(),
            assignments: vec![assignment(), Assignment::default()],
            at_ms: 2,
        },
        Command::ProposeInSync {
            partition: PartitionId::new(TableId(1), 0),
            epoch: Epoch(1),
            version: AssignmentVersion(4),
            office: office(),
            in_sync: vec![StorageId(1), StorageId(2)],
            joiner: Some((StorageId(2), Incarnation(1))),
            at_ms: 3,
        },
        Command::Change(change()),
        Command::DropTable {
            name: name(),
            at_ms: 4,
        },
        Command::AlterTable {
            name: name(),
            alteration: Alteration {
                replicas: Some(5),
                min_in_sync: None,
            },
            leaving: vec![(1, vec![StorageId(2), StorageId(1)])],
            at_ms: 5,
        },
        Command::FoundTable {
            table: TableId(1),
            storage: 1 << 60,
            at_ms: 6,
        },
    ]
}

/// One entry of every kind, from index 0 on: the members, a blank one, each command.
fn entries() -> Vec<Entry> {
    let voters = vec![BTreeSet::from([1, 2]), BTreeSet::from([1, 2, 1 << 60])];
    let nodes = [1, 2, 1 << 60].map(|node| (node, BasicNode::new(format!("n{node}:1"))));
    let membership = Membership::new(voters, BTreeMap::from(nodes)).unwrap();
    let first = [
        Entry::new(id(0, 0), EntryPayload::Membership(membership)),
        entry(1, 1),
    ];
    let commands = (2..).zip(commands());
    let commands = commands
        .map(|(index, command)| Entry::new(id(1, index), EntryPayload::Normal(Proposal(command))));
    first.into_iter().chain(commands).collect()
}

fn write(directory: &Path) {
    let (mut file, mut log) = open_file(directory, Expected::Perhaps);
    let mut write = |records: Vec<u8>| {
        file.append(&records).unwrap();
        file.sync().unwrap();
    };
    let vote = stored_vote(&Vote::new(1, 1));
    write(log.vote_record(vote).records);
    log.voted(vote);
    let stored = entries()
        .into_iter()
        .map(|entry| stored_entry(&entry).unwrap());
    write(log.append(stored));
    write(log.append([stored_entry(&entry(1, 10)).unwrap()]));
    write(log.commit(None));
    write(log.truncate_after(Some(entry_id(id(1, 9)))));
    let mut group = log.append([stored_entry(&entry(2, 10)).unwrap()]);
    group.extend(log.commit(Some(entry_id(id(1, 9)))));
    write(group);
    write(log.purge(entry_id(id(0, 0))));
    write(
        log.vote_record(stored_vote(&Vote::new_committed(2, 1)))
            .records,
    );
    file.finish().unwrap();
}

#[test]
fn the_bytes_of_the_file_do_not_change() {
    let kinds: BTreeSet<_> = commands().iter().map(kind).collect();
    assert_eq!(kinds.len(), commands().len());
    let directory = TempDir::new().unwrap();
    write(directory.path());
    GOLDEN.check(&dump(directory.path()).unwrap());
}

#[test]
fn a_log_of_an_older_version_is_read_and_goes_on() {
    let directory = TempDir::new().unwrap();
    lay_out(GOLDEN.text, directory.path()).unwrap();
    let (mut file, mut log) = open_file(directory.path(), Expected::Surely);
    let vote = log.vote().map(super::super::form::vote);
    assert_eq!(vote, Some(Vote::new_committed(2, 1)));
    assert_eq!(log.committed().map(log_id), Some(id(1, 9)));
    assert_eq!(log.purged().map(log_id), Some(id(0, 0)));
    let mut expected = entries().split_off(1);
    expected.push(entry(2, 10));
    let found: Vec<Entry> = log
        .entries(..)
        .map(|entry| read_entry(entry).unwrap())
        .collect();
    assert_eq!(found, expected);
    let next = log.append([stored_entry(&entry(2, 11)).unwrap()]);
    file.append(&next).unwrap();
    file.finish().unwrap();
}
