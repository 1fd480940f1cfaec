//! Asking the others before a start: whether they are of the cluster that this node belongs to
//! already, and whether its directory is the one that they know.
//!
//! Asked before anything is started or written, so that a start that is refused leaves the
//! directory as it is. Knows nothing of how a node joins.

use std::time::Duration;

use futures_util::future::join_all;
use tablestore_placement::ClusterId;
use tablestore_placement::identity::SeenStart;

use super::greeting::{GreetError, Hello, Identity, Purpose, Unfit, WIRE_FORMAT, dial};
use super::message::{PeerReply, PeerRequest};
use super::session::Session;
use super::shown::ShownStart;

/// All are asked at once and a start waits for the answers; who takes longer is not asked further.
const GREETING_WITHIN: Duration = Duration::from_millis(500);

/// A node of another cluster answered. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("join: {address} belongs to cluster {theirs}, but this node to cluster {ours}")]
pub struct OtherCluster {
    /// The address that was to be joined.
    pub address: String,
    /// The cluster of its node.
    pub theirs: ClusterId,
    /// The cluster of this node.
    pub ours: ClusterId,
}

/// Greets the nodes to be joined. Who does not answer says nothing.
///
/// # Errors
/// If one belongs to another cluster than `ours`.
pub async fn check_cluster(
    addresses: &[String],
    ours: ClusterId,
    identity: &Identity,
) -> Result<(), OtherCluster> {
    let hello = hello(ours, identity, Purpose::Probe);
    let greetings = addresses
        .iter()
        .map(|address| dial(address, &hello, GREETING_WITHIN));
    for (address, greeted) in addresses.iter().zip(join_all(greetings).await) {
        let theirs = match greeted {
            Err(GreetError::Rejected { cluster, .. }) => cluster,
            Err(GreetError::Unfit(Unfit::OtherCluster { theirs, .. })) => Some(theirs),
            _ => None,
        };
        if let Some(theirs) = theirs.filter(|theirs| *theirs != ours) {
            return Err(OtherCluster {
                address: address.clone(),
                theirs,
                ours,
            });
        }
    }
    Ok(())
}

fn hello(ours: ClusterId, identity: &Identity, purpose: Purpose) -> Hello {
    Hello {
        format: WIRE_FORMAT,
        cluster: Some(ours),
        identity: identity.clone(),
        purpose,
    }
}

/// What the nodes said that could be asked.
#[derive(Debug, Default)]
pub struct Consulted {
    /// The addresses of those that answered.
    pub addresses: Vec<String>,
    /// What they said.
    pub seen: Vec<SeenStart>,
}

/// Shows what this node's directory has to the nodes at these addresses. Who does not answer, is
/// starting itself, or belongs to another cluster says nothing.
pub async fn consult(
    addresses: &[String],
    ours: ClusterId,
    identity: &Identity,
    shown: &ShownStart,
) -> Consulted {
    let hello = hello(ours, identity, Purpose::Consult);
    let asked = addresses.iter().map(|address| ask(address, &hello, shown));
    let mut consulted = Consulted::default();
    for (address, seen) in addresses.iter().zip(join_all(asked).await) {
        if let Some(seen) = seen {
            consulted.addresses.push(address.clone());
            consulted.seen.push(seen);
        }
    }
    consulted
}

async fn ask(address: &str, hello: &Hello, shown: &ShownStart) -> Option<SeenStart> {
    let (stream, _) = dial(address, hello, GREETING_WITHIN).await.ok()?;
    let (session, served) = Session::new(stream);
    let request = PeerRequest::ShowStart(shown.clone());
    let reply = tokio::select! {
        reply = session.call(&request, GREETING_WITHIN) => reply.ok()?,
        () = served => return None,
    };
    match reply {
        PeerReply::StartSeen(seen) => Some(seen),
        _ => None,
    }
}
