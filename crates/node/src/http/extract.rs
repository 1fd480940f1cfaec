//! What handlers take from a request, with errors as problem documents.
//!
//! Knows nothing of what handlers do with it.

use axum::extract::{FromRequestParts, Path, RawQuery};
use axum::http::request::Parts;
use tokio::time::Instant;

use super::headers;
use super::problem::Problem;
use super::uri;

/// The one name in a path, decoded.
#[derive(Debug)]
pub(crate) struct Name(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(error) => Err(Problem::invalid(
                "path",
                "percent-encoded UTF-8",
                error.body_text(),
            )),
        }
    }
}

/// The deadline of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(pub(crate) Instant);

impl<S: Send + Sync> FromRequestParts<S> for Deadline {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        headers::deadline(&parts.headers).map(Self)
    }
}

/// The query string, still encoded.
#[derive(Debug)]
pub(crate) struct Query(Option<String>);

impl Query {
    /// See [`uri::parameters`].
    pub(crate) fn parameters<const N: usize>(
        &self,
        known: &[&'static str; N],
    ) -> Result<[Option<&str>; N], Problem> {
        uri::parameters(self.0.as_deref(), known)
    }

    /// The one parameter that must be there, decoded.
    pub(crate) fn required(
        &self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<String, Problem> {
        let [value] = self.parameters(&[name])?;
        match value {
            Some(text) if !text.is_empty() => Ok(uri::decode_value(name, text)?.into_owned()),
            _ => Err(Problem::invalid(name, expected, "none")),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match RawQuery::from_request_parts(parts, state).await {
            Ok(RawQuery(query)) => Ok(Self(query)),
            Err(never) => match never {},
        }
    }
}

/// No parameters at all.
#[derive(Debug)]
pub(crate) struct NoQuery;

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        uri::parameters(parts.uri.query(), &[]).map(|[]| Self)
    }
}
