//! The ring and the other algorithms under the suite that any implementation of `Locate` can run.

#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should stop"
)]

use tablestore_ring::{
    JumpBack, Memento, PartitionTable, Point, Rendezvous, ReplicaTable, Ring, Server, testing,
};

#[test]
fn the_ring_conforms() {
    let mut ring = Ring::new();
    testing::check(&ring, 0, []);
    for n in 0_u32..9 {
        ring.add(
            Server::new(n)
                .weight(n % 3)
                .zone(["", "a", "b"][n as usize % 2]),
        )
        .unwrap();
        let able = ring.servers().filter(|server| server.weight > 0).count();
        testing::check(&ring, able, (0..64).map(|step| Point(step << 58)));
    }
}

fn points() -> impl Iterator<Item = Point> {
    (0..64).map(|step| Point((step << 58) | 0x0123_4567_89ab_cdef))
}

#[test]
fn a_table_of_the_ring_conforms() {
    let mut ring = Ring::new();
    ring.extend((0_u32..9).map(Server::new)).unwrap();
    for replicas in [0, 1, 3, 9] {
        let division = PartitionTable::new(32).unwrap();
        let table = ReplicaTable::compile(&ring, division, replicas).unwrap();
        testing::check(&table, replicas, points());
    }
}

#[test]
fn the_other_algorithms_conform() {
    let (mut jump_back, mut memento) = (JumpBack::new([]), Memento::new([]));
    let mut rendezvous = Rendezvous::new();
    testing::check(&jump_back, 0, points());
    testing::check(&memento, 0, points());
    testing::check(&rendezvous, 0, points());
    for n in 0_u32..40 {
        jump_back.push(n);
        memento.add(n);
        let zone = ["", "a", "b"][n as usize % 3];
        let server = Server::new(n).weight(n % 4).zone(zone);
        rendezvous.add(server).unwrap();
        if n % 3 == 2 {
            memento.remove(&(n / 2));
        }
        let able = rendezvous.servers().filter(|server| server.weight > 0);
        testing::check(&rendezvous, able.count(), points());
        testing::check(&jump_back, n as usize + 1, points());
        testing::check(&memento, memento.len(), points());
    }
    while !memento.is_empty() {
        let first = *memento.nodes().next().unwrap();
        memento.remove(&first);
        testing::check(&memento, memento.len(), points());
    }
}
