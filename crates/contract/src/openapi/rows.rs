//! Operations on rows.

use utoipa::openapi::HttpMethod;

use super::operation::Operation;
use super::parts::{
    BODY, ETAG, NEXT_CURSOR, REQUEST, SERVED, TABLE, WRITTEN, conditions, consistency, flag, limit,
    object, path, query, quorum, remove, request_id, table, text, timeout, versions,
};
use crate::limits::SCAN_LIMIT_MAX;
use crate::problem::Kind;
use crate::{Batch, BatchResults, Page, Written, headers, parameters};

const TAG: &str = "rows";
const JSON: &str = "application/json";

/// The two forms of a row's path, with what is added to the ids of its operations.
const PATHS: [(&str, &str, bool); 2] = [
    ("/v1/tables/{table}/rows/{pk}", "", false),
    ("/v1/tables/{table}/rows/{pk}/{sk}", "_sorted", true),
];

/// What writes of a row may meet.
const WRITE: &[Kind] = &[
    Kind::PreconditionFailed,
    Kind::TooLarge,
    Kind::RequestIdReused,
    Kind::StorageFull,
];

pub(super) fn operations() -> Vec<Operation> {
    let mut operations = vec![batch(), scan()];
    for form in PATHS {
        operations.extend([get(form), put(form), patch(form), delete(form)]);
    }
    operations
}

fn of_row(
    method: HttpMethod,
    (target, suffix, sorted): (&'static str, &str, bool),
    id: &str,
    summary: &'static str,
) -> Operation {
    let sort = sorted.then(|| path("sk", "the sort key, typed by the table"));
    Operation::new(method, target, TAG, format!("{id}_row{suffix}"), summary)
        .takes([table(), path("pk", "the partition key, typed by the table")])
        .takes(sort)
        .takes([timeout(), request_id()])
        .of_rows()
        .fails(&[REQUEST, TABLE])
}

fn conditional(operation: Operation) -> Operation {
    let mut operation = operation
        .takes(conditions())
        .takes([quorum(
            parameters::W,
            "of an active table: replicas that must have it; a majority if absent",
        )])
        .fails(&[WRITE]);
    let schema = operation.schema::<Written>();
    let [served_by, partition, epoch] = SERVED;
    let [etag, repeated] = WRITTEN;
    let headers = [etag, repeated, served_by, partition, epoch];
    operation.answers_with(200, "written", &[(JSON, schema)], &headers)
}

fn put(form: (&'static str, &str, bool)) -> Operation {
    conditional(of_row(HttpMethod::Put, form, "put", "Write a whole row"))
        .object_body("the attributes")
        .fails(&[BODY])
}

fn patch(form: (&'static str, &str, bool)) -> Operation {
    let operation = of_row(
        HttpMethod::Patch,
        form,
        "patch",
        "Set and remove attributes",
    );
    conditional(operation)
        .takes([remove()])
        .object_body("the attributes to set; null sets null")
        .fails(&[BODY])
}

fn delete(form: (&'static str, &str, bool)) -> Operation {
    conditional(of_row(HttpMethod::Delete, form, "delete", "Delete a row"))
}

fn get(form: (&'static str, &str, bool)) -> Operation {
    let [served_by, partition, epoch] = SERVED;
    let headers = [ETAG, served_by, partition, epoch];
    of_row(HttpMethod::Get, form, "get", "Read a row")
        .takes([
            consistency(),
            quorum(
                parameters::R,
                "of an active table: replicas that are asked, without `consistency=strong`",
            ),
        ])
        .takes(versions())
        .answers_with(
            200,
            "keys and attributes in one object",
            &[(JSON, object())],
            &headers,
        )
        .answers_with(304, "the client has this version", &[], &headers)
        .fails(&[&[Kind::UnknownRow, Kind::PreconditionFailed]])
}

fn batch() -> Operation {
    Operation::new(
        HttpMethod::Post,
        "/v1/tables/{table}/rows:batch",
        TAG,
        "write_batch",
        "Write and delete up to 100 rows",
    )
    .takes([table(), timeout(), request_id()])
    .body::<Batch<String>>()
    .answers::<BatchResults>(200, "one result for each row, puts first")
    .fails(&[REQUEST, BODY, TABLE])
}

fn scan() -> Operation {
    let mut operation = Operation::new(
        HttpMethod::Get,
        "/v1/tables/{table}/rows",
        TAG,
        "scan_rows",
        "Read a range or scan the table",
    );
    let page = operation.schema::<Page<String>>();
    operation
        .takes([
            table(),
            query(parameters::PK, "only rows of this partition key"),
            query(parameters::FROM, "first sort key, inclusive; needs `pk`"),
            query(parameters::TO, "last sort key, inclusive; needs `pk`"),
            limit(SCAN_LIMIT_MAX, "rows at most; 100 if absent"),
            query(parameters::CURSOR, "`next_cursor` of the page before"),
            consistency(),
            flag(parameters::REVERSE, "true for descending order; needs `pk`"),
            timeout(),
            request_id(),
        ])
        .answers_with(
            200,
            "rows in order; who accepts NDJSON gets one a line, all of them if no limit is given",
            &[(JSON, page), (headers::NDJSON, text())],
            &[NEXT_CURSOR],
        )
        .fails(&[REQUEST, TABLE])
}
