//! Levels over virtual time, and what the marks mean on tiny and huge machines.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should stop"
)]

use std::time::Duration;

use tablestore_health::{
    Advice, Cpu, Governor, GovernorSettings, Level, Reading, Resource, Share, Space, Unread,
    Verdict, capacity_wanted,
};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn space(total: u64, available: u64) -> Space {
    Space { total, available }
}

fn calm() -> Reading {
    Reading {
        cpu: Ok(Cpu {
            used: Share::percent(20.0),
            waiting: None,
        }),
        memory: Ok(space(16 * GIB, 8 * GIB)),
        disk: Ok(space(100 * GIB, 60 * GIB)),
        files: Err(Unread::new("not counted")),
    }
}

fn cpu(percent: f64) -> Reading {
    Reading {
        cpu: Ok(Cpu {
            used: Share::percent(percent),
            waiting: None,
        }),
        ..calm()
    }
}

fn disk(total: u64, available: u64) -> Reading {
    Reading {
        disk: Ok(space(total, available)),
        ..calm()
    }
}

fn level(verdict: &Verdict, resource: Resource) -> Level {
    verdict.resources[&resource].level
}

/// Feeds one reading a second and answers the level of `resource` after each.
fn levels(resource: Resource, readings: impl IntoIterator<Item = Reading>) -> Vec<Level> {
    let mut governor = Governor::new(GovernorSettings::default());
    let follow = |(second, reading): (u64, Reading)| {
        governor.take(s(second), &reading);
        level(&governor.verdict(s(second)), resource)
    };
    (0..).zip(readings).map(follow).collect()
}

fn repeat(reading: &Reading, times: usize) -> impl Iterator<Item = Reading> + use<> {
    std::iter::repeat_n(reading.clone(), times)
}

#[test]
fn a_calm_machine_is_ok_and_nothing_is_advised() {
    let mut governor = Governor::new(GovernorSettings::default());
    assert_eq!(governor.verdict(s(0)).level, Level::Ok);
    governor.take(s(1), &calm());
    let verdict = governor.verdict(s(1));
    assert_eq!(
        (verdict.level, verdict.advice, verdict.stale),
        (Level::Ok, Advice::default(), false)
    );
    assert_eq!(verdict.resources[&Resource::Cpu].reason, "20 % used");
}

#[test]
fn a_burst_of_load_changes_nothing_and_a_lasting_one_does() {
    let burst = repeat(&cpu(100.0), 9).chain(repeat(&cpu(50.0), 5));
    assert!(
        levels(Resource::Cpu, burst)
            .into_iter()
            .all(|level| level == Level::Ok)
    );
    let lasting = levels(Resource::Cpu, repeat(&cpu(97.0), 12));
    assert_eq!(lasting[9..], [Level::Ok, Level::High, Level::High]);
}

#[test]
fn of_a_varying_load_the_mildest_part_counts() {
    let varying = (0..12).map(|n| cpu(if n % 2 == 0 { 100.0 } else { 88.0 }));
    assert_eq!(levels(Resource::Cpu, varying).last(), Some(&Level::Warn));
}

#[test]
fn a_level_falls_only_below_the_band_and_after_a_while() {
    let hot = repeat(&cpu(97.0), 11);
    let inside_band = levels(Resource::Cpu, hot.chain(repeat(&cpu(90.0), 60)));
    assert_eq!(
        inside_band.last(),
        Some(&Level::High),
        "90 is not 8 points below 95"
    );
    let hot = repeat(&cpu(97.0), 11);
    let outside = levels(Resource::Cpu, hot.chain(repeat(&cpu(30.0), 32)));
    assert_eq!(outside[40..42], [Level::High, Level::Ok]);
}

#[test]
fn a_value_that_swings_around_its_mark_does_not_flap() {
    let total = 100 * GIB;
    let swinging = (0..600).map(|n| disk(total, (9 + n % 3) * GIB + GIB / 2));
    let seen = levels(Resource::Disk, swinging);
    assert_eq!(seen.windows(2).filter(|pair| pair[0] != pair[1]).count(), 0);
    assert_eq!(seen[0], Level::High);
}

