//! Connections: accepted up to a limit, served until the client or the node ends them.
//!
//! When the node stops, the listener stays open to the very end: until all requests under way are
//! answered, new connections are still served, one request each. Connections that are idle then
//! are kept for a moment: closing one at once would hit the request that its client is just
//! sending. Knows nothing of routes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use super::backend::Backend;
use super::body::HttpResult;
use super::problem::{Kind, Problem};
use super::router;
use super::settings::{HttpSettings, READ_BYTES_MAX};
use super::shared::SharedHttp;
use super::wire::{Wire, as_answer};

/// Pause after the system refused to accept (usually: no file descriptors left), so that the loop
/// does not spin on the same error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time for the one request of a connection that came while the node stops.
const LATE_READ_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an idle connection is kept when the node stops: whoever uses it in this time is
/// answered, and told to close it.
const IDLE_KEPT: Duration = Duration::from_secs(1);
/// Connections that are being told that there are too many; more are closed without a word.
const REFUSALS_MAX: usize = 64;
/// How long telling may take.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves `backend` on `listener` until `stop` becomes true and the requests that are then under
/// way are answered, or [`HttpSettings::shutdown_grace`] has passed. Must run in a Tokio runtime;
/// connections are tasks of their own.
///
/// # Errors
/// If the address of the listener cannot be read; nothing was served.
pub async fn serve<B: Backend>(
    listener: TcpListener,
    backend: B,
    settings: HttpSettings,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    tracing::info!(%address, "serving HTTP");
    let acceptor = Acceptor::new(backend, settings, stop.clone());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // A sender that is gone can no longer ask: that is a stop, too.
            () = async { drop(stop.wait_for(|stop| *stop).await) } => break,
        };
        acceptor.take(accepted).await;
    }
    let until = Instant::now() + acceptor.shared.settings.shutdown_grace;
    loop {
        let none_left = acceptor.connections.none_left();
        tokio::select! {
            biased;
            () = none_left => break,
            () = tokio::time::sleep_until(until) => {
                let left = acceptor.connections.open();
                tracing::warn!(left, "connections are cut off: the time to finish is over");
                break;
            }
            accepted = listener.accept() => acceptor.take(accepted).await,
        }
    }
    acceptor.take_queued(listener)?;
    // Only those that were still in the queue are left now, or all that are cut off.
    let _ = tokio::time::timeout_at(until, acceptor.connections.none_left()).await;
    acceptor.connections.cut.notify_waiters();
    Ok(())
}

/// The connections that are open.
#[derive(Debug)]
struct Connections {
    max: usize,
    free: Semaphore,
    refusals: Semaphore,
    closed: Notify,
    /// Ends all that are left.
    cut: Notify,
}

impl Connections {
    fn open(&self) -> usize {
        self.max - self.free.available_permits()
    }

    async fn none_left(&self) {
        loop {
            let closed = self.closed.notified();
            if self.open() == 0 {
                return;
            }
            closed.await;
        }
    }
}

struct Acceptor<B> {
    shared: Arc<SharedHttp<B>>,
    router: Router,
    http: http1::Builder,
    connections: Arc<Connections>,
}

impl<B: Backend> Acceptor<B> {
    fn new(backend: B, settings: HttpSettings, stop: watch::Receiver<bool>) -> Self {
        let max = settings.connections_max.min(Semaphore::MAX_PERMITS);
        let shared = SharedHttp::new(backend, settings, stop);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(shared.settings.header_read_timeout)
            // A client may close its side and wait for the answer.
            .half_close(true)
            .max_buf_size(READ_BYTES_MAX);
        let connections = Connections {
            max,
            free: Semaphore::new(max),
            refusals: Semaphore::new(REFUSALS_MAX),
            closed: Notify::new(),
            cut: Notify::new(),
        };
        let router = router::router(Arc::clone(&shared));
        Self {
            shared,
            router,
            http,
            connections: Arc::new(connections),
        }
    }

