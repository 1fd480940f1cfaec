//! The leader dies, hands over, or is only said to be dead.

use std::sync::atomic::Ordering;

use openraft::raft::VoteRequest;
use tempfile::TempDir;

use super::harness::{all_have, cluster, create_table, eventually, leader_of, until};
use crate::message::{PeerIdentity, PeerReply, PeerRequest, PeerService as _};
use crate::types::Vote;

#[tokio::test]
async fn survivors_choose_a_leader_when_the_leader_is_killed() {
    let parent = TempDir::new().unwrap();
    let mut nodes = cluster(&parent, 3).await;
    let leader = leader_of(&nodes).await;
    nodes[leader]
        .commit(create_table("before", &nodes[leader]))
        .await;
    all_have(&nodes, "before").await;
    let term = nodes[leader].consensus.watch_leadership().borrow().term;

    let killed = nodes.remove(leader).kill();
    nodes[0].commit(create_table("after", &nodes[0])).await;
    let now = *nodes[0].consensus.watch_leadership().borrow();
    assert!(now.term > term);
    assert_ne!(now.leader, Some(killed.storage));
    all_have(&nodes, "after").await;

    nodes.push(killed.start());
    all_have(&nodes, "after").await;
    nodes.into_iter().for_each(|node| drop(node.kill()));
}

#[tokio::test]
async fn leaders_die_one_after_the_other_and_come_back() {
    let parent = TempDir::new().unwrap();
    let mut nodes = cluster(&parent, 3).await;
    for round in 0..4 {
        let leader = leader_of(&nodes).await;
        let killed = nodes.remove(leader).kill();
        let table = format!("round-{round}");
        nodes[0].register().await;
        nodes[1].commit(create_table(&table, &nodes[0])).await;
        nodes.push(killed.start());
        all_have(&nodes, &table).await;
    }
    nodes.into_iter().for_each(|node| drop(node.kill()));
}

#[tokio::test]
async fn a_leader_hands_over_to_another_voter() {
    let parent = TempDir::new().unwrap();
    let nodes = cluster(&parent, 3).await;
    let leader = leader_of(&nodes).await;
    assert!(nodes[leader].consensus.hand_over().await);
    let next = leader_of(&nodes).await;
    assert_ne!(next, leader);
    nodes[leader].commit(create_table("after", &nodes[0])).await;
    all_have(&nodes, "after").await;
    nodes.into_iter().for_each(|node| drop(node.kill()));
}

#[tokio::test]
async fn a_wrong_hint_about_a_living_leader_changes_nothing() {
    let parent = TempDir::new().unwrap();
    let nodes = cluster(&parent, 3).await;
    let leader = leader_of(&nodes).await;
    let term = nodes[leader].consensus.watch_leadership().borrow().term;
    for node in &nodes {
        node.consensus
            .crash_hint(nodes[leader].storage, nodes[leader].incarnation);
    }
    nodes[leader].commit(create_table("calm", &nodes[0])).await;
    all_have(&nodes, "calm").await;
    assert_eq!(leader_of(&nodes).await, leader);
    assert_eq!(
        nodes[leader].consensus.watch_leadership().borrow().term,
        term
    );
    nodes.into_iter().for_each(|node| drop(node.kill()));
}

#[tokio::test]
async fn a_mark_on_the_wire_does_not_get_a_vote_while_the_leader_lives() {
    let parent = TempDir::new().unwrap();
    let nodes = cluster(&parent, 3).await;
    let leader = leader_of(&nodes).await;
    let voter = (leader + 1) % 3;
    let candidate = &nodes[(leader + 2) % 3];
    let core = &nodes[voter].consensus.inner.core;
    let term = nodes[voter].consensus.watch_leadership().borrow().term;
    let request = VoteRequest {
        vote: Vote::new(term + 1, candidate.storage.0),
        last_log_id: core.log.last(),
        leadership_transfer: true,
    };
    let from = PeerIdentity {
        storage: candidate.storage,
        incarnation: candidate.incarnation,
    };
    let request = PeerRequest::Vote(request);
    let asking = nodes[voter].consensus.clone();
    let reply = eventually("a reply", asking.inner.handle(from, request)).await;
    let PeerReply::Vote(Ok(response)) = reply else {
        panic!("{reply:?}")
    };
    assert!(!response.vote_granted);
    assert_eq!(
        nodes[voter].consensus.watch_leadership().borrow().term,
        term
    );
    nodes.into_iter().for_each(|node| drop(node.kill()));
}

#[tokio::test]
async fn l29_a_vote_that_may_have_been_forgotten_is_not_given_before_others_confirm_the_start() {
    let parent = TempDir::new().unwrap();
    let mut nodes = cluster(&parent, 3).await;
    let leader = leader_of(&nodes).await;
    nodes.remove(leader).kill();
    // Both survivors may run on older disks: neither gives its vote, so nobody leads.
    for node in &nodes {
        let core = &node.consensus.inner.core;
        core.votes_held.store(true, Ordering::Release);
    }
    let (asked, candidate) = (&nodes[0], &nodes[1]);
    let term = asked.consensus.watch_leadership().borrow().term + 10;
    let last = candidate.consensus.inner.core.log.last();
    let request = VoteRequest::new(Vote::new(term, candidate.storage.0), last);
    let from = PeerIdentity {
        storage: candidate.storage,
        incarnation: candidate.incarnation,
    };
    let asking = asked.consensus.clone();
    let request = PeerRequest::Vote(request);
    let reply = eventually("a reply", asking.inner.handle(from, request)).await;
    assert!(matches!(reply, PeerReply::Vote(Err(_))), "{reply:?}");
    for node in &nodes {
        assert!(node.consensus.holds_votes());
        node.consensus.release_votes();
    }
    leader_of(&nodes).await;
    nodes.into_iter().for_each(|node| drop(node.kill()));
}

#[tokio::test]
async fn a_restarted_leader_leads_no_more_until_it_is_chosen() {
    let parent = TempDir::new().unwrap();
    let mut nodes = cluster(&parent, 3).await;
    let leader = leader_of(&nodes).await;
    let term = nodes[leader].consensus.watch_leadership().borrow().term;
    let back = nodes.remove(leader).kill().start();
    nodes.push(back);
    leader_of(&nodes).await;
    nodes[0].register().await;
    until("a new term", || {
        nodes[0].consensus.watch_leadership().borrow().term > term
    })
    .await;
    nodes[0].commit(create_table("after", &nodes[0])).await;
    all_have(&nodes, "after").await;
    nodes.into_iter().for_each(|node| drop(node.kill()));
}
