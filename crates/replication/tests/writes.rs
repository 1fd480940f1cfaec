//! Writes at a primary: when they are acknowledged, refused, repeated, abandoned.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod harness;

use std::time::Duration;

use harness::{Net, member, ms};
use tablestore_placement::Epoch;
use tablestore_replication::{Input, Message, Output, RequestId, Settings, WriteRefused};

#[test]
fn l03_a_write_is_acknowledged_when_all_in_sync_members_have_synced_it() {
    let mut net = Net::serving(3);
    net.hosts[2].disk_held = true;
    let ticket = net.write(0, 1);
    net.settle();
    assert_eq!(net.written(0, ticket), None, "one backup has not synced it");
    net.sync(2);
    net.settle();
    let written = net.written(0, ticket).unwrap().unwrap();
    assert_eq!(
        (written.index, written.epoch, written.repeated),
        (2, Epoch(1), false)
    );
}

#[test]
fn the_primary_itself_must_have_synced_a_write() {
    let mut net = Net::serving(3);
    net.hosts[0].disk_held = true;
    let ticket = net.write(0, 1);
    net.settle();
    assert_eq!(net.written(0, ticket), None);
    assert_eq!(
        net.log(1),
        [(1, 1), (1, 2)],
        "it was sent before the own sync"
    );
    net.sync(0);
    assert!(net.written(0, ticket).unwrap().is_ok());
}

#[test]
fn backups_learn_the_commit_mark_within_50_ms_when_idle() {
    let mut net = Net::serving(3);
    net.write(0, 1);
    net.settle();
    assert_eq!(net.status(1).applied, 1);
    net.pass(ms(50));
    assert_eq!((net.status(1).applied, net.status(2).applied), (2, 2));
}

#[test]
fn the_same_id_waits_for_its_commit_and_gets_the_same_answer_later() {
    let mut net = Net::serving(3);
    net.cut.insert((0, 1));
    let (first, second) = (net.write(0, 1), net.write(0, 1));
    net.settle();
    assert_eq!(
        (net.written(0, first), net.written(0, second)),
        (None, None)
    );
    net.cut.clear();
    net.pass(ms(300));
    let third = net.write(0, 1);
    let answers: Vec<_> = [first, second, third]
        .map(|ticket| net.written(0, ticket).unwrap().unwrap())
        .to_vec();
    assert!(
        answers
            .iter()
            .all(|a| a.index == 2 && a.outcome == answers[0].outcome)
    );
    let repeated: Vec<_> = answers.iter().map(|a| a.repeated).collect();
    assert_eq!(repeated, [false, true, true]);
    assert_eq!(net.status(0).end, 2, "it is in the log once");
}

#[test]
fn the_same_id_with_another_body_is_refused() {
    let mut net = Net::serving(3);
    net.cut.insert((0, 1));
    net.write_body(0, 1, 7);
    let uncommitted = net.write_body(0, 1, 8);
    assert_eq!(
        net.written(0, uncommitted),
        Some(Err(WriteRefused::RequestMismatch))
    );
    net.cut.clear();
    net.pass(ms(300));
    let remembered = net.write_body(0, 1, 8);
    assert_eq!(
        net.written(0, remembered),
        Some(Err(WriteRefused::RequestMismatch))
    );
}

#[test]
fn a_repeated_request_gets_the_same_answer_from_the_next_primary() {
    let mut net = Net::serving(3);
    let first = net.write(0, 1);
    net.settle();
    let before = net.written(0, first).unwrap().unwrap();
    net.elect(1, &[1, 2]);
    net.settle();
    let second = net.write(1, 1);
    let after = net.written(1, second).unwrap().unwrap();
    assert_eq!((after.index, after.outcome), (before.index, before.outcome));
    assert!(after.repeated && after.epoch == Epoch(2));
}

/// Ids of the layout of UUID version 7, which some clients make: of 1970, and of the year 6429.
const OLD: u128 = 1 << 80 | 7 << 76 | 2 << 62 | 5;
const FAR: u128 = 0x8000_0000_0000 << 80 | 7 << 76 | 2 << 62 | 5;

fn times(net: &Net, at: usize) -> Vec<u64> {
    let remembered = net.hosts[at].replica.remembered_after(0);
    remembered.map(|one| one.log_ms).collect()
}

