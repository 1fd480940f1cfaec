//! Offices: how one is taken, what it must bring about before it serves, how it ends, and how
//! backups come in line.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod harness;

use harness::{Net, member, ms};
use tablestore_placement::{Epoch, Incarnation, Office};
use tablestore_replication::{
    Entry, EntryBody, Input, Message, Output, PersistRecord, Role, Settings, WriteRefused,
};

#[test]
fn a_new_primary_serves_after_one_round_trip_without_a_timer() {
    let mut net = Net::serving(3);
    net.write(0, 1);
    net.settle();
    net.elect(1, &[1, 2]);
    let sent: Vec<_> = net.wire.iter().map(|(from, to, _)| (*from, *to)).collect();
    assert_eq!(sent, [(1, 0), (1, 2)], "one message to each replica");
    let before = net.now;
    net.wire.retain(|(_, to, _)| *to == 2);
    net.deliver_one();
    net.deliver_one();
    assert!(net.status(1).serving);
    assert_eq!((net.now, net.status(1).applied), (before, 3));
}

#[test]
fn before_its_inherited_log_is_committed_a_new_primary_serves_nothing() {
    let mut net = Net::serving(3);
    net.write(0, 1);
    net.settle();
    net.elect(1, &[1, 2]);
    let (write, read) = (net.write(1, 2), net.read(1));
    assert!(!net.status(1).serving);
    assert_eq!((net.written(1, write), net.answered(1, read)), (None, None));
    net.settle();
    assert!(net.written(1, write).unwrap().is_ok());
    assert_eq!(net.answered(1, read), Some(Ok(Epoch(2))));
}

#[test]
fn the_inherited_log_is_committed_whatever_the_number_of_members() {
    let mut net = Net::serving(3);
    net.cut.extend([(1, 0), (2, 0)]);
    net.write(0, 1);
    net.settle();
    net.cut.extend([(0, 1), (0, 2), (2, 1), (1, 2)]);
    net.in_sync_min = 2;
    net.elect(1, &[1]);
    net.settle();
    let status = net.status(1);
    assert!(
        status.serving,
        "alone it has all that was ever acknowledged"
    );
    assert_eq!(status.commit, 3);
}

#[test]
fn all_in_sync_members_must_have_the_inherited_log() {
    let mut net = Net::serving(3);
    net.cut.insert((1, 2));
    net.elect(1, &[1, 2, 0]);
    net.settle();
    assert!(!net.status(1).serving, "member 2 did not hear of it");
    net.reassign(1, &[1, 0], &[2]);
    assert!(net.status(1).serving);
}

#[test]
fn l05_an_epoch_is_durable_before_any_answer_to_a_message_that_carries_it() {
    let mut net = Net::serving(3);
    net.hosts[2].disk_held = true;
    net.elect(1, &[1, 2]);
    net.settle();
    assert_eq!(net.status(2).epoch, Epoch(2));
    assert!(
        !net.status(1).serving,
        "the backup has not synced the epoch"
    );
    net.sync(2);
    net.settle();
    assert!(net.status(1).serving);
    assert_eq!(net.hosts[2].meta.adopted, Epoch(2));
}

#[test]
fn an_epoch_of_the_own_map_is_adopted_too_and_older_ones_are_refused_from_then_on() {
    let mut net = Net::serving(3);
    net.epoch += 1;
    net.version += 1;
    let view = net.view(1, &[1, 2], &[]);
    net.input(2, Input::Assignment(view));
    assert_eq!(net.hosts[2].meta.adopted, Epoch(2));
    let ticket = net.write(0, 1);
    net.settle();
    assert_eq!(net.log(2), [(1, 1)]);
    assert!(
        net.written(0, ticket).unwrap().is_err(),
        "the old primary learned of it"
    );
    assert_eq!(net.status(0).role, Role::Backup);
}

