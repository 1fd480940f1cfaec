//! The in-sync set and snapshots: how replicas join, leave, and get what the log no longer has.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod harness;

use harness::{Net, member, ms};
use tablestore_placement::{AssignmentVersion, Epoch};
use tablestore_replication::{
    EpochStartsAt, FollowerState, Input, Message, Output, PersistRecord, Role, Settings,
    SnapshotMeta,
};

/// Two in sync, the third one a learner.
fn with_learner() -> Net {
    let mut net = Net::new(3);
    net.elect(0, &[0, 1]);
    net
}

#[test]
fn a_learner_that_has_the_whole_log_is_proposed() {
    let mut net = with_learner();
    net.settle();
    assert_eq!(net.proposals(0), [(1, vec![0, 1, 2], Some(2))]);
    assert_eq!(net.status(0).maximal, [member(0), member(1), member(2)]);
}

#[test]
fn from_the_proposal_on_commits_and_reads_need_the_joiner() {
    let mut net = with_learner();
    net.settle();
    net.cut.insert((0, 2));
    let (write, read) = (net.write(0, 1), net.read(0));
    net.settle();
    assert_eq!((net.written(0, write), net.answered(0, read)), (None, None));
    net.reassign(0, &[0, 1], &[]);
    net.settle();
    assert!(
        net.written(0, write).unwrap().is_ok(),
        "the map shows that it did not join"
    );
    assert!(net.answered(0, read).is_some());
}

#[test]
fn a_proposal_whose_reply_was_lost_is_repeated_and_pending() {
    let mut net = with_learner();
    net.settle();
    net.pass(ms(600));
    let proposals = net.proposals(0);
    assert_eq!(proposals.len(), 3);
    assert!(proposals.iter().all(|p| *p == (1, vec![0, 1, 2], Some(2))));
}

#[test]
fn a_repeated_proposal_names_the_start_that_was_brought_up_to_date() {
    let mut net = with_learner();
    net.settle();
    let brought_up = net.office(2);
    net.restart(2);
    assert_ne!(net.office(2), brought_up);
    net.input(0, Input::PeerDown(member(2)));
    net.input(0, Input::PeerUp(member(2)));
    net.settle();
    net.pass(ms(300));
    let outputs = net.take(0).into_iter();
    let joiners: Vec<_> = outputs
        .filter_map(|output| match output {
            Output::Propose { joiner, .. } => joiner,
            _ => None,
        })
        .collect();
    assert_eq!(joiners, [brought_up, brought_up]);
}

#[test]
fn a_refusal_resolves_a_proposal_only_if_no_other_attempt_is_open() {
    let mut net = with_learner();
    net.settle();
    net.pass(ms(260));
    assert_eq!(net.proposals(0).len(), 2);
    let version = AssignmentVersion(1);
    net.input(0, Input::ProposalRefused { version });
    assert_eq!(
        net.status(0).maximal.len(),
        3,
        "the first attempt may have been carried out"
    );
    net.input(0, Input::ProposalRefused { version });
    assert_eq!(net.status(0).maximal.len(), 2);
    net.pass(ms(260));
    assert_eq!(net.proposals(0).len(), 1, "and later it is tried again");
}

#[test]
fn a_joiner_that_fails_does_not_hold_up_writes_for_ever() {
    let mut net = with_learner();
    net.settle();
    net.cut.extend([(0, 2), (2, 0)]);
    net.write(0, 1);
    net.pass(ms(2000));
    let last = net.proposals(0).pop();
    assert_eq!(
        last,
        Some((1, vec![0, 1], None)),
        "the set as it is, for the same version"
    );
    assert_eq!(
        net.status(0).maximal.len(),
        3,
        "until one of them is decided"
    );
}

#[test]
fn l11_one_proposal_at_a_time() {
    let mut net = Net::new(4);
    net.elect(0, &[0, 1]);
    net.settle();
    assert_eq!(net.proposals(0), [(1, vec![0, 1, 2], Some(2))]);
    net.reassign(0, &[0, 1, 2], &[]);
    assert_eq!(net.proposals(0), [(2, vec![0, 1, 2, 3], Some(3))]);
}

