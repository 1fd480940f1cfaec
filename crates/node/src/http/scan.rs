//! Rows in order: a range of one partition key or a whole table, page by page, as JSON or NDJSON.
//!
//! Knows nothing of where the rows are.

use std::sync::Arc;

use axum::body::Body as StreamBody;
use bytes::Bytes;
use futures_util::stream;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response};
use tablestore_contract::parameters;
use tablestore_store::item::codec;
use tablestore_store::{KeyValue, key};
use tokio::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64;

use super::backend::Backend;
use super::body::ReplyBody;
use super::catalog::TableEntry;
use super::cursor::{self, Position};
use super::headers::{self, NEXT_CURSOR};
use super::keys;
use super::problem::Problem;
use super::rows;
use super::settings::{SCAN_LIMIT, SCAN_LIMIT_MAX};
use super::shared::{SharedHttp, method_not_allowed};
use super::uri;
use crate::api::{RequestContext, RowKey, ScanPage, ScanRequest};

/// The methods of the path of all rows.
pub(crate) const METHODS: &str = "GET, HEAD";
const PARAMETERS: [&str; 7] = [
    parameters::PK,
    parameters::FROM,
    parameters::TO,
    parameters::LIMIT,
    parameters::CURSOR,
    parameters::CONSISTENCY,
    parameters::REVERSE,
];
const NDJSON: HeaderValue = HeaderValue::from_static(tablestore_contract::headers::NDJSON);

/// One scan: the question and what its cursors are bound to.
struct Scan {
    table: Arc<TableEntry>,
    request: ScanRequest,
    fingerprint: u64,
}

