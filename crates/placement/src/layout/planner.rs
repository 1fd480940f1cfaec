//! The planner: from a topology and a current layout to the next one, with its certificate.
//! Knows nothing about time, steps or cluster maps.

use thiserror::Error;

use super::flow::Flow;
use super::shares::{Shares, Spread};
use super::topology::{NONE, Placement, REPLICAS_MAX, Topology};
use super::{causes, primaries};

/// Replicas per unit of weight, as a fraction: a node's share is its weight times this, but at
/// most one replica of each partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// How many replicas are shared.
    pub numerator: u64,
    /// By nodes of how much weight together; never 0 in what the planner makes.
    pub denominator: u64,
}

/// The constraint that caused a difference: the first of these that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The partition had too few replicas.
    Missing,
    /// Who goes takes nothing: it leaves, is down, or has no weight.
    NotTaking,
    /// The partition had more replicas in that zone than zones may have.
    ZoneFull,
    /// The partition had more replicas than asked for.
    Surplus,
    /// Who goes had more than the ceiling of its share.
    AboveShare,
    /// The partition had fewer replicas in the zone of who comes than zones must have.
    ZoneShort,
    /// Who comes had less than the floor of its share.
    BelowShare,
    /// A link of a chain: neither of the two is at fault, but what is could not be settled
    /// directly for less.
    Exchange,
}

/// One difference between the current layout and the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The partition.
    pub partition: u32,
    /// Who no longer holds it.
    pub from: Option<u32>,
    /// Who holds it newly.
    pub to: Option<u32>,
    /// Why.
    pub cause: Cause,
}

/// What proves a plan; see [`check`](super::check).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The level that all zones have unless they are at a bound.
    pub level: Level,
    /// The level of each zone.
    pub zone_levels: Vec<Level>,
    /// What a replica on each node costs beside the 1 for a new one.
    pub prices: Vec<i64>,
    /// No layout that keeps the rules has fewer new replicas than this: what the prices prove.
    pub bound: u64,
    /// All differences, by partition.
    pub moves: Vec<Move>,
}

/// A target and what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The next layout.
    pub target: Placement,
    /// What proves that it keeps the rules, and that none that does needs fewer moves.
    pub certificate: Certificate,
}

impl Plan {
    /// How many replicas have to be copied.
    #[must_use]
    pub fn copies(&self) -> usize {
        let moves = self.certificate.moves.iter();
        moves.filter(|one| one.to.is_some()).count()
    }
}

/// Why there is no plan. Nothing changed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanRefused {
    /// There are no nodes. The caller waits for some.
    #[error("there are no nodes")]
    NoNodes,
    /// No node takes a share: all leave, are down or have weight 0. The caller waits for one.
    #[error("no node is up with a weight above 0")]
    NobodyTakes,
    /// Zero replicas were asked for, or more than [`REPLICAS_MAX`]. The caller asks for others.
    #[error("{0} replicas are not between 1 and {REPLICAS_MAX}")]
    Replicas(usize),
    /// The current layout names a node that the topology does not have. The caller adds it as
    /// down, or leaves the place empty.
    #[error("partition {partition} is held by node {node}, which does not exist")]
    UnknownNode {
        /// The partition.
        partition: usize,
        /// The number that is none of a node.
        node: u32,
    },
}

/// The layout with the fewest new replicas among all that keep the rules of [this
/// module](super), with its certificate.
///
/// O(P·R·log N) for the bulk and one search, O(P·(R² + Z) + N), for each few of the replicas that
/// need a chain of moves.
///
/// # Errors
/// If there is nobody to plan for, or the current layout names nodes that do not exist.
pub fn plan(
    topology: &Topology,
    current: &Placement,
    replicas: usize,
) -> Result<Plan, PlanRefused> {
    refuse(topology, current, replicas)?;
    let spread = Spread::of(topology, replicas);
    let shares = Shares::of(topology, &spread, current.partitions());
    let mut flow = Flow::new(topology, &spread, &shares, current);
    let quotas = shares.quotas(topology, &spread, current.partitions(), &flow.loads);
    flow.drop_conflicts();
    flow.fill(&quotas);
    let settled = flow.settle();
    assert!(
        settled,
        "shares within what zones may have can always be met"
    );
    let target = target(&flow, current);
    let sink = flow.potentials[flow.sink()];
    let able = |node: usize| topology.nodes()[node].is_able();
    let price = |node: usize| match able(node) {
        true => i64::from(sink - flow.potentials[node]),
        false => 0,
    };
    let moves = causes::moves(topology, &spread, &shares, current, &target);
    let bound = moves.iter().filter(|one| one.to.is_some()).count() as u64;
    let certificate = Certificate {
        level: shares.level,
        prices: (0..topology.nodes().len()).map(price).collect(),
        bound,
        moves,
        zone_levels: shares.zone_levels,
    };
    Ok(Plan {
        target,
        certificate,
    })
}

fn refuse(topology: &Topology, current: &Placement, replicas: usize) -> Result<(), PlanRefused> {
    let nodes = topology.nodes().len();
    if nodes == 0 {
        return Err(PlanRefused::NoNodes);
    }
    if topology.able().next().is_none() {
        return Err(PlanRefused::NobodyTakes);
    }
    if replicas == 0 || replicas > REPLICAS_MAX {
        return Err(PlanRefused::Replicas(replicas));
    }
    let unknown = |node: &u32| *node != NONE && *node as usize >= nodes;
    match current.places.iter().position(unknown) {
        None => Ok(()),
        Some(place) => Err(PlanRefused::UnknownNode {
            partition: place / current.replicas,
            node: current.places[place],
        }),
    }
}

/// The rows of the flow: the primary, then who held the partition before, then who is new.
fn target(flow: &Flow<'_>, current: &Placement) -> Placement {
    let replicas = flow.spread.replicas;
    let mut places = Vec::with_capacity(flow.partitions * replicas);
    for partition in 0..flow.partitions {
        let row = flow.row(partition);
        let before = flow.before(partition);
        places.extend(before.iter().filter(|node| row.contains(node)));
        places.extend(row.iter().filter(|node| !before.contains(node)));
    }
    let former = |partition: usize| current.row(partition).first().copied().unwrap_or(NONE);
    let primaries = primaries::choose(&places, replicas, flow.loads.len(), former);
    for (row, primary) in places.chunks_exact_mut(replicas).zip(primaries) {
        let place = row.iter().position(|&node| node == primary);
        row[..=place.expect("a primary is one of the replicas")].rotate_right(1);
    }
    Placement {
        partitions: flow.partitions,
        replicas,
        places,
    }
}