    /// Closes the listener. Connections that wait in its queue would be reset with it, perhaps
    /// with a request sent, so they are taken first.
    fn take_queued(&self, listener: TcpListener) -> io::Result<()> {
        let listener = listener.into_std()?;
        while let Ok((socket, _)) = listener.accept() {
            socket.set_nonblocking(true)?;
            self.admit(TcpStream::from_std(socket)?);
        }
        Ok(())
    }

    async fn take(&self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                return;
            }
        };
        self.admit(socket);
    }

    fn admit(&self, socket: TcpStream) {
        // Without it a small answer waits for the acknowledgement of the one before.
        let _ = socket.set_nodelay(true);
        match self.connections.free.try_acquire() {
            Ok(permit) => {
                permit.forget();
                self.spawn(socket);
            }
            Err(_) => self.refuse(socket),
        }
    }

    fn spawn(&self, socket: TcpStream) {
        let open = Open::new(Arc::clone(&self.shared), Arc::clone(&self.connections));
        let router = self.router.clone();
        let mut stop = self.shared.stopping.clone();
        let mut http = self.http.clone();
        let late = *stop.borrow();
        if late {
            http.keep_alive(false)
                .header_read_timeout(LATE_READ_TIMEOUT);
        }
        tokio::spawn(async move {
            let shared = &open.shared;
            let service = service_fn(|request: hyper::Request<Incoming>| {
                let router = &router;
                async move {
                    let mut answer = router::answer(shared, router, request).await;
                    if *shared.stopping.borrow() {
                        let close = HeaderValue::from_static("close");
                        answer.headers_mut().insert(CONNECTION, close);
                    }
                    HttpResult::Ok(answer)
                }
            });
            let connection = http.serve_connection(
                TokioIo::new(Wire::new(socket, shared.settings.write_timeout)),
                service,
            );
            let mut connection = std::pin::pin!(connection);
            // An error is the client's: it went away or did not speak HTTP.
            tokio::select! {
                _ = connection.as_mut() => return,
                () = open.connections.cut.notified() => return,
                _ = stop.wait_for(|stop| *stop), if !late => {}
            }
            tokio::select! {
                _ = connection.as_mut() => return,
                () = open.connections.cut.notified() => return,
                () = tokio::time::sleep(IDLE_KEPT) => connection.as_mut().graceful_shutdown(),
            }
            tokio::select! {
                _ = connection => {}
                () = open.connections.cut.notified() => {}
            }
        });
    }

    /// Answers 503 before any request was read, and closes.
    fn refuse(&self, socket: TcpStream) {
        self.shared.metrics.connections_refused.increment();
        let connections = Arc::clone(&self.connections);
        if let Ok(permit) = self.connections.refusals.try_acquire() {
            permit.forget();
            tokio::spawn(async move {
                let _ = tokio::time::timeout(REFUSAL_TIMEOUT, tell(socket)).await;
                connections.refusals.add_permits(1);
            });
        }
    }
}

/// One open connection, counted until it is dropped.
struct Open<B: Backend> {
    shared: Arc<SharedHttp<B>>,
    connections: Arc<Connections>,
}

impl<B: Backend> Open<B> {
    fn new(shared: Arc<SharedHttp<B>>, connections: Arc<Connections>) -> Self {
        shared.metrics.connections.increment();
        Self {
            shared,
            connections,
        }
    }
}

impl<B: Backend> Drop for Open<B> {
    fn drop(&mut self) {
        self.shared.metrics.connections.decrement();
        self.connections.free.add_permits(1);
        self.connections.closed.notify_waiters();
    }
}

async fn tell(mut socket: TcpStream) -> io::Result<()> {
    let problem = Problem::new(
        Kind::TooManyConnections,
        "no more connections are taken now",
    );
    socket.write_all(&as_answer(&problem)).await?;
    socket.shutdown().await?;
    // Closing with unread bytes would reset the connection and the answer would be lost.
    let mut scrap = [0; 1024];
    while socket.read(&mut scrap).await? > 0 {}
    Ok(())
}
