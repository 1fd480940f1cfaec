//! Founding, joining, proposing, reading, restarting.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tablestore_placement::{
    Change, ClusterMap, Command, Decision, DecisionKind, Incarnation, MemberState, Refused,
    StorageId,
};
use tempfile::TempDir;
use tokio::time::Instant;

use super::harness::{
    CLUSTER, Node, all_have, cluster, create_table, eventually, leader_of, until,
};
use crate::{FoundError, ProposeError};

#[tokio::test]
async fn a_founded_node_serves_alone_and_after_a_restart() {
    let parent = TempDir::new().unwrap();
    let node = Node::start(parent.path(), 1);
    assert!(!node.consensus.map().is_founded());
    node.consensus
        .found(CLUSTER, node.registration(), 1)
        .await
        .unwrap();
    let applied = node
        .consensus
        .propose(create_table("t1t", &node))
        .await
        .unwrap();
    assert_eq!(applied.map_version, node.consensus.map().version);
    let again = node.consensus.found(CLUSTER, node.registration(), 1).await;
    assert!(matches!(again, Err(FoundError::AlreadyMember)));
    let before = node.consensus.map();

    let node = node.kill().start();
    assert_eq!(
        node.consensus.map(),
        before,
        "the map is there as soon as the node is open"
    );
    let confirmed = eventually("leads again", node.consensus.read_index()).await;
    assert_eq!(confirmed.unwrap(), before);
    node.kill();
}

#[tokio::test]
async fn a_refused_command_says_why_and_changes_nothing() {
    let parent = TempDir::new().unwrap();
    let node = Node::start(parent.path(), 1);
    node.consensus
        .found(CLUSTER, node.registration(), 1)
        .await
        .unwrap();
    let before = node.consensus.map();
    let drop_it = Command::DropTable {
        name: "none".to_owned(),
        at_ms: 1,
    };
    let refused = node.consensus.propose(drop_it).await;
    let expected = Refused::UnknownTable {
        name: "none".to_owned(),
    };
    assert_eq!(refused, Err(ProposeError::Refused(expected)));
    assert_eq!(node.consensus.map(), before);
    node.kill();
}

#[tokio::test]
async fn three_nodes_join_vote_and_propose_from_anywhere() {
    let parent = TempDir::new().unwrap();
    let nodes = cluster(&parent, 3).await;
    for (number, node) in nodes.iter().enumerate() {
        let table = format!("table-{number}");
        node.consensus
            .propose(create_table(&table, &nodes[0]))
            .await
            .unwrap();
        let map = eventually("read", node.consensus.read_index())
            .await
            .unwrap();
        assert!(
            map.table_named(&table).is_some(),
            "a read sees what was acknowledged before"
        );
    }
    all_have(&nodes, "table-2").await;
    nodes.into_iter().for_each(|node| drop(node.kill()));
}

#[tokio::test]
async fn readers_that_come_together_share_rounds() {
    let parent = TempDir::new().unwrap();
    let nodes = cluster(&parent, 3).await;
    let reads = (0..1000).map(|number| nodes[number % 3].consensus.read_index());
    let reads = eventually("reads", futures_util::future::join_all(reads)).await;
    assert!(reads.iter().all(Result::is_ok));
    nodes.into_iter().for_each(|node| drop(node.kill()));
}

#[tokio::test]
async fn all_nodes_restart_with_everything() {
    let parent = TempDir::new().unwrap();
    let nodes = cluster(&parent, 3).await;
    nodes[1]
        .consensus
        .propose(create_table("kept", &nodes[0]))
        .await
        .unwrap();
    all_have(&nodes, "kept").await;
    let map = nodes[0].consensus.map();
    let stopped: Vec<_> = nodes.into_iter().map(Node::kill).collect();
    let nodes: Vec<_> = stopped.into_iter().map(|node| node.start()).collect();
    leader_of(&nodes).await;
    nodes[0].register().await;
    nodes[2]
        .consensus
        .propose(create_table("new", &nodes[0]))
        .await
        .unwrap();
    all_have(&nodes, "new").await;
    assert!(nodes[0].consensus.map().version > map.version);
    assert!(nodes[0].consensus.map().table_named("kept").is_some());
    nodes.into_iter().for_each(|node| drop(node.kill()));
}

#[tokio::test]
async fn l18_a_node_alone_has_its_map_and_refuses_only_changes() {
    let parent = TempDir::new().unwrap();
    let nodes = cluster(&parent, 3).await;
    nodes[0]
        .consensus
        .propose(create_table("kept", &nodes[0]))
        .await
        .unwrap();
    all_have(&nodes, "kept").await;
    let expected = nodes[1].consensus.map();
    let mut stopped: Vec<_> = nodes.into_iter().map(Node::kill).collect();
    let alone = stopped.remove(1).start();
    assert_eq!(alone.consensus.map(), expected);
    let soon = Instant::now() + Duration::from_millis(200);
    let refused = alone
        .consensus
        .propose_until(create_table("new", &alone), soon)
        .await;
    assert_eq!(refused, Err(ProposeError::NoController));
    assert!(alone.consensus.read_index().await.is_err());
    alone.kill();
}

#[tokio::test]
async fn two_nodes_both_vote() {
    let parent = TempDir::new().unwrap();
    let nodes = cluster(&parent, 2).await;
    nodes[1]
        .consensus
        .propose(create_table("both", &nodes[0]))
        .await
        .unwrap();
    all_have(&nodes, "both").await;
    nodes.into_iter().for_each(|node| drop(node.kill()));
}

