//! Tables: create, alter, describe, list, drop.
//!
//! Knows nothing of rows.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use hyper::StatusCode;
use serde_json::Value;
use tablestore_contract::{Altered, Dropped, Tables};
use tablestore_placement::Refused;

use super::alteration;
use super::backend::Backend;
use super::body;
use super::definition;
use super::extract::{Deadline, Name, NoQuery};
use super::problem::Problem;
use super::settings::BODY_BYTES_MAX;
use super::shared::SharedHttp;
use super::views::shown;
use crate::api::RequestError;

type Reply = Result<(StatusCode, Json<Value>), Problem>;

/// `PUT /v1/tables/{t}`
pub(crate) async fn create<B: Backend>(
    State(shared): State<Arc<SharedHttp<B>>>,
    Name(name): Name,
    Deadline(deadline): Deadline,
    _: NoQuery,
    body: Body,
) -> Reply {
    if let Err(Refused::Invalid { expected, .. }) = tablestore_placement::validate_name(&name) {
        return Err(Problem::invalid("table", expected, format!("{name:?}")));
    }
    let bytes = body::read(body, shared.body_limit(BODY_BYTES_MAX)).await?;
    let definition = definition::parse(&bytes)?;
    let change = shared
        .backend
        .create_table(&name, definition, deadline)
        .await?;
    let status = if change.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((
        status,
        shown(&definition::show(
            &change.table,
            shared.settings.requests_per_idle_day,
        )),
    ))
}

/// `PATCH /v1/tables/{t}`
pub(crate) async fn alter<B: Backend>(
    State(shared): State<Arc<SharedHttp<B>>>,
    Name(name): Name,
    Deadline(deadline): Deadline,
    _: NoQuery,
    body: Body,
) -> Reply {
    let bytes = body::read(body, shared.body_limit(BODY_BYTES_MAX)).await?;
    let alteration = alteration::parse(&bytes)?;
    let table = shared.table(&name, deadline).await?;
    table.target.takes(alteration)?;
    let altered = shared
        .backend
        .alter_table(&name, alteration, deadline)
        .await?;
    let shown = shown(&Altered {
        changed: altered.changed,
        below_min_in_sync: altered.below_min_in_sync,
        table: definition::show(&altered.table, shared.settings.requests_per_idle_day),
    });
    Ok((StatusCode::OK, shown))
}

/// `GET /v1/tables/{t}`
pub(crate) async fn describe<B: Backend>(
    State(shared): State<Arc<SharedHttp<B>>>,
    Name(name): Name,
    Deadline(deadline): Deadline,
    _: NoQuery,
) -> Reply {
    // Also waits for a map that has the table, if another node has just created it.
    shared.table(&name, deadline).await?;
    let mut map = shared.backend.map();
    if map.table_named(&name).is_none() {
        map = shared.backend.fresh_map(deadline).await?;
    }
    match map.table_named(&name) {
        Some(table) => Ok((
            StatusCode::OK,
            shown(&definition::show(
                table,
                shared.settings.requests_per_idle_day,
            )),
        )),
        None => Err(RequestError::UnknownTable { name }.into()),
    }
}

/// `GET /v1/tables`
pub(crate) async fn list<B: Backend>(
    State(shared): State<Arc<SharedHttp<B>>>,
    _: NoQuery,
) -> Reply {
    let map = shared.backend.map();
    let mut tables: Vec<_> = map.tables.values().collect();
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    let tables = tables.into_iter();
    let tables = tables.map(|table| definition::show(table, shared.settings.requests_per_idle_day));
    let tables = tables.collect();
    Ok((StatusCode::OK, shown(&Tables { tables })))
}

/// `DELETE /v1/tables/{t}`
pub(crate) async fn drop_table<B: Backend>(
    State(shared): State<Arc<SharedHttp<B>>>,
    Name(name): Name,
    Deadline(deadline): Deadline,
    _: NoQuery,
) -> Reply {
    shared.backend.drop_table(&name, deadline).await?;
    Ok((StatusCode::OK, shown(&Dropped { dropped: name })))
}
