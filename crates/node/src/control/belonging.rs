//! Whether the nodes that this one is told to join are of the cluster that it belongs to already.
//!
//! Asked before anything is started or written, so that a node that was pointed at the wrong
//! cluster leaves its directory as it is. Knows nothing of how a node joins.

use std::time::Duration;

use futures_util::future::join_all;
use tablestore_placement::ClusterId;

use super::greeting::{GreetError, Hello, Identity, Purpose, Unfit, WIRE_FORMAT, dial};

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

/// Asks the nodes at these addresses for their cluster. Who does not answer says nothing.
///
/// # Errors
/// If one belongs to another cluster than `ours`.
pub async fn check_cluster(
    addresses: &[String],
    ours: ClusterId,
    identity: &Identity,
) -> Result<(), OtherCluster> {
    let hello = Hello {
        format: WIRE_FORMAT,
        cluster: Some(ours),
        identity: identity.clone(),
        purpose: Purpose::Probe,
    };
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
