//! Weighted rendezvous hashing: every server draws a lot, the best lots serve.
//!
//! Knows nothing about tokens. Integers only: a logarithm in floating point differs between
//! machines.

use alloc::vec::Vec;

use crate::mix::mix;
use crate::server::WEIGHT_MAX;
use crate::zones::Zones;
use crate::{AddError, Locate, Point, PointHash, ReweightError, Server, StableBytes, Xxh3};

/// Servers of an answer whose places are remembered on the stack; later ones are searched by id.
const REMEMBERED: usize = 16;

#[derive(Clone, Debug)]
struct Entry<N> {
    server: Server<N>,
    /// The point of the server's id.
    seed: u64,
    zone: u32,
}

/// Servers with weights and zones, without a ring: shares are exact but for chance.
///
/// For tens of servers, or where shares must follow weights closely: the ring's are those of its
/// tokens. A change of weight moves what it must and nothing between two others. Owner O(*n*),
/// *k* servers O(*kn*), 8 bytes a server beside the server. The answer does not depend on the order
/// of changes. Servers of distinct zones come first, as on the ring.
///
/// Source: D. Thaler, C. Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", IEEE/ACM
/// Transactions on Networking 6(1), 1998; weights by −ln(u)/w after C. Schindelhauer, G. Schomaker,
/// "Weighted Distributed Hash Tables", SPAA 2005, section 4 (the logarithmic method).
///
/// ```
/// use tablestore_ring::{Locate, Point, Rendezvous, Server};
/// let mut servers = Rendezvous::new();
/// servers.add(Server::new("small"))?;
/// servers.add(Server::new("large").weight(3))?;
/// assert_eq!(servers.preference(Point(1), 5).len(), 2);
/// # Ok::<(), tablestore_ring::AddError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rendezvous<N, H = Xxh3> {
    hash: H,
    /// Ordered by id: equal lots are settled by the smaller id.
    entries: Vec<Entry<N>>,
    zones: Zones,
}

impl<N: Ord + StableBytes> Rendezvous<N> {
    /// No servers; ids are hashed with [`Xxh3`].
    pub fn new() -> Self {
        Self::with_hash(Xxh3)
    }
}

impl<N: Ord + StableBytes> Default for Rendezvous<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<N: Ord + StableBytes, H: PointHash> Rendezvous<N, H> {
    /// No servers; ids are hashed with `hash`.
    pub fn with_hash(hash: H) -> Self {
        Self {
            hash,
            entries: Vec::new(),
            zones: Zones::default(),
        }
    }

    /// Adds a server. Only keys that become its own change their owner.
    ///
    /// # Errors
    /// If it is a member already, or too heavy; nothing changed.
    pub fn add(&mut self, server: Server<N>) -> Result<(), AddError> {
        let weight = server.weight;
        if weight > WEIGHT_MAX {
            return Err(AddError::WeightTooLarge { weight });
        }
        let Err(place) = self.place_of(&server.id) else {
            return Err(AddError::AlreadyMember);
        };
        let mut bytes = Vec::new();
        server.id.append_to(&mut bytes);
        let seed = self.hash.point(&bytes).0;
        let zone = self.zones.join(server.zone.as_ref());
        if weight > 0 {
            self.zones.set_able(zone, true);
        }
        let entry = Entry { server, seed, zone };
        self.entries.insert(place, entry);
        Ok(())
    }

    /// Removes a server and hands it back. Only keys that were its own change their owner.
    pub fn remove(&mut self, id: &N) -> Option<Server<N>> {
        let place = self.place_of(id).ok()?;
        let Entry { server, zone, .. } = self.entries.remove(place);
        if server.weight > 0 {
            self.zones.set_able(zone, false);
        }
        self.zones.leave(zone, server.zone.as_ref());
        Some(server)
    }

    /// Gives a server another weight: keys move to it or away from it, never between two others.
    ///
    /// # Errors
    /// If it is no member, or would be too heavy; nothing changed.
    pub fn reweight(&mut self, id: &N, weight: u32) -> Result<(), ReweightError> {
        if weight > WEIGHT_MAX {
            return Err(ReweightError::WeightTooLarge { weight });
        }
        let place = self.place_of(id).map_err(|_| ReweightError::NotMember)?;
        let entry = &mut self.entries[place];
        let before = core::mem::replace(&mut entry.server.weight, weight);
        if (before == 0) != (weight == 0) {
            self.zones.set_able(entry.zone, weight > 0);
        }
        Ok(())
    }

    /// All servers, ordered by id, those of weight 0 included.
    pub fn servers(&self) -> impl ExactSizeIterator<Item = &Server<N>> {
        self.entries.iter().map(|entry| &entry.server)
    }