#[test]
fn a_learner_that_lags_is_not_proposed() {
    let mut net = with_learner();
    net.hosts[2].disk_held = true;
    net.settle();
    net.write(0, 1);
    net.settle();
    assert_eq!(net.proposals(0), []);
    net.hosts[2].disk_held = false;
    net.sync(2);
    net.settle();
    assert_eq!(net.proposals(0).len(), 1);
}

#[test]
fn a_learner_that_the_map_holds_down_is_not_proposed() {
    let mut net = with_learner();
    net.reassign(0, &[0, 1], &[2]);
    net.settle();
    assert_eq!(net.proposals(0), []);
}

#[test]
fn a_whole_copy_may_join_before_the_inherited_log_is_committed() {
    let mut net = Net::serving(3);
    net.write(0, 1);
    net.settle();
    // Member 0 is dead for good, and with it the set cannot shrink.
    net.cut.extend([(1, 0), (2, 0)]);
    net.elect(1, &[1, 0]);
    net.settle();
    assert!(!net.status(1).serving);
    assert_eq!(net.proposals(1), [(2, vec![1, 0, 2], Some(2))]);
    net.reassign(1, &[1, 2], &[]);
    assert!(net.status(1).serving);
}

#[test]
fn nobody_joins_before_the_epoch_is_durable_at_its_primary() {
    let mut net = Net::serving(3);
    net.cut.extend([(1, 0), (2, 0)]);
    net.hosts[1].disk_held = true;
    net.elect(1, &[1, 0]);
    net.settle();
    assert_eq!(
        net.status(1).followers[1].matched,
        2,
        "the learner has the whole log"
    );
    assert_eq!(
        net.proposals(1),
        [],
        "a crash could still undo the epoch here"
    );
    net.sync(1);
    assert_eq!(net.proposals(1).len(), 1);
}

#[test]
fn a_member_that_entries_wait_for_too_long_is_removed() {
    let mut net = Net::serving(3);
    net.take(0);
    net.hosts[2].disk_held = true;
    let ticket = net.write(0, 1);
    net.pass(ms(400));
    assert_eq!(net.proposals(0), []);
    net.pass(ms(150));
    assert_eq!(net.proposals(0)[0], (1, vec![0, 1], None));
    assert_eq!(
        net.written(0, ticket),
        None,
        "until the map shows it, it counts"
    );
    net.reassign(0, &[0, 1], &[]);
    assert!(net.written(0, ticket).unwrap().is_ok());
}

#[test]
fn the_set_never_shrinks_below_its_minimum() {
    let mut net = Net::serving(2);
    net.take(0);
    net.cut.insert((0, 1));
    net.write(0, 1);
    net.pass(ms(3000));
    assert_eq!(net.proposals(0), []);
    assert_eq!(net.status(0).reachable, (2, 2));
}

#[test]
fn a_primary_that_stood_still_convicts_nobody() {
    let mut net = Net::serving(3);
    net.take(0);
    net.hosts[2].disk_held = true;
    net.write(0, 1);
    net.settle();
    net.now += ms(5000);
    net.input(0, Input::Tick);
    assert_eq!(net.proposals(0), []);
    net.sync(2);
    net.settle();
    net.pass(ms(1000));
    assert_eq!(net.proposals(0), []);
}

fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        index,
        epoch: Epoch(1),
        history: vec![EpochStartsAt {
            epoch: Epoch(1),
            index: 1,
        }],
    }
}

/// The learner missed entries that the journal no longer has.
fn with_trimmed_log() -> Net {
    let mut net = Net::new(3);
    net.cut.insert((0, 2));
    net.elect(0, &[0, 1]);
    (1..=9).for_each(|id| {
        net.write(0, id);
    });
    net.settle();
    net.input(0, Input::LogTrimmed { first: 8 });
    net.cut.clear();
    net.pass(ms(250));
    net
}

#[test]
fn a_learner_behind_the_first_index_gets_a_snapshot_that_pins_the_log() {
    let mut net = with_trimmed_log();
    let sends =
        |output: &Output| matches!(output, Output::SendSnapshot { to, .. } if *to == member(2));
    assert!(net.take(0).iter().any(sends));
    assert_eq!(net.status(0).followers[1].state, FollowerState::Snapshot);
    net.write(0, 10);
    net.settle();
    assert_eq!(
        net.hosts[0].replica.log_needed_from(),
        11,
        "behind the snapshot at 10"
    );
}

