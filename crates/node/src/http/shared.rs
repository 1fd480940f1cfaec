//! What all requests of one node share: the backend, the settings, the catalog, the counts.
//!
//! Knows nothing of routes.

use std::sync::Arc;
use std::time::Instant as Clock;

use hyper::StatusCode;
use tokio::sync::watch;
use tokio::time::Instant;

use super::backend::Backend;
use super::body::BodyLimit;
use super::by_table::ByTable;
use super::catalog::{Catalog, Directory, TableEntry};
use super::memory::Memory;
use super::problem::{Kind, Problem};
use super::settings::HttpSettings;
use super::uri;
use crate::api::RequestError;
use crate::metrics::{Counter, Gauge, Histogram, Metrics};

/// What a request is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    Put,
    Patch,
    Delete,
    Get,
    Batch,
    Scan,
    Other,
}

const COUNTED: [&str; 7] = ["put", "patch", "delete", "get", "batch", "scan", "other"];
/// Classes of statuses: the hundreds from 1 to 5.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The metrics of the HTTP surface.
#[derive(Debug)]
pub(crate) struct HttpMetrics {
    requests: [[Arc<Counter>; CLASSES.len()]; COUNTED.len()],
    seconds: [Arc<Histogram>; COUNTED.len()],
    pub(crate) under_way: Arc<Gauge>,
    pub(crate) connections: Arc<Gauge>,
    pub(crate) connections_refused: Arc<Counter>,
}

impl HttpMetrics {
    fn new(metrics: &Metrics) -> Self {
        Self {
            requests: COUNTED.map(|operation| {
                CLASSES.map(|class| {
                    let labels = [("operation", operation), ("status", class)];
                    let help = "Requests answered, by operation and class of status.";
                    metrics.counter("tablestore_http_requests_total", help, &labels)
                })
            }),
            seconds: COUNTED.map(|operation| {
                let help = "Time from a request's head to its answer.";
                let labels = [("operation", operation)];
                metrics.histogram("tablestore_http_request_seconds", help, &labels)
            }),
            under_way: metrics.gauge(
                "tablestore_http_requests_under_way",
                "Requests being answered now.",
                &[],
            ),
            connections: metrics.gauge(
                "tablestore_http_connections",
                "Open connections of clients.",
                &[],
            ),
            connections_refused: metrics.counter(
                "tablestore_http_connections_refused_total",
                "Connections refused because there were too many.",
                &[],
            ),
        }
    }

    pub(crate) fn count(&self, counted: Counted, status: StatusCode, since: Clock) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.requests[counted as usize][class].increment();
        self.seconds[counted as usize].observe(since.elapsed());
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SharedHttp<B> {
    pub(crate) backend: B,
    pub(crate) settings: HttpSettings,
    pub(crate) metrics: HttpMetrics,
    by_table: ByTable,
    pub(crate) memory: Arc<Memory>,
    /// Becomes true when the node is about to stop: streams without an end then end.
    pub(crate) stopping: watch::Receiver<bool>,
    catalog: Catalog,
}

impl<B: Backend> SharedHttp<B> {
    pub(crate) fn new(
        backend: B,
        settings: HttpSettings,
        stopping: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let metrics = HttpMetrics::new(backend.metrics());
        let memory = Memory::new(settings.memory_bytes_max, backend.metrics());
        let catalog = Catalog::new(backend.map());
        Arc::new(Self {
            backend,
            settings,
            metrics,
            by_table: ByTable::default(),
            memory,
            stopping,
            catalog,
        })
    }

    /// The names of the current map.
    pub(crate) fn directory(&self) -> Arc<Directory> {
        self.catalog.directory(self.backend.map())
    }

    /// A table by name. One that is not in this node's map may just have been created through
    /// another node, so the map is then read afresh once.
    pub(crate) async fn table(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Arc<TableEntry>, Problem> {
        if let Some(table) = self.directory().table(name) {
            return Ok(Arc::clone(table));
        }
        let unknown = || RequestError::UnknownTable {
            name: name.to_owned(),
        };
        if tablestore_placement::validate_name(name).is_err() {
            return Err(unknown().into());
        }
        let map = self.backend.fresh_map(deadline).await?;
        match map.table_named(name) {
            Some(table) => Ok(Arc::new(TableEntry::new(table.id, name, &table.definition))),
            None => Err(unknown().into()),
        }
    }

    /// Counts a request for rows of a table, by its name as it is in the path. One of a table that
    /// this node does not know is not counted: anybody can name some.
    pub(crate) fn count_of_table(&self, encoded: &str, counted: Counted, since: Clock) {
        if let Ok(name) = uri::decode_segment("table", encoded)
            && self.directory().table(&name).is_some()
        {
            let (metrics, took) = (self.backend.metrics(), since.elapsed());
            self.by_table.observe(metrics, &name, counted, took);
        }
    }

    pub(crate) fn body_limit(&self, bytes_max: usize) -> BodyLimit {
        BodyLimit {
            bytes_max,
            timeout: self.settings.body_read_timeout,
            memory: Arc::clone(&self.memory),
        }
    }
}

/// A method that a path does not take.
pub(crate) fn method_not_allowed(allowed: &'static str) -> Problem {
    use hyper::header::{ALLOW, HeaderValue};
    Problem::new(Kind::MethodNotAllowed, format!("this path takes {allowed}"))
        .header(ALLOW, HeaderValue::from_static(allowed))
}
