//! The ring itself: servers, their tokens, and the walk from a point onwards.
//!
//! Knows nothing about what is stored on a server, nor whether the server is well.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::hash::token_points;
use crate::server::WEIGHT_MAX;
use crate::{Locate, Point, PointHash, Server, StableBytes, Xxh3};

/// Tokens of a server of weight 1: at 100 servers the fullest holds about 1.28 times the mean.
pub const TOKENS_PER_WEIGHT_DEFAULT: u32 = 128;

/// A consistent-hash ring over servers with weights and zones.
#[derive(Clone, Debug)]
pub struct Ring<N, H = Xxh3> {
    hash: H,
    tokens_per_weight: u32,
    /// Ordered by id, so that an index compares as its id does.
    servers: Vec<Server<N>>,
    /// Zone of each server by index; servers without a zone have one of their own.
    zones: Vec<u32>,
    /// `zones_larger_than[k]`: the zones with more than `k` servers that hold tokens.
    zones_larger_than: Vec<usize>,
    /// Ordered by point and then by server: equal points are settled by the smaller id.
    tokens: Vec<Token>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Token {
    point: Point,
    server: u32,
}

/// A stretch of the ring with one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch<'a, N> {
    /// The first point of the stretch.
    pub first: Point,
    /// The last point of the stretch, included.
    pub last: Point,
    /// Who owns it.
    pub owner: &'a N,
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
            zones: Vec::new(),
            zones_larger_than: Vec::new(),
            tokens: Vec::new(),
        }
    }

    /// Adds a server. Only keys that become its own change their owner.
    pub fn add(&mut self, server: Server<N>) -> Result<(), AddError> {
        self.extend([server])
    }

    /// Adds several servers at once: all of them, or none if one is refused.
    pub fn extend(&mut self, servers: impl IntoIterator<Item = Server<N>>) -> Result<(), AddError> {
        let mut all = self.servers.clone();
        for server in servers {
            if server.weight > WEIGHT_MAX {
                return Err(AddError::WeightTooLarge {
                    weight: server.weight,
                });
            }
            match all.binary_search_by(|other| other.id.cmp(&server.id)) {
                Ok(_) => return Err(AddError::AlreadyMember),
                Err(place) => all.insert(place, server),
            }
        }
        self.servers = all;
        self.rebuild();
        Ok(())
    }

    /// Removes a server and hands it back. Only keys that were its own change their owner.
    pub fn remove(&mut self, id: &N) -> Option<Server<N>> {
        let index = self.index_of(id)?;
        let server = self.servers.remove(index);
        self.rebuild();
        Some(server)
    }

    /// Gives a server another weight. It gains or loses its highest-numbered tokens only, so keys
    /// move to it or away from it and never between two others.
    pub fn reweight(&mut self, id: &N, weight: u32) -> Result<(), ReweightError> {
        if weight > WEIGHT_MAX {
            return Err(ReweightError::WeightTooLarge { weight });
        }
        let index = self.index_of(id).ok_or(ReweightError::NotMember)?;
        self.servers[index].weight = weight;
        self.rebuild();
        Ok(())
    }

    /// The server of that id.
    pub fn server(&self, id: &N) -> Option<&Server<N>> {
        self.index_of(id).map(|index| &self.servers[index])
    }

    /// All servers, ordered by id, those of weight 0 included.
    pub fn servers(&self) -> impl ExactSizeIterator<Item = &Server<N>> {
        self.servers.iter()
    }

    /// How many servers there are, those of weight 0 included.
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Whether there is no server at all.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// The point of a key under this ring's hash.
    pub fn point(&self, key: &[u8]) -> Point {
        self.hash.point(key)
    }

    /// The tokens in ring order: the point and its server.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = (Point, &N)> {
        self.tokens
            .iter()
            .map(|token| (token.point, &self.servers[token.server as usize].id))
    }

    /// The circle cut at its tokens, from [`Point::MIN`] to [`Point::MAX`], each stretch with its
    /// owner. For exact comparisons of two rings; empty if no server holds a token.
    pub fn stretches(&self) -> impl Iterator<Item = Stretch<'_, N>> {
        let mut next = Some(Point::MIN);
        let closing = self.tokens.first().map(|first| Token {
            point: Point::MAX,
            ..*first
        });
        self.tokens
            .iter()
            .copied()
            .chain(closing)
            .filter_map(move |token| {
                let first = next?;
                if token.point < first {
                    return None;
                }
                next = token.point.0.checked_add(1).map(Point);
                let owner = &self.servers[token.server as usize].id;
                Some(Stretch {
                    first,
                    last: token.point,
                    owner,
                })
            })
    }

    fn index_of(&self, id: &N) -> Option<usize> {
        self.servers
            .binary_search_by(|server| server.id.cmp(id))
            .ok()
    }

    fn rebuild(&mut self) {
        self.tokens.clear();
        for (server, index) in self.servers.iter().zip(0_u32..) {
            let count = server.weight.saturating_mul(self.tokens_per_weight);
            let points = token_points(&self.hash, &server.id, count);
            self.tokens.extend(points.map(|point| Token {
                point,
                server: index,
            }));
        }
        self.tokens.sort_unstable();
        self.rebuild_zones();
    }

    fn rebuild_zones(&mut self) {
        let mut names: Vec<&String> = self
            .servers
            .iter()
            .filter_map(|s| s.zone.as_ref())
            .collect();
        names.sort_unstable();
        names.dedup();
        let mut own = names.len() as u32;
        let zone_of = |server: &Server<N>| match &server.zone {
            // Present, since `names` was made from the same servers.
            Some(zone) => names.partition_point(|name| *name < zone) as u32,
            None => {
                own += 1;
                own - 1
            }
        };
        self.zones = self.servers.iter().map(zone_of).collect();

        let mut sizes = vec![0_usize; own as usize];
        for (server, zone) in self.servers.iter().zip(&self.zones) {
            sizes[*zone as usize] += usize::from(server.weight > 0);
        }
        let largest = sizes.iter().copied().max().unwrap_or(0);
        self.zones_larger_than = (0..largest)
            .map(|k| sizes.iter().filter(|size| **size > k).count())
            .collect();
    }
}

