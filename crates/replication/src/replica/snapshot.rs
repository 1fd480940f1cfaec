//! A replica that receives a snapshot. Knows nothing of how a snapshot is made or carried.

use tablestore_placement::{Epoch, Office};

use crate::history::EpochHistory;
use crate::output::{Output, PersistRecord};
use crate::remembered::RememberedTable;
use crate::replica::Replica;
use crate::replica::apply::{Applying, LogReads};
use crate::replica::core::Core;
use crate::tail::Tail;
use crate::types::{Remembered, SnapshotMeta};

impl Replica {
    /// The host has a snapshot aside: install it or drop it.
    pub(crate) fn on_snapshot_offered(&mut self, from: Office, epoch: Epoch, meta: SnapshotMeta) {
        if epoch > self.core.adopted {
            self.adopt(epoch);
        }
        let core = &mut self.core;
        let behind = meta.index > core.commit || core.hollow;
        let fits = epoch == core.adopted
            && self.primary.is_none()
            && !core.is_in_sync_member()
            && !core.installing
            && behind;
        if fits {
            core.installing = true;
            self.backup.end_session();
            core.output(Output::InstallSnapshot { from, meta });
        } else {
            core.output(Output::DropSnapshot { from });
        }
    }

    /// The engine's state is the snapshot now, durably: the log goes on behind it.
    pub(crate) fn on_snapshot_installed(&mut self, meta: SnapshotMeta, remembered: &[Remembered]) {
        let core = &mut self.core;
        if !core.installing {
            self.halt("a snapshot is installed only when the replica asked for it");
            return;
        }
        core.restart_behind(meta, remembered);
        self.backup.end_session();
    }
}

impl Core {
    fn restart_behind(&mut self, meta: SnapshotMeta, remembered: &[Remembered]) {
        let index = meta.index;
        self.installing = false;
        self.hollow = false;
        self.history = EpochHistory::new(meta.history);
        self.history.truncate(index);
        self.tail = Tail::new(index);
        self.first = index + 1;
        self.commit = index;
        self.applied = index;
        self.applying = Applying::default();
        self.log_reads = LogReads::default();
        self.remembered =
            RememberedTable::new(self.settings.remember_for, self.settings.remember_min);
        remembered.iter().for_each(|r| self.remembered.push(r));
        if let Some(newest_ms) = self.remembered.newest_ms() {
            self.log_clock.received(newest_ms, self.now);
        }
        self.pending.restart(index);
        let token = self.pending.record();
        let record = PersistRecord::Restart(self.meta());
        self.output(Output::Persist { token, record });
    }
}
