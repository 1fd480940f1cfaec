//! Requests on their way to another node.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tablestore_placement::testing::{cluster, create_table, definition};
use tablestore_placement::{Incarnation, Office, PartitionId, StorageId, TableId};
use tablestore_store::MemoryEngine;

use crate::{LinkOrder, Now, Operation, Plane, PlaneEvent, Settings, Stored};

const ME: Office = Office {
    member: StorageId(1),
    incarnation: Incarnation(2),
};
const PEER: Office = Office {
    member: StorageId(2),
    incarnation: Incarnation(1),
};
const REQUESTS: usize = 100;
const BODY: usize = 1_000;

fn small_link() -> Settings {
    let mut settings = Settings {
        frame_bytes: 2 << 10,
        message_bytes_max: 4 << 10,
        page_bytes_max: 1 << 10,
        crowded_bytes: 8 << 10,
        chunk_bytes: 1 << 10,
        results_a_piece: 20,
        ..Settings::default()
    };
    settings.replica.append_bytes_max = 1 << 10;
    settings.replica.read_log_bytes_max = 1 << 10;
    settings.replica.window_bytes_max = 1 << 10;
    settings.link_bytes_max = settings.on_the_way_max();
    settings.validated().unwrap()
}

/// A node with writes for a partition whose only replica is [`PEER`]'s, and no way to it yet.
fn waiting() -> (Plane<MemoryEngine, ()>, u64) {
    let engine = Arc::new(MemoryEngine::new());
    let mut plane = Plane::new(ME, small_link(), engine, Stored::default());
    let mut map = cluster(&[("a", 1), ("b", 1)]);
    create_table(&mut map, "rows", &definition(1, 1, 1)).unwrap();
    let table = map.tables.values_mut().next().unwrap();
    let assignment = &mut table.partitions[0];
    assignment.replicas = vec![PEER.member];
    assignment.in_sync = vec![PEER.member];
    assignment.primary = Some(PEER);
    plane.begin_turn(Now::default());
    plane.handle(PlaneEvent::Map(Arc::new(map)));
    plane.handle(PlaneEvent::Inbound(PEER));
    for request in 0..REQUESTS {
        plane.handle(PlaneEvent::Request {
            partition: PartitionId::new(TableId(1), 0),
            operation: Operation::Write {
                request: request as u128,
                digest: 1,
                payload: Bytes::from(vec![7; BODY]),
            },
            deadline: Duration::from_secs(9),
            waiter: (),
        });
    }
    plane.end_turn();
    let mut orders = plane.effects().links.drain(..);
    let link = orders.find_map(|order| match order {
        LinkOrder::Dial { peer, link, .. } if peer == PEER.member => Some(link),
        _ => None,
    });
    drop(orders);
    (plane, link.unwrap())
}

#[test]
fn what_waited_for_a_peer_does_not_overrun_its_new_connection() {
    let (mut plane, link) = waiting();
    let most = plane.settings.link_bytes_max;
    let (mut sent, mut turns) = (0, 0);
    while sent < REQUESTS * BODY {
        let since_start = Duration::from_millis(20 * turns);
        turns += 1;
        assert!(turns < 100, "{sent} bytes went on their way, and no more");
        plane.begin_turn(Now {
            since_start,
            wall_ms: 0,
        });
        if turns == 1 {
            let peer = PEER.member;
            plane.handle(PlaneEvent::PeerUp { peer, link });
        }
        plane.end_turn();
        assert!(plane.effects().links.is_empty(), "a connection was closed");
        let frames = plane.effects().frames.drain(..);
        let bytes: usize = frames.map(|(_, frame)| frame.len()).sum();
        assert!(bytes <= most, "{bytes} bytes at once, {most} are taken");
        sent += bytes;
        plane.unwritten(PEER.member, 0);
    }
}
