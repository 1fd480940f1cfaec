//! The detector along the timelines of `testdata/timelines.txt`, in virtual time.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should stop"
)]

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use tablestore_health::{
    AccrualDetector, Belief, Death, Detector, DetectorSettings, Evidence, Incarnation, Probe, Work,
};

const TIMELINES: &str = include_str!("../testdata/timelines.txt");
const TICK_MS: u64 = 20;

type Node = &'static str;

/// What a case says, by the time at which it happens.
#[derive(Default)]
struct Case {
    evidence: BTreeMap<u64, Vec<Evidence<Node>>>,
    expectations: BTreeMap<u64, Vec<(Node, Incarnation, &'static str)>>,
    held: BTreeMap<u64, (Node, bool)>,
    deaths: Vec<(Node, Incarnation, RangeInclusive<u64>)>,
    stopped: Vec<RangeInclusive<u64>>,
}

fn range(text: &str) -> RangeInclusive<u64> {
    let (from, to) = text.split_once("..").unwrap();
    from.parse().unwrap()..=to.parse().unwrap()
}

fn parse(lines: &[&'static str]) -> Case {
    let mut case = Case::default();
    for line in lines {
        let mut fields: Vec<&str> = line.split_whitespace().collect();
        let at = fields.last().and_then(|last| last.strip_prefix('@'));
        let at: u64 = at.map_or(0, |at| at.parse().unwrap());
        if line.contains('@') {
            fields.pop();
        }
        parse_line(&mut case, at, &fields);
    }
    case
}

fn parse_line(case: &mut Case, at: u64, fields: &[&'static str]) {
    let incarnation = fields
        .get(2)
        .and_then(|text| text.parse().ok())
        .map(Incarnation);
    let incarnation = incarnation.unwrap_or_default();
    let evidence = match *fields {
        ["watch", node, _] => Evidence::NewIncarnation { node, incarnation },
        ["lost", node, _] => Evidence::ConnectionLost { node, incarnation },
        ["connected", node, _] => Evidence::Connected { node, incarnation },
        ["failed", node, _] => Evidence::ConnectFailed { node, incarnation },
        ["refused", node, _, address] => Evidence::ConnectRefused {
            node,
            incarnation,
            address: address.parse().unwrap(),
        },
        ["probed", node, _, by, found] => {
            let found = match found {
                "answered" => Probe::Answered,
                "refused" => Probe::Refused,
                "silent" => Probe::Silent,
                other => panic!("no such finding: {other}"),
            };
            Evidence::Probed {
                by,
                node,
                incarnation,
                found,
            }
        }
        ["own-pause", length] => Evidence::OwnPause {
            length: Duration::from_millis(length.parse().unwrap()),
        },
        ["forget", node] => Evidence::Forget { node },
        ["beats", node, _, times, ref options @ ..] => {
            beats(case, node, incarnation, &range(times), options);
            return;
        }
        ["expect", node, _, belief] => {
            case.expectations
                .entry(at)
                .or_default()
                .push((node, incarnation, belief));
            return;
        }
        ["dies", node, _, times] => {
            case.deaths.push((node, incarnation, range(times)));
            return;
        }
        ["held", node, held] => {
            case.held.insert(at, (node, held == "yes"));
            return;
        }
        ["ticks", "stop", times] => {
            case.stopped.push(range(times));
            return;
        }
        _ => panic!("not understood: {fields:?}"),
    };
    case.evidence.entry(at).or_default().push(evidence);
}

fn beats(
    case: &mut Case,
    node: Node,
    incarnation: Incarnation,
    times: &RangeInclusive<u64>,
    options: &[&str],
) {
    let option = |name: &str| -> Option<u64> {
        options
            .iter()
            .find_map(|o| o.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    };
    let ms = |name| Duration::from_millis(option(name).unwrap_or(0));
    let work = Work {
        unfinished_sync_age: ms("sync"),
        unapplied_age: ms("apply"),
    };
    for at in times
        .clone()
        .step_by(option("every").unwrap_or(100) as usize)
    {
        let sent = Duration::from_millis(at.saturating_sub(option("rtt").unwrap_or(1)));
        let answer = Evidence::HeartbeatAnswered {
            node,
            incarnation,
            sent,
            work,
        };
        case.evidence.entry(at).or_default().push(answer);
    }
}

fn name(belief: Belief) -> &'static str {
    match belief {
        Belief::Unknown => "unknown",
        Belief::Alive => "alive",
        Belief::Suspect { .. } => "suspect",
        Belief::Stalled { .. } => "stalled",
        Belief::Dead {
            why: Death::CrashHint,
            ..
        } => "crash-hint",
        Belief::Dead {
            why: Death::Silence {
                confirmed: true, ..
            },
            ..
        } => "confirmed",
        Belief::Dead {
            why: Death::Silence { .. },
            ..
        } => "silence",
        Belief::Dead {
            why: Death::Restarted,
            ..
        } => "restarted",
        other => panic!("not named here: {other}"),
    }
}

fn run(title: &str, mut case: Case) {
    let mut detector = AccrualDetector::new(DetectorSettings::default());
    let last = |keys: Option<&u64>| keys.copied().unwrap_or(0);
    let deaths_last = case
        .deaths
        .iter()
        .map(|(.., times)| *times.end())
        .max()
        .unwrap_or(0);
    let end = last(case.evidence.keys().last())
        .max(last(case.expectations.keys().last()))
        .max(last(case.held.keys().last()))
        .max(deaths_last);
    let mut waiting = Vec::new();
    for at in 0..=end {
        let now = Duration::from_millis(at);
        waiting.extend(case.evidence.remove(&at).unwrap_or_default());
        if case
            .stopped
            .iter()
            .any(|pause| pause.contains(&at) && at < *pause.end())
        {
            continue;
        }
        for evidence in waiting.drain(..) {
            detector.take(now, evidence);
        }
        if at.is_multiple_of(TICK_MS) {
            detector.take(now, Evidence::Tick);
        }
        for (node, incarnation, expected) in case.expectations.remove(&at).unwrap_or_default() {
            let belief = detector.belief(now, &node, incarnation);
            assert_eq!(name(belief), expected, "{title}: {node} at {at}: {belief}");
        }
        if let Some((node, expected)) = case.held.get(&at) {
            assert_eq!(
                detector.held_down(now, node).is_some(),
                *expected,
                "{title}: at {at}"
            );
        }
        for (node, incarnation, times) in &case.deaths {
            let dead = detector.belief(now, node, *incarnation).is_dead();
            assert!(
                !dead || at >= *times.start(),
                "{title}: {node} is dead too early, at {at}"
            );
            assert!(
                dead || at < *times.end(),
                "{title}: {node} is not dead at {at}"
            );
        }
    }
    assert!(
        case.expectations.is_empty(),
        "{title}: expectations during a pause: not looked at"
    );
}

#[test]
fn every_timeline_ends_in_the_beliefs_it_expects() {
    let mut cases = 0;
    for case in TIMELINES.split("\n== ").skip(1) {
        let mut lines = case
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let title = lines.next().unwrap();
        run(title, parse(&lines.collect::<Vec<_>>()));
        cases += 1;
    }
    assert_eq!(
        cases,
        TIMELINES
            .lines()
            .filter(|line| line.starts_with("== "))
            .count()
    );
}
