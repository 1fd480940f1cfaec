//! Strong reads: confirmed after they arrived, by all in-sync members or by the map.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod harness;

use harness::{Net, member, ms};
use tablestore_placement::{AssignmentVersion, Epoch};
use tablestore_replication::{Input, Message, Output, ReadRefused};

fn map_rounds(net: &mut Net, at: usize) -> Vec<u64> {
    let outputs = net.take(at).into_iter();
    outputs
        .filter_map(|output| match output {
            Output::ConfirmByMap { round } => Some(round),
            _ => None,
        })
        .collect()
}

#[test]
fn l08_a_strong_read_waits_until_every_other_member_confirmed_the_epoch() {
    let mut net = Net::serving(3);
    let ticket = net.read(0);
    assert_eq!(net.wire.len(), 2, "one message per member");
    net.deliver_one();
    net.deliver_one();
    net.deliver_one();
    assert_eq!(net.answered(0, ticket), None, "one of two members answered");
    net.settle();
    assert_eq!(net.answered(0, ticket), Some(Ok(Epoch(1))));
}

#[test]
fn a_read_needs_a_round_that_began_after_it_arrived() {
    let mut net = Net::serving(3);
    let first = net.read(0);
    let (second, third) = (net.read(0), net.read(0));
    assert_eq!(net.wire.len(), 2, "the later reads began no round");
    for _ in 0..4 {
        net.deliver_one();
    }
    assert!(net.answered(0, first).is_some());
    assert_eq!(net.answered(0, second), None);
    assert_eq!(net.wire.len(), 2, "one round for all that waited");
    net.settle();
    assert!(net.answered(0, second).is_some() && net.answered(0, third).is_some());
}

#[test]
fn a_read_shows_what_was_committed_when_it_arrived() {
    let mut net = Net::serving(3);
    net.write(0, 1);
    net.settle();
    let ticket = net.read(0);
    net.settle();
    assert_eq!(net.answered(0, ticket), Some(Ok(Epoch(1))));
    assert_eq!(net.status(0).applied, 2);
}

#[test]
fn a_primary_alone_in_its_set_answers_at_once() {
    let mut net = Net::serving(3);
    net.reassign(0, &[0], &[1, 2]);
    net.wire.clear();
    let ticket = net.read(0);
    assert_eq!(
        net.answered(0, ticket),
        Some(Ok(Epoch(1))),
        "reads go on below the minimum"
    );
}

#[test]
fn the_map_stands_in_for_a_member_that_is_late() {
    let mut net = Net::serving(3);
    net.cut.insert((2, 0));
    let ticket = net.read(0);
    net.settle();
    assert_eq!(map_rounds(&mut net, 0), []);
    net.pass(ms(101));
    let rounds = map_rounds(&mut net, 0);
    assert_eq!(rounds.len(), 1);
    assert_eq!(net.answered(0, ticket), None);
    let confirmed = Input::MapConfirmed {
        round: rounds[0],
        epoch: Epoch(1),
        version: AssignmentVersion(1),
    };
    net.input(0, confirmed);
    assert_eq!(net.answered(0, ticket), Some(Ok(Epoch(1))));
}

#[test]
fn the_map_is_asked_at_once_for_a_member_that_cannot_answer() {
    let mut net = Net::serving(3);
    net.input(0, Input::PeerDown(member(2)));
    net.read(0);
    assert_eq!(map_rounds(&mut net, 0).len(), 1);
    let mut net = Net::serving(3);
    net.reassign(0, &[0, 1, 2], &[2]);
    net.read(0);
    assert_eq!(map_rounds(&mut net, 0).len(), 1);
}

#[test]
fn without_members_and_map_a_read_is_refused() {
    let mut net = Net::serving(3);
    net.input(0, Input::PeerDown(member(2)));
    net.cut.insert((0, 2));
    let ticket = net.read(0);
    let round = map_rounds(&mut net, 0)[0];
    net.input(0, Input::MapUnavailable { round });
    assert_eq!(net.answered(0, ticket), Some(Err(ReadRefused::Unconfirmed)));
    let silent = net.read(0);
    net.pass(ms(2100));
    assert_eq!(
        net.answered(0, silent),
        Some(Err(ReadRefused::Unconfirmed)),
        "nor for ever"
    );
}

#[test]
fn a_map_with_a_newer_epoch_refuses_the_read() {
    let mut net = Net::serving(3);
    net.input(0, Input::PeerDown(member(2)));
    net.cut.insert((0, 1));
    let ticket = net.read(0);
    let round = map_rounds(&mut net, 0)[0];
    let confirmed = Input::MapConfirmed {
        round,
        epoch: Epoch(2),
        version: AssignmentVersion(9),
    };
    net.input(0, confirmed);
    let refused = net.answered(0, ticket).unwrap().unwrap_err();
    assert!(matches!(
        refused,
        ReadRefused::NotPrimary {
            epoch: Epoch(2),
            ..
        }
    ));
}

#[test]
fn an_answer_of_the_map_to_an_earlier_round_does_not_count() {
    let mut net = Net::serving(3);
    net.input(0, Input::PeerDown(member(2)));
    net.cut.extend([(0, 1), (0, 2)]);
    net.read(0);
    let round = map_rounds(&mut net, 0)[0];
    net.input(0, Input::MapUnavailable { round });
    let second = net.read(0);
    let confirmed = Input::MapConfirmed {
        round,
        epoch: Epoch(1),
        version: AssignmentVersion(1),
    };
    net.input(0, confirmed);
    assert_eq!(net.answered(0, second), None);
}

#[test]
fn l07_a_deposed_primary_that_does_not_know_answers_no_read() {
    let mut net = Net::serving(3);
    // Member 1 is elected and serves; the old primary hears nothing of it.
    net.cut.extend([(0, 1), (0, 2), (1, 0), (2, 0)]);
    net.elect(1, &[1, 2]);
    net.settle();
    net.write(1, 1);
    net.settle();
    net.cut.clear();
    let ticket = net.read(0);
    net.settle();
    let refused = net.answered(0, ticket).unwrap().unwrap_err();
    assert!(matches!(
        refused,
        ReadRefused::NotPrimary {
            epoch: Epoch(2),
            ..
        }
    ));
}

#[test]
fn a_member_confirms_only_when_its_epoch_is_durable() {
    let mut net = Net::new(3);
    net.hosts[1].disk_held = true;
    net.deliver(
        0,
        1,
        Message::Confirm {
            epoch: Epoch(4),
            round: 1,
        },
    );
    assert_eq!(net.wire.len(), 0);
    net.sync(1);
    let confirmed = Message::Confirmed {
        epoch: Epoch(4),
        round: 1,
    };
    assert_eq!(net.wire.pop_front(), Some((1, 0, confirmed)));
}

#[test]
fn a_member_that_left_the_set_is_not_waited_for() {
    let mut net = Net::serving(3);
    net.cut.insert((0, 2));
    let ticket = net.read(0);
    net.settle();
    assert_eq!(net.answered(0, ticket), None);
    net.reassign(0, &[0, 1], &[2]);
    assert_eq!(net.answered(0, ticket), Some(Ok(Epoch(1))));
}
