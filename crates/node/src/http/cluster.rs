//! The cluster: members, partitions, decisions, events, dry runs, drain and removal.
//!
//! Knows nothing of how any of it is decided.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use hyper::StatusCode;
use serde_json::Value;
use tablestore_contract::limits::DECISIONS_LIMIT_MAX;
use tablestore_contract::{NodeLeaves, parameters};
use tablestore_placement::DECISIONS_KEPT;

use super::backend::Backend;
use super::extract::{Deadline, Name, NoQuery, Query};
use super::headers;
use super::problem::Problem;
use super::scan::whole;
use super::settings::DECISIONS_LIMIT;
use super::shared::SharedHttp;
use super::views::shown;
use super::{uri, views};
use crate::api::RequestError;

type Reply = Result<Json<Value>, Problem>;

const TABLE: &str = "the name of a table";
// What clients are told is what the map keeps.
const _: () = assert!(DECISIONS_LIMIT_MAX == DECISIONS_KEPT);

/// `GET /v1/cluster`
pub(crate) async fn show<B: Backend>(
    State(shared): State<Arc<SharedHttp<B>>>,
    _: NoQuery,
) -> Reply {
    let backend = &shared.backend;
    let map = backend.map();
    Ok(shown(&views::cluster(
        &map,
        &backend.standing(),
        |member| backend.resources(member),
        shared.settings.requests_per_idle_day,
    )))
}

/// `GET /v1/cluster/partitions?table=`
pub(crate) async fn partitions<B: Backend>(
    State(shared): State<Arc<SharedHttp<B>>>,
    Deadline(deadline): Deadline,
    query: Query,
) -> Reply {
    let name = query.required(parameters::TABLE, TABLE)?;
    shared.table(&name, deadline).await?;
    let map = shared.backend.map();
    match map.table_named(&name) {
        Some(table) => Ok(shown(&views::partitions(&map, table))),
        None => Err(RequestError::UnknownTable { name }.into()),
    }
}

/// `GET /v1/cluster/decisions?limit=`
pub(crate) async fn decisions<B: Backend>(
    State(shared): State<Arc<SharedHttp<B>>>,
    query: Query,
) -> Reply {
    let [limit] = query.parameters(&[parameters::LIMIT])?;
    let limit = whole(
        parameters::LIMIT,
        limit,
        DECISIONS_LIMIT,
        DECISIONS_LIMIT_MAX,
    )?;
    Ok(shown(&views::decisions(&shared.backend.map(), limit)))
}

/// `GET /v1/cluster/explain?if_fails=a,b`
pub(crate) async fn explain<B: Backend>(
    State(shared): State<Arc<SharedHttp<B>>>,
    query: Query,
) -> Reply {
    let [names] = query.parameters(&[parameters::IF_FAILS])?;
    let names = match names {
        Some(text) if !text.is_empty() => uri::decode_list("if_fails", text)?,
        _ => {
            let expected = "names of nodes separated by commas";
            return Err(Problem::invalid("if_fails", expected, "none"));
        }
    };
    Ok(shown(&views::explanation(&shared.backend.explain(&names)?)))
}

/// `GET /v1/cluster/checksums?table=`
pub(crate) async fn checksums<B: Backend>(
    State(shared): State<Arc<SharedHttp<B>>>,
    headers: HeaderMap,
    query: Query,
) -> Reply {
    let name = query.required(parameters::TABLE, TABLE)?;
    let context = headers::context(&headers)?;
    let table = shared.table(&name, context.deadline).await?;
    let sums = shared.backend.checksums(table.target, context).await?;
    Ok(shown(&views::checksums(
        &shared.backend.map(),
        &name,
        &sums,
    )))
}

/// `POST /v1/cluster/nodes/{n}/drain`
pub(crate) async fn drain<B: Backend>(
    State(shared): State<Arc<SharedHttp<B>>>,
    Name(name): Name,
    Deadline(deadline): Deadline,
    _: NoQuery,
) -> Result<(StatusCode, Json<Value>), Problem> {
    shared.backend.drain_node(&name, deadline).await?;
    let blocked = views::blocked(&shared.backend.map(), &name);
    Ok((StatusCode::ACCEPTED, leaves(name, "draining", blocked)))
}

/// `POST /v1/cluster/nodes/{n}/undrain`
pub(crate) async fn undrain<B: Backend>(
    State(shared): State<Arc<SharedHttp<B>>>,
    Name(name): Name,
    Deadline(deadline): Deadline,
    _: NoQuery,
) -> Reply {
    shared.backend.undrain_node(&name, deadline).await?;
    Ok(leaves(name, "up", Vec::new()))
}

/// `DELETE /v1/cluster/nodes/{n}`
pub(crate) async fn remove<B: Backend>(
    State(shared): State<Arc<SharedHttp<B>>>,
    Name(name): Name,
    Deadline(deadline): Deadline,
    _: NoQuery,
) -> Reply {
    shared.backend.remove_node(&name, deadline).await?;
    Ok(leaves(name, "left", Vec::new()))
}

fn leaves(node: String, state: &str, blocked: Vec<String>) -> Json<Value> {
    shown(&NodeLeaves {
        node,
        state: state.to_owned(),
        blocked,
    })
}
