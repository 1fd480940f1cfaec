//! What each fault changes where that is cheap to show, and that nothing changes without it.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tablestore_placement::testing::{cluster, create_table, definition};
use tablestore_placement::{ClusterMap, Epoch, Incarnation, Office, PartitionId, StorageId};
use tablestore_placement::{TableDefinition, TableId};
use tablestore_replication::{Message, SnapshotMeta};
use tablestore_store::testing::SimDisk;
use tablestore_store::{
    Checkpoints as _, Copies as _, Engine, Journal, JournalSettings, MemoryEngine, Meta, RowWrite,
};

use super::Mutant;
use crate::copies::Source;
use crate::flushing::{Candidate, Flushing, Need};
use crate::job::{Job, Lane, Work};
use crate::lanes::Lanes;
use crate::recover::{RecoveredPartition, recover_with};
use crate::request::{Answer, Correlation, Reply};
use crate::transfer::{Ended, Incoming, Outgoing, Pairs, TransferId};
use crate::unsynced::{Unsynced, Waiting};
use crate::wire::{CopyStep, DataMessage};
use crate::{LinkOrder, Now, Operation, Plane, PlaneEvent, Settings, Stored};

const T0: Duration = Duration::ZERO;
const ME: Office = Office {
    member: StorageId(1),
    incarnation: Incarnation(2),
};
const PEER: Office = Office {
    member: StorageId(2),
    incarnation: Incarnation(1),
};

fn settings(mutant: Option<Mutant>) -> Settings {
    Settings {
        mutant,
        ..Settings::default()
    }
}

fn partition(number: u32) -> PartitionId {
    PartitionId::new(TableId(1), number)
}

fn row(number: u8) -> Pairs {
    vec![(vec![1, number].into(), vec![number].into())]
}

/// A plane of [`ME`] that found nothing on its disk.
fn plane(settings: Settings) -> Plane<MemoryEngine, ()> {
    let engine = Arc::new(MemoryEngine::new());
    Plane::new(ME, settings, engine, Stored::default())
}

/// A map with [`PEER`], an earlier start of [`ME`], and a table.
fn map(table: &TableDefinition) -> ClusterMap {
    let mut map = cluster(&[("a", 1), ("b", 1)]);
    create_table(&mut map, "rows", table).unwrap();
    map
}

/// Tells the plane the map, and that [`PEER`] has dialled. Returns the number of the link to it.
fn meet(plane: &mut Plane<MemoryEngine, ()>, map: ClusterMap) -> u64 {
    plane.begin_turn(Now::default());
    plane.handle(PlaneEvent::Map(Arc::new(map)));
    plane.handle(PlaneEvent::Inbound(PEER));
    let dialled = plane
        .effects()
        .links
        .drain(..)
        .find_map(|order| match order {
            LinkOrder::Dial { peer, link, .. } if peer == PEER.member => Some(link),
            _ => None,
        });
    dialled.unwrap()
}

/// A plane with a link to [`PEER`] that is up.
fn connected(settings: Settings) -> Plane<MemoryEngine, ()> {
    let mut plane = plane(settings);
    let link = meet(&mut plane, map(&definition(1, 2, 1)));
    plane.handle(PlaneEvent::PeerUp {
        peer: PEER.member,
        link,
    });
    plane
}

fn commit_mark() -> DataMessage {
    let (epoch, commit) = (Epoch(1), 1);
    DataMessage::Replication {
        partition: partition(0),
        message: Message::Commit { epoch, commit },
    }
}

#[test]
fn chunk_lost_unnoticed_takes_a_copy_with_a_gap_for_complete() {
    let receive = |mutant| {
        let settings = settings(mutant);
        let mut outgoing = Outgoing::new(T0, &settings);
        let mut incoming = Incoming::new(T0, &settings);
        let mut complete = false;
        for (number, last) in [(1, false), (2, false), (3, true)] {
            let chunk = outgoing.chunk(T0, row(number), last);
            if number != 2 {
                incoming.came(T0, chunk)?;
                incoming.next_to_store().unwrap();
                complete = incoming.stored(T0).complete;
            }
        }
        Ok(complete)
    };
    assert_eq!(receive(None), Err(Ended::Gap));
    assert_eq!(receive(Some(Mutant::ChunkLostUnnoticed)), Ok(true));
}

