//! What a node finds at its start: lost, cut and older files, and snapshots.

use tablestore_placement::StorageId;
use tablestore_store::testing::Disk as _;

use super::contract::Subject;
use super::{Cluster, has_mark, mark};
use crate::agreement::{FOLDER, Outcome, Proposal, Settings, Slot};

const LOG_FILE: &str = "raft.log";

fn busy(settings: Settings) -> Cluster {
    let mut cluster = Cluster::ready(3, 3, settings);
    for number in 0..20 {
        cluster.propose(0, Proposal::Command(mark(number)));
        cluster.run(20_000);
    }
    cluster.run(1_000_000);
    cluster
}

/// Ends a node and cuts its log to half of what is in use.
fn cut_log(cluster: &mut Cluster, slot: Slot) {
    cluster.crash(slot);
    let disk = cluster.disks[slot].folder(FOLDER);
    let whole = disk.read_small(LOG_FILE).unwrap().unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    disk.write_small(LOG_FILE, &whole[..used / 2]).unwrap();
    disk.settle();
}

#[test]
fn a_shortened_log_is_refused() {
    let mut cluster = busy(Settings::default());
    cut_log(&mut cluster, 1);
    let refused = cluster.try_start(1, true).unwrap_err();
    assert!(refused.contains(LOG_FILE), "{refused}");

    let mut cluster = busy(Settings {
        accepts_shortened_log: true,
        ..Settings::default()
    });
    cut_log(&mut cluster, 1);
    assert!(cluster.try_start(1, true).is_ok(), "the deliberate bug");
}

#[test]
fn a_log_without_its_end_is_refused_though_the_file_is_long_enough() {
    let mut cluster = busy(Settings::default());
    cluster.crash(1);
    let disk = cluster.disks[1].folder(FOLDER);
    let mut whole = disk.read_small(LOG_FILE).unwrap().unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    whole[used - used / 4..].fill(0);
    disk.write_small(LOG_FILE, &whole).unwrap();
    disk.settle();
    assert!(cluster.try_start(1, true).is_err());
}

#[test]
fn a_missing_log_is_refused() {
    let mut cluster = busy(Settings::default());
    cluster.crash(2);
    cluster.disks[2].folder(FOLDER).remove_file(LOG_FILE);
    let refused = cluster.try_start(2, true).unwrap_err();
    assert!(refused.contains("missing"), "{refused}");
}

#[test]
fn a_missing_snapshot_is_missed_by_the_log() {
    let settings = Settings {
        snapshot_every: 8,
        kept: 2,
        ..Settings::default()
    };
    let mut cluster = busy(settings);
    cluster.crash(2);
    assert!(cluster.disks[2].folder(FOLDER).remove_file("map.snapshot"));
    let refused = cluster.try_start(2, true).unwrap_err();
    assert!(refused.contains("snapshot"), "{refused}");
}

/// Log and snapshot of an older image agree with each other: who shows that start to the others
/// must find out. Until then such a node gives no vote.
#[test]
fn an_older_image_is_taken_and_catches_up() {
    let mut cluster = Cluster::ready(4, 3, Settings::default());
    let image = cluster.disks[2].folder(FOLDER).image();
    let before = cluster.map(2).version;
    for number in 0..10 {
        cluster.propose(0, Proposal::Command(mark(number)));
        cluster.run(20_000);
    }
    cluster.crash(2);
    cluster.disks[2].folder(FOLDER).restore(&image);
    cluster.try_start(2, true).unwrap();
    assert!(cluster.map(2).version <= before);
    cluster.run(2_000_000);
    assert!(has_mark(&cluster.map(2), 9));
}

#[test]
fn held_votes_are_not_given_until_they_are_released() {
    let mut cluster = Cluster::ready(5, 3, Settings::default());
    let (leader, _) = cluster.leader().unwrap();
    let others: Vec<Slot> = (0..3).filter(|slot| *slot != leader).collect();
    for slot in &others {
        cluster.agreement.nodes.get_mut(slot).unwrap().votes_held = true;
    }
    cluster.crash(leader);
    cluster.run(3_000_000);
    assert_eq!(cluster.leader(), None);
    others
        .iter()
        .for_each(|slot| cluster.agreement.release_votes(*slot));
    cluster.run(3_000_000);
    assert!(cluster.leader().is_some());
}

#[test]
fn a_node_that_was_away_jumps_by_a_snapshot() {
    let settings = Settings {
        snapshot_every: 8,
        kept: 2,
        ..Settings::default()
    };
    let mut cluster = Cluster::ready(6, 3, settings);
    let away = (0..3)
        .find(|slot| cluster.leader().unwrap().0 != *slot)
        .unwrap();
    cluster.crash(away);
    let at = cluster.leader().unwrap().0;
    for number in 0..30 {
        cluster.propose(at, Proposal::Command(mark(number)));
        cluster.run(20_000);
    }
    cluster.start(away);
    cluster.run(2_000_000);
    assert!(cluster.ways.contains_key("a node jumped by a snapshot"));
    assert!(has_mark(&cluster.map(away), 29));
}

#[test]
fn a_crash_hint_elects_within_tens_of_milliseconds() {
    let mut cluster = Cluster::ready(7, 3, Settings::default());
    let (leader, term) = cluster.leader().unwrap();
    let of = StorageId(leader as u64 + 1);
    let by = (0..3).find(|slot| *slot != leader).unwrap();
    // It lives: nobody votes against it.
    cluster.agreement.crash_hint(cluster.now, by, of);
    cluster.run(100_000);
    assert_eq!(cluster.leader(), Some((leader, term)));

    let mut cluster = Cluster::ready(7, 3, Settings::default());
    cluster.crash(leader);
    cluster.agreement.crash_hint(cluster.now, by, of);
    cluster.run(60_000);
    assert!(cluster.leader().is_some_and(|(_, newer)| newer > term));
}

#[test]
fn a_leader_hands_over_while_it_is_heard() {
    let mut cluster = Cluster::ready(8, 3, Settings::default());
    let (leader, term) = cluster.leader().unwrap();
    let to = (0..3).find(|slot| *slot != leader).unwrap();
    cluster
        .agreement
        .hand_over(cluster.now, leader, StorageId(to as u64 + 1));
    cluster.run(60_000);
    assert_eq!(cluster.leader().map(|(slot, _)| slot), Some(to));
    assert!(cluster.leader().is_some_and(|(_, newer)| newer > term));
    assert!(!cluster.leads.contains_key(&leader));
}

#[test]
fn the_deliberate_bug_lets_a_deposed_controller_decide() {
    let settings = Settings {
        commits_decision_of_deposed_controller: true,
        ..Settings::default()
    };
    let mut cluster = Cluster::ready(9, 3, settings);
    let (old, term) = cluster.leader().unwrap();
    let to = (0..3).find(|slot| *slot != old).unwrap();
    cluster
        .agreement
        .hand_over(cluster.now, old, StorageId(to as u64 + 1));
    cluster.run(200_000);
    let decide =
        Box::new(|map: &tablestore_placement::ClusterMap| super::suspect(map, StorageId(2)));
    let _ = cluster.propose(old, Proposal::Decision { term, decide });
    while cluster.agreement.broken().is_none() {
        let next = cluster.agreement.next_at().unwrap();
        cluster.agreement.step(next, &|_, _| true, &mut Vec::new());
    }
    let broken = cluster.agreement.broken().unwrap();
    assert!(
        broken.starts_with("a decision of the leader of term Some(1)"),
        "{broken}"
    );
}
