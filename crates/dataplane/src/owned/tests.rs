//! Requests to a partition on shared storage, from the opening to the end of the office.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tablestore_placement::testing::{cluster, create_table, definition};
use tablestore_placement::{
    ClusterMap, Command, Incarnation, Office, PARTITION, PartitionId, StorageId, TableDefinition,
    TableId,
};
use tablestore_store::MemoryEngine;

use super::{FAULTS_MAX, OwnedOrder, REST_MAX};
use crate::request::{Answer, Failure};
use crate::{Now, Operation, Plane, PlaneEvent, Settings, Stored};

const AT: PartitionId = PartitionId {
    table: TableId(1),
    partition: 0,
};
const ME: Office = Office {
    member: StorageId(1),
    incarnation: Incarnation(1),
};
const OTHER: Office = Office {
    member: StorageId(2),
    incarnation: Incarnation(1),
};

struct Bench {
    plane: Plane<MemoryEngine, u32>,
    map: ClusterMap,
    now: Duration,
    asked: u32,
}

impl Bench {
    /// A node that holds the office of the only partition.
    fn new() -> Self {
        let mut map = cluster(&[("a", 1), ("b", 1)]);
        let shared = TableDefinition {
            strategy: PARTITION.to_owned(),
            ..definition(1, 1, 1)
        };
        create_table(&mut map, "rows", &shared).unwrap();
        let engine = Arc::new(MemoryEngine::new());
        let plane = Plane::new(ME, Settings::default(), engine, Stored::default());
        let mut bench = Self {
            plane,
            map,
            now: Duration::ZERO,
            asked: 0,
        };
        bench.give_to(ME);
        bench
    }

    /// The office moves.
    fn give_to(&mut self, office: Office) {
        let assignment = &mut self.map.tables.get_mut(&AT.table).unwrap().partitions[0];
        if assignment.primary != Some(office) {
            assignment.epoch = assignment.epoch.next();
            assignment.primary = Some(office);
            assignment.replicas = vec![office.member];
            assignment.in_sync = vec![office.member];
        }
        self.map.version = self.map.version.next();
        self.tell(PlaneEvent::Map(Arc::new(self.map.clone())));
    }

    /// The table is in the shared storage.
    fn found(&mut self) {
        let table = AT.table;
        let command = Command::FoundTable {
            table,
            storage: 7,
            at_ms: 0,
        };
        self.map.apply(&command).unwrap();
        self.tell(PlaneEvent::Map(Arc::new(self.map.clone())));
    }

    fn tell(&mut self, event: PlaneEvent<u32>) {
        self.plane.begin_turn(Now {
            since_start: self.now,
            wall_ms: 0,
        });
        self.plane.handle(event);
        self.plane.end_turn();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.plane.begin_turn(Now {
            since_start: self.now,
            wall_ms: 0,
        });
        self.plane.end_turn();
    }

    fn ask(&mut self, operation: Operation) {
        self.asked += 1;
        self.tell(PlaneEvent::Request {
            partition: AT,
            operation,
            deadline: self.now + Duration::from_secs(10),
            waiter: self.asked,
        });
    }

    fn write(&mut self) {
        self.ask(Operation::Write {
            request: u128::from(self.asked),
            digest: 0,
            payload: Bytes::from_static(b"x"),
        });
    }

    fn orders(&mut self) -> Vec<OwnedOrder> {
        self.plane.effects().owned.drain(..).collect()
    }

    /// The number of the opening that is asked for, the only order there is.
    fn opening(&mut self) -> u64 {
        self.opening_and_founded().0
    }

    fn opening_and_founded(&mut self) -> (u64, Option<u64>) {
        match self.orders()[..] {
            [
                OwnedOrder::Open {
                    partition: AT,
                    life,
                    founded,
                    ..
                },
            ] => (life, founded),
            ref other => panic!("not one opening: {other:?}"),
        }
    }

    fn open(&mut self) -> u64 {
        let life = self.opening();
        self.tell(PlaneEvent::OwnedOpened {
            partition: AT,
            life,
        });
        life
    }

    fn tickets(&mut self) -> Vec<u64> {
        let ticket = |order| match order {
            OwnedOrder::Ask { ticket, .. } => Some(ticket),
            _ => None,
        };
        self.orders().into_iter().filter_map(ticket).collect()
    }

    fn answered(&mut self, ticket: u64, result: Result<Answer, Failure>) {
        self.tell(PlaneEvent::OwnedAnswered { ticket, result });
    }

    fn answers(&mut self) -> Vec<(u32, Result<(), Failure>)> {
        let answers = self.plane.effects().answers.drain(..);
        answers
            .map(|(waiter, _, reply)| (waiter, reply.result.map(drop)))
            .collect()
    }
}

fn written() -> Answer {
    Answer::Written {
        code: 1,
        version: 1,
        repeated: false,
    }
}

