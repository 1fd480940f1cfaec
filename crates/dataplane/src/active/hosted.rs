//! An active replica as the plane holds it. Knows nothing of what a replica decides.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "testing")]
use tablestore_replication::active::ReplicaStatus;
use tablestore_replication::active::{HintStatus, Replica, ReplicaMeta, Settings};
use tablestore_store::Engine;

use super::Active;
use super::open::OpenedActive;
use super::rows::ActiveRows;
use crate::standing::Standing;
use tablestore_placement::{Office, PartitionId};

/// A replica of an active partition that this node holds.
#[derive(Debug)]
pub(crate) struct HostedActive<E> {
    pub(super) replica: Replica,
    pub(super) rows: ActiveRows<E>,
    /// The index of the last entry of its log.
    pub(super) end: u64,
    /// Unlike that of any other replica that this process has hosted.
    pub(super) life: u64,
    pub(super) wakes_at: Option<Duration>,
    pub(super) touched: bool,
    /// When it last asked to become one of the replicas that count.
    pub(super) asked_at: Option<Duration>,
    /// It was being rebuilt when it was last looked at.
    pub(super) was_rebuilding: bool,
    /// Why it stopped for good.
    pub(crate) stopped: Option<String>,
}

impl<E: Engine> HostedActive<E> {
    pub(super) fn new(
        settings: Settings,
        me: Office,
        partition: PartitionId,
        (engine, life): (Arc<E>, u64),
        opened: OpenedActive,
    ) -> Self {
        let meta = opened.meta.clone();
        let rows = ActiveRows::new(engine, partition.to_u64(), opened.order, opened.meta);
        Self {
            replica: Replica::new(settings, me.member, me.incarnation.0, meta),
            rows,
            end: opened.end,
            life,
            wakes_at: None,
            touched: false,
            asked_at: None,
            was_rebuilding: false,
            stopped: None,
        }
    }

    /// What a checkpoint keeps beside the rows.
    pub(crate) fn durable_meta(&self) -> &ReplicaMeta {
        self.rows.durable_meta()
    }
}

impl<E: Engine, W> Active<E, W> {
    /// What became of the hints that this node keeps for others.
    pub(crate) fn hints(&self) -> HintStatus {
        self.coordinator.hints()
    }

    pub(crate) fn count(&self, standing: &mut Standing) {
        for hosted in self.hosted.values() {
            if hosted.stopped.is_some() {
                standing.active_stopped += 1;
                continue;
            }
            let meta = hosted.replica.meta();
            standing.active_open += 1;
            standing.active_rebuilding += usize::from(meta.is_rebuilding);
            let floor = meta.proof.floor.0;
            let lowest = standing
                .active_floor_ms
                .map_or(floor, |lowest| lowest.min(floor));
            standing.active_floor_ms = Some(lowest);
        }
    }
}

#[cfg(feature = "testing")]
impl<E: Engine, W> crate::Plane<E, W> {
    /// How the replica of a partition of an active table is now; none if there is none or it has
    /// stopped.
    #[must_use]
    pub fn active_status(&self, partition: PartitionId) -> Option<ReplicaStatus> {
        let hosted = self.active.hosted.get(&partition)?;
        hosted.stopped.is_none().then(|| hosted.replica.status())
    }

    /// What became of the hints that this node keeps for others.
    #[must_use]
    pub fn hints(&self) -> HintStatus {
        self.active.hints()
    }
}
