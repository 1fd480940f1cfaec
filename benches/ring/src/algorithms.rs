//! The algorithms beside each other: time of an owner, evenness, and what a new node moves.

use std::fmt::Write as _;

use maglev::ConsistentHasher as _;
use tablestore_ring::{
    JumpBack, Locate, Memento, PartitionTable, Point, PointHash, Rendezvous, ReplicaTable, Ring,
    Server, Xxh3,
};

use crate::lookups::ring;
use crate::peers::{self, Key};
use crate::plot::Line;
use crate::timing::{Contender, Outcome, print, race};

/// Servers of the plots.
const SERVERS: [u64; 9] = [3, 5, 10, 20, 50, 100, 200, 500, 1000];
/// Keys for each server: chance alone gives one of a thousand servers 5 % more than the mean.
const KEYS_PER_SERVER: u64 = 4000;
/// Servers above which an algorithm takes too long to look for each key.
const RENDEZVOUS_SERVERS_MAX: u64 = 200;
/// Servers above which `maglev` takes too long to build.
const MAGLEV_SERVERS_MAX: u64 = 500;

type Owner = Box<dyn Fn(&Key) -> u64>;

fn point(key: &Key) -> Point {
    Xxh3.point(&key.0)
}

fn by<L: Locate<Node = u64> + 'static>(locate: L) -> Owner {
    Box::new(move |key| *locate.owner(point(key)).expect("there are servers"))
}

fn ring_of(n: u64, tokens: u32) -> Ring<u64> {
    let mut ring = Ring::with_tokens(Xxh3, tokens);
    ring.extend((0..n).map(Server::new))
        .expect("distinct servers of weight 1");
    ring
}

fn rendezvous(n: u64) -> Rendezvous<u64> {
    let mut servers = Rendezvous::new();
    for id in 0..n {
        servers.add(Server::new(id)).expect("distinct servers");
    }
    servers
}

/// The algorithms with `n` servers; `maglev` with a table of `slots`.
fn all(n: u64, slots: usize) -> Vec<(&'static str, Owner)> {
    let mut all = vec![
        ("ring, 128 tokens", by(ring_of(n, 128))),
        ("ring, 1024 tokens", by(ring_of(n, 1024))),
        ("JumpBackHash", by(JumpBack::new(0..n))),
    ];
    if n <= RENDEZVOUS_SERVERS_MAX + 1 {
        all.push(("rendezvous", by(rendezvous(n))));
    }
    if n <= MAGLEV_SERVERS_MAX + 1 {
        let maglev = peers::maglev(n, slots);
        let owner = move |key: &Key| *maglev.get(key).expect("there are servers");
        all.push(("maglev 0.2 (crate)", Box::new(owner)));
    }
    all
}

/// Lines of the fullest server's load by the mean, and of moved keys by the ideal.
pub fn balance_and_movement() -> (Vec<Line>, Vec<Line>) {
    let (mut balance, mut movement) = (Vec::new(), Vec::new());
    for n in SERVERS {
        let keys = peers::keys((n * KEYS_PER_SERVER) as usize);
        let slots = 100 * (n as usize + 1);
        let after = all(n + 1, slots);
        for (name, owner) in all(n, slots) {
            let mut loads = vec![0_u64; n as usize];
            for key in &keys {
                loads[owner(key) as usize] += 1;
            }
            let peak = loads.into_iter().max().unwrap_or(0) as f64 / KEYS_PER_SERVER as f64;
            Line::add(&mut balance, name, n as f64, peak);
            if let Some((_, then)) = after.iter().find(|(other, _)| *other == name) {
                let moved = keys.iter().filter(|key| owner(key) != then(key)).count();
                let ideal = keys.len() as f64 / (n + 1) as f64;
                Line::add(&mut movement, name, n as f64, moved as f64 / ideal);
            }
        }
    }
    (balance, movement)
}

/// The owner of a key by each algorithm, as text for people and as a table for the documents.
pub fn owners(rounds: usize) -> String {
    let keys = peers::keys(1 << 15);
    let columns = [10, 100, 1000].map(|n| {
        let outcomes = race(contenders(n, &keys), rounds);
        print(&format!("owner, {n} servers"), &outcomes);
        outcomes
    });
    markdown(&columns)
}

fn contenders(n: u64, keys: &[Key]) -> Vec<Contender<'_>> {
    let division = PartitionTable::new(1 << 16).expect("a power of two");
    let ring = ring(n);
    let table = ReplicaTable::compile(&ring, division, 3).expect("few servers");
    let jump_back = JumpBack::new(0..n);
    // A tenth has left, the first ones.
    let mut memento = Memento::new(0..n + n / 10);
    for id in 0..n / 10 {
        memento.remove(&id);
    }
    let rendezvous = rendezvous(n);
    let anchor = peers::anchor(n);
    let maglev = peers::maglev(n, 0);
    let hash_ring = peers::hash_ring(n);
    vec![
        Contender::lookups("`ReplicaTable`", keys, move |key: &Key| {
            table.owner(point(key)).copied()
        }),
        Contender::lookups("`Ring`", keys, move |key: &Key| {
            ring.owner(point(key)).copied()
        }),
        Contender::lookups("`JumpBack`", keys, move |key: &Key| {
            jump_back.owner(point(key)).copied()
        }),
        Contender::lookups("`Memento`, a tenth has left", keys, move |key: &Key| {
            memento.owner(point(key)).copied()
        }),
        Contender::lookups("`Rendezvous`", &keys[..64], move |key: &Key| {
            rendezvous.owner(point(key)).copied()
        }),
        Contender::lookups("hashring 0.3", keys, move |key: &Key| {
            hash_ring.get(key).map(|vnode| vnode.server)
        }),
        Contender::lookups("anchorhash 0.2", keys, move |key: &Key| {
            anchor.get_resource(*key).copied()
        }),
        Contender::lookups("maglev 0.2", keys, move |key: &Key| {
            maglev.get(key).copied()
        }),
    ]
}

fn markdown(columns: &[Vec<Outcome>; 3]) -> String {
    let mut text = "| owner of a key of 16 bytes | 10 servers | 100 | 1 000 |\n".to_owned();
    text += "|---|---|---|---|\n";
    for row in 0..columns[0].len() {
        let _ = write!(text, "| {} |", columns[0][row].name);
        for column in columns {
            let ratio = column[row].nanoseconds / column[0].nanoseconds;
            let _ = write!(text, " {:.1} ns, {ratio:.1}× |", column[row].nanoseconds);
        }
        text += "\n";
    }
    text
}
