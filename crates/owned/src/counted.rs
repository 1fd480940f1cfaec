//! A storage whose requests are counted by kind, with those that fail. Knows nothing of what is
//! asked.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt};
use slatedb::object_store::path::Path;
use slatedb::object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};

use crate::counts::{Counts, Kind};

/// A request that nobody waits for any more has failed if it was silent for so long: whoever gives
/// up on a silent storage does so no earlier. Before that it was not needed.
const SILENT_FROM: Duration = Duration::from_secs(10);

/// The storage.
#[derive(Debug)]
pub(crate) struct Counted {
    objects: Arc<dyn ObjectStore>,
    counts: Arc<Counts>,
}

impl Counted {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>, counts: Arc<Counts>) -> Self {
        Self { objects, counts }
    }
}

/// Whether an error says that the storage could not do it, and not how it is. What a client never
/// does is asked for in another way: files have no attributes.
fn is_failure(error: &Error) -> bool {
    !matches!(
        error,
        Error::NotFound { .. }
            | Error::AlreadyExists { .. }
            | Error::Precondition { .. }
            | Error::NotModified { .. }
            | Error::NotImplemented { .. }
            | Error::NotSupported { .. }
    )
}

fn note(counts: &Counts, kind: Kind, error: Option<&Error>) {
    if error.is_some_and(is_failure) {
        counts.failed(kind);
    }
}

/// A request that has no answer yet.
struct UnderWay<'a> {
    counts: &'a Counts,
    kind: Kind,
    since: Instant,
    is_answered: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.counts.under_way(-1);
        if !self.is_answered && self.since.elapsed() >= SILENT_FROM {
            self.counts.failed(self.kind);
        }
    }
}

async fn counted<T>(
    counts: &Counts,
    kind: Kind,
    asked: impl Future<Output = Result<T>>,
) -> Result<T> {
    counts.asked(kind);
    counts.under_way(1);
    let mut under_way = UnderWay {
        counts,
        kind,
        since: Instant::now(),
        is_answered: false,
    };
    let answer = asked.await;
    under_way.is_answered = true;
    note(counts, kind, answer.as_ref().err());
    answer
}

/// The same, noting what fails of it.
fn noted<T: 'static>(
    counts: &Arc<Counts>,
    kind: Kind,
    items: BoxStream<'static, Result<T>>,
) -> BoxStream<'static, Result<T>> {
    let counts = Arc::clone(counts);
    items
        .inspect(move |item| note(&counts, kind, item.as_ref().err()))
        .boxed()
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.objects.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, at: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        let asked = self.objects.put_opts(at, data, how);
        counted(&self.counts, Kind::Put, asked).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let asked = self.objects.put_multipart_opts(at, how);
        let upload = counted(&self.counts, Kind::Put, asked).await?;
        let counts = Arc::clone(&self.counts);
        Ok(Box::new(CountedUpload { upload, counts }))
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        let asked = self.objects.get_opts(at, how);
        let mut found = counted(&self.counts, Kind::Get, asked).await?;
        found.payload = match found.payload {
            GetResultPayload::Stream(bytes) => {
                GetResultPayload::Stream(noted(&self.counts, Kind::Get, bytes))
            }
            other => other,
        };
        Ok(found)
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let counts = Arc::clone(&self.counts);
        let paths = paths.inspect(move |_| counts.asked(Kind::Delete)).boxed();
        noted(
            &self.counts,
            Kind::Delete,
            self.objects.delete_stream(paths),
        )
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counts.asked(Kind::List);
        noted(&self.counts, Kind::List, self.objects.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counts.asked(Kind::List);
        let listed = self.objects.list_with_offset(prefix, offset);
        noted(&self.counts, Kind::List, listed)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let asked = self.objects.list_with_delimiter(prefix);
        counted(&self.counts, Kind::List, asked).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        let asked = self.objects.copy_opts(from, to, how);
        counted(&self.counts, Kind::Copy, asked).await
    }
}

/// An object that is written in parts, each of which is a request.
#[derive(Debug)]
struct CountedUpload {
    upload: Box<dyn MultipartUpload>,
    counts: Arc<Counts>,
}

#[async_trait]
impl MultipartUpload for CountedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part = self.upload.put_part(data);
        let counts = Arc::clone(&self.counts);
        Box::pin(async move { counted(&counts, Kind::Put, part).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        counted(&self.counts, Kind::Put, self.upload.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        counted(&self.counts, Kind::Put, self.upload.abort()).await
    }
}
