//! Connections to either system, each with one request under way.
//!
//! Knows nothing about when and how often they are used.

mod grpc;
mod http;
mod protobuf;

use std::net::SocketAddr;

use anyhow::Result;

pub(crate) use self::grpc::Channel;
use self::http::HttpConnection;

/// What a connection is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// One row, acknowledged when it is durable.
    Write,
    /// One row, linearizable.
    Read,
}

impl Operation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "strong read",
        }
    }
}

/// Which protocol a system speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1 with JSON: ours.
    Http,
    /// gRPC over HTTP/2: etcd.
    Grpc,
}

/// A connection that is kept.
#[derive(Debug)]
pub(crate) enum Connection {
    Http(HttpConnection),
    Grpc(Channel),
}

impl Connection {
    pub(crate) async fn open(protocol: Protocol, address: SocketAddr) -> Result<Self> {
        Ok(match protocol {
            Protocol::Http => Self::Http(HttpConnection::open(address).await?),
            Protocol::Grpc => Self::Grpc(Channel::open(address).await?),
        })
    }

    /// Another one over the same socket, if the protocol can do that.
    pub(crate) fn shared(&self) -> Option<Self> {
        match self {
            Self::Http(_) => None,
            Self::Grpc(channel) => Some(Self::Grpc(channel.clone())),
        }
    }

    /// Success means acknowledged, or that the row was there.
    pub(crate) async fn perform(
        &mut self,
        operation: Operation,
        key: &str,
        value: &str,
    ) -> Result<()> {
        match (self, operation) {
            (Self::Http(connection), Operation::Write) => connection.put(key, value).await,
            (Self::Http(connection), Operation::Read) => connection.get(key, value.len()).await,
            (Self::Grpc(channel), Operation::Write) => channel.put(key, value).await,
            (Self::Grpc(channel), Operation::Read) => channel.range(key, value.len()).await,
        }
    }
}
