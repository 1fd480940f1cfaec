//! The description of the HTTP surface as OpenAPI, made once when somebody asks for it.
//!
//! Only describes: the functions here are never called. Knows nothing of handlers; a test asks
//! the server about every path that stands here.

#![allow(
    dead_code,
    unused_qualifications,
    reason = "functions and types exist for what is derived from them, and that is qualified"
)]

use std::sync::OnceLock;

use utoipa::{IntoParams, OpenApi, ToSchema};

/// The document as JSON.
pub(crate) fn json() -> &'static str {
    static JSON: OnceLock<String> = OnceLock::new();
    JSON.get_or_init(|| {
        Description::openapi()
            .to_json()
            .expect("it has only string keys")
    })
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Table Store",
        description = "Tables of rows that stay up and lose nothing when machines fail. \
            Any node takes any request.",
    ),
    paths(
        list_tables,
        create_table,
        describe_table,
        drop_table,
        put_row,
        patch_row,
        get_row,
        delete_row,
        write_batch,
        scan_rows,
        show_cluster,
        show_partitions,
        stream_events,
        show_decisions,
        explain,
        show_checksums,
        drain_node,
        remove_node,
        healthz,
        readyz,
        metrics,
        openapi,
    )
)]
struct Description;

/// One part of a primary key.
#[derive(ToSchema)]
struct Key {
    /// The attribute.
    name: String,
    /// `string`, `number` or `binary`.
    r#type: String,
}

/// What a table is created with.
#[derive(ToSchema)]
struct Definition {
    /// Decides the partition of a row.
    partition_key: Key,
    /// Orders the rows of one partition key.
    sort_key: Option<Key>,
    /// The failover strategy; `primary-backup` if absent.
    strategy: Option<String>,
    /// Copies of every row, 1 to 7; 3 if absent.
    replicas: Option<u32>,
    /// Copies on disk before a write is acknowledged; 2 if absent (1 with one replica).
    min_in_sync: Option<u32>,
    /// A power of two from 1 to 1024; 32 if absent.
    partitions: Option<u32>,
    /// `row`.
    layout: Option<String>,
}

/// An error (RFC 9457).
#[derive(ToSchema)]
struct Problem {
    /// The kind, as a URI.
    r#type: String,
    /// The kind, in a few words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// The kind, as a stable word.
    code: String,
    /// What went wrong here.
    detail: String,
    /// The path of the field that is wrong.
    field: Option<String>,
    /// What would have been right.
    expected: Option<String>,
    /// The partition concerned, `table/partition`.
    partition: Option<String>,
    /// Seconds after which to try again.
    retry_after: Option<u32>,
}

/// The version of a row after a write.
#[derive(ToSchema)]
struct Written {
    /// 0 where there is no row.
    version: u64,
    /// Of a delete: whether there was a row.
    deleted: Option<bool>,
}

/// Writes that travel together.
#[derive(ToSchema)]
struct Batch {
    /// Whole rows, keys included.
    #[schema(value_type = Vec<Object>)]
    put: Option<Vec<()>>,
    /// Keys.
    #[schema(value_type = Vec<Object>)]
    delete: Option<Vec<()>>,
}

/// One result for each row, puts first.
#[derive(ToSchema)]
struct Results {
    /// `status` and `version`, or a problem.
    #[schema(value_type = Vec<Object>)]
    results: Vec<()>,
}

/// One page of rows.
#[derive(ToSchema)]
struct Page {
    /// Keys and attributes in one object each.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<()>,
    /// Where to go on; null at the end.
    next_cursor: Option<String>,
}

/// How fresh a read is.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct Freshness {
    /// `strong` (default) or `eventual`.
    consistency: Option<String>,
}

/// Attributes to take away.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct Remove {
    /// Names separated by commas.
    remove: Option<String>,
}

/// Which rows.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct ScanQuery {
    /// Only rows of this partition key.
    pk: Option<String>,
    /// First sort key, inclusive.
    from: Option<String>,
    /// Last sort key, inclusive.
    to: Option<String>,
    /// Rows at most, 1 to 1000; 100 if absent.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// `strong` (default) or `eventual`.
    consistency: Option<String>,
    /// `true` for descending order; needs `pk`.
    reverse: Option<bool>,
}

/// The id under which a repeated request takes effect once, and conditions.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct WriteHeaders {
    /// 1 to 255 characters, best a UUID.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
    /// A version in double quotes, or `*`.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
    /// `*`.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
    /// Milliseconds, 1 to 60000; 10000 if absent.
    #[param(rename = "x-tablestore-timeout-ms")]
    timeout_ms: Option<u32>,
}

/// All tables
#[utoipa::path(get, path = "/v1/tables", tag = "tables", responses((status = 200)))]
fn list_tables() {}

/// Create a table
#[utoipa::path(
    put, path = "/v1/tables/{table}", tag = "tables",
    params(("table" = String, Path, description = "3 to 255 of a-z, A-Z, 0-9, _, . and -")),
    request_body = Definition,
    responses(
        (status = 201, description = "created", body = Definition),
        (status = 200, description = "it was there, the same", body = Definition),
        (status = 400, body = Problem), (status = 409, body = Problem),
        (status = 501, body = Problem), (status = 503, body = Problem),
    )
)]
fn create_table() {}

/// Describe a table
#[utoipa::path(
    get, path = "/v1/tables/{table}", tag = "tables", params(("table" = String, Path)),
    responses((status = 200, body = Definition), (status = 404, body = Problem))
)]
fn describe_table() {}

/// Drop a table with all its rows
#[utoipa::path(
    delete, path = "/v1/tables/{table}", tag = "tables", params(("table" = String, Path)),
    responses((status = 200), (status = 404, body = Problem), (status = 503, body = Problem))
)]
fn drop_table() {}

