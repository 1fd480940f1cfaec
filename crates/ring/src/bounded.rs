//! Bounded loads: no server is given much more than its share. Knows nothing about stored keys.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::{Point, PointHash, Ring, StableBytes, Xxh3};

/// Requests placed on a ring so that no server has more than `1 + slack` times its share.
///
/// A request goes to the first server from its point on that is not full, and occupies it until
/// it is released. Assign O(1/slack²) servers expected, release O(log *n*).
///
/// **Not for stored keys.** Where a request goes depends on all the others that are in progress:
/// the same key goes elsewhere at another time, and whoever looks for it later does not find it.
/// It is for caches and for balancing requests, where a miss costs time and nothing else.
///
/// Source: V. Mirrokni, M. Thorup, M. Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA
/// 2018, section 2; capacities in proportion to weights.
///
/// ```
/// use tablestore_ring::{BoundedLoads, Point, Ring, Server};
/// let mut ring = Ring::new();
/// ring.extend([Server::new("a"), Server::new("b")])?;
/// let mut requests = BoundedLoads::new(ring, 25);
/// for _ in 0..8 {
///     requests.assign(Point(1)); // all for one key
/// }
/// assert_eq!((requests.load(&"a") + requests.load(&"b")), 8);
/// assert!(requests.load(&"a") <= 5 && requests.load(&"b") <= 5, "1.25 times 4");
/// # Ok::<(), tablestore_ring::AddError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BoundedLoads<N, H = Xxh3> {
    ring: Ring<N, H>,
    slack_percent: u32,
    weights: u64,
    loads: BTreeMap<N, u64>,
    total: u64,
}

impl<N: Clone + Ord + StableBytes, H: PointHash> BoundedLoads<N, H> {
    /// Nothing assigned yet. A slack of 25 per cent evens out most of a ring's spread; with
    /// less than 10 many requests leave their place when one comes or goes.
    pub fn new(ring: Ring<N, H>, slack_percent: u32) -> Self {
        let mut bounded = Self {
            ring,
            slack_percent,
            weights: 0,
            loads: BTreeMap::new(),
            total: 0,
        };
        bounded.weigh();
        bounded
    }

    /// Places a request; `None` if no server holds a token.
    pub fn assign(&mut self, point: Point) -> Option<&N> {
        let total = self.total + 1;
        let free = |id: &&N| self.load(id) < self.capacity_at(id, total);
        // Some server is not full, since the capacities add up to more than what is assigned.
        let id = self.ring.walk(point).find(free)?.clone();
        self.total = total;
        *self.loads.entry(id.clone()).or_default() += 1;
        self.loads.get_key_value(&id).map(|(id, _)| id)
    }

    /// A request that was placed on this server is over; `false` if it has none.
    pub fn release(&mut self, id: &N) -> bool {
        let Some(load) = self.loads.get_mut(id) else {
            return false;
        };
        *load -= 1;
        if *load == 0 {
            self.loads.remove(id);
        }
        self.total -= 1;
        true
    }

    /// How many requests are on a server.
    pub fn load(&self, id: &N) -> u64 {
        self.loads.get(id).copied().unwrap_or(0)
    }

    /// How many requests a server may have with what is assigned now.
    pub fn capacity(&self, id: &N) -> u64 {
        self.capacity_at(id, self.total)
    }

    /// The servers.
    pub fn ring(&self) -> &Ring<N, H> {
        &self.ring
    }

    /// Changes the servers. Requests on those that are gone are forgotten, and handed back.
    pub fn change<R>(&mut self, change: impl FnOnce(&mut Ring<N, H>) -> R) -> (R, Vec<(N, u64)>) {
        let result = change(&mut self.ring);
        self.weigh();
        let mut gone = Vec::new();
        let ring = &self.ring;
        self.loads.retain(|id, load| {
            let stays = ring.server(id).is_some();
            if !stays {
                gone.push((id.clone(), *load));
            }
            stays
        });
        self.total -= gone.iter().map(|(_, load)| load).sum::<u64>();
        (result, gone)
    }

    fn weigh(&mut self) {
        let weights = self.ring.servers().map(|server| u64::from(server.weight));
        self.weights = weights.sum();
    }

    fn capacity_at(&self, id: &N, total: u64) -> u64 {
        let weight = self.ring.server(id).map_or(0, |server| server.weight);
        let share = u128::from(total) * u128::from(weight) * u128::from(100 + self.slack_percent);
        let whole = 100 * u128::from(self.weights.max(1));
        u64::try_from(share.div_ceil(whole)).unwrap_or(u64::MAX)
    }
}
