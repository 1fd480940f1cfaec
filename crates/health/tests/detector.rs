//! The detector's other rules, and bounds that no order of evidence may break.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should stop"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use tablestore_health::{
    AccrualDetector, Belief, Detector, DetectorSettings, Evidence, Incarnation, Probe, Work, reach,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_sign_of_life_ends_a_silence_and_says_nothing_of_work() {
    let mut detector = AccrualDetector::new(DetectorSettings::default());
    let (node, incarnation) = (1_u32, Incarnation(1));
    detector.take(ms(0), Evidence::NewIncarnation { node, incarnation });
    let stalled = Work {
        unfinished_sync_age: ms(900),
        unapplied_age: ms(0),
    };
    for beat in 0..10 {
        let (now, work) = (ms(beat * 100), stalled);
        detector.take(
            now,
            Evidence::HeartbeatAnswered {
                node,
                incarnation,
                sent: now,
                work,
            },
        );
    }
    // No heartbeat is answered for a second, but every ping.
    for ping in 0..200 {
        let now = ms(1_000 + ping * 50);
        detector.take(now, Evidence::Heard { node, incarnation });
        detector.take(now, Evidence::Tick);
        let belief = detector.belief(now, &node, incarnation);
        assert!(matches!(belief, Belief::Stalled { .. }), "{belief:?}");
    }
}

#[cfg(feature = "testing")]
#[test]
fn our_detector_conforms() {
    let make = || AccrualDetector::new(DetectorSettings::default());
    tablestore_health::testing::check_detector(make);
}

/// Kills or stops a node at every phase of its heartbeat, and answers after how long it is dead.
fn latencies(confirmed_after: Option<Duration>) -> Vec<Duration> {
    (0..100)
        .map(|phase| latency(ms(3000 + phase), confirmed_after))
        .collect()
}

fn latency(stopped: Duration, confirmed_after: Option<Duration>) -> Duration {
    let (node, incarnation) = (2, Incarnation(1));
    let mut detector = AccrualDetector::new(DetectorSettings::default());
    detector.take(ms(0), Evidence::NewIncarnation { node, incarnation });
    let mut probe_back = None;
    for at in 1..10_000 {
        let now = ms(at);
        if at.is_multiple_of(100) && now <= stopped {
            let (sent, work) = (now, Work::default());
            detector.take(
                now,
                Evidence::HeartbeatAnswered {
                    node,
                    incarnation,
                    sent,
                    work,
                },
            );
        }
        if probe_back == Some(now) {
            let (by, found) = (3, Probe::Silent);
            detector.take(
                now,
                Evidence::Probed {
                    by,
                    node,
                    incarnation,
                    found,
                },
            );
        }
        if at.is_multiple_of(20) {
            detector.take(now, Evidence::Tick);
        }
        if probe_back.is_none() && detector.probes_wanted().next().is_some() {
            probe_back = confirmed_after.map(|after| now + after);
        }
        if detector.belief(now, &node, incarnation).is_dead() {
            return now - stopped;
        }
    }
    panic!("never dead");
}

#[test]
fn a_stopped_node_is_dead_within_the_promised_time() {
    let mut alone = latencies(None);
    let mut confirmed = latencies(Some(ms(30)));
    alone.sort_unstable();
    confirmed.sort_unstable();
    assert!(
        alone[50] <= ms(560) && alone[99] <= ms(620),
        "{:?} {:?}",
        alone[50],
        alone[99]
    );
    assert!(
        confirmed[50] <= ms(380) && confirmed[99] <= ms(440),
        "{confirmed:?}"
    );
    assert!(
        confirmed[0] >= ms(250),
        "not hasty either: {:?}",
        confirmed[0]
    );
}

