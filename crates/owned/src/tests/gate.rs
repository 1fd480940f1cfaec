//! A storage in which one process can be held up: objects of the log that it creates wait at a
//! gate, as they would if it were suspended. Knows nothing of partitions.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use slatedb::object_store::path::Path;
use slatedb::object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::watch;

/// A storage with a gate before each object whose path has a given part.
#[derive(Debug)]
pub(super) struct Gated {
    inner: Arc<dyn ObjectStore>,
    part: &'static str,
    open: watch::Receiver<bool>,
    waiting: watch::Sender<usize>,
}

/// Opens and closes the gate, and sees who waits.
#[derive(Debug)]
pub(super) struct Gate {
    open: watch::Sender<bool>,
    waiting: watch::Receiver<usize>,
}

impl Gate {
    pub(super) fn before(inner: Arc<dyn ObjectStore>, part: &'static str) -> (Self, Gated) {
        let (open, opened) = watch::channel(true);
        let (waiting, seen) = watch::channel(0);
        let gated = Gated {
            inner,
            part,
            open: opened,
            waiting,
        };
        (
            Self {
                open,
                waiting: seen,
            },
            gated,
        )
    }

    pub(super) fn shut(&self) {
        self.open.send_replace(false);
    }

    pub(super) fn release(&self) {
        self.open.send_replace(true);
    }

    /// Until somebody waits at the gate.
    pub(super) async fn somebody_waits(&mut self) {
        let waits = self.waiting.wait_for(|waiting| *waiting > 0).await;
        waits.expect("the storage is there");
    }
}

impl fmt::Display for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gated {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Gated {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        if at.as_ref().contains(self.part) {
            self.waiting.send_modify(|waiting| *waiting += 1);
            let mut open = self.open.clone();
            let _ = open.wait_for(|open| *open).await;
            self.waiting.send_modify(|waiting| *waiting -= 1);
        }
        self.inner.put_opts(at, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
