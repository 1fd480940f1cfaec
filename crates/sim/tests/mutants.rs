//! Each deliberate bug is found within a bounded number of runs, and the runs that find it are
//! clean without it: the simulation can see what it is there to see.

use tablestore_sim::{Mutant, Options, run, run_many};

/// Runs within which a bug must be found.
const SEEDS: u64 = 400;
/// Enough to show that the find was no accident of one run.
const FINDS: usize = 2;

fn is_found(mutant: Mutant) {
    let options = Options {
        mutant: Some(mutant),
        trace: false,
    };
    let summary = run_many(0..SEEDS, options, 2, FINDS);
    assert!(
        summary.failed.len() >= FINDS,
        "{mutant:?} was found {} times in {} runs",
        summary.failed.len(),
        summary.totals.runs
    );
    for report in summary.failed {
        let clean = run(report.seed, Options::default());
        assert_eq!(
            clean.violation, None,
            "seed {} without the bug",
            report.seed
        );
    }
}

#[test]
fn l01_truncation_by_commit_mark_is_found() {
    is_found(Mutant::TruncateByCommitMark);
}

#[test]
fn l02_a_wrong_point_for_an_unknown_epoch_is_found() {
    is_found(Mutant::UnknownEpoch);
}

#[test]
fn l03_commits_without_the_joiner_are_found() {
    is_found(Mutant::CommitWithSmallerSet);
}

#[test]
fn l08_reads_before_the_inherited_log_is_committed_are_found() {
    is_found(Mutant::ReadBeforeInheritedTail);
}

#[test]
fn l05_acknowledgements_before_the_sync_are_found() {
    is_found(Mutant::AckBeforeSync);
}
