//! The common point of two logs against the naive comparison of all their entries.

use proptest::prelude::*;
use tablestore_placement::Epoch;
use tablestore_replication::{CommonPoint, EpochHistory};

/// A log as its entries' epochs, by index from 1.
type Log = Vec<u64>;

fn history(log: &Log) -> EpochHistory {
    let mut history = EpochHistory::default();
    for (at, epoch) in log.iter().enumerate() {
        history.note(Epoch(*epoch), at as u64 + 1);
    }
    history
}

fn naive_common_point(a: &Log, b: &Log) -> u64 {
    a.iter().zip(b).take_while(|(x, y)| x == y).count() as u64
}

/// Logs as they come about: each epoch one replica cuts another one's log somewhere, takes that
/// over, and writes its own entries; a third takes over a part of it.
fn logs() -> impl Strategy<Value = Vec<Log>> {
    let step = (
        0usize..4,
        0usize..4,
        0usize..30,
        1usize..5,
        0usize..4,
        0usize..35,
    );
    prop::collection::vec(step, 1..12).prop_map(|steps| {
        let mut logs: Vec<Log> = vec![Vec::new(); 4];
        for (epoch, (primary, from, cut, written, follower, copied)) in (1u64..).zip(steps) {
            let mut log = logs[from].clone();
            log.truncate(cut);
            log.extend(std::iter::repeat_n(epoch, written));
            logs[follower] = log[..copied.min(log.len())].to_vec();
            logs[primary] = log;
        }
        logs
    })
}

proptest! {
    #[test]
    fn l02_the_common_point_is_where_the_entries_part(logs in logs()) {
        for a in &logs {
            for b in &logs {
                let common = history(a).common_point(a.len() as u64, &history(b), b.len() as u64);
                prop_assert_eq!(common, CommonPoint::At(naive_common_point(a, b)));
            }
        }
    }

    #[test]
    fn the_epoch_of_an_entry_is_found_and_survives_a_cut(logs in logs(), cut in 0usize..40) {
        for log in &logs {
            let mut history = history(log);
            let mut log = log.clone();
            log.truncate(cut);
            history.truncate(log.len() as u64);
            for (at, epoch) in log.iter().enumerate() {
                prop_assert_eq!(history.epoch_at(at as u64 + 1), Epoch(*epoch));
            }
            prop_assert_eq!(history.last_epoch(), Epoch(log.last().copied().unwrap_or(0)));
        }
    }

    #[test]
    fn a_pruned_history_says_unknown_or_the_truth(
        logs in logs(), kept in 1usize..4, below in 0u64..30,
    ) {
        for a in &logs {
            for b in &logs {
                let truth = naive_common_point(a, b);
                let mut pruned = history(a);
                // Only what is committed is forgotten, so both logs have all of that.
                pruned.prune(kept, below.min(truth));
                let common = pruned.common_point(a.len() as u64, &history(b), b.len() as u64);
                prop_assert!(
                    common == CommonPoint::At(truth) || common == CommonPoint::Unknown,
                    "{:?} and not {}", common, truth
                );
            }
        }
    }
}
