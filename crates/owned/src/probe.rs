//! Whether a bucket can be used: what every partition relies on is tried once before any is opened.
//! Knows nothing of what is stored.

use std::fmt;
use std::sync::Arc;

use slatedb::object_store::path::Path;
use slatedb::object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::bucket::BucketSettings;
use crate::error::StorageError;
use crate::mark::in_time;

/// The name of the object that is made and deleted.
const PROBE: &str = "probe";

/// What the client of a bucket said: its text has its causes already.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Said(pub(crate) Arc<Error>);

/// What is wrong with a bucket, and what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BucketFault {
    /// Nobody answers there, or not as such a service.
    Unreachable,
    /// The credentials are not those of a user who may do what is needed.
    Denied,
    /// There is no such bucket.
    Missing,
    /// An object that must only be created replaces the one that is there.
    Overwrites,
}

impl fmt::Display for BucketFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => {
                "the service cannot be reached there or fails; start it, or correct its address \
                 and region"
            }
            Self::Denied => {
                "the service refuses the credentials; give those of a user who may list, read, \
                 write and delete there, in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if they \
                 are temporary, AWS_SESSION_TOKEN"
            }
            Self::Missing => "there is no such bucket; make it, or correct its name",
            Self::Overwrites => {
                "the service does not create an object only where there is none (If-None-Match: \
                 *), so two owners could write at once; use one that does"
            }
        })
    }
}

/// Creates, lists, reads and deletes; `number` is in the name of the object, so that nobody else
/// makes the same.
pub(crate) async fn probe(
    settings: &BucketSettings,
    objects: &dyn ObjectStore,
    number: u64,
) -> Result<(), StorageError> {
    let failed = |error: StorageError| of_bucket(settings, error);
    let place = Path::from(format!("{PROBE}-{number:016x}"));
    let create = || {
        let only_new = PutOptions::from(PutMode::Create);
        in_time(objects.put_opts(&place, PutPayload::from_static(b"first"), only_new))
    };
    create().await.map_err(failed)?;
    let again = create().await;
    let listed = in_time(objects.list_with_delimiter(None)).await;
    let read = async { objects.get(&place).await?.bytes().await };
    let read = in_time(read).await;
    let deleted = in_time(objects.delete(&place)).await;
    match again {
        Err(StorageError::Object(error)) if matches!(*error, Error::AlreadyExists { .. }) => {}
        Ok(_) => {
            return Err(StorageError::Bucket {
                place: settings.to_string(),
                fault: BucketFault::Overwrites,
                source: None,
            });
        }
        Err(error) => return Err(failed(error)),
    }
    read.map_err(failed)?;
    listed.map_err(failed)?;
    deleted.map_err(failed)
}

/// [`BucketFault::Denied`] if that is at the bottom of an error, whatever was tried: credentials
/// can be taken back, replaced or expire while a partition is open. Nothing for all other errors.
#[must_use]
pub fn denial(error: &(dyn std::error::Error + 'static)) -> Option<BucketFault> {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut of_the_client = causes.filter_map(|cause| {
        let shared = || cause.downcast_ref::<Arc<Error>>().map(AsRef::as_ref);
        cause.downcast_ref::<Error>().or_else(shared)
    });
    let found = of_the_client.any(is_denied);
    found.then_some(BucketFault::Denied)
}

/// S3 answers 403, or 401, but 400 with one of these codes for temporary credentials.
fn is_denied(error: &Error) -> bool {
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => true,
        Error::Generic { source, .. } => {
            let said = source.to_string();
            ["<Code>ExpiredToken</Code>", "<Code>InvalidToken</Code>"]
                .iter()
                .any(|code| said.contains(code))
        }
        _ => false,
    }
}

/// What an error of the first requests says of the bucket.
fn of_bucket(settings: &BucketSettings, error: StorageError) -> StorageError {
    let (fault, source) = match error {
        StorageError::Object(error) => (fault(&error), Some(Said(error))),
        StorageError::Silent { .. } => (BucketFault::Unreachable, None),
        other => return other,
    };
    StorageError::Bucket {
        place: settings.to_string(),
        fault,
        source,
    }
}

fn fault(error: &Error) -> BucketFault {
    match error {
        denied if is_denied(denied) => BucketFault::Denied,
        Error::NotFound { .. } => BucketFault::Missing,
        Error::NotImplemented { .. } | Error::NotSupported { .. } => BucketFault::Overwrites,
        _ => BucketFault::Unreachable,
    }
}
