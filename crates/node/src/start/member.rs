//! Becoming a member of a cluster: founding one, joining one, or coming back to it.
//!
//! A directory without a cluster founds one only if nobody remembers its address. Knows nothing
//! of what a member then does.

use std::time::Duration;

use rand::RngExt;
use tablestore_consensus::{FoundError, LinkEvent, ProposeError};
use tablestore_placement::identity::is_held_dead;
use tablestore_placement::{ClusterId, ClusterMap, Command, Incarnation, Refused, Registration};
use tablestore_store::{DataDirectory, DirectoryError};
use tokio::sync::{mpsc, watch};

use super::ending::End;
use super::joining::join;
use crate::node::{Node, wall_ms};

/// Pause before members are looked for again.
const FIND_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Longer than a member waits before it tries the address of another one again.
const LISTEN_BEFORE_FOUNDING: Duration = Duration::from_millis(700);

/// Why a node did not become a member. One that cannot reach its cluster goes on trying instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// The cluster refused it, by a rule that the source names. The map is as it was. Change what
    /// the rule is about: the same start is refused again.
    #[error("the cluster refused this node")]
    Refused(#[source] Refused),
    /// No cluster was founded. The next start goes on where this one stopped.
    #[error(transparent)]
    Found(#[from] FoundError),
    /// A cluster remembers this address, and the directory belongs to none. Nothing changed. Say
    /// which of both is meant.
    #[error(
        "node {by} of cluster {cluster} has a member at {address}, and this directory belongs to \
         none: join that cluster with --join, or found another one here with --new-cluster"
    )]
    Remembered {
        /// The name of the node that said so.
        by: String,
        /// The cluster that has a member here.
        cluster: ClusterId,
        /// The address of this node for others.
        address: String,
    },
    /// It is a member, and the directory could not note that. Start it again.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl MemberError {
    /// Whether it was removed from the cluster for good.
    pub(super) fn is_removed(&self) -> bool {
        matches!(self, Self::Refused(Refused::RetiredStorage { .. }))
    }
}

/// Founds, joins, or comes back; returns when the map has this start of the node.
pub(super) async fn become_member(
    node: &Node,
    directory: &mut DataDirectory,
    registration: &Registration,
    told: mpsc::Receiver<LinkEvent>,
) -> Result<ClusterId, MemberError> {
    let cluster = match directory.cluster() {
        Some(cluster) => {
            tokio::select! {
                back = come_back(node, registration) => back?,
                never = find_members(node) => match never {},
            }
            ClusterId(cluster)
        }
        None if node.settings().join.is_empty() => {
            if !node.settings().new_cluster {
                forgotten_by_nobody(told, &registration.peer_address).await?;
            }
            let cluster = found(node, registration).await?;
            directory.set_cluster(cluster.0)?;
            cluster
        }
        None => {
            let cluster = join(node, registration).await?;
            directory.set_cluster(cluster.0)?;
            cluster
        }
    };
    wait_for(node, |member| member == registration.incarnation).await;
    directory.start_taken()?;
    Ok(cluster)
}

/// Founds a cluster, or goes on where an earlier start was interrupted while it did.
async fn found(node: &Node, registration: &Registration) -> Result<ClusterId, MemberError> {
    let consensus = &node.shared.consensus;
    let new = ClusterId(rand::rng().random());
    // The time of the registration lies before the wait for whoever remembers this address.
    let at_ms = wall_ms();
    let first = Registration {
        at_ms,
        ..registration.clone()
    };
    let founded = consensus.found(new, first, at_ms).await;
    let map = node.map();
    match founded {
        Ok(_) => Ok(new),
        Err(_) if map.is_founded() => {
            come_back(node, registration).await?;
            Ok(map.cluster)
        }
        Err(error) => Err(error.into()),
    }
}

/// Waits for a moment whether anybody knows this address. A member whose directory was lost must
/// not found a cluster of its own where clients expect the old one.
async fn forgotten_by_nobody(
    mut told: mpsc::Receiver<LinkEvent>,
    address: &str,
) -> Result<(), MemberError> {
    let word = async {
        while let Some(event) = told.recv().await {
            if let LinkEvent::ToldCluster { cluster, by } = event {
                return (cluster, by);
            }
        }
        std::future::pending().await
    };
    match tokio::time::timeout(LISTEN_BEFORE_FOUNDING, word).await {
        Err(_) => Ok(()),
        Ok((cluster, by)) => Err(MemberError::Remembered {
            by,
            cluster,
            address: address.to_owned(),
        }),
    }
}

/// Registers this start; tries until a controller answers.
async fn come_back(node: &Node, registration: &Registration) -> Result<(), MemberError> {
    loop {
        let command = Command::Register(registration.clone());
        match node.shared.consensus.propose(command).await {
            Ok(_) => return Ok(()),
            Err(ProposeError::Refused(refused)) => return Err(MemberError::Refused(refused)),
            Err(error) => tracing::warn!(%error, "not registered yet; still trying"),
        }
    }
}

/// Looks for the other members at the addresses to join: those that the map lists may all be old.
async fn find_members(node: &Node) -> std::convert::Infallible {
    let peers = node.shared.consensus.peers();
    loop {
        for address in &node.settings().join {
            peers.find(address).await;
        }
        tokio::time::sleep(FIND_AGAIN_AFTER).await;
    }
}

/// Waits until the map has this node with an incarnation that fits.
async fn wait_for(node: &Node, fits: impl Fn(Incarnation) -> bool) {
    let mut maps: watch::Receiver<_> = node.shared.consensus.watch_map();
    let me = node.me();
    // The sender lives as long as the control plane, which outlives this wait.
    let _ = maps
        .wait_for(|map| {
            map.members
                .get(&me)
                .is_some_and(|member| fits(member.incarnation))
        })
        .await;
}

/// Waits until the map holds this start of the node dead, or says that the node has left for good.
pub(super) async fn ended_by_cluster(node: &Node) -> End {
    let me = node.shared.me;
    let mut maps = node.shared.consensus.watch_map();
    let end_of = |map: &ClusterMap| match map.retired.contains(&me.member) {
        true => Some(End::Removed),
        false => is_held_dead(map, me).then_some(End::Convicted),
    };
    loop {
        if let Some(end) = end_of(&maps.borrow_and_update()) {
            return end;
        }
        tokio::select! {
            changed = maps.changed() => if changed.is_err() {
                // The control plane has ended, which `failed` tells.
                std::future::pending::<()>().await;
            },
            () = node.shared.consensus.has_left() => return End::Removed,
        }
    }
}
