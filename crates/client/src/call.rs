//! One call: attempts on one node after the other until there is an answer or the time is up.
//!
//! Knows nothing of tables and rows: a call is a method, a path and bytes.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use tablestore_contract::headers::{IDEMPOTENCY_KEY, TIMEOUT_MS};
use tablestore_contract::limits::TIMEOUT_MS_MAX;
use tablestore_contract::problem::Changed;

use crate::address::Nodes;
use crate::answer::ServerAnswer;
use crate::budget::RetryBudget;
use crate::error::read_problem;
use crate::request_id::RequestId;
use crate::{BuildError, CallError, ClientSettings, Problem};

/// A server's advice to wait is followed up to this, so that a wrong one cannot hang a caller.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(2);

/// What is to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Path and query, encoded.
    pub(crate) target: String,
    pub(crate) body: Option<Bytes>,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The id under which repeats take effect once.
    pub(crate) request: Option<RequestId>,
    /// Whether a lost reply leaves the outcome open.
    pub(crate) writes: bool,
    /// One node may take all the time there is: the work is long and not worth beginning anew.
    pub(crate) patient: bool,
}

impl Call {
    pub(crate) fn read(target: String) -> Self {
        Self {
            method: Method::GET,
            target,
            body: None,
            headers: Vec::new(),
            request: None,
            writes: false,
            patient: false,
        }
    }

    pub(crate) fn write(method: Method, target: String) -> Self {
        Self {
            method,
            writes: true,
            ..Self::read(target)
        }
    }

    pub(crate) fn patient(mut self) -> Self {
        self.patient = true;
        self
    }

    pub(crate) fn body(mut self, body: Vec<u8>) -> Self {
        self.body = Some(Bytes::from(body));
        self
    }