#[test]
fn l24_no_clock_of_a_server_or_client_refuses_a_write_or_lets_one_take_effect_twice() {
    let settings = Settings {
        remember_min: 2,
        ..Settings::default()
    };
    let mut net = Net::serving_with(3, settings);
    // Whatever a client's clock made of its ids, each is taken once.
    for id in [OLD, FAR, 7, u128::MAX, OLD + 1] {
        let first = net.write(0, id);
        net.settle();
        assert!(
            !net.written(0, first).unwrap().unwrap().repeated,
            "{id:032x}"
        );
    }
    // Nine minutes and many writes later, under another primary, each is known.
    net.pass(Duration::from_secs(270));
    net.elect(1, &[0, 1, 2]);
    net.settle();
    net.pass(Duration::from_secs(270));
    (100..120).for_each(|id| {
        net.write(1, id);
    });
    net.settle();
    for id in [OLD, FAR, 7, u128::MAX, OLD + 1] {
        let again = net.write(1, id);
        assert!(
            net.written(1, again).unwrap().unwrap().repeated,
            "{id:032x}"
        );
    }
    let times = times(&net, 1);
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn l27_the_time_of_a_log_goes_on_by_what_elapsed_and_stands_still_while_nobody_watches() {
    let mut net = Net::serving(3);
    net.write(0, 1);
    net.settle();
    net.pass(Duration::from_secs(60));
    net.write(0, 2);
    net.settle();
    let elapsed = times(&net, 0)[1] - times(&net, 0)[0];
    assert!((60_000..61_000).contains(&elapsed), "{elapsed}");
    // Everybody restarts: what passed meanwhile is counted by nobody.
    (0..3).for_each(|at| net.restart(at));
    net.elect(2, &[0, 1, 2]);
    net.settle();
    net.write(2, 3);
    net.settle();
    let paused = times(&net, 2)[2] - times(&net, 2)[1];
    assert!(paused < 1_000, "{paused}");
}

#[test]
fn an_id_is_new_again_only_beyond_ten_minutes_and_so_many_writes() {
    let settings = Settings {
        remember_min: 4,
        ..Settings::default()
    };
    let mut net = Net::serving_with(3, settings);
    net.write(0, 1);
    net.settle();
    net.pass(Duration::from_secs(700));
    net.write(0, 2);
    net.settle();
    let few = net.write(0, 1);
    assert!(
        net.written(0, few).unwrap().unwrap().repeated,
        "few writes since"
    );
    (3..7).for_each(|id| {
        net.write(0, id);
    });
    net.settle();
    let new = net.write(0, 1);
    net.settle();
    assert!(!net.written(0, new).unwrap().unwrap().repeated);
    let young = net.write(0, 6);
    assert!(net.written(0, young).unwrap().unwrap().repeated);
}

#[test]
fn below_the_minimum_writes_are_refused_before_they_are_appended() {
    let mut net = Net::serving(3);
    net.reassign(0, &[0], &[]);
    let ticket = net.write(0, 1);
    let refused = WriteRefused::NotEnoughReplicas { have: 1, need: 2 };
    assert_eq!(net.written(0, ticket), Some(Err(refused)));
    assert_eq!(net.status(0).end, 1);
}

#[test]
fn with_an_unreachable_member_writes_wait_for_its_removal_while_enough_remain() {
    let mut net = Net::serving(3);
    net.cut.insert((0, 2));
    net.reassign(0, &[0, 1, 2], &[2]);
    let ticket = net.write(0, 1);
    net.settle();
    assert_eq!(net.written(0, ticket), None);
    net.reassign(0, &[0, 1], &[2]);
    assert!(net.written(0, ticket).unwrap().is_ok());
}

#[test]
fn with_too_many_unreachable_members_writes_are_refused() {
    let mut net = Net::serving(3);
    net.reassign(0, &[0, 1], &[1]);
    let ticket = net.write(0, 1);
    let refused = WriteRefused::NotEnoughReplicas { have: 1, need: 2 };
    assert_eq!(net.written(0, ticket), Some(Err(refused)));
}

#[test]
fn l04_what_was_appended_before_the_set_fell_below_its_minimum_is_not_acknowledged() {
    let mut net = Net::serving(3);
    net.cut.extend([(0, 1), (0, 2)]);
    let ticket = net.write(0, 1);
    net.settle();
    net.reassign(0, &[0], &[1, 2]);
    assert_eq!(net.written(0, ticket), None, "one copy is not enough");
    net.cut.clear();
    net.pass(ms(300));
    net.reassign(0, &[0, 1], &[]);
    assert!(net.written(0, ticket).unwrap().is_ok());
}

#[test]
fn a_deposed_primary_answers_unknown_only_for_what_it_appended() {
    let mut net = Net::serving(3);
    net.cut.extend([(0, 1), (0, 2)]);
    let appended = net.write(0, 1);
    let stale = Message::Stale {
        epoch: Epoch(2),
        refused: Epoch(1),
    };
    net.deliver(1, 0, stale);
    assert_eq!(net.written(0, appended), Some(Err(WriteRefused::Unknown)));
    let later = net.write(0, 2);
    let refused = net.written(0, later).unwrap().unwrap_err();
    assert!(matches!(
        refused,
        WriteRefused::NotPrimary {
            epoch: Epoch(2),
            ..
        }
    ));
}

#[test]
fn requests_that_waited_for_an_office_that_was_lost_were_not_applied() {
    let mut net = Net::new(3);
    net.cut.extend([(0, 1), (0, 2)]);
    net.elect(0, &[0, 1, 2]);
    let (write, read) = (net.write(0, 1), net.read(0));
    assert_eq!((net.written(0, write), net.answered(0, read)), (None, None));
    net.epoch += 1;
    net.version += 1;
    let view = net.view(1, &[1, 2], &[]);
    net.input(0, Input::Assignment(view));
    let primary = Some(member(1));
    let epoch = Epoch(2);
    let refused = WriteRefused::NotPrimary { primary, epoch };
    assert_eq!(net.written(0, write), Some(Err(refused)));
    assert!(net.answered(0, read).unwrap().is_err());
}

#[test]
fn waiting_for_an_office_is_bounded() {
    let settings = Settings {
        waiting_max: 3,
        ..Settings::default()
    };
    let mut net = Net::with(3, settings);
    net.cut.extend([(0, 1), (0, 2)]);
    net.elect(0, &[0, 1, 2]);
    let tickets: Vec<_> = (0..4).map(|id| net.write(0, id)).collect();
    assert_eq!(net.written(0, tickets[2]), None);
    assert_eq!(net.written(0, tickets[3]), Some(Err(WriteRefused::Busy)));
}

#[test]
fn what_is_appended_and_not_committed_is_bounded() {
    let settings = Settings {
        uncommitted_max: 2,
        ..Settings::default()
    };
    let mut net = Net::serving_with(3, settings);
    net.cut.insert((0, 1));
    let tickets: Vec<_> = (0..3).map(|id| net.write(0, id)).collect();
    assert_eq!(net.written(0, tickets[2]), Some(Err(WriteRefused::Busy)));
    assert_eq!(net.status(0).end, 3);
}

#[test]
fn a_primary_that_resigns_says_so_when_everything_is_committed() {
    let mut net = Net::serving(3);
    net.cut.insert((0, 1));
    let before = net.write(0, 1);
    net.input(0, Input::Resign);
    assert!(!net.take(0).contains(&Output::Resigned));
    let after = net.write(0, 2);
    let refused = net.written(0, after).unwrap().unwrap_err();
    assert!(matches!(refused, WriteRefused::NotPrimary { .. }));
    net.cut.clear();
    net.pass(ms(300));
    assert!(net.written(0, before).unwrap().is_ok());
    assert!(net.take(0).contains(&Output::Resigned));
    net.input(1, Input::Resign);
    assert!(
        net.take(1).contains(&Output::Resigned),
        "a backup has nothing to wait for"
    );
}

#[test]
fn l05_after_a_failed_sync_the_replica_stops_for_good() {
    let mut net = Net::serving(3);
    net.cut.insert((0, 1));
    let appended = net.write(0, 1);
    net.input(0, Input::StorageFailed);
    assert_eq!(net.written(0, appended), Some(Err(WriteRefused::Unknown)));
    assert!(net.is_stopped(0));
    let (write, read) = (net.write(0, 2), net.read(0));
    assert_eq!(net.written(0, write), Some(Err(WriteRefused::Stopped)));
    assert!(net.answered(0, read).unwrap().is_err());
    net.wire.clear();
    net.elect(1, &[1, 2]);
    net.input(0, Input::PeerUp(member(1)));
    net.deliver(
        1,
        0,
        Message::Confirm {
            epoch: Epoch(2),
            round: 1,
        },
    );
    assert!(
        !net.wire.iter().any(|(from, ..)| *from == 0),
        "it says nothing any more"
    );
    assert_eq!(net.hosts[0].replica.next_deadline(), None);
}

#[test]
fn a_checksum_mark_is_due_on_every_replica_at_exactly_its_index() {
    let mut net = Net::serving(3);
    net.write(0, 1);
    net.input(0, Input::Checksum { id: 9 });
    net.write(0, 2);
    net.settle();
    net.pass(ms(50));
    for at in 0..3 {
        let outputs = net.take(at);
        assert!(
            outputs.contains(&Output::ChecksumDue { id: 9, index: 3 }),
            "{outputs:?}"
        );
        assert_eq!(net.status(at).applied, 4);
    }
}

#[test]
fn remembered_requests_of_a_checkpoint_are_those_above_its_index() {
    let mut net = Net::serving(3);
    (1..=5).for_each(|id| {
        net.write(0, id);
    });
    net.settle();
    let kept: Vec<_> = net.hosts[0].replica.remembered_after(3).collect();
    assert_eq!(kept.iter().map(|r| r.index).collect::<Vec<_>>(), [4, 5, 6]);
    assert_eq!(kept[0].request, RequestId(3));
}

#[test]
fn a_checksum_mark_that_cannot_be_put_is_refused_and_not_forgotten() {
    let mut net = Net::serving(3);
    net.input(1, Input::Checksum { id: 4 });
    assert!(
        net.take(1).contains(&Output::ChecksumRefused { id: 4 }),
        "a backup"
    );
    net.reassign(0, &[0, 1], &[1]);
    net.input(0, Input::Checksum { id: 5 });
    assert!(
        net.take(0).contains(&Output::ChecksumRefused { id: 5 }),
        "too few are reached"
    );
}

#[test]
fn what_is_beyond_ten_minutes_is_forgotten_by_all_though_nobody_writes() {
    let settings = Settings {
        remember_min: 2,
        ..Settings::default()
    };
    let mut net = Net::serving_with(3, settings);
    (1..=8).for_each(|id| {
        net.write(0, id);
    });
    net.settle();
    let known = |net: &Net, at: usize| net.hosts[at].replica.remembered_after(0).count();
    net.pass(ms(590_000));
    net.settle();
    assert_eq!([0, 1, 2].map(|at| known(&net, at)), [8, 8, 8]);
    net.pass(ms(20_000));
    net.settle();
    net.pass(ms(1_000));
    net.settle();
    assert_eq!([0, 1, 2].map(|at| known(&net, at)), [2, 2, 2]);
    // Once is enough.
    let end = net.hosts[0].replica.status().end;
    net.pass(ms(3_000_000));
    net.settle();
    assert_eq!(net.hosts[0].replica.status().end, end);
    let last = net.write(0, 8);
    assert!(net.written(0, last).unwrap().unwrap().repeated);
}

#[test]
fn l24_monotonic_clocks_that_began_years_apart_let_no_write_take_effect_twice() {
    // An id of any form says nothing of time: UUIDs of version 7 that were made in 1970, an hour
    // ago and in the far future, and numbers that look like none.
    let uuid = |ms: u128| ms << 80 | 7 << 76 | 2 << 62;
    let ids = [uuid(0), uuid(1_800_000_000_000), uuid((1 << 48) - 1), 5];
    let mut net = Net::serving(3);
    // The monotonic clocks of the three began years apart.
    net.hosts[1].ahead = ms(90_000_000_000);
    net.hosts[2].ahead = ms(700_000_000_000);
    let mut first = Vec::new();
    for (at, id) in ids.iter().enumerate() {
        let at = at % 3;
        net.elect(at, &[0, 1, 2]);
        net.settle();
        let ticket = net.write(at, *id);
        net.settle();
        first.push(net.written(at, ticket).unwrap().unwrap());
        net.pass(ms(60_000));
    }
    assert!(first.iter().all(|written| !written.repeated));
    for at in [2, 0, 1] {
        net.elect(at, &[0, 1, 2]);
        net.settle();
        for (id, first) in ids.iter().zip(&first) {
            let ticket = net.write(at, *id);
            let again = net.written(at, ticket).unwrap().unwrap();
            assert!(again.repeated, "{id:x} at {at}");
            assert_eq!((again.index, again.outcome), (first.index, first.outcome));
        }
    }
}

#[test]
fn l27_a_new_primary_goes_on_from_the_last_write_by_a_clock_of_its_own() {
    let mut net = Net::serving(3);
    net.hosts[1].ahead = ms(90_000_000_000);
    let mut id = 0;
    let mut write = |net: &mut Net, at: usize| {
        id += 1;
        net.write(at, id);
        net.settle();
        net.pass(ms(60));
    };
    write(&mut net, 0);
    net.pass(ms(1_000));
    write(&mut net, 0);
    // The next primary goes on from when it learnt of the last write, by a clock of its own.
    net.pass(ms(2_000));
    net.elect(1, &[0, 1, 2]);
    net.settle();
    write(&mut net, 1);
    // After a restart nobody knows how long it took, so it counts for nothing.
    net.restart(0);
    net.hosts[0].ahead = ms(1);
    net.pass(ms(10));
    net.elect(0, &[0, 1, 2]);
    net.settle();
    write(&mut net, 0);
    let found = times(&net, 0);
    let steps: Vec<_> = found.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(steps[..2], [1_060, 2_060]);
    assert!(steps[2] <= 70, "70 ms passed and not {}", steps[2]);
    assert_eq!(found, times(&net, 1));
}