#[test]
fn a_request_waits_for_the_opening_and_is_answered_by_what_was_opened() {
    let mut bench = Bench::new();
    let life = bench.opening();
    bench.write();
    bench.ask(Operation::Get {
        key: Bytes::from_static(b"k"),
        strong: false,
    });
    bench.pass(Duration::from_secs(1));
    assert!(bench.orders().is_empty() && bench.answers().is_empty());
    bench.tell(PlaneEvent::OwnedOpened {
        partition: AT,
        life,
    });
    let tickets = bench.tickets();
    assert_eq!(tickets.len(), 2);
    bench.answered(tickets[0], Ok(written()));
    bench.answered(tickets[1], Ok(Answer::Row(None)));
    assert_eq!(bench.answers(), [(1, Ok(())), (2, Ok(()))]);
    assert_eq!(bench.plane.counts().writes, 1);
}

#[test]
fn what_was_never_handed_over_is_certain_and_what_was_is_not() {
    let mut bench = Bench::new();
    bench.write();
    bench.pass(Duration::from_secs(11));
    assert_eq!(bench.answers(), [(1, Err(Failure::Deadline))]);
    bench.open();
    bench.write();
    assert_eq!(bench.tickets().len(), 1);
    bench.pass(Duration::from_secs(11));
    assert_eq!(bench.answers(), [(2, Err(Failure::Unknown))]);
}

#[test]
fn an_answer_of_an_owner_that_lost_its_office_answers_nobody() {
    let mut bench = Bench::new();
    let first = bench.open();
    bench.write();
    let ticket = bench.tickets()[0];
    bench.give_to(OTHER);
    let closed = bench.orders();
    assert!(
        matches!(closed[..], [OwnedOrder::Close { life, .. }] if life == first),
        "{closed:?}"
    );
    bench.answered(ticket, Err(Failure::RequestMismatch));
    assert!(bench.answers().is_empty());
    bench.give_to(ME);
    let second = bench.opening();
    bench.tell(PlaneEvent::OwnedOpened {
        partition: AT,
        life: first,
    });
    assert!(bench.tickets().is_empty(), "the earlier opening is over");
    bench.tell(PlaneEvent::OwnedOpened {
        partition: AT,
        life: second,
    });
    assert_eq!(bench.tickets(), [ticket], "it is asked again");
    // The former attempt may have taken effect, whatever this one says.
    bench.answered(ticket, Err(Failure::Busy));
    assert_eq!(bench.answers(), [(1, Err(Failure::Unknown))]);
}

#[test]
fn a_partition_that_ended_is_opened_again_and_the_request_asked_again() {
    let mut bench = Bench::new();
    let life = bench.open();
    bench.write();
    let ticket = bench.tickets()[0];
    bench.tell(PlaneEvent::OwnedEnded {
        partition: AT,
        life,
        fault: None,
    });
    bench.answered(ticket, Err(Failure::NotHere));
    assert!(bench.orders().is_empty(), "it rests");
    assert!(bench.plane.next_deadline() <= bench.now + Duration::from_millis(50));
    bench.pass(Duration::from_millis(50));
    assert!(bench.open() > life);
    assert_eq!(bench.tickets(), [ticket]);
}

#[test]
fn a_fault_that_stays_is_shown_so_that_another_member_gets_the_office() {
    let mut bench = Bench::new();
    for fault in 1..=FAULTS_MAX + 2 {
        let life = bench.opening();
        let why = Some("the directory is another one".to_owned());
        bench.tell(PlaneEvent::OwnedEnded {
            partition: AT,
            life,
            fault: why.clone(),
        });
        let shown = bench.plane.effects().progress.drain(..).next();
        let stopped = shown.and_then(|(_, shown)| shown?.stopped);
        assert_eq!(stopped, (fault == FAULTS_MAX).then_some(why).flatten());
        bench.pass(REST_MAX);
    }
    bench.open();
    let shown = bench.plane.effects().progress.pop();
    assert_eq!(shown.unwrap().1.unwrap().stopped, None, "it works again");
}

#[test]
fn only_a_partition_that_nobody_has_served_may_be_founded() {
    let mut bench = Bench::new();
    let end = |bench: &mut Bench, life| {
        bench.tell(PlaneEvent::OwnedEnded {
            partition: AT,
            life,
            fault: None,
        });
        bench.pass(REST_MAX);
    };
    let (first, founded) = bench.opening_and_founded();
    assert_eq!(founded, None);
    end(&mut bench, first);
    assert_eq!(bench.opening_and_founded().1, None, "it was never open");
    bench.give_to(OTHER);
    bench.orders();
    bench.give_to(ME);
    let (third, founded) = bench.opening_and_founded();
    assert_eq!(founded, None, "nor had the other one it open");
    bench.found();
    end(&mut bench, third);
    let (_, founded) = bench.opening_and_founded();
    assert_eq!(founded, Some(7), "the table is in the storage");
    bench.give_to(OTHER);
    bench.orders();
    bench.give_to(ME);
    assert_eq!(bench.opening_and_founded().1, Some(7), "others had it");
}

#[test]
fn checksums_are_not_taken() {
    let mut bench = Bench::new();
    bench.open();
    bench.ask(Operation::Checksum);
    assert_eq!(bench.answers(), [(1, Err(Failure::Stopped))]);
}