#[test]
fn o14_a_full_disk_is_critical_at_once_and_only_deletes_go_on() {
    let mut governor = Governor::new(GovernorSettings::default());
    let mut advice = Vec::new();
    for (second, free) in [(0, 60), (1, 19), (2, 9), (3, 3)] {
        governor.take(s(second), &disk(100 * GIB, free * GIB));
        advice.push(governor.verdict(s(second)).advice);
    }
    let warn = Advice {
        stop_placing: true,
        ..Advice::default()
    };
    let high = Advice {
        move_partitions: true,
        ..warn
    };
    let critical = Advice {
        move_primaries: true,
        refuse_writes: true,
        ..high
    };
    assert_eq!(advice, [Advice::default(), warn, high, critical]);
    let reason = &governor.verdict(s(3)).resources[&Resource::Disk].reason;
    assert!(reason.contains("97.0 % used"), "{reason}");
}

#[test]
fn load_moves_offices_before_data_and_never_refuses_writes() {
    let on = |level| Advice::on(Resource::Cpu, level);
    assert_eq!(
        on(Level::Warn),
        Advice {
            stop_placing: true,
            ..Advice::default()
        }
    );
    assert!(on(Level::High).move_primaries && !on(Level::High).move_partitions);
    assert!(on(Level::Critical).move_partitions && !on(Level::Critical).refuse_writes);
}

#[test]
fn percentages_alone_do_not_decide_on_tiny_and_huge_disks() {
    // total, available, level
    let cases = [
        (GIB, GIB / 2, Level::Ok),
        (GIB, 300 * MIB, Level::Warn),
        (GIB, 150 * MIB, Level::High),
        (GIB, 70 * MIB, Level::Critical),
        (100 * 1024 * GIB, 10 * 1024 * GIB, Level::Ok),
        (100 * 1024 * GIB, 150 * GIB, Level::Warn),
        (100 * 1024 * GIB, 50 * GIB, Level::High),
        (100 * 1024 * GIB, 30 * GIB, Level::Critical),
    ];
    for (total, available, expected) in cases {
        let seen = levels(Resource::Disk, [disk(total, available)]);
        assert_eq!(seen, [expected], "{available} of {total}");
    }
}

#[test]
fn what_cannot_be_read_keeps_its_level_and_becomes_stale() {
    let mut governor = Governor::new(GovernorSettings::default());
    governor.take(s(0), &disk(100 * GIB, 3 * GIB));
    let unread = Unread::new("statvfs hangs");
    for second in 1..=60 {
        governor.take(
            s(second),
            &Reading {
                disk: Err(unread.clone()),
                ..calm()
            },
        );
    }
    let verdict = governor.verdict(s(60));
    assert_eq!(
        level(&verdict, Resource::Disk),
        Level::Critical,
        "not seen is not recovered"
    );
    assert_eq!(verdict.resources[&Resource::Disk].unread, Some(unread));
    assert!(verdict.stale);
    governor.take(s(61), &calm());
    assert!(!governor.verdict(s(61)).stale);
}

#[test]
fn capacity_is_asked_for_in_whole_nodes_of_the_usual_size() {
    let full = |n: usize| vec![space(100 * GIB, 10 * GIB); n];
    let wanted = capacity_wanted(&full(3), Share::percent(80.0)).unwrap();
    assert_eq!((wanted.nodes, wanted.size), (1, 100 * GIB));
    let wanted = capacity_wanted(&full(30), Share::percent(60.0)).unwrap();
    assert_eq!(wanted.nodes, 15, "2700 of 4500 is 60 %");
    assert_eq!(capacity_wanted(&full(3), Share::percent(90.0)), None);
    assert_eq!(capacity_wanted(&[], Share::percent(80.0)), None);
    assert_eq!(capacity_wanted(&full(3), Share::percent(0.0)), None);
}

#[test]
fn marks_that_contradict_each_other_are_refused_by_name() {
    assert!(GovernorSettings::default().validated().is_ok());
    let mut settings = GovernorSettings::default();
    settings.cpu.warn = Share::percent(99.5);
    let refused = settings.validated().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the marks of cpu must rise from warn to critical"
    );
}
