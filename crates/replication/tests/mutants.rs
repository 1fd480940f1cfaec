//! The deliberate bugs do what their names say, and nothing without being switched on.

#![cfg(feature = "mutants")]
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod harness;

use harness::Net;
use tablestore_placement::Epoch;
use tablestore_replication::{Input, Message, Mutant, Settings};

const HOUR_MS: u64 = 3_600_000;

fn net(mutant: Option<Mutant>) -> Net {
    let settings = Settings {
        mutant,
        remember_min: 1,
        ..Settings::default()
    };
    Net::serving_with(3, settings)
}

fn is_acknowledged_before_its_own_sync(mutant: Option<Mutant>) -> bool {
    let mut net = net(mutant);
    net.hosts[0].disk_held = true;
    let ticket = net.write(0, 1);
    net.settle();
    net.written(0, ticket).is_some()
}

#[test]
fn own_entry_before_sync_acknowledges_what_the_primary_may_lose() {
    assert!(!is_acknowledged_before_its_own_sync(None));
    let mutant = Some(Mutant::OwnEntryBeforeSync);
    assert!(is_acknowledged_before_its_own_sync(mutant));
}

fn is_confirmed_by_the_round_before(mutant: Option<Mutant>) -> bool {
    let mut net = net(mutant);
    net.read(0);
    net.settle();
    let second = net.read(0);
    net.wire.clear();
    for from in [1, 2] {
        let (epoch, round) = (Epoch(1), 1);
        net.deliver(from, 0, Message::Confirmed { epoch, round });
    }
    net.answered(0, second).is_some()
}

#[test]
fn stale_round_confirms_reads_that_came_later() {
    assert!(!is_confirmed_by_the_round_before(None));
    let mutant = Some(Mutant::StaleRoundConfirms);
    assert!(is_confirmed_by_the_round_before(mutant));
}

fn is_repeated_behind_a_leap(mutant: Option<Mutant>) -> bool {
    let mut net = net(mutant);
    net.write(0, 1);
    net.settle();
    net.hosts[0].replica.set_wall_clock(HOUR_MS);
    net.input(0, Input::Tick);
    for id in [2, 3] {
        net.write(0, id);
        net.settle();
    }
    let again = net.write(0, 1);
    net.settle();
    net.written(0, again).unwrap().unwrap().repeated
}

#[test]
fn leaping_clock_lets_a_write_take_effect_twice() {
    assert!(is_repeated_behind_a_leap(None));
    assert!(!is_repeated_behind_a_leap(Some(Mutant::LeapingClock)));
}
