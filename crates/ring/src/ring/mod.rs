//! The ring itself: servers, their tokens, and what changes when they do.
//!
//! Knows nothing about what is stored on a server, nor whether the server is well.

mod diff;
mod error;
mod stretches;
mod tokens;
mod walk;

use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

pub use diff::Move;
pub use error::{AddError, ReweightError};
pub use stretches::Stretch;

use crate::hash::token_points;
use crate::server::WEIGHT_MAX;
use crate::zones::Zones;
use crate::{Point, PointHash, Server, StableBytes, Xxh3};
use tokens::Tokens;

/// Tokens of a server of weight 1: at 100 servers the fullest holds about 1.28 times the mean.
pub const TOKENS_PER_WEIGHT_DEFAULT: u32 = 128;

/// The most tokens of a ring: two gibibytes of them.
pub const TOKENS_MAX: u64 = 1 << 28;

/// A consistent-hash ring over servers with weights and zones.
///
/// Source: D. Karger et al., "Consistent Hashing and Random Trees", STOC 1997, section 4; weights
/// as numbers of tokens after G. DeCandia et al., "Dynamo", SOSP 2007, section 6.2.
///
/// | what | time, for *t* tokens of the server and *T* in all |
/// |---|---|
/// | owner of a point | O(1) expected: two reads |
/// | *k* servers of distinct zones | O(*k*²) expected, when there are enough zones |
/// | add, remove, reweight | O(*t*) expected moves of a few kilobytes each |
/// | build | O(*T*) expected |
/// | [`diff`](Self::diff) | O(*T*) |
///
/// A token takes eight bytes, and its share of the index two to four.
#[derive(Clone, Debug)]
pub struct Ring<N, H = Xxh3> {
    hash: H,
    tokens_per_weight: u32,
    /// By slot. A server keeps its slot until the ring is built anew, and when it is removed its
    /// slot keeps what it held until another takes it.
    servers: Vec<Server<N>>,
    /// Slots of servers that were removed; no token and no rank names them.
    free: Vec<u32>,
    /// Slots ordered by the id of their server.
    by_id: Vec<u32>,
    /// Zone of each slot.
    zone_of: Vec<u32>,
    zones: Zones,
    /// Ordered by point and then by id: equal points are settled by the smaller id.
    tokens: Tokens,
}

impl<N: Clone + Ord + StableBytes> Ring<N> {
    /// An empty ring that hashes with [`Xxh3`].
    pub fn new() -> Self {
        Self::with_hash(Xxh3)
    }
}

impl<N: Clone + Ord + StableBytes> Default for Ring<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<N: Clone + Ord + StableBytes, H: PointHash> Ring<N, H> {
    /// An empty ring that hashes with `hash`.
    pub fn with_hash(hash: H) -> Self {
        Self::with_tokens(hash, TOKENS_PER_WEIGHT_DEFAULT)
    }

    /// An empty ring with `tokens_per_weight` tokens for each unit of weight (at least one).
    pub fn with_tokens(hash: H, tokens_per_weight: u32) -> Self {
        Self {
            hash,
            tokens_per_weight: tokens_per_weight.max(1),
            servers: Vec::new(),
            free: Vec::new(),
            by_id: Vec::new(),
            zone_of: Vec::new(),
            zones: Zones::default(),
            tokens: Tokens::build(&[], &[]),
        }
    }

    /// Adds a server. Only keys that become its own change their owner.
    ///
    /// # Errors
    /// If it is a member already, or too heavy; the ring is as it was.
    pub fn add(&mut self, server: Server<N>) -> Result<(), AddError> {
        self.extend([server])
    }

    /// Adds several servers at once: all of them, or none if one is refused.
    ///
    /// # Errors
    /// If one of them is a member already or comes twice, or is too heavy; the ring is as it was.
    pub fn extend(&mut self, servers: impl IntoIterator<Item = Server<N>>) -> Result<(), AddError> {
        let mut added: Vec<Server<N>> = servers.into_iter().collect();
        added.sort_by(|a, b| a.id.cmp(&b.id));
        let mut tokens = self.tokens.len() as u64;
        for server in &added {
            let weight = server.weight;
            if weight > WEIGHT_MAX {
                return Err(AddError::WeightTooLarge { weight });
            }
            if self.slot_of(&server.id).is_some() {
                return Err(AddError::AlreadyMember);
            }
            tokens += self.tokens_of(weight);
        }
        if added.windows(2).any(|pair| pair[0].id == pair[1].id) {
            return Err(AddError::AlreadyMember);
        }
        if tokens > TOKENS_MAX {
            return Err(AddError::TokensTooMany { tokens });
        }
        let new = tokens as usize - self.tokens.len();
        let slots = self.servers.len() + added.len().saturating_sub(self.free.len());
        // One by one a token costs some ten times what it costs in a build.
        if self.tokens.suits(tokens as usize, slots) && new <= self.tokens.len() / 8 {
            for server in added {
                self.insert(server);
            }
        } else {
            self.rebuild(added);
        }
        Ok(())
    }

    /// Removes a server and hands it back. Only keys that were its own change their owner.
    pub fn remove(&mut self, id: &N) -> Option<Server<N>> {
        let (rank, slot) = self.slot_of(id)?;
        let server = self.at(slot).clone();
        self.move_tokens(slot, server.weight, 0);
        self.zones
            .leave(self.zone_of[slot as usize], server.zone.as_ref());
        self.by_id.remove(rank);
        self.free.push(slot);
        if !self.tokens.suits(self.tokens.len(), self.by_id.len()) {
            self.rebuild(Vec::new());
        }
        Some(server)
    }

