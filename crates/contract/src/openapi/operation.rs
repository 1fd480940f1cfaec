//! One operation: a method of a path, what it takes and how it may be answered.
//!
//! Knows nothing of which operations there are.

use std::collections::BTreeMap;

use utoipa::ToSchema;
use utoipa::openapi::path::{Operation as Described, OperationBuilder, Parameter};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::{
    AllOfBuilder, Content, Header, HttpMethod, ObjectBuilder, Ref, RefOr, Required, Response,
    ResponseBuilder, Schema, Type,
};

use super::parts::{self, Named};
use crate::Problem;
use crate::headers::PROBLEM_JSON;
use crate::problem::{Details, Kind};

const JSON: &str = "application/json";

/// What is answered whatever is asked: by the connection, or for the head of the request alone.
const ANY: [Kind; 6] = [
    Kind::InvalidRequest,
    Kind::Forbidden,
    Kind::UriTooLong,
    Kind::HeadTooLarge,
    Kind::TooManyConnections,
    Kind::TooMuchAtOnce,
];

type Schemas = Vec<(String, RefOr<Schema>)>;

/// See the module.
pub(super) struct Operation {
    method: HttpMethod,
    path: &'static str,
    described: OperationBuilder,
    answers: BTreeMap<u16, Response>,
    kinds: Vec<Kind>,
    /// Headers of those problems that come from the primary of a row.
    of_rows: bool,
    schemas: Schemas,
}

impl Operation {
    pub(super) fn new(
        method: HttpMethod,
        path: &'static str,
        tag: &'static str,
        id: impl Into<String>,
        summary: &'static str,
    ) -> Self {
        let mut kinds = ANY.to_vec();
        if !matches!(method, HttpMethod::Get) {
            kinds.push(Kind::UnsupportedMediaType);
        }
        Self {
            method,
            path,
            described: OperationBuilder::new()
                .tag(tag)
                .operation_id(Some(id))
                .summary(Some(summary)),
            answers: BTreeMap::new(),
            kinds,
            of_rows: false,
            schemas: Vec::new(),
        }
    }

    pub(super) fn takes(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        for parameter in parameters {
            self.described = self.described.parameter(parameter);
        }
        self
    }

    /// A body of this type, all of whose members are known: a node refuses any other.
    pub(super) fn body<T: ToSchema>(mut self) -> Self {
        let before = self.schemas.len();
        let schema = self.schema::<T>();
        for (_, schema) in &mut self.schemas[before..] {
            close(schema);
        }
        self.body_of("", schema)
    }

    /// A body that is an object of the user's.
    pub(super) fn object_body(self, description: &str) -> Self {
        self.body_of(description, parts::object())
    }

    fn body_of(mut self, description: &str, schema: RefOr<Schema>) -> Self {
        let description = (!description.is_empty()).then_some(description);
        let body = RequestBodyBuilder::new()
            .description(description)
            .required(Some(Required::True))
            .content(JSON, Content::new(Some(schema)));
        self.described = self.described.request_body(Some(body.build()));
        self
    }

    /// An answer of this type, as JSON.
    pub(super) fn answers<T: ToSchema>(mut self, status: u16, description: &str) -> Self {
        let schema = self.schema::<T>();
        self.answers_with(status, description, &[(JSON, schema)], &[])
    }

    /// An answer in one of several media types, or none, with headers.
    pub(super) fn answers_with(
        mut self,
        status: u16,
        description: &str,
        contents: &[(&str, RefOr<Schema>)],
        headers: &[Named],
    ) -> Self {
        let mut answer = ResponseBuilder::new().description(description);
        for (media, schema) in contents {
            answer = answer.content(*media, Content::new(Some(schema.clone())));
        }
        for header in headers {
            answer = answer.header(header.name, header.header());
        }
        self.answers.insert(status, answer.build());
        self
    }

    /// Problems it may be answered with.
    pub(super) fn fails(mut self, kinds: &[&[Kind]]) -> Self {
        self.kinds.extend(kinds.iter().copied().flatten());
        self
    }

    /// Its problems may carry the headers of who answered.
    pub(super) fn of_rows(mut self) -> Self {
        self.of_rows = true;
        self
    }

