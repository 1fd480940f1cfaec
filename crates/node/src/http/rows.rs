//! One row: put, patch, delete, get. The path that most requests take, so it is answered
//! straight from the connection, without a router in between.
//!
//! Knows nothing of where the row is.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Body;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};
use serde_json::json;
use tablestore_contract::{Written, parameters};
use tablestore_store::item::codec;
use tablestore_store::{Condition, Effect, Item, Mutation, json as store_json};

use super::backend::Backend;
use super::body::{self, ReplyBody};
use super::catalog::TableEntry;
use super::headers::{self, EPOCH, PARTITION, REPEATED, SERVED_BY};
use super::keys;
use super::problem::{Kind, Problem};
use super::settings::ROW_BODY_BYTES_MAX;
use super::shared::{Counted, SharedHttp, method_not_allowed};
use super::uri;
use crate::api::{Consistency, RequestContext, RowKey, Served, WriteReply};

/// The methods of a row's path.
pub(crate) const METHODS: &str = "GET, HEAD, PUT, PATCH, DELETE";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Version, types and three headers about who answered.
const HEADERS: usize = 8;

/// The encoded parts of a row's path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) table: &'a str,
    pub(crate) partition: &'a str,
    pub(crate) sort: Option<&'a str>,
}

/// What a request for a row is counted as.
pub(crate) fn counted(method: &Method) -> Counted {
    match *method {
        Method::PUT => Counted::Put,
        Method::PATCH => Counted::Patch,
        Method::DELETE => Counted::Delete,
        Method::GET | Method::HEAD => Counted::Get,
        _ => Counted::Other,
    }
}

/// Answers a request for one row.
pub(crate) async fn answer<B, I>(
    shared: &SharedHttp<B>,
    parts: &Parts,
    target: Target<'_>,
    input: I,
) -> Result<Response<ReplyBody>, Problem>
where
    B: Backend,
    I: Body<Data = Bytes> + Unpin,
{
    let context = headers::context(&parts.headers)?;
    match parts.method {
        Method::GET | Method::HEAD => get(shared, parts, target, context).await,
        Method::PUT | Method::PATCH | Method::DELETE => {
            write(shared, parts, target, context, input).await
        }
        _ => Err(method_not_allowed(METHODS)),
    }
}

async fn locate<B: Backend>(
    shared: &SharedHttp<B>,
    target: Target<'_>,
    context: RequestContext,
) -> Result<(Arc<TableEntry>, RowKey), Problem> {
    let name = uri::decode_segment("table", target.table)?;
    let table = shared.table(&name, context.deadline).await?;
    let key = keys::from_path(&table, target.partition, target.sort)?;
    Ok((table, key))
}

async fn get<B: Backend>(
    shared: &SharedHttp<B>,
    parts: &Parts,
    target: Target<'_>,
    context: RequestContext,
) -> Result<Response<ReplyBody>, Problem> {
    let known = [parameters::CONSISTENCY, parameters::R];
    let [consistency, replicas] = uri::parameters(parts.uri.query(), &known)?;
    let quorum = parse_quorum(parameters::R, replicas)?;
    // Whoever names a number of replicas does not ask for the majority.
    let consistency = match (consistency, quorum) {
        (None, Some(_)) => Consistency::Eventual,
        _ => parse_consistency(consistency)?,
    };
    let context = RequestContext { quorum, ..context };
    let wanted = headers::wanted(&parts.headers)?;
    let (table, key) = locate(shared, target, context).await?;
    let (row, served) = shared
        .backend
        .get(table.target, key.clone(), consistency, context)
        .await?;
    let Some(row) = row else {
        let mut problem = Problem::new(Kind::UnknownRow, "there is no row of this key");
        problem.partition = Some(served.partition);
        let mut headers = HeaderMap::with_capacity(HEADERS);
        fill_served(shared, &served, &mut headers);
        problem.headers = headers
            .into_iter()
            .filter_map(|(name, v)| Some((name?, v)))
            .collect();
        return Err(problem);
    };
    if wanted.is_some_and(|versions| !versions.contains(&row.version)) {
        let reply = WriteReply {
            version: row.version,
            effect: Some(Effect::ConditionFailed),
            repeated: false,
            served,
        };
        return written(shared, &reply, Condition::None, false);
    }
    // Two nodes may show the same number for writes of one millisecond.
    let is_exact = table.target.data_path.has_offices();
    let mut reply = if is_exact && headers::has_version(&parts.headers, row.version) {
        let mut reply = Response::new(ReplyBody::empty());
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
        reply
    } else {
        let item = codec::decode_item(&row.item).map_err(|error| damaged(&error))?;
        let mut out = Vec::with_capacity(row.item.len() + row.item.len() / 2 + 64);
        keys::write_row(&table, key, &item, &mut out);
        json_reply(out)
    };
    let headers = reply.headers_mut();
    headers.insert(header::ETAG, headers::etag(row.version));
    fill_served(shared, &served, headers);
    Ok(reply)
}

