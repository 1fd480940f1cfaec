//! Partitions with their replicas, compiled into a table. Knows nothing about how they were found.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::{Locate, PartitionTable, Point};

/// The most nodes of a table: a seat is two bytes, and one value means that nobody sits there.
pub const TABLE_NODES_MAX: usize = u16::MAX as usize;

/// Nobody.
const VACANT: u16 = u16::MAX;

/// For each partition the nodes that serve it, the owner first: one read for a lookup.
///
/// It is compiled from anything that [`Locate`]s, or from the lists of a plan. A partition has
/// at most as many nodes as the table has replicas; [`Locate::locate`] answers with those.
///
/// Source: the fixed partitions of G. DeCandia et al., "Dynamo", SOSP 2007, section 6.2,
/// strategy 3. Lookup O(1); two bytes for each replica and two for each owner, whatever the number
/// of nodes.
///
/// ```
/// use tablestore_ring::{Locate, PartitionTable, Point, ReplicaTable, Ring, Server};
/// let mut ring = Ring::new();
/// ring.extend([Server::new("a"), Server::new("b"), Server::new("c")])?;
/// let table = ReplicaTable::compile(&ring, PartitionTable::new(1 << 10)?, 2)?;
/// let point = ring.point(b"user-17");
/// let first = table.division().point_of_partition(table.division().partition_of(point));
/// assert_eq!(table.preference(point, 2), ring.preference(first, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaTable<N> {
    division: PartitionTable,
    replicas: usize,
    /// Ordered, without duplicates: seats are indexes into it.
    nodes: Vec<N>,
    /// The first seat of each partition, close together for the sake of the cache, and how far
    /// a point is shifted to find it. A single partition is there twice: no shift is as far as 64.
    owners: Vec<u16>,
    owner_shift: u32,
    /// `replicas` seats for each partition, the vacant ones last.
    seats: Vec<u16>,
}

/// A partition that two tables give to different nodes, or to the same in another order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassigned<'a, N> {
    /// Which partition.
    pub partition: u32,
    /// Who served it, the owner first.
    pub from: Vec<&'a N>,
    /// Who serves it now, the owner first.
    pub to: Vec<&'a N>,
}

impl<N: Clone + Ord> ReplicaTable<N> {
    /// The table of what `locate` answers at the first point of each partition, `replicas` nodes
    /// at most. O(partitions × lookup).
    ///
    /// # Errors
    /// If there are more than [`TABLE_NODES_MAX`] different nodes; nothing was made.
    pub fn compile<L: Locate<Node = N>>(
        locate: &L,
        division: PartitionTable,
        replicas: usize,
    ) -> Result<Self, TableNodesTooMany> {
        let mut found = vec![None; replicas];
        let mut flat: Vec<Option<&N>> = Vec::new();
        for partition in 0..division.count() {
            locate.locate(division.point_of_partition(partition), &mut found);
            flat.extend_from_slice(&found);
        }
        Self::from_flat(division, replicas, &flat)
    }

