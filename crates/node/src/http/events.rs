//! Events as they happen, as server-sent events.
//!
//! A client that comes back with `Last-Event-ID` gets what is still remembered since then. One
//! that is too slow is told how many it missed. Knows nothing of what the events mean.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use hyper::header::{self, HeaderName, HeaderValue};
use tablestore_contract::headers as names;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::backend::{Backend, Event};
use super::extract::NoQuery;
use super::problem::Problem;
use super::settings::EVENTS_KEEPALIVE;
use super::shared::SharedHttp;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static(names::LAST_EVENT_ID);

/// `GET /v1/cluster/events`
pub(crate) async fn stream_events<B: Backend>(
    State(shared): State<Arc<SharedHttp<B>>>,
    headers: HeaderMap,
    _: NoQuery,
) -> Result<Response, Problem> {
    let after = last_event_id(&headers)?;
    // Subscribed first, so that nothing falls between what is remembered and what is new.
    let live = shared.backend.events();
    let backlog = match after {
        Some(id) => shared.backend.events_after(id).into(),
        None => VecDeque::new(),
    };
    let source = Source {
        after: after.unwrap_or(0),
        greeted: false,
        backlog,
        live,
        stopping: shared.stopping.clone(),
    };
    let frames = stream::unfold(source, |mut source| async move {
        let text = source.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(text)), source))
    });
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(names::EVENT_STREAM),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    match value.to_str().ok().and_then(|text| text.parse().ok()) {
        Some(id) => Ok(Some(id)),
        None => Err(Problem::invalid(
            "Last-Event-ID",
            "the id of an event of this stream",
            format!("{value:?}"),
        )),
    }
}

/// Where the frames of one stream come from.
struct Source {
    /// The greatest id that was sent.
    after: u64,
    greeted: bool,
    backlog: VecDeque<Arc<Event>>,
    live: broadcast::Receiver<Arc<Event>>,
    stopping: watch::Receiver<bool>,
}

impl Source {
    /// The next frame; `None` ends the stream.
    async fn next(&mut self) -> Option<String> {
        if !self.greeted {
            // Sent at once, so that a client knows that it listens.
            self.greeted = true;
            return Some("retry: 1000\n: listening\n\n".to_owned());
        }
        loop {
            let event = match self.backlog.pop_front() {
                Some(event) => event,
                None => match self.wait().await? {
                    Ok(event) => event,
                    Err(text) => return Some(text),
                },
            };
            if event.id > self.after {
                self.after = event.id;
                return Some(frame(&event));
            }
        }
    }

    /// The next live event, or a frame that is none.
    async fn wait(&mut self) -> Option<Result<Arc<Event>, String>> {
        tokio::select! {
            event = self.live.recv() => match event {
                Ok(event) => Some(Ok(event)),
                Err(RecvError::Lagged(missed)) => {
                    Some(Err(format!("event: missed\ndata: {{\"missed\":{missed}}}\n\n")))
                }
                Err(RecvError::Closed) => None,
            },
            _ = self.stopping.wait_for(|stopping| *stopping) => None,
            () = tokio::time::sleep(EVENTS_KEEPALIVE) => Some(Err(": alive\n\n".to_owned())),
        }
    }
}

fn frame(event: &Event) -> String {
    let data = serde_json::to_string(event).expect("an event has only string keys");
    // A line break in the kind would end the field; in JSON there is none.
    let kind: String = event
        .kind
        .chars()
        .filter(|character| !character.is_control())
        .collect();
    format!("id: {}\nevent: {kind}\ndata: {data}\n\n", event.id)
}
