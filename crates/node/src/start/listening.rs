//! Where a node listens, and the serving of HTTP there. Knows nothing of what else a start takes.

use std::net::TcpListener;

use tablestore_consensus::bind;
use tokio::sync::{oneshot, watch};

use super::{StartError, descriptors};
use crate::http::settings::CONNECTIONS_MAX;
use crate::http::{HttpSettings, serve};
use crate::node::Node;
use crate::settings::NodeSettings;

/// The listeners for clients and for other nodes.
pub(super) fn listeners(settings: &NodeSettings) -> Result<(TcpListener, TcpListener), StartError> {
    let (address, peer_address) = (settings.listen, settings.peer_listen);
    let http = TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|source| StartError::Listen { address, source })?;
    let peer = bind(peer_address).map_err(|source| StartError::PeerListen {
        address: peer_address,
        source,
    })?;
    Ok((http, peer))
}

/// The HTTP surface, to be ended.
pub(super) struct Http {
    pub(super) stop: watch::Sender<bool>,
    /// Comes when it has ended; it bounds its own time.
    pub(super) ended: oneshot::Receiver<()>,
}

pub(super) async fn serve_http(
    listener: TcpListener,
    node: Node,
    stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let settings = HttpSettings {
        connections_max: descriptors::for_clients(CONNECTIONS_MAX),
        allowed_hosts: node.settings().allowed_hosts.clone(),
        memory_bytes_max: node.settings().client_memory_bytes,
        requests_per_idle_day: node.settings().of_partitions().requests_per_idle_day(),
        ..HttpSettings::default()
    };
    serve(listener, node, settings, stop).await
}