/// Write a whole row
///
/// A table with a sort key has it as a further segment: `rows/{pk}/{sk}`.
#[utoipa::path(
    put, path = "/v1/tables/{table}/rows/{pk}", tag = "rows",
    params(("table" = String, Path), ("pk" = String, Path), WriteHeaders),
    request_body(content = Object, description = "the attributes"),
    responses(
        (status = 200, body = Written), (status = 400, body = Problem),
        (status = 404, body = Problem), (status = 412, body = Problem),
        (status = 413, body = Problem), (status = 422, body = Problem),
        (status = 503, body = Problem), (status = 507, body = Problem),
    )
)]
fn put_row() {}

/// Set and remove attributes
#[utoipa::path(
    patch, path = "/v1/tables/{table}/rows/{pk}", tag = "rows",
    params(("table" = String, Path), ("pk" = String, Path), Remove, WriteHeaders),
    request_body(content = Object, description = "the attributes to set; null sets null"),
    responses(
        (status = 200, body = Written), (status = 400, body = Problem),
        (status = 404, body = Problem), (status = 412, body = Problem),
        (status = 413, body = Problem), (status = 422, body = Problem),
        (status = 503, body = Problem), (status = 507, body = Problem),
    )
)]
fn patch_row() {}

/// Read a row
#[utoipa::path(
    get, path = "/v1/tables/{table}/rows/{pk}", tag = "rows",
    params(("table" = String, Path), ("pk" = String, Path), Freshness),
    responses(
        (status = 200, description = "keys and attributes in one object", body = Object),
        (status = 304, description = "the client has this version"),
        (status = 404, body = Problem), (status = 503, body = Problem),
    )
)]
fn get_row() {}

/// Delete a row
#[utoipa::path(
    delete, path = "/v1/tables/{table}/rows/{pk}", tag = "rows",
    params(("table" = String, Path), ("pk" = String, Path), WriteHeaders),
    responses(
        (status = 200, body = Written), (status = 404, body = Problem),
        (status = 412, body = Problem), (status = 503, body = Problem),
    )
)]
fn delete_row() {}

/// Write and delete up to 100 rows
#[utoipa::path(
    post, path = "/v1/tables/{table}/rows:batch", tag = "rows",
    params(("table" = String, Path)), request_body = Batch,
    responses(
        (status = 200, body = Results), (status = 400, body = Problem),
        (status = 404, body = Problem), (status = 413, body = Problem),
    )
)]
fn write_batch() {}

/// Read a range or scan the table
#[utoipa::path(
    get, path = "/v1/tables/{table}/rows", tag = "rows",
    params(("table" = String, Path), ScanQuery),
    responses(
        (status = 200, content(
            (Page = "application/json"), (String = "application/x-ndjson"),
        )),
        (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 503, body = Problem),
    )
)]
fn scan_rows() {}

/// Members and tables
#[utoipa::path(get, path = "/v1/cluster", tag = "cluster", responses((status = 200)))]
fn show_cluster() {}

/// Who holds the partitions of a table
#[utoipa::path(
    get, path = "/v1/cluster/partitions", tag = "cluster", params(("table" = String, Query)),
    responses((status = 200), (status = 400, body = Problem), (status = 404, body = Problem))
)]
fn show_partitions() {}

/// What happens, as it happens
#[utoipa::path(
    get, path = "/v1/cluster/events", tag = "cluster",
    params(("Last-Event-ID" = Option<u64>, Header, description = "go on behind this event")),
    responses((status = 200, content_type = "text/event-stream", body = String))
)]
fn stream_events() {}

/// The last decisions, newest first
#[utoipa::path(
    get, path = "/v1/cluster/decisions", tag = "cluster",
    params(("limit" = Option<u32>, Query, description = "1 to 200; 50 if absent")),
    responses((status = 200), (status = 400, body = Problem))
)]
fn show_decisions() {}

/// What would happen if these nodes failed
#[utoipa::path(
    get, path = "/v1/cluster/explain", tag = "cluster",
    params(("if_fails" = String, Query, description = "names separated by commas")),
    responses((status = 200), (status = 400, body = Problem), (status = 404, body = Problem))
)]
fn explain() {}

/// Compare all replicas of a table
#[utoipa::path(
    get, path = "/v1/cluster/checksums", tag = "cluster", params(("table" = String, Query)),
    responses((status = 200), (status = 400, body = Problem), (status = 404, body = Problem))
)]
fn show_checksums() {}

/// Move everything off a node
#[utoipa::path(
    post, path = "/v1/cluster/nodes/{node}/drain", tag = "cluster",
    params(("node" = String, Path)),
    responses((status = 202), (status = 404, body = Problem), (status = 409, body = Problem))
)]
fn drain_node() {}

/// Remove a node for good
#[utoipa::path(
    delete, path = "/v1/cluster/nodes/{node}", tag = "cluster",
    params(("node" = String, Path)),
    responses((status = 200), (status = 404, body = Problem), (status = 409, body = Problem))
)]
fn remove_node() {}

/// Whether the process lives
#[utoipa::path(get, path = "/healthz", tag = "system", responses((status = 200)))]
fn healthz() {}

/// Whether it can serve
#[utoipa::path(
    get, path = "/readyz", tag = "system",
    responses((status = 200), (status = 503, body = Problem))
)]
fn readyz() {}

/// Prometheus metrics
#[utoipa::path(
    get, path = "/metrics", tag = "system",
    responses((status = 200, content_type = "text/plain", body = String))
)]
fn metrics() {}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "system", responses((status = 200)))]
fn openapi() {}
