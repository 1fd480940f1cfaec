//! Opening a partition: the only order of steps in which no delayed opener fences its successor.
//! Knows nothing of how an office is confirmed.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::clock::StampClock;
use crate::database;
use crate::error::OpenError;
use crate::merging::Merging;
use crate::owned::Owned;
use crate::remembering::Remembering;
use crate::settings::OwnedSettings;
use crate::storage::Storage;
use crate::writer::{Tables, Writer};

impl Owned {
    /// Opens the partition that lies under `prefix`, and makes it if it is not there and the
    /// settings allow that. Must be
    /// called within a runtime, where its tasks then run.
    ///
    /// `confirm` is called once, and must then ask anew, linearizably, whether the office of this
    /// owner still stands. Whoever gives offices away must have made that known before the next
    /// owner opens; then of two openers the right one wins, however long the other was suspended
    /// and wherever.
    ///
    /// # Errors
    /// If the office was not confirmed, another one opened meanwhile, the storage failed, or there
    /// is no database where one must be. Start again from the map.
    pub async fn open<F>(
        storage: &Storage,
        prefix: &str,
        settings: OwnedSettings,
        confirm: impl FnOnce() -> F,
    ) -> Result<Self, OpenError>
    where
        F: Future<Output = bool>,
    {
        let clock = Arc::new(StampClock::new());
        Self::open_by(clock, storage, prefix, settings, confirm).await
    }

    /// As [`open`](Self::open), with a clock.
    pub(crate) async fn open_by<F>(
        clock: Arc<StampClock>,
        storage: &Storage,
        prefix: &str,
        settings: OwnedSettings,
        confirm: impl FnOnce() -> F,
    ) -> Result<Self, OpenError>
    where
        F: Future<Output = bool>,
    {
        settings.check()?;
        // First the epoch, then the question, then the claim of the very next epoch: whoever
        // opened in between has taken that one.
        let manifest = database::manifest(storage, prefix).await?;
        let successor_of = manifest.as_ref().map_or(0, |found| found.writer_epoch());
        if manifest.is_none() && !settings.may_found {
            return Err(OpenError::Missing);
        }
        if let Some(manifest) = &manifest {
            clock.not_before(manifest.last_l0_clock_tick());
        }
        if !confirm().await {
            return Err(OpenError::NotConfirmed);
        }
        let stamps = Arc::clone(&clock);
        let db = database::open(storage, prefix, &settings, successor_of, stamps).await?;
        let found = match Remembering::load(&db, &settings).await {
            Ok(found) => found,
            Err(error) => {
                // What is reported is why it could not be read.
                let _ = Box::pin(db.close()).await;
                return Err(error);
            }
        };
        if let Some(stamp_ms) = found.stamp_ms {
            clock.not_before(stamp_ms);
        }
        let merged = settings.clone();
        let (commands, received) = mpsc::channel(settings.queue_writes_max);
        let (ended, seen) = watch::channel(None);
        let writer = Writer {
            db: db.clone(),
            remembering: found.remembering,
            settings,
            commands: received,
            ended,
            tables: Tables::default(),
            counts: Arc::clone(&storage.counts),
        };
        tokio::spawn(writer.run());
        let merging = Merging {
            db: db.clone(),
            storage: storage.clone(),
            prefix: prefix.to_owned(),
            settings: merged,
            clock,
        };
        tokio::spawn(merging.run());
        Ok(Self {
            db,
            writer_epoch: successor_of + 1,
            commands,
            ended: seen,
        })
    }
}