    /// A reference to a type, which is described along with the operation.
    pub(super) fn schema<T: ToSchema>(&mut self) -> RefOr<Schema> {
        let mut found = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut found);
        let found = found.into_iter();
        self.schemas
            .extend(found.map(|(name, schema)| (name, written_whole(schema))));
        Ref::from_schema_name(T::name()).into()
    }

    pub(super) fn build(mut self) -> (&'static str, HttpMethod, Described, Schemas) {
        let problem = self.schema::<Problem>();
        let details = self.schema::<Details>();
        let mut statuses: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
        self.kinds.sort_unstable();
        self.kinds.dedup();
        for kind in &self.kinds {
            statuses.entry(kind.entry().status).or_default().push(*kind);
        }
        for (status, kinds) in statuses {
            let all = AllOfBuilder::new()
                .item(problem.clone())
                .item(details.clone())
                .item(codes(&kinds));
            let content = Content::new(Some(RefOr::T(Schema::AllOf(all.build()))));
            let mut answer = ResponseBuilder::new()
                .description(described(&kinds))
                .content(PROBLEM_JSON, content);
            if kinds.iter().any(|kind| kind.entry().retry_after.is_some()) {
                answer = answer.header(parts::RETRY_AFTER.name, parts::RETRY_AFTER.header());
            }
            if self.of_rows && kinds.iter().any(|kind| of_primary(*kind)) {
                for header in parts::SERVED.iter().chain(&parts::WRITTEN) {
                    answer = answer.header(header.name, header.header());
                }
            }
            self.answers.insert(status, answer.build());
        }
        for (status, answer) in self.answers {
            self.described = self.described.response(status.to_string(), answer);
        }
        (self.path, self.method, self.described.build(), self.schemas)
    }
}

/// Members of answers that are there only where they mean something.
const SOMETIMES: [&str; 2] = [
    "requests_per_idle_day",
    "requests_per_idle_day_of_partition",
];

/// What a reader takes for empty when an older node leaves it out, a node of this version writes.
fn written_whole(schema: RefOr<Schema>) -> RefOr<Schema> {
    let mut object = match schema {
        RefOr::T(Schema::Object(object)) => object,
        RefOr::T(Schema::AllOf(mut all)) => {
            all.items = all.items.into_iter().map(written_whole).collect();
            return RefOr::T(Schema::AllOf(all));
        }
        other => return other,
    };
    for (name, property) in &mut object.properties {
        let default = match property {
            RefOr::Ref(reference) => reference.default.take(),
            RefOr::T(Schema::Object(inner)) => inner.default.take(),
            RefOr::T(Schema::Array(inner)) => inner.default.take(),
            RefOr::T(Schema::OneOf(inner)) => inner.default.take(),
            RefOr::T(_) => None,
        };
        let is_always = default.is_some() && !SOMETIMES.contains(&name.as_str());
        if is_always && !object.required.contains(name) {
            object.required.push(name.clone());
        }
    }
    RefOr::T(Schema::Object(object))
}

/// Whoever writes an object of this schema may have no members beyond it.
fn close(schema: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::Object(object)) = schema
        && !object.properties.is_empty()
    {
        object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    }
}

/// Whether it is one of those.
pub(super) fn is_closed(schema: &RefOr<Schema>) -> bool {
    let RefOr::T(Schema::Object(object)) = schema else {
        return false;
    };
    let more = object.additional_properties.as_deref();
    matches!(more, Some(AdditionalProperties::FreeForm(false)))
}

/// Problems that the primary of a row answers itself, with its headers.
fn of_primary(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::UnknownRow | Kind::PreconditionFailed | Kind::TooLarge
    )
}

/// Which codes come with a status.
fn codes(kinds: &[Kind]) -> ObjectBuilder {
    let words = kinds.iter().map(|kind| kind.code());
    let code = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("code", code)
}

fn described(kinds: &[Kind]) -> String {
    let each = kinds.iter().map(|kind| {
        let entry = kind.entry();
        format!("`{}`: {}; {}", entry.code, entry.title, entry.advice)
    });
    each.collect::<Vec<_>>().join(". ")
}

impl Named {
    fn header(&self) -> Header {
        let schema = ObjectBuilder::new().schema_type(Type::String);
        utoipa::openapi::HeaderBuilder::new()
            .schema(Some(schema))
            .description(Some(self.description))
            .build()
    }
}