#[test]
fn a_node_that_reaches_fewer_than_a_majority_suspects_itself() {
    let voters = |ids: &[u32]| ids.iter().copied().collect::<BTreeSet<_>>();
    // me, voters, reached, suspects itself
    let cases: [(u32, &[u32], &[u32], bool); 9] = [
        (1, &[1, 2, 3], &[2], false),
        (1, &[1, 2, 3], &[], true),
        (1, &[1, 2, 3], &[9, 8], true),
        (1, &[1, 2, 3, 4], &[2], true),
        (1, &[1, 2, 3, 4], &[2, 3], false),
        (9, &[1, 2, 3], &[1], true),
        (9, &[1, 2, 3], &[1, 2], false),
        (1, &[1], &[], false),
        (1, &[], &[2, 3], true),
    ];
    for (me, all, reaches, expected) in cases {
        let found = reach(&me, &voters(all), reaches);
        assert_eq!(
            found.suspects_itself(),
            expected,
            "{me} of {all:?} reaches {reaches:?}"
        );
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused_by_name() {
    assert!(DetectorSettings::default().validated().is_ok());
    let slow = DetectorSettings::with_heartbeat(ms(200)).unwrap();
    assert_eq!(
        (slow.suspect_after_max, slow.dead_after),
        (ms(900), ms(1200))
    );
    let broken: [fn(&mut DetectorSettings); 5] = [
        |s| s.heartbeat = Duration::ZERO,
        |s| s.dead_after = s.heartbeat,
        |s| s.phi_suspect = f64::NAN,
        |s| s.window = 0,
        |s| s.own_gap_max = Duration::ZERO,
    ];
    for break_it in broken {
        let mut settings = DetectorSettings::default();
        break_it(&mut settings);
        assert!(!settings.validated().unwrap_err().rule.is_empty());
    }
}

#[test]
fn flapping_is_counted_and_forgiven() {
    let settings = DetectorSettings::default();
    let mut detector = AccrualDetector::new(settings.clone());
    let address = "127.0.0.1:7002".parse().unwrap();
    let node = 2;
    for run in 1..=4 {
        let (now, incarnation) = (ms(run * 1000), Incarnation(run));
        detector.take(now, Evidence::NewIncarnation { node, incarnation });
        detector.take(now, Evidence::ConnectionLost { node, incarnation });
        for _ in 0..2 {
            detector.take(
                now,
                Evidence::ConnectRefused {
                    node,
                    incarnation,
                    address,
                },
            );
        }
    }
    let last = ms(4000);
    assert_eq!(detector.flaps(last, &node), 4);
    assert_eq!(
        detector.held_down(last, &node),
        Some(settings.hold_down * 4)
    );
    assert_eq!(
        detector.flaps(last + settings.flap_forgiven_after, &node),
        3
    );
    assert_eq!(
        detector.flaps(last + settings.flap_forgiven_after * 9, &node),
        0
    );
    assert_eq!(
        detector.held_down(last + settings.flap_forgiven_after * 9, &node),
        None
    );
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    See(Evidence<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let whom = (0_u8..3, (0_u64..4).prop_map(Incarnation));
    let address = || "127.0.0.1:7002".parse().unwrap();
    let seen = (0_u8..8, whom, 0_u64..2000, 0_u8..3).prop_map(move |(kind, whom, number, by)| {
        let (node, incarnation) = whom;
        match kind {
            0 => Evidence::NewIncarnation { node, incarnation },
            1 | 2 => {
                let work = Work {
                    unfinished_sync_age: ms(number),
                    ..Work::default()
                };
                Evidence::HeartbeatAnswered {
                    node,
                    incarnation,
                    sent: ms(number),
                    work,
                }
            }
            3 => Evidence::ConnectionLost { node, incarnation },
            4 => Evidence::ConnectRefused {
                node,
                incarnation,
                address: address(),
            },
            5 => Evidence::Connected { node, incarnation },
            6 => {
                let all = [Probe::Answered, Probe::Refused, Probe::Silent];
                Evidence::Probed {
                    by,
                    node,
                    incarnation,
                    found: all[number as usize % 3],
                }
            }
            _ => Evidence::OwnPause { length: ms(number) },
        }
    });
    prop_oneof![(0_u64..400).prop_map(Step::Pass), seen.prop_map(Step::See)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_seen_the_dead_stay_dead_and_the_unknown_unknown(
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let mut detector = AccrualDetector::new(DetectorSettings::default());
        let mut now = ms(0);
        let mut watched = BTreeSet::new();
        let mut dead = BTreeSet::new();
        for step in steps {
            match step {
                Step::Pass(time) => now += ms(time),
                Step::See(evidence) => {
                    if let Evidence::NewIncarnation { node, .. } = evidence {
                        watched.insert(node);
                    }
                    detector.take(now, evidence);
                }
            }
            detector.take(now, Evidence::Tick);
            for node in 0..3 {
                for incarnation in (0..4).map(Incarnation) {
                    let belief = detector.belief(now, &node, incarnation);
                    prop_assert!(watched.contains(&node) || belief == Belief::Unknown);
                    if let Belief::Suspect { phi, .. } = belief {
                        prop_assert!(phi.is_finite());
                    }
                    if belief.is_dead() {
                        dead.insert((node, incarnation));
                    } else {
                        prop_assert!(!dead.contains(&(node, incarnation)), "{node} came back");
                    }
                }
            }
        }
    }
}