    /// The table of a plan: `nodes_of` answers with the nodes of a partition, the owner first;
    /// those beyond `replicas` are left out.
    ///
    /// # Errors
    /// If there are more than [`TABLE_NODES_MAX`] different nodes; nothing was made.
    pub fn from_plan<'a>(
        division: PartitionTable,
        replicas: usize,
        nodes_of: impl Fn(u32) -> &'a [N],
    ) -> Result<Self, TableNodesTooMany>
    where
        N: 'a,
    {
        let mut flat: Vec<Option<&N>> = Vec::new();
        for partition in 0..division.count() {
            let nodes = nodes_of(partition).iter().map(Some);
            flat.extend(nodes.chain(core::iter::repeat(None)).take(replicas));
        }
        Self::from_flat(division, replicas, &flat)
    }

    fn from_flat(
        division: PartitionTable,
        replicas: usize,
        flat: &[Option<&N>],
    ) -> Result<Self, TableNodesTooMany> {
        let mut nodes: Vec<&N> = flat.iter().copied().flatten().collect();
        nodes.sort_unstable();
        nodes.dedup();
        if nodes.len() > TABLE_NODES_MAX {
            let nodes = nodes.len();
            return Err(TableNodesTooMany { nodes });
        }
        let seat = |node: &Option<&N>| match node {
            // Present, since `nodes` was made from the same list.
            Some(node) => nodes.partition_point(|other| other < node) as u16,
            None => VACANT,
        };
        let seats: Vec<u16> = flat.iter().map(seat).collect();
        let mut owners: Vec<u16> = match replicas {
            0 => vec![VACANT; division.count() as usize],
            _ => seats.iter().step_by(replicas).copied().collect(),
        };
        if owners.len() == 1 {
            owners.push(owners[0]);
        }
        Ok(Self {
            division,
            replicas,
            nodes: nodes.into_iter().cloned().collect(),
            owner_shift: 64 - owners.len().ilog2(),
            owners,
            seats,
        })
    }

    /// The division into partitions.
    pub fn division(&self) -> PartitionTable {
        self.division
    }

    /// The nodes that serve anything, in order.
    pub fn nodes(&self) -> &[N] {
        &self.nodes
    }

    /// The most nodes of a partition.
    pub fn replicas(&self) -> usize {
        self.replicas
    }

    /// The nodes of a partition, the owner first; none if there is no such partition.
    pub fn of_partition(&self, partition: u32) -> impl Iterator<Item = &N> {
        let nodes = self.seats_of(partition).iter();
        nodes.filter_map(|seat| self.nodes.get(usize::from(*seat)))
    }

    /// The partitions that `after` gives to other nodes than this table does, or in another order.
    /// O(partitions × replicas).
    ///
    /// # Errors
    /// If the two do not divide the circle alike.
    pub fn diff<'a>(
        &'a self,
        after: &'a Self,
    ) -> Result<impl Iterator<Item = Reassigned<'a, N>>, DivisionsDiffer> {
        if self.division != after.division {
            let (before, after) = (self.division.count(), after.division.count());
            return Err(DivisionsDiffer { before, after });
        }
        // Seats of this table as seats of the other; who is not there sits apart from all.
        let number = |node: &N| match after.nodes.binary_search(node) {
            Ok(seat) => seat as u32,
            Err(_) => u32::MAX,
        };
        let mut numbers: Vec<u32> = self.nodes.iter().map(number).collect();
        numbers.resize(usize::from(VACANT) + 1, u32::from(VACANT));
        let same = self.replicas == after.replicas && self.nodes == after.nodes;
        let differs = move |partition: &u32| {
            let (from, to) = (self.seats_of(*partition), after.seats_of(*partition));
            if same {
                return from != to;
            }
            let pair = |i: usize| {
                let from = from.get(i).map_or(VACANT, |seat| *seat);
                let to = to.get(i).map_or(VACANT, |seat| *seat);
                numbers[usize::from(from)] == u32::from(to)
            };
            !(0..from.len().max(to.len())).all(pair)
        };
        let reassigned = |partition| Reassigned {
            partition,
            from: self.of_partition(partition).collect(),
            to: after.of_partition(partition).collect(),
        };
        Ok((0..self.division.count()).filter(differs).map(reassigned))
    }

    /// The owner of a point as an index into [`nodes`](Self::nodes), for callers that keep what
    /// they know of a node in a vector of their own; `None` if nobody serves the partition.
    #[inline]
    pub fn owner_index(&self, point: Point) -> Option<usize> {
        let seat = self.owners[(point.0 >> self.owner_shift) as usize];
        (seat != VACANT).then_some(usize::from(seat))
    }

    #[inline]
    fn seats_of(&self, partition: u32) -> &[u16] {
        let first = partition as usize * self.replicas;
        let seats = self.seats.get(first..first + self.replicas);
        seats.unwrap_or_default()
    }
}

impl<N: Clone + Ord> Locate for ReplicaTable<N> {
    type Node = N;

    #[inline]
    fn locate<'a>(&'a self, point: Point, out: &mut [Option<&'a N>]) -> usize {
        let seats = self.seats_of(self.division.partition_of(point));
        let mut found = 0;
        for (i, place) in out.iter_mut().enumerate() {
            *place = seats
                .get(i)
                .and_then(|seat| self.nodes.get(usize::from(*seat)));
            found += usize::from(place.is_some());
        }
        found
    }

    #[inline]
    fn owner(&self, point: Point) -> Option<&N> {
        let seat = self.owners[(point.0 >> self.owner_shift) as usize];
        self.nodes.get(usize::from(seat))
    }
}

/// The table would have more than [`TABLE_NODES_MAX`] nodes; nothing was made. Use the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableNodesTooMany {
    /// How many different nodes there were.
    pub nodes: usize,
}

impl fmt::Display for TableNodesTooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} nodes exceed {TABLE_NODES_MAX}", self.nodes)
    }
}

impl core::error::Error for TableNodesTooMany {}

/// Two tables do not divide the circle into equally many partitions, so none is the other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DivisionsDiffer {
    /// Partitions of the table before.
    pub before: u32,
    /// Partitions of the table after.
    pub after: u32,
}

impl fmt::Display for DivisionsDiffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, after } = self;
        write!(f, "{before} partitions are not {after}")
    }
}

impl core::error::Error for DivisionsDiffer {}
