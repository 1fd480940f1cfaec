//! How a partition on shared storage is opened. While the map does not say that its table is in
//! the storage, any owner makes what is not there, and serves when the map says so: then nobody
//! can have been served by a partition that is made anew. Knows nothing of requests.

use std::sync::Arc;
use std::time::Duration;

use tablestore_consensus::Consensus;
use tablestore_owned::{Ended, OpenError, Owned, StorageError};
use tablestore_placement::{ClusterMap, Command, Epoch, Office, PartitionId, Table};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::owned::told;
use super::shared::SharedStorage;
use crate::node::wall_ms;

/// Pause before the storage is looked at again for the partitions of other owners; doubled with
/// every time.
const LOOK_MIN: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_secs(1);
/// The owner of this partition tells the map when the table is in the storage.
const TELLS: u32 = 0;

/// What a partition is opened with.
pub(super) struct Opening {
    pub(super) storage: SharedStorage,
    pub(super) consensus: Consensus,
    pub(super) office: (Office, PartitionId, Epoch),
    /// The number of the storage in which the table is; nothing while no map says that it is.
    pub(super) founded: Option<u64>,
    /// Whoever has one of these opens.
    pub(super) turns: Arc<Semaphore>,
}

/// Whether an office stands, as a map says.
pub(super) fn holds(
    map: &ClusterMap,
    (me, partition, epoch): (Office, PartitionId, Epoch),
) -> bool {
    let assignment = map.assignment(partition);
    assignment.is_some_and(|a| a.primary == Some(me) && a.epoch == epoch)
}

/// What was wrong with the node or its storage when a partition ended.
pub(super) fn fault_of_end(ended: &Ended) -> Option<String> {
    match ended {
        Ended::Failed(error) => Some(told(error)),
        _ => None,
    }
}

impl Opening {
    fn table<'a>(&self, map: &'a ClusterMap) -> Option<&'a Table> {
        map.tables.get(&self.office.1.table)
    }

    fn founded_in(&self, map: &ClusterMap) -> Option<u64> {
        self.table(map).and_then(|table| table.founded)
    }

    /// Opens the partition if the map says anew that the office stands; otherwise says what is
    /// wrong, if it is with the node or its storage.
    pub(super) async fn open(&self) -> Result<Owned, Option<String>> {
        let map = self.consensus.map();
        let confirm = || async {
            let map = self.consensus.read_index().await;
            let stands = |map: &ClusterMap| {
                let is_undecided = || self.founded_in(map).is_none();
                holds(map, self.office) && (self.founded.is_some() || is_undecided())
            };
            map.is_ok_and(|map| stands(&map))
        };
        let turn = self.turns.acquire().await;
        let opened = self
            .storage
            .open(map.shared_cluster(), self.office.1, self.founded, confirm);
        let opened = opened.await;
        drop(turn);
        let owned = opened.map_err(|error| match error {
            OpenError::NotConfirmed | OpenError::Fenced => None,
            error => Some(told(&error)),
        })?;
        if self.founded.is_some() {
            return Ok(owned);
        }
        let founded = tokio::select! {
            founded = self.is_founded() => founded,
            ended = owned.ended() => Err(fault_of_end(&ended)),
            never = self.tell_when_founded() => match never {},
        };
        match founded {
            Ok(()) => Ok(owned),
            Err(fault) => {
                owned.close().await;
                Err(fault)
            }
        }
    }

    /// Waits until the map says that the table is in this storage; fails when it is in another
    /// one, or the office is gone.
    async fn is_founded(&self) -> Result<(), Option<String>> {
        let mut maps = self.consensus.watch_map();
        let is_decided =
            |map: &ClusterMap| !holds(map, self.office) || self.founded_in(map).is_some();
        let founded = match maps.wait_for(|map| is_decided(map)).await {
            Ok(map) if holds(&map, self.office) => self.founded_in(&map),
            Ok(_) | Err(_) => return Err(None),
        };
        let number = self.storage.number().await;
        match number.map_err(|error| Some(told(&error)))? {
            number if number == founded => Ok(()),
            _ => Err(Some(told(&StorageError::OtherStorage))),
        }
    }

    /// Tells the map when all partitions are in this storage, if that is the task of this owner;
    /// goes on until the map has it and nobody waits for this any more.
    async fn tell_when_founded(&self) -> std::convert::Infallible {
        let (
            _,
            PartitionId {
                table: id,
                partition,
            },
            _,
        ) = self.office;
        if partition != TELLS {
            return std::future::pending().await;
        }
        let (mut from, mut pause) = (0, LOOK_MIN);
        loop {
            let map = self.consensus.map();
            if let Some(table) = self.table(&map) {
                match self.storage.lacks(&map, table, from).await {
                    Ok(Some(lacking)) => from = lacking.partition,
                    Ok(None) => self.tell(id).await,
                    Err(error) => tracing::warn!(error = told(&error), "the shared storage"),
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
    }

    async fn tell(&self, table: tablestore_placement::TableId) {
        let storage = match self.storage.number().await {
            Ok(Some(storage)) => storage,
            Ok(None) => return,
            Err(error) => return tracing::warn!(error = told(&error), "the shared storage"),
        };
        let command = Command::FoundTable {
            table,
            storage,
            at_ms: wall_ms(),
        };
        if let Err(error) = self.consensus.propose(command).await {
            tracing::debug!(%error, "that a table is in the shared storage was not taken down");
        }
    }
}