#[test]
fn a_snapshot_that_is_switched_in_restarts_the_log_behind_it() {
    let mut net = with_trimmed_log();
    let from = net.office(0);
    let offered = Input::SnapshotOffered {
        from,
        epoch: Epoch(1),
        meta: meta(10),
    };
    net.input(2, offered);
    assert!(net.take(2).contains(&Output::InstallSnapshot {
        from,
        meta: meta(10)
    }));
    let remembered = net.hosts[0].replica.remembered_after(0).collect();
    let installed = Input::SnapshotInstalled {
        meta: meta(10),
        remembered,
    };
    net.hosts[2].disk_held = true;
    net.input(2, installed);
    let record = &net.hosts[2].unsynced.back().unwrap().1;
    assert!(matches!(record, PersistRecord::Restart(meta) if meta.end == 10 && meta.commit == 10));
    net.hosts[2].disk_held = false;
    net.sync(2);
    let to = member(2);
    net.input(0, Input::SnapshotDelivered { to, index: 10 });
    net.take(0);
    net.write(0, 10);
    net.settle();
    net.pass(ms(100));
    assert_eq!(net.log(2), [(1, 11)]);
    assert_eq!((net.status(2).applied, net.status(2).remembered), (11, 10));
    assert_eq!(net.proposals(0)[0].2, Some(2), "and it joins");
}

fn drops(net: &mut Net, at: usize) -> bool {
    let outputs = net.take(at);
    let drop = |output: &Output| matches!(output, Output::DropSnapshot { .. });
    outputs.iter().any(drop)
}

#[test]
fn a_member_of_the_in_sync_set_never_installs_a_snapshot() {
    let mut net = Net::serving(3);
    let view = net.view(0, &[0, 1, 2], &[]);
    net.input(1, Input::Assignment(view));
    let from = net.office(0);
    let offered = Input::SnapshotOffered {
        from,
        epoch: Epoch(1),
        meta: meta(10),
    };
    net.input(1, offered);
    assert!(drops(&mut net, 1));
}

#[test]
fn a_snapshot_is_dropped_for_a_newer_epoch_or_a_greater_index() {
    let mut net = with_trimmed_log();
    let from = net.office(0);
    let offer = |epoch, index| Input::SnapshotOffered {
        from,
        epoch: Epoch(epoch),
        meta: meta(index),
    };
    net.input(2, offer(1, 0));
    assert!(drops(&mut net, 2), "nothing new is in it");
    net.deliver(
        1,
        2,
        Message::Confirm {
            epoch: Epoch(2),
            round: 1,
        },
    );
    net.input(2, offer(1, 10));
    assert!(drops(&mut net, 2), "a newer epoch was seen");
}

#[test]
fn an_in_sync_member_is_never_sent_a_snapshot() {
    let mut net = Net::serving(3);
    (1..=9).for_each(|id| {
        net.write(0, id);
    });
    net.settle();
    // As if its disk had been set back.
    net.hosts[2].entries.truncate(2);
    net.hosts[2].meta.end = 2;
    net.restart(2);
    net.input(0, Input::LogTrimmed { first: 8 });
    net.input(0, Input::PeerUp(member(2)));
    net.settle();
    let outputs = net.take(0);
    assert!(
        !outputs
            .iter()
            .any(|o| matches!(o, Output::SendSnapshot { .. }))
    );
    assert_eq!(net.status(0).followers[1].state, FollowerState::Lost);
}

#[test]
fn a_learner_beyond_the_pin_limit_no_longer_holds_the_log() {
    let settings = Settings {
        pin_entries_max: 5,
        ..Settings::default()
    };
    let mut net = Net::with(3, settings);
    net.elect(0, &[0, 1]);
    net.settle();
    net.reassign(0, &[0, 1], &[2]);
    net.cut.insert((0, 2));
    for id in 1..=4 {
        net.write(0, id);
        net.settle();
    }
    assert_eq!(
        net.hosts[0].replica.log_needed_from(),
        2,
        "it lacks what follows 1"
    );
    for id in 5..=9 {
        net.write(0, id);
        net.settle();
    }
    assert_eq!(net.hosts[0].replica.log_needed_from(), 11);
}

