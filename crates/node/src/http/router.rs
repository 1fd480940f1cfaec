//! Which handler answers which path. Rows go straight to their module (see `rows`), everything
//! else through axum.
//!
//! Knows nothing of connections.

use std::sync::Arc;
use std::time::Instant as Clock;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::Request as AxumRequest;
use axum::routing::{MethodRouter, delete, get, post, put};
use bytes::Bytes;
use hyper::body::Body;
use hyper::http::request::Parts;
use hyper::{Request, Response};
use tower::ServiceExt as _;

use super::backend::Backend;
use super::body::ReplyBody;
use super::encoding::{Decoded, Encoding};
use super::problem::{Kind, Problem};
use super::rows::Target;
use super::shared::{Counted, SharedHttp, method_not_allowed};
use super::uri::RowsPath;
use super::{batch, cluster, events, heads, rows, scan, system, tables};

/// What a scan is counted as until its answer is made: as the usual page.
const SCAN_BYTES: usize = 256 << 10;

/// Everything that is not about rows.
pub(crate) fn router<B: Backend>(shared: Arc<SharedHttp<B>>) -> Router {
    let mut router = Router::new();
    for (path, methods, allowed) in routes::<B>() {
        router = router.route(
            path,
            methods.fallback(move || async move { method_not_allowed(allowed) }),
        );
    }
    router.fallback(nothing).with_state(shared)
}

/// Every path that is served, with the methods it takes as `Allow` lists them.
#[must_use]
pub fn paths<B: Backend>() -> Vec<(&'static str, &'static str)> {
    let others = routes::<B>().into_iter();
    let others = others.map(|(path, _, allowed)| (path, allowed));
    others.chain(ROWS).collect()
}

/// The paths of rows, which [`RowsPath`] takes apart.
const ROWS: [(&str, &str); 4] = [
    ("/v1/tables/{table}/rows", scan::METHODS),
    ("/v1/tables/{table}/rows:batch", batch::METHODS),
    ("/v1/tables/{table}/rows/{pk}", rows::METHODS),
    ("/v1/tables/{table}/rows/{pk}/{sk}", rows::METHODS),
];

type Route<B> = (&'static str, MethodRouter<Arc<SharedHttp<B>>>, &'static str);

fn routes<B: Backend>() -> Vec<Route<B>> {
    const GET: &str = "GET, HEAD";
    vec![
        ("/v1/tables", get(tables::list::<B>), GET),
        (
            "/v1/tables/{table}",
            put(tables::create::<B>)
                .get(tables::describe::<B>)
                .patch(tables::alter::<B>)
                .delete(tables::drop_table::<B>),
            "GET, HEAD, PUT, PATCH, DELETE",
        ),
        ("/v1/cluster", get(cluster::show::<B>), GET),
        ("/v1/cluster/partitions", get(cluster::partitions::<B>), GET),
        ("/v1/cluster/events", get(events::stream_events::<B>), GET),
        ("/v1/cluster/decisions", get(cluster::decisions::<B>), GET),
        ("/v1/cluster/explain", get(cluster::explain::<B>), GET),
        ("/v1/cluster/checksums", get(cluster::checksums::<B>), GET),
        (
            "/v1/cluster/nodes/{node}",
            delete(cluster::remove::<B>),
            "DELETE",
        ),
        (
            "/v1/cluster/nodes/{node}/drain",
            post(cluster::drain::<B>),
            "POST",
        ),
        (
            "/v1/cluster/nodes/{node}/undrain",
            post(cluster::undrain::<B>),
            "POST",
        ),
        ("/v1/sql", post(sql), "POST"),
        ("/healthz", get(system::alive), GET),
        ("/readyz", get(system::ready::<B>), GET),
        ("/metrics", get(system::metrics::<B>), GET),
        ("/openapi.json", get(system::description), GET),
    ]
}

async fn nothing(request: AxumRequest) -> Problem {
    Problem::new(
        Kind::UnknownPath,
        format!("there is nothing at {}", request.uri().path()),
    )
}

async fn sql() -> Problem {
    Problem::new(Kind::NotSupported, "SQL is not built yet")
}