    pub(crate) fn request(mut self, request: RequestId) -> Self {
        self.request = Some(request);
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// What one attempt came to.
enum Attempt {
    Answered {
        status: StatusCode,
        etag: Option<String>,
        body: Bytes,
    },
    Refused(Box<Problem>),
    Failed(Failed),
}

struct Failed {
    why: String,
    /// It may have been carried out.
    ambiguous: bool,
    /// The node itself is at fault, so go on to the next.
    leave: bool,
    /// Wait at least this long.
    after: Option<Duration>,
}

/// Attempts so far.
struct Progress {
    started: Instant,
    attempts: u32,
    ambiguous: bool,
    last: String,
}

impl Progress {
    fn give_up(self, call: &Call) -> CallError {
        let elapsed = self.started.elapsed();
        let Self { attempts, last, .. } = self;
        if self.ambiguous && call.writes {
            CallError::OutcomeUnknown {
                request: call.request,
                attempts,
                elapsed,
                last,
            }
        } else {
            CallError::NotApplied {
                attempts,
                elapsed,
                last,
            }
        }
    }
}

/// The shared part of all clones of a client.
#[derive(Debug)]
pub(crate) struct Caller {
    http: reqwest::Client,
    nodes: Nodes,
    settings: ClientSettings,
    budget: Mutex<RetryBudget>,
    since: Instant,
}

impl Caller {
    pub(crate) fn new(nodes: Nodes, settings: ClientSettings) -> Result<Self, BuildError> {
        settings.validate()?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(settings.connect_timeout)
            .build()
            .map_err(BuildError::Http)?;
        let budget = RetryBudget::new(settings.retries_burst, settings.retries_per_second);
        Ok(Self {
            http,
            nodes,
            settings,
            budget: Mutex::new(budget),
            since: Instant::now(),
        })
    }

    pub(crate) fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Sends until there is an answer, a refusal, or the deadline.
    pub(crate) async fn call(&self, call: &Call) -> Result<ServerAnswer, CallError> {
        self.call_noting(call).await.map_err(|(error, _)| error)
    }

    /// The same; an error comes with whether an earlier attempt may have been carried out.
    pub(crate) async fn call_noting(&self, call: &Call) -> Result<ServerAnswer, (CallError, bool)> {
        let mut progress = Progress {
            started: Instant::now(),
            attempts: 0,
            ambiguous: false,
            last: String::new(),
        };
        let outcome = self.attempts(call, &mut progress).await;
        let ambiguous = progress.ambiguous;
        match outcome {
            Ok(answer) => Ok(answer),
            Err(Some(problem)) => Err((CallError::Refused(problem), ambiguous)),
            Err(None) => Err((progress.give_up(call), ambiguous)),
        }
    }

    /// `Err(None)`: time or budget is used up.
    async fn attempts(
        &self,
        call: &Call,
        progress: &mut Progress,
    ) -> Result<ServerAnswer, Option<Box<Problem>>> {
        loop {
            let left = self
                .settings
                .deadline
                .saturating_sub(progress.started.elapsed());
            if left.is_zero() {
                return Err(None);
            }
            let (index, base) = self.nodes.current();
            let each = if call.patient {
                left
            } else {
                self.settings.attempt_timeout
            };
            let attempt = self.attempt(call, base, left.min(each)).await;
            progress.attempts += 1;
            let failed = match attempt {
                Attempt::Answered { status, etag, body } => {
                    let node = base.to_owned();
                    return Ok(ServerAnswer {
                        status,
                        etag,
                        body,
                        node,
                    });
                }
                Attempt::Refused(problem) => return Err(Some(problem)),
                Attempt::Failed(failed) => failed,
            };
            progress.last = format!("{base}: {}", failed.why);
            progress.ambiguous |= failed.ambiguous;
            if failed.leave {
                self.nodes.leave(index);
            }
            let pause = self
                .pause_before(progress.attempts, failed.after)
                .ok_or(None)?;
            let left = self
                .settings
                .deadline
                .saturating_sub(progress.started.elapsed());
            if pause >= left {
                return Err(None);
            }
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// How long to wait before the next attempt; `None` when the budget allows no more.
    fn pause_before(&self, attempts: u32, advised: Option<Duration>) -> Option<Duration> {
        let taken = {
            let mut budget = self
                .budget
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            budget.take(self.since.elapsed())
        };
        let paced = match taken {
            Ok(()) => Duration::ZERO,
            Err(wait) => wait?,
        };
        // The first round asks every known node at once: the next one is usually well.
        let known = u32::try_from(self.nodes.addresses().len()).unwrap_or(u32::MAX);
        let backoff = match attempts.checked_sub(known) {
            None | Some(0) if known > 1 => Duration::ZERO,
            later => {
                let doublings = later.unwrap_or(0).min(16);
                let ceiling = self.settings.backoff_first.saturating_mul(1 << doublings);
                jittered(ceiling.min(self.settings.backoff_max))
            }
        };
        let advised = advised.unwrap_or_default().min(RETRY_AFTER_MAX);
        Some(paced.max(backoff).max(advised))
    }

    async fn attempt(&self, call: &Call, base: &str, timeout: Duration) -> Attempt {
        let mut request = self
            .http
            .request(call.method.clone(), format!("{base}{}", call.target))
            .timeout(timeout)
            // A little less than this side waits: a server that gives up can say what it knows.
            .header(
                TIMEOUT_MS,
                (timeout.as_millis() * 9 / 10)
                    .clamp(1, u128::from(TIMEOUT_MS_MAX))
                    .to_string(),
            );
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(id) = call.request {
            request = request.header(IDEMPOTENCY_KEY, id.to_string());
        }
        if let Some(body) = &call.body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Attempt::Failed(lost(&error, call.writes)),
        };
        let status = response.status();
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let etag = header("etag");
        let after = header(RETRY_AFTER.as_str()).and_then(|text| text.parse().ok());
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return Attempt::Failed(lost(&error, call.writes)),
        };
        if status.is_success() {
            return Attempt::Answered { status, etag, body };
        }
        judge(
            read_problem(status.as_u16(), &body),
            after.map(Duration::from_secs),
        )
    }
}

/// What an error answer means for this attempt.
fn judge(problem: Problem, after: Option<Duration>) -> Attempt {
    let why = problem.to_string();
    let kind = problem.kind();
    let untouched = kind.is_some_and(|kind| kind.entry().changed == Changed::No);
    match problem.status {
        status if status == 429 || status == 503 && untouched => Attempt::Failed(Failed {
            why,
            ambiguous: false,
            leave: true,
            after,
        }),
        // An unknown 5xx says nothing about what happened.
        500 | 502 | 503 | 504 => Attempt::Failed(Failed {
            why,
            ambiguous: true,
            leave: true,
            after,
        }),
        _ => Attempt::Refused(Box::new(problem)),
    }
}

/// A reply that never came. Only a connection that was never made proves that nothing happened.
fn lost(error: &reqwest::Error, writes: bool) -> Failed {
    let mut why = innermost(error);
    if error.is_timeout() {
        "no answer in time".clone_into(&mut why);
    }
    Failed {
        why,
        ambiguous: writes && !error.is_connect(),
        leave: true,
        after: None,
    }
}

fn innermost(error: &reqwest::Error) -> String {
    let mut source: &dyn std::error::Error = error;
    while let Some(deeper) = source.source() {
        source = deeper;
    }
    source.to_string()
}

/// Between half of the ceiling and all of it, so that callers spread.
fn jittered(ceiling: Duration) -> Duration {
    let half = ceiling / 2;
    let spread = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
    let random = u64::try_from(RequestId::random().as_u128() & u128::from(u64::MAX)).unwrap_or(0);
    half + Duration::from_nanos(random % spread)
}