#[tokio::test]
async fn the_sixth_node_learns_and_replaces_a_voter_that_leaves() {
    let parent = TempDir::new().unwrap();
    let nodes = cluster(&parent, 6).await;
    let leader = leader_of(&nodes).await;
    assert_eq!(nodes[leader].consensus.voters().len(), 5);
    nodes[5]
        .consensus
        .propose(create_table("learner", &nodes[0]))
        .await
        .unwrap();
    all_have(&nodes, "learner").await;

    let leaves = nodes
        .iter()
        .position(|n| n.storage != nodes[leader].storage && n.storage.0 != 1);
    let leaves = leaves.unwrap();
    let (storage, incarnation) = (nodes[leaves].storage, nodes[leaves].incarnation);
    let left = change(storage, incarnation, MemberState::Left);
    nodes[0].consensus.propose(left).await.unwrap();
    let expected: Vec<StorageId> = nodes
        .iter()
        .map(|node| node.storage)
        .filter(|id| *id != storage)
        .collect();
    until("the learner votes in its place", || {
        let mut voters = nodes[leader].consensus.voters();
        voters.sort();
        voters == expected
    })
    .await;
    nodes.into_iter().for_each(|node| drop(node.kill()));
}

fn change(storage: StorageId, incarnation: Incarnation, state: MemberState) -> Command {
    Command::Change(Change {
        decision: Decision::new(DecisionKind::Left, 1),
        made_under: None,
        members: vec![(storage, incarnation, state)],
        assignments: Vec::new(),
    })
}

#[tokio::test]
async fn l33_only_the_controller_of_the_term_decides_and_by_the_map_as_it_is() {
    let parent = TempDir::new().unwrap();
    let nodes = cluster(&parent, 3).await;
    let leader = leader_of(&nodes).await;
    let term = nodes[leader].consensus.watch_leadership().borrow().term;
    let victim = nodes
        .iter()
        .position(|n| n.storage != nodes[leader].storage);
    let victim = victim.unwrap();
    let (storage, incarnation) = (nodes[victim].storage, nodes[victim].incarnation);
    let verdict = move |_: &ClusterMap| match change(storage, incarnation, MemberState::Suspect) {
        Command::Change(change) => Some(change),
        _ => None,
    };
    for (at, in_term) in [(victim, term), (leader, term - 1), (leader, term + 1)] {
        let decided = nodes[at].consensus.decide(in_term, verdict).await;
        assert!(decided.is_err(), "{at} in term {in_term}: {decided:?}");
    }
    let state = |node: &Node| node.consensus.map().members[&storage].state;
    assert_eq!(
        state(&nodes[leader]),
        MemberState::Up,
        "nothing was forwarded"
    );

    // Other changes under way neither spoil the decision nor are kept from their turn.
    let changes = (0..40).map(|number| {
        let table = format!("beside-{number}");
        nodes[number % 3]
            .consensus
            .propose(create_table(&table, &nodes[0]))
    });
    let changes = futures_util::future::join_all(changes);
    let decided = nodes[leader].consensus.decide(term, verdict);
    let both = Box::pin(async { tokio::join!(changes, decided) });
    let (changes, decided) = eventually("both", both).await;
    assert!(changes.into_iter().all(|change| change.is_ok()));
    assert!(decided.unwrap().is_some());
    assert_eq!(state(&nodes[leader]), MemberState::Suspect);
    nodes.into_iter().for_each(|node| drop(node.kill()));
}

#[tokio::test]
async fn a_late_node_gets_the_map_by_a_snapshot() {
    let parent = TempDir::new().unwrap();
    let nodes = cluster(&parent, 1).await;
    for number in 0..20 {
        let table = format!("table-{number}");
        nodes[0]
            .consensus
            .propose(create_table(&table, &nodes[0]))
            .await
            .unwrap();
    }
    let core = &nodes[0].consensus.inner.core;
    let raft = core.raft.clone();
    let last = core.log.last().map_or(0, |last| last.index);
    raft.trigger().snapshot().await.unwrap();
    let mut snapshots = raft.watch_snapshot_progress();
    eventually(
        "a snapshot",
        snapshots.wait_until(move |id| id.is_some_and(|id| id.index >= last)),
    )
    .await
    .unwrap();
    raft.trigger().purge_log(last).await.unwrap();

    let late = Node::start(parent.path(), 2);
    let seed = [nodes[0].address.to_string()];
    let deadline = Instant::now() + super::harness::PATIENCE;
    late.consensus
        .join(&seed, &late.registration(), deadline)
        .await
        .unwrap();
    until("the tables are there", || {
        late.consensus.map().tables.len() == 20
    })
    .await;
    let late = late.kill().start();
    assert_eq!(
        late.consensus.map().tables.len(),
        20,
        "the snapshot is kept"
    );
    late.kill();
    nodes.into_iter().for_each(|node| drop(node.kill()));
}

#[tokio::test]
async fn l18_the_log_stays_short_under_many_changes_and_the_map_survives() {
    let parent = TempDir::new().unwrap();
    let node = cluster(&parent, 1).await.remove(0);
    node.consensus
        .propose(create_table("kept", &node))
        .await
        .unwrap();
    let drop_it = || Command::DropTable {
        name: "none".to_owned(),
        at_ms: 1,
    };
    for _ in 0..10 {
        let changes = (0..250).map(|_| node.consensus.propose(drop_it()));
        let answers = eventually("answers", futures_util::future::join_all(changes)).await;
        assert!(
            answers
                .iter()
                .all(|answer| matches!(answer, Err(ProposeError::Refused(_))))
        );
    }
    let raft = &node.consensus.inner.core.raft;
    until("the log is purged", || {
        raft.metrics()
            .borrow_watched()
            .purged
            .is_some_and(|id| id.index >= 1000)
    })
    .await;
    let node = node.kill().start();
    assert!(node.consensus.map().table_named("kept").is_some());
    node.consensus.propose(drop_it()).await.unwrap_err();
    node.kill();
}
