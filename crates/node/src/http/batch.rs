//! Several writes in one request: each succeeds or fails by itself, in order.
//!
//! Knows nothing of where the rows are.

use bytes::Bytes;
use hyper::body::Body;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response};
use tablestore_contract::{BATCH_LISTS, BatchWritten};
use tablestore_store::limits::DEPTH_MAX;
use tablestore_store::{Condition, Effect, Item, Mutation, Value, json};

use super::backend::Backend;
use super::body::{self, ReplyBody};
use super::catalog::TableEntry;
use super::headers;
use super::keys;
use super::problem::{Kind, Problem};
use super::rows;
use super::settings::{BATCH_BODY_BYTES_MAX, BATCH_ITEMS_MAX};
use super::shared::{SharedHttp, method_not_allowed};
use super::uri;
use crate::api::{BatchItem, WriteReply};

/// The methods of the path of batches.
pub(crate) const METHODS: &str = "POST";
/// The object, a list in it, and the items.
const DEPTH_OF_ITEMS: usize = 2;

/// Answers `POST …/rows:batch`.
pub(crate) async fn answer<B, I>(
    shared: &SharedHttp<B>,
    parts: &Parts,
    table: &str,
    input: I,
) -> Result<Response<ReplyBody>, Problem>
where
    B: Backend,
    I: Body<Data = Bytes> + Unpin,
{
    if parts.method != Method::POST {
        return Err(method_not_allowed(METHODS));
    }
    uri::parameters(parts.uri.query(), &[])?;
    let context = headers::context(&parts.headers)?;
    for name in [header::IF_MATCH, header::IF_NONE_MATCH] {
        if parts.headers.contains_key(&name) {
            return Err(Problem::invalid(
                name.as_str(),
                "no condition on a batch",
                "one",
            ));
        }
    }
    let name = uri::decode_segment("table", table)?;
    let table = shared.table(&name, context.deadline).await?;
    table.target.needs_order("a batch")?;
    let bytes = body::read(input, shared.body_limit(BATCH_BODY_BYTES_MAX)).await?;
    let items = parse(&table, &bytes)?;
    drop(bytes);

    let mut sent = Vec::with_capacity(items.len());
    let mut refused = Vec::with_capacity(items.len());
    for item in items {
        refused.push(match item {
            Ok(item) => {
                sent.push(item);
                None
            }
            Err(problem) => Some(problem),
        });
    }
    let answers = if sent.is_empty() {
        Vec::new()
    } else {
        shared.backend.batch(table.target, sent, context).await
    };
    let mut answers = answers.into_iter();
    let results = refused.into_iter().map(|refused| match refused {
        Some(problem) => Err(problem),
        None => match answers.next() {
            Some(answer) => judge(answer.map_err(Problem::from)),
            None => Err(Problem::new(
                Kind::Internal,
                "the batch was answered in part only",
            )),
        },
    });
    let mut response = Response::new(ReplyBody::from(write_results(results)));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

fn judge(answer: Result<WriteReply, Problem>) -> Result<WriteReply, Problem> {
    let reply = answer?;
    match rows::refused(&reply, None) {
        Some(problem) => Err(problem),
        None => Ok(reply),
    }
}

/// The items of a batch in order, each by itself good or bad.
///
/// # Errors
/// If the batch as a whole is wrong; then nothing of it is done.
fn parse(table: &TableEntry, bytes: &[u8]) -> Result<Vec<Result<BatchItem, Problem>>, Problem> {
    let Value::Map(mut lists) = json::parse_nested(bytes, DEPTH_MAX + DEPTH_OF_ITEMS)? else {
        return Err(Problem::invalid(
            "body",
            "an object with put and delete",
            "something else",
        ));
    };
    let [puts, deletes] = BATCH_LISTS.map(|name| (name, lists.remove(name)));
    if let Some(name) = lists.keys().next() {
        return Err(Problem::unknown(Kind::UnknownField, name, &BATCH_LISTS));
    }
    let puts = list(puts)?;
    let deletes = list(deletes)?;
    let count = puts.len() + deletes.len();
    if count > BATCH_ITEMS_MAX {
        let longest = if puts.len() > BATCH_ITEMS_MAX || deletes.is_empty() {
            "put"
        } else {
            "delete"
        };
        return Err(Problem::too_large(longest, BATCH_ITEMS_MAX, count, "items"));
    }
    let puts = (0..).zip(puts).map(|(position, value)| {
        object(value)
            .and_then(|item| put(table, item))
            .map_err(within("put", position))
    });
    let deletes = (0..).zip(deletes).map(|(position, value)| {
        object(value)
            .and_then(|item| delete(table, item))
            .map_err(within("delete", position))
    });
    Ok(puts.chain(deletes).collect())
}

fn list((name, value): (&'static str, Option<Value>)) -> Result<Vec<Value>, Problem> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::List(values)) => Ok(values),
        Some(other) => Err(Problem::invalid(name, "a list", other.kind())),
    }
}

fn object(value: Value) -> Result<Item, Problem> {
    match value {
        Value::Map(item) => Ok(item),
        other => Err(Problem::invalid("", "an object", other.kind())),
    }
}

fn put(table: &TableEntry, mut item: Item) -> Result<BatchItem, Problem> {
    let key = keys::take(table, &mut item)?;
    let encoded = keys::encode_with(&key, &item)?;
    let mutation = Mutation::Put {
        key: encoded,
        item,
        condition: Condition::None,
    };
    Ok(BatchItem { key, mutation })
}

fn delete(table: &TableEntry, mut item: Item) -> Result<BatchItem, Problem> {
    let key = keys::take(table, &mut item)?;
    if let Some(name) = item.keys().next() {
        let known: Vec<&str> = table.key_parts().map(|part| part.name.as_str()).collect();
        return Err(Problem::unknown(Kind::UnknownField, name, &known));
    }
    let mutation = Mutation::Delete {
        key: keys::encode(&key),
        condition: Condition::None,
    };
    Ok(BatchItem { key, mutation })
}

/// The same problem seen from the whole body.
fn within(list: &'static str, position: usize) -> impl Fn(Problem) -> Problem {
    move |mut problem| {
        let place = format!("{list}[{position}]");
        problem.field = Some(match problem.field.as_deref() {
            None | Some("" | "item") => place,
            Some(field) => format!("{place}.{field}"),
        });
        problem
    }
}

fn write_results(results: impl Iterator<Item = Result<WriteReply, Problem>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    out.extend_from_slice(b"{\"results\":[");
    for (position, result) in results.enumerate() {
        if position > 0 {
            out.push(b',');
        }
        match result {
            Ok(reply) => {
                let absent = reply.effect == Some(Effect::Absent);
                let written = BatchWritten {
                    status: 200,
                    version: if absent { 0 } else { reply.version },
                    deleted: absent.then_some(false),
                };
                serde_json::to_writer(&mut out, &written).expect("memory takes what is written");
            }
            Err(problem) => out.extend_from_slice(&problem.body()),
        }
    }
    out.extend_from_slice(b"]}");
    out
}
