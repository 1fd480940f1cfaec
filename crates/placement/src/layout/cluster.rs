//! From the cluster map to a topology and the layout of one table.
//! Knows nothing about plans.

use std::collections::BTreeMap;

use super::topology::{
    NODES_MAX, NONE, Node, NodeState, Placement, PlacementInvalid, Topology, TopologyInvalid,
};
use crate::{ClusterMap, FailureDomain, MemberState, StorageId, Table};

/// A table as a layout, and whose number is whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePlacement {
    /// The members of the map, in the order of their storage ids. Members without a zone are in
    /// zones of their own.
    pub topology: Topology,
    /// Who holds what: the primary first, then the other replicas in their order.
    pub current: Placement,
    /// The members by number.
    pub members: Vec<StorageId>,
}

/// Why a map makes no layout. Nothing was made.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapUnfit {
    /// The members make no topology. The caller plans by other means.
    #[error("the members make no topology")]
    Topology(#[from] TopologyInvalid),
    /// The assignments make no layout. The caller plans by other means.
    #[error("the assignments make no layout")]
    Placement(#[from] PlacementInvalid),
}

/// The topology of a map's members and the layout of one of its tables.
///
/// Replicas on members that the map no longer has are left out. A primary that is no replica, as
/// while it is being replaced, is left out too.
///
/// # Errors
/// If there is more of something than layouts may have; [`NODES_MAX`] is one limit.
pub fn of_table(map: &ClusterMap, table: &Table) -> Result<TablePlacement, MapUnfit> {
    debug_assert!(NODES_MAX <= NONE as usize, "every node has a number");
    let mut zones: BTreeMap<FailureDomain<'_>, u32> = BTreeMap::new();
    let mut nodes = Vec::with_capacity(map.members.len());
    for member in map.members.values() {
        let next = zones.len() as u32;
        let zone = *zones.entry(member.failure_domain()).or_insert(next);
        nodes.push(Node {
            state: state(member.state),
            ..Node::new(member.storage.0, member.weight, zone)
        });
    }
    let members: Vec<StorageId> = map.members.keys().copied().collect();
    let number = |storage: &StorageId| members.binary_search(storage).ok().map(|n| n as u32);
    let width = table.partitions.iter().map(|one| one.replicas.len()).max();
    let width = width.unwrap_or(0);
    let mut places = Vec::with_capacity(width * table.partitions.len());
    for assignment in &table.partitions {
        let primary = assignment.primary_member();
        let mut row: Vec<u32> = assignment.replicas.iter().filter_map(number).collect();
        let first = primary.as_ref().and_then(number);
        if let Some(place) = row.iter().position(|&node| Some(node) == first) {
            row[..=place].rotate_right(1);
        } else if row.len() < width {
            // Nobody serves it: the first place stays empty.
            row.insert(0, NONE);
        }
        row.resize(width, NONE);
        places.extend(row);
    }
    Ok(TablePlacement {
        topology: Topology::new(nodes)?,
        current: Placement::new(table.partitions.len(), width, places)?,
        members,
    })
}

fn state(state: MemberState) -> NodeState {
    match state {
        MemberState::Up => NodeState::Up,
        MemberState::Suspect => NodeState::Suspect,
        MemberState::Draining => NodeState::Leaving,
        MemberState::Down | MemberState::Left => NodeState::Down,
    }
}
