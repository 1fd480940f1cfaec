//! Our ring under the suite that any implementation of `Locate` can run.

#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should stop"
)]

use tablestore_ring::{Point, Ring, Server, testing};

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