async fn write<B, I>(
    shared: &SharedHttp<B>,
    parts: &Parts,
    target: Target<'_>,
    context: RequestContext,
    input: I,
) -> Result<Response<ReplyBody>, Problem>
where
    B: Backend,
    I: Body<Data = Bytes> + Unpin,
{
    let condition = headers::condition(&parts.headers)?;
    let (table, key) = locate(shared, target, context).await?;
    let replicas;
    let mutation = match parts.method {
        Method::DELETE => {
            [replicas] = uri::parameters(parts.uri.query(), &[parameters::W])?;
            Mutation::Delete {
                key: keys::encode(&key),
                condition,
            }
        }
        Method::PATCH => {
            let remove;
            [remove, replicas] =
                uri::parameters(parts.uri.query(), &[parameters::REMOVE, parameters::W])?;
            let remove = parse_remove(&table, remove)?;
            let set = read_item(shared, &table, &key, input).await?;
            Mutation::Patch {
                key: keys::encode_with(&key, &set)?,
                set,
                remove,
                condition,
            }
        }
        _ => {
            [replicas] = uri::parameters(parts.uri.query(), &[parameters::W])?;
            let item = read_item(shared, &table, &key, input).await?;
            Mutation::Put {
                key: keys::encode_with(&key, &item)?,
                item,
                condition,
            }
        }
    };
    let quorum = parse_quorum(parameters::W, replicas)?;
    let context = RequestContext { quorum, ..context };
    let deletes = matches!(mutation, Mutation::Delete { .. });
    let reply = shared
        .backend
        .write(table.target, key, mutation, context)
        .await?;
    written(shared, &reply, condition, deletes)
}

async fn read_item<B, I>(
    shared: &SharedHttp<B>,
    table: &TableEntry,
    key: &RowKey,
    input: I,
) -> Result<Item, Problem>
where
    B: Backend,
    I: Body<Data = Bytes> + Unpin,
{
    let bytes = body::read(input, shared.body_limit(ROW_BODY_BYTES_MAX)).await?;
    let mut item = store_json::parse_object(&bytes)?;
    keys::strip(table, key, &mut item)?;
    Ok(item)
}

fn parse_remove(table: &TableEntry, remove: Option<&str>) -> Result<Vec<String>, Problem> {
    let Some(text) = remove else {
        return Ok(Vec::new());
    };
    let names = uri::decode_list("remove", text)?;
    match names.iter().find(|name| table.is_key(name)) {
        Some(name) => Err(Problem::invalid(
            "remove",
            "attributes that are no keys",
            format!("{name:?}"),
        )),
        None => Ok(names),
    }
}

