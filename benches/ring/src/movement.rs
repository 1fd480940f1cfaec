//! What changes hands between servers that both stay when one is added.

use maglev::ConsistentHasher as _;
use tablestore_ring::{Locate as _, Server};

use crate::{lookups, peers};

const SERVERS: u64 = 100;
/// Of `maglev`: the same before and after, or everything would move.
const SLOTS: usize = 10_100;
const KEYS: usize = 1 << 18;

pub fn between_survivors() {
    println!("\nmoved when a server joins {SERVERS}");
    let before = lookups::ring(SERVERS);
    let mut after = before.clone();
    after
        .add(Server::new(SERVERS))
        .expect("a new server of weight 1");
    let ideal = 1.0 / (SERVERS + 1) as f64;
    let (mut moved, mut astray) = (0_u128, 0_u128);
    for stretch in after.stretches() {
        // No token of `before` lies inside, as all of them are in `after` as well.
        let points = u128::from(stretch.last.0 - stretch.first.0) + 1;
        if before.owner(stretch.last) != Some(stretch.owner) {
            moved += points;
            astray += points * u128::from(*stretch.owner != SERVERS);
        }
    }
    let share = moved as f64 / 2_f64.powi(64) / ideal;
    println!("  ours: {share:.2}x the ideal, {astray} points between survivors, exactly");

    let (before, after) = (
        peers::maglev(SERVERS, SLOTS),
        peers::maglev(SERVERS + 1, SLOTS),
    );
    let (mut moved, mut astray) = (0_usize, 0_usize);
    for key in peers::keys(KEYS) {
        let (from, to) = (before.get(&key), after.get(&key));
        moved += usize::from(from != to);
        astray += usize::from(from != to && to != Some(&SERVERS));
    }
    let share = moved as f64 / KEYS as f64 / ideal;
    println!("  maglev: {share:.2}x the ideal, {astray} of {KEYS} keys between survivors");
}
