//! Tables of recent writes are merged when several have come together, and only while there is
//! something to merge: a compactor that waits for work asks the storage all day, and the first
//! requests of one would delay the first answers of an owner. Knows nothing of rows.

use std::sync::Arc;
use std::time::Duration;

use slatedb::config::{CompactionWorkerOptions, CompactorOptions};
use slatedb::manifest::VersionedManifest;
use slatedb::{CompactorBuilder, Db, DbStatus};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::clock::StampClock;
use crate::database::CLAIM_FOR;
use crate::settings::OwnedSettings;
use crate::storage::Storage;

/// Merging begins when there are so many tables of recent writes, an eighth of those that let
/// writes wait.
const MERGE_FROM: usize = 8;
/// It goes on while there are so many: fewer the compactor does not merge.
const MERGED_MIN: usize = 4;
/// After an opening and after a failure nothing is merged for so long.
const REST: Duration = Duration::from_secs(2);

/// What it takes to merge the tables of one database.
pub(crate) struct Merging {
    pub(crate) db: Db,
    pub(crate) storage: Storage,
    pub(crate) prefix: String,
    pub(crate) settings: OwnedSettings,
    pub(crate) clock: Arc<StampClock>,
}

impl Merging {
    /// Merges whatever comes together until the database is closed.
    pub(crate) async fn run(self) {
        let mut status = self.db.subscribe();
        loop {
            let closed = until(&mut status, |_| false);
            if tokio::time::timeout(REST, closed).await.is_ok() {
                return;
            }
            until(&mut status, |manifest| manifest.l0().len() >= MERGE_FROM).await;
            if status.borrow().close_reason.is_some() {
                return;
            }
            self.merge(&mut status).await;
        }
    }

    /// Merges until nothing is left, the database is closed, or the compactor ends: it has failed,
    /// or another one has begun.
    async fn merge(&self, status: &mut watch::Receiver<DbStatus>) {
        let compactor =
            CompactorBuilder::new(self.prefix.as_str(), Arc::clone(&self.storage.objects))
                .with_options(self.options())
                .with_system_clock(Arc::clone(&self.clock) as _)
                .build();
        tokio::select! {
            ended = Box::pin(compactor.run()) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "tables of a partition are not merged");
                }
            }
            () = until(status, |_| false) => {}
            () = self.all_merged() => {}
        }
        if let Err(error) = Box::pin(compactor.stop()).await {
            tracing::debug!(%error, "a compactor did not stop cleanly");
        }
    }

    fn options(&self) -> CompactorOptions {
        CompactorOptions {
            poll_interval: self.settings.merge_every,
            manifest_update_timeout: CLAIM_FOR,
            object_store_max_retries: Some(self.settings.storage_retries_max),
            worker: Some(CompactionWorkerOptions {
                compactions_poll_interval: self.settings.merge_every,
                ..CompactionWorkerOptions::default()
            }),
            ..CompactorOptions::default()
        }
    }

    /// Waits until few tables of recent writes are left and no merge is under way. A merge that
    /// was cut off would begin from its start the next time, and perhaps never end.
    async fn all_merged(&self) {
        let admin =
            slatedb::admin::Admin::builder(self.prefix.as_str(), Arc::clone(&self.storage.objects))
                .build();
        loop {
            sleep(self.settings.merge_every).await;
            // The database ends by itself if this fails for a reason of importance.
            let refreshed = Box::pin(self.db.refresh_manifest()).await;
            if refreshed.is_err() || self.db.manifest().l0().len() >= MERGED_MIN {
                continue;
            }
            let merges = Box::pin(admin.read_compactions(None)).await;
            if let Ok(Some(merges)) = merges
                && !merges.recent_compactions().any(|merge| merge.active())
            {
                return;
            }
        }
    }
}

/// Waits until the manifest that the database knows is like this, or the database is closed.
async fn until(status: &mut watch::Receiver<DbStatus>, is_so: impl Fn(&VersionedManifest) -> bool) {
    let is_over =
        |status: &DbStatus| status.close_reason.is_some() || is_so(&status.current_manifest);
    // An error says that the database is gone.
    let _ = status.wait_for(is_over).await;
}