#[test]
fn an_adopted_epoch_survives_a_restart() {
    let mut net = Net::serving(3);
    net.elect(1, &[1, 2]);
    net.settle();
    net.restart(2);
    net.deliver(
        0,
        2,
        Message::Commit {
            epoch: Epoch(1),
            commit: 1,
        },
    );
    let stale = Message::Stale {
        epoch: Epoch(2),
        refused: Epoch(1),
    };
    assert_eq!(net.wire.pop_front(), Some((2, 0, stale)));
}

#[test]
fn an_office_goes_by_incarnation() {
    let mut net = Net::new(3);
    net.epoch = 1;
    net.version = 1;
    let mut view = net.view(0, &[0, 1, 2], &[]);
    view.assignment.primary = Some(Office {
        member: member(0),
        incarnation: Incarnation(7),
    });
    net.input(0, Input::Assignment(view));
    assert_eq!(net.status(0).role, Role::Backup);
}

#[test]
fn an_office_is_taken_at_most_once_for_an_epoch() {
    let mut net = Net::serving(3);
    let view = net.view(0, &[0, 1, 2], &[]);
    net.restart(0);
    // The process is another one, but suppose that the map names it for the epoch in which its
    // predecessor acted.
    let mut again = view;
    again.assignment.primary = Some(net.office(0));
    net.input(0, Input::Assignment(again));
    assert_eq!(net.status(0).role, Role::Backup);
    assert_eq!(net.status(0).end, 1);
}

#[test]
fn a_primary_named_by_others_before_its_own_map_still_takes_the_office() {
    let mut net = Net::serving(3);
    let stale = Message::Stale {
        epoch: Epoch(2),
        refused: Epoch(1),
    };
    net.deliver(2, 1, stale);
    assert_eq!(net.status(1).epoch, Epoch(2));
    net.elect(1, &[1, 2]);
    net.settle();
    assert!(net.status(1).serving);
}

#[test]
fn versions_of_the_map_never_go_back() {
    let mut net = Net::serving(3);
    let old = net.view(0, &[0, 1, 2], &[]);
    net.reassign(0, &[0, 1], &[]);
    net.input(0, Input::Assignment(old));
    assert_eq!(net.status(0).in_sync, [member(0), member(1)]);
}

#[test]
fn l01_a_backup_that_restarts_before_it_learned_the_commit_mark_loses_nothing() {
    let mut net = Net::serving(2);
    let ticket = net.write(0, 1);
    net.settle();
    assert!(net.written(0, ticket).unwrap().is_ok());
    net.restart(1);
    assert_eq!(net.status(1).commit, 0);
    net.cut.extend([(0, 1), (1, 0)]);
    net.elect(1, &[1]);
    net.settle();
    assert_eq!(net.log(1), [(1, 1), (1, 2), (2, 3)]);
    assert_eq!(net.status(1).commit, 3);
    let again = net.write(1, 1);
    assert!(net.written(1, again).unwrap().unwrap().repeated);
}

#[test]
fn l02_after_two_quick_fail_overs_an_epoch_that_nobody_else_saw_is_cut_away() {
    let mut net = Net::serving(3);
    net.write(0, 1);
    net.settle();
    // Epoch 2 begins on member 1 and reaches nobody, epoch 3 begins on member 2.
    net.cut.extend([(1, 0), (1, 2), (0, 1), (2, 1)]);
    net.elect(1, &[1, 2, 0]);
    net.settle();
    assert_eq!(net.log(1), [(1, 1), (1, 2), (2, 3)]);
    net.elect(2, &[2, 0]);
    net.settle();
    net.write(2, 2);
    net.settle();
    net.cut.clear();
    net.pass(ms(500));
    assert_eq!(net.log(1), [(1, 1), (1, 2), (3, 3), (3, 4)]);
    assert_eq!((net.log(0), net.log(2)), (net.log(1), net.log(1)));
}

#[test]
fn a_late_sync_does_not_cut_what_came_after_it() {
    let mut net = Net::serving(3);
    net.elect(1, &[1, 2]);
    let late = net
        .wire
        .iter()
        .find(|(_, to, _)| *to == 2)
        .cloned()
        .unwrap();
    net.settle();
    net.write(1, 1);
    net.settle();
    let log = net.log(2);
    net.deliver(1, 2, late.2.clone());
    assert_eq!(net.log(2), log, "within its session");
    net.restart(2);
    net.deliver(1, 2, late.2);
    assert_eq!(net.log(2), log, "nor in another life");
    assert!(!net.is_stopped(2));
}

