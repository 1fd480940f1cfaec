//! What is there again after processes were killed without warning.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tablestore_client::Client;
use tablestore_verify::Key;

use crate::account::Account;
use crate::harness::{Cluster, until};

const TABLE: &str = "kept";
/// Keys that one writer goes round.
const KEYS: usize = 50;
/// Acknowledgements of each writer before the nodes are killed under it.
const ACKS: usize = 120;

/// Writes until the cluster is gone.
async fn write_until_refused(
    client: Client,
    mut account: Account,
    acks: Arc<AtomicUsize>,
) -> Account {
    for number in 0.. {
        if account.write(&client, Key(number % KEYS)).await.is_err() {
            break;
        }
        acks.fetch_add(1, Ordering::Relaxed);
    }
    account
}

/// Kills all nodes at once while writers write, starts them again, and looks for every
/// acknowledged write.
async fn kill_all_and_verify(count: usize, rounds: usize) {
    let mut cluster = Cluster::started(count).await;
    cluster.create_table(TABLE, count, 8).await;
    // The writers are impatient: whoever is refused once stops.
    cluster.whole(TABLE, count).await;
    for round in 0..rounds {
        let client = cluster.impatient_client();
        let acks = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = (0..4)
            .map(|writer| Account::new(&cluster, TABLE, &format!("r{round}-w{writer}-"), KEYS))
            .map(|account| write_until_refused(client.clone(), account, Arc::clone(&acks)))
            .map(tokio::spawn)
            .collect();
        until("writes are acknowledged", async || {
            let acked = acks.load(Ordering::Relaxed);
            if acked >= ACKS {
                Ok(())
            } else {
                Err(acked.to_string())
            }
        })
        .await;
        for node in &cluster.nodes {
            node.signal_kill();
        }
        for node in &mut cluster.nodes {
            node.kill();
        }
        let mut accounts = Vec::new();
        for writer in writers {
            accounts.push(writer.await.unwrap());
        }
        for node in &mut cluster.nodes {
            node.start();
        }
        for index in 0..count {
            cluster.ready(index).await;
        }
        for account in &accounts {
            assert!(account.ledger.acknowledged_total() > 0);
            account.verify().await;
        }
        cluster.whole(TABLE, count).await;
        cluster.copies_equal(TABLE, count).await;
    }
}

#[tokio::test]
async fn a_killed_node_has_every_acknowledged_row_when_it_is_started_again() {
    kill_all_and_verify(1, 2).await;
}

#[tokio::test]
async fn three_nodes_killed_at_once_have_every_acknowledged_row() {
    kill_all_and_verify(3, 2).await;
}
