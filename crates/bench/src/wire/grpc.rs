//! Calls of etcd's key-value service: gRPC over HTTP/2 without TLS, as its clients make them.
//!
//! Knows the two calls that are measured and nothing else of gRPC.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use tokio::net::TcpStream;

use super::protobuf;

/// The status that says that a call did what it was asked to.
const OK: &[u8] = b"0";

/// An HTTP/2 connection to one member.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    sender: SendRequest<Bytes>,
    put: Uri,
    range: Uri,
}

impl Channel {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        // It ends with the last handle; what goes wrong is seen by the call that waits.
        tokio::spawn(connection);
        let path = |call: &str| format!("http://{address}/etcdserverpb.KV/{call}").parse();
        Ok(Self {
            sender,
            put: path("Put")?,
            range: path("Range")?,
        })
    }

    pub(crate) async fn put(&mut self, key: &str, value: &str) -> Result<()> {
        let answer = self.call(self.put.clone(), protobuf::put(key, value));
        let answer = answer.await?;
        protobuf::unframed(&answer).context("the answer to a put is no message")?;
        Ok(())
    }

    pub(crate) async fn range(&mut self, key: &str, value_bytes: usize) -> Result<()> {
        let answer = self.call(self.range.clone(), protobuf::range(key)).await?;
        let message = protobuf::unframed(&answer).context("the answer to a range is no message")?;
        let value = protobuf::first_value(message).context("the row is not there")?;
        ensure!(value.len() == value_bytes, "the row has another value");
        Ok(())
    }

    async fn call(&self, uri: Uri, message: Bytes) -> Result<BytesMut> {
        let mut sender = self.sender.clone().ready().await?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        let (response, mut stream) = sender.send_request(request, false)?;
        stream.send_data(message, true)?;
        let response = response.await?;
        let (head, mut body) = response.into_parts();
        ensure!(head.status == 200, "HTTP status {}", head.status);
        let mut answer = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            answer.extend_from_slice(&chunk);
        }
        // A call that fails at once has its status in the headers, for lack of trailers.
        check_status(&body.trailers().await?.unwrap_or(head.headers))?;
        Ok(answer)
    }
}

fn check_status(headers: &HeaderMap) -> Result<()> {
    let text = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    match text("grpc-status") {
        Some(OK) => Ok(()),
        status => {
            let status = String::from_utf8_lossy(status.unwrap_or(b"none"));
            let message = String::from_utf8_lossy(text("grpc-message").unwrap_or_default());
            bail!("gRPC status {status}: {message}")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    #[test]
    fn only_status_zero_is_success() {
        let mut headers = HeaderMap::new();
        assert!(check_status(&headers).is_err());
        headers.insert("grpc-status", HeaderValue::from_static("14"));
        headers.insert("grpc-message", HeaderValue::from_static("no leader"));
        let error = check_status(&headers).unwrap_err();
        assert_eq!(error.to_string(), "gRPC status 14: no leader");
        headers.insert("grpc-status", HeaderValue::from_static("0"));
        assert!(check_status(&headers).is_ok());
    }
}