    /// Gives a server another weight. It gains or loses its highest-numbered tokens only, so keys
    /// move to it or away from it and never between two others. With weight 0 it is drained: a
    /// member that is given nothing.
    ///
    /// # Errors
    /// If it is no member, or would be too heavy; the ring is as it was.
    pub fn reweight(&mut self, id: &N, weight: u32) -> Result<(), ReweightError> {
        if weight > WEIGHT_MAX {
            return Err(ReweightError::WeightTooLarge { weight });
        }
        let (_, slot) = self.slot_of(id).ok_or(ReweightError::NotMember)?;
        let before = self.at(slot).weight;
        let tokens = self.tokens.len() as u64 - self.tokens_of(before) + self.tokens_of(weight);
        if tokens > TOKENS_MAX {
            return Err(ReweightError::TokensTooMany { tokens });
        }
        self.servers[slot as usize].weight = weight;
        if self.tokens.suits(tokens as usize, self.servers.len()) {
            self.move_tokens(slot, before, weight);
        } else {
            self.rebuild(Vec::new());
        }
        Ok(())
    }

    /// The server of that id.
    pub fn server(&self, id: &N) -> Option<&Server<N>> {
        let (_, slot) = self.slot_of(id)?;
        Some(self.at(slot))
    }

    /// All servers, ordered by id, those of weight 0 included.
    pub fn servers(&self) -> impl ExactSizeIterator<Item = &Server<N>> {
        self.by_id.iter().map(|slot| self.at(*slot))
    }

    /// How many servers there are, those of weight 0 included.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is no server at all.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The point of a key under this ring's hash.
    #[inline]
    pub fn point(&self, key: &[u8]) -> Point {
        self.hash.point(key)
    }

    /// The tokens in ring order: the point and its server.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = (Point, &N)> {
        self.tokens
            .iter()
            .map(|(point, slot)| (point, &self.at(slot).id))
    }

    #[inline]
    fn at(&self, slot: u32) -> &Server<N> {
        &self.servers[slot as usize]
    }

    /// Where in the order of ids a server stands, and its slot.
    fn slot_of(&self, id: &N) -> Option<(usize, u32)> {
        let rank = self
            .by_id
            .binary_search_by(|slot| self.at(*slot).id.cmp(id));
        rank.ok().map(|rank| (rank, self.by_id[rank]))
    }

    fn tokens_of(&self, weight: u32) -> u64 {
        u64::from(weight) * u64::from(self.tokens_per_weight)
    }

    fn insert(&mut self, server: Server<N>) {
        let rank = self
            .by_id
            .partition_point(|slot| self.at(*slot).id < server.id);
        let zone = self.zones.join(server.zone.as_ref());
        let weight = server.weight;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.servers[slot as usize] = server;
                self.zone_of[slot as usize] = zone;
                slot
            }
            None => {
                self.servers.push(server);
                self.zone_of.push(zone);
                (self.servers.len() - 1) as u32
            }
        };
        self.by_id.insert(rank, slot);
        self.move_tokens(slot, 0, weight);
    }

    /// Adds or removes the tokens by which two weights of a server differ.
    fn move_tokens(&mut self, slot: u32, before: u32, after: u32) {
        let zone = self.zone_of[slot as usize];
        if (before == 0) != (after == 0) {
            self.zones.set_able(zone, after > 0);
        }
        let per_weight = self.tokens_per_weight;
        let counts = |weights: Range<u32>| {
            // Fits, as all the tokens of a ring are fewer than TOKENS_MAX.
            weights.start.saturating_mul(per_weight)..weights.end.saturating_mul(per_weight)
        };
        let id = &self.servers[slot as usize].id;
        for point in token_points(&self.hash, id, counts(before..after.max(before))) {
            self.tokens
                .insert(point, slot, |other| *id < self.servers[other as usize].id);
        }
        for point in token_points(&self.hash, id, counts(after..before.max(after))) {
            self.tokens.remove(point, slot);
        }
    }

    /// Builds everything anew, with slots in the order of ids.
    fn rebuild(&mut self, added: Vec<Server<N>>) {
        let mut free = mem::take(&mut self.free);
        free.sort_unstable();
        let members = mem::take(&mut self.servers)
            .into_iter()
            .zip(0_u32..)
            .filter(|(_, slot)| free.binary_search(slot).is_err())
            .map(|(server, _)| server);
        let mut all: Vec<Server<N>> = members.chain(added).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        self.by_id = (0..all.len() as u32).collect();
        self.zones = Zones::default();
        self.zone_of = Vec::with_capacity(all.len());
        let mut runs = Vec::with_capacity(all.len());
        let tokens: u64 = all.iter().map(|server| self.tokens_of(server.weight)).sum();
        let mut points = Vec::with_capacity(tokens as usize);
        for (server, slot) in all.iter().zip(0_u32..) {
            let zone = self.zones.join(server.zone.as_ref());
            self.zone_of.push(zone);
            if server.weight > 0 {
                self.zones.set_able(zone, true);
            }
            let count = self.tokens_of(server.weight) as u32;
            runs.push((slot, count));
            points.extend(token_points(&self.hash, &server.id, 0..count));
        }
        self.servers = all;
        self.tokens = Tokens::build(&points, &runs);
    }
}