/// The value of the parameter `consistency`.
///
/// # Errors
/// Names it.
pub(crate) fn parse_consistency(text: Option<&str>) -> Result<Consistency, Problem> {
    let Some(word) = text else {
        return Ok(Consistency::default());
    };
    Consistency::of_word(word).ok_or_else(|| {
        let expected = "strong or eventual";
        Problem::invalid(parameters::CONSISTENCY, expected, format!("{word:?}"))
    })
}

/// How many replicas must answer.
///
/// # Errors
/// Names the parameter.
fn parse_quorum(name: &'static str, text: Option<&str>) -> Result<Option<u32>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match text.parse() {
        Ok(count) if count > 0 => Ok(Some(count)),
        _ => {
            let expected = "a whole number from 1 to the table's replicas";
            Err(Problem::invalid(name, expected, format!("{text:?}")))
        }
    }
}

fn written<B: Backend>(
    shared: &SharedHttp<B>,
    reply: &WriteReply,
    condition: Condition,
    deletes: bool,
) -> Result<Response<ReplyBody>, Problem> {
    let mut headers = HeaderMap::with_capacity(HEADERS);
    if reply.version > 0 {
        headers.insert(header::ETAG, headers::etag(reply.version));
    }
    if reply.repeated {
        headers.insert(REPEATED, HeaderValue::from_static("true"));
    }
    fill_served(shared, &reply.served, &mut headers);
    if let Some(mut problem) = refused(reply, Some(condition)) {
        problem.headers = headers
            .into_iter()
            .filter_map(|(name, v)| Some((name?, v)))
            .collect();
        return Err(problem);
    }
    let deleted = reply.effect != Some(Effect::Absent);
    let said = Written {
        version: reply.version,
        deleted: deletes.then_some(deleted),
    };
    let body = serde_json::to_vec(&said).expect("it has only string keys");
    let mut response = json_reply(body);
    headers.insert(header::CONTENT_TYPE, JSON);
    *response.headers_mut() = headers;
    Ok(response)
}

/// Why a committed write changed nothing, if so. A row to delete that is not there is no error:
/// what the client wants is so.
pub(crate) fn refused(reply: &WriteReply, condition: Option<Condition>) -> Option<Problem> {
    let mut problem = match reply.effect {
        Some(Effect::Done | Effect::Absent) => return None,
        Some(Effect::ConditionFailed) => {
            let is = match reply.version {
                0 => "there is no such row".to_owned(),
                version => format!("the row is at version {version}"),
            };
            let asked = match condition {
                Some(Condition::IfVersion(version)) => format!(", not at {version}"),
                _ => String::new(),
            };
            Problem::new(Kind::PreconditionFailed, format!("{is}{asked}"))
                .with("version", json!(reply.version))
        }
        Some(Effect::TooLarge) => {
            let limit = tablestore_store::limits::ITEM_BYTES_MAX;
            Problem::new(
                Kind::TooLarge,
                "the merged row would be larger than an item may be",
            )
            .about("item", format!("at most {limit} bytes"))
            .with("limit", json!(limit))
        }
        None => Problem::new(
            Kind::Internal,
            "the write had an effect that this node does not know",
        ),
    };
    problem.partition = Some(reply.served.partition);
    Some(problem)
}

/// An item that cannot be decoded.
pub(crate) fn damaged(error: &codec::CodecError) -> Problem {
    tracing::error!(%error, "a stored row is damaged");
    Problem::new(Kind::Internal, "a stored row is damaged")
}

fn json_reply(body: Vec<u8>) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::from(body));
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(header::CONTENT_TYPE, JSON);
    response
}

fn fill_served<B: Backend>(shared: &SharedHttp<B>, served: &Served, headers: &mut HeaderMap) {
    headers.insert(SERVED_BY, shared.directory().member(served.by));
    let partition = HeaderValue::from_maybe_shared(Bytes::from(served.partition.to_string()));
    headers.insert(
        PARTITION,
        partition.expect("digits and a slash are visible ASCII"),
    );
    headers.insert(EPOCH, HeaderValue::from(served.epoch.0));
}