/// Answers `GET …/rows`.
pub(crate) async fn answer<B: Backend>(
    shared: &Arc<SharedHttp<B>>,
    parts: &Parts,
    table: &str,
) -> Result<Response<ReplyBody>, Problem> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(method_not_allowed(METHODS));
    }
    let context = headers::context(&parts.headers)?;
    let parameters = uri::parameters(parts.uri.query(), &PARAMETERS)?;
    let limited = parameters[3].is_some();
    let name = uri::decode_segment("table", table)?;
    let table = shared.table(&name, context.deadline).await?;
    let scan = Scan::parse(table, parameters)?;
    if headers::wants_ndjson(&parts.headers) {
        return ndjson(shared, scan, context, limited).await;
    }
    let page = shared
        .backend
        .scan(scan.table.target, scan.request.clone(), context)
        .await?;
    let mut out = Vec::with_capacity(page.rows.len() * 128 + 64);
    out.extend_from_slice(b"{\"rows\":[");
    scan.write_rows(&page, b',', &mut out)?;
    out.extend_from_slice(b"],\"next_cursor\":");
    match &page.next {
        Some(next) => {
            out.push(b'"');
            out.extend_from_slice(scan.cursor(next).as_bytes());
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    let mut response = Response::new(ReplyBody::from(out));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

impl Scan {
    fn parse(
        table: Arc<TableEntry>,
        [pk, from, to, limit, at, consistency, reverse]: [Option<&str>; 7],
    ) -> Result<Self, Problem> {
        let partition_key = match pk {
            Some(text) => {
                let text = uri::decode_value("pk", text)?;
                let key = keys::partition_from_text(&table, &text);
                Some(key.map_err(|problem| named("pk", problem))?)
            }
            None => None,
        };
        let bound = |name: &'static str, text: Option<&str>| {
            let Some(text) = text else { return Ok(None) };
            if pk.is_none() {
                return Err(Problem::invalid(name, "a pk along with it", "none"));
            }
            let Some(part) = &table.sort_key else {
                return Err(Problem::invalid(
                    name,
                    "a table with a sort key",
                    "one without",
                ));
            };
            let text = uri::decode_value(name, text)?;
            let key = keys::sort_from_text(part, &text);
            key.map(Some).map_err(|problem| named(name, problem))
        };
        let from = bound("from", from)?;
        let to = bound("to", to)?;
        if let (Some(first), Some(last)) = (&from, &to)
            && first > last
        {
            return Err(Problem::invalid("from", "at most `to`", "a greater value"));
        }
        let reverse = match reverse {
            None | Some("false") => false,
            Some("true") if pk.is_some() => true,
            Some("true") => return Err(Problem::invalid("reverse", "a pk along with it", "none")),
            Some(other) => {
                return Err(Problem::invalid(
                    "reverse",
                    "true or false",
                    format!("{other:?}"),
                ));
            }
        };
        let limit = whole("limit", limit, SCAN_LIMIT, SCAN_LIMIT_MAX)?;
        let consistency = rows::parse_consistency(consistency)?;
        let fingerprint = fingerprint([&partition_key, &from, &to], reverse);
        let cursor = at
            .map(|text| cursor::decode(&table, fingerprint, text))
            .transpose()?;
        let request = ScanRequest {
            partition_key,
            from,
            to,
            limit,
            cursor,
            reverse,
            consistency,
        };
        Ok(Self {
            table,
            request,
            fingerprint,
        })
    }

    fn cursor(&self, position: &Position) -> String {
        cursor::encode(self.table.target.id(), self.fingerprint, position)
    }

    fn write_rows(&self, page: &ScanPage, separator: u8, out: &mut Vec<u8>) -> Result<(), Problem> {
        for (position, (encoded, row)) in page.rows.iter().enumerate() {
            if position > 0 {
                out.push(separator);
            }
            let (partition, sort) = key::decode_row_key(encoded).map_err(|error| {
                tracing::error!(%error, "a stored key is damaged");
                Problem::new(super::problem::Kind::Internal, "a stored key is damaged")
            })?;
            let item = codec::decode_item(&row.item).map_err(|error| rows::damaged(&error))?;
            keys::write_row(&self.table, RowKey { partition, sort }, &item, out);
        }
        Ok(())
    }

    fn lines(&self, page: &ScanPage) -> Result<Vec<u8>, Problem> {
        let mut out = Vec::with_capacity(page.rows.len() * 128);
        self.write_rows(page, b'\n', &mut out)?;
        if !page.rows.is_empty() {
            out.push(b'\n');
        }
        Ok(out)
    }
}

/// What a cursor is bound to beside its table. Made of encoded keys, whose form never changes, so
/// that nodes of different versions agree.
pub(super) fn fingerprint(keys: [&Option<KeyValue>; 3], reverse: bool) -> u64 {
    let mut question = vec![u8::from(reverse)];
    for key in keys {
        match key {
            // A partition key's form ends in itself, so that no two questions look the same.
            Some(key) => key::encode_partition_key(key, &mut question),
            None => question.push(0),
        }
    }
    xxh3_64(&question)
}

/// The problem under the name of the parameter and not of the attribute.
fn named(parameter: &'static str, mut problem: Problem) -> Problem {
    problem.field = Some(parameter.to_owned());
    problem
}

/// A parameter that is a whole number from 1 to `max`.
///
/// # Errors
/// Names it.
pub(crate) fn whole(
    name: &'static str,
    text: Option<&str>,
    default: usize,
    max: usize,
) -> Result<usize, Problem> {
    let Some(text) = text else { return Ok(default) };
    match text.parse::<usize>() {
        Ok(number) if (1..=max).contains(&number) => Ok(number),
        _ => {
            let expected = format!("a whole number from 1 to {max}");
            Err(Problem::invalid(name, expected, format!("{text:?}")))
        }
    }
}

/// With a limit one page, whose cursor is in a header; without one all rows to the end, each page
/// fetched when the client has taken the one before.
async fn ndjson<B: Backend>(
    shared: &Arc<SharedHttp<B>>,
    mut scan: Scan,
    context: RequestContext,
    limited: bool,
) -> Result<Response<ReplyBody>, Problem> {
    if !limited {
        scan.request.limit = SCAN_LIMIT_MAX;
    }
    let page = shared
        .backend
        .scan(scan.table.target, scan.request.clone(), context)
        .await?;
    let lines = scan.lines(&page)?;
    let mut response = match page.next {
        None => Response::new(ReplyBody::from(lines)),
        Some(next) if limited => {
            let mut response = Response::new(ReplyBody::from(lines));
            let cursor = HeaderValue::from_str(&scan.cursor(&next));
            let cursor = cursor.expect("base64url is visible ASCII");
            response.headers_mut().insert(NEXT_CURSOR, cursor);
            response
        }
        Some(next) => {
            let each = context.deadline.saturating_duration_since(Instant::now());
            let pages = Pages {
                shared: Arc::clone(shared),
                scan,
                each,
            };
            Response::new(ReplyBody::Stream(pages.stream(lines, next)))
        }
    };
    response.headers_mut().insert(header::CONTENT_TYPE, NDJSON);
    Ok(response)
}

/// The pages of a stream.
struct Pages<B> {
    shared: Arc<SharedHttp<B>>,
    scan: Scan,
    /// The time that each page has.
    each: Duration,
}

impl<B: Backend> Pages<B> {
    /// An error breaks the stream off without its end, which the client sees.
    fn stream(self, first: Vec<u8>, next: Position) -> StreamBody {
        let state = (self, Some(first), Some(next));
        StreamBody::from_stream(stream::try_unfold(
            state,
            |(mut pages, ready, next)| async move {
                if let Some(lines) = ready {
                    return Ok(Some((Bytes::from(lines), (pages, None, next))));
                }
                let Some(position) = next else {
                    return Ok(None);
                };
                let (lines, next) = pages.next(position).await?;
                Ok::<_, StreamBroken>(Some((Bytes::from(lines), (pages, None, next))))
            },
        ))
    }

    async fn next(
        &mut self,
        position: Position,
    ) -> Result<(Vec<u8>, Option<Position>), StreamBroken> {
        self.scan.request.cursor = Some(position);
        let deadline = Instant::now() + self.each;
        let context = RequestContext {
            deadline,
            request: None,
            quorum: None,
        };
        let request = self.scan.request.clone();
        let page = self
            .shared
            .backend
            .scan(self.scan.table.target, request, context)
            .await;
        let page = page.map_err(|error| {
            tracing::warn!(%error, table = %self.scan.table.name, "a stream of rows broke off");
            StreamBroken
        })?;
        let lines = self.scan.lines(&page).map_err(|_| StreamBroken)?;
        Ok((lines, page.next))
    }
}

/// A stream could not be ended. It was read-only; ask again from the beginning.
#[derive(Debug, thiserror::Error)]
#[error("the stream of rows broke off")]
struct StreamBroken;