    fn place_of(&self, id: &N) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|entry| entry.server.id.cmp(id))
    }

    /// The place of the best lot among the entries that `may` come; the first of equal ones.
    fn best(&self, point: Point, may: impl Fn(usize) -> bool) -> Option<usize> {
        let mut best: Option<(usize, Lot)> = None;
        for (place, entry) in self.entries.iter().enumerate() {
            if entry.server.weight == 0 || !may(place) {
                continue;
            }
            let lot = Lot {
                cost: neg_log2(mix(point.0 ^ entry.seed)),
                weight: u64::from(entry.server.weight),
            };
            if best.is_none_or(|(_, other)| lot.beats(other)) {
                best = Some((place, lot));
            }
        }
        best.map(|(place, _)| place)
    }
}

impl<N: Ord + StableBytes, H: PointHash> Locate for Rendezvous<N, H> {
    type Node = N;

    /// First the best server of every zone, then the second of every zone that has one, and so on.
    fn locate<'a>(&'a self, point: Point, out: &mut [Option<&'a N>]) -> usize {
        out.fill(None);
        let able = self.zones.able();
        let wanted = out.len().min(able);
        let mut places = [0; REMEMBERED];
        let (mut found, mut round) = (0, 0);
        while found < wanted {
            let ids = &out[..found];
            let place_at = |i: usize| match places.get(i) {
                Some(place) => Some(*place),
                None => ids[i].and_then(|id| self.place_of(id).ok()),
            };
            let best = self.best(point, |place| {
                let mut of_zone = 0;
                for other in (0..found).filter_map(place_at) {
                    if other == place {
                        return false;
                    }
                    of_zone += usize::from(self.entries[other].zone == self.entries[place].zone);
                }
                of_zone <= round
            });
            match best {
                Some(place) => {
                    if let Some(remembered) = places.get_mut(found) {
                        *remembered = place;
                    }
                    out[found] = Some(&self.entries[place].server.id);
                    found += 1;
                }
                None => round += 1,
            }
        }
        found
    }

    fn owner(&self, point: Point) -> Option<&N> {
        let place = self.best(point, |_| true)?;
        Some(&self.entries[place].server.id)
    }
}

/// A draw from an exponential distribution, and the weight by which it is divided.
#[derive(Clone, Copy, Debug)]
struct Lot {
    cost: u64,
    weight: u64,
}

impl Lot {
    fn beats(self, other: Self) -> bool {
        // Below 2^46 times 2^14.
        self.cost * other.weight < other.cost * self.weight
    }
}

/// Bits behind the point of a logarithm.
const FRACTION_BITS: u32 = 40;
/// Bits of a mantissa by which the table is read; in between it is straight. The error is below
/// 0.05 % of any cost, so no share is off by more.
const TABLE_BITS: u32 = 10;
const TABLE: [u64; (1 << TABLE_BITS) + 1] = table();

const fn table() -> [u64; (1 << TABLE_BITS) + 1] {
    let mut table = [0; (1 << TABLE_BITS) + 1];
    let mut i = 0;
    while i < 1 << TABLE_BITS {
        table[i] = log2((1 << 63) + ((i as u64) << (63 - TABLE_BITS)));
        i += 1;
    }
    table[1 << TABLE_BITS] = 1 << FRACTION_BITS;
    table
}

/// The logarithm of a number from 1 to 2, which comes with 63 bits behind the point: squared,
/// it passes 2 if the next bit of its logarithm is set.
const fn log2(mut x: u64) -> u64 {
    let mut log = 0;
    let mut bit = 0;
    while bit < FRACTION_BITS {
        let square = (x as u128 * x as u128) >> 63;
        let carry = square >> 64 != 0;
        log = (log << 1) | carry as u64;
        x = if carry {
            (square >> 1) as u64
        } else {
            square as u64
        };
        bit += 1;
    }
    log
}

/// −log₂(u / 2^64), rounded towards what the table holds.
fn neg_log2(u: u64) -> u64 {
    let u = u.max(1);
    let zeros = u.leading_zeros();
    let mantissa = u << zeros;
    let index = (mantissa >> (63 - TABLE_BITS)) as usize & ((1 << TABLE_BITS) - 1);
    let rest = mantissa & ((1 << (63 - TABLE_BITS)) - 1);
    let step = u128::from(TABLE[index + 1] - TABLE[index]) * u128::from(rest);
    let log = TABLE[index] + (step >> (63 - TABLE_BITS)) as u64;
    (u64::from(zeros + 1) << FRACTION_BITS) - log
}