#[test]
fn side_records_lost_sends_rows_alone() {
    let first_page = |mutant| {
        let engine = MemoryEngine::new();
        engine.open_partition(5).unwrap();
        let record = RowWrite {
            key: b"requests/1",
            value: Some(b"a result"),
        };
        engine.put_side(5, &[record]).unwrap();
        let unflushed = vec![(Bytes::from_static(b"requests/2"), Bytes::new())];
        let snapshot = engine.snapshot(5).unwrap();
        let mut source = Source::new(snapshot, unflushed, &settings(mutant));
        source.page().unwrap().pairs.len()
    };
    assert_eq!(first_page(None), 2);
    assert_eq!(first_page(Some(Mutant::SideRecordsLost)), 0);
}

#[test]
fn answers_to_earlier_start_answer_another_question() {
    let answers = |mutant| {
        let mut plane = plane(settings(mutant));
        // The only replica is the peer's.
        let mut map = map(&definition(1, 1, 1));
        let table = map.tables.values_mut().next().unwrap();
        table.partitions[0].replicas = vec![PEER.member];
        table.partitions[0].in_sync = vec![PEER.member];
        let link = meet(&mut plane, map);
        let peer = PEER.member;
        plane.handle(PlaneEvent::PeerUp { peer, link });
        plane.handle(PlaneEvent::Request {
            partition: partition(0),
            operation: Operation::Get {
                key: Bytes::from_static(b"one"),
                strong: false,
            },
            deadline: Duration::from_secs(9),
            waiter: (),
        });
        let reply = DataMessage::Reply {
            correlation: Correlation {
                incarnation: Incarnation(1),
                ticket: 1,
            },
            question: 77,
            reply: Reply {
                epoch: Epoch(1),
                result: Ok(Answer::Row(None)),
            },
        };
        plane.message(PEER, reply);
        plane.effects().answers.len()
    };
    assert_eq!(answers(None), 0);
    assert_eq!(answers(Some(Mutant::AnswersToEarlierStart)), 1);
}

#[test]
fn foreign_chunks_are_stored_with_the_copy_that_is_coming() {
    let stores = |mutant| {
        let mut plane = plane(settings(mutant));
        let number = partition(0).to_u64();
        plane.engine.open_partition(number).unwrap();
        let mut found = RecoveredPartition::empty();
        found.is_open = true;
        plane.shelf.found.insert(number, found);
        meet(&mut plane, map(&definition(1, 2, 1)));
        let transfer = |number| TransferId {
            sender: PEER,
            epoch: Epoch(1),
            number,
        };
        let meta = SnapshotMeta {
            index: 3,
            epoch: Epoch(1),
            history: Vec::new(),
        };
        plane.copy_step(PEER, partition(0), transfer(2), CopyStep::Begin(meta));
        let chunk = Outgoing::new(T0, &Settings::default()).chunk(T0, row(1), true);
        plane.copy_step(PEER, partition(0), transfer(1), CopyStep::Chunk(chunk));
        let jobs = plane.effects().jobs.drain(..);
        jobs.filter(|job| job.lane() == Lane::Copies).count()
    };
    assert_eq!(stores(None), 0);
    assert_eq!(stores(Some(Mutant::ForeignChunks)), 1);
}

#[test]
fn frame_over_limit_sends_what_the_receiver_refuses() {
    let sent = |mutant| {
        let mut plane = connected(Settings {
            message_bytes_max: 4,
            ..settings(mutant)
        });
        plane.links.tell(PEER.member, &commit_mark());
        plane.end_turn();
        let frames = plane.effects().frames.drain(..);
        let read = frames.map(|(_, bytes)| crate::Frame::decode(bytes, 4).is_ok());
        read.collect::<Vec<_>>()
    };
    assert!(sent(None).is_empty());
    assert_eq!(sent(Some(Mutant::FrameOverLimit)), [false]);
}

#[test]
fn job_dropped_forgets_what_found_its_lane_full() {
    let begun = |mutant| {
        let mut lanes = Lanes::new(&Settings {
            upkeep_max: 1,
            ..settings(mutant)
        });
        let mut to_host = Vec::new();
        for number in 0..2 {
            let partition = partition(number);
            lanes.begin(Job(Work::Flush { partition }), &mut to_host);
        }
        lanes.ended(Lane::Upkeep, &mut to_host);
        to_host.len()
    };
    assert_eq!(begun(None), 2);
    assert_eq!(begun(Some(Mutant::JobDropped)), 1);
}

/// Whether a start uses a replica with rows up to `applied` and a log from `end` + 1 on.
fn uses(mutant: Option<Mutant>, applied: u64, end: u64) -> bool {
    let engine = MemoryEngine::new();
    engine.open_partition(5).unwrap();
    if applied > 0 {
        engine.apply(5, applied, &[]).unwrap();
    }
    let disk = Arc::new(SimDisk::new(1));
    let settings = JournalSettings::default();
    let (mut writer, reader) = Journal::open_on(disk, "j", &settings, &mut |_| {}).unwrap();
    let meta = Meta {
        end,
        commit: end,
        ..Meta::default()
    };
    writer.push_meta(5, &meta);
    writer.commit().unwrap();
    let none = BTreeMap::new();
    let place = |_| String::new();
    let stored = recover_with(mutant, &engine, &reader, &none, &none, &place).unwrap();
    stored.partitions()[&5].broken_because().is_none()
}

