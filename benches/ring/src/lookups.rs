//! Who owns a key: by a partition table, on the exact ring, and three replicas in three zones.

use tablestore_ring::{Locate, PartitionTable, PointHash, ReplicaTable, Ring, Server, Xxh3};
use xxhash_rust::xxh3::xxh3_64;

use crate::peers::{self, Key};
use crate::timing::{Contender, print, race};

const KEYS: usize = 1 << 15;
/// Servers above which `maglev` needs gigabytes for its permutations.
const MAGLEV_SERVERS_MAX: u64 = 1000;
const PARTITIONS: u32 = 1 << 16;
const ZONES: u64 = 10;

pub fn ring(n: u64) -> Ring<u64> {
    let mut ring = Ring::new();
    ring.extend((0..n).map(Server::new))
        .expect("distinct servers of weight 1");
    ring
}

/// Servers in [`ZONES`] zones in turn.
fn zoned_ring(n: u64) -> Ring<u64> {
    let mut ring = Ring::new();
    ring.extend((0..n).map(|id| Server::new(id).zone(format!("z{}", id % ZONES))))
        .expect("distinct servers of weight 1");
    ring
}

pub fn owner_by_table(rounds: usize) {
    let keys = peers::keys(KEYS);
    for n in [10, 100, 1000, 10_000] {
        let division = PartitionTable::new(PARTITIONS).expect("a power of two");
        let ring = ring(n);
        let table = ReplicaTable::compile(&ring, division, 3).expect("few servers");
        let owner = |p| *ring.owner(division.point_of_partition(p)).expect("servers") as u16;
        let floor: Vec<u16> = (0..PARTITIONS).map(owner).collect();
        let anchor = peers::anchor(n);
        let maglev = (n <= MAGLEV_SERVERS_MAX).then(|| peers::maglev(n, 0));
        let mut contenders = vec![
            Contender::lookups("ours: table", &keys, |key: &Key| {
                table.owner(Xxh3.point(&key.0)).copied()
            }),
            Contender::lookups("ours: table, the owner's index", &keys, |key: &Key| {
                table
                    .owner_index(Xxh3.point(&key.0))
                    .map_or(u16::MAX, |index| index as u16)
            }),
            Contender::lookups("bare xxh3", &keys, |key: &Key| xxh3_64(&key.0)),
            Contender::lookups("bare xxh3 and one read", &keys, |key: &Key| {
                floor[(xxh3_64(&key.0) >> 48) as usize]
            }),
            Contender::lookups("anchorhash", &keys, |key: &Key| {
                anchor.get_resource(*key).copied()
            }),
        ];
        if let Some(maglev) = &maglev {
            use maglev::ConsistentHasher as _;
            contenders.push(Contender::lookups("maglev", &keys, |key: &Key| {
                maglev.get(key).copied()
            }));
        }
        print(
            &format!("owner by partition table, {n} servers"),
            &race(contenders, rounds),
        );
    }
}

pub fn owner_on_the_ring(rounds: usize) {
    let keys = peers::keys(KEYS);
    for n in [10, 100, 1000, 10_000] {
        let ring = ring(n);
        let tokens: Vec<(u64, u64)> = ring.tokens().map(|(point, id)| (point.0, *id)).collect();
        let hash_ring = peers::hash_ring(n);
        // It inserts token by token: at 10 000 servers it would build for minutes.
        let other = (n <= 1000).then(|| peers::consistent_hash_ring(n));
        let mut contenders = vec![
            Contender::lookups("ours: ring", &keys, |key: &Key| {
                ring.owner(Xxh3.point(&key.0)).copied()
            }),
            Contender::lookups("hashring", &keys, |key: &Key| {
                hash_ring.get(key).map(|vnode| vnode.server)
            }),
            Contender::lookups("partition_point over a vector", &keys, |key: &Key| {
                let point = xxh3_64(&key.0);
                let at = tokens.partition_point(|token| token.0 < point);
                tokens[if at == tokens.len() { 0 } else { at }].1
            }),
        ];
        if let Some(other) = &other {
            contenders.push(Contender::lookups(
                "consistent_hash_ring",
                &keys,
                |key: &Key| *other.get(key),
            ));
        }
        print(
            &format!("owner on the exact ring, {n} servers of 128 tokens"),
            &race(contenders, rounds),
        );
    }
}

pub fn three_zones(rounds: usize) {
    let keys = peers::keys(KEYS / 4);
    let few = &keys[..64];
    let ring = zoned_ring(1000);
    let other = peers::consistent_hash_ring(1000);
    let hash_ring = peers::hash_ring(1000);
    let division = PartitionTable::new(PARTITIONS).expect("a power of two");
    let table = ReplicaTable::compile(&ring, division, 3).expect("few servers");
    let contenders = vec![
        Contender::lookups("ours: table", &keys, |key: &Key| {
            let mut out = [None; 3];
            table.locate(Xxh3.point(&key.0), &mut out);
            out.map(|id| id.copied())
        }),
        Contender::lookups("ours: walk on the ring", &keys, |key: &Key| {
            let mut out = [None; 3];
            ring.locate(Xxh3.point(&key.0), &mut out);
            out.map(|id| id.copied())
        }),
        Contender::lookups("consistent_hash_ring and a filter", &keys, |key: &Key| {
            let mut out = [u64::MAX; 3];
            let mut found = 0;
            for id in other.replicas(key) {
                if !out[..found]
                    .iter()
                    .any(|chosen| chosen % ZONES == id % ZONES)
                {
                    out[found] = *id;
                    found += 1;
                    if found == 3 {
                        break;
                    }
                }
            }
            out
        }),
        Contender::lookups("hashring, three tokens, no zones", few, |key: &Key| {
            hash_ring.get_with_replicas(key, 2).map(|found| found.len())
        }),
    ];
    print(
        "three replicas in distinct zones, 1000 servers in 10 zones",
        &race(contenders, rounds),
    );
}