#[test]
fn a_backup_halts_rather_than_cut_what_is_committed() {
    let mut net = Net::serving(3);
    net.write(0, 1);
    net.settle();
    net.pass(ms(50));
    assert_eq!(net.status(2).commit, 2);
    let from_nowhere = Message::Sync {
        epoch: Epoch(5),
        nonce: 1,
        history: vec![
            tablestore_replication::EpochStartsAt {
                epoch: Epoch(1),
                index: 1,
            },
            tablestore_replication::EpochStartsAt {
                epoch: Epoch(5),
                index: 2,
            },
        ],
        end: 2,
        commit: 1,
        first: 1,
        entries: Vec::new(),
    };
    net.deliver(1, 2, from_nowhere);
    let invariant = net.halted(2).unwrap();
    assert_eq!(
        invariant,
        "a backup never truncates at or below its commit index"
    );
    assert!(net.is_stopped(2));
    assert_eq!(net.log(2).len(), 2);
}

#[test]
fn only_a_backup_under_the_current_epoch_truncates() {
    let mut net = Net::serving(3);
    net.cut.insert((0, 2));
    net.write(0, 1);
    net.settle();
    net.elect(2, &[2, 1]);
    net.settle();
    let cuts = |net: &Net, at: usize| {
        let records = net.hosts[at].unsynced.iter();
        records
            .filter(|(_, record)| matches!(record, PersistRecord::Meta(_)))
            .count()
    };
    assert_eq!((cuts(&net, 0), cuts(&net, 1)), (0, 0));
    assert_eq!(
        net.log(1),
        [(1, 1), (2, 2)],
        "the backup of epoch 2 was cut"
    );
    assert_eq!(net.log(0), [(1, 1), (2, 2)]);
}

#[test]
fn lost_appends_and_acknowledgements_are_repeated() {
    let mut net = Net::serving(3);
    net.cut.insert((0, 1));
    let first = net.write(0, 1);
    net.settle();
    net.cut.clear();
    net.pass(ms(250));
    assert!(net.written(0, first).unwrap().is_ok(), "a lost append");
    net.cut.insert((2, 0));
    let second = net.write(0, 2);
    net.settle();
    net.cut.clear();
    net.pass(ms(250));
    assert!(
        net.written(0, second).unwrap().is_ok(),
        "a lost acknowledgement"
    );
}

#[test]
fn a_gap_is_reported_and_filled_without_a_timer() {
    let mut net = Net::serving(3);
    net.write(0, 1);
    net.wire.retain(|(_, to, _)| *to != 1);
    let ticket = net.write(0, 2);
    net.settle();
    assert!(net.written(0, ticket).unwrap().is_ok());
}

#[test]
fn messages_that_overtake_and_repeat_each_other_do_no_harm() {
    let mut net = Net::serving(3);
    let tickets: Vec<_> = (1..=6).map(|id| net.write(0, id)).collect();
    let mut messages: Vec<_> = net.wire.drain(..).collect();
    messages.reverse();
    net.wire.extend(messages.iter().cloned());
    net.wire.extend(messages);
    net.settle();
    net.pass(ms(300));
    for ticket in tickets {
        assert!(net.written(0, ticket).unwrap().is_ok());
    }
    assert_eq!(net.log(1), net.log(0));
    assert_eq!(net.log(2), net.log(0));
}

#[test]
fn a_backup_that_restarted_gets_a_new_session() {
    let mut net = Net::serving(3);
    net.restart(1);
    let ticket = net.write(0, 1);
    net.settle();
    assert!(
        net.written(0, ticket).unwrap().is_ok(),
        "it said that it knows no session"
    );
}

