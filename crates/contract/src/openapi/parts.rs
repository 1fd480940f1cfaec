//! Parameters, headers and groups of problems that several operations have.

use utoipa::PartialSchema;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::{ObjectBuilder, RefOr, Required, Schema, Type};

use crate::problem::Kind;
use crate::{Consistency, headers, limits, parameters};

/// A header of an answer.
pub(super) struct Named {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
}

const fn named(name: &'static str, description: &'static str) -> Named {
    Named { name, description }
}

pub(super) const RETRY_AFTER: Named = named("Retry-After", "seconds after which to try again");
pub(super) const ETAG: Named = named("ETag", "the version of the row, in double quotes");
pub(super) const NEXT_CURSOR: Named = named(
    headers::NEXT_CURSOR,
    "of NDJSON with a limit: where to go on; absent at the end",
);
/// Who answered.
pub(super) const SERVED: [Named; 3] = [
    named(headers::SERVED_BY, "the name of the node that answered"),
    named(
        headers::PARTITION,
        "the partition of the row, `table/partition`",
    ),
    named(headers::EPOCH, "the epoch under which it was answered"),
];
/// What writes say beyond that.
pub(super) const WRITTEN: [Named; 2] = [
    ETAG,
    named(
        headers::REPEATED,
        "`true`: the remembered answer of an earlier request with the same id",
    ),
];

/// What any request may be wrong in.
pub(super) const REQUEST: &[Kind] = &[Kind::InvalidRequest, Kind::UnknownParameter];
/// What a request for a table may meet.
pub(super) const TABLE: &[Kind] = &[
    Kind::UnknownTable,
    Kind::UnsupportedByStrategy,
    Kind::NotApplied,
    Kind::NoController,
    Kind::OutcomeUnknown,
    Kind::Internal,
];
/// What a body may be wrong in.
pub(super) const BODY: &[Kind] = &[Kind::UnknownField, Kind::RequestTimeout, Kind::TooLarge];
/// What a change of the map may meet.
pub(super) const MAP: &[Kind] = &[
    Kind::Conflict,
    Kind::NoController,
    Kind::OutcomeUnknown,
    Kind::NotSupported,
    Kind::Internal,
];

/// As many replicas as a table may have.
const REPLICAS_ASKED_MAX: u64 = 7;
/// Names of attributes or nodes, none of them empty.
const NAMES: &str = "^[^,]+(,[^,]+)*$";
/// A version as `ETag` gives it, or any; of nineteen digits so that each is one.
const VERSION: &str = r#"^(\*|"[0-9]{1,19}")$"#;
/// Several of them.
const VERSIONS: &str = r#"^(\*|"[0-9]{1,19}"( *, *"[0-9]{1,19}")*)$"#;
/// What says that there must be no such row.
const ABSENT: &str = r"^\*$";
/// The id of an event.
const EVENT_ID: &str = "^[0-9]{1,19}$";

/// An object of the user's: a row, or what has no type of its own.
pub(super) fn object() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(true)))
        .into()
}

/// Text that is no JSON.
pub(super) fn text() -> RefOr<Schema> {
    typed(Type::String).into()
}

fn typed(schema_type: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(schema_type)
}

fn whole(max: u64) -> ObjectBuilder {
    let max = u32::try_from(max).expect("the limits of requests are small");
    typed(Type::Integer).minimum(Some(1u32)).maximum(Some(max))
}