/// Answers any request.
pub(crate) async fn answer<B, I>(
    shared: &Arc<SharedHttp<B>>,
    router: &Router,
    request: Request<I>,
) -> Response<ReplyBody>
where
    B: Backend,
    I: Body<Data = Bytes> + Send + Unpin + 'static,
    I::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let since = Clock::now();
    shared.metrics.under_way.increment();
    let under_way = UnderWay(shared);
    let (counted, reply) = dispatch(shared, router, request, since).await;
    let response = match reply.and_then(|response| counted_body(shared, response)) {
        Ok(response) => response,
        Err(problem) => refuse(&problem),
    };
    shared.metrics.count(counted, response.status(), since);
    drop(under_way);
    response
}

/// Only answers of reads are so large that they are refused here.
fn counted_body<B: Backend>(
    shared: &SharedHttp<B>,
    response: Response<ReplyBody>,
) -> Result<Response<ReplyBody>, Problem> {
    let (parts, body) = response.into_parts();
    let body = body.counted(&shared.memory)?;
    Ok(Response::from_parts(parts, body))
}

/// Counts down also when the client goes away and the request is dropped.
struct UnderWay<'a, B: Backend>(&'a Arc<SharedHttp<B>>);

impl<B: Backend> Drop for UnderWay<'_, B> {
    fn drop(&mut self) {
        self.0.metrics.under_way.decrement();
    }
}

async fn dispatch<B, I>(
    shared: &Arc<SharedHttp<B>>,
    router: &Router,
    request: Request<I>,
    since: Clock,
) -> (Counted, Result<Response<ReplyBody>, Problem>)
where
    B: Backend,
    I: Body<Data = Bytes> + Send + Unpin + 'static,
    I::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let request = match admit(shared, request) {
        Ok(request) => request,
        Err(problem) => return (Counted::Other, Err(problem)),
    };
    if RowsPath::parse(request.uri().path()).is_none() {
        let reply = router.clone().oneshot(request.map(AxumBody::new)).await;
        let response = reply.unwrap_or_else(|never| match never {});
        return (Counted::Other, Ok(response.map(ReplyBody::Stream)));
    }
    let (parts, input) = request.into_parts();
    let Some(path) = RowsPath::parse(parts.uri.path()) else {
        let nothing = Problem::new(Kind::UnknownPath, "there is nothing here");
        return (Counted::Other, Err(nothing));
    };
    let (counted, reply) = of_rows(shared, &parts, path, input).await;
    shared.count_of_table(path.table(), counted, since);
    (counted, reply)
}

async fn of_rows<B, I>(
    shared: &Arc<SharedHttp<B>>,
    parts: &Parts,
    path: RowsPath<'_>,
    input: Decoded<I>,
) -> (Counted, Result<Response<ReplyBody>, Problem>)
where
    B: Backend,
    I: Body<Data = Bytes> + Send + Unpin + 'static,
    I::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match path {
        RowsPath::Row {
            table,
            partition,
            sort,
        } => {
            let target = Target {
                table,
                partition,
                sort,
            };
            let reply = rows::answer(shared, parts, target, input).await;
            (rows::counted(&parts.method), reply)
        }
        RowsPath::Batch { table } => (
            Counted::Batch,
            batch::answer(shared, parts, table, input).await,
        ),
        RowsPath::Rows { table } => {
            let reply = match shared.memory.take(SCAN_BYTES) {
                Ok(_held) => scan::answer(shared, parts, table).await,
                Err(problem) => Err(problem),
            };
            (Counted::Scan, reply)
        }
    }
}

/// What can be refused for its head is refused; of everything else the body is decoded.
fn admit<B: Backend, I>(
    shared: &SharedHttp<B>,
    request: Request<I>,
) -> Result<Request<Decoded<I>>, Problem> {
    heads::check(&request, &shared.settings.allowed_hosts)?;
    let encoding = Encoding::of(request.headers())?;
    Ok(request.map(|body| encoding.decode(body)))
}

fn refuse(problem: &Problem) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::from(problem.body()));
    *response.status_mut() = problem.status();
    problem.fill_headers(response.headers_mut());
    response
}
