//! A storage whose errors do not repeat what the service wrote: where it refuses a request, that
//! may be all of it that was signed, and with it a session token. Knows nothing of what is asked.

use std::error::Error as StdError;
use std::fmt;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use futures_util::stream::{BoxStream, StreamExt};
use slatedb::object_store::path::Path;
use slatedb::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use thiserror::Error;

/// Causes of an error that are told at most.
const CAUSES_MAX: usize = 8;
/// Before what a service wrote.
const STATUS: &str = "status code: ";
/// The status of a request that is not allowed.
const REFUSED: &str = "status code: 403";
const WRITTEN: &str = "error response: ";
/// The longest name of an error that is told.
const CODE_BYTES_MAX: usize = 64;

/// The storage.
#[derive(Debug)]
pub(crate) struct Plain<S>(pub(crate) S);

/// What was said, in words that anybody may read.
#[derive(Debug, Error)]
#[error("{0}")]
struct Told(String);

/// The same error without what the service wrote.
fn plain(error: Error) -> Error {
    match error {
        Error::NotFound { path, source } => Error::NotFound {
            path,
            source: told(source.as_ref()),
        },
        Error::AlreadyExists { path, source } => Error::AlreadyExists {
            path,
            source: told(source.as_ref()),
        },
        Error::Precondition { path, source } => Error::Precondition {
            path,
            source: told(source.as_ref()),
        },
        Error::NotModified { path, source } => Error::NotModified {
            path,
            source: told(source.as_ref()),
        },
        Error::PermissionDenied { path, source } => Error::PermissionDenied {
            path,
            source: told(source.as_ref()),
        },
        Error::Unauthenticated { path, source } => Error::Unauthenticated {
            path,
            source: told(source.as_ref()),
        },
        // Lists have no other kind of error.
        Error::Generic { store, source } => {
            let source = told(source.as_ref());
            let is_refused = source.to_string().contains(REFUSED);
            let path = String::new();
            match is_refused {
                true => Error::PermissionDenied { path, source },
                false => Error::Generic { store, source },
            }
        }
        // They are made by the client itself.
        other => other,
    }
}

fn told(error: &(dyn StdError + 'static)) -> Box<dyn StdError + Send + Sync> {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    for _ in 0..CAUSES_MAX {
        let Some(cause) = next else { break };
        next = cause.source();
        let text = without_body(&cause.to_string());
        // Many repeat their cause.
        if !words.iter().any(|known| known.contains(&text)) {
            words.push(text);
        }
    }
    Box::new(Told(words.join(": ")))
}

/// Only the status and the name of the error are left of an answer.
fn without_body(text: &str) -> String {
    let (before, body) = if let Some((before, rest)) = text.split_once(STATUS) {
        let (status, body) = rest.split_once(": ").unwrap_or((rest, ""));
        (format!("{before}{STATUS}{status}"), body)
    } else if let Some((before, body)) = text.split_once(WRITTEN) {
        (format!("{before}{WRITTEN}"), body)
    } else {
        return text.to_owned();
    };
    match code(body) {
        Some(code) => format!("{} {code}", before.trim_end()),
        None => before.trim_end().to_owned(),
    }
}

fn code(body: &str) -> Option<&str> {
    let (_, rest) = body.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let fits = code.len() <= CODE_BYTES_MAX && code.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then_some(code)
}

impl<S: fmt::Display> fmt::Display for Plain<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for Plain<S> {
    async fn put_opts(&self, at: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.0.put_opts(at, data, how).await.map_err(plain)
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.0.put_multipart_opts(at, how).await.map_err(plain)?;
        Ok(Box::new(PlainUpload(upload)))
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.0.get_opts(at, how).await.map_err(plain)
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(paths).map_err(plain).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix).map_err(plain).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0
            .list_with_offset(prefix, offset)
            .map_err(plain)
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await.map_err(plain)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, how).await.map_err(plain)
    }
}

/// An object that is written in parts.
#[derive(Debug)]
struct PlainUpload(Box<dyn MultipartUpload>);

#[async_trait]
impl MultipartUpload for PlainUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part = self.0.put_part(data);
        Box::pin(async move { part.await.map_err(plain) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.0.complete().await.map_err(plain)
    }

    async fn abort(&mut self) -> Result<()> {
        self.0.abort().await.map_err(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_refused_is_known_as_such() {
        for (said, is_refused) in [
            ("status code: 403 Forbidden: ", true),
            (
                "status code: 500 Internal Server Error: status code: 403",
                false,
            ),
        ] {
            let source = Box::new(Told(said.to_owned()));
            let error = plain(Error::Generic {
                store: "S3",
                source,
            });
            assert_eq!(
                matches!(error, Error::PermissionDenied { .. }),
                is_refused,
                "{said}"
            );
        }
    }

    #[test]
    fn what_a_service_wrote_is_not_repeated_but_for_the_name_of_the_error() {
        for (said, expected) in [
            (
                "Error performing PUT http://a/b - Server returned non-2xx status code: 403 \
                 Forbidden: <?xml?><Error><Code>SignatureDoesNotMatch</Code>\
                 <CanonicalRequest>x-amz-security-token:a-token</CanonicalRequest></Error>",
                "Error performing PUT http://a/b - Server returned non-2xx status code: 403 \
                 Forbidden SignatureDoesNotMatch",
            ),
            (
                "status code: 403 Forbidden: a-token",
                "status code: 403 Forbidden",
            ),
            ("status code: 403 Forbidden", "status code: 403 Forbidden"),
            (
                "status code: 400: <Code>a-token!</Code>",
                "status code: 400",
            ),
            (
                "Server returned error response: a-token",
                "Server returned error response:",
            ),
            ("connection refused", "connection refused"),
        ] {
            let source = Box::new(Told(said.to_owned()));
            let path = "b".to_owned();
            let error = plain(Error::PermissionDenied { path, source });
            assert!(matches!(error, Error::PermissionDenied { .. }));
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(expected), "{shown}");
            assert!(!shown.contains("a-token"), "{shown}");
        }
    }
}