impl<N: Clone + Ord + StableBytes, H: PointHash> Locate for Ring<N, H> {
    type Node = N;

    /// First the nearest server of every zone in ring order, then the second of every zone that
    /// has one, and so on: with enough zones all answers lie in distinct zones, with fewer they
    /// are spread as evenly as the zones allow.
    fn locate<'a>(&'a self, point: Point, out: &mut [Option<&'a N>]) -> usize {
        out.fill(None);
        let start = self.tokens.partition_point(|token| token.point < point);
        let (before, after) = self.tokens.split_at(start);
        let mut found = 0;
        for (round, zones) in self.zones_larger_than.iter().enumerate() {
            let mut zones_left = *zones;
            for token in after.iter().chain(before) {
                if found == out.len() {
                    return found;
                }
                if zones_left == 0 {
                    break;
                }
                if self.may_follow(token.server, &out[..found], round) {
                    out[found] = Some(&self.servers[token.server as usize].id);
                    found += 1;
                    zones_left -= 1;
                }
            }
        }
        found
    }
}

impl<N: Clone + Ord + StableBytes, H: PointHash> Ring<N, H> {
    /// Whether `server` is not among `chosen` and its zone was chosen at most `round` times.
    fn may_follow(&self, server: u32, chosen: &[Option<&N>], round: usize) -> bool {
        let mut of_zone = 0;
        for id in chosen.iter().flatten() {
            let other = self.index_of(id).unwrap_or(usize::MAX);
            if other == server as usize {
                return false;
            }
            of_zone += usize::from(self.zones.get(other) == Some(&self.zones[server as usize]));
        }
        of_zone <= round
    }
}

/// Why a server was not added; the ring is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddError {
    /// A server of that id is a member. Nothing changed; use [`Ring::reweight`], or remove it.
    AlreadyMember,
    /// The weight exceeds [`WEIGHT_MAX`]. Nothing changed; choose a smaller unit of weight.
    WeightTooLarge {
        /// The weight that was asked for.
        weight: u32,
    },
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyMember => write!(f, "a server of that id is already a member"),
            Self::WeightTooLarge { weight } => too_large(f, *weight),
        }
    }
}

impl core::error::Error for AddError {}

/// Why a weight was not changed; the ring is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReweightError {
    /// There is no server of that id. Nothing changed; add it first.
    NotMember,
    /// The weight exceeds [`WEIGHT_MAX`]. Nothing changed; choose a smaller unit of weight.
    WeightTooLarge {
        /// The weight that was asked for.
        weight: u32,
    },
}

impl fmt::Display for ReweightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMember => write!(f, "there is no server of that id"),
            Self::WeightTooLarge { weight } => too_large(f, *weight),
        }
    }
}

impl core::error::Error for ReweightError {}

fn too_large(f: &mut fmt::Formatter<'_>, weight: u32) -> fmt::Result {
    write!(f, "the weight {weight} exceeds {WEIGHT_MAX}")
}
