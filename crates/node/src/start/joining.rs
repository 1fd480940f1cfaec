//! Joining a cluster by the addresses of some of its nodes: those for other nodes, or those for
//! clients, which people know better. Knows nothing of what a member then does.

use std::time::Duration;

use tablestore_client::{Client, ClientSettings};
use tablestore_consensus::JoinError;
use tablestore_placement::{ClusterId, Refused, Registration};
use tokio::time::Instant;

use super::MemberError;
use crate::node::Node;

/// How often a node that cannot reach its cluster says so and tries again.
const JOIN_AGAIN_EVERY: Duration = Duration::from_secs(5);
/// How long a name may be held by a member that has just ended; its silence is noticed by then.
const NAME_IS_FREE_WITHIN: Duration = Duration::from_secs(10);
/// Pause before a name is asked for again.
const NAME_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Who is asked as a client does answers within this, or is not asked so again.
const ASK_MAX: Duration = Duration::from_secs(1);

/// Becomes a member; tries until some node of the cluster answers.
pub(super) async fn join(
    node: &Node,
    registration: &Registration,
) -> Result<ClusterId, MemberError> {
    let given = &node.settings().join;
    let mut addresses = given.clone();
    let name_is_free_by = Instant::now() + NAME_IS_FREE_WITHIN;
    loop {
        let deadline = Instant::now() + JOIN_AGAIN_EVERY;
        let joined = node
            .shared
            .consensus
            .join(&addresses, registration, deadline);
        match joined.await {
            Ok(cluster) => return Ok(cluster),
            // An earlier member of this name that is gone is noticed in a moment.
            Err(JoinError::Refused(Refused::NameTaken { .. }))
                if Instant::now() < name_is_free_by =>
            {
                tokio::time::sleep(NAME_AGAIN_AFTER).await;
            }
            Err(JoinError::Refused(refused)) => return Err(MemberError::Refused(refused)),
            Err(error) => {
                let tried = given.join(", ");
                tracing::warn!(%tried, %error, "cannot join yet; still trying");
                addresses = for_nodes(given).await;
            }
        }
    }
}

/// The addresses for nodes behind those that were given: a node that answers clients at one of them
/// says where it serves other nodes.
async fn for_nodes(given: &[String]) -> Vec<String> {
    let mut addresses = Vec::with_capacity(given.len());
    for address in given {
        let told = told_by(address).await;
        if let Some(told) = &told {
            tracing::info!(
                address,
                told,
                "the address is for clients; its node is asked to join"
            );
        }
        addresses.push(told.unwrap_or_else(|| address.clone()));
    }
    addresses
}

async fn told_by(address: &str) -> Option<String> {
    let settings = ClientSettings::default().deadline(ASK_MAX);
    let client = Client::with_settings(&[address], settings).ok()?;
    let cluster = client.cluster().await.ok()?;
    let members = || cluster.nodes.iter().filter(|node| node.state == "up");
    // Behind a name or a proxy it is none of those that the cluster lists.
    let asked = members().find(|node| node.address == address);
    let node = asked.or_else(|| members().next())?;
    Some(node.peer_address.clone())
}
