//! What an open database asks of the storage while nobody uses it, in a time of the test's own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt};
use slatedb::object_store::memory::InMemory;
use slatedb::object_store::path::Path;
use slatedb::object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::{PREFIX, put_row, yes};
use crate::{Owned, OwnedSettings, Storage};

/// A storage that counts what it is asked.
#[derive(Debug, Default)]
struct Counting {
    inner: InMemory,
    asked: Arc<AtomicU64>,
}

impl Counting {
    fn count(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counting")
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, at: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.count();
        self.inner.put_opts(at, data, how).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.count();
        self.inner.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.count();
        self.inner.get_opts(at, how).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let asked = Arc::clone(&self.asked);
        let counted = paths.inspect(move |_| {
            asked.fetch_add(1, Ordering::Relaxed);
        });
        self.inner.delete_stream(counted.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count();
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.count();
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.count();
        self.inner.copy_opts(from, to, how).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_day_costs_about_what_the_settings_say() {
    for settings in [OwnedSettings::default(), OwnedSettings::in_bucket()] {
        assert_costs_what_it_says(settings).await;
    }
}

async fn assert_costs_what_it_says(settings: OwnedSettings) {
    let said = settings.requests_per_idle_day();
    let storage = Counting::default();
    let asked = Arc::clone(&storage.asked);
    let storage = Storage::of(Arc::new(storage));
    let owned = Owned::open(&storage, PREFIX, settings, yes).await.unwrap();
    put_row(&owned, 1, r#"{"n":1}"#).await.unwrap();
    // What was left of the start is done by then.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let before = asked.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(24 * 3_600)).await;
    let counted = asked.load(Ordering::Relaxed) - before;
    assert!(
        counted.abs_diff(said) < said / 20,
        "{counted} requests, not {said}"
    );
    owned.close().await;
}
