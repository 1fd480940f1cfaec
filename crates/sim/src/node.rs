//! One node: its processes one after the other, and what survives between them.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tablestore_placement::{Incarnation, Office, PartitionId, StorageId, TableId};
use tablestore_replication::{Replica, Settings, Ticket};

use crate::authority::storage_id;
use crate::disk::Disk;
use crate::engine::{Checkpoint, Engine, Snapshot};
use crate::event::{Process, Request, Slot};

/// A replica and its state machine in a running process.
pub(crate) struct Hosted {
    pub(crate) replica: Replica,
    pub(crate) engine: Engine,
    pub(crate) wake_at: Option<u64>,
    pub(crate) tickets: BTreeMap<Ticket, Request>,
    pub(crate) offered: Option<Rc<Snapshot>>,
    pub(crate) installing: Option<Rc<Snapshot>>,
}

/// A node with its disk.
pub(crate) struct Node {
    pub(crate) slot: Slot,
    generation: u64,
    incarnation: u64,
    boot: u64,
    pub(crate) up: bool,
    pub(crate) paused_until: u64,
    started_at: u64,
    pub(crate) sync_us: u64,
    pub(crate) map_version: u64,
    pub(crate) disk: Disk,
    pub(crate) hosted: Vec<Hosted>,
    tickets: u64,
}

impl Node {
    pub(crate) fn new(slot: Slot, partitions: usize, sync_us: u64) -> Self {
        Self {
            slot,
            generation: 1,
            incarnation: 0,
            boot: 0,
            up: false,
            paused_until: 0,
            started_at: 0,
            sync_us,
            map_version: 0,
            disk: Disk::new(partitions),
            hosted: Vec::new(),
            tickets: 0,
        }
    }

    pub(crate) fn storage(&self) -> StorageId {
        storage_id(self.slot, self.generation)
    }

    pub(crate) fn office(&self) -> Office {
        Office {
            member: self.storage(),
            incarnation: Incarnation(self.incarnation),
        }
    }

    pub(crate) fn process(&self) -> Process {
        Process {
            slot: self.slot,
            boot: self.boot,
        }
    }

    /// Time since the process started.
    pub(crate) fn now(&self, at: u64) -> Duration {
        Duration::from_micros(at - self.started_at)
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Starts a process on the disk as it is.
    pub(crate) fn start(&mut self, at: u64, settings: Settings) {
        self.incarnation += 1;
        self.boot += 1;
        self.up = true;
        self.started_at = at;
        self.map_version = 0;
        let me = self.office();
        for partition in 0..self.disk.logs.len() {
            let id = PartitionId::new(TableId(1), partition as u32);
            let recovered = self.disk.recover(partition);
            self.hosted.push(Hosted {
                replica: Replica::new(settings, me, id, recovered),
                engine: self.disk.checkpoints[partition].engine.clone(),
                wake_at: None,
                tickets: BTreeMap::new(),
                offered: None,
                installing: None,
            });
        }
    }

    /// The process is gone.
    pub(crate) fn stop(&mut self) {
        self.up = false;
        self.boot += 1;
        self.paused_until = 0;
        self.hosted.clear();
    }

    /// An empty disk: another member in the same place.
    pub(crate) fn wipe(&mut self) {
        self.disk = Disk::new(self.disk.logs.len());
        self.generation += 1;
        self.incarnation = 0;
    }

    /// Makes the present state of a partition survive a crash.
    pub(crate) fn checkpoint(&mut self, partition: usize) {
        self.disk.checkpoints[partition] = self.state(partition);
    }

    /// The present state of a partition.
    pub(crate) fn state(&self, partition: usize) -> Checkpoint {
        let hosted = &self.hosted[partition];
        Checkpoint {
            engine: hosted.engine.clone(),
            remembered: hosted.replica.remembered_after(0).collect(),
        }
    }
}
