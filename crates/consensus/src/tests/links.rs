//! What connections tell.

use std::net::SocketAddr;
use std::time::Duration;

use tablestore_placement::{ClusterId, Incarnation, StorageId};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::harness::{CLUSTER, Node, cluster, eventually, identity};
use crate::greeting::{self, GreetError, Hello, Purpose, Unfit, WIRE_FORMAT, WIRE_FORMAT_OLDEST};
use crate::{CallError, LinkEvent, PeerReply, PeerRequest, ProbeReply};

fn hello(storage: u64, cluster: Option<ClusterId>, purpose: Purpose) -> Hello {
    let address = ([127, 0, 0, 1], 1).into();
    Hello {
        format: WIRE_FORMAT,
        cluster,
        identity: identity(StorageId(storage), Incarnation(1), address),
        purpose,
    }
}

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_killed_node_is_noticed_and_a_restarted_one_too() {
    let parent = TempDir::new().unwrap();
    let mut nodes = cluster(&parent, 2).await;
    let mut events = nodes[0].peers.events();
    let storage = nodes[1].storage;
    let incarnation = nodes[1].incarnation;
    let killed = nodes.remove(1).kill();
    let refused = LinkEvent::RefusedTwice {
        storage,
        incarnation,
    };
    let hint = async { while events.recv().await.unwrap() != refused {} };
    eventually("the crash hint", hint).await;
    let peers = nodes[0].peers.clone();
    assert_eq!(peers.probe(storage).await, ProbeReply::Refused);

    let back = killed.start();
    let incarnation = back.incarnation;
    let new = LinkEvent::NewIncarnation {
        storage,
        incarnation,
        same_boot: true,
    };
    eventually("the new start", async {
        while events.recv().await.unwrap() != new {}
    })
    .await;
    assert_eq!(
        peers.probe(storage).await,
        ProbeReply::Alive { incarnation }
    );
    back.kill();
    nodes.remove(0).kill();
}

/// Passes connections on to an address until it is told to hold those that stand: nothing more
/// comes through them then, and they stay open, as after a cut.
async fn valve(to: SocketAddr) -> (SocketAddr, watch::Sender<u32>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (hold, held) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            let mut held = held.clone();
            held.mark_unchanged();
            tokio::spawn(async move {
                let mut there = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut here, &mut there) => {}
                    _ = held.changed() => std::future::pending().await,
                }
            });
        }
    });
    (address, hold)
}

#[tokio::test]
async fn a_connection_that_waits_for_tcp_is_left_for_a_fresh_one() {
    let parent = TempDir::new().unwrap();
    let (one, two) = (Node::start(parent.path(), 1), Node::start(parent.path(), 2));
    let (address, hold) = valve(two.address).await;
    let mut events = one.peers.events();
    let up = LinkEvent::Up {
        storage: two.storage,
        incarnation: two.incarnation,
    };
    one.peers
        .keep_link(two.storage, &address.to_string(), false);
    eventually("a connection", async {
        while events.recv().await.unwrap() != up {}
    })
    .await;
    let ping = || PeerRequest::Ping { last_log: None };
    hold.send_replace(1);
    let asked = one.peers.call(two.storage, ping(), LIMIT);
    let fresh = async {
        loop {
            let event = events.recv().await.unwrap();
            assert!(
                !matches!(event, LinkEvent::Lost { .. }),
                "the node is there"
            );
            if event == up {
                return;
            }
        }
    };
    let (answer, ()) = eventually("a fresh one", async { tokio::join!(asked, fresh) }).await;
    assert_eq!(answer.unwrap_err(), CallError::Lost);
    let answer = one.peers.call(two.storage, ping(), LIMIT).await;
    assert!(matches!(answer, Ok(PeerReply::Pong { .. })), "{answer:?}");
    one.kill();
    two.kill();
}

#[tokio::test]
async fn nodes_of_different_clusters_do_not_talk() {
    let parent = TempDir::new().unwrap();
    let node = cluster(&parent, 1).await.remove(0);
    let address = node.address.to_string();
    let other = hello(9, Some(ClusterId(0xBAD)), Purpose::Control);
    let refused = greeting::dial(&address, &other, LIMIT).await;
    let Err(GreetError::Rejected { reason, cluster }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(cluster, Some(CLUSTER));
    assert!(
        reason.contains("00000000000000c1") && reason.contains("0000000000000bad"),
        "{reason}"
    );
    node.kill();
}

#[tokio::test]
async fn a_node_without_a_cluster_is_told_of_one() {
    let parent = TempDir::new().unwrap();
    let node = cluster(&parent, 1).await.remove(0);
    let wiped = Node::start(parent.path(), 7);
    let mut events = wiped.peers.events();
    wiped.peers.update_members(&{
        let mut map = tablestore_placement::ClusterMap::empty();
        map.members.clone_from(&node.consensus.map().members);
        map
    });
    let told = LinkEvent::ToldCluster {
        cluster: CLUSTER,
        by: "n1".to_owned(),
    };
    eventually("the cluster", async {
        while events.recv().await.unwrap() != told {}
    })
    .await;
    wiped.kill();
    node.kill();
}

#[tokio::test]
async fn neighbouring_wire_formats_work_together_and_others_do_not() {
    let parent = TempDir::new().unwrap();
    let node = cluster(&parent, 1).await.remove(0);
    let address = node.address.to_string();
    let mut next = hello(9, Some(CLUSTER), Purpose::Probe);
    next.format = WIRE_FORMAT + 1;
    assert!(greeting::dial(&address, &next, LIMIT).await.is_ok());
    next.format = WIRE_FORMAT + 2;
    let refused = greeting::dial(&address, &next, LIMIT).await;
    assert!(
        matches!(refused, Err(GreetError::Rejected { .. })),
        "{refused:?}"
    );
    assert_eq!(
        next.check(None),
        Err(Unfit::Format {
            theirs: WIRE_FORMAT + 2
        })
    );
    next.format = WIRE_FORMAT_OLDEST - 1;
    assert_eq!(
        next.check(None),
        Err(Unfit::Format {
            theirs: WIRE_FORMAT_OLDEST - 1
        })
    );
    node.kill();
}

#[tokio::test]
async fn our_own_hello_counts_as_refused() {
    let parent = TempDir::new().unwrap();
    let node = cluster(&parent, 1).await.remove(0);
    let address = node.address.to_string();
    let own = hello(node.storage.0, Some(CLUSTER), Purpose::Probe);
    let refused = greeting::dial(&address, &own, LIMIT).await;
    assert!(matches!(refused, Err(GreetError::Refused)), "{refused:?}");
    node.kill();
}

#[tokio::test]
async fn data_sockets_are_handed_over_with_nothing_read() {
    let parent = TempDir::new().unwrap();
    let mut node = cluster(&parent, 1).await.remove(0);
    let address = node.address.to_string();
    let data = hello(9, Some(CLUSTER), Purpose::Data);
    let (mut stream, theirs) = greeting::dial(&address, &data, LIMIT).await.unwrap();
    assert_eq!(theirs.identity.storage, node.storage);
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"first bytes")
        .await
        .unwrap();
    let socket = eventually("the socket", node.data.recv()).await.unwrap();
    assert_eq!(socket.hello, data);
    let mut accepted = TcpStream::from_std(socket.stream).unwrap();
    let mut bytes = [0; 11];
    eventually("the bytes", accepted.read_exact(&mut bytes))
        .await
        .unwrap();
    assert_eq!(&bytes, b"first bytes");
    node.kill();
}
