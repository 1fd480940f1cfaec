//! A Merkle tree over the rows of a partition, so that two replicas find what differs in few
//! messages. A node is the sum of the digests of all rows below it, hence a changed row changes
//! one node a level. Knows nothing of messages.
//!
//! The digest is no cryptographic one: it finds what was lost, not what somebody forges.

use bytes::{Bytes, BytesMut};

use super::codec::{encode_row, put_bytes};
use super::row::Row;

/// Children of a node.
const FAN_OUT: u32 = 16;
/// Levels below the root: 4096 leaves take 70 KB a partition, and of a million rows 250 share one.
const DEPTH: u32 = 3;
/// Leaves of a tree.
pub const LEAVES: u32 = FAN_OUT.pow(DEPTH);
/// Nodes above the leaves: 1 + 16 + 256.
const INNER: u32 = (LEAVES - 1) / (FAN_OUT - 1);

/// The leaf to which the row of this key belongs.
#[must_use]
pub fn leaf_of(key: &[u8]) -> u32 {
    (hash(key, SEEDS[0]) >> (u64::BITS - LEAVES.trailing_zeros())) as u32
}

/// A node, numbered level by level from the root, which is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node(pub u32);

impl Node {
    /// The node of all rows.
    pub const ROOT: Self = Self(0);

    /// The nodes right below it; none for a leaf.
    pub fn children(self) -> impl Iterator<Item = Self> {
        let first = self.0 * FAN_OUT + 1;
        let count = if self.0 < INNER { FAN_OUT } else { 0 };
        (first..first + count).map(Self)
    }

    /// Which leaf it is, if it is one.
    #[must_use]
    pub fn leaf(self) -> Option<u32> {
        self.0.checked_sub(INNER)
    }

    pub(crate) fn is_known(self) -> bool {
        self.0 < INNER + LEAVES
    }
}

/// The sums of a partition's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    nodes: Vec<u128>,
}

impl Default for Tree {
    fn default() -> Self {
        let nodes = vec![0; (INNER + LEAVES) as usize];
        Self { nodes }
    }
}

impl Tree {
    /// The row of this key was one and becomes another; an empty one stands for none.
    pub fn replace(&mut self, key: &[u8], before: &Row, after: &Row) {
        let change = digest(key, after).wrapping_sub(digest(key, before));
        let mut at = INNER + leaf_of(key);
        loop {
            let node = &mut self.nodes[at as usize];
            *node = node.wrapping_add(change);
            if at == 0 {
                return;
            }
            at = (at - 1) / FAN_OUT;
        }
    }

    /// The sum of the rows below the node.
    #[must_use]
    pub fn sum(&self, node: Node) -> u128 {
        self.nodes.get(node.0 as usize).copied().unwrap_or_default()
    }
}

fn digest(key: &[u8], row: &Row) -> u128 {
    if row.is_empty() {
        return 0;
    }
    let mut bytes = BytesMut::new();
    put_bytes(&mut bytes, key);
    encode_row(row, &mut bytes);
    let bytes: Bytes = bytes.freeze();
    let [high, low] = SEEDS.map(|seed| u128::from(hash(&bytes, seed)));
    high << 64 | low
}

/// Odd numbers without a pattern, from the digits of e.
const SEEDS: [u64; 2] = [0xb7e1_5162_8aed_2a6b, 0xbf71_5880_9cf4_f3c7];

/// FNV-1a over words of eight bytes, with the mixer of SplitMix64 after each, so that every bit of
/// the input reaches every bit of the sum.
fn hash(bytes: &[u8], seed: u64) -> u64 {
    let mut state = seed ^ bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = (state ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
    }
    state
}

#[cfg(test)]
mod tests {
    use tablestore_placement::StorageId;

    use super::*;
    use crate::active::clock::Version;

    fn row(wall_ms: u64) -> Row {
        Row::delete(Version {
            wall_ms,
            counter: 0,
            node: StorageId(1),
        })
    }

    #[test]
    fn a_tree_depends_on_the_rows_and_not_on_their_order() {
        let (mut one, mut other) = (Tree::default(), Tree::default());
        let none = Row::default();
        for key in 0..500u32 {
            one.replace(&key.to_le_bytes(), &none, &row(1));
        }
        for key in (0..500u32).rev() {
            other.replace(&key.to_le_bytes(), &none, &row(7));
            other.replace(&key.to_le_bytes(), &row(7), &row(1));
        }
        assert_eq!(one, other);
        one.replace(&3u32.to_le_bytes(), &row(1), &row(2));
        let differing: Vec<u32> = (0..INNER + LEAVES)
            .filter(|at| one.sum(Node(*at)) != other.sum(Node(*at)))
            .collect();
        assert_eq!(differing.len(), 1 + DEPTH as usize);
        let leaf = differing.last().and_then(|at| Node(*at).leaf());
        assert_eq!(leaf, Some(leaf_of(&3u32.to_le_bytes())));
        one.replace(&3u32.to_le_bytes(), &row(2), &row(1));
        assert_eq!(one, other);
    }

    #[test]
    fn every_leaf_is_below_the_root_once() {
        let mut open = vec![Node::ROOT];
        let mut leaves = Vec::new();
        while let Some(node) = open.pop() {
            open.extend(node.children());
            leaves.extend(node.leaf());
        }
        leaves.sort_unstable();
        assert_eq!(leaves, (0..LEAVES).collect::<Vec<_>>());
    }

    #[test]
    fn the_digest_does_not_change() {
        assert_eq!(leaf_of(b"key"), GOLDEN_LEAF);
        assert_eq!(digest(b"key", &row(5)), GOLDEN_DIGEST);
    }

    const GOLDEN_LEAF: u32 = 994;
    const GOLDEN_DIGEST: u128 = 134_985_617_328_289_695_021_473_391_926_082_922_006;
}
