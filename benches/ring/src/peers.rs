//! The other crates, each built from servers 0..n and given the same one-shot hash.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use anchorhash::AnchorHash;
use consistent_hash_ring::RingBuilder;
use hashring::HashRing;
use maglev::Maglev;
use xxhash_rust::xxh3::xxh3_64;

/// Tokens of each server, in every ring.
pub const TOKENS: u32 = 128;

/// A key of sixteen bytes that hashes as just these bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub [u8; 16]);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// Many keys, the same ones in every run.
pub fn keys(count: usize) -> Vec<Key> {
    let key = |n: usize| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&xxh3_64(&n.to_le_bytes()).to_le_bytes());
        bytes[8..].copy_from_slice(&n.to_le_bytes());
        Key(bytes)
    };
    (0..count).map(key).collect()
}

/// XXH3 of what was written last, joined to what came before; no streaming state.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneShot(u64);

impl Hasher for OneShot {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes) ^ self.0.rotate_left(29);
    }
}

pub type Build = BuildHasherDefault<OneShot>;

/// A token of `hashring`, which leaves it to its user to make several for a server: the server
/// and the token's number, in eight bytes as in a lean program.
#[derive(Clone, Copy, Debug)]
pub struct Vnode {
    pub server: u32,
    pub index: u32,
}

impl Hash for Vnode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&u64::from(self.server).to_le_bytes());
        bytes[8..].copy_from_slice(&self.index.to_le_bytes());
        state.write(&bytes);
    }
}

/// The tokens of one server for [`HashRing`].
pub fn vnodes(server: u64) -> impl Iterator<Item = Vnode> {
    let server = server as u32;
    (0..TOKENS).map(move |index| Vnode { server, index })
}

pub fn hash_ring(n: u64) -> HashRing<Vnode, Build> {
    let mut ring = HashRing::with_hasher(Build::default());
    ring.batch_add((0..n).flat_map(vnodes).collect());
    ring
}

pub fn consistent_hash_ring(n: u64) -> consistent_hash_ring::Ring<u64, Build> {
    RingBuilder::new(Build::default())
        .vnodes(TOKENS as usize)
        .nodes_iter(0..n)
        .build()
}

/// With a quarter of its capacity to spare, as it needs some in order to grow.
pub fn anchor(n: u64) -> AnchorHash<Key, u64, Build> {
    let capacity = u16::try_from(n + n / 4).expect("the capacity is a u16");
    anchorhash::Builder::with_hasher(Build::default())
        .with_resources(0..n)
        .build(capacity)
}

/// With `slots` in its table, which it raises to the next prime; with 0 a hundred for each server.
pub fn maglev(n: u64, slots: usize) -> Maglev<u64, Build> {
    Maglev::with_capacity_and_hasher(0..n, slots, Build::default())
}