#[test]
fn a_replica_with_a_hole_behind_its_state_asks_for_a_snapshot_and_takes_no_office() {
    let mut net = Net::serving(3);
    net.write(0, 1);
    net.settle();
    net.hosts[2].entries.remove(0);
    net.restart(2);
    net.input(0, Input::PeerUp(member(2)));
    net.settle();
    assert_eq!(net.status(0).followers[1].state, FollowerState::Lost);
    net.elect(2, &[2, 1]);
    assert_eq!(net.status(2).role, Role::Stopped);
    assert!(net.halted(2).is_some());
}

#[test]
fn l34_a_member_whose_session_is_lost_leaves_sooner_than_one_that_lags() {
    let mut net = Net::serving(3);
    net.cut.insert((0, 2));
    net.input(0, Input::PeerDown(member(2)));
    net.pass(ms(1_000));
    assert!(net.proposals(0).is_empty(), "nothing waits for it");
    net.write(0, 1);
    net.settle();
    net.pass(ms(80));
    assert!(net.proposals(0).is_empty(), "it may be dialled again");
    net.pass(ms(60));
    assert_eq!(net.proposals(0), [(1, vec![0, 1], None)]);

    let mut lags = Net::serving(3);
    lags.cut.insert((0, 2));
    lags.write(0, 1);
    lags.settle();
    lags.pass(ms(400));
    assert!(lags.proposals(0).is_empty());
    lags.pass(ms(150));
    assert_eq!(lags.proposals(0), [(1, vec![0, 1], None)]);
}

#[test]
fn l30_entries_for_a_crowded_member_wait_and_go_on_when_there_is_room() {
    let mut net = Net::serving(3);
    let before = net.status(2).end;
    net.hosts[0].replica.set_crowded(&[member(2)]);
    (1..=20).for_each(|id| {
        net.write(0, id);
    });
    net.settle();
    assert_eq!(net.status(1).end, before + 20);
    assert_eq!(net.status(2).end, before);
    assert!(net.hosts[0].replica.is_held_back());
    net.hosts[0].replica.set_crowded(&[]);
    net.input(0, Input::Tick);
    net.settle();
    assert_eq!(net.status(2).end, before + 20);
    assert!(!net.hosts[0].replica.is_held_back());
}

#[test]
fn l30_entries_that_were_read_for_a_member_which_is_crowded_by_then_wait_too() {
    // Memory holds nothing: what a member lacks is read back from the journal.
    let settings = Settings {
        tail_bytes_max: 1,
        ..Settings::default()
    };
    let mut net = Net::serving_with(3, settings);
    let before = net.status(2).end;
    net.hosts[0].replica.set_crowded(&[member(2)]);
    (1..=20).for_each(|id| {
        net.write(0, id);
    });
    net.settle();
    net.hosts[0].reads_held = true;
    net.hosts[0].replica.set_crowded(&[]);
    net.input(0, Input::Tick);
    assert!(!net.hosts[0].reads.is_empty(), "the journal is asked");
    net.hosts[0].replica.set_crowded(&[member(2)]);
    net.wire.clear();
    net.finish_reads(0);
    let to_it = |(_, to, message): &(usize, usize, Message)| {
        *to == 2 && matches!(message, Message::Append { .. })
    };
    assert!(!net.wire.iter().any(to_it), "it takes no more");
    assert!(net.hosts[0].replica.is_held_back());
    net.hosts[0].replica.set_crowded(&[]);
    net.input(0, Input::Tick);
    net.settle();
    assert_eq!(net.status(2).end, before + 20);
}