#[test]
fn replica_with_gap_served_starts_without_what_is_lost() {
    for (applied, end) in [(3, 10), (10, 3)] {
        assert!(!uses(None, applied, end));
        assert!(uses(Some(Mutant::ReplicaWithGapServed), applied, end));
    }
    assert!(uses(None, 10, 10) && uses(Some(Mutant::ReplicaWithGapServed), 10, 10));
}

#[test]
fn unknown_partition_deleted_goes_by_a_map_older_than_this_start() {
    let jobs = |mutant, incarnation| {
        let mut plane = plane(settings(mutant));
        plane.me.incarnation = incarnation;
        let found = RecoveredPartition::empty();
        plane.shelf.found.insert(partition(9).to_u64(), found);
        meet(&mut plane, cluster(&[("a", 1), ("b", 1)]));
        let jobs = plane.effects().jobs.drain(..);
        jobs.map(|job| job.name()).collect::<Vec<_>>()
    };
    let mutant = Some(Mutant::UnknownPartitionDeleted);
    assert!(jobs(None, ME.incarnation).is_empty());
    assert_eq!(jobs(None, Incarnation(1)), ["put aside"]);
    assert_eq!(jobs(mutant, ME.incarnation), ["discard"]);
    assert_eq!(jobs(mutant, Incarnation(1)), ["discard"]);
}

#[test]
fn starved_flush_never_comes_to_those_behind_the_first_four() {
    let flushed = |mutant| {
        let mut flushing = Flushing::new(&settings(mutant));
        // A flush cannot help the first four: what they hold the journal for is not applied.
        let candidates: Vec<_> = (0..6)
            .map(|number| Candidate {
                partition: partition(number),
                unflushed_bytes: 1,
                applied: 10,
                checkpointed: if number < 4 { 10 } else { 0 },
                mark: Some(20),
            })
            .collect();
        let bounds = Need::Bounds { memory_max: 100 };
        let (first, second) = (
            flushing.choose(&candidates, bounds),
            flushing.choose(&candidates, bounds),
        );
        assert!(second.is_empty(), "all slots are taken, or nothing is left");
        first.iter().map(|id| id.partition).collect::<Vec<_>>()
    };
    assert_eq!(flushed(None), [4, 5]);
    assert_eq!(flushed(Some(Mutant::StarvedFlush)), [0, 1, 2, 3]);
}

#[test]
fn old_life_sync_counts_for_the_successor() {
    let newest = |mutant| {
        let mut unsynced = Unsynced::new(&settings(mutant));
        unsynced.push(Waiting {
            position: 1,
            partition: partition(0),
            life: 1,
            token: 7,
        });
        unsynced.reached(1, |_| Some(2)).len()
    };
    assert_eq!(newest(None), 0);
    assert_eq!(newest(Some(Mutant::OldLifeSync)), 1);
    for mutant in [None, Some(Mutant::OldLifeSync)] {
        let plane = plane(settings(mutant));
        assert_eq!(plane.lives(partition(0), 1), mutant.is_some());
    }
}

#[test]
fn stale_link_hears_of_an_earlier_connection() {
    let is_up = |mutant| {
        let mut plane = plane(settings(mutant));
        let link = meet(&mut plane, cluster(&[("a", 1), ("b", 1)]));
        plane.handle(PlaneEvent::PeerUp {
            peer: PEER.member,
            link: link + 1,
        });
        plane.links.is_up(PEER.member)
    };
    assert!(!is_up(None));
    assert!(is_up(Some(Mutant::StaleLink)));
}

#[test]
fn forgotten_crowd_stays_crowded_when_nobody_holds_entries_back() {
    let is_forgotten = |mutant| {
        let mut plane = connected(Settings {
            crowded_bytes: 1,
            ..settings(mutant)
        });
        plane.links.tell(PEER.member, &commit_mark());
        plane.end_turn();
        plane.unwritten(PEER.member, 0);
        plane.begin_turn(Now {
            since_start: Duration::from_secs(1),
            wall_ms: 0,
        });
        plane.end_turn();
        !plane.links.crowded().is_empty()
    };
    assert!(!is_forgotten(None));
    assert!(is_forgotten(Some(Mutant::ForgottenCrowd)));
}