#[test]
fn a_peer_that_is_back_is_brought_in_line_at_once() {
    let mut net = Net::serving(3);
    net.input(0, Input::PeerDown(member(1)));
    net.cut.insert((0, 1));
    let ticket = net.write(0, 1);
    net.settle();
    net.cut.clear();
    let now = net.now;
    net.input(0, Input::PeerUp(member(1)));
    net.settle();
    assert!(net.written(0, ticket).unwrap().is_ok());
    assert_eq!(net.now, now);
}

#[test]
fn what_memory_no_longer_has_is_read_back_for_followers_and_for_the_state_machine() {
    let settings = Settings {
        tail_bytes_max: 1,
        ..Settings::default()
    };
    let mut net = Net::serving_with(3, settings);
    net.cut.insert((0, 1));
    let tickets: Vec<_> = (1..=20).map(|id| net.write(0, id)).collect();
    net.settle();
    net.cut.clear();
    net.pass(ms(500));
    for ticket in tickets {
        assert!(net.written(0, ticket).unwrap().is_ok());
    }
    assert_eq!(net.log(1), net.log(0));
    assert_eq!(net.status(1).applied, 21);
}

#[test]
fn what_is_on_the_way_to_a_follower_is_bounded() {
    let settings = Settings {
        window_bytes_max: 1000,
        ..Settings::default()
    };
    let mut net = Net::serving_with(3, settings);
    (1..=100).for_each(|id| {
        net.write(0, id);
    });
    let appends = net.wire.iter().filter(|(_, to, _)| *to == 1).count();
    assert!(appends <= 12, "{appends}");
    net.settle();
    net.pass(ms(50));
    assert_eq!(net.status(1).applied, 101);
}

#[test]
fn roles_are_announced_for_time_lines() {
    let mut net = Net::serving(3);
    let changed = |role, epoch, serving| Output::RoleChanged {
        role,
        epoch: Epoch(epoch),
        serving,
    };
    let outputs = net.take(0);
    assert!(outputs.contains(&changed(Role::Primary, 1, false)));
    assert!(outputs.contains(&changed(Role::Primary, 1, true)));
    net.elect(1, &[1, 2]);
    net.settle();
    assert!(net.take(0).contains(&changed(Role::Backup, 2, false)));
}

#[test]
fn the_last_in_sync_replica_serves_reads_and_neither_shows_nor_loses_what_the_deposed_had_alone() {
    let mut net = Net::with(3, Settings::default());
    net.elect(0, &[0, 1]);
    net.settle();
    let acked = net.write(0, 1);
    net.settle();
    assert!(net.written(0, acked).unwrap().is_ok());
    // The primary appends one more, which nobody else gets, and dies.
    net.cut.insert((0, 1));
    let alone = net.write(0, 2);
    net.settle();
    assert_eq!(net.written(0, alone), None);
    net.cut.insert((1, 0));
    // The backup takes over, alone in the set although two are the minimum.
    net.elect(1, &[1]);
    net.settle();
    let (read, write) = (net.read(1), net.write(1, 3));
    net.settle();
    assert_eq!(net.answered(1, read), Some(Ok(Epoch(2))));
    assert!(matches!(
        net.written(1, write),
        Some(Err(WriteRefused::NotEnoughReplicas { have: 1, need: 2 }))
    ));
    let payloads = |net: &Net| net.hosts[1].applied.iter().filter(|e| is_write(e)).count();
    assert_eq!(
        payloads(&net),
        1,
        "the entry of the deposed alone is not shown"
    );
    // The deposed is back: its entry goes, and with it in the set writes go on.
    net.cut.clear();
    net.input(1, Input::PeerUp(member(0)));
    net.pass(ms(300));
    net.reassign(1, &[1, 0], &[]);
    let write = net.write(1, 2);
    net.settle();
    let written = net.written(1, write).unwrap().unwrap();
    assert!(!written.repeated, "it had never taken effect");
    assert_eq!(net.log(0), net.log(1));
    assert_eq!(payloads(&net), 2);
}

fn is_write(entry: &Entry) -> bool {
    matches!(entry.body(), EntryBody::Write { .. })
}