#[test]
fn a_replica_whose_journal_gives_nothing_back_stops_after_a_while() {
    let settings = Settings {
        tail_bytes_max: 1,
        ..Settings::default()
    };
    let mut net = Net::serving_with(3, settings);
    net.hosts[0].replica.set_crowded(&[member(2)]);
    net.write(0, 1);
    net.settle();
    net.hosts[0].reads_held = true;
    net.hosts[0].replica.set_crowded(&[]);
    let mut asked = 0;
    for _ in 0..40 {
        net.input(0, Input::Tick);
        for (from, _) in std::mem::take(&mut net.hosts[0].reads) {
            asked += 1;
            let entries = Vec::new();
            net.input(0, Input::LogRead { from, entries });
        }
        net.pass(ms(200));
    }
    assert_eq!(asked, 20, "not for ever");
    let stopped = |output: &Output| matches!(output, Output::Halted { .. });
    assert!(net.hosts[0].outputs.iter().any(stopped));
}

#[test]
fn a_session_is_offered_to_a_crowded_member_without_entries() {
    let mut net = Net::serving(3);
    let before = net.status(2).end;
    net.cut.extend([(0, 1), (0, 2)]);
    net.write(0, 1);
    net.settle();
    net.cut.clear();
    let offered = |net: &mut Net, crowded: &[_]| {
        net.input(0, Input::PeerDown(member(2)));
        net.wire.clear();
        net.hosts[0].replica.set_crowded(crowded);
        net.input(0, Input::PeerUp(member(2)));
        net.wire.iter().find_map(|(_, to, message)| match message {
            Message::Sync { entries, .. } if *to == 2 => Some(entries.len()),
            _ => None,
        })
    };
    assert_eq!(offered(&mut net, &[]), Some(1));
    assert_eq!(offered(&mut net, &[member(2)]), Some(0));
    net.hosts[0].replica.set_crowded(&[]);
    net.pass(ms(400));
    assert_eq!(net.status(2).end, before + 1);
}

#[test]
fn a_member_that_lost_its_rows_gets_a_copy_once_it_has_left_the_set() {
    let mut net = Net::serving(3);
    for request in 1..4 {
        net.write(0, request);
    }
    net.settle();
    net.input(0, Input::LogTrimmed { first: 3 });
    net.hosts[2].entries.clear();
    net.hosts[2].meta = tablestore_replication::Recovered::empty().meta;
    net.restart(2);
    net.input(0, Input::PeerDown(member(2)));
    net.input(0, Input::PeerUp(member(2)));
    net.reassign(0, &[0, 1, 2], &[]);
    net.settle();
    let is_copy =
        |output: &Output| matches!(output, Output::SendSnapshot { to, .. } if *to == member(2));
    assert!(
        !net.take(0).iter().any(is_copy),
        "it counts as having everything"
    );
    net.reassign(0, &[0, 1], &[]);
    net.pass(ms(500));
    assert!(
        net.take(0).iter().any(is_copy),
        "nothing else will bring it back"
    );
}

#[test]
fn a_replica_that_was_opened_empty_takes_no_office_before_it_was_in_step() {
    for was_in_step in [false, true] {
        let mut net = Net::serving(3);
        net.write(0, 1);
        net.settle();
        // The third one was sent away and called back, and the first one does not know it.
        net.hosts[2].entries.clear();
        net.hosts[2].meta = tablestore_replication::Recovered::empty().meta;
        net.restart(2);
        net.version += 1;
        let view = net.view(0, &[0, 1], &[]);
        net.input(2, Input::Assignment(view));
        if was_in_step {
            net.reassign(0, &[0, 1], &[]);
            net.input(0, Input::PeerDown(member(2)));
            net.input(0, Input::PeerUp(member(2)));
            net.settle();
        }
        net.elect(2, &[0, 2]);
        net.settle();
        assert_eq!(net.halted(2).is_none(), was_in_step);
        assert_eq!(net.status(2).serving, was_in_step);
    }
}

#[test]
fn a_replica_that_may_have_been_sent_away_and_called_back_is_asked_anew_what_it_has() {
    for passed_over in [false, true] {
        let mut net = Net::serving(3);
        net.write(0, 1);
        net.settle();
        net.cut.insert((0, 2));
        net.version += u64::from(passed_over);
        net.reassign(0, &[0, 1], &[]);
        let status = net.status(0);
        let third = status.followers.iter().find(|f| f.member == member(2));
        let third = third.unwrap();
        let known = (third.state == FollowerState::Syncing, third.matched);
        let expected = if passed_over { (true, 0) } else { (false, 2) };
        assert_eq!(known, expected, "versions passed over: {passed_over}");
    }
}