fn parameter(
    place: ParameterIn,
    name: &str,
    description: &str,
    schema: impl Into<RefOr<Schema>>,
) -> Parameter {
    let required = if matches!(place, ParameterIn::Path) {
        Required::True
    } else {
        Required::False
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

pub(super) fn path(name: &str, description: &str) -> Parameter {
    let schema = typed(Type::String).min_length(Some(1));
    parameter(ParameterIn::Path, name, description, schema)
}

pub(super) fn query(name: &str, description: &str) -> Parameter {
    parameter(ParameterIn::Query, name, description, text())
}

/// The table that a question is about.
pub(super) fn table_query() -> Parameter {
    required(parameters::TABLE, "its name", table_name())
}

/// Those whose failure is asked about.
pub(super) fn if_fails() -> Parameter {
    let schema = typed(Type::String).pattern(Some(NAMES));
    required(
        parameters::IF_FAILS,
        "names of nodes separated by commas",
        schema,
    )
}

fn required(name: &str, description: &str, schema: ObjectBuilder) -> Parameter {
    let mut parameter = parameter(ParameterIn::Query, name, description, schema);
    parameter.required = Required::True;
    parameter
}

/// Attributes that a patch takes away.
pub(super) fn remove() -> Parameter {
    let schema = typed(Type::String).pattern(Some(NAMES));
    let description = "attributes to take away, separated by commas";
    parameter(ParameterIn::Query, parameters::REMOVE, description, schema)
}

pub(super) fn flag(name: &str, description: &str) -> Parameter {
    parameter(ParameterIn::Query, name, description, typed(Type::Boolean))
}

pub(super) fn limit(max: usize, description: &str) -> Parameter {
    let schema = whole(u64::try_from(max).expect("a limit is small"));
    parameter(ParameterIn::Query, parameters::LIMIT, description, schema)
}

/// How many replicas of an active table answer.
pub(super) fn quorum(name: &str, description: &str) -> Parameter {
    let schema = whole(REPLICAS_ASKED_MAX);
    parameter(ParameterIn::Query, name, description, schema)
}

pub(super) fn consistency() -> Parameter {
    let description = "how fresh the read must be; `strong` if absent";
    let schema = Consistency::schema();
    parameter(
        ParameterIn::Query,
        parameters::CONSISTENCY,
        description,
        schema,
    )
}

fn header(name: &str, description: &str, pattern: &str) -> Parameter {
    let schema = typed(Type::String).pattern(Some(pattern));
    parameter(ParameterIn::Header, name, description, schema)
}

/// What must hold for a write; one of them.
pub(super) fn conditions() -> [Parameter; 2] {
    [
        header(
            "If-Match",
            "a version in double quotes, or `*`; not with `If-None-Match`",
            VERSION,
        ),
        header("If-None-Match", "`*`; not with `If-Match`", ABSENT),
    ]
}

/// What a reader wants and has.
pub(super) fn versions() -> [Parameter; 2] {
    let has = "versions that the client has";
    [
        header(
            "If-Match",
            "versions that the client wants, or `*`",
            VERSIONS,
        ),
        parameter(ParameterIn::Header, "If-None-Match", has, text()),
    ]
}

/// Where a reader of the event stream goes on.
pub(super) fn last_event_id() -> Parameter {
    header("Last-Event-ID", "go on behind this event", EVENT_ID)
}

/// The deadline of a request.
pub(super) fn timeout() -> Parameter {
    parameter(
        ParameterIn::Header,
        headers::TIMEOUT_MS,
        "milliseconds that the client will wait; 10000 if absent",
        whole(limits::TIMEOUT_MS_MAX),
    )
}

/// The request id.
pub(super) fn request_id() -> Parameter {
    let schema = typed(Type::String)
        .min_length(Some(1))
        .max_length(Some(limits::REQUEST_ID_BYTES_MAX));
    parameter(
        ParameterIn::Header,
        "Idempotency-Key",
        "the id under which a repeated request takes effect once; best a UUID",
        schema,
    )
}

pub(super) fn table() -> Parameter {
    let description = "3 to 255 of a-z, A-Z, 0-9, _, . and -";
    parameter(ParameterIn::Path, "table", description, table_name())
}

fn table_name() -> ObjectBuilder {
    typed(Type::String)
        .min_length(Some(3))
        .max_length(Some(255))
        .pattern(Some("^[a-zA-Z0-9_.-]+$"))
}
