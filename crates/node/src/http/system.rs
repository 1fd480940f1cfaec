//! What machines ask of a node: alive, ready, metrics, the description of this surface.
//!
//! Knows nothing of tables.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use hyper::header::{self, HeaderName};
use serde_json::{Value, json};
use tablestore_contract::{Health, openapi};

use super::backend::Backend;
use super::extract::NoQuery;
use super::problem::{Kind, Problem};
use super::shared::SharedHttp;
use super::views::shown;

/// Text with its media type.
type Text<T> = ([(HeaderName, &'static str); 1], T);

/// `GET /healthz`
pub(crate) async fn alive(_: NoQuery) -> Json<Value> {
    health("alive")
}

/// `GET /readyz`
pub(crate) async fn ready<B: Backend>(
    State(shared): State<Arc<SharedHttp<B>>>,
    _: NoQuery,
) -> Result<Json<Value>, Problem> {
    if *shared.stopping.borrow() {
        return Err(not_ready("the node is shutting down"));
    }
    match shared.backend.ready() {
        Ok(()) => Ok(health("ready")),
        Err(reason) => Err(not_ready(&reason)),
    }
}

fn health(status: &str) -> Json<Value> {
    shown(&Health {
        status: status.to_owned(),
    })
}

fn not_ready(reason: &str) -> Problem {
    Problem::new(Kind::NotReady, reason).with("reason", json!(reason))
}

/// `GET /metrics`
pub(crate) async fn metrics<B: Backend>(
    State(shared): State<Arc<SharedHttp<B>>>,
    _: NoQuery,
) -> Text<String> {
    shared.backend.measure().await;
    let media = "text/plain; version=0.0.4; charset=utf-8";
    (
        [(header::CONTENT_TYPE, media)],
        shared.backend.metrics().render(),
    )
}

/// `GET /openapi.json`
pub(crate) async fn description(_: NoQuery) -> Text<&'static str> {
    (
        [(header::CONTENT_TYPE, "application/json")],
        openapi::json(),
    )
}
